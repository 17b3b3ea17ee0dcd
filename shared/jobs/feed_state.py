"""What is remembered of each feed beside the ledger: whether it is paused, when it was synced, when data came."""

from __future__ import annotations

import json

from dataclasses import dataclass

from shared.documents import Documents, to_json
from shared.model import Run, from_json


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run of a feed that was done."""

    run: str
    finished: str
    """Text of records."""


class FeedStates:
    """Small documents, so that reading them never resumes a paused database."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def pause(self, feed: str, now: str) -> None:
        """Load nothing of the feed until it is resumed."""
        self._documents.add(f"feeds/{feed}/paused", now.encode())

    def resume(self, feed: str) -> None:
        self._documents.delete(f"feeds/{feed}/paused")

    def paused(self, feed: str) -> bool:
        return self._documents.get(f"feeds/{feed}/paused") is not None

    def record_sync(self, feed: str, started: str) -> None:
        """Remember that a sync of the feed began (text of records)."""
        self._documents.put(f"feeds/{feed}/asked", started.encode())

    def last_sync(self, feed: str) -> str | None:
        """When the last sync of the feed began (text of records)."""
        content = self._documents.get(f"feeds/{feed}/asked")
        return None if content is None else content.decode()

    def record_comparison(self, feed: str, started: str) -> None:
        """Remember that a comparison of the feed's keys began (text of records)."""
        self._documents.put(f"feeds/{feed}/keys", started.encode())

    def last_comparison(self, feed: str) -> str | None:
        """When the keys of the feed were last compared (text of records)."""
        content = self._documents.get(f"feeds/{feed}/keys")
        return None if content is None else content.decode()

    def record_data(self, run: Run) -> None:
        """Remember that *run* was done, if it brought data: a window may hold nothing new, and keys alone never do."""
        if run.kind in ("window", "keys") and not run.inserted + run.updated + run.deleted + run.undeleted:
            return
        self._documents.put(f"feeds/{run.feed}/done", to_json({"run": run.id, "finished": run.finished}))

    def last_run(self, feed: str) -> LastRun | None:
        """The last run that brought data; of several at the same time, any."""
        content = self._documents.get(f"feeds/{feed}/done")
        return None if content is None else from_json(LastRun, json.loads(content))

    def expected_since(self, feed: str, now: str) -> str:
        """Since when data of the feed has been expected: the *now* of the first call (text of records)."""
        name = f"feeds/{feed}/expected"
        self._documents.add(name, now.encode())
        return (self._documents.get(name) or now.encode()).decode()

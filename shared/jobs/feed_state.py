"""What is remembered of each feed beside the ledger: whether it is paused, when it was synced, when data came."""

from __future__ import annotations

from dataclasses import dataclass

from shared.documents import Documents, read_json, to_json
from shared.model import Run


@dataclass(frozen=True, slots=True)
class Last:
    """The last run of a feed that was done."""

    run: str
    finished: str
    """Text of records."""


class FeedStates:
    """Small documents of the app's state, so that looking at them never wakes a database that sleeps."""

    def __init__(self, state: Documents) -> None:
        self._state = state

    def pause(self, feed: str, now: str) -> None:
        """Take nothing of the feed until it is resumed."""
        self._state.add(f"feeds/{feed}/paused", now.encode())

    def resume(self, feed: str) -> None:
        self._state.delete(f"feeds/{feed}/paused")

    def paused(self, feed: str) -> bool:
        return self._state.get(f"feeds/{feed}/paused") is not None

    def ask(self, feed: str, started: str) -> None:
        """Remember that a sync of the feed began."""
        self._state.put(f"feeds/{feed}/asked", started.encode())

    def asked(self, feed: str) -> str | None:
        """When the last sync of the feed began (text of records)."""
        content = self._state.get(f"feeds/{feed}/asked")
        return None if content is None else content.decode()

    def done(self, run: Run) -> None:
        """Remember that *run* was done, and brought data: a window of a pull feed may hold nothing new."""
        if run.kind == "window" and not run.inserted + run.updated + run.deleted + run.undeleted:
            return
        self._state.put(f"feeds/{run.feed}/done", to_json({"run": run.id, "finished": run.finished}))

    def last(self, feed: str) -> Last | None:
        """The last run that was done; of some at the same time, any."""
        content = read_json(self._state, f"feeds/{feed}/done")
        return None if content is None else Last(**content)

    def expected_since(self, feed: str, now: str) -> str:
        """Since when data of the feed has been waited for: *now*, when it is asked for the first time."""
        name = f"feeds/{feed}/expected"
        self._state.add(name, now.encode())
        return (self._state.get(name) or now.encode()).decode()

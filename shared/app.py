"""Open the ports that the settings name, and read the clock."""

from __future__ import annotations

import datetime as dt
import os
import threading
import time

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from shared import catalog
from shared.alerts import Alerts
from shared.azure import identity, urls
from shared.catalog import System
from shared.documents import Documents, open_documents
from shared.documents.throttle import AlertThrottle
from shared.errors import ConfigError
from shared.jobs.feed_state import FeedStates
from shared.ledger import Ledger, open_ledger
from shared.model import Feed, Finding, Json, Record, Run
from shared.pipeline import folder
from shared.pipeline.audit import Audit
from shared.pipeline.checks import examine, health
from shared.pipeline.folder import LoadOptions
from shared.pipeline.replay import ReplaySource
from shared.pipeline.runner import Progress, Result, Runner, RunOptions
from shared.redaction import redact_logs
from shared.settings import Settings
from shared.sources.exports.parquet import ExportsSource
from shared.stores import Store
from shared.warehouses import WarehouseWithHistory, open_warehouse


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Everything a host needs."""

    settings: Settings
    systems: Mapping[str, System]
    warehouse: WarehouseWithHistory
    ledger: Ledger
    documents: Documents
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)

    @property
    def runner(self) -> Runner:
        """What does units of work over these ports."""
        return Runner(
            systems=self.systems, warehouse=self.warehouse, ledger=self.ledger,
            cursor_ahead=self.settings.cursor_ahead, now=self.now, timer=time.perf_counter,
        )  # fmt: skip

    # -- all that a folder asks for

    def load(self, location: str, options: LoadOptions, watch: Progress | None = None) -> Iterator[Result]:
        """Take the exports at *location*, a result as each is done. See shared.pipeline.folder."""
        return folder.load(self, location, options, watch or Progress())

    # -- what jobs need beside the verbs

    @property
    def feed_states(self) -> FeedStates:
        return FeedStates(self.documents)

    @property
    def alerts(self) -> Alerts:
        return Alerts(self.settings, AlertThrottle(self.documents, self.now))

    def job_link(self, job: str) -> str:
        """Where to look at a job."""
        host = self.settings.website_hostname
        scheme = "http" if urls.is_loopback(host.partition(":")[0]) else "https"
        return f"{scheme}://{host}/api/jobs/{quote(job)}"

    def token(self, scope: str) -> str:
        """A token of this app's identity for *scope*."""
        return identity.credential().get_token(scope).token

    # -- looking and mending

    def feeds(self) -> list[Feed]:
        """The declared feeds of all systems."""
        return [feed for system in self.systems.values() for feed in system.feeds()]

    def audit(self, location: str, options: LoadOptions) -> Iterator[Audit]:
        """What each table of each export at *location* holds, beside what the warehouse holds of it."""
        return folder.audits(self, location, options)

    def overview(self) -> list[dict[str, Json]]:
        """Each feed, declared or with a history: keys, cursor, watermark, last run."""
        last: dict[str, Run] = {}
        for run in self.warehouse.runs(limit=None):
            last.setdefault(run.feed, run)
        declared = {feed.name: feed for feed in self.feeds()}
        return [
            _about(name, declared.get(name), last.get(name), self.ledger.watermark(name).value)
            for name in dict.fromkeys((*declared, *sorted(last)))
        ]

    def known_feed(self, name: str) -> str:
        """*name* if it is declared or has a history; ConfigError with the known ones if not."""
        known = [feed.name for feed in self.feeds()]
        if name not in known and not self.warehouse.runs(name, limit=1):
            raise ConfigError(f"there is no feed {name!r}", fix=f"Write <system>.<table>, such as {', '.join(known)}")
        return name

    def replay(self, feed: str, file: Path, watch: Progress | None = None) -> Iterator[Result]:
        """Load mended rows with the export time they first came with; a result for each run that rejected them."""
        system = self.systems[self.known_feed(feed).partition(".")[0]]
        runs = {run.id: run for run in self.warehouse.runs(feed, limit=None)}
        for rejected_by, work in ReplaySource(file, ()).units().items():
            if rejected_by not in runs:
                raise ConfigError(
                    f"{file} has rows of run {rejected_by}, which {feed} does not have", fix="Check the feed"
                )
            run = runs[rejected_by]
            source = ReplaySource(file, run.columns)
            mended = replace(work, exported_at=work.exported_at or run.exported_at, client=run.client)
            typed = {system.name: system.typed(feed.partition(".")[2], ReplaySource.types(run))}
            runner = replace(self.runner, systems={**self.systems, **typed})
            yield runner.run_unit(feed, mended, source, RunOptions(), place=file.name, progress=watch or Progress())

    def backfill(self, feed: str, to: str) -> list[Record]:
        """Take again what was exported at or after *to* (text of records): such works are forgotten and returned.

        A pull feed's watermark is set back to it, if it is beyond: its next sync reads from there.
        """
        system = self.systems.get(self.known_feed(feed).partition(".")[0])
        if system is not None and system.pulled:
            self._rewind(feed, to)
        return self.ledger.forget(feed, to)

    def _rewind(self, feed: str, to: str) -> None:
        mark = self.ledger.watermark(feed)
        if mark.value is None or mark.type is None:
            return
        if mark.type not in ("timestamp", "date"):
            raise ConfigError(
                f"{feed} is read by a cursor of type {mark.type}, which cannot be set back to a time",
                fix="Drop its watermark in the ledger to read everything again",
            )
        since = to if mark.type == "timestamp" else to[:10]
        if since < mark.value:
            self.ledger.rewind(feed, replace(mark, value=since))

    def health(self) -> Iterator[Finding]:
        """Whether all that jobs need answers: state, ledger, warehouse, and the container that exports arrive in."""
        return health(self)

    def examine(self, location: str | None) -> Iterator[Finding]:
        """What the doctor finds. See shared.pipeline.checks."""
        return examine(self, location)

    def source(self, store: Store) -> ExportsSource:
        return ExportsSource(store, slice_rows=self.settings.slice_rows, batch_rows=self.settings.batch_rows)


def _about(name: str, feed: Feed | None, last: Run | None, watermark: str | None) -> dict[str, Json]:
    return {
        "feed": name,
        "keys": ", ".join(feed.keys) if feed else "by rule",
        "cursor": feed.cursor if feed else None,
        "deleted": feed.deleted if feed else None,
        "watermark": watermark,
        "last_run": last.finished if last else None,
        "status": last.status if last else None,
    }


def open_app(env: Mapping[str, str], **instead: Any) -> App:
    """The app that *env* describes; *instead* replaces parts of it."""
    settings = Settings.from_env(env)
    folder = Path(settings.catalog_path) if settings.catalog_path else catalog.PACKAGED
    systems = {
        name: system.told(settings.system(name).client, settings.system(name).timezone)
        for name, system in catalog.read(folder).items()
    }
    parts: dict[str, Any] = {"settings": settings, "systems": systems, **instead}
    if "warehouse" not in parts:
        parts["warehouse"] = open_warehouse(settings)
    if "documents" not in parts:
        parts["documents"] = open_documents(settings)
    if "ledger" not in parts:
        parts["ledger"] = open_ledger(
            settings.ledger_url,
            lock_timeout=settings.warehouse_lock_timeout,
            storage_connection_string=settings.storage_connection_string,
        )
    return App(**parts)


def current() -> App:
    """The app of this process, built from its environment on first use. From then on no log has a secret."""
    with _OPENING:  # several threads may be the first
        return opened()


_OPENING = threading.Lock()


@cache
def opened() -> App:
    redact_logs()
    return open_app(os.environ)

"""The one place that picks implementations, reads the clock and puts the verbs together."""

from __future__ import annotations

import datetime as dt
import logging
import os
import threading
import time

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from shared import catalog
from shared.alerts import Alerts
from shared.azure import storage
from shared.catalog import System
from shared.documents import Documents, open_documents
from shared.documents.throttle import AlertThrottle
from shared.errors import ConfigError, DataError, IngestError, TransientError
from shared.jobs.feed_state import FeedStates
from shared.ledger import Ledger, open_ledger
from shared.model import Feed, Finding, Json, Plan, Record, Run, Slice, Staged, Unit, to_text, with_note
from shared.pipeline import folder, verbs
from shared.pipeline.audit import Audit
from shared.pipeline.checks import examine, health
from shared.pipeline.folder import LoadOptions, Progress, Result
from shared.pipeline.replay import ReplaySource
from shared.redaction import redact_logs
from shared.settings import Settings
from shared.sources import Source
from shared.sources.exports.parquet import ExportsSource
from shared.stores import Store
from shared.warehouses import Limits, Merged, WarehouseWithHistory, open_warehouse

_log = logging.getLogger("sluice")
_JOB: ContextVar[str | None] = ContextVar("job", default=None)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Everything a host needs."""

    settings: Settings
    systems: Mapping[str, System]
    warehouse: WarehouseWithHistory
    ledger: Ledger
    state: Documents
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)

    # -- the four verbs, timed and logged

    def plan(self, run: Run, work: Unit, source: Source) -> Plan:
        system = self.systems[run.feed.partition(".")[0]]
        with _logged("plan", run) as told:
            planned = verbs.plan(run, work, source, system)
            told["slices"], told["rows"] = len(planned.slices), sum(part.rows for part in planned.slices)
        return planned

    def stage(self, plan: Plan, part: Slice, source: Source, progress: Callable[[int], None]) -> Staged:
        allowance = verbs.Allowance(self.settings.cursor_ahead)
        since = time.perf_counter()
        with _logged("stage", plan.run) as told:
            staged = verbs.stage(plan, part, source, self.warehouse, allowance=allowance, progress=progress)
            told["slice"], told["rows"], told["rejected"] = part.number, staged.rows, staged.rejected
        return replace(staged, seconds=time.perf_counter() - since)

    def publish(self, plan: Plan, staged: Sequence[Staged], limits: Limits, faulty: Mapping[str, str]) -> Merged:
        finished = to_text(self.now())
        with _logged("publish", plan.run) as told:
            merged = verbs.publish(
                plan, staged, self.warehouse, self.ledger, limits=limits, finished=finished, faulty=faulty
            )
            told.update(rows=merged.run.read, inserted=merged.run.inserted, updated=merged.run.updated)
        return merged

    def tidy(self, plan: Plan, *, dry_run: bool) -> None:
        with _logged("tidy", plan.run):
            verbs.tidy(plan, self.warehouse, dry_run=dry_run)

    @staticmethod
    @contextmanager
    def on_behalf_of(job: str) -> Iterator[None]:
        """From here on the log names the job that steps are done for."""
        token = _JOB.set(job)
        try:
            yield
        finally:
            _JOB.reset(token)

    # -- one run, and all that a folder asks for

    def load(self, location: str, options: LoadOptions, watch: Progress | None = None) -> Iterator[Result]:
        """Take the exports at *location*, a result as each is done. See shared.pipeline.folder."""
        return folder.load(self, location, options, watch or Progress())

    def run(
        self, feed: str, work: Unit, source: Source, *, place: str, options: LoadOptions, watch: Progress
    ) -> Result:
        """Do one unit of work with all four verbs in this process."""
        table = feed.partition(".")[2]
        run = self.asked(feed, work, options)
        if run is None:
            return Result(table=table, place=place, skipped="already loaded (--again repeats it)")
        planned: Plan | None = None
        try:
            planned = self.plan(run, work, source)
            merged = self._stage_and_publish(planned, source, options, watch)
        except TransientError as error:  # what is away now would be away for writing it down, too
            _log.error("%s: run %s gave up: %s", feed, run.id, error)
            return Result(table=table, place=place, run=replace(run, status="failed", error=str(error)))
        except IngestError as error:
            return Result(table=table, place=place, run=self.fail(run, work, error, options, planned))
        except Exception as error:
            self.fail(run, work, f"{type(error).__name__}: {error}", options, planned)
            raise
        finally:
            if planned is not None:
                self._tidy_if_possible(planned, options)
        return Result(table=table, place=place, run=merged.run, changes=merged.changes)

    def refuse(self, feed: str, work: Unit, error: IngestError, *, place: str, options: LoadOptions) -> Result:
        """Write down a unit that cannot even be named: its files changed or went while they were looked at."""
        run = verbs.run_for(feed, work, self.ledger, to_text(self.now()), again=True, dry=options.dry_run)
        assert run is not None  # noqa: S101 - as it is wished again
        return Result(table=feed.partition(".")[2], place=place, run=self.fail(run, work, error, options, None))

    def asked(self, feed: str, work: Unit, options: LoadOptions, *, doubt: bool = True) -> Run | None:
        """The run to do, or None if the ledger knows the work as done and the warehouse knows the run that did it.

        Without *doubt* the warehouse is not asked.
        """
        started, dry = to_text(self.now()), options.dry_run
        run = verbs.run_for(feed, work, self.ledger, started, again=options.again, dry=dry)
        if run is not None or not doubt:
            return run
        known = self.ledger.known(feed, [w.id for w in work.works])
        lost = sorted({record.run for record in known.values() if self.warehouse.run(record.run) is None})
        if not lost:
            return None
        note = f"taken again: the ledger says that run {', '.join(lost)} loaded it, but the warehouse does not know it"
        run = verbs.run_for(feed, work, self.ledger, started, again=True, dry=dry)
        return replace(run, note=with_note(run.note, note)) if run else None

    def _tidy_if_possible(self, plan: Plan, options: LoadOptions) -> None:
        """What stays behind is swept by the next run; a result is not lost over it."""
        try:
            self.tidy(plan, dry_run=options.dry_run)
        except IngestError as error:
            _log.warning("%s: run %s left its staging behind: %s", plan.run.feed, plan.run.id, error)

    def _stage_and_publish(self, plan: Plan, source: Source, options: LoadOptions, watch: Progress) -> Merged:
        watch.start(plan.run.feed, sum(part.rows for part in plan.slices))
        staged: dict[int, Staged] = {}
        faults: dict[int, DataError] = {}
        for part in plan.slices:
            if part.origin in {plan.slices[n].origin for n in faults}:
                continue
            try:
                staged[part.number] = self.stage(plan, part, source, watch.rows)
            except DataError as error:
                faults[part.number] = error
                verbs.without_faulty_parts(plan, staged, faults)  # goes no further if nothing can come of it
        watch.phase(f"{plan.run.feed}: merging")
        return self.merge(plan, staged, faults, options)

    def merge(
        self, plan: Plan, staged: Mapping[int, Staged], faults: Mapping[int, DataError], options: LoadOptions
    ) -> Merged:  # fmt: skip
        """Publish what was staged, by number of slice, without the part files that had *faults*."""
        sound, faulty = verbs.without_faulty_parts(plan, staged, faults)
        share = options.max_delete_share
        limits = Limits(
            max_delete_share=plan.feed.max_delete_share if share is None else share, dry_run=options.dry_run
        )
        return self.publish(plan, sound, limits, faulty)

    def fail(
        self, run: Run, work: Unit, error: IngestError | str, options: LoadOptions, plan: Plan | None
    ) -> Run:  # fmt: skip
        """Write down that the run came to nothing; a dry run is only told."""
        _log.error("%s: run %s failed: %s", run.feed, run.id, error)
        known = replace(run, columns=plan.columns) if plan else run
        finished = to_text(self.now())
        if options.dry_run:
            return replace(known, status="failed", error=str(error), finished=finished)
        return verbs.fail(known, work, error, self.warehouse, self.ledger, finished)

    # -- what jobs need beside the verbs

    @property
    def feed_states(self) -> FeedStates:
        return FeedStates(self.state)

    @property
    def alerts(self) -> Alerts:
        return Alerts(self.settings, AlertThrottle(self.state, self.now))

    def job_link(self, job: str) -> str:
        """Where to look at a job."""
        host = self.settings.website_hostname
        scheme = "http" if storage.is_loopback(host.partition(":")[0]) else "https"
        return f"{scheme}://{host}/api/jobs/{quote(job)}"

    def token(self, scope: str) -> str:
        """A token of this app's identity for *scope*."""
        return storage.credential().get_token(scope).token

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
            app = replace(self, systems={**self.systems, **typed})
            yield app.run(feed, mended, source, place=file.name, options=LoadOptions(), watch=watch or Progress())

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


class _logged:  # noqa: N801 - reads as a verb where it is used
    """Log one line for a step: feed, run, what it told, seconds."""

    def __init__(self, verb: str, run: Run) -> None:
        self._verb, self._run = verb, run
        self._told: dict[str, Any] = {}

    def __enter__(self) -> dict[str, Any]:
        self._since = time.perf_counter()
        if job := _JOB.get():
            self._told["job"] = job
        return self._told

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        told = " ".join(f"{name}={value}" for name, value in self._told.items())
        seconds = time.perf_counter() - self._since
        outcome = "" if kind is None else f" {kind.__name__}"
        _log.info(
            "%s feed=%s run=%s %s seconds=%.2f%s",
            self._verb,
            self._run.feed,
            self._run.id,
            told,
            seconds,
            outcome,
        )


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
    if "state" not in parts:
        parts["state"] = open_documents(settings)
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

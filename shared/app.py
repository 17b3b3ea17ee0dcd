"""The one place that picks implementations, reads the clock and puts the verbs together."""

from __future__ import annotations

import datetime as dt
import logging
import os
import time

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from shared import catalog, pipeline
from shared.audit import Audit, audit
from shared.catalog import System
from shared.errors import ConfigError, DataError, IngestError
from shared.ledger import Ledger, open_ledger
from shared.model import Change, Feed, Kind, Plan, Record, Run, Slice, Staged, Unit, instant
from shared.replay import ReplaySource
from shared.settings import Settings
from shared.sources import Source
from shared.sources._choice import Offer, Passed, one_client, queues
from shared.sources.exports import ExportsSource, Told, find, unit
from shared.stores import Store, open_store
from shared.warehouses import Limits, Merged, WarehouseWithHistory, open_warehouse

_log = logging.getLogger("sluice")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """What `sluice load` can be told."""

    system: str | None = None
    kind: Kind | None = None
    tables: tuple[str, ...] = ()
    client: str | None = None
    exported_at: str | None = None
    """Text of records (shared.model.instant)."""
    everything: bool = False
    again: bool = False
    dry_run: bool = False
    max_delete_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one table of one export: a run, or the reason why there was none."""

    table: str
    place: str
    run: Run | None = None
    skipped: str | None = None
    changes: Sequence[Change] = ()
    readable: bool = True
    """False if nothing could be taken because the files themselves are at fault."""

    @property
    def failed(self) -> bool:
        return self.run is not None and self.run.status == "failed"


class Watch:
    """Hears how far the work is. This one does not listen."""

    def start(self, label: str, rows: int) -> None:
        """A run begins that will read so many rows."""

    def rows(self, count: int) -> None:
        """So many more rows have been staged."""

    def end(self, result: Result) -> None:
        """The run, or whatever stood for it, is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Everything a host needs."""

    settings: Settings
    systems: Mapping[str, System]
    warehouse: WarehouseWithHistory
    ledger: Ledger
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)

    # -- the four verbs, timed and logged

    def plan(self, run: Run, work: Unit, source: Source) -> Plan:
        system = self.systems[run.feed.partition(".")[0]]
        with _logged("plan", run) as told:
            planned = pipeline.plan(run, work, source, system)
            told["slices"], told["rows"] = len(planned.slices), sum(part.rows for part in planned.slices)
        return planned

    def stage(self, plan: Plan, part: Slice, source: Source, progress: Callable[[int], None]) -> Staged:
        allowance = pipeline.Allowance(self.settings.cursor_ahead)
        with _logged("stage", plan.run) as told:
            staged = pipeline.stage(plan, part, source, self.warehouse, allowance=allowance, progress=progress)
            told["slice"], told["rows"], told["rejected"] = part.number, staged.rows, staged.rejected
        return staged

    def publish(self, plan: Plan, staged: Sequence[Staged], limits: Limits, faulty: Mapping[str, str]) -> Merged:
        finished = instant(self.now())
        with _logged("publish", plan.run) as told:
            merged = pipeline.publish(
                plan, staged, self.warehouse, self.ledger, limits=limits, finished=finished, faulty=faulty
            )
            told.update(rows=merged.run.read, inserted=merged.run.inserted, updated=merged.run.updated)
        return merged

    def tidy(self, plan: Plan, *, dry_run: bool) -> None:
        with _logged("tidy", plan.run):
            pipeline.tidy(plan, self.warehouse, dry_run=dry_run)

    # -- loading exports

    def load(self, location: str, options: LoadOptions, watch: Watch | None = None) -> Iterator[Result]:
        """Take the exports at *location* (see shared.sources._choice for which); a result as each is done.

        ConfigError, before anything is read, if it cannot be told what to take.
        """
        watch = watch or Watch()
        store = open_store(location)
        system = self._system(options)
        told = Told(
            kind=options.kind, client=options.client, exported_at=options.exported_at, tables=options.tables,
            settle_seconds=self.settings.settle,
        )  # fmt: skip
        offers = one_client(find(store, told, self.now()), options.client or system.client)
        source = self._source(store)

        def take(offer: Offer) -> Result:
            result = self._attempt(system, offer, lambda: unit(offer, store), source, options, watch)
            watch.end(result)
            return result

        for queue in queues(offers, everything=options.everything):
            base = None
            for offer in queue.fulls:
                if base is not None:
                    yield _passed(Passed(offer, f"older than the full of {str(base.exported_at)[:19]}"))
                    continue
                result = take(offer)
                yield result
                base = offer if result.readable else None
            fresh, passed = queue.after(base)
            yield from map(_passed, passed)
            yield from map(take, fresh)

    def _system(self, options: LoadOptions) -> System:
        """The system that exports: the one asked for, the one of the client, or the only one."""
        if options.system:
            if options.system not in self.systems:
                raise ConfigError(
                    f"there is no system {options.system!r}", fix=f"Choose one of {', '.join(self.systems)}"
                )
            return self.systems[options.system]
        exporting = [system for system in self.systems.values() if system.source == "exports"]
        of_client = [system for system in exporting if options.client and system.client == options.client]
        chosen = of_client or exporting
        if len(chosen) != 1:
            raise ConfigError(f"{len(chosen)} systems of the catalog load exports", fix="Choose one with --system")
        return chosen[0]

    def _attempt(
        self, system: System, offer: Offer, work: Callable[[], Unit], source: Source, options: LoadOptions,
        watch: Watch,
    ) -> Result:  # fmt: skip
        feed = f"{system.name}.{offer.table}"
        try:
            asked_for = work()
        except IngestError as error:  # the file changed or went while it was looked at: no work to record it under
            _log.error("%s: %s", feed, error)
            failed = Run(
                id="",
                feed=feed,
                kind=offer.kind,
                started=instant(self.now()),
                status="failed",
                error=str(error),
            )
            return Result(table=offer.table, place=offer.folder, run=failed, readable=False)
        return self.run(feed, asked_for, source, place=offer.folder, options=options, watch=watch)

    def run(self, feed: str, work: Unit, source: Source, *, place: str, options: LoadOptions, watch: Watch) -> Result:
        """Do one unit of work with all four verbs in this process."""
        table = feed.partition(".")[2]
        run = pipeline.asked(feed, work, self.ledger, instant(self.now()), again=options.again)
        if run is None:
            return Result(table=table, place=place, skipped="already loaded (--again repeats it)")
        planned: Plan | None = None
        try:
            planned = self.plan(run, work, source)
            merged = self._stage_and_publish(planned, source, options, watch)
        except IngestError as error:
            failed = self._fail(run, work, error, options)
            return Result(table=table, place=place, run=failed, readable=planned is not None)
        except Exception as error:
            self._fail(run, work, f"{type(error).__name__}: {error}", options)
            raise
        finally:
            if planned is not None:
                self.tidy(planned, dry_run=options.dry_run)
        return Result(table=table, place=place, run=merged.run, changes=merged.changes)

    def _stage_and_publish(self, plan: Plan, source: Source, options: LoadOptions, watch: Watch) -> Merged:
        watch.start(plan.run.feed, sum(part.rows for part in plan.slices))
        staged: list[Staged] = []
        faulty: dict[str, str] = {}
        origins: dict[str, str] = {}
        for part in plan.slices:
            if part.origin in faulty:
                continue
            try:
                staged.append(self.stage(plan, part, source, watch.rows))
                origins[staged[-1].table] = part.origin
            except DataError as error:
                if len(plan.unit.works) - len(plan.faulty) - len(faulty) <= 1:
                    raise
                faulty[part.origin] = str(error)
        share = options.max_delete_share
        limits = Limits(
            max_delete_share=plan.feed.max_delete_share if share is None else share, dry_run=options.dry_run
        )
        return self.publish(plan, [s for s in staged if origins[s.table] not in faulty], limits, faulty)

    def _fail(self, run: Run, work: Unit, error: IngestError | str, options: LoadOptions) -> Run:
        _log.error("%s: run %s failed: %s", run.feed, run.id, error)
        finished = instant(self.now())
        if options.dry_run:
            return replace(run, status="failed", error=str(error), finished=finished)
        return pipeline.fail(run, work, error, self.warehouse, self.ledger, finished)

    # -- looking and mending

    def feeds(self) -> list[Feed]:
        """The declared feeds of all systems."""
        return [feed for system in self.systems.values() for feed in system.feeds()]

    def audit(self, location: str, options: LoadOptions) -> Iterator[Audit]:
        """What each table of each export at *location* holds, beside what the warehouse holds of it."""
        store, system = open_store(location), self._system(options)
        told = Told(kind=options.kind or "delta", tables=options.tables)
        for offer in find(store, told, self.now()):
            work = Unit(kind=offer.kind, files=tuple(asdict(file) for file in offer.files))
            yield audit(offer.table, work, self._source(store), system, self.warehouse)

    def replay(self, feed: str, file: Path, watch: Watch | None = None) -> Iterator[Result]:
        """Load mended rows with the export time they first came with; a result for each run that rejected them."""
        system = self._of_feed(feed)
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
            yield app.run(feed, mended, source, place=file.name, options=LoadOptions(), watch=watch or Watch())

    def backfill(self, feed: str, to: str) -> list[Record]:
        """Forget what was exported at or after *to* (text of records), so that the next load takes it again."""
        self._of_feed(feed)
        return self.ledger.forget(feed, to)

    def health(self) -> dict[str, str]:
        """Whether ledger and warehouse answer; raises what they raise if they do not."""
        self.ledger.watermark("health")
        self.warehouse.runs(limit=1)
        return {"status": "ok"}

    def _of_feed(self, feed: str) -> System:
        name = feed.partition(".")[0]
        if name not in self.systems or "." not in feed:
            known = ", ".join(known.name for known in self.feeds())
            raise ConfigError(f"there is no feed {feed!r}", fix=f"Write <system>.<table>, such as {known}")
        return self.systems[name]

    def _source(self, store: Store) -> ExportsSource:
        return ExportsSource(store, slice_rows=self.settings.slice_rows, batch_rows=self.settings.batch_rows)


def _passed(passed: Passed) -> Result:
    return Result(table=passed.offer.table, place=passed.offer.folder, skipped=passed.reason)


class _logged:  # noqa: N801 - reads as a verb where it is used
    """Log one line for a step: feed, run, what it told, seconds."""

    def __init__(self, verb: str, run: Run) -> None:
        self._verb, self._run = verb, run
        self._told: dict[str, Any] = {}

    def __enter__(self) -> dict[str, Any]:
        self._since = time.perf_counter()
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
    if "ledger" not in parts:
        parts["ledger"] = open_ledger(settings.ledger_url, lock_timeout=settings.warehouse_lock_timeout)
    return App(**parts)


@cache
def current() -> App:
    """The app of this process, built from its environment on first use."""
    return open_app(os.environ)

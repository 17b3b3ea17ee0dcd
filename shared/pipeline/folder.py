"""Load the exports in a folder: which of them, in which order, and which one replaces a full that cannot be loaded."""

from __future__ import annotations

import datetime as dt

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from shared.catalog import System
from shared.errors import ConfigError, IngestError
from shared.ids import work_id
from shared.model import FeedName, Kind, Unit, WorkItem, to_text, with_note
from shared.pipeline.audit import Audit, audit
from shared.pipeline.destinations import Target, failed, run_in_each, targets
from shared.pipeline.forecast import with_link
from shared.pipeline.progress import Progress, Result
from shared.pipeline.runner import Runner, RunOptions
from shared.pipeline.verbs import latest_cursor, recorded
from shared.settings import Settings
from shared.sources.exports.choice import Export, LoadPlan, SkippedExport, load_plans, one_client
from shared.sources.exports.listing import FindOptions, export_unit, find_exports
from shared.sources.exports.parquet import ExportsSource
from shared.sources.times import timestamp
from shared.stores import Store, open_store
from shared.stores.expiry import bytes_per_second, expected_seconds, expiry_warning, refuse_expired


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions(RunOptions):
    """Which exports of a folder to load, and how."""

    system: str | None = None
    kind: Kind | None = None
    tables: tuple[str, ...] = ()
    client: str | None = None
    exported_at: str | None = None
    """Text of records (shared.model.to_text)."""
    everything: bool = False
    """Exports older than the newest full, too."""
    destination: str | None = None
    """Load into this one only, and only tables that go there."""


def exports_to_load(plans: Sequence[LoadPlan], failed: Collection[Export]) -> Iterator[Export | SkippedExport]:
    """Which exports to load, table by table, and why the others are skipped. The command line and jobs decide by this.

    A full that is in *failed* when the iteration goes on is not a base for deltas: the next older full follows. So a
    caller adds to *failed* whatever could not be merged, before it takes the next one.
    """
    for plan in plans:
        base: Export | None = None
        for full in plan.fulls:
            if base is not None:
                yield SkippedExport(full, f"superseded by the full export of {str(base.exported_at)[:19]}")
                continue
            yield full
            base = None if full in failed else full
        fresh, superseded = plan.after(base)
        yield from superseded
        yield from fresh


def load(
    runner: Runner, settings: Settings, location: str, options: LoadOptions, progress: Progress | None = None
) -> Iterator[Result]:  # fmt: skip
    """Load the exports at *location*, a result as each is done, those that are skipped included.

    ConfigError, before anything is read, if it is not clear what to load.
    """
    folder = _Folder.open(runner, settings, location, options)
    progress = progress or Progress()
    exports, unknown = folder.find(options)
    plans = load_plans(exports, everything=options.everything)
    if warning := folder.expiry_warning(exports, plans, again=options.again):
        progress.warn(warning)
    yield from map(_skipped, unknown)
    for plan in plans:
        yield from _load_table(folder, plan, options, progress)


def _load_table(folder: _Folder, plan: LoadPlan, options: LoadOptions, progress: Progress) -> Iterator[Result]:
    """Load one table into each of its destinations. They take an export together where it is the next one for both."""
    try:
        into = targets(folder.runner, folder.feed_of(plan.table), options.destination)
    except ConfigError as error:
        if options.destination is None:
            raise
        yield from (_skipped(SkippedExport(export, str(error))) for export in (*plan.fulls, *plan.deltas))
        return
    queues = [_NextExports(target, plan) for target in into]
    order = [*plan.fulls, *plan.deltas]
    taken = 0
    while waiting := [queue for queue in queues if queue.next is not None]:
        for queue in [one for one in waiting if isinstance(one.next, SkippedExport)]:
            yield replace(_skipped(queue.take_skipped()), destination=queue.target.name)
        exports = [queue.next for queue in waiting if isinstance(queue.next, Export)]
        if not exports:
            continue
        export = min(exports, key=order.index)
        together = [queue for queue in waiting if queue.next == export]
        alone = options.dry_run and taken > 0
        loaded = _compared_alone(export) if alone else export
        taken += 1
        for queue, result in zip(
            together, folder.load(loaded, [one.target for one in together], options, progress), strict=True
        ):
            queue.take(export, failed=result.failed)
            yield result


class _NextExports:
    """The exports of a table that a destination takes, one after the other."""

    def __init__(self, target: Target, plan: LoadPlan) -> None:
        self.target = target
        self._failed: set[Export] = set()
        self._rest = exports_to_load([plan], self._failed)
        self.next = next(self._rest, None)

    def take(self, export: Export, *, failed: bool) -> None:
        """Go on to the next one."""
        if failed:
            self._failed.add(export)
        self.next = next(self._rest, None)

    def take_skipped(self) -> SkippedExport:
        """The next one, which is skipped."""
        assert isinstance(self.next, SkippedExport)  # noqa: S101 - the caller has looked
        skipped, self.next = self.next, next(self._rest, None)
        return skipped


def audits(runner: Runner, settings: Settings, location: str, options: LoadOptions) -> Iterator[Audit]:
    """What each table of each export at *location* contains, compared with the warehouse.

    An export that cannot be read has the reason in its audit.
    """
    folder = _Folder.open(runner, settings, location, options)
    for export in folder.find(replace(options, kind=options.kind or "delta"))[0]:
        unit = Unit(
            kind=export.kind, files=tuple(asdict(file) for file in export.files), exported_at=export.exported_at
        )
        latest = latest_cursor(export.exported_at, runner.cursor_ahead)
        try:
            yield audit(
                export.table, unit, folder.source, folder.system, runner.warehouse, latest_cursor=latest,
                hash_key=runner.hash_key,
            )  # fmt: skip
        except IngestError as error:
            yield Audit.failed(folder.feed(export), [file.name for file in export.files], error)


# -- whose exports they are


def exporting_system(systems: Mapping[str, System], name: str | None, client: str | None) -> System:
    """The system that exports: the one of that *name*, else the one of the *client*, else the only one."""
    if name:
        if name not in systems:
            raise ConfigError(f"there is no system {name!r}", fix=f"Choose one of {', '.join(systems)}")
        return systems[name]
    exporting = _exporting(systems)
    of_client = [system for system in exporting if client and system.client == client]
    chosen = of_client or exporting
    if not chosen:
        raise ConfigError(
            "no system of the catalog has exports", fix='Declare one with source = "exports", or set CATALOG_PATH'
        )
    if len(chosen) != 1:
        raise ConfigError(f"{len(chosen)} systems of the catalog have exports", fix="Choose one with --system")
    return chosen[0]


def is_other_client(systems: Mapping[str, System], client: str | None) -> bool:
    """Whether exports of *client* belong to none of the systems. Those of an unknown client may be anyone's."""
    return client is not None and all(system.client not in (None, client) for system in _exporting(systems))


def _exporting(systems: Mapping[str, System]) -> list[System]:
    return [system for system in systems.values() if system.exporting]


def parse_time(text: str) -> str:
    """A time in ISO 8601, or in the 8 or 14 digits of an export folder, as text of records. UTC if it has no zone.

    ValueError if it is neither.

    >>> parse_time("20260224"), parse_time("2026-02-24T13:00+01:00")
    ('2026-02-24T00:00:00.000000', '2026-02-24T12:00:00.000000')
    """
    return timestamp(text) or to_text(dt.datetime.fromisoformat(text))


# -- one folder


def exports_source(store: Store, settings: Settings) -> ExportsSource:
    """Reads the exports in *store*, in slices and batches as the settings say."""
    return ExportsSource(store, slice_rows=settings.slice_rows, batch_rows=settings.batch_rows)


@dataclass(frozen=True, slots=True)
class _Folder:
    """A location with exports of one system."""

    runner: Runner
    settings: Settings
    store: Store
    system: System
    source: ExportsSource

    @classmethod
    def open(cls, runner: Runner, settings: Settings, location: str, options: LoadOptions) -> _Folder:
        store = open_store(location, settings)
        refuse_expired(store.expires, runner.now())
        system = exporting_system(runner.systems, options.system, options.client)
        return cls(runner, settings, store, system, exports_source(store, settings))

    def feed(self, export: Export) -> str:
        return self.feed_of(export.table)

    def feed_of(self, table: str) -> str:
        return str(FeedName(self.system.name, table))

    def find(self, options: LoadOptions) -> tuple[list[Export], list[SkippedExport]]:
        client = options.client or self.system.client
        find_options = FindOptions(
            kind=options.kind, client=client, exported_at=options.exported_at, tables=options.tables,
            settle_seconds=self.settings.settle, ahead_seconds=self.settings.cursor_ahead,
        )  # fmt: skip
        exports, unknown = find_exports(self.store, find_options, self.runner.now())
        return one_client(exports, client), unknown

    def load(
        self, export: Export, into: Sequence[Target], options: LoadOptions, progress: Progress
    ) -> list[Result]:  # fmt: skip
        """What became of an export in each destination."""
        feed = self.feed(export)
        progress.phase(f"{feed}: looking")
        try:
            unit = export_unit(export, self.store)
        except IngestError as error:
            results = [self._refused(target, export, error, options) for target in into]
        else:
            units = {target.name: unit for target in into}
            done = run_in_each(into, feed, units, self.source, options, place=export.folder, progress=progress)
            results = [self._with_link(result) for result in done]
        for result in results:
            progress.end(result)
        return results

    def _with_link(self, result: Result) -> Result:
        expires, now = self.store.expires, self.runner.now()
        return replace(result, forecast=result.forecast and with_link(result.forecast, expires, now))

    def _refused(self, target: Target, export: Export, error: IngestError, options: LoadOptions) -> Result:
        feed, unit = self.feed(export), _unnamed_unit(export)
        if not isinstance(target.found, Runner):
            return failed(target, feed, unit, target.found, export.folder)
        run = target.found.refuse(feed, unit, error, dry_run=options.dry_run)
        return Result(table=export.table, place=export.folder, destination=target.name, run=run)

    def expiry_warning(self, exports: Sequence[Export], plans: Sequence[LoadPlan], *, again: bool) -> str | None:
        """A warning if the right to read is likely to end before everything that is not loaded yet is read."""
        if self.store.expires is None:
            return None
        sizes = {file.name: file.size for export in exports for file in export.files}
        seconds = 0.0
        for plan in plans:
            fresh = {name: sizes[name] for name in self._to_read(plan, again=again)}
            runs = [run for runner in self._runners(plan) for run in runner.warehouse.runs(self.feed_of(plan.table))]
            seconds += expected_seconds(fresh, bytes_per_second(runs, sizes))
        return expiry_warning(self.store.expires, self.runner.now(), seconds)

    def _to_read(self, plan: LoadPlan, *, again: bool) -> list[str]:
        """Names of the files of a table that a load will read if none fails."""
        chosen = [export for export in exports_to_load([plan], ()) if isinstance(export, Export)]
        work_items = [work for export in chosen for work in export_unit(export, self.store).work_items]
        feed, ids = self.feed_of(plan.table), [work.id for work in work_items]
        known = [{} if again else runner.ledger.known(feed, ids) for runner in self._runners(plan)]
        return [work.name for work in work_items if not all(recorded([work], one).done for one in known)]

    def _runners(self, plan: LoadPlan) -> list[Runner]:
        """Of the destinations of a table."""
        found = targets(self.runner, self.feed_of(plan.table))
        return [target.found for target in found if isinstance(target.found, Runner)]


def _unnamed_unit(export: Export) -> Unit:
    work_items = tuple(WorkItem(work_id(file.name, file.version), file.name) for file in export.files)
    return Unit(kind=export.kind, work_items=work_items, exported_at=export.exported_at, client=export.client)


def _compared_alone(export: Export) -> Export:
    note = "compared with the warehouse as it is now, without the exports that would be loaded before it"
    return replace(export, note=with_note(export.note, note))


def _skipped(skipped: SkippedExport) -> Result:
    return Result(table=skipped.export.table, place=skipped.export.folder, skipped=skipped.reason)

"""Load the exports in a folder: which of them, in which order, and which one replaces a full that cannot be loaded."""

from __future__ import annotations

import datetime as dt

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from shared.catalog import System
from shared.errors import ConfigError, IngestError
from shared.ids import work_id
from shared.ledger import Ledger
from shared.model import FeedName, Kind, Unit, WorkItem, to_text, with_note
from shared.pipeline.audit import Audit, audit
from shared.pipeline.runner import Progress, Result, Runner, RunOptions
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
    failed: set[Export] = set()
    taken: Counter[str] = Counter()
    for export in exports_to_load(plans, failed):
        if isinstance(export, SkippedExport):
            yield _skipped(export)
            continue
        first = not (options.dry_run and taken[export.table])
        result = folder.load(export if first else _compared_alone(export), options, progress)
        taken[export.table] += 1
        if result.failed:
            failed.add(export)
        yield result


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
            yield audit(export.table, unit, folder.source, folder.system, runner.warehouse, latest_cursor=latest)
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
        return str(FeedName(self.system.name, export.table))

    def find(self, options: LoadOptions) -> tuple[list[Export], list[SkippedExport]]:
        client = options.client or self.system.client
        find_options = FindOptions(
            kind=options.kind, client=client, exported_at=options.exported_at, tables=options.tables,
            settle_seconds=self.settings.settle, ahead_seconds=self.settings.cursor_ahead,
        )  # fmt: skip
        exports, unknown = find_exports(self.store, find_options, self.runner.now())
        return one_client(exports, client), unknown

    def load(self, export: Export, options: LoadOptions, progress: Progress) -> Result:
        feed = self.feed(export)
        progress.phase(f"{feed}: looking")
        try:
            unit = export_unit(export, self.store)
        except IngestError as error:
            run = self.runner.refuse(feed, _unnamed_unit(export), error, dry_run=options.dry_run)
            result = Result(table=export.table, place=export.folder, run=run)
        else:
            result = self.runner.run_unit(feed, unit, self.source, options, place=export.folder, progress=progress)
        progress.end(result)
        return result

    def expiry_warning(self, exports: Sequence[Export], plans: Sequence[LoadPlan], *, again: bool) -> str | None:
        """A warning if the right to read is likely to end before everything that is not loaded yet is read."""
        if self.store.expires is None:
            return None
        sizes = {file.name: file.size for export in exports for file in export.files}
        seconds = 0.0
        for plan in plans:
            fresh = {name: sizes[name] for name in self._to_read(plan, again=again)}
            runs = self.runner.warehouse.runs(str(FeedName(self.system.name, plan.table)))
            seconds += expected_seconds(fresh, bytes_per_second(runs, sizes))
        return expiry_warning(self.store.expires, self.runner.now(), seconds)

    def _to_read(self, plan: LoadPlan, *, again: bool) -> list[str]:
        """Names of the files of a table that a load will read if none fails."""
        chosen = [export for export in exports_to_load([plan], ()) if isinstance(export, Export)]
        work_items = [work for export in chosen for work in export_unit(export, self.store).work_items]
        ledger: Ledger = self.runner.ledger
        known = (
            {} if again else ledger.known(str(FeedName(self.system.name, plan.table)), [work.id for work in work_items])
        )
        return [work.name for work in work_items if not recorded([work], known).done]


def _unnamed_unit(export: Export) -> Unit:
    work_items = tuple(WorkItem(work_id(file.name, file.version), file.name) for file in export.files)
    return Unit(kind=export.kind, work_items=work_items, exported_at=export.exported_at, client=export.client)


def _compared_alone(export: Export) -> Export:
    note = "compared with the warehouse as it is now, without the exports that would be loaded before it"
    return replace(export, note=with_note(export.note, note))


def _skipped(skipped: SkippedExport) -> Result:
    return Result(table=skipped.export.table, place=skipped.export.folder, skipped=skipped.reason)

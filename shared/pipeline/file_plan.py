"""What loading a file would change in the columns of its table, and how long it takes. Writes nothing anywhere."""

from __future__ import annotations

import itertools

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from shared.contract import types
from shared.contract.change import conflict, type_change
from shared.contract.conform import ROW, Contract, fit, folded
from shared.contract.hidden import Hiding, How, Privacy, how
from shared.contract.mapping import map_headers, with_choices
from shared.errors import ConfigError, IngestError
from shared.model import SYSTEM_COLUMNS, Column, Feed, FeedName, Json, Unit
from shared.pipeline.columns import admitted, missing, stored_types, with_types
from shared.pipeline.csv import CsvOptions, text_layout
from shared.pipeline.destinations import runner_to_look_at
from shared.pipeline.folder import exports_source
from shared.pipeline.forecast import Forecast, Load, forecast
from shared.pipeline.runner import Runner
from shared.settings import Settings
from shared.sources import KINDS, Described, Source
from shared.sources.csv.files import FileOptions, text_files, text_unit
from shared.sources.csv.source import CsvSource
from shared.sources.exports.listing import FindOptions, export_unit, find_exports
from shared.stores import Store, open_store
from shared.stores.expiry import refuse_expired
from shared.warehouses import LimitsLog

Change: TypeAlias = Literal[
    "same", "new", "widened", "declared", "text", "no values", "ignored", "excluded", "extra", "missing", "refused"
]
"""What becomes of a column: it is as it was; added; gets a wider type, the one that the catalog declares, or text by
on_type_change; has no value and so no type; is left out by on_new_column, or by exclude; is kept in Extra as no column
takes it; the file lacks it; or the load stops."""

_SAMPLE = 3
_RUNS = 20
"""Runs that a forecast looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnPlan:
    """One column of a file, or of its table."""

    column: str
    """As it is stored."""
    source: str | None
    """As the file calls it; None if the file lacks it."""
    type: str | None = None
    """Of the table after the load."""
    stored: str | None = None
    """Of the table now."""
    change: Change
    hidden: How | None = None
    """Whether it is hashed, or how it is masked."""
    note: str | None = None
    """What there is to say of it, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlan:
    """What loading one file, or the part files of one table, would do."""

    feed: str
    destination: str
    files: tuple[str, ...]
    size: int
    """Bytes of the files."""
    rows: int | None = None
    """None: a text file has to be read to its end for that."""
    is_new: bool = False
    """Whether there is no table yet."""
    columns: tuple[ColumnPlan, ...] = ()
    sample: tuple[Mapping[str, Json], ...] = ()
    """The first rows as they would be stored. Those that would be rejected are left out."""
    notes: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    """Why the load would stop, each with what to do; empty: by its columns it goes on."""
    forecast: Forecast | None = None


def file_plans(
    runner: Runner, settings: Settings, feed: str, location: str, options: CsvOptions | None = None
) -> Iterator[FilePlan]:
    """The plan of each text file at *location*, or of the newest export of the table of *feed* there.

    Of *options*, those that say how text is read count, and the destination: without one it is the feed's first.
    ConfigError if *feed* is not in the catalog or not loaded from files, or if nothing is at *location*.
    """
    options = options or CsvOptions()
    name = FeedName.parse(feed)
    system = runner.systems.get(name.system)
    if system is None:
        known = ", ".join(runner.systems)
        raise ConfigError(f"there is no system {name.system!r} in the catalog", fix=f"Choose one of {known}")
    source = system.tables.get(name.table, {}).get("source", system.source)
    if KINDS[source].pulled:
        raise ConfigError(
            f"{feed} is not loaded from files",
            fix=f"See what a sync would do with `sluice sync {system.name} --dry-run`",
        )
    store = open_store(location, settings)
    refuse_expired(store.expires, runner.now())
    if KINDS[source].delivers == "text":
        layout = with_choices(replace(text_layout(runner.systems, name), **options.dialect), options.choices)
        into = runner_to_look_at(runner, feed, options.destination)
        into = into.with_system(system.with_layout(name.table, layout))
        for found in text_files(store):
            reader = CsvSource(store, layout, batch_rows=options.batch_rows or settings.batch_size)
            unit = text_unit(found, store, FileOptions(full=options.full), runner.now())
            yield _plan_of(name, store, into, unit, reader)
        return
    into = runner_to_look_at(runner, feed, options.destination)
    unit = _export(runner, name, store, full=options.full)
    yield _plan_of(name, store, into, unit, exports_source(store, settings))


def _plan_of(name: FeedName, store: Store, runner: Runner, unit: Unit, source: Source) -> FilePlan:
    """The plan of one *unit* of files. An error of ours that a load would end with is what it stops at."""
    bare = FilePlan(
        feed=str(name), destination=runner.destination, files=tuple(str(file["name"]) for file in unit.files),
        size=sum(int(file["size"]) for file in unit.files),
    )  # fmt: skip
    try:
        described = source.describe(unit)
        system = runner.systems[name.system]
        feed = system.feed(name.table, list(_headers(described)))
        Hiding(feed, runner.hash_key)
        columns = fit(described.schemas, feed)
    except IngestError as error:
        return replace(bare, stops=(str(error),))
    stored = stored_types(name.system, name.table, runner.warehouse)
    plans, stops = _columns(described, feed, columns, stored, bare.files)
    rows = sum(part.rows for part in described.slices) if KINDS[feed.source].delivers == "exports" else None
    sample = _sample(source, described, feed, columns, runner.hash_key) if not stops else _Sample()
    load = Load(rows=rows, size=bare.size, row_bytes=sample.row_bytes, expires=store.expires)
    return replace(
        bare, rows=rows, is_new=not stored, columns=tuple(plans), stops=tuple(stops), sample=sample.rows,
        notes=(*_dialect(described), *missing(described.schemas, feed), *described.faulty.values()),
        forecast=_forecast(load, runner, str(name)),
    )  # fmt: skip


def _export(runner: Runner, name: FeedName, store: Store, *, full: bool) -> Unit:
    """The newest export of a table in *store*. A single file is taken whatever its name is."""
    alone = len([*itertools.islice(store.list(), 2)]) == 1
    options = FindOptions(kind="full" if full else None, tables=() if alone else (name.table,))
    try:
        exports, _ = find_exports(store, options, runner.now())
    except ConfigError:
        exports, _ = find_exports(store, replace(options, kind="delta"), runner.now())
    return export_unit(max(exports, key=lambda export: export.exported_at or ""), store)


def _headers(described: Described) -> dict[str, None]:
    return dict.fromkeys(name for schema in described.schemas.values() for name in schema.names)


def _dialect(described: Described) -> Sequence[str]:
    """How a text file was understood."""
    found: Sequence[str] = described.slices[0].detail.get("dialect", {}).get("notes", ()) if described.slices else ()
    return found


# -- columns


def _columns(
    described: Described, feed: Feed, columns: Sequence[Column], stored: Mapping[str, str], files: Sequence[str]
) -> tuple[list[ColumnPlan], list[str]]:
    """What becomes of each column, and why the load would stop."""
    stops: list[str] = []
    try:
        _, ignored = admitted(columns, feed, stored)
        refused: list[str] = []
    except IngestError as error:
        stops.append(str(error))
        ignored, refused = [], [column.name for column in columns]
    known = {folded(name): (name, kind) for name, kind in stored.items()}
    typed = with_types(columns, feed, stored)
    plans = []
    for column in typed:
        if not column.source:
            plans += [_plan(header, header, "extra", note="kept in Extra, as no column takes it")
                      for header in _extra(described, feed)]  # fmt: skip
        there, kind = known.get(folded(column.name), (column.name, None))
        one = _of_file(feed, column, there, kind, stored)
        if column.name in ignored and one.change == "new":
            one = replace(one, change="ignored", type=None, note="left out, as on_new_column says")
        elif column.name in refused and one.change == "new":
            one = replace(one, change="refused", type=None, note="new")
        elif one.change == "refused" and kind is not None:
            stops.append(str(conflict(feed, there, kind, column.type, files)))
        if column.source or kind is not None or _extra(described, feed):
            plans.append(one)
    return [*plans, *_excluded(described, feed), *_lacking(feed, typed, stored)], stops


def _of_file(feed: Feed, column: Column, name: str, stored: str | None, table: Mapping[str, str]) -> ColumnPlan:
    form = how(feed, column.source, column.name)
    about: dict[str, Any] = {"column": name, "source": column.source or None, "stored": stored, "hidden": form}
    if stored is None:
        is_empty = column.type == types.NULL
        note = "has no values, so it gets no column yet" if is_empty else None
        kind = None if is_empty else column.type
        return ColumnPlan(**about, type=kind, change="no values" if is_empty else "new", note=note)
    change = type_change(feed, name, stored, column.type)
    notes = {
        "widened": f"{stored} becomes {change.type}",
        "declared": f"{stored} becomes {change.type} as the catalog declares, if every stored value fits",
        "text": f"{stored} becomes text as on_type_change says",
        "refused": f"{stored} cannot become {change.type}",
    }
    return ColumnPlan(**about, type=change.type, change=change.verb, note=notes.get(change.verb))


def _plan(column: str, source: str | None, change: Change, **about: Any) -> ColumnPlan:
    return ColumnPlan(column=column, source=source, change=change, **about)


def _extra(described: Described, feed: Feed) -> tuple[str, ...]:
    return map_headers(list(_headers(described)), feed.layout).unmapped if feed.layout else ()


def _excluded(described: Described, feed: Feed) -> Iterator[ColumnPlan]:
    excluded = {folded(name) for name in feed.exclude}
    for header in _headers(described):
        if folded(header) in excluded:
            yield _plan(header, header, "excluded", note="not stored")


def _lacking(feed: Feed, columns: Sequence[Column], stored: Mapping[str, str]) -> Iterator[ColumnPlan]:
    """Columns that the table has, or the layout, and the file lacks."""
    given = {folded(column.name) for column in columns} | {folded(name) for name in SYSTEM_COLUMNS}
    for name, kind in stored.items():
        if folded(name) not in given:
            yield _plan(name, None, "missing", type=kind, stored=kind, hidden=how(feed, name), note="keeps its values")
    there = given | {folded(name) for name in stored}
    for column in feed.layout.columns if feed.layout else ():
        if folded(column.name) not in there:
            yield _plan(column.name, None, "missing", hidden=how(feed, column.name), note="no header means it")


# -- the first rows, and the time


@dataclass(frozen=True, slots=True)
class _Sample:
    rows: tuple[Mapping[str, Json], ...] = ()
    row_bytes: float | None = None


def _sample(
    source: Source, described: Described, feed: Feed, columns: Sequence[Column], hash_key: str | None
) -> _Sample:  # fmt: skip
    batches = (one for part in described.slices[:1] for one in source.read(part) if isinstance(one, pa.RecordBatch))
    batch = next(batches, None)
    if batch is None or not batch.num_rows:
        return _Sample()
    accepted = Contract(feed, columns, privacy=Privacy(hash_key=hash_key)).conform(batch.slice(0, _SAMPLE), 0).accepted
    rows = [{name: value for name, value in row.items() if name != ROW} for row in accepted.to_pylist()]
    return _Sample(tuple(rows), batch.nbytes / batch.num_rows)


def _forecast(load: Load, runner: Runner, feed: str) -> Forecast:
    history = runner.warehouse
    own = history.runs(feed, limit=_RUNS)
    others = [] if any(run.read for run in own) else history.recent(_RUNS)
    rate = history.log_rate() if isinstance(history, LimitsLog) else None
    return forecast(load, own, others, runner.now(), rate)

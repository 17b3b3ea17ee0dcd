"""Load text files into one feed, or show beforehand what loading them would do."""

from __future__ import annotations

import datetime as dt
import itertools

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import pyarrow as pa

from shared.catalog import System, aliases
from shared.contract.conform import ROW, Contract, fit
from shared.contract.hidden import Privacy
from shared.contract.mapping import map_headers, with_choices
from shared.declared import Layout
from shared.errors import ConfigError, DataError, IngestError
from shared.model import Column, FeedName, Json, Slice, Unit
from shared.pipeline.destinations import Target, run_in_each, targets
from shared.pipeline.forecast import with_link
from shared.pipeline.progress import Progress, Result
from shared.pipeline.runner import Runner, RunOptions
from shared.settings import Settings
from shared.sources import Source
from shared.sources.csv import infer
from shared.sources.csv.files import FileOptions, text_files, text_unit
from shared.sources.csv.source import CsvSource
from shared.stores import open_store
from shared.stores.expiry import refuse_expired

CatalogEdit: TypeAlias = aliases.Edit

_SAMPLE = 3
"""Rows that a preview shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvOptions(RunOptions):
    """How to read and load text files."""

    full: bool = False
    exported_at: str | None = None
    """Text of records."""
    choices: Mapping[str, str] = field(default_factory=dict)
    """The column for some headers."""
    dialect: Mapping[str, Any] = field(default_factory=dict)
    """What is known of encoding, delimiter, quote, escape and header: it goes before the catalog."""
    batch_rows: int | None = None
    """Rows in memory at once; by default the setting."""
    destination: str | None = None
    """Load into this one only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """How a file is understood."""

    notes: tuple[str, ...]
    """Dialect, and what was skipped, as sentences."""
    columns: tuple[Column, ...]
    unmapped: tuple[str, ...]
    """Headers kept in Extra."""
    suggestions: Mapping[str, str]
    """The column that some of them resemble."""
    missing: tuple[str, ...]
    """Columns of the layout that the file does not have."""
    sample: tuple[tuple[Mapping[str, Json], Mapping[str, Json]], ...]
    """The first rows as the file has them, and as they would be loaded (empty if rejected)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvResult(Result):
    """What became of one file, with its preview on a dry run."""

    preview: Preview | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    """What the file has beside records, by kind: rows above the header, blank lines and rows, repeated header rows.
    The note of the run says it, too."""


def text_layout(systems: Mapping[str, System], feed: FeedName) -> Layout:
    """The layout of *feed*. ConfigError, naming those that have one, if it has none."""
    layouts = {one.name: one.layout for system in systems.values() for one in system.feeds() if one.layout is not None}
    if str(feed) not in layouts:
        listed = ", ".join(name.replace(".", " ") for name in layouts) or "none"
        raise ConfigError(
            f"there is no layout for {feed.system} {feed.table}; known are {listed}",
            fix="Write one with `sluice csv infer FILE` and save it in the catalog",
        )
    return layouts[str(feed)]


def load(
    runner: Runner,
    settings: Settings,
    feed: FeedName,
    location: str,
    options: CsvOptions,
    progress: Progress | None = None,
) -> Iterator[CsvResult]:
    """Load every text file at *location* into *feed*, a result as each is done.

    ConfigError, before anything is read, for a feed without layout, a wrong choice, or a location without files.
    """
    declared = text_layout(runner.systems, feed)
    layout = with_choices(replace(declared, **options.dialect), options.choices)
    system = runner.systems[feed.system]
    runner = runner.with_system(system.with_layout(feed.table, layout))
    into = targets(runner, str(feed), options.destination)
    store = open_store(location, settings)
    refuse_expired(store.expires, runner.now())
    files = text_files(store)
    batch_rows = options.batch_rows or settings.batch_size
    for found in files:
        shown = _ByBytes(progress or Progress(), found.file.size, runner.timer)
        source = CsvSource(store, layout, batch_rows=batch_rows, on_bytes=shown.read)
        shown.phase(f"{feed}: looking")
        file_options = FileOptions(full=options.full, exported_at=options.exported_at)
        unit = text_unit(found, store, file_options, runner.now() + dt.timedelta(seconds=runner.cursor_ahead))
        for result in _load(runner, into, unit, source, feed, options, shown):
            expected = result.forecast and with_link(result.forecast, store.expires, runner.now())
            yield replace(result, forecast=expected)


def _load(
    runner: Runner,
    into: Sequence[Target],
    unit: Unit,
    source: CsvSource,
    feed: FeedName,
    options: CsvOptions,
    progress: Progress,
) -> Iterator[CsvResult]:
    preview = None
    if options.dry_run:
        try:
            preview = preview_of(unit, source, runner.systems[feed.system], feed.table, runner.hash_key)
        except IngestError:
            preview = None  # the run fails by the same error, and reports it
    units, place = {target.name: unit for target in into}, unit.work_items[0].name
    for result in run_in_each(into, str(feed), units, source, options, place=place, progress=progress):
        progress.end(result)
        yield CsvResult(
            table=result.table, place=result.place, destination=result.destination, run=result.run,
            skipped=result.skipped, changes=result.changes, reasons=result.reasons, preview=preview,
            left_out=+source.left_out, forecast=result.forecast,
        )  # fmt: skip
        preview = None  # it is shown once


def saved_choices(systems: Mapping[str, System], feed: FeedName, choices: Mapping[str, str]) -> CatalogEdit | None:
    """The catalog file in which the columns that an operator chose have their headers as aliases. None: they have.

    ConfigError if it cannot say so. Nothing is written yet.
    """
    with_choices(text_layout(systems, feed), choices)
    return aliases.with_aliases(systems[feed.system], feed.table, choices)


def inferred(settings: Settings, location: str, *, system: str | None, table: str | None) -> str:
    """A catalog file for the first text file at *location*, as TOML with comments on what is unsure.

    DataError if the file cannot be read, or if it has no rows.
    """
    store = open_store(location, settings)
    found = next(text_files(store))
    source = CsvSource(store, Layout(columns=()), batch_rows=settings.batch_size)
    unit = Unit(kind="delta", files=(found.fields,))
    part = source.describe(unit).slices[0]
    read, count = [], 0
    for batch in source.read(part):
        if isinstance(batch, pa.RecordBatch):
            read.append(batch)
            count += batch.num_rows
        if count >= infer.MOST_ROWS:
            break
    if not count:
        raise DataError(f"{found.name} has no rows to infer a layout from", fix="Give a file that has some")
    rows = pa.Table.from_batches(read)
    names = infer.names_for(found.name)
    return infer.entry(
        infer.propose(rows), system or names["system"], table or names["table"], is_whole=count < infer.MOST_ROWS
    )


def preview_of(unit: Unit, source: Source, system: System, table: str, hash_key: str | None = None) -> Preview:
    """How the file of *unit* is understood. DataError if it cannot be read."""
    described = source.describe(unit)
    ((_, schema),) = described.schemas.items()
    feed = system.feed(table, schema.names)
    layout = feed.layout
    assert layout is not None  # noqa: S101 - text files have one
    columns = fit(described.schemas, feed)
    mapped = map_headers(schema.names, layout)
    found = {column.name for column in columns}
    part = described.slices[0]
    return Preview(
        notes=(*part.detail["dialect"]["notes"], *_order_notes(columns, layout)),
        columns=columns,
        unmapped=mapped.unmapped,
        suggestions=mapped.suggestions,
        missing=tuple(column.name for column in layout.columns if column.name not in found),
        sample=tuple(_sample(source, part, Contract(feed, columns, privacy=Privacy(hash_key=hash_key)))),
    )


def _order_notes(columns: tuple[Column, ...], layout: Layout) -> Iterator[str]:
    """What was decided of dates whose day and month could be either."""
    cleaners = {column.name: column.cleaner for column in layout.columns}
    for column in columns:
        if cleaners.get(column.name) not in ("date", "timestamp"):
            continue
        first = layout.day_first if column.day_first is None else column.day_first
        reason = (
            "the catalog says so, as the file does not show it" if column.day_first is None else "the file shows it"
        )
        yield f"{column.name}: dates are read with the {'day' if first else 'month'} first, because {reason}"


def _sample(
    source: Source, part: Slice, contract: Contract
) -> Iterator[tuple[Mapping[str, Json], Mapping[str, Json]]]:  # fmt: skip
    batch = next((one for one in source.read(part) if isinstance(one, pa.RecordBatch)), None)
    for row in itertools.islice(range(batch.num_rows if batch else 0), _SAMPLE):
        one = batch.slice(row, 1)  # type: ignore[union-attr]  # there is a row
        cleaned = contract.conform(one, 0).accepted.to_pylist()
        values = {name: value for name, value in cleaned[0].items() if name != ROW} if cleaned else {}
        yield contract.redacted(one).to_pylist()[0], values


class _ByBytes(Progress):
    """Counts bytes of a file where others count rows."""

    def __init__(self, shown: Progress, size: int, timer: Callable[[], float]) -> None:
        super().__init__()
        self._shown, self._size, self._timer = shown, size, timer
        self._since, self._rows = 0.0, 0

    def start(self, label: str, rows: int) -> None:
        self._since, self._rows = self._timer(), 0
        self._shown.start(label, self._size)

    def rows(self, count: int) -> None:
        self._rows += count
        seconds = max(self._timer() - self._since, 1e-3)
        self._shown.detail(f"{self._rows:,} rows, {self._rows / seconds:,.0f} rows/s")

    def read(self, size: int) -> None:
        self._shown.rows(size)

    def phase(self, label: str) -> None:
        self._shown.phase(label)

    def wait(self, text: str) -> None:
        self._shown.wait(text)

    def end(self, result: Result) -> None:
        self._shown.end(result)

    def warn(self, text: str) -> None:
        self._shown.warn(text)

"""What loading a text file would do, as text that can be kept and shown: its mapping, and a dry run."""

from __future__ import annotations

import datetime as dt

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa

from shared.contract.conform import Contract
from shared.contract.hidden import Privacy
from shared.errors import IngestError
from shared.model import MAIN, Column, FeedName
from shared.pipeline.csv import CsvOptions, CsvResult, Preview, load, preview_of, text_layout
from shared.pipeline.file_plan import file_plans
from shared.pipeline.runner import Runner
from shared.pipeline.status import COUNTED
from shared.settings import Settings
from shared.sources.csv.files import FileOptions, text_files, text_unit
from shared.sources.csv.source import CsvSource
from shared.stores import open_store

MOST_BYTES = 20_000_000
"""Of a file that a dry run reads whole, into the warehouse; of a larger one the first rows are checked without it."""
_FIRST_ROWS = 50_000
_LONGEST = 200
"""Characters of a value in a sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOutcome:
    """What a dry run did in one destination, for one file of an archive."""

    place: str
    destination: str = MAIN
    counts: Mapping[str, int] = field(default_factory=dict)
    note: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What loading a file would do."""

    notes: tuple[str, ...] = ()
    columns: tuple[tuple[str, str, str], ...] = ()
    """Header (of several, with commas), column, type."""
    unmapped: tuple[str, ...] = ()
    suggestions: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    sample: tuple[tuple[tuple[str, str, str | None], ...], ...] = ()
    """For each of the first rows: column, as the file has it, as it would be loaded (None if it is rejected)."""
    outcomes: tuple[TrialOutcome, ...] = ()
    reasons: Mapping[str, int] = field(default_factory=dict)
    changes: tuple[tuple[str, str, str], ...] = ()
    """What becomes of the columns of the table: column, kind of change, note; without those that stay."""
    forecast: str = ""
    """How long a load is likely to take, for people."""
    checked: int | None = None
    """How many of the first rows were checked, where the file is too large for a dry run."""
    error: str | None = None
    """Why it cannot be loaded at all."""


def try_file(runner: Runner, settings: Settings, feed: FeedName, location: str, *, full: bool) -> Trial:
    """What loading the file at *location* into *feed* would do. ConfigError for a feed without layout."""
    text_layout(runner.systems, feed)
    try:
        size = sum(file.size for file in open_store(location, settings).list())
        if size > MOST_BYTES:
            return _checked(runner, settings, feed, location)
        plan = next(file_plans(runner, settings, str(feed), location, CsvOptions(full=full)))
        results = list(load(runner, settings, feed, location, CsvOptions(dry_run=True, full=full)))
    except IngestError as error:
        return Trial(error=str(error))
    preview = next((one.preview for one in results if one.preview is not None), None)
    reasons = sum((Counter(one.reasons) for one in results if one.destination == MAIN), Counter[str]())
    shown = _of_preview(preview) if preview else Trial()
    return replace(
        shown, outcomes=tuple(map(_outcome, results)), reasons=dict(reasons.most_common(10)),
        changes=tuple((one.column, one.change, one.note or "") for one in plan.columns if one.change != "same"),
        forecast=plan.forecast.text if plan.forecast else "",
    )  # fmt: skip


def _outcome(result: CsvResult) -> TrialOutcome:
    run = result.run
    if run is None:
        return TrialOutcome(place=result.place, destination=result.destination, note=result.skipped)
    counts = {name: count for name in COUNTED if (count := getattr(run, name))}
    return TrialOutcome(
        place=result.place, destination=result.destination, counts=counts, note=run.note, error=run.error
    )  # fmt: skip


def _checked(runner: Runner, settings: Settings, feed: FeedName, location: str) -> Trial:
    """The first rows of a large file, read and checked without the warehouse."""
    store, system = open_store(location, settings), runner.systems[feed.system]
    found = next(text_files(store))
    source = CsvSource(store, text_layout(runner.systems, feed), batch_rows=settings.batch_size)
    latest = runner.now() + dt.timedelta(seconds=runner.cursor_ahead)
    unit = text_unit(found, store, FileOptions(), latest)
    preview = preview_of(unit, source, system, feed.table, runner.hash_key)
    part, privacy = source.describe(unit).slices[0], Privacy(hash_key=runner.hash_key)
    contract = Contract(system.feed(feed.table, ()), preview.columns, privacy=privacy)
    rows, rejected, reasons = 0, 0, Counter[str]()
    for batch in source.read(part):
        if isinstance(batch, pa.RecordBatch):
            conformed = contract.conform(batch, rows)
            rows, rejected = rows + batch.num_rows, rejected + conformed.rejected
            reasons.update(" ".join(filter(None, (one.code, one.column))) for one in conformed.rejects)
        if rows >= _FIRST_ROWS:
            break
    outcome = TrialOutcome(place=found.name, counts={"read": rows, "rejected": rejected})
    shown = _of_preview(preview)
    return replace(shown, checked=rows, outcomes=(outcome,), reasons=dict(reasons.most_common(10)))


def _sources(column: Column) -> tuple[str, ...]:
    return tuple(name for name in (column.source, *column.more) if name)


def _of_preview(preview: Preview) -> Trial:
    columns = tuple((", ".join(_sources(one)), one.name, one.type) for one in preview.columns)
    sample = tuple(
        tuple(
            (one.name, _short(" ".join(str(before.get(name) or "") for name in _sources(one))),
             _short(after.get(one.name)) if after else None)
            for one in preview.columns if _sources(one)
        )
        for before, after in preview.sample
    )  # fmt: skip
    return Trial(
        notes=preview.notes, columns=columns, unmapped=preview.unmapped, suggestions=dict(preview.suggestions),
        missing=preview.missing, sample=sample,
    )  # fmt: skip


def _short(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."

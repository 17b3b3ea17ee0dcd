"""Compare a file that is not loaded with the warehouse: rows, deletions, range of the cursor, columns."""

from __future__ import annotations

import datetime as dt

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from shared.arrow import pc
from shared.catalog import System
from shared.contract import cursor, types
from shared.contract.change import type_change
from shared.contract.conform import Contract, fit
from shared.contract.hidden import Privacy
from shared.errors import IngestError
from shared.model import SYSTEM_COLUMNS, Column, Feed, Slice, Unit
from shared.sources import Source
from shared.warehouses import History, Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What a file holds, and what the warehouse holds of its feed."""

    feed: str
    files: Sequence[str]
    rows: int = 0
    active: int = 0
    deleted: int = 0
    rejected: int = 0
    lowest: str | None = None
    """Oldest and newest cursor of the file, as cursor text."""
    highest: str | None = None
    columns: Sequence[Column] = ()
    differences: Sequence[str] = ()
    """How the file's columns differ from the table's, as sentences."""
    stored: Profile = field(default_factory=lambda: Profile(columns={}))
    error: str | None = None
    """Why a load would refuse it; then nothing else is known."""

    @classmethod
    def failed(cls, feed: str, files: Sequence[str], error: IngestError) -> Audit:
        return cls(feed=feed, files=files, error=str(error))


def audit(
    table: str, unit: Unit, source: Source, system: System, history: History, *, latest_cursor: dt.datetime | None,
    hash_key: str | None = None,
) -> Audit:  # fmt: skip
    """Read all of *unit* as a load would. DataError if a load would refuse it."""
    described = source.describe(unit)
    feed = system.feed(table, [name for schema in described.schemas.values() for name in schema.names])
    columns = fit(described.schemas, feed)
    contract = Contract(feed, columns, latest_cursor=latest_cursor, privacy=Privacy(hash_key=hash_key))
    rows = deleted = rejected = 0
    low: Any = None
    high: Any = None
    for part in described.slices:
        for batch in source.read(part):
            if isinstance(batch, Slice):  # exports have no such places
                continue
            if not isinstance(batch, pa.RecordBatch):
                rows, rejected = rows + len(batch), rejected + len(batch)
                continue
            found = contract.conform(batch, 0)
            rows, rejected = rows + batch.num_rows, rejected + found.rejected
            deleted += _flagged(found.accepted, feed)
            low, high = _span(found.accepted, feed, low, high)
    stored = history.profile(feed)
    return Audit(
        feed=feed.name, files=list(described.schemas), rows=rows, active=rows - rejected - deleted, deleted=deleted,
        rejected=rejected, lowest=_text(low), highest=_text(high), columns=columns,
        differences=_differences(columns, stored, feed), stored=stored,
    )  # fmt: skip


def _flagged(batch: pa.RecordBatch, feed: Feed) -> int:
    if feed.deleted is None or feed.deleted not in batch.schema.names:
        return 0
    return int(pc.sum(batch[feed.deleted]).as_py() or 0)


def _span(batch: pa.RecordBatch, feed: Feed, low: Any, high: Any) -> tuple[Any, Any]:
    if feed.cursor is None or feed.cursor not in batch.schema.names:
        return low, high
    found: Any = pc.min_max(batch[feed.cursor]).as_py()
    lows = [value for value in (low, found["min"]) if value is not None]
    highs = [value for value in (high, found["max"]) if value is not None]
    return min(lows, default=None), max(highs, default=None)


def _text(value: Any) -> str | None:
    return None if value is None else cursor.text(value)


_CONVERTED = {
    "declared": "converted to it, if every stored value fits",
    "text": "text, as on_type_change says",
    "refused": "refused",
}


def _differences(columns: Sequence[Column], stored: Profile, feed: Feed) -> list[str]:
    """What a load would do about each."""
    if not stored.columns:
        return ["there is no table yet"]
    known = {name.casefold(): (name, kind) for name, kind in stored.columns.items()}
    found: list[str] = []
    for column in columns:
        name, kind = known.get(column.name.casefold(), (column.name, None))
        if kind is None:
            found += [f"new column {column.name} ({column.type})"] if column.type != types.NULL else []
            continue
        change = type_change(feed, name, kind, column.type)
        if change.verb == "widened":
            found.append(f"{name} would be widened from {kind} to {change.type}")
        elif result := _CONVERTED.get(change.verb):
            found.append(f"{name} is {kind} in the table and {column.type} here: would be {result}")
    given = {column.name.casefold() for column in columns}
    given |= {name.casefold() for name in SYSTEM_COLUMNS}
    found += [f"column {name} is missing here: keeps its values" for f, (name, _) in known.items() if f not in given]
    return found

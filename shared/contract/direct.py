"""Whether rows can be loaded as they are: what to look for in a file that an engine reads by itself. Pure.

``Contract.conform`` changes nothing of such rows and rejects none. It is what decides where anything else is found.
"""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import pyarrow as pa

from shared.contract import types
from shared.contract.layout import cleaned_columns
from shared.model import Column, Feed

Rule: TypeAlias = Literal["not null", "finite", "no NUL", "within"]


@dataclass(frozen=True, slots=True)
class Check:
    """What every value of a column must be; NULL passes all but the first rule."""

    column: str
    rule: Rule
    low: dt.date | None = None
    """The bounds of ``within``, both allowed: dates, or instants (naive, UTC) where the column has instants."""
    high: dt.date | None = None


_SAME = {"boolean", "smallint", "integer", "bigint", "real", "double", "text", "date", "timestamp"}
_LIMITS = {
    "date": (dt.date(1, 1, 1), dt.date(9999, 12, 31)),
    "timestamp": (dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999)),  # noqa: DTZ001 - naive UTC
}


def checks(
    feed: Feed, columns: Sequence[Column], schema: pa.Schema, latest_cursor: dt.datetime | None
) -> list[Check] | None:
    """What makes rows of a file with *schema* ones that ``Contract.conform`` leaves as they are.

    None if it would convert a column whatever its values.
    """
    if feed.hash or feed.mask:
        return None
    if cleaned_columns(feed, columns) or any(not _is_stored_as_is(column, schema, feed) for column in columns):
        return None
    cursor = next((column for column in columns if column.name == feed.cursor), None)
    if cursor is not None and cursor.type == "text":
        return None  # the highest text is not looked for
    if any(key not in {column.name for column in columns if column.type != types.NULL} for key in feed.keys):
        return None
    return [check for column in columns for check in _checks(feed, column, latest_cursor)]


def _is_stored_as_is(column: Column, schema: pa.Schema, feed: Feed) -> bool:
    if column.type == types.NULL:
        return True  # not stored at all
    if column.source not in schema.names or (column.type == "timestamp" and feed.timezone != "UTC"):
        return False
    known = column.type in _SAME or column.type.startswith("decimal")
    return known and bool(schema.field(column.source).type.equals(types.to_arrow(column.type)))


def _checks(feed: Feed, column: Column, latest: dt.datetime | None) -> Iterator[Check]:
    name = column.name
    if name in feed.keys:
        yield Check(name, "not null")
    if column.type in ("real", "double"):
        yield Check(name, "finite")
    elif column.type == "text":
        yield Check(name, "no NUL")
    elif column.type in _LIMITS:
        low, high = _LIMITS[column.type]
        if name == feed.cursor and latest is not None:
            high = min(high, latest if column.type == "timestamp" else latest.date())
        yield Check(name, "within", low, high)

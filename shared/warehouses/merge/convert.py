"""Converts a stored column to the type that the catalog declares, if every stored value fits."""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from shared.contract import types
from shared.contract.cast import cast
from shared.errors import DataError
from shared.model import Feed
from shared.warehouses.merge.session import Session
from shared.warehouses.merge.types import text

_PAGE = 20_000
_AT_ONCE = 500
"""Rows of one INSERT: SQL Server takes 2,100 parameters."""
_SHOWN = 3


def prepare(session: Session, feed: Feed, column: sa.Column[Any], stored: str, declared: str) -> None:
    """Make sure that the engine can change *column* of a table of *feed* from type *stored* to *declared*.

    Text is rewritten as the engine reads it. DataError names the first values that do not fit, and nothing has changed
    once the transaction is rolled back.
    """
    if declared == "text":
        return  # whatever a number is, its digits are a text
    known = _scratch(session)
    for values in _pages(session, column):
        converted = cast(pa.array(values, types.to_arrow(stored)), declared, feed.timezone)
        unfit = [value for n, value in enumerate(values) if any(f.where[n].as_py() for f in converted.faults)]
        if unfit:
            raise DataError(
                f"column {column.name!r} of {feed.name} is {stored}, and cannot become {declared} as the catalog"
                f" declares: it has {', '.join(map(repr, map(_shown, unfit[:_SHOWN])))}",
                fix=f"Declare it {stored}, or correct these values in the table",
            )
        if stored == "text":
            written = map(_written, converted.values.to_pylist())
            _note(session, known, [pair for pair in zip(values, written, strict=True) if pair[0] != pair[1]])
    if stored == "text":
        same = session.exact(column)[0] == known.c.before
        session.change(sa.update(column.table).where(same).values({column.name: known.c.after}))


def _pages(session: Session, column: sa.Column[Any]) -> Iterator[list[Any]]:
    """The different values of *column* but NULL, in its order, a page at a time."""
    exact = session.exact(column)[0]
    last: Any = None
    while True:
        above = column.is_not(None) if last is None else exact > last
        query = sa.select(exact.label("value")).where(above).distinct().order_by(sa.text("1")).limit(_PAGE)
        values = [value for (value,) in session.rows(query)]
        if not values:
            return
        yield values
        last = values[-1]


def _shown(value: Any) -> str:
    return str(value)[:50]


def _written(value: Any) -> str:
    """A value as every engine reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.datetime):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else repr(value)


def _scratch(session: Session) -> sa.Table:
    """Texts to be written in another way."""
    exact = text(None, exact=True)
    return session.scratch("rewritten", [sa.Column("before", exact), sa.Column("after", exact)])


def _note(session: Session, known: sa.Table, pairs: list[tuple[str, str]]) -> None:
    for start in range(0, len(pairs), _AT_ONCE):
        rows = [{"before": before, "after": after} for before, after in pairs[start : start + _AT_ONCE]]
        session.change(sa.insert(known).values(rows))

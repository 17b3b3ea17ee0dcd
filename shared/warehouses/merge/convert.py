"""Converts a stored column to another type, if every stored value fits."""

from __future__ import annotations

import datetime as dt
import itertools

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
from shared.warehouses.merge.types import sql_type, text, whole

_PAGE = 20_000
_AT_ONCE = 500
"""Rows of one INSERT: SQL Server takes 2,100 parameters."""
_SHOWN = 3
_SPELLED = "_sluice_text"
"""Column with the texts, until it replaces the original column."""
_numbers = itertools.count()
"""Numbers that tell scratch tables of one transaction apart."""


def prepare(session: Session, feed: Feed, column: sa.Column[Any], stored: str, declared: str) -> None:
    """Make sure that the engine can change *column* of a table of *feed* from type *stored* to *declared*.

    Text is rewritten as the engine reads it. DataError names the first values that do not fit, and nothing has changed
    once the transaction is rolled back.
    """
    if declared == "text":
        return  # every value has one, see ``change``
    known = _scratch(session, "text")
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


def change(session: Session, feed: Feed, table: sa.Table, name: str, stored: str) -> None:
    """Give a stored column of type *stored*, which was prepared, the type that it has in *table*.

    Values that engines write differently, or cut off, become the text that the contract makes of them.
    """
    if not isinstance(table.c[name].type, sa.Text) or types.is_exact(stored) or stored == "text":
        session.change_type(table, table.c[name])
        return
    columns = sa.Column(name, sql_type(stored)), sa.Column(_SPELLED, table.c[name].type)
    rows = sa.Table(table.name, sa.MetaData(), *columns, schema=table.schema)
    known = _scratch(session, stored)
    pages = iter([[False, True]]) if stored == "boolean" else _pages(session, rows.c[name])
    for values in pages:
        texts: list[Any] = cast(pa.array(values, types.to_arrow(stored)), "text", feed.timezone).values.to_pylist()
        _note(session, known, [pair for pair in zip(values, texts, strict=True) if pair[1] is not None])
    session.add_column(rows, _SPELLED, "text")
    session.change(sa.update(rows).where(rows.c[name] == known.c.before).values({_SPELLED: known.c.after}))
    lost = sa.select(sa.func.count()).select_from(rows).where(rows.c[name].is_not(None), rows.c[_SPELLED].is_(None))
    if session.rows(lost)[0][0]:
        raise DataError(
            f"column {name!r} of {feed.name} is {stored}, and some of its values have no text",
            fix=f"Declare it {stored}, or correct these values in the table",
        )
    session.replace_column(rows, name, _SPELLED)


def _pages(session: Session, column: sa.Column[Any]) -> Iterator[list[Any]]:
    """The different values of *column* but NULL, in its order, a page at a time."""
    exact = session.exact(column)[0]
    last: Any = None
    while True:
        above = column.is_not(None) if last is None else exact > whole(last, column.type)
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


def _scratch(session: Session, kind: str) -> sa.Table:
    """Values of that type, and the texts that they become."""
    exact = text(None, exact=True)
    before = exact if kind == "text" else sql_type(kind)
    return session.scratch(f"as_text_{next(_numbers)}", [sa.Column("before", before), sa.Column("after", exact)])


def _note(session: Session, known: sa.Table, pairs: list[tuple[Any, str]]) -> None:
    for start in range(0, len(pairs), _AT_ONCE):
        rows = [
            {"before": whole(before, known.c.before.type), "after": after}
            for before, after in pairs[start : start + _AT_ONCE]
        ]
        session.change(sa.insert(known).values(rows))

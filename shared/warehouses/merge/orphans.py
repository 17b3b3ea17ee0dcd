"""Rows that refer to a key of another feed that is not there: they are loaded, counted and listed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from shared.contract.conform import folded
from shared.model import Feed, Orphans
from shared.warehouses.merge import shape
from shared.warehouses.merge.session import Expression, Session
from shared.warehouses.merge.types import TEXT

_SHOWN = 10


def orphans(session: Session, feed: Feed, run: str | None) -> Iterator[Orphans]:
    """Of every column of *feed* with a reference, if it has any; only of rows that *run* wrote, if one is given.

    All columns are counted in one query, which reads the table once.
    """
    stored = session.columns(feed.system, feed.table)
    spelled = {folded(name): name for name in stored}
    table = shape.target(feed, stored)
    leading_nowhere = {
        spelled[folded(column)]: (references, leads_nowhere(session, references, table.c[spelled[folded(column)]]))
        for column, references in feed.references.items()
        if folded(column) in spelled
    }
    if not leading_nowhere:
        return
    rows = sa.and_(table.c[shape.DELETED].is_(None), *([] if run is None else [table.c[shape.BY] == run]))
    numbers = _count(session, table, rows, [condition for _, condition in leading_nowhere.values()])
    for number, (name, (references, condition)) in zip(numbers, leading_nowhere.items(), strict=True):
        if number:
            values = _commonest(session, table.c[name], sa.and_(rows, condition))
            yield Orphans(column=name, references=references, rows=number, values=values)


def leads_nowhere(session: Session, references: str, value: Any) -> Expression:
    """Whether *value* is no key of the active rows it refers to; NULL refers to nothing."""
    system, table, key = references.split(".")
    columns = session.columns(system, table)
    name = {folded(column): column for column in columns}.get(folded(key))
    if name is None:
        present: Expression = value.is_not(None)
        return present
    # By another name, because a table may refer to itself.
    other = shape.target(Feed(system=system, table=table, source="", keys=(name,)), columns).alias("referred")
    as_text = not are_comparable(value.type, other.c[name].type)
    mine, theirs = (_comparable(session, one, as_text=as_text) for one in (value, other.c[name]))
    there = sa.exists().where(theirs == mine, other.c[shape.DELETED].is_(None)).correlate(value.table)
    found: Expression = sa.and_(value.is_not(None), ~there)
    return found


def are_comparable(one: Any, other: Any) -> bool:
    """Whether values of two types of SQLAlchemy can be compared as they are, on every engine."""
    return isinstance(one, type(other)) or all(isinstance(kind, sa.Integer | sa.Numeric) for kind in (one, other))


def _comparable(session: Session, column: Expression, *, as_text: bool) -> Expression:
    return sa.cast(column, TEXT) if as_text else session.exact(column)[0]


def _count(session: Session, table: sa.Table, rows: Expression, conditions: Sequence[Expression]) -> list[int]:
    """How many of *rows* meet each condition."""
    # In a query of its own: SQL Server takes no subquery within an aggregate.
    flags = [sa.case((condition, 1), else_=0).label(f"n{number}") for number, condition in enumerate(conditions)]
    found = sa.select(*flags).select_from(table).where(rows).subquery("found")
    counted = sa.select(*(sa.func.sum(found.c[flag.name]) for flag in flags))
    return [int(number or 0) for number in session.rows(counted)[0]]


def _commonest(session: Session, value: sa.Column[Any], rows: Expression) -> tuple[str, ...]:
    number = sa.func.count()
    some = sa.select(value, number).where(rows).group_by(value).order_by(number.desc()).limit(_SHOWN)
    return tuple(str(row[0]) for row in session.rows(some))

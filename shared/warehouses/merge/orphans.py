"""Rows that refer to a key of another feed that is not there: they are loaded, counted and listed."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from shared.model import Feed, Orphans
from shared.warehouses.merge import shape
from shared.warehouses.merge.session import Expression, Session
from shared.warehouses.merge.types import TEXT

_SHOWN = 10


def orphans(session: Session, feed: Feed, run: str | None) -> Iterator[Orphans]:
    """Of every column of *feed* with a reference, if it has any; only of rows that *run* wrote, if one is given."""
    stored = session.columns(feed.system, feed.table)
    for column in feed.layout.columns if feed.layout else ():
        if column.references is not None and column.name in stored:
            found = _orphans(session, shape.target(feed, stored), column.name, column.references, run)
            if found.rows:
                yield found


def _orphans(session: Session, table: sa.Table, name: str, references: str, run: str | None) -> Orphans:
    value = table.c[name]
    where: list[sa.ColumnElement[bool]] = [table.c[shape.DELETED].is_(None), value.is_not(None)]
    if run is not None:
        where.append(table.c[shape.BY] == run)
    there = _key(session, references, value)
    if there is not None:
        where.append(~there)
    number = sa.func.count()
    rows = session.rows(sa.select(number).select_from(table).where(*where))[0][0]
    some = sa.select(value, number).where(*where).group_by(value).order_by(number.desc()).limit(_SHOWN)
    values = tuple(str(row[0]) for row in session.rows(some)) if rows else ()
    return Orphans(column=name, references=references, rows=int(rows), values=values)


def _key(session: Session, references: str, value: sa.Column[object]) -> sa.ColumnElement[bool] | None:
    """Whether *value* is a key of the active rows it refers to; None if there is no such column."""
    system, name, key = references.split(".")
    columns = session.columns(system, name)
    if key not in columns:
        return None
    # By another name, because a table may refer to itself.
    other = shape.target(Feed(system=system, table=name, source="", keys=(key,)), columns).alias("referred")
    same_kind = isinstance(value.type, type(other.c[key].type))
    mine, theirs = (_comparable(session, one, as_text=not same_kind) for one in (value, other.c[key]))
    active = other.c[shape.DELETED].is_(None)
    return sa.exists().where(theirs == mine, active).correlate(value.table)


def _comparable(session: Session, column: Expression, *, as_text: bool) -> Expression:
    return sa.cast(column, TEXT) if as_text else session.exact(column)[0]

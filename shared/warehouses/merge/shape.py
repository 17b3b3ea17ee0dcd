"""The columns of a merged table: create it, or let it grow to hold what a run brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from shared.contract import types
from shared.contract.change import conflict, stored_in_clear, type_change
from shared.contract.conform import ROW, folded
from shared.contract.hidden import how, is_hidden
from shared.model import SYSTEM_COLUMNS, Column, Feed, Plan, Staged
from shared.warehouses.merge import convert, ddl
from shared.warehouses.merge.session import Session
from shared.warehouses.merge.types import key_types, sql_type

FIRST, SYNCED, BY, DELETED = SYSTEM_COLUMNS
OUR_TYPES = {FIRST: "timestamp", SYNCED: "timestamp", BY: "text", DELETED: "timestamp"}


class Shape(NamedTuple):
    """A feed's table as a run finds it, after it has grown."""

    table: sa.Table
    stored: Mapping[str, str]
    """How the table spells a column of the run, by the run's name for it. Columns without any type are left out
    unless the table has them."""
    kept: Sequence[str]
    """Columns of the table that the run lacks: they keep their values."""


def target(feed: Feed, columns: Mapping[str, str], options: Mapping[str, Any] | None = None) -> sa.Table:
    """The table of *feed* with *columns*, for building statements; with *options* to create it."""
    return sa.Table(feed.table, sa.MetaData(), *described(feed, columns), schema=feed.system, **(options or {}))


def described(feed: Feed, columns: Mapping[str, str]) -> list[sa.Column[Any]]:
    """Columns of a table of *feed*, its own or one for staging, by name and column type."""
    declared = {folded(key) for key in feed.keys}
    keys = key_types({name: kind for name, kind in columns.items() if folded(name) in declared})
    return [sa.Column(name, keys.get(name) or sql_type(kind)) for name, kind in columns.items()]


def staging(feed: Feed, columns: Sequence[Column], name: str, schema: str) -> sa.Table:
    """A staging table: the number of the row, then *columns*."""
    rows = described(feed, {column.name: column.type for column in columns})
    return sa.Table(name, sa.MetaData(), sa.Column(ROW, sa.BigInteger), *rows, schema=schema)


def staged_columns(plan: Plan, part: Staged) -> dict[str, list[Column]]:
    """The staging tables of a slice by name, with their columns: its rows, and the keys of those rejected."""
    stored = [column for column in plan.columns if column.type != types.NULL]
    keys = [column for column in stored if column.name in plan.feed.keys]
    return {part.table: stored, **({part.present: keys} if part.present else {})}


def grow(
    session: Session, feed: Feed, wanted: Sequence[Column], files: Sequence[str], before: Mapping[str, str]
) -> Shape:  # fmt: skip
    """Create the table, add columns it lacks, widen those too narrow. DataError where types do not go together.

    *before* are the types of its columns by name, none if there is no table.
    """
    if not before:
        return _created(session, feed, wanted)
    spelled = {folded(name): name for name in before}
    after = dict(before)
    stored: dict[str, str] = {}
    for column in wanted:
        known = spelled.get(folded(column.name))
        if known is not None:
            stored[column.name] = known
            _refuse_clear(session, feed, column, target(feed, before).c[known])
            after[known] = _widened(session, feed, known, (before[known], column.type), files)
        elif column.type != types.NULL:
            stored[column.name] = column.name
            after[column.name] = column.type
            session.add_column(target(feed, before), column.name, column.type)
    table = target(feed, after)
    if after != before and DELETED in after:
        ddl.create_active_view(session, table, DELETED)
    given = set(stored.values())
    return Shape(table, stored, [name for name in after if name not in given and name not in SYSTEM_COLUMNS])


def _refuse_clear(session: Session, feed: Feed, column: Column, stored: sa.Column[Any]) -> None:
    """DataError if a column is to be hidden now, and the first value that is stored of it is not."""
    form = how(feed, column.source, column.name)
    if form is None or not isinstance(stored.type, sa.Text):
        return
    for (value,) in session.rows(sa.select(stored.label("value")).where(stored.is_not(None)).limit(1)):
        if not is_hidden(form, value):
            raise stored_in_clear(feed, column.name)


def _created(session: Session, feed: Feed, wanted: Sequence[Column]) -> Shape:
    columns = {column.name: column.type for column in wanted if column.type != types.NULL}
    table = target(feed, {**columns, **OUR_TYPES}, session.table_options)
    ddl.create_schema(session, feed.system)
    ddl.create_table(session, table)
    _add_view_and_indexes(session, feed, table)
    return Shape(table, {name: name for name in columns}, ())


def renew_view(session: Session, shape: Shape) -> None:
    """Let the view of active rows know of changed columns."""
    ddl.create_active_view(session, shape.table, DELETED)


def _add_view_and_indexes(session: Session, feed: Feed, table: sa.Table) -> None:
    ddl.create_active_view(session, table, DELETED)
    _index(session, feed, table)


def _index(session: Session, feed: Feed, table: sa.Table) -> None:
    if session.indexes:
        ddl.create_index(session, table, feed.keys, kind=session.key_index)
        ddl.create_key_index(session, table, feed.keys, FIRST, DELETED)


def _widened(session: Session, feed: Feed, name: str, pair: tuple[str, str], files: Sequence[str]) -> str:
    stored, incoming = pair
    change = type_change(feed, name, stored, incoming)
    if change.verb == "refused":
        raise conflict(feed, name, stored, incoming, files)
    if change.type == stored:
        return stored
    if change.verb == "declared":
        convert.prepare(session, feed, target(feed, {name: stored}).c[name], stored, incoming)
    _change_type(session, feed, target(feed, {name: change.type}), name, stored)
    return change.type


def _change_type(session: Session, feed: Feed, table: sa.Table, name: str, stored: str) -> None:
    pinned = session.indexes_pin and folded(name) in {folded(key) for key in feed.keys}
    if pinned:
        ddl.drop_indexes(session, table)
    convert.change(session, feed, table, name, stored)
    if pinned:
        _index(session, feed, table)


def finish(session: Session, feed: Feed, values: Mapping[str, object], drop: str) -> sa.Table:
    """Make an adopted staging table the feed's table: our four columns with *values* for its rows, *drop* gone."""
    before = session.columns(feed.system, feed.table)
    table = target(feed, before)
    for name, kind in OUR_TYPES.items():
        ddl.add_column(session, table, name, kind, values.get(name))
    ddl.drop_column(session, table, drop)
    table = target(feed, {**{name: kind for name, kind in before.items() if name != drop}, **OUR_TYPES})
    _add_view_and_indexes(session, feed, table)
    return table

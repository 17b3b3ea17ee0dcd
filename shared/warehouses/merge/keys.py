"""Key reconciliation: which active rows the source no longer has. All its keys are staged, and nothing else of it.

What is decided here of a row, ``merge`` applies as it does what a full lacks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from shared.contract import types
from shared.contract.conform import ROW, folded
from shared.errors import DataError
from shared.model import Column, Feed
from shared.warehouses.merge.changes import BY, DELETED, FIRST, OUTCOME, SYNCED, Rules, as_type, at, equal, from_export
from shared.warehouses.merge.session import Session
from shared.warehouses.merge.shape import Shape, described, target

_FLAGGED = "_sluice_flagged"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedTable:
    """The feed's table as it is, and the types its keys and the staged ones are compared as."""

    shape: Shape
    """With the keys alone in ``stored``."""
    kinds: Mapping[str, str]
    """Column type by the run's name of a key: the wider one, where the source's differs."""


def find_table(session: Session, feed: Feed, columns: Sequence[Column]) -> KeyedTable | None:
    """None if there is no table yet. DataError if it does not have the keys, or has others than the source."""
    before = session.columns(feed.system, feed.table)
    if not before:
        return None
    spelled = {folded(name): name for name in before}
    stored, kinds = {}, {}
    for column in columns:
        own = spelled.get(folded(column.name))
        kind = types.widened(before[own], column.type) if own else None
        if own is None:
            raise DataError(
                f"the keys of {feed.name} cannot be compared: its table has no column {column.name!r}",
                fix=f"Drop table {feed.name} and sync it with --full, or give the feed its former keys",
            )
        if kind is None:
            raise DataError(
                f"the keys of {feed.name} cannot be compared: {column.name!r} is {before[own]} here, but {column.type}"
                " at the source",
                fix="Sync it first, which converts the column or says why it cannot be converted",
            )
        stored[column.name], kinds[column.name] = own, kind
    return KeyedTable(shape=Shape(target(feed, before), stored, ()), kinds=kinds)


def absences(session: Session, rules: Rules, table: KeyedTable, staged: Sequence[sa.FromClause]) -> sa.Select[Any]:
    """The active rows whose key no table of *staged* has: as ``changes`` has those that are ``absent``.

    What a run has written since the reading of the keys began may have come, or come back, behind it: it stays. So
    does what is from a later export.
    """
    t = _stored(rules, table)
    gone = [
        t.c[DELETED].is_(None),
        t.c[SYNCED] < at(rules.exported),
        from_export(rules, t.c[BY], ">") == 0,
    ]
    for number, part in enumerate(staged):
        keys = _staged(rules, table, part, f"s{number}")
        gone.append(~sa.exists().where(*(equal(session, keys.c[key], t.c[key]) for key in rules.feed.keys)))
    return sa.select(
        sa.cast(sa.null(), sa.BigInteger).label(ROW),
        *(t.c[key] for key in rules.feed.keys),
        sa.literal("absent").label(OUTCOME),
        t.c[FIRST],
        at(rules.exported).label(DELETED),
    ).where(*gone)


def strangers(session: Session, rules: Rules, table: KeyedTable, staged: sa.FromClause) -> sa.Select[Any]:
    """How many staged keys the table lacks, and how many it has as deleted though their rows carry no flag. One row."""
    t, s = _stored(rules, table), _staged(rules, table, staged, "s")
    same = sa.and_(*(equal(session, s.c[key], t.c[key]) for key in rules.feed.keys))
    deleted = sa.and_(t.c[DELETED].is_not(None), t.c[_FLAGGED] == 0)
    counts: list[Any] = [sa.func.count(sa.case((one, 1))) for one in (t.c[_FLAGGED].is_(None), deleted)]
    return sa.select(*counts).select_from(s.join(t, same, isouter=True))


def note(missing: int, deleted: int) -> str | None:
    """What ``strangers`` found, for people.

    >>> note(1, 0), note(2, 3), note(0, 0)
    ('1 key of the source is not here yet', '2 keys of the source are not here yet, 3 are deleted here', None)
    """
    parts = [f"{_count(missing)} not here yet"] if missing else []
    if deleted:
        number = "1 is" if deleted == 1 else f"{deleted:,} are"
        parts.append(f"{number if missing else _count(deleted)} deleted here")
    return ", ".join(parts) or None


def _count(keys: int) -> str:
    return f"{keys:,} {'key of the source is' if keys == 1 else 'keys of the source are'}"


def _stored(rules: Rules, table: KeyedTable) -> sa.Subquery:
    rows, stored = table.shape.table, zip(table.shape.stored.items(), _types(rules, table), strict=True)
    keys = ((key, rows.c[own], kind) for (key, own), kind in stored)
    return sa.select(
        *(as_type(column, kind).label(key) for key, column, kind in keys),
        sa.case((_flag(rules.feed, rows), 1), else_=0).label(_FLAGGED),
        *(rows.c[name] for name in (FIRST, SYNCED, BY, DELETED)),
    ).subquery("t")


def _staged(rules: Rules, table: KeyedTable, part: sa.FromClause, name: str) -> sa.Subquery:
    keys = zip(table.kinds, _types(rules, table), strict=True)
    return sa.select(*(as_type(part.c[key], kind).label(key) for key, kind in keys)).subquery(name)


def _types(rules: Rules, table: KeyedTable) -> list[Any]:
    return [column.type for column in described(rules.feed, table.kinds)]


def _flag(feed: Feed, rows: sa.Table) -> sa.ColumnElement[bool]:
    """Whether a stored row carries the deletion flag; the table spells its column in a way of its own."""
    flags = [column for column in rows.c if feed.deleted and folded(column.name) == folded(feed.deleted)]
    return sa.func.coalesce(flags[0], sa.false()) == sa.true() if flags else sa.false()

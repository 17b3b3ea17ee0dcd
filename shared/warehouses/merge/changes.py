"""Which rows will differ, and how: the rules of docs/tables.md as one SELECT. Builds statements, runs none."""

from __future__ import annotations

import datetime as dt

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import sqlalchemy as sa

from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from shared.contract.conform import ROW
from shared.model import SYSTEM_COLUMNS, Feed
from shared.warehouses.merge import ingest
from shared.warehouses.merge.session import Expression, Session
from shared.warehouses.merge.shape import Shape
from shared.warehouses.merge.types import DATETIME

FIRST, SYNCED, BY, DELETED = SYSTEM_COLUMNS
Collection: TypeAlias = "sa.sql.expression.ColumnCollection[str, Any]"
OUTCOME = "_sluice_outcome"
TIED = "tied"
"""Outcome, for now, of a row that has the cursor of the stored one: only by its content it differs or does not."""
PLACE = "_sluice_place"
_PRINT = "_sluice_print"
_HERE = "_sluice_here"
_AFTER = "_sluice_after"
_SETTLED = "_sluice_settled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What decides between a stored row and an incoming one."""

    feed: Feed
    now: dt.datetime
    exported: dt.datetime | None
    overtaken_by: dt.datetime | None
    """Time of the earliest complete full exported after this run that is merged already: then the run is late."""
    superseded_by: dt.datetime | None = None
    """Time of the earliest such full, or of keys that were compared: what a complete run lacks is no news then."""
    newest: dt.datetime | None = None
    """When the newest export of the feed was made that is merged already."""
    full: bool
    """A complete run that is not late: what it lacks is gone, and a full repairs."""
    compare: bool = True
    """Whether content is compared, which costs more than all the rest. Else rows that have to be are ``TIED``."""


def equal(session: Session, one: Expression, other: Expression) -> Expression:
    """Whether two values of a key are the same, to the letter."""
    return sa.and_(*(a == b for a, b in zip(session.exact(one), session.exact(other), strict=True)))


def changes(
    session: Session, rules: Rules, shape: Shape, incoming: sa.FromClause, present: Sequence[sa.FromClause]
) -> sa.Select[tuple[object, ...]]:
    """Key, row number, outcome, FirstSyncAt and DeletedAt of every row that is not ``unchanged``.

    Where the engine says in which place it stores a row, that too. *incoming* has one row a key. ``absent`` rows have
    no row number; ``stale`` ones are there to be counted.
    """
    s, t = _incoming(session, rules, shape, incoming), _stored(session, rules, shape)
    keys = rules.feed.keys
    same_key = sa.and_(*(equal(session, s.c[key], t.c[key]) for key in keys))
    gone_at = _gone_at(rules, s, t)
    decided = sa.select(
        s.c[ROW].label(ROW),
        *(sa.func.coalesce(s.c[key], t.c[key]).label(key) for key in keys),
        _outcome(session, rules, s, t, gone_at, present).label(OUTCOME),
        sa.func.coalesce(t.c[FIRST], at(rules.now)).label(FIRST),
        sa.case((s.c[ROW].is_(None), at(rules.exported)), else_=gone_at).label(DELETED),
        *(t.c[name] for name in (PLACE,) if name in t.c),
    ).select_from(s.join(t, same_key, isouter=True, full=rules.full))
    found = decided.subquery("decided")
    return sa.select(*found.c).where(found.c[OUTCOME] != "unchanged")  # NULL, an active row left alone, goes too


def at(moment: dt.datetime | None) -> Expression:
    """A moment as a value of a statement, with its type: a NULL has none of its own."""
    return sa.cast(sa.literal(moment, DATETIME), DATETIME)


def outcome_is(found: sa.Table, *outcomes: str) -> sa.ColumnElement[bool]:
    """Whether a row of the table that the changes were put into has one of *outcomes*."""
    # Not IN: SQLAlchemy expands that after compiling, by a mark in the text that a column's name may have as well.
    return sa.or_(*(found.c[OUTCOME] == outcome for outcome in outcomes))


def flagged(feed: Feed, columns: Collection) -> Expression:
    """Whether a row carries the deletion flag."""
    if feed.deleted is None or feed.deleted not in columns:
        return sa.false()
    return sa.func.coalesce(columns[feed.deleted], sa.false()) == sa.true()


def flag_time(feed: Feed, columns: Collection, *otherwise: Expression) -> Expression:
    """When a flagged row was deleted: at its cursor if that is an instant, else the first known of *otherwise*."""
    cursor = columns.get(feed.cursor or "")
    instants = [cursor] if cursor is not None and isinstance(cursor.type, sa.DateTime) else []
    return sa.func.coalesce(*instants, *otherwise)


def _incoming(session: Session, rules: Rules, shape: Shape, parts: sa.FromClause) -> sa.Subquery:
    """The staged rows, each column as the type it is stored in."""
    feed = rules.feed
    cast = {name: as_stored(parts, name, shape.table.c[stored].type) for name, stored in shape.stored.items()}
    content = [name for name in shape.stored if name not in feed.keys]
    needed = [name for name in (*feed.keys, feed.cursor, feed.deleted) if name]
    return sa.select(
        parts.c[ROW].label(ROW),
        *(_needed(session, feed, name, cast[name]) for name in dict.fromkeys(needed) if name in cast),
        *_comparable(session, rules, {name: cast[name] for name in content}),
    ).subquery("s")


def as_stored(parts: sa.FromClause, name: str, kind: sa.types.TypeEngine[object]) -> Expression:
    if name not in parts.c:  # the column has no value in the whole run, and so no type of its own
        return sa.cast(sa.null(), kind)
    return as_type(parts.c[name], kind)


def as_type(column: Expression, kind: sa.types.TypeEngine[object]) -> Expression:
    """*column*, cast to *kind* unless it is of that type."""
    return column if repr(column.type) == repr(kind) else sa.cast(column, kind)


def _stored(session: Session, rules: Rules, shape: Shape) -> sa.Subquery:
    feed, table = rules.feed, shape.table
    named = {name: table.c[stored] for name, stored in shape.stored.items()}
    content = {name: column for name, column in named.items() if name not in feed.keys}
    cursors = [feed.cursor] if feed.cursor in named and feed.cursor not in feed.keys else []
    return sa.select(
        *(named[key].label(key) for key in feed.keys),
        *(_needed(session, feed, name, named[name]) for name in cursors),
        *_comparable(session, rules, content),
        sa.literal(1).label(_HERE),
        table.c[FIRST],
        table.c[DELETED],
        from_export(rules, table.c[BY], ">").label(_AFTER),
        from_export(rules, table.c[BY], ">=").label(_SETTLED),
        *(place.label(PLACE) for place in [session.place(table)] if place is not None),
    ).subquery("t")


def _needed(session: Session, feed: Feed, name: str, column: Expression) -> sa.Label[Any]:
    """A key, cursor or flag under the run's name for it; a cursor so that it sorts the same on every engine."""
    return (session.exact(column)[0] if name == feed.cursor and name not in feed.keys else column).label(name)


def _comparable(session: Session, rules: Rules, content: Mapping[str, Expression]) -> list[sa.Label[Any]]:
    """What two versions of a row are compared by: one fingerprint, or every column under a name of its own."""
    if not rules.compare:
        return []
    if not content:
        return [sa.literal(0).label(_PRINT)]
    mark = session.fingerprint(list(content.values()))
    if mark is not None:
        return [mark.label(_PRINT)]
    exact = [part for column in content.values() for part in session.exact(column)]
    return [part.label(f"{_PRINT}_{n}") for n, part in enumerate(exact)]


def from_export(rules: Rules, by: Expression, operator: Literal[">", ">="]) -> Expression:
    """1 if a stored row is from an export after this one (or, with ``>=``, not before it), else 0.

    Mostly there is no such export, and then no row needs to be looked at.
    """
    exported, newest = rules.exported, rules.newest
    if exported is None or newest is None or not (newest > exported or (newest == exported and operator == ">=")):
        return sa.literal_column("0", sa.Integer)
    run = ingest.RUN.c
    that = run.exported_at.op(operator, is_comparison=True)(exported)
    found = sa.select(run.id).where(run.feed == rules.feed.name, run.status == "done", that)
    return sa.case((by.in_(found), 1), else_=0)


def _gone_at(rules: Rules, s: sa.Subquery, t: sa.Subquery) -> Expression:
    """DeletedAt of the incoming row. What only a late file brings is gone since the full that lacked it."""
    exported = [at(rules.exported)] if rules.exported else []
    since = flag_time(rules.feed, s.c, *exported, t.c[DELETED], at(rules.now))
    return sa.case((flagged(rules.feed, s.c), since), else_=at(rules.overtaken_by))


def _outcome(
    session: Session, rules: Rules, s: sa.Subquery, t: sa.Subquery, gone_at: Expression,
    present: Sequence[sa.FromClause],
) -> Expression:  # fmt: skip
    unknown: Expression = sa.literal("inserted")
    if rules.feed.deletes == "hard":
        unknown = sa.case((gone_at.is_not(None), "unchanged"), else_="inserted")
    same = (_Same(*_content_of(s), gone_at, *_content_of(t), t.c[DELETED]), "unchanged")
    newer = sa.case(
        same if rules.compare else (_ties(rules, s, t), TIED),
        (sa.and_(t.c[DELETED].is_(None), gone_at.is_not(None)), "deleted"),
        (sa.and_(t.c[DELETED].is_not(None), gone_at.is_(None)), "undeleted"),
        else_="updated",
    )
    cases: list[tuple[Any, Any]] = [(t.c[_HERE].is_(None), unknown)]
    if rules.full:
        cases.insert(0, (s.c[ROW].is_(None), _absent(session, rules, t, present)))
    if rules.overtaken_by is not None:
        cases.append((t.c[DELETED].is_(None), sa.literal("stale")))
    return sa.case(*cases, (_newer(rules, s, t), newer), else_="stale")


def _absent(session: Session, rules: Rules, t: sa.Subquery, present: Sequence[sa.FromClause]) -> Expression:
    """A stored row the full lacks: gone, unless it is gone already, younger, or only rejected."""
    stays = [t.c[DELETED].is_not(None), t.c[_AFTER] == 1]
    for keys in present:
        stays.append(sa.exists().where(*(equal(session, keys.c[key], t.c[key]) for key in rules.feed.keys)))
    return sa.case((sa.or_(*stays), sa.null()), else_="absent")


def _content_of(rows: sa.Subquery) -> list[Expression]:
    return [column for column in rows.c if column.name.startswith(_PRINT)]


class _Same(FunctionElement[bool]):
    """Whether the first half of some expressions equals the second, one by one; NULL equals NULL."""

    type = sa.Boolean()
    inherit_cache = False


@compiles(_Same)
def _each_is_same(element: _Same, compiler: Any, **kw: Any) -> str:
    """One comparison for each pair."""
    pairs = (one.is_not_distinct_from(other) for one, other in _pairs(element))
    return str(compiler.process(sa.and_(*pairs).self_group(), **kw))


@compiles(_Same, "mssql")
def _each_is_same_or_null(element: _Same, compiler: Any, **kw: Any) -> str:
    """Comparisons that are evaluated in the row itself (decision 0031). Where one is unknown, the rows differ."""
    pairs = (equal_or_null(one, other) for one, other in _pairs(element))
    return str(compiler.process(sa.and_(*pairs).self_group(), **kw))


def equal_or_null(one: Expression, other: Expression) -> Expression:
    """True only where both are the same or NULL; unknown where one of them is NULL."""
    return sa.or_(one == other, sa.and_(one.is_(None), other.is_(None)))


def _pairs(element: _Same) -> list[tuple[Any, Any]]:
    parts = list(element.clauses)
    half = len(parts) // 2
    return list(zip(parts[:half], parts[half:], strict=True))


def _ties(rules: Rules, s: sa.Subquery, t: sa.Subquery) -> Expression:
    """Whether a row has the cursor of the stored one."""
    cursor = rules.feed.cursor
    if cursor is None or cursor not in s.c or cursor not in t.c:
        return sa.literal_column("1", sa.Integer) == sa.literal_column("1", sa.Integer)  # T-SQL has no true
    return equal_or_null(s.c[cursor], t.c[cursor])


def _newer(rules: Rules, s: sa.Subquery, t: sa.Subquery) -> Expression:
    """Newest wins: a higher cursor; or an equal one, and the stored row is not from a later export.

    A full that repairs also replaces what is from earlier exports, whatever the cursor.
    """
    cursor = rules.feed.cursor
    not_after = t.c[_AFTER] == 0
    if cursor is None or cursor not in s.c or cursor not in t.c:
        wins = [not_after]
    else:
        new, old = s.c[cursor], t.c[cursor]
        higher = sa.or_(new > old, sa.and_(old.is_(None), new.is_not(None)))
        wins = [higher, sa.and_(_ties(rules, s, t), not_after)]
    if rules.full:
        wins.append(t.c[_SETTLED] == 0)
    return sa.or_(*wins)

"""Versions of rows: what a feed with ``history`` keeps beside its table, and the view that says when each was valid.

``<table>_versions`` has each content that a key ever had, with the time from which it held. Rows are only added: how
long a version held follows from the next one of its key, so a late file finds its place without changing another
row. ``<table>_history`` is the view that shows both times. The last version of a key is the row of the table, always.
"""

from __future__ import annotations

import hashlib

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from shared.contract.conform import ROW, folded
from shared.errors import ConfigError
from shared.model import Feed
from shared.warehouses import VERSIONS
from shared.warehouses.merge import convert, ddl
from shared.warehouses.merge.changes import (
    BY,
    DELETED,
    SYNCED,
    Rules,
    as_stored,
    at,
    equal,
    equal_or_null,
    flag_time,
    flagged,
    outcome_is,
)
from shared.warehouses.merge.session import VIEW_MARK, Expression, Session
from shared.warehouses.merge.shape import Shape, target

HISTORY = "_history"
FROM, TO = "ValidFrom", "ValidTo"
_SETTLED = "_sluice_settled"
"""When a run put a version after all others that begin at the same time; NULL: its cursor says where it is."""
_PLACE = "_sluice_place"


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """The versions of one feed's rows, in the transaction of a merge."""

    session: Session
    rules: Rules
    shape: Shape
    rows: sa.Table
    """The feed's table, with all its columns."""
    table: sa.Table
    """The table of versions."""
    run: str
    """Id of the run that is merged."""
    last: sa.Table
    """A scratch table for ``_settle``."""

    def fill(self, since: Expression) -> None:
        """Add the rows of the table that are no version yet; those whose time nothing else tells hold *since* then."""
        known = sa.exists().where(self._same_version(self.rows, self.table))
        self._add(self._valid_from(since), self.rows, ~known)

    def follow(self, found: sa.Table, incoming: sa.FromClause | None) -> None:
        """Add what a run changed, once it is applied: the rows *found*, and older ones among the *incoming*."""
        if incoming is not None and self._cursor(incoming) is not None:
            self._add_incoming(incoming)
        changed, is_changed = self.rows.join(found, self._same_key(found)), sa.not_(outcome_is(found, "stale"))
        since = self._valid_from(at(self.rules.exported or self.rules.now))
        again = self._same_key(found), is_changed, self._same_version(self.rows, self.table)
        self.session.change(sa.delete(self.table).where(*again))
        self._add(since, changed, is_changed)
        self._settle(found, self.last)

    def _add_incoming(self, incoming: sa.FromClause) -> None:
        """Versions that did not become, or stay, the row of the table: they were older, or late."""
        feed, stored = self.rules.feed, self.shape.stored
        cast = {name: as_stored(incoming, name, self.table.c[there].type) for name, there in stored.items()}
        alike = [part for name in (*feed.keys, feed.cursor) if name for part in self.session.exact(cast[name])]
        last = sa.func.row_number().over(partition_by=alike, order_by=incoming.c[ROW].desc())
        s = sa.select(*(column.label(name) for name, column in cast.items()), last.label(_PLACE)).subquery("s")
        moment = at(self.rules.exported or self.rules.now)
        gone = sa.case((flagged(feed, s.c), flag_time(feed, s.c, moment)), else_=at(None))
        by_name = {there: s.c[name] for name, there in stored.items()}
        known = sa.and_(*self._same_mark(self.table, by_name))
        values = {**by_name, SYNCED: at(self.rules.now), BY: sa.literal(self.run), DELETED: gone}
        instant = self._instant(by_name)
        rows = sa.select(sa.func.coalesce(*instant, gone, moment), *values.values())
        new = rows.where(s.c[_PLACE] == sa.literal_column("1"), ~sa.exists().where(known))
        self.session.change(sa.insert(self.table).from_select([FROM, *values], new))

    def catch_up(self, since: Expression, last: sa.Table) -> None:
        """As fill; versions that are newer than the row of the table end. It may have changed without history."""
        self.fill(since)
        keys = sa.select(*(self.rows.c[there].label(key) for key, there in self._keys.items())).subquery("found")
        self._settle(keys, last)

    def _settle(self, found: sa.FromClause, last: sa.Table) -> None:
        """Let the last version of each key in *found* be the row of the table.

        It is not, where a full put a lower cursor in its place, or said that the row is gone.
        """
        keys = self._keys
        touched = sa.and_(*(equal(self.session, self.table.c[there], found.c[key]) for key, there in keys.items()))
        place = sa.func.row_number().over(partition_by=self._partition(), order_by=self._order(last_first=True))
        names = [column.name for column in last.c]
        shown = [self.table.c[name] for name in names if name != _PLACE]
        ranked = sa.select(*shown, place).select_from(self.table.join(found, touched))
        self.session.change(sa.insert(last).from_select(names, ranked))
        self.session.filled(last)
        rows = self.rows.join(found, self._same_key(found)).join(last, self._same_keys(last))
        moment = at(self.rules.overtaken_by or self.rules.exported or self.rules.now)
        since = sa.case((last.c[FROM] > moment, last.c[FROM]), else_=moment)
        is_row = sa.case((self._same_version(self.rows, last), 1), else_=0)  # NOT would leave out what is unknown
        self._add(since, rows, last.c[_PLACE] == 1, is_row == 0, settled=at(self.rules.now))

    def _add(
        self, since: Expression, rows: sa.FromClause, *where: Expression, settled: Expression | None = None
    ) -> None:
        names = [column.name for column in self.rows.c]
        found = sa.select(since, at(None) if settled is None else settled, *self.rows.c).select_from(rows).where(*where)
        self.session.change(sa.insert(self.table).from_select([FROM, _SETTLED, *names], found))

    # -- what is the same, and in which order

    @property
    def _keys(self) -> dict[str, str]:
        return {key: self.shape.stored[key] for key in self.rules.feed.keys}

    @property
    def _mark(self) -> str:
        return _mark(self.rules, self.rows)

    def _cursor(self, rows: sa.FromClause) -> Any:
        return _cursor(self.rules, rows)

    def _instant(self, columns: Any) -> list[Expression]:
        cursor = self._cursor(self.table)
        is_instant = cursor is not None and isinstance(cursor.type, sa.DateTime)
        return [columns[cursor.name]] if cursor is not None and is_instant else []

    def _valid_from(self, otherwise: Expression) -> Expression:
        """When a row of the table became what it is: when it was deleted, else its cursor if that is an instant."""
        deleted, instants = self.rows.c[DELETED], self._instant(self.rows.c)
        ahead = [sa.case((cursor > deleted, cursor)) for cursor in instants]  # of the export that lacks the row
        return sa.func.coalesce(*ahead, deleted, *instants, otherwise)

    def _same_key(self, found: sa.FromClause) -> Expression:
        return sa.and_(*(equal(self.session, self.rows.c[there], found.c[key]) for key, there in self._keys.items()))

    def _same_keys(self, other: sa.FromClause) -> Expression:
        return sa.and_(*(equal(self.session, self.rows.c[key], other.c[key]) for key in self._keys.values()))

    def _same_version(self, rows: sa.FromClause, versions: sa.FromClause) -> Expression:
        return sa.and_(*self._same_mark(versions, rows.c), equal_or_null(versions.c[DELETED], rows.c[DELETED]))

    def _same_mark(self, versions: sa.FromClause, columns: Any) -> list[Expression]:
        """Whether a version has these keys and this mark."""
        pairs = zip(*map(self.session.exact, (versions.c[self._mark], columns[self._mark])), strict=True)
        keys = [equal(self.session, versions.c[key], columns[key]) for key in self._keys.values()]
        return [*keys, *(equal_or_null(one, other) for one, other in pairs)]

    def _partition(self) -> list[Expression]:
        return [part for key in self._keys.values() for part in self.session.exact(self.table.c[key])]

    def _order(self, *, last_first: bool = False) -> list[Expression]:
        cursor = self._cursor(self.table)
        settled = self.table.c[_SETTLED]
        order: list[Expression] = [self.table.c[FROM], _is_there(settled), settled]
        if cursor is not None:
            order += [_is_there(cursor), self.session.exact(cursor)[0]]
        order += [self.table.c[SYNCED], _is_there(self.table.c[DELETED])]
        return [one.desc() for one in order] if last_first else order

    # -- the table and its view

    def renew_view(self, columns: Mapping[str, str]) -> bool:
        """Make the view of these *columns* of the table of versions, unless it is as it should be.

        Whether there was one.
        """
        schema, name = str(self.rows.schema), f"{self.rows.name}{HISTORY}"
        until = sa.func.lead(self.table.c[FROM]).over(partition_by=self._partition(), order_by=self._order())
        v = sa.select(*self.table.c, until.label(TO)).subquery("v")
        others = [column for column in v.c if column.name not in (FROM, TO, _SETTLED)]
        shown = sa.select(v.c[FROM], v.c[TO], *others).where(sa.or_(v.c[TO].is_(None), v.c[TO] > v.c[FROM]))
        text = str(shown.compile(dialect=self.session.dialect))
        mark = VIEW_MARK + hashlib.sha256(repr((text, list(columns.items()))).encode()).hexdigest()[:32]
        known = self.session.view_mark(schema, name)
        if known == "":
            raise ConfigError(
                f"{schema}.{name} is there already, and is no view of row history",
                fix="Rename it, or leave history out",
            )
        if known != mark:
            self.session.put_view(schema, name, text, mark)
        return known is not None


def _mark(rules: Rules, rows: sa.FromClause) -> str:
    """What tells the versions of a key apart: its cursor, or without one the run that brought it."""
    cursor = _cursor(rules, rows)
    return BY if cursor is None else str(cursor.name)


def _cursor(rules: Rules, rows: sa.FromClause) -> Any:
    spelled = {folded(name): name for name in rows.c.keys()}  # noqa: SIM118 - a collection of columns
    name = spelled.get(folded(rules.feed.cursor or ""))
    return None if name is None else rows.c[name]


def _is_there(column: Expression) -> Expression:
    """1 or 0, which sorts NULL the same on every engine."""
    return sa.case((column.is_(None), sa.literal_column("0")), else_=sa.literal_column("1"))


def are_versions(columns: Mapping[str, str]) -> bool:
    """Whether a table with these *columns* is one of versions, and not one of others with such a name."""
    return _SETTLED in columns


def prepare(session: Session, rules: Rules, shape: Shape, run: str, *, is_first: bool = False) -> Versions:
    """The versions of a feed. Its table is as it was before the run but for its columns, or *is_first* the run's.

    The table of versions is made, with the rows that there are, or gets the columns it lacks. If its view is gone, or
    the table was, rows that changed meanwhile get a version.
    """
    feed = rules.feed
    columns = session.columns(feed.system, feed.table)
    name = f"{feed.table}{VERSIONS}"
    before = session.columns(feed.system, name)
    if before and not are_versions(before):
        raise ConfigError(
            f"{feed.system}.{name} is there already, and is no table of row history",
            fix="Rename it, or leave history out",
        )
    kept = Feed(system=feed.system, table=name, source=feed.source, keys=feed.keys)
    after = {FROM: "timestamp", _SETTLED: "timestamp", **before, **columns}
    if not before:
        table = target(kept, after, session.table_options)
        ddl.create_table(session, table)
        _index(session, kept, table)
    else:
        _grow(session, kept, before, columns)
        table = target(kept, after)
    texts = [one for one, kind in after.items() if kind == "text" and folded(one) not in map(folded, feed.keys)]
    if before != after:
        session.widen_text(table, {one: one for one in texts}, texts)
    rows = target(feed, columns)
    names = (*(shape.stored[key] for key in feed.keys), _mark(rules, rows), FROM, DELETED)

    def last(name: str) -> sa.Table:
        columns = [sa.Column(one, table.c[one].type) for one in dict.fromkeys(names)]
        return session.scratch(name, [*columns, sa.Column(_PLACE, sa.BigInteger)])

    made = Versions(
        session=session, rules=rules, shape=shape, rows=rows, table=table, run=run, last=last("versions")
    )  # fmt: skip
    had_view = made.renew_view(after)
    since = at(rules.exported or rules.now) if is_first else made.rows.c[SYNCED]
    if not before:
        made.fill(since)
    elif is_first or not had_view:
        made.catch_up(since, last("versions_of_all"))
    return made


def _grow(session: Session, kept: Feed, before: Mapping[str, str], columns: Mapping[str, str]) -> None:
    for name, kind in columns.items():
        if name not in before:
            ddl.add_column(session, target(kept, before), name, kind)
        elif before[name] != kind:
            table = target(kept, {**before, name: kind})
            pinned = session.indexes_pin and folded(name) in map(folded, kept.keys)
            if pinned:
                ddl.drop_indexes(session, table)
            convert.change(session, kept, table, name, before[name])
            if pinned:
                _index(session, kept, table)


def _index(session: Session, kept: Feed, table: sa.Table) -> None:
    if session.indexes:
        kind = "CLUSTERED" if session.key_index == "CLUSTERED" else ""
        ddl.create_index(session, table, [*kept.keys, FROM], kind=kind)

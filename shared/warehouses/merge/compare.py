"""Compare a feed's table with staged rows: counts and checksums by ranges of keys, then rows of those that differ.

Values are compared as the merge does: each as the type in which the table stores it, or would. Nothing is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from shared.comparing import MOST_RANGES, CompareOptions, Comparison, Difference
from shared.contract import types
from shared.contract.conform import folded
from shared.errors import ConfigError
from shared.model import SYSTEM_COLUMNS, Column, Feed, Plan, Run, Staged
from shared.warehouses.merge import history, winners
from shared.warehouses.merge.changes import (
    BY,
    DELETED,
    SYNCED,
    Rules,
    as_stored,
    as_type,
    equal,
    equal_or_null,
    flagged,
    from_export,
)
from shared.warehouses.merge.session import Expression, Session
from shared.warehouses.merge.shape import described, target
from shared.warehouses.merge.types import EXACT, sql_type

_MOST_KEYS = 4
"""Key columns by which ranges are cut: each needs parameters, of which SQL Server takes 2,100."""
_AT_ONCE = 100
"""Values of one CONCAT, which takes 254 on SQL Server."""
_Row = Mapping[str, Expression]


class _Columns(NamedTuple):
    """The columns of both sides, by the run's names."""

    kinds: dict[str, str]
    """Type to compare as."""
    stored: dict[str, str]
    """How the table spells it."""
    lacking: dict[str, str]
    unlike: dict[str, tuple[str, str]]
    uncompared: tuple[str, ...]


def compare(
    session: Session, plan: Plan, run: Run, staged: Sequence[Staged], tables: Mapping[str, sa.FromClause],
    options: CompareOptions,
) -> Comparison:  # fmt: skip
    """As ``Compares.compare``. *tables* are the staging tables by name, as the session reaches them."""
    before = session.columns(plan.feed.system, plan.feed.table)
    columns = _columns(plan.feed, plan.columns, before)
    past = history.Past(*session.rows(history.looking_back(run))[0])
    if past.client is not None:
        history.refuse_client(run, past.client)
    rows = [tables[part.table] for part in staged]
    incoming = sa.union_all(*(sa.select(part) for part in rows)).subquery("staged") if len(rows) > 1 else rows[0]
    if winners.most_of_a_key(session, plan.feed, incoming)[1] > 1:
        duplicates = winners.several(session, plan.feed, incoming)
        incoming, _ = winners.winners(session, plan.feed, incoming, duplicates)
    present = [tables[part.present] for part in staged if part.present]
    rules = history.rules(plan.feed, run, past)
    return _Compare(session, rules, columns, target(plan.feed, before), incoming, present, options)()


def _columns(feed: Feed, wanted: Sequence[Column], before: Mapping[str, str]) -> _Columns:
    spelled = {folded(name): name for name in before}
    found = _Columns({}, {}, {}, {}, tuple(_without(before, wanted)))
    for column in wanted:
        own = spelled.get(folded(column.name))
        if own is None:
            if column.type != types.NULL:
                found.lacking[column.name] = column.type
            continue
        kind = before[own] if column.type == types.NULL else types.widened(before[own], column.type)
        if kind is None:
            found.unlike[column.name] = (before[own], column.type)
        else:
            found.kinds[column.name], found.stored[column.name] = kind, own
    if lost := [key for key in feed.keys if key not in found.kinds]:
        raise ConfigError(
            f"table {feed.name} cannot be compared: it has no column {lost[0]!r} of the type that the key has here",
            fix="Load the feed, which converts its keys or says why it cannot",
        )
    return found


def _without(before: Mapping[str, str], wanted: Sequence[Column]) -> Iterator[str]:
    given = {folded(column.name) for column in wanted} | {folded(name) for name in SYSTEM_COLUMNS}
    return (name for name in before if folded(name) not in given)


@dataclass(frozen=True)
class _Compare:
    session: Session
    rules: Rules
    columns: _Columns
    table: sa.Table
    incoming: sa.FromClause
    present: Sequence[sa.FromClause]
    options: CompareOptions

    def __call__(self) -> Comparison:
        bounds = self._bounds()
        here, there = self._sums(self._stored(), bounds), self._sums(self._staged(), bounds)
        unlike = sorted(number for number in {*here, *there} if here.get(number) != there.get(number))
        if self._checksum(self._stored()) is None:
            unlike = sorted({*here, *there})
        counts: Counter[str] = Counter()
        columns: Counter[str] = Counter()
        listed: list[Difference] = []
        for number in unlike:
            joined = self._joined(number, bounds)
            self._count(joined, counts, columns)
            if len(listed) < self.options.most:
                listed += self._list(joined, self.options.most - len(listed))
        return Comparison(
            rows=sum(one[0] for one in here.values()), source_rows=sum(one[0] for one in there.values()),
            ranges=len(bounds) + 1, ranges_read=len(unlike),
            **{kind: counts[kind] for kind in ("missing", "extra", "differing", "later", "rejected")},
            columns={name: columns[name] for name in self._content if columns[name]}, lacking=self.columns.lacking,
            unlike=self.columns.unlike, uncompared=self.columns.uncompared, differences=listed,
        )  # fmt: skip

    # -- the two sides, under the run's names and as one type

    @property
    def _content(self) -> list[str]:
        return [name for name in self.columns.kinds if name not in self.rules.feed.keys]

    def _types(self) -> dict[str, Any]:
        return {column.name: column.type for column in described(self.rules.feed, self.columns.kinds)}

    def _stored(self, *, all_rows: bool = False) -> sa.Subquery:
        """The table's rows that are not deleted; all of them with their times if that is asked for."""
        own = {name: self.table.c[self.columns.stored[name]] for name in self.columns.kinds}
        rows = sa.select(*(as_type(own[name], kind).label(name) for name, kind in self._types().items()))
        if not all_rows:
            return rows.where(self.table.c[DELETED].is_(None)).subquery("t")
        return rows.add_columns(
            sa.literal_column("1", sa.Integer).label("_sluice_here"),
            sa.case((self.table.c[DELETED].is_not(None), 1), else_=0).label("_sluice_dead"),
            sa.case((self._is_later(own), 1), else_=0).label("_sluice_later"),
        ).subquery("t")

    def _is_later(self, own: _Row) -> Expression:
        """Whether the table's row is from a time after the source's rows were exported, or read."""
        later = [
            self.table.c[SYNCED] >= sa.literal(self.options.began, self.table.c[SYNCED].type),
            from_export(self.rules, self.table.c[BY], ">") == 1,
        ]
        cursor = own.get(self.rules.feed.cursor or "")
        if self.rules.exported is not None and cursor is not None and isinstance(cursor.type, sa.DateTime):
            later.append(cursor > sa.literal(self.rules.exported, cursor.type))
        return sa.or_(*later)

    def _staged(self) -> sa.Subquery:
        """The source's rows that carry no flag of deletion."""
        rows = sa.select(*(as_stored(self.incoming, name, kind).label(name) for name, kind in self._types().items()))
        return rows.where(sa.not_(flagged(self.rules.feed, self.incoming.c))).subquery("s")

    # -- counts and checksums by range

    def _bounds(self) -> list[Sequence[Any]]:
        """The last key of each range but the last one, of the side that has more rows."""
        sides = [self._stored(), self._staged()]
        rows = [self.session.rows(sa.select(sa.func.count()).select_from(side))[0][0] for side in sides]
        side, most = sides[rows.index(max(rows))], max(rows)
        number = min(MOST_RANGES, most // self.options.range_rows)
        if number < 2:
            return []
        keys = [self.session.exact(side.c[key])[0].label(key) for key in self._cut_by]
        place = sa.func.row_number().over(order_by=[self.session.exact(side.c[key])[0] for key in self._cut_by])
        numbered = sa.select(*keys, place.label("_sluice_place")).subquery("numbered")
        size = -(-most // number)
        last = sa.select(*(numbered.c[key] for key in self._cut_by)).where(
            numbered.c._sluice_place % size == 0, numbered.c._sluice_place < most
        )
        return list(dict.fromkeys(self.session.rows(last.order_by(numbered.c._sluice_place))))

    @property
    def _cut_by(self) -> Sequence[str]:
        return self.rules.feed.keys[:_MOST_KEYS]

    def _up_to(self, rows: sa.FromClause, bound: Sequence[Any]) -> Expression:
        """Whether a row's key is not above *bound*."""
        found: Expression | None = None
        for key, value in reversed(list(zip(self._cut_by, bound, strict=True))):
            own = self.session.exact(rows.c[key])[0]
            end = self.session.exact(sa.literal(value, sql_type(self.columns.kinds[key])))[0]
            found = own <= end if found is None else sa.or_(own < end, sa.and_(own == end, found))
        assert found is not None  # noqa: S101 - a feed has a key
        return found

    def _sums(self, side: sa.Subquery, bounds: Sequence[Sequence[Any]]) -> dict[int, tuple[int, int]]:
        """How many rows each range has, and the sum of their checksums."""
        cases = [(self._up_to(side, bound), number) for number, bound in enumerate(bounds)]
        number = sa.case(*cases, else_=len(bounds)) if cases else sa.literal_column("0", sa.Integer)
        mark = self._checksum(side)
        # A parameter of its own in GROUP BY would make SQL Server take it for another expression.
        each = sa.select(number.label("range"), (sa.literal_column("0") if mark is None else mark).label("mark"))
        rows = each.select_from(side).subquery("each")
        sums = sa.select(rows.c.range, sa.func.count(), sa.func.sum(sa.cast(rows.c.mark, sa.Numeric(38, 0))))
        return {
            int(one): (int(count), int(total)) for one, count, total in self.session.rows(sums.group_by(rows.c.range))
        }

    def _checksum(self, side: sa.Subquery) -> Expression | None:
        """A number that is equal where all columns are; None if the engine has no such function."""
        values = [side.c[name] for name in self.columns.kinds]
        mark = self.session.fingerprint(values)
        if mark is not None or self.session.dialect.name != "mssql":
            return mark
        return _hashed([(value, self.columns.kinds[value.name]) for value in values])

    # -- row by row

    def _joined(self, number: int, bounds: Sequence[Sequence[Any]]) -> sa.Subquery:
        """Rows of one range that are not the same on both sides, with their kind."""
        s, t = (
            self._in_range(self._staged(), number, bounds, "s"),
            self._in_range(self._stored(all_rows=True), number, bounds, "t"),
        )
        keys = self.rules.feed.keys
        here = {name: s.c[name] for name in self.columns.kinds}
        unlike = {f"_sluice_unlike_{n}": self._differs(here[name], t.c[name]) for n, name in enumerate(self._content)}
        both = sa.and_(*(equal(self.session, s.c[key], t.c[key]) for key in keys))
        rejected = [self._is_present(part, t) for part in self.present]
        rows = sa.select(
            *(sa.func.coalesce(s.c[key], t.c[key]).label(key) for key in keys),
            *(unlike[name].label(name) for name in unlike),
            sa.case((s.c[keys[0]].is_(None), 0), else_=1).label("_sluice_there"),
            sa.func.coalesce(t.c._sluice_here, 0).label("_sluice_here"),
            sa.func.coalesce(t.c._sluice_dead, 0).label("_sluice_dead"),
            sa.case((sa.or_(t.c._sluice_later == 1, self._is_ahead(s)), 1), else_=0).label("_sluice_later"),
            sa.case(*((one, 1) for one in rejected), else_=0).label("_sluice_rejected")
            if rejected
            else sa.literal_column("0", sa.Integer).label("_sluice_rejected"),
        ).select_from(s.join(t, both, isouter=True, full=True))
        found = rows.subquery("found")
        kinds = sa.select(*found.c, self._kind(found, list(unlike)).label("_sluice_kind")).subquery("kinds")
        return sa.select(*kinds.c).where(kinds.c._sluice_kind.is_not(None)).subquery("unlike")

    def _in_range(self, side: sa.Subquery, number: int, bounds: Sequence[Sequence[Any]], name: str) -> sa.Subquery:
        rows = sa.select(*side.c)
        if number > 0:
            rows = rows.where(sa.not_(self._up_to(side, bounds[number - 1])))
        if number < len(bounds):
            rows = rows.where(self._up_to(side, bounds[number]))
        return rows.subquery(name)

    def _differs(self, one: Expression, other: Expression) -> Expression:
        pairs = zip(self.session.exact(one), self.session.exact(other), strict=True)
        return sa.case((sa.and_(*(equal_or_null(a, b) for a, b in pairs)), 0), else_=1)

    def _is_present(self, keys: sa.FromClause, t: sa.Subquery) -> Expression:
        kinds = self._types()
        same = (equal(self.session, as_type(keys.c[key], kinds[key]), t.c[key]) for key in self.rules.feed.keys)
        return sa.exists().where(*same)

    def _is_ahead(self, s: sa.Subquery) -> Expression:
        """Whether a row of the source is beyond what is loaded."""
        cursor = s.c.get(self.rules.feed.cursor or "")
        if cursor is None or self.options.loaded_to is None:
            return sa.literal_column("0", sa.Integer) == sa.literal_column("1", sa.Integer)
        return self.session.exact(cursor)[0] > sa.literal(self.options.loaded_to, cursor.type)

    def _kind(self, rows: sa.Subquery, unlike: Sequence[str]) -> Expression:
        later, none = rows.c._sluice_later == 1, sa.null()
        there, here, dead = (rows.c[f"_sluice_{name}"] == 1 for name in ("there", "here", "dead"))
        same = sa.and_(*(rows.c[name] == 0 for name in unlike)) if unlike else here
        return sa.case(
            (sa.and_(sa.not_(there), dead), none),
            (sa.and_(sa.not_(there), rows.c._sluice_rejected == 1), "rejected"),
            (sa.and_(there, here, sa.not_(dead), same), none),
            (later, "later"),
            (sa.not_(there), "extra"),
            (sa.or_(sa.not_(here), dead), "missing"),
            else_="differing",
        )

    def _count(self, rows: sa.Subquery, counts: Counter[str], columns: Counter[str]) -> None:
        """Add what there is of each kind, and of each column that differs."""
        differing = [rows.c[f"_sluice_unlike_{n}"] for n, _ in enumerate(self._content)]
        sums = (sa.func.sum(column) for column in differing)
        query = sa.select(rows.c._sluice_kind, sa.func.count(), *sums).group_by(rows.c._sluice_kind)
        for kind, count, *unlike in self.session.rows(query):
            counts[kind] += count
            if kind == "differing":
                columns.update(dict(zip(self._content, map(int, unlike), strict=True)))

    def _list(self, rows: sa.Subquery, most: int) -> Iterator[Difference]:
        keys, kind = self.rules.feed.keys, rows.c._sluice_kind
        flags = [rows.c[f"_sluice_unlike_{n}"] for n, _ in enumerate(self._content)]
        query = sa.select(*(rows.c[key] for key in keys), kind, rows.c._sluice_dead, *flags)
        chosen = query.where(sa.or_(*(kind == one for one in ("missing", "extra", "differing"))))
        for row in self.session.rows(chosen.order_by(*(rows.c[key] for key in keys)).limit(most)):
            key, (kind_of, dead, *unlike) = row[: len(keys)], row[len(keys) :]
            names = [name for name, flag in zip(self._content, unlike, strict=True) if flag]
            yield Difference(
                kind=kind_of, key=dict(zip(keys, key, strict=True)), deleted=bool(dead),
                columns=tuple(names) if kind_of == "differing" else (),
            )  # fmt: skip


def _hashed(values: Sequence[tuple[Expression, str]]) -> Expression:
    """A checksum for SQL Server: of a digest, because BINARY_CHECKSUM alone is the same for many unlike values."""
    texts = [part for value, kind in values for part in _said(value, kind)]
    while len(texts) > 1:
        texts = [sa.func.concat(*texts[n : n + _AT_ONCE]) for n in range(0, len(texts), _AT_ONCE)]
    digest = sa.func.hashbytes(sa.literal_column("'SHA2_256'"), texts[0])
    return sa.func.binary_checksum(digest, type_=sa.BigInteger)


def _said(value: Expression, kind: str) -> list[Expression]:
    """A value as text that no other one of its type has, after its length: NULL has none."""
    style = {"real": "3", "double": "3", "binary": "2", "timestamp": "121", "date": "121", "time": "121"}.get(kind)
    styled: list[Expression] = [sa.literal_column(style)] if style else []
    converted = sa.func.convert(sa.literal_column("nvarchar(max)"), value, *styled, type_=sa.Text())
    text = converted.collate(EXACT)  # CONCAT refuses texts of several collations, and keys have one of their own
    size = sa.func.datalength(value)
    return [
        sa.func.convert(sa.literal_column("nvarchar(20)"), size),
        sa.literal_column("N';'"),
        text,
        sa.literal_column("N';'"),
    ]

"""Tables of MariaDB, MySQL and PostgreSQL, read page by page in the order of (cursor, keys).

What a feed has to know:

* (cursor, keys) should tell every row apart. Where no constraint of the table says so (a view has none), the rows that
  share the place of a page's last row are asked for once more, so that none of them is lost.
* A row must get a higher cursor with every change. One that is committed late, with a cursor below what was read
  already, is found only as far down as the feed's ``overlap_seconds`` go.
* A row without cursor is read by the first window and never again: give the column NOT NULL.
* Keys are compared as the server does, by the collation of the column. A cursor that is text is compared by code
  points, which no index serves.
* A cursor without zone is taken to be in the feed's ``timezone``. An hour that the clock repeats is read as if it
  came once: in a zone with summer time, let the overlap be an hour or more.
* A table without cursor is read whole each time, as a complete full.
"""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import pyarrow as pa
import sqlalchemy as sa

from shared.contract import cursor, types
from shared.contract.cast import cast
from shared.contract.conform import folded
from shared.errors import ConfigError, DataError
from shared.model import Feed, Slice, Unit
from shared.settings import Settings
from shared.sources import Ceiling, Described
from shared.sources.sql.columns import INSTANT, Expression, Read, array, kept, known, named
from shared.sources.sql.columns import columns as as_read
from shared.sources.sql.database import Database

Place: TypeAlias = "tuple[str | None, ...]"
"""Where a row stands in an order: its values of the order's columns, as text."""
Rows: TypeAlias = "Sequence[Sequence[Any]]"

_BATCH_BYTES = 32 << 20
_FIRST_PAGE = 1_000
"""Rows of the first page: nobody knows yet how wide they are."""
_STEEPEST = 8
"""How many times as many rows as the page before it a page may have."""
_APART = 40
"""Bits for the numbers of a slice's rows: they come and go between its planning and its reading."""

_EXACT = ("smallint", "integer", "bigint", "decimal")


def open_source(feed: Feed, settings: Settings) -> SqlSource:
    """The table of *feed* in the database that the setting ``<SYSTEM>_DATABASE_URL`` names.

    ConfigError if that is not the URL of a supported database. No connection is made yet.
    """
    url = settings.system(feed.system).database_url
    return SqlSource(feed, Database(f"{feed.system.upper()}_DATABASE_URL", url), settings)


@dataclass(frozen=True, slots=True)
class _Span:
    """What a slice reads: rows of a window or (``nulls``) those without cursor, beyond one place, up to another."""

    floor: str | None = None
    ceiling: str | None = None
    nulls: bool = False
    after: Place | None = None
    until: Place | None = None


@dataclass(frozen=True, slots=True)
class _Order:
    """The columns by which rows are put in order, and what comes before and after a place there."""

    columns: tuple[Read, ...]
    nulls_first: bool

    def place(self, row: Sequence[Any], names: Sequence[str]) -> Place:
        return tuple(kept(row[names.index(column.name)]) for column in self.columns)

    def beyond(self, place: Place, *, up: bool = True) -> Iterator[Expression]:
        """What holds of rows after (or before) *place*, none of them at it."""
        first, value = self.columns[0], known(place[0], self.columns[0].compared)
        if value is not None and not first.nullable:  # what an index serves best
            yield first.ordered >= _bound(value) if up else first.ordered <= _bound(value)
        yield sa.or_(
            *(
                sa.and_(*self._same(place, n), self._passed(column, place[n], up=up))
                for n, column in enumerate(self.columns)
            )
        )

    def at(self, place: Place) -> Expression:
        return sa.and_(*self._same(place, len(place)))

    def _same(self, place: Place, count: int) -> Iterator[Expression]:
        for column, text in list(zip(self.columns, place, strict=True))[:count]:
            yield column.ordered.is_(None) if text is None else column.ordered == _bound(known(text, column.compared))

    def _passed(self, column: Read, text: str | None, *, up: bool) -> Expression:
        all_values = up == self.nulls_first  # whether the way from NULL leads to the values
        if text is None:
            return column.ordered.is_not(None) if all_values else sa.false()
        value = _bound(known(text, column.compared))
        plain = column.ordered > value if up else column.ordered < value
        return plain if all_values or not column.nullable else sa.or_(plain, column.ordered.is_(None))


@dataclass(frozen=True, slots=True)
class _Table:
    """A table as the server has it now, and the parts that its columns play for the feed."""

    clause: sa.TableClause
    columns: Mapping[str, Read]
    keys: tuple[Read, ...]
    cursor: Read | None
    nulls_first: bool
    exact: bool
    """Whether a constraint says that no two rows have the same cursor and keys."""

    def order(self, span: _Span) -> _Order:
        if self.cursor is None or span.ceiling is None:
            return _Order(self.keys, self.nulls_first)
        some = replace(self.cursor, nullable=False)  # the others are not in the span
        return _Order((some, *(key for key in self.keys if key is not self.cursor)), self.nulls_first)

    def spans(self, unit: Unit) -> list[_Span]:
        if unit.window is None or self.cursor is None:
            return [_Span()]
        some = _Span(unit.window.floor, unit.window.ceiling)
        return [_Span(nulls=True), some] if some.floor is None and self.cursor.nullable else [some]


class SqlSource:
    """Reads one table. A slice is a span of places in the order of (cursor, keys)."""

    def __init__(self, feed: Feed, database: Database, settings: Settings) -> None:
        self._feed, self._database, self._settings = feed, database, settings
        self._origin = database.called(feed.table)
        self._known: _Table | None = None

    def ceiling(self, after: str | None) -> Ceiling | None:
        """See PullSource. ConfigError if there is no such table, or if its cursor has no order."""
        table = self._table()
        by = table.cursor
        if by is None:
            raise ConfigError(f"feed {self._feed.name} has no cursor", fix="Read its table whole")
        seen = self._value(by, after)
        above = by.ordered.is_not(None) if seen is None else by.ordered > _bound(seen)
        asked = sa.select(by.asked).select_from(table.clause)
        last = asked.where(above).order_by(by.ordered).limit(1).offset(self._settings.sync_rows - 1)
        if found := self._database.rows(last):
            beyond = asked.where(by.ordered > _bound(known(kept(found[0][0]), by.compared))).limit(1)
            return Ceiling(self._text(by, found[0][0]), more=bool(self._database.rows(beyond)))
        top = self._database.rows(asked.where(by.ordered.is_not(None)).order_by(by.ordered.desc()).limit(1))
        return Ceiling(self._text(by, top[0][0]), more=False) if top else None

    def describe(self, unit: Unit) -> Described:
        self._known = None  # whoever plans wants to know what it is like now
        table = self._table()
        schema = pa.schema([(column.name, column.type) for column in table.columns.values()])
        spans = table.spans(unit)
        cut = [(part, rows) for span in spans for part, rows in self._cut(table, span)] or [(spans[-1], 0)]
        slices: list[Slice] = []
        before = 0
        for number, (part, rows) in enumerate(cut):
            slices.append(Slice(number, number << _APART, rows, self._origin, before, asdict(part)))
            before += rows
        return Described({self._origin: schema}, slices, {})

    def read(self, part: Slice) -> Iterator[pa.RecordBatch]:
        table, span = self._table(), _Span(**{name: _as_place(value) for name, value in part.detail.items()})
        order, names, after = table.order(span), list(table.columns), span.after
        asked = sa.select(*(column.asked for column in table.columns.values())).select_from(table.clause)
        size = min(self._settings.batch_rows, _FIRST_PAGE)
        while rows := self._database.rows(self._within(table, span, after, asked, in_order=True).limit(size)):
            last, full = order.place(rows[-1], names), len(rows) == size
            if last == after:
                raise DataError(f"{self._origin} cannot be read past {last}", fix="Choose keys that are no fractions")
            if full and not table.exact:
                ties = self._database.rows(self._within(table, span, span.after, asked).where(order.at(last)))
                there = {last, *(order.place(row, names) for row in ties)}
                rows = [*(row for row in rows if order.place(row, names) not in there), *ties]
            batch = _batch(rows, table.columns)
            yield batch
            if not full:
                return
            after, size = last, self._next_size(batch)

    # -- statements

    def _cut(self, table: _Table, whole: _Span) -> Iterator[tuple[_Span, int]]:
        """Parts of about ``slice_rows`` rows, with their number: by how they are cut, and of the last as counted."""
        order, size, after = table.order(whole), self._settings.slice_rows, whole.after
        asked = sa.select(*(column.asked for column in order.columns)).select_from(table.clause)
        names = [column.name for column in order.columns]
        while found := self._database.rows(
            self._within(table, whole, after, asked, in_order=True).limit(1).offset(size - 1)
        ):
            until = order.place(found[0], names)
            yield replace(whole, after=after, until=until), size
            after = until
        counted = self._within(table, whole, after, sa.select(sa.func.count()).select_from(table.clause))
        if rows := int(self._database.rows(counted)[0][0]):
            yield replace(whole, after=after), rows

    def _within(
        self, table: _Table, span: _Span, after: Place | None, asked: sa.Select[Any], *, in_order: bool = False
    ) -> sa.Select[Any]:
        """*asked* of the rows of *span* that come after a place."""
        order, by = table.order(span), table.cursor
        found = asked
        if by is not None and span.nulls:
            found = found.where(by.ordered.is_(None))
        floor, ceiling = (self._value(by, text) if by is not None else None for text in (span.floor, span.ceiling))
        if by is not None and floor is not None:
            found = found.where(by.ordered >= _bound(floor))
        if by is not None and ceiling is not None:
            found = found.where(by.ordered <= _bound(ceiling))
        if after is not None:
            found = found.where(*order.beyond(after))
        if span.until is not None:
            *least, before = order.beyond(span.until, up=False)
            found = found.where(*least, sa.or_(before, order.at(span.until)))
        return found.order_by(*(column.ordered for column in order.columns)) if in_order else found

    def _next_size(self, batch: pa.RecordBatch) -> int:
        widest = _BATCH_BYTES * batch.num_rows // max(1, batch.nbytes)
        return max(1, min(self._settings.batch_rows, widest, batch.num_rows * _STEEPEST))

    # -- the table, and its cursor as text

    def _table(self) -> _Table:
        if self._known is None:
            self._known = self._looked_up()
        return self._known

    def _looked_up(self) -> _Table:
        feed, database = self._feed, self._database
        reflected, unique = database.reflected(feed.table)
        types = {str(one["name"]): one["type"] for one in reflected}
        names = {folded(name): name for name in types}
        wanted = [name for name in (*feed.keys, feed.cursor, feed.deleted) if name]
        if missing := [name for name in wanted if folded(name) not in names]:
            raise database.missing(f"column {', '.join(map(repr, missing))} of {self._origin}")
        clause = named(feed.table, database.schema, list(types))
        nullable = {str(one["name"]) for one in reflected if one["nullable"]}
        parts = [names[folded(name)] for name in (*feed.keys, *([feed.cursor] if feed.cursor else []))]
        read = as_read(
            clause, types, database.dialect, nullable=nullable, cursor=parts[-1] if feed.cursor else None
        )  # fmt: skip
        keys, by = tuple(read[name] for name in parts[: len(feed.keys)]), read[parts[-1]] if feed.cursor else None
        exact = any(set(one) <= set(parts) - nullable for one in unique)
        table = _Table(clause, read, keys, by, nulls_first=database.dialect == "mysql", exact=exact)
        if by is not None:
            self._kind(by)
        return table

    def _kind(self, by: Read) -> str:
        """The cursor's column type; ConfigError where the server's order is not the one that watermarks have."""
        told = {folded(name): kind for name, kind in self._feed.types.items()}.get(folded(by.name))
        found = types.of_arrow(by.compared)
        kind = told or found or ""
        exact = all(one is None or one.partition("(")[0] in _EXACT for one in (found, kind))
        has_order = kind.partition("(")[0] in cursor.CURSOR_TYPES
        if not has_order or not (exact or (found and types.widened(found, kind) == kind)):
            raise ConfigError(
                f"cursor {by.name!r} of {self._origin} is {found or 'a number of any length'} there"
                + (f", but {told} in the catalog" if told else ", which has no order to go by here"),
                fix="Choose a cursor that is an instant, a date or a number, and leave it its type in the catalog",
            )
        return kind

    def _text(self, by: Read, value: Any) -> str:
        """A cursor that the server told as cursor text: what the contract will make of it."""
        converted = cast(array([value], by.type), self._kind(by), self._feed.timezone).values[0].as_py()
        if converted is None:
            raise DataError(
                f"cursor {by.name!r} of {self._origin} goes up to {value}, which is beyond all order",
                fix="Correct these rows at the source",
            )
        return cursor.text(converted)

    def _value(self, by: Read, text: str | None) -> Any:
        """Cursor text as what the server compares with; None if it is of the column that was the cursor before."""
        if text is None:
            return None
        try:
            value = cursor.typed(self._kind(by), text)
            if not isinstance(value, dt.datetime):
                return known(text, by.compared)
        except (ValueError, ArithmeticError):
            return None
        zone = None if by.type.equals(INSTANT) else ZoneInfo(self._feed.timezone)
        local = value.replace(tzinfo=dt.UTC).astimezone(zone).replace(tzinfo=None) if zone else value
        return local.isoformat(sep=" ", timespec="microseconds")


def _batch(rows: Rows, read: Mapping[str, Read]) -> pa.RecordBatch:
    arrays = [array(values, column.type) for values, column in zip(zip(*rows, strict=True), read.values(), strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=list(read))


def _as_place(value: Any) -> Any:
    """JSON made lists of places."""
    return tuple(value) if isinstance(value, list) else value


class _AsItIs(sa.types.UserDefinedType[Any]):
    """The type of a value that the driver gets unchanged: what it is compared with says what it is."""

    cache_ok = True


def _bound(value: Any) -> sa.BindParameter[Any]:
    return sa.bindparam(None, value, type_=_AsItIs(), unique=True)

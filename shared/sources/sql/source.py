"""Tables of MariaDB, MySQL and PostgreSQL, read page by page in the order of (cursor, keys).

What a feed has to know:

* (cursor, keys) should be unique. Where no constraint of the table makes it so (a view has none), the rows at the
  position of a page's last row are selected once more, so that none of them is lost.
* A row must get a higher cursor with every change. One that is committed late, with a cursor below what was read
  already, is found only within the feed's ``overlap_seconds``.
* A row without a cursor is read by the first window and never again: declare the column NOT NULL.
* Keys are compared as the server does, by the collation of the column. A cursor that is text is compared by code
  points, which no index serves.
* A cursor without zone is taken to be in the feed's ``timezone``. An hour that the clock repeats is read as if it
  came once: in a zone with summer time, let the overlap be an hour or more.
* A table without cursor is read whole each time, as a complete full.
"""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any
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
from shared.sources.sql import columns
from shared.sources.sql.columns import INSTANT, Expression, SourceColumn, value_from_text, value_to_text
from shared.sources.sql.database import Database
from shared.sources.sql.order import Position, Span, Table, bound

_BATCH_BYTES = 32 << 20
_FIRST_PAGE = 1_000
"""Rows of the first page, before their width is known."""
_LARGEST_GROWTH = 8
"""How many times as many rows a page may have as the page before it."""
_ROW_NUMBER_BITS = 40
"""Room between the row numbers of slices: rows come and go between planning and reading."""

_EXACT = ("smallint", "integer", "bigint", "decimal")


def open_source(feed: Feed, settings: Settings) -> SqlSource:
    """The table of *feed* in the database that the setting ``<SYSTEM>_DATABASE_URL`` names.

    ConfigError if that is not the URL of a supported database. No connection is made yet.
    """
    url = settings.system(feed.system).database_url
    database = Database(f"{feed.system.upper()}_DATABASE_URL", url, schema=named_table(feed)[0])
    return SqlSource(feed, database, settings)


def named_table(feed: Feed) -> tuple[str | None, str]:
    """The schema of the feed's table, if the catalog names one, and the table's name in the database.

    >>> named_table(Feed(system="s", table="order", source="sql", keys=("Id",), source_table="sales.Order"))
    ('sales', 'Order')
    """
    schema, dot, table = (feed.source_table or feed.table).partition(".")
    return (schema, table) if dot and feed.source_table else (None, feed.source_table or feed.table)


class SqlSource:
    """Reads one table. A slice is a span of positions in the order of (cursor, keys).

    The table's columns are looked up once: open another source to see them change.
    """

    def __init__(self, feed: Feed, database: Database, settings: Settings) -> None:
        self._feed, self._database, self._settings = feed, database, settings
        self._name = named_table(feed)[1]
        self._origin = database.qualified(self._name)

    def ceiling(self, after: str | None) -> Ceiling | None:
        """See PullSource. ConfigError if there is no such table, or if its cursor has no order."""
        table, by = self._table, self._cursor
        seen = self._value(by, after)
        above = by.ordered.is_not(None) if seen is None else by.ordered > bound(seen)
        cursors = sa.select(by.selected).select_from(table.clause)
        last = cursors.where(above).order_by(by.ordered).limit(1).offset(self._settings.sync_rows - 1)
        if found := self._database.rows(last):
            value = value_from_text(value_to_text(found[0][0]), by.compared)
            beyond = cursors.where(by.ordered > bound(value)).limit(1)
            return Ceiling(self._text(by, found[0][0]), more=bool(self._database.rows(beyond)))
        top = self.newest()
        return Ceiling(top, more=False) if top is not None else None

    def newest(self) -> str | None:
        """See PullSource."""
        by = self._cursor
        cursors = sa.select(by.selected).select_from(self._table.clause).where(by.ordered.is_not(None))
        found = self._database.rows(cursors.order_by(by.ordered.desc()).limit(1))
        return self._text(by, found[0][0]) if found else None

    def describe(self, unit: Unit) -> Described:
        schema = pa.schema([(column.name, column.type) for column in self._table.columns.values()])
        spans = self._table.spans(unit)
        parts = [part for span in spans for part in self._cut(span)] or [(spans[-1], 0)]
        slices: list[Slice] = []
        before = 0
        for number, (span, rows) in enumerate(parts):
            slices.append(Slice(number, number << _ROW_NUMBER_BITS, rows, self._origin, before, asdict(span)))
            before += rows
        return Described({self._origin: schema}, slices, {})

    def peek(self, unit: Unit, most: int) -> list[pa.RecordBatch] | None:
        """See PullSource. Two queries for the first window of a table whose cursor may be NULL."""
        found = []
        selected = sa.select(*(column.selected for column in self._table.columns.values()))
        for span in self._table.spans(unit):
            statement = self._within(span, span.after, selected.select_from(self._table.clause), in_order=True)
            rows = self._database.rows(statement.limit(most + 1))
            if len(rows) > most:
                return None
            found += [_batch(rows, self._table.columns)] if rows else []
        return found

    def read(self, part: Slice) -> Iterator[pa.RecordBatch]:
        table, span = self._table, Span.from_json(part.detail)
        order, names, after = table.order(span), list(table.columns), span.after
        selected = sa.select(*(column.selected for column in table.columns.values())).select_from(table.clause)
        size = min(self._settings.batch_rows, _FIRST_PAGE)
        while rows := self._database.rows(self._within(span, after, selected, in_order=True).limit(size)):
            last, full = order.position(rows[-1], names), len(rows) == size
            if last == after:
                raise DataError(f"{self._origin} cannot be read past {last}", fix="Choose keys that are not fractions")
            if full and not table.exact:
                ties = self._database.rows(self._within(span, span.after, selected).where(order.at(last)))
                tied = {last, *(order.position(row, names) for row in ties)}
                rows = [*(row for row in rows if order.position(row, names) not in tied), *ties]
            batch = _batch(rows, table.columns)
            yield batch
            if not full:
                return
            after, size = last, self._next_size(batch)

    # -- statements

    def _cut(self, whole: Span) -> Iterator[tuple[Span, int]]:
        """Parts of ``slice_rows`` rows, and the rest, each with the number of its rows as they are now."""
        order, size, after = self._table.order(whole), self._settings.slice_rows, whole.after
        selected = sa.select(*(column.selected for column in order.columns)).select_from(self._table.clause)
        names = [column.name for column in order.columns]
        while found := self._database.rows(
            self._within(whole, after, selected, in_order=True).limit(1).offset(size - 1)
        ):
            until = order.position(found[0], names)
            yield replace(whole, after=after, until=until), size
            after = until
        counted = self._within(whole, after, sa.select(sa.func.count()).select_from(self._table.clause))
        if rows := int(self._database.rows(counted)[0][0]):
            yield replace(whole, after=after), rows

    def _within(
        self, span: Span, after: Position | None, selected: sa.Select[Any], *, in_order: bool = False
    ) -> sa.Select[Any]:
        """*selected* of the rows of *span* after a position."""
        order = self._table.order(span)
        found = selected.where(*self._window(span))
        if after is not None:
            found = found.where(*order.beyond(after))
        if span.until is not None:
            *least, before = order.beyond(span.until, up=False)
            found = found.where(*least, sa.or_(before, order.at(span.until)))
        return found.order_by(*(column.ordered for column in order.columns)) if in_order else found

    def _window(self, span: Span) -> Iterator[Expression]:
        by = self._table.cursor
        if by is None:
            return
        if span.nulls:
            yield by.ordered.is_(None)
        floor, ceiling = self._value(by, span.floor), self._value(by, span.ceiling)
        if floor is not None:
            yield by.ordered >= bound(floor)
        if ceiling is not None:
            yield by.ordered <= bound(ceiling)

    def _next_size(self, batch: pa.RecordBatch) -> int:
        widest = _BATCH_BYTES * batch.num_rows // max(1, batch.nbytes)
        return max(1, min(self._settings.batch_rows, widest, batch.num_rows * _LARGEST_GROWTH))

    # -- the table, and its cursor as text

    @cached_property
    def _table(self) -> Table:
        feed, database = self._feed, self._database
        reflected, unique = database.reflected(self._name)
        types = {str(one["name"]): one["type"] for one in reflected}
        names = {folded(name): name for name in types}
        declared = [name for name in (*feed.keys, feed.cursor, feed.deleted) if name]
        if missing := [name for name in declared if folded(name) not in names]:
            raise database.missing(f"column {', '.join(map(repr, missing))} of {self._origin}")
        nullable = {str(one["name"]) for one in reflected if one["nullable"]}
        keys = [names[folded(name)] for name in feed.keys]
        by = names[folded(feed.cursor)] if feed.cursor else None
        clause = columns.quoted_table(self._name, database.schema, list(types))
        found = columns.of_table(clause, types, database.dialect, nullable=nullable, cursor=by)
        if by is not None:
            self._kind(found[by])
        return Table(
            clause, found, tuple(found[key] for key in keys), found[by] if by else None,
            nulls_first=database.dialect == "mysql",
            exact=any(set(constraint) <= {*keys, by} - nullable for constraint in unique),
        )  # fmt: skip

    @property
    def _cursor(self) -> SourceColumn:
        by = self._table.cursor
        if by is None:
            raise ConfigError(f"feed {self._feed.name} has no cursor, so it has no windows", fix="Read its whole table")
        return by

    def _kind(self, by: SourceColumn) -> str:
        """The cursor's column type; ConfigError where the server's order is not the one that watermarks have."""
        declared = {folded(name): kind for name, kind in self._feed.types.items()}.get(folded(by.name))
        found = types.of_arrow(by.compared)
        kind = declared or found or ""
        exact = all(one is None or one.partition("(")[0] in _EXACT for one in (found, kind))
        has_order = kind.partition("(")[0] in cursor.CURSOR_TYPES
        if not has_order or not (exact or (found and types.widened(found, kind) == kind)):
            raise ConfigError(
                f"cursor {by.name!r} of {self._origin} is {found or 'an unbounded numeric'} there"
                + (f", but {declared} in the catalog" if declared else ", which cannot be ordered here"),
                fix="Choose a cursor that is an instant, a date or a number, and do not change its type in the catalog",
            )
        return kind

    def _text(self, by: SourceColumn, value: Any) -> str:
        """A cursor value from the server as cursor text, the same that the contract will make of it."""
        kind = self._kind(by)
        converted = cast(columns.array([value], by.type), kind, self._feed.timezone).values[0].as_py()
        if converted is None:
            raise DataError(
                f"cursor {by.name!r} of {self._origin} has value {value}, which is not a valid {kind}",
                fix="Correct these rows at the source",
            )
        return cursor.text(converted)

    def _value(self, by: SourceColumn, text: str | None) -> Any:
        """Cursor text as a value for the server to compare; None if it is of a column that was the cursor before."""
        if text is None:
            return None
        try:
            value = cursor.typed(self._kind(by), text)
            if not isinstance(value, dt.datetime):
                return value_from_text(text, by.compared)
        except (ValueError, ArithmeticError):
            return None
        zone = None if by.type.equals(INSTANT) else ZoneInfo(self._feed.timezone)
        local = value.replace(tzinfo=dt.UTC).astimezone(zone).replace(tzinfo=None) if zone else value
        return local.isoformat(sep=" ", timespec="microseconds")


def _batch(rows: Sequence[Sequence[Any]], found: Mapping[str, SourceColumn]) -> pa.RecordBatch:
    values_of = zip(zip(*rows, strict=True), found.values(), strict=True)
    arrays = [columns.array(values, column.type) for values, column in values_of]
    return pa.RecordBatch.from_arrays(arrays, names=list(found))

"""Tables of databases, read page by page in the order of (cursor, keys).

What a feed has to know:

* (cursor, keys) should be unique. Where no constraint of the table makes it so (a view has none), the rows at the
  position of a page's last row are selected once more, so that none of them is lost.
* A row must get a higher cursor with every change. A cursor that is an instant is read up to ``SETTLE_SECONDS`` before
  the database's own time, and a rowversion up to the first one of an open transaction: what commits within that is not
  jumped over. A row that is committed later still is found only within the feed's ``overlap_seconds``, or by a full;
  where the cursor is a number such as an auto-increment key, by a full alone.
* A row without a cursor is read by the first window and never again: declare the column NOT NULL, or give the feed a
  ``cursor_fallback``, the column that counts where the cursor is NULL.
* Keys are compared as the server does, by the collation of the column. A cursor that is text is compared by code
  points, which no index serves.
* A cursor without zone is taken to be in the feed's ``timezone``. An hour that the clock repeats is read
  again until it is over (shared.pipeline.pull); a row that changes in both looks older the second time.
* A table without cursor is read whole each time, as a complete full.
* When keys alone are read, to find what is gone, rows without a key are left out: no run loads them.
"""

from __future__ import annotations

import datetime as dt
import logging

from collections.abc import Iterator, Sequence
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
from shared.sources.sql.columns import INSTANT, Expression, SourceColumn, value_from_text
from shared.sources.sql.database import Database
from shared.sources.sql.dialect import Reflected
from shared.sources.sql.order import Span, Table
from shared.sources.sql.reading import BOTH, Rows

_log = logging.getLogger("sluice")

_ROW_NUMBER_BITS = 40
"""Room between the row numbers of slices: rows come and go between planning and reading."""

SETTLE_SECONDS = 5.0
"""How far windows of instants stay behind the database's time: transactions write their rows before they commit."""
_AHEAD_SECONDS = 60.0
"""How far a cursor may be ahead of it before that is worth a warning: clocks differ."""
_MICROSECONDS = len("2026-02-24 12:00:00.123456")

_EXACT = ("smallint", "integer", "bigint", "decimal")


def database_of(feeds: Sequence[Feed], settings: Settings) -> Database:
    """The database of several *feeds* of one system. ConfigError if its setting is missing or wrong."""
    system = feeds[0].system
    setting, url = f"{system.upper()}_DATABASE_URL", settings.system(system).database_url
    database = Database(setting, url, connections=settings.source_connections)
    database.expect(named_table(feed) for feed in feeds)
    return database


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
        self._schema, self._name = named_table(feed)
        self._origin = database.qualified(self._name, self._schema)
        self._no_news: str | None = None

    def close(self) -> None:
        """Close the connections to its database, those of other feeds that were opened together with it, too."""
        self._database.close()

    def ceiling(self, after: str | None) -> Ceiling | None:
        """See PullSource. ConfigError if there is no such table, or if its cursor has no order."""
        by = self._cursor
        seen = self._value(by, after)
        last, top = self._settled_ends(by, seen)
        if top is None:
            return None
        found = self._text(by, top if last is None else last)
        self._no_news = found if last is None and seen is not None and not self._is_later(by, found, after) else None
        return Ceiling(found, more=last is not None and last != top)

    def newest(self) -> str | None:
        """See PullSource."""
        by = self._cursor
        _, top = self._settled_ends(by, None, counted=False)
        return None if top is None else self._text(by, top)

    def describe(self, unit: Unit) -> Described:
        spans = self._spans(unit)
        delivered = self._table_of(spans[0]).delivered(spans[0])
        schema = pa.schema([(column.name, column.type) for column in delivered.values()])
        cut = [] if self._has_no_news(unit) else [part for span in spans for part in self._cut(span)]
        parts = cut or [(spans[-1], 0)]
        slices: list[Slice] = []
        before = 0
        for number, (span, rows) in enumerate(parts):
            slices.append(Slice(number, number << _ROW_NUMBER_BITS, rows, self._origin, before, asdict(span)))
            before += rows
        return Described({self._origin: schema}, slices, {})

    def peek(self, unit: Unit, most: int) -> list[pa.RecordBatch] | None:
        """See PullSource. Two queries for the first window of a table whose cursor may be NULL."""
        found = []
        for span in self._spans(unit):
            rows = self._rows_of(span).page(span, most=most + 1)
            if len(rows) > most:
                return None
            found += [rows.batch] if rows else []
        return found

    def read(self, part: Slice) -> Iterator[pa.RecordBatch]:
        """See Source. Pages are read while the ones before are staged, by as many connections as SOURCE_CONNECTIONS."""
        return self._pages(part)

    def _pages(self, part: Slice) -> Iterator[pa.RecordBatch]:
        settings = self._settings
        return self._rows_of(Span.from_json(part.detail)).pages(
            part.rows, batch_rows=settings.batch_rows, workers=settings.source_connections - 1
        )

    # -- where a window ends

    def _settled_ends(self, by: SourceColumn, seen: Any, *, counted: bool = True) -> tuple[Any, Any]:
        """See _ends; below what transactions may still write."""
        last, top, now = self._ends(by, seen, None, counted=counted)
        limit = self._limit(by, top, now)
        if limit is None:
            return last, top
        return self._ends(by, seen, self._value(by, limit), counted=counted)[:2]

    def _ends(self, by: SourceColumn, seen: Any, limit: Any, *, counted: bool) -> tuple[Any, Any, str]:
        """In one query: the cursor as many rows above *seen* as one run takes, the highest one, and the server's time.

        The first only if rows are *counted*. Both at most *limit*, a value of the cursor, or below what open
        transactions write. None if there is none.
        """
        table = self._table
        cursors = sa.select(by.selected).select_from(table.clause)
        settled = [] if limit is None else [table.at_most(limit)]
        if table.settled is not None:
            settled.append(by.ordered < table.settled)
        above = by.ordered.is_not(None) if seen is None else table.above(seen)
        last = cursors.where(above, *settled).order_by(by.ordered).limit(1).offset(self._settings.sync_rows - 1)
        top = cursors.where(by.ordered.is_not(None), *settled).order_by(by.ordered.desc()).limit(1)
        first = last.scalar_subquery() if counted else sa.null()
        found = self._database.rows(sa.select(first, top.scalar_subquery(), self._database.dialect.clock))[0]
        return found[0], found[1], str(found[2])

    def _limit(self, by: SourceColumn, top: Any, now: str) -> str | None:
        """The instant that windows end at, as cursor text, if *top* is beyond it."""
        if top is None or self._kind(by) != "timestamp":
            return None
        clock, highest = dt.datetime.fromisoformat(now[:_MICROSECONDS]), dt.datetime.fromisoformat(self._text(by, top))
        if highest > clock + dt.timedelta(seconds=_AHEAD_SECONDS):
            _log.warning(
                "%s: %s goes up to %s, later than the database's time, %s: such rows are read when it gets there",
                self._feed.name, self._feed.cursor, cursor.text(highest), cursor.text(clock),
            )  # fmt: skip
        limit = clock - dt.timedelta(seconds=SETTLE_SECONDS)
        return cursor.text(limit) if highest > limit else None

    def _is_later(self, by: SourceColumn, text: str, other: str | None) -> bool:
        kind = self._kind(by)
        return other is None or bool(cursor.typed(kind, text) > cursor.typed(kind, other))

    def _has_no_news(self, unit: Unit) -> bool:
        """Whether the window ends at a ceiling below which nothing is new: then its few rows are not counted."""
        span = unit.window
        return span is not None and span.floor is not None and span.ceiling == self._no_news

    # -- statements

    def _cut(self, whole: Span) -> Iterator[tuple[Span, int]]:
        """Parts of ``slice_rows`` rows, and the rest, each with the number of its rows as they are now."""
        size, rows = self._settings.slice_rows, self._rows_of(whole).count()
        parts = list(self._rows_of(whole).parts(lambda: size)) if rows > size else []
        if parts:
            rest = replace(whole, after=parts[-1].until)
            rows = self._rows_of(rest).count()
            if not rows:  # the last part has no end, because rows may come
                rest, rows = replace(parts.pop(), until=whole.until), size
            yield from ((part, size) for part in parts)
            whole = rest
        if rows:
            yield whole, rows

    def _rows_of(self, span: Span) -> Rows:
        return Rows(self._database, self._origin, self._table_of(span), span, self._within)

    def _within(self, selected: sa.Select[Any], span: Span) -> sa.Select[Any]:
        """*selected* of the rows of *span* alone."""
        order = self._table_of(span).order(span)
        found = selected.where(*self._window(span))
        if span.after is not None:
            found = found.where(*order.beyond(span.after))
        if span.until is not None:
            *least, before = order.beyond(span.until, up=False)
            found = found.where(*least, sa.or_(before, order.at(span.until)))
        return found

    def _window(self, span: Span) -> Iterator[Expression]:
        table = self._table_of(span)
        by = table.cursor
        if span.keys:
            yield from (key.ordered.is_not(None) for key in table.keys if key.nullable)
            return
        if by is None:
            return
        if span.nulls:
            yield by.ordered.is_(None)
        floor, ceiling = self._value(by, span.floor), self._value(by, span.ceiling)
        if floor is not None:
            yield table.at_least(floor)
        if ceiling is not None:
            yield table.at_most(ceiling)

    # -- the table, and its cursor as text

    def _spans(self, unit: Unit) -> list[Span]:
        return self._table.spans(unit)

    def _table_of(self, span: Span) -> Table:
        """What the rows of *span* are selected from."""
        return self._table

    @cached_property
    def _table(self) -> Table:
        feed, database = self._feed, self._database
        reflection = database.table(self._name, self._schema)
        names = {folded(one.name): one.name for one in reflection.columns}
        declared = [name for name in (*feed.keys, feed.cursor, feed.cursor_fallback, feed.deleted) if name]
        if missing := [name for name in declared if folded(name) not in names]:
            raise database.missing(f"column {', '.join(map(repr, missing))} of {self._origin}")
        keys = [names[folded(name)] for name in feed.keys]
        stand_ins = [names[folded(name)] for name in (feed.cursor, feed.cursor_fallback) if name]
        schema = self._schema or database.schema
        clause = columns.quoted_table(reflection.name, schema, [one.name for one in reflection.columns])
        found = {one.name: self._column(clause, one, stand_ins) for one in reflection.columns}
        by = stand_ins[0] if stand_ins else None
        required = {name for name, column in found.items() if not column.nullable}
        return Table(
            clause, found, tuple(found[key] for key in keys), self._counted([found[name] for name in stand_ins]),
            tuple(found[name] for name in stand_ins) if len(stand_ins) > 1 else (),
            nulls_first=database.dialect.nulls_first,
            exact=any(one <= {*keys, by} & required for one in reflection.unique),
            exact_keys=any(one <= set(keys) for one in reflection.unique),
            settled=next((database.dialect.settled(one) for one in reflection.columns if one.name == by), None),
        )  # fmt: skip

    def _column(self, clause: sa.FromClause, reflected: Reflected, cursors: Sequence[str]) -> SourceColumn:
        column, dialect = clause.c[reflected.name], self._database.dialect
        found = dialect.column(column, reflected)
        if reflected.name in cursors and pa.types.is_string(found.compared):
            return replace(found, ordered=dialect.by_bytes(column))
        return found

    def _counted(self, stand_ins: Sequence[SourceColumn]) -> SourceColumn | None:
        """What windows are of: the cursor, or COALESCE of it and its fallback, as a column that no table can have."""
        if not stand_ins:
            return None
        first, *others = stand_ins
        self._kind(first)
        if not others:
            return first
        (second,) = others
        if (first.type, first.compared) != (second.type, second.compared):
            raise ConfigError(
                f"cursor {first.name!r} of {self._origin} is {first.type}, its fallback {second.name!r} {second.type}",
                fix="Choose a cursor_fallback of the same type",
            )
        return replace(
            first, name=f"{first.name}{BOTH}{second.name}", nullable=second.nullable,
            selected=sa.func.coalesce(first.selected, second.selected),
            ordered=sa.func.coalesce(first.ordered, second.ordered),
        )  # fmt: skip

    @property
    def _cursor(self) -> SourceColumn:
        by = self._table.cursor
        if by is None:
            raise ConfigError(f"feed {self._feed.name} has no cursor, so it has no windows", fix="Sync it with --full")
        return by

    def _kind(self, by: SourceColumn) -> str:
        """The cursor's column type; ConfigError where the server's order is not the one that watermarks have."""
        declared = {folded(name): kind for name, kind in self._feed.types.items()}.get(folded(self._feed.cursor or ""))
        found = types.of_arrow(by.compared)
        kind = declared or found or ""
        exact = all(one is None or one.partition("(")[0] in _EXACT for one in (found, kind))
        has_order = kind.partition("(")[0] in cursor.CURSOR_TYPES
        if not has_order or not (exact or (found and types.widened(found, kind) == kind)):
            raise ConfigError(
                f"cursor {self._feed.cursor!r} of {self._origin} is {found or 'an unbounded numeric'} there"
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
                f"cursor {self._feed.cursor!r} of {self._origin} has value {value}, which is not a valid {kind}",
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

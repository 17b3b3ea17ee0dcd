"""The order of (cursor, keys): positions of rows in it, and the spans that slices read. Pure."""

from __future__ import annotations

import datetime as dt

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import sqlalchemy as sa

from shared.model import Unit
from shared.sources.sql.columns import Expression, SourceColumn, value_from_text, value_to_text

Position: TypeAlias = "tuple[str | None, ...]"
"""A row's values of the columns of an order, as text."""


@dataclass(frozen=True, slots=True)
class Span:
    """What a slice reads: rows of a window, or (``nulls``) those without a cursor, after one position up to another.

    Or (``keys``) the keys of all rows, and nothing else of them.
    """

    floor: str | None = None
    ceiling: str | None = None
    nulls: bool = False
    keys: bool = False
    after: Position | None = None
    until: Position | None = None
    version: int | None = None
    """Of change tracking: the one since which changes are read, or the one that a table read ``whole`` is of."""
    whole: bool = False
    by_keys: bool = False
    """Whether its rows are read in the order of the keys alone, which the server has an index for."""

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Span:
        """What ``asdict`` and JSON made of a span: positions come as lists."""
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Order:
    """The columns that rows are ordered by, and which rows come before and after a position."""

    columns: tuple[SourceColumn, ...]
    nulls_first: bool

    def position(self, row: Sequence[Any], names: Sequence[str]) -> Position:
        """Of a row whose columns are *names*."""
        return tuple(value_to_text(row[names.index(column.name)]) for column in self.columns)

    def beyond(self, position: Position, *, up: bool = True) -> Iterator[Expression]:
        """Conditions of the rows after *position* (before it unless *up*)."""
        first, value = self.columns[0], value_from_text(position[0], self.columns[0].compared)
        if value is not None and not first.nullable:  # redundant, but an index serves it
            yield first.ordered >= first.bound(value) if up else first.ordered <= first.bound(value)
        yield sa.or_(
            *(
                sa.and_(*self._equal(position, n), self._is_beyond(column, position[n], up=up))
                for n, column in enumerate(self.columns)
            )
        )

    def at(self, position: Position) -> Expression:
        return sa.and_(*self._equal(position, len(position)))

    def _equal(self, position: Position, count: int) -> Iterator[Expression]:
        for column, text in list(zip(self.columns, position, strict=True))[:count]:
            value = value_from_text(text, column.compared)
            yield column.ordered.is_(None) if text is None else column.ordered == column.bound(value)

    def _is_beyond(self, column: SourceColumn, text: str | None, *, up: bool) -> Expression:
        values_after_null = up == self.nulls_first
        if text is None:
            return column.ordered.is_not(None) if values_after_null else sa.false()
        value = column.bound(value_from_text(text, column.compared))
        beyond = column.ordered > value if up else column.ordered < value
        return beyond if values_after_null or not column.nullable else sa.or_(beyond, column.ordered.is_(None))


@dataclass(frozen=True, slots=True)
class Table:
    """A table as the server has it now, and which of its columns are the feed's keys and cursor."""

    clause: sa.FromClause
    columns: Mapping[str, SourceColumn]
    keys: tuple[SourceColumn, ...]
    cursor: SourceColumn | None
    """What windows are of: the feed's cursor, or what COALESCE makes of it and the column that it falls back to."""
    stand_ins: tuple[SourceColumn, ...]
    """The cursor and the column that it falls back to; nothing if it has none."""
    nulls_first: bool
    exact: bool
    """Whether a constraint makes (cursor, keys) unique."""
    exact_keys: bool
    """Whether one makes the keys unique."""
    settled: Expression | None = None
    """What the cursor has to be below, so that no open transaction still writes under it."""

    def delivered(self, span: Span) -> Mapping[str, SourceColumn]:
        """The columns that batches of *span* have."""
        return {key.name: key for key in self.keys} if span.keys else self.columns

    def selected(self, span: Span) -> Mapping[str, SourceColumn]:
        """The columns to read of the rows of *span*: those delivered, and the cursor if that is none of them."""
        if span.keys or self.cursor is None or not self.stand_ins:
            return self.delivered(span)
        return {**self.columns, self.cursor.name: self.cursor}

    def order(self, span: Span) -> Order:
        if self.cursor is None or self._is_by_keys(span):
            return Order(self.keys, self.nulls_first)
        cursor = replace(self.cursor, nullable=False)  # rows without one are not in the span
        return Order((cursor, *(key for key in self.keys if key.name != cursor.name)), self.nulls_first)

    def at_least(self, value: Any) -> Expression:
        """The condition of a cursor from *value* on."""
        return self._compared(lambda column: column.ordered >= column.bound(value))

    def at_most(self, value: Any) -> Expression:
        if self._is_finer:
            return self._compared(lambda column: column.ordered < column.bound(_next(value)))
        return self._compared(lambda column: column.ordered <= column.bound(value))

    def above(self, value: Any) -> Expression:
        if self._is_finer:
            return self.at_least(_next(value))
        return self._compared(lambda column: column.ordered > column.bound(value))

    @property
    def _is_finer(self) -> bool:
        return self.cursor is not None and self.cursor.is_finer

    def _compared(self, condition: Callable[[SourceColumn], Expression]) -> Expression:
        """*condition* of the cursor; without COALESCE, which no index serves."""
        assert self.cursor is not None  # noqa: S101 - whoever compares it has looked
        if not self.stand_ins:
            return condition(self.cursor)
        first, second = self.stand_ins
        return sa.or_(condition(first), sa.and_(first.ordered.is_(None), condition(second)))

    def is_exact(self, span: Span) -> bool:
        """Whether no two rows of *span* have the same position. Rows without a key are in no span of keys."""
        return self.exact_keys if self._is_by_keys(span) else self.exact

    @staticmethod
    def _is_by_keys(span: Span) -> bool:
        return span.ceiling is None or span.by_keys

    def spans(self, unit: Unit) -> list[Span]:
        """The first window also has the rows without a cursor. A full has all rows, even newer ones than its window.

        A first window that has all rows is read by the keys, as a full is: by the cursor, the server would have to look
        each row up, or to sort all of them for each page if it has no index.
        """
        if unit.kind == "keys":
            return [Span(keys=True)]
        if unit.window is None or unit.kind == "full" or self.cursor is None:
            return [Span()]
        everything = unit.window.floor is None and not unit.more and self.exact_keys
        window = Span(unit.window.floor, unit.window.ceiling, by_keys=everything)
        return [Span(nulls=True), window] if window.floor is None and self.cursor.nullable else [window]


def _next(value: str) -> str:
    """The instant a microsecond later: a column that is finer may have values up to it."""
    return (dt.datetime.fromisoformat(value) + dt.timedelta(microseconds=1)).isoformat(" ", "microseconds")

"""The order of (cursor, keys): positions of rows in it, and the spans that slices read. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import sqlalchemy as sa

from shared.model import Unit
from shared.sources.sql.columns import Expression, SourceColumn, value_from_text, value_to_text

Position: TypeAlias = "tuple[str | None, ...]"
"""A row's values of the columns of an order, as text."""


@dataclass(frozen=True, slots=True)
class Span:
    """What a slice reads: rows of a window, or (``nulls``) those without a cursor, after one position up to another."""

    floor: str | None = None
    ceiling: str | None = None
    nulls: bool = False
    after: Position | None = None
    until: Position | None = None

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
            yield first.ordered >= bound(value) if up else first.ordered <= bound(value)
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
            yield column.ordered.is_(None) if text is None else column.ordered == bound(value)

    def _is_beyond(self, column: SourceColumn, text: str | None, *, up: bool) -> Expression:
        values_after_null = up == self.nulls_first
        if text is None:
            return column.ordered.is_not(None) if values_after_null else sa.false()
        value = bound(value_from_text(text, column.compared))
        beyond = column.ordered > value if up else column.ordered < value
        return beyond if values_after_null or not column.nullable else sa.or_(beyond, column.ordered.is_(None))


@dataclass(frozen=True, slots=True)
class Table:
    """A table as the server has it now, and which of its columns are the feed's keys and cursor."""

    clause: sa.TableClause
    columns: Mapping[str, SourceColumn]
    keys: tuple[SourceColumn, ...]
    cursor: SourceColumn | None
    nulls_first: bool
    exact: bool
    """Whether a constraint makes (cursor, keys) unique."""

    def order(self, span: Span) -> Order:
        if self.cursor is None or span.ceiling is None:
            return Order(self.keys, self.nulls_first)
        cursor = replace(self.cursor, nullable=False)  # rows without one are not in the span
        return Order((cursor, *(key for key in self.keys if key is not self.cursor)), self.nulls_first)

    def spans(self, unit: Unit) -> list[Span]:
        """The first window also has the rows without a cursor. A full has all rows, even newer ones than its window."""
        if unit.window is None or unit.kind == "full" or self.cursor is None:
            return [Span()]
        window = Span(unit.window.floor, unit.window.ceiling)
        return [Span(nulls=True), window] if window.floor is None and self.cursor.nullable else [window]


class _AsItIs(sa.types.UserDefinedType[Any]):
    """A type whose values go to the driver unchanged: the server takes the type of what they are compared with."""

    cache_ok = True


def bound(value: Any) -> sa.BindParameter[Any]:
    return sa.bindparam(None, value, type_=_AsItIs(), unique=True)

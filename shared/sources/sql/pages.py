"""Pages: the rows of one query as Arrow arrays, made of whole columns of the server's text wherever a reader has them.

No Python object is made of a value, but where the type of its column cannot hold it. The readers are ``wire`` (MariaDB
and MySQL) and ``copy`` (PostgreSQL); the rows of any other server go through its driver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import sqlalchemy as sa

from shared.sources.sql import columns, copy, wire
from shared.sources.sql.columns import SourceColumn, value_to_text
from shared.sources.sql.order import Order, Position

Reader: TypeAlias = "Callable[[sa.Connection, sa.Select[Any], Sequence[pa.DataType]], list[list[pa.Array[Any]]]]"
"""The columns of a query, some rows at a time, as binary arrays: bool is 1 or 0, all but bytes are text in UTF-8."""

READERS: Mapping[str, Reader] = {"mysql": wire.read, "mariadb": wire.read, "postgresql": copy.read}
"""By the name of SQLAlchemy's dialect."""


@dataclass(frozen=True, slots=True)
class Page:
    batch: pa.RecordBatch
    position: Callable[[int], Position]
    """Of the row of that number."""

    def __len__(self) -> int:
        return self.batch.num_rows

    @property
    def last(self) -> Position:
        return self.position(len(self) - 1)

    def positions(self) -> list[Position]:
        return [self.position(row) for row in range(len(self))]


def page(
    connection: sa.Connection, statement: sa.Select[Any], found: Mapping[str, SourceColumn], order: Order
) -> Page:  # fmt: skip
    """The rows of *statement*, which selects the columns *found* in their order."""
    read = READERS.get(connection.dialect.name)
    if read is None:
        return page_of_rows(connection.execute(statement).fetchall(), found, order)
    kinds = [column.type for column in found.values()]
    try:
        chunks = read(connection, statement, kinds)
    except BaseException:
        connection.invalidate()  # whatever is still to come would be taken for the answer to the next query
        raise
    raw = [_together(parts) for parts in zip(*chunks, strict=True)] or [pa.array([], pa.binary()) for _ in kinds]
    arrays = [_parsed(values, kind) for values, kind in zip(raw, kinds, strict=True)]
    by_name = dict(zip(found, raw, strict=True))

    def position(row: int) -> Position:
        return tuple(_text(by_name[column.name][row].as_py(), column.type) for column in order.columns)

    return Page(pa.RecordBatch.from_arrays(arrays, names=list(found)), position)


def page_of_rows(rows: Sequence[Sequence[Any]], found: Mapping[str, SourceColumn], order: Order) -> Page:
    """The same of rows as a driver returns them."""
    names, values_of = list(found), zip(*rows, strict=True) if rows else [()] * len(found)
    arrays = [columns.array(values, column.type) for values, column in zip(values_of, found.values(), strict=True)]
    return Page(pa.RecordBatch.from_arrays(arrays, names=names), lambda row: order.position(rows[row], names))


def _together(parts: Sequence[pa.Array[Any]]) -> pa.Array[Any]:
    return parts[0] if len(parts) == 1 else pa.concat_arrays(parts)  # which copies even one


def _parsed(raw: pa.Array[Any], kind: pa.DataType) -> pa.Array[Any]:
    """As ``columns.array`` makes of the driver's values: all as text if the type cannot hold one of them."""
    if pa.types.is_binary(kind):
        return raw
    if pa.types.is_string(kind):
        return raw.view(kind)  # the contract finds what is no UTF-8
    try:
        return _typed(raw.cast(pa.string()), kind)
    except (pa.ArrowException, ValueError):
        texts = [None if value is None else value.decode(errors="surrogateescape") for value in raw.to_pylist()]
        return columns.array(texts, kind)


def _typed(texts: pa.Array[Any], kind: pa.DataType) -> pa.Array[Any]:
    if pa.types.is_temporal(kind):
        return columns.temporal_array(texts, kind)
    if pa.types.is_float32(kind):
        return texts.cast(pa.float64()).cast(kind)  # it came as a double
    return texts.cast(kind)


def _text(value: bytes | None, kind: pa.DataType) -> str | None:
    if value is None or pa.types.is_binary(kind):
        return value_to_text(value)
    return value.decode(errors="surrogateescape")

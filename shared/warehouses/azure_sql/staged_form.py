"""The form rows have in staging tables on SQL Server, and how they are read from there, or from a CSV part."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import IO, TYPE_CHECKING, Any, cast

import pyarrow as pa
import sqlalchemy as sa

from pyarrow import csv

from shared.warehouses.merge.types import LONG_TEXT
from shared.warehouses.server.csv import hex_text

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient


def as_staged(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Binary as hex: how BULK INSERT reads a varbinary is nowhere promised, and CONVERT with style 2 is."""
    if not any(pa.types.is_binary(field.type) for field in batch.schema):
        return batch
    columns = [
        hex_text(column).cast(pa.string()) if pa.types.is_binary(column.type) else column for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def as_merged(table: sa.Table) -> sa.FromClause:
    """A staging table as the merge reads it: hex is binary again."""
    if not any(isinstance(column.type, sa.LargeBinary) for column in table.c):
        return table
    return sa.select(*map(_unhexed, table.c)).subquery(table.name)


def _unhexed(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    if not isinstance(column.type, sa.LargeBinary):
        return column
    kind, style = sa.literal_column("varbinary(max)", sa.Text), sa.literal_column("2", sa.Integer)
    return sa.func.convert(kind, column, style, type_=column.type).label(column.name)


def staged_type(column: sa.Column[Any], wide: Collection[str]) -> Any:
    return LONG_TEXT if isinstance(column.type, sa.LargeBinary) or column.name in wide else column.type


def _arrow_type(column: sa.Column[Any]) -> pa.DataType:
    if isinstance(column.type, sa.LargeBinary | sa.Text):
        return pa.string()
    if isinstance(column.type, sa.Numeric) and not isinstance(column.type, sa.Float):
        return pa.decimal128(column.type.precision or 38, column.type.scale or 0)
    kinds: dict[Any, pa.DataType] = {
        sa.Boolean: pa.bool_(), sa.SmallInteger: pa.int16(), sa.BigInteger: pa.int64(), sa.Integer: pa.int32(),
        sa.REAL: pa.float32(), sa.Double: pa.float64(), sa.DateTime: pa.timestamp("us"), sa.Date: pa.date32(),
        sa.Time: pa.time64("us"),
    }  # fmt: skip
    return next(arrow for kind, arrow in kinds.items() if isinstance(column.type, kind))


def read_part(container: ContainerClient, name: str, table: sa.Table) -> Iterator[pa.RecordBatch]:
    """The rows of a CSV part as they were, with binary as hex."""
    kinds = {column.name: _arrow_type(column) for column in table.c}
    stream = container.download_blob(name)
    with csv.open_csv(
        cast("IO[Any]", _Download(stream.chunks())),
        csv.ReadOptions(column_names=list(kinds), block_size=8 << 20),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(
            column_types=kinds, null_values=[""], true_values=["1"], false_values=["0"],
            strings_can_be_null=True, quoted_strings_can_be_null=False,
        ),
    ) as reader:  # fmt: skip
        yield from reader


class _Download:
    """The chunks of a download as a file that is read once."""

    closed = False

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            more = next(self._chunks, b"")
            if not more:
                break
            self._rest += more
        taken = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(taken) :]
        return taken

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

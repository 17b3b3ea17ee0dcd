"""Arrow batches as arrays of parameters, with the type and width of every parameter declared to the driver."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from shared.arrow import pc
from shared.warehouses.azure_sql import tsql
from shared.warehouses.azure_sql.session import IN_ROW, MSSQLSession


def utf16_units(column: Any) -> Any:
    """Length of each text as SQL Server counts it: characters beyond the first 65,536 count twice."""
    lengths = pc.utf8_length(column)
    if pc.max(pc.binary_length(column)).as_py() == pc.max(lengths).as_py():
        return lengths
    return pa.array([len(value.encode("utf-16-le")) // 2 if value else 0 for value in column.to_pylist()], pa.int32())


def long_columns(batch: pa.RecordBatch, keys: Iterable[str]) -> set[str]:
    """Text columns with a value that an ordinary column does not hold."""
    texts = [f.name for f in batch.schema if pa.types.is_string(f.type) and f.name not in set(keys)]
    found = set()
    for name in texts:
        column = batch.column(batch.schema.get_field_index(name))
        if (pc.max(pc.binary_length(column)).as_py() or 0) > IN_ROW and pc.max(utf16_units(column)).as_py() > IN_ROW:
            found.add(name)
    return found


def insert_many(session: MSSQLSession, table: str, batch: pa.RecordBatch) -> None:
    """Insert *batch* with one call, with every parameter's type and width declared."""
    execute_many(session.connection.cursor(), tsql.insert(table, batch.schema.names), batch)


def execute_many(cursor: Any, statement: str, batch: pa.RecordBatch) -> None:
    """Run *statement* once for each row of *batch*, on a cursor of pyodbc."""
    cursor.fast_executemany = True
    cursor.setinputsizes([_input_size(column) for column in batch.columns])
    cursor.executemany(statement, list(zip(*map(_parameters, batch.columns), strict=True)))


def _parameters(column: pa.Array[Any]) -> list[Any]:
    values: list[Any] = column.to_pylist()
    if pa.types.is_decimal(column.type) and column.type.scale == _MOST_DIGITS:
        # pyodbc counts a digit before the point of zero, its 39th, and refuses it with "Numeric overflow".
        return [0 if value == 0 else value for value in values]
    return values


_MOST_DIGITS = 38


_SIZES: dict[pa.DataType, tuple[int, int, int]] = {
    pa.bool_(): (-7, 1, 0), pa.int16(): (5, 5, 0), pa.int32(): (4, 10, 0), pa.int64(): (-5, 19, 0),
    pa.float32(): (7, 24, 0), pa.float64(): (8, 53, 0), pa.date32(): (91, 10, 0), pa.time64("us"): (-154, 15, 6),
    pa.timestamp("us"): (93, 26, 6),
}  # fmt: skip
"""ODBC's number of the SQL type, precision and scale."""


def _input_size(column: pa.Array[Any]) -> tuple[int, int, int]:
    if pa.types.is_decimal(column.type):
        return (3, column.type.precision, column.type.scale)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        widest = pc.max(utf16_units(column)).as_py() or 1
        return (-9, max(1, widest) if widest <= IN_ROW else 0, 0)  # 0 is nvarchar(max)
    return _SIZES[column.type]


def chunks(batch: pa.RecordBatch, *, rows: int, size: int) -> Iterator[pa.RecordBatch]:
    """Parts of *batch* of at most *rows* rows that, all at the width of the widest, take at most *size* bytes."""
    wide = sum(2 * size[1] if size[0] == -9 else 32 for size in map(_input_size, batch.columns))
    step = max(1, min(rows, size // max(1, wide)))
    for start in range(0, batch.num_rows, step):
        yield batch.slice(start, step)


def gathered(batches: Iterable[pa.RecordBatch], size: int) -> Iterator[pa.Table]:
    """*batches* joined to tables of at least *size* bytes; the last may be smaller."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(one.nbytes for one in waiting) >= size:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if any(one.num_rows for one in waiting):
        yield pa.Table.from_batches(waiting)

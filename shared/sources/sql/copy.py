"""Results of PostgreSQL as columns: COPY writes them as CSV, and Arrow reads that.

COPY quotes an empty text and leaves NULL unquoted, so that nothing is lost. It takes no parameters: psycopg writes them
into the statement as literals. docs/decisions/0021 says what else was tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pyarrow as pa
import sqlalchemy as sa

from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from pyarrow import csv

from shared.arrow import pc

_CHUNK = 4 << 20
"""Bytes of CSV that are read at once; a row more."""


def read(
    connection: sa.Connection, statement: sa.Select[Any], kinds: Sequence[pa.DataType]
) -> list[list[pa.Array[Any]]]:  # fmt: skip
    """See ``pages.Reader``."""
    raw: Any = connection.connection.driver_connection
    compiled = statement.compile(dialect=connection.dialect)
    query = f"COPY ({compiled}) TO STDOUT (FORMAT csv, ENCODING 'UTF8')"
    with raw.cursor() as cursor, cursor.copy(query.encode(), compiled.params) as copy:
        return [_columns(chunk, kinds) for chunk in _chunks(_messages(raw, copy))]


def _messages(connection: psycopg.Connection[Any], copy: psycopg.Copy) -> Iterator[Any]:
    """The rows, each as a buffer. What has come already is taken without psycopg's ways of waiting: a third faster."""
    libpq = connection.pgconn
    row: Any
    while True:
        size, row = libpq.get_copy_data(1)
        if size < 0:
            break
        if size == 0:  # nothing has come
            row = copy.read()
            if not row:
                return
        yield row
    while (result := libpq.get_result()) is not None:
        if result.status != ExecStatus.COMMAND_OK:
            raise error_from_result(result)


def _chunks(rows: Iterator[Any]) -> Iterator[bytearray]:
    """The rows together. No list is made of them: Python's garbage collector would go through it again and again."""
    text = bytearray()
    for row in rows:
        text += row
        if len(text) >= _CHUNK:
            yield text
            text = bytearray()
    if text:
        yield text


def _columns(text: bytearray, kinds: Sequence[pa.DataType]) -> list[pa.Array[Any]]:
    names = [str(number) for number in range(len(kinds))]
    stream: Any = pa.BufferReader(text)
    table = csv.read_csv(
        stream,
        csv.ReadOptions(column_names=names, block_size=len(text) + 1),
        csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()), check_utf8=False,
            strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""],
        ),
    )  # fmt: skip
    found = zip(table.columns, kinds, strict=True)
    return [_canonical(pa.concat_arrays(column.chunks), kind) for column, kind in found]


def _canonical(values: pa.Array[Any], kind: pa.DataType) -> pa.Array[Any]:
    if pa.types.is_boolean(kind):
        return pc.if_else(pc.equal(values, b"t"), b"1", b"0")  # type: ignore[no-any-return]
    return _decoded(values) if pa.types.is_binary(kind) else values


def _decoded(values: pa.Array[Any]) -> pa.Array[Any]:
    r"""The bytes that bytea writes as ``\x00ff``."""
    digits = pc.binary_replace_slice(values, 0, 2, b"").fill_null(b"")
    lengths = pc.binary_length(digits).cast(pa.int64())
    data = bytes.fromhex(b"".join(digits.to_pylist()).decode())
    ends = pc.divide(pc.cumulative_sum(lengths), 2).cast(pa.int32())
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
    decoded = pa.Array.from_buffers(pa.binary(), len(values), [None, offsets.buffers()[1], pa.py_buffer(data)])
    return pc.if_else(values.is_valid(), decoded, None)  # type: ignore[no-any-return]

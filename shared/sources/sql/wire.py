"""Results of MariaDB and MySQL as columns: the rows of the text protocol are cut into values with numpy, all at once.

pymysql connects, signs in and sends the query. Then this module takes the bytes of the rows from its socket, finds
where each row begins, and follows all rows of a buffer from column to column in arrays of positions. Arrow copies the
values of a column together. The buffer is bounded but for the widest row. docs/decisions/0021 says what else was tried.
"""

from __future__ import annotations

import struct

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pymysql
import sqlalchemy as sa

from pymysql.constants import CR
from pymysql.cursors import SSCursor

from shared.arrow import arange

_BUFFER = 4 << 20
_LEAST_ROOM = 1 << 16
_HEADER = 4
"""Three bytes of length and one of sequence are before each packet."""
_LONGEST = 0xFFFFFF
"""A packet of this length goes on in the next one."""
_NULL = 251
_LENGTH_BYTES = {252: 2, 253: 3, 254: 8}
"""First bytes of a value that is longer than 250 bytes, and how many bytes of length follow."""
_EOF, _ERROR = 0xFE, 0xFF
_SHORTEST_ROW_LIKE_EOF = 9
_LENGTH = struct.Struct("<I")

Positions: TypeAlias = "npt.NDArray[np.int64]"


def read(
    connection: sa.Connection, statement: sa.Select[Any], kinds: Sequence[pa.DataType]
) -> list[list[pa.Array[Any]]]:  # fmt: skip
    """See ``pages.Reader``."""
    raw: Any = connection.connection.driver_connection
    compiled: Any = statement.compile(dialect=connection.dialect)
    with raw.cursor(SSCursor) as cursor:
        cursor.execute(str(compiled), compiled.params)
        try:
            return [_columns(block, len(kinds)) for block in _blocks(raw._rfile)]
        finally:
            cursor._result.unbuffered_active = False  # pymysql would read the rows that are gone
            cursor._result.connection = None


# -- rows


class _Block(NamedTuple):
    """Whole rows, one packet each, in a buffer that the next block overwrites."""

    data: bytearray
    rows: Positions
    """Where the first value of each begins."""


class _Packets:
    """What has come of the rows: a buffer, and how far it has been looked through."""

    def __init__(self) -> None:
        self._data = bytearray(_BUFFER)
        self._filled = self._seen = 0
        self._rows: list[int] = []
        self._buffered = True
        self.complete = False

    @property
    def is_full(self) -> bool:
        return len(self._data) - self._filled < _LEAST_ROOM

    def read(self, stream: Any) -> None:
        """Take what has come, waiting for the first byte of it."""
        if self._buffered:  # readinto1 would take it, and wait for more
            self._buffered, first = False, stream.read1(len(stream.peek()))
            count = len(first)
            self._data[:count] = first
        else:
            with memoryview(self._data)[self._filled :] as room:
                count = stream.readinto1(room)
        if not count:
            raise pymysql.OperationalError(CR.CR_SERVER_LOST, "Lost connection to MySQL server during query")
        self._filled += count
        self._look_through()

    def taken(self) -> Iterator[_Block]:
        """The rows that are whole; afterwards there is room for others."""
        if self._rows:
            yield _Block(self._data, np.array(self._rows, np.int64))
        rest = self._filled - self._seen
        larger = bytearray(2 * len(self._data)) if len(self._data) - rest < 2 * _LEAST_ROOM else self._data
        larger[:rest] = self._data[self._seen : self._filled]
        self._data, self._rows, self._filled, self._seen = larger, [], rest, 0

    def _look_through(self) -> None:
        data, filled, place, found = self._data, self._filled, self._seen, self._rows.append
        length = _LENGTH.unpack_from
        while place + _HEADER <= filled:
            size = length(data, place)[0] & _LONGEST
            begin = place + _HEADER
            end = begin + size
            if size == _LONGEST:
                end = self._joined(begin)
                filled = self._filled
            if end > filled or end == begin:
                break
            if data[begin] >= _EOF and self._is_last(begin, end):
                self.complete = True
                break
            found(begin)
            place = end
        self._seen = place

    def _is_last(self, begin: int, end: int) -> bool:
        """Whether the packet is no row; the server's error is raised."""
        if self._data[begin] == _ERROR:
            pymysql.err.raise_mysql_exception(bytes(self._data[begin:end]))
        return end - begin < _SHORTEST_ROW_LIKE_EOF

    def _joined(self, begin: int) -> int:
        """The end of the row that begins there and goes on in other packets, once they are joined; or beyond all."""
        data, headers, end = self._data, [], begin + _LONGEST
        size = _LONGEST
        while size == _LONGEST:
            if end + _HEADER > self._filled:
                return self._filled + 1
            headers.append(end)
            size = _LENGTH.unpack_from(data, end)[0] & _LONGEST
            end += _HEADER + size
        if end > self._filled:
            return end
        for header in reversed(headers):
            data[header : self._filled - _HEADER] = data[header + _HEADER : self._filled]
            self._filled -= _HEADER
        return end - _HEADER * len(headers)


def _blocks(stream: Any) -> Iterator[_Block]:
    """The rows that the server sends, up to the packet that ends them."""
    packets = _Packets()
    while not packets.complete:
        packets.read(stream)
        if packets.is_full or packets.complete:
            yield from packets.taken()


# -- columns


def _columns(block: _Block, count: int) -> list[pa.Array[Any]]:
    """The values of a block's rows, copied out of it, column by column."""
    data, place = np.frombuffer(block.data, np.uint8), block.rows
    buffer, arrays = pa.py_buffer(block.data), []
    for _ in range(count):
        begin, length = _next_value(data, place)
        end = begin + np.maximum(length, 0)
        arrays.append(_copied(buffer, begin, end, length < 0))
        place = end
    return arrays


def _next_value(data: npt.NDArray[np.uint8], place: Positions) -> tuple[Positions, Positions]:
    """Where the values begin whose lengths are written at *place*, and their lengths: -1 for NULL."""
    first = data[place]
    begin, length = place + 1, first.astype(np.int64)
    if first.max() < _NULL:
        return begin, length
    length[first == _NULL] = -1
    for mark, size in _LENGTH_BYTES.items():
        long = np.flatnonzero(first == mark)
        if len(long):
            length[long] = sum(data[place[long] + 1 + n].astype(np.int64) << (8 * n) for n in range(size))
            begin[long] += size
    return begin, length


def _copied(buffer: pa.Buffer, begin: Positions, end: Positions, null: npt.NDArray[np.bool_]) -> pa.Array[Any]:
    """The bytes between *begin* and *end*: every other value of an array in which the gaps between them are values."""
    offsets = np.empty(2 * len(begin), np.int32)
    offsets[0::2], offsets[1::2] = begin, end
    buffers = [None, pa.array(offsets).buffers()[1], buffer]
    values: Any = pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)
    if not null.any():
        return values.take(arange(0, len(offsets), 2))  # type: ignore[no-any-return]
    return values.take(pa.array(np.arange(0, len(offsets), 2), mask=null))  # type: ignore[no-any-return]

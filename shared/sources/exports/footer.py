"""Reads a Parquet footer far enough to refuse what would end the process.

pyarrow looks at column chunks in calls that cannot raise: where Arrow's C++ throws (ColumnChunkMetaData in
parquet/metadata.cc), the process is aborted. It throws for an encrypted column without its key, for size statistics
that do not match the column, for another type than the column's, and for a compression it does not know. So the footer
is read here first, as the Thrift compact protocol that it is written in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow.parquet as pq

from shared.errors import NEW_FILE, DataError

_AT_ONCE = 64 << 10
_SIZES = {1: 0, 2: 0, 3: 1, 7: 8}
"""Bytes of a value by Thrift type: true, false, byte, double."""
_PHYSICAL = {
    "BOOLEAN": 0, "INT32": 1, "INT64": 2, "INT96": 3, "FLOAT": 4, "DOUBLE": 5, "BYTE_ARRAY": 6,
    "FIXED_LEN_BYTE_ARRAY": 7,
}  # fmt: skip
_CODECS = range(8)
"""From uncompressed to LZ4_RAW."""
_INTEGERS, _BINARY, _LISTS, _STRUCT = (4, 5, 6), 8, (9, 10), 12


def read_footer(opened: BinaryIO, size: int) -> bytes:
    """The end of a file of *size* bytes: its footer, the footer's length and the magic number."""
    opened.seek(max(0, size - _AT_ONCE))
    end = opened.read(_AT_ONCE)
    length = int.from_bytes(end[-8:-4], "little") + 8
    if len(end) < length <= size:
        opened.seek(size - length)
        end = opened.read(length)
    return end[-length:]


def refuse_fatal(name: str, footer: bytes, schema: pq.ParquetSchema) -> None:
    """DataError if *footer* (as ``read_footer`` returns it) has something that would abort the process."""
    try:
        _Footer(name, footer[:-8], schema).check()
    except (IndexError, RecursionError) as error:
        raise DataError(f"{name} is damaged or not Parquet: its footer is cut off", fix=NEW_FILE) from error


def encrypted(name: str) -> DataError:
    return DataError(f"{name} is encrypted", fix="Export it without Parquet encryption; there is no key for it here")


class Thrift:
    """Values of the Thrift compact protocol, one after the other. IndexError at the end of the data."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def integer(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def fields(self) -> Iterator[tuple[int, int]]:
        """Number and type of each field of a struct. The value of one must be read or skipped before the next."""
        number = 0
        while True:
            byte = self._data[self.at]
            self.at += 1
            if byte == 0:
                return
            number = number + (byte >> 4) if byte >> 4 else self.integer()
            yield number, byte & 0x0F

    def items(self) -> tuple[int, int]:
        """Number and type of the items of a list."""
        byte = self._data[self.at]
        self.at += 1
        return (self.varint() if byte >> 4 == 0x0F else byte >> 4), byte & 0x0F

    def skip(self, kind: int) -> None:
        if kind in _INTEGERS:
            self.varint()
        elif kind == _BINARY:
            length = self.varint()  # moves on from here
            self.at += length
        elif kind == _STRUCT:
            for _, field in self.fields():
                self.skip(field)
        elif kind in _LISTS:
            self._skip_items(*self.items())
        elif kind in _SIZES:
            self.at += _SIZES[kind]
        else:
            raise IndexError(f"Thrift type {kind} is in no footer")

    def _skip_items(self, count: int, kind: int) -> None:
        if kind in (1, 2, 3):  # one byte each, here even true and false
            self.at += count
        else:
            for _ in range(count):
                self.skip(kind)


class _Footer(Thrift):
    """A FileMetaData struct of parquet.thrift; the numbers of fields are from there."""

    def __init__(self, name: str, data: bytes, schema: pq.ParquetSchema) -> None:
        super().__init__(data)
        self._name, self._columns = name, [schema.column(number) for number in range(len(schema.names))]

    def check(self) -> None:
        for number, kind in self.fields():
            if number == 8:  # encryption_algorithm, of a plaintext footer
                raise encrypted(self._name)
            if number == 4 and kind in _LISTS:
                for _ in range(self.items()[0]):
                    self._row_group()
            else:
                self.skip(kind)

    def _row_group(self) -> None:
        for number, kind in self.fields():
            if number == 1 and kind in _LISTS:
                count = self.items()[0]
                if count != len(self._columns):
                    raise self._damaged(f"a row group has {count} columns, the schema {len(self._columns)}")
                for column in range(count):
                    self._chunk(column)
            else:
                self.skip(kind)

    def _chunk(self, column: int) -> None:
        for number, kind in self.fields():
            if number in (8, 9):  # crypto_metadata, encrypted_column_metadata
                raise encrypted(self._name)
            if number == 3 and kind == _STRUCT:
                self._chunk_metadata(column)
            else:
                self.skip(kind)

    def _chunk_metadata(self, column: int) -> None:
        for number, kind in self.fields():
            if number == 1 and kind in _INTEGERS:
                if self.integer() != _PHYSICAL.get(self._columns[column].physical_type):
                    raise self._damaged(f"column {self._columns[column].path!r} has pages of another type")
            elif number == 4 and kind in _INTEGERS:
                codec = self.integer()
                if codec not in _CODECS:
                    raise self._damaged(f"column {self._columns[column].path!r} has a compression of number {codec}")
            elif number == 16 and kind == _STRUCT:
                self._size_statistics(self._columns[column])
            else:
                self.skip(kind)

    def _size_statistics(self, column: pq.ColumnSchema) -> None:
        levels = {2: column.max_repetition_level, 3: column.max_definition_level}
        for number, kind in self.fields():
            if number == 1 and column.physical_type != "BYTE_ARRAY":
                raise self._damaged(f"column {column.path!r} has the statistics of a text")
            if number in levels and kind in _LISTS:
                count, item = self.items()
                if count not in (0, levels[number] + 1):
                    raise self._damaged(f"column {column.path!r} has a histogram of {count} levels")
                self._skip_items(count, item)
            else:
                self.skip(kind)

    def _damaged(self, reason: str) -> DataError:
        return DataError(f"{self._name} is damaged or not Parquet: {reason}", fix=NEW_FILE)

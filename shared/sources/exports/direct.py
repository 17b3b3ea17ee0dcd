"""Which Parquet files an engine may read by itself: those that every reader reads alike.

Readers differ in what they make of rarer types and of damage, and engines do not verify checksums. So a file qualifies
only if it has plain columns of common types, no checksums, pages that add up to what the footer says, and statistics
to compare the engine's reading of it with.
"""

from __future__ import annotations

import os

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from shared.sources.exports.footer import Thrift

_TYPES: Mapping[str, tuple[str, ...]] = {
    "BOOLEAN": ("NONE",),
    "INT32": ("NONE", "INT", "DATE", "DECIMAL"),
    "INT64": ("NONE", "INT", "TIMESTAMP", "DECIMAL"),
    "FLOAT": ("NONE",),
    "DOUBLE": ("NONE",),
    "BYTE_ARRAY": ("STRING",),
    "FIXED_LEN_BYTE_ARRAY": ("DECIMAL",),
}
"""Logical types by physical type. What type a column has for us is decided from Arrow's schema."""
_CODECS = {"UNCOMPRESSED", "SNAPPY", "ZSTD"}
"""Not GZIP: DuckDB does not verify its checksum."""
_LARGEST_CHUNK = 32 << 20
"""Bytes of a column chunk, unpacked: the engine may hold whole ones in memory."""
_LARGEST_HEADER = 4 << 10
_PAGE, _DICTIONARY, _PAGE_V2 = 0, 2, 3
"""Types of pages, as parquet.thrift numbers them; likewise encodings and fields."""
_ENCODINGS, _DICTIONARY_ENCODINGS, _RLE = (0, 2, 3, 8), (0, 2), 3


class Known(NamedTuple):
    """What the footer says of the values of a column."""

    nulls: int
    low: Any
    """None where it says nothing, which it may of text alone, or where there are no values."""
    high: Any


def known_of(path: str, metadata: pq.FileMetaData) -> dict[str, Known] | None:
    """What is known of each column of the file at *path*; None if an engine must not read it by itself."""
    columns = [metadata.schema.column(number) for number in range(metadata.num_columns)]
    if len({column.name.casefold() for column in columns}) < len(columns) or not all(map(_is_common, columns)):
        return None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        known = {column.name: _known(descriptor, metadata, n) for n, column in enumerate(columns)}
    except (ValueError, OverflowError, TypeError):  # values of statistics that Python cannot hold or compare
        return None
    finally:
        os.close(descriptor)
    return None if None in known.values() else {name: one for name, one in known.items() if one is not None}


def _is_common(column: pq.ColumnSchema) -> bool:
    flat = column.max_repetition_level == 0 and column.max_definition_level <= 1 and column.path == column.name
    return flat and column.logical_type.type in _TYPES.get(column.physical_type, ())


def _known(descriptor: int, metadata: pq.FileMetaData, number: int) -> Known | None:
    nulls = 0
    lows: list[Any] = []
    highs: list[Any] = []
    for chunk in _chunks(metadata, number):
        found = chunk.statistics
        if not _is_sound(descriptor, chunk) or found is None or found.null_count is None:
            return None
        nulls += found.null_count
        if found.has_min_max and chunk.physical_type != "BYTE_ARRAY":
            lows.append(found.min)
            highs.append(found.max)
        elif chunk.physical_type != "BYTE_ARRAY" and found.null_count < chunk.num_values:
            return None
    return Known(nulls, min(lows, default=None), max(highs, default=None))


def _chunks(metadata: pq.FileMetaData, number: int) -> Iterator[pq.ColumnChunkMetaData]:
    for group in range(metadata.num_row_groups):
        rows, chunk = metadata.row_group(group), metadata.row_group(group).column(number)
        if rows.num_rows or chunk.num_values:
            yield chunk


def _is_sound(descriptor: int, chunk: pq.ColumnChunkMetaData) -> bool:
    """Whether the pages of a column chunk add up to what the footer says of it."""
    if chunk.compression not in _CODECS or chunk.total_uncompressed_size > _LARGEST_CHUNK or chunk.file_path:
        return False
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    at, end, unpacked, values = start, start + chunk.total_compressed_size, 0, 0
    while at < end:
        page = _page(os.pread(descriptor, _LARGEST_HEADER, at))
        if page is None or (page.values is None and at != start):
            return False
        at += page.header + page.packed
        unpacked += page.header + page.unpacked
        values += page.values or 0
    return (at, unpacked, values) == (end, chunk.total_uncompressed_size, chunk.num_values)


class _Page(NamedTuple):
    header: int
    """Bytes, like the two that follow."""
    packed: int
    unpacked: int
    values: int | None
    """None of a dictionary."""


def _page(data: bytes) -> _Page | None:
    """What the header of a page says; None if it is none, has a checksum, or is a rare kind of page."""
    thrift, sizes, values = Thrift(data), [-1, -1, -1], None
    try:
        for number, _kind in thrift.fields():
            if number <= 3:
                sizes[number - 1] = thrift.integer()
            elif (number, sizes[0]) == (5, _PAGE):
                values = _values(_numbers(thrift), ((2, _ENCODINGS), (3, (_RLE,)), (4, (_RLE,))))
            elif (number, sizes[0]) == (8, _PAGE_V2):
                numbers = _numbers(thrift)
                values = _values(numbers, ((3, (numbers.get(1, -1),)), (4, _ENCODINGS), (6, (0,))))
            elif (number, sizes[0]) == (7, _DICTIONARY):
                values = _values(_numbers(thrift), ((2, _DICTIONARY_ENCODINGS),))
            else:
                return None
    except IndexError:
        return None
    if values is None or min(sizes) < 0:
        return None
    return _Page(thrift.at, sizes[2], sizes[1], None if sizes[0] == _DICTIONARY else values)


def _numbers(thrift: Thrift) -> dict[int, int]:
    """The integers of a struct, by field."""
    found: dict[int, int] = {}
    for number, kind in thrift.fields():
        if kind in (4, 5, 6):
            found[number] = thrift.integer()
        else:
            thrift.skip(kind)
    return found


def _values(numbers: Mapping[int, int], allowed: tuple[tuple[int, tuple[int, ...]], ...]) -> int | None:
    """The number of values that a page's header gives, if its other fields are *allowed*."""
    fits = numbers.get(1, -1) >= 0 and all(numbers.get(number) in choices for number, choices in allowed)
    return numbers[1] if fits else None

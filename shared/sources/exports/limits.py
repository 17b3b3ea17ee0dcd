"""Refuses Parquet files that unpack to far more than they are packed in.

The footer says what a column chunk unpacks to, but not how often a long value of a dictionary is repeated: that is
counted while the rows are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shared.errors import DataError

_BOMB_BYTES = 64 << 20
_BOMB_RATIO = 100
_LONG_BYTES = 4 << 10
"""Length of a value from which its repetitions are counted; shorter ones cannot fill a batch."""
_LARGEST_BATCH = 64 << 20
_SMALL_PAGE = 128 << 10


def refuse_bombs(name: str, metadata: pq.FileMetaData) -> None:
    """DataError if a column chunk of file *name* unpacks to far more than its size, by the footer."""
    for group in range(metadata.num_row_groups):
        columns = metadata.row_group(group)
        for number in range(columns.num_columns):
            chunk = columns.column(number)
            unpacked, packed = chunk.total_uncompressed_size, max(1, chunk.total_compressed_size)
            if unpacked > _BOMB_BYTES and unpacked > _BOMB_RATIO * packed:
                raise _bomb(name, chunk.path_in_schema, packed, unpacked)


def _bomb(name: str, column: str, packed: int, unpacked: int) -> DataError:
    return DataError(
        f"{name} would unpack column {column!r} from {packed:,} to {unpacked:,} bytes",
        fix="If that is intended, export it with smaller row groups, or without compression and dictionaries",
    )


class LongValues:
    """Counts what the columns with long dictionary values unpack to, in some row groups of a file."""

    def __init__(
        self, name: str, metadata: pq.FileMetaData, groups: range, reopen: Callable[..., AbstractContextManager[Any]]
    ) -> None:
        """*reopen* opens the file again, with pyarrow's ``read_dictionary`` as its argument."""
        self._name, self._groups = name, max(1, len(groups))
        self._longest = _longest(metadata, groups, reopen)
        self._packed = {column: _packed(metadata, groups, column) for column in self._longest}
        self._unpacked = dict.fromkeys(self._longest, 0)

    @property
    def some(self) -> bool:
        """Whether any column has them."""
        return bool(self._longest)

    def batch_size(self, most: int) -> int:
        """*most* rows, or as many as keep a batch small even if each has the longest values."""
        return max(1, min(most, _LARGEST_BATCH // max(1, sum(self._longest.values()))))

    def check(self, batch: pa.RecordBatch) -> None:
        """DataError once a column has unpacked to far more than it was packed in."""
        for column in self._unpacked:
            self._unpacked[column] += _bytes(batch.column(_index(batch.schema, column)))
            unpacked, packed = self._unpacked[column], self._packed[column]
            if unpacked > _BOMB_BYTES * self._groups and unpacked > _BOMB_RATIO * packed:
                raise _bomb(self._name, column, packed, unpacked)


def _longest(
    metadata: pq.FileMetaData, groups: range, reopen: Callable[..., AbstractContextManager[Any]]
) -> Mapping[str, int]:
    """The longest value of each column that has long ones in its dictionaries."""
    chunks = [(group, chunk) for group in groups for chunk in _chunks(metadata.row_group(group)) if _is_small(chunk)]
    names = sorted({chunk.path_in_schema for _, chunk in chunks})
    longest: dict[str, int] = {}
    if not names:
        return longest
    with reopen(names) as parquet:
        for group, chunk in chunks:
            path = chunk.path_in_schema
            first = next(parquet.iter_batches(1, row_groups=[group], columns=[path]), None)
            longest[path] = max(longest.get(path, 0), _length(first, chunk))
    return {path: length for path, length in longest.items() if length > _LONG_BYTES}


def _chunks(group: Any) -> list[Any]:
    chunks = [group.column(number) for number in range(group.num_columns)]
    return [chunk for chunk in chunks if chunk.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")]


def _is_small(chunk: Any) -> bool:
    """A large dictionary takes long to read, and usually has many short values instead of a long one."""
    return bool(chunk.has_dictionary_page) and 0 < chunk.data_page_offset - chunk.dictionary_page_offset < _SMALL_PAGE


def _length(first: pa.RecordBatch | None, chunk: Any) -> int:
    """Where Arrow returns no dictionary, all that the chunk unpacks to counts as one value."""
    lengths = (
        [] if first is None else [pc.max(pc.binary_length(d)).as_py() or 0 for d in _dictionaries(first.column(0))]
    )
    return int(max(lengths, default=chunk.total_uncompressed_size))


def _dictionaries(array: Any) -> Iterator[Any]:
    if isinstance(array, pa.ExtensionArray):
        yield from _dictionaries(array.storage)
    elif isinstance(array, pa.DictionaryArray):
        yield array.dictionary
    elif pa.types.is_struct(array.type):
        for child in array.flatten():
            yield from _dictionaries(child)
    elif pa.types.is_nested(array.type):
        yield from _dictionaries(array.values)
    elif pa.types.is_decimal(array.type) or pa.types.is_fixed_size_binary(array.type):
        yield pa.array([bytes(array.type.byte_width)])


def _bytes(array: Any) -> int:
    """What *array* takes once it is decoded."""
    if pa.types.is_dictionary(array.type):
        return int(pc.sum(pc.take(pc.binary_length(array.dictionary), array.indices)).as_py() or 0)
    return int(array.nbytes)


def _index(schema: pa.Schema, path: str) -> int:
    """Where a batch has a column; the path of a nested one goes on after its name."""
    index = schema.get_field_index(path)
    return int(index) if index >= 0 else next(n for n, name in enumerate(schema.names) if path.startswith(f"{name}."))


def _packed(metadata: pq.FileMetaData, groups: range, path: str) -> int:
    chunks = [chunk for group in groups for chunk in _chunks(metadata.row_group(group)) if chunk.path_in_schema == path]
    return max(1, sum(int(chunk.total_compressed_size) for chunk in chunks))

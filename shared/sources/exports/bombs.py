"""Column chunks that unpack to far more than they are packed in."""

from __future__ import annotations

import pyarrow.parquet as pq

from shared.errors import DataError

BOMB_BYTES = 64 << 20
BOMB_RATIO = 100


def refuse_bombs(name: str, metadata: pq.FileMetaData) -> None:
    """DataError if the footer of file *name* tells of one."""
    for group in range(metadata.num_row_groups):
        described = metadata.row_group(group)
        for number in range(described.num_columns):
            chunk = described.column(number)
            unpacked, packed = chunk.total_uncompressed_size, max(1, chunk.total_compressed_size)
            if unpacked > BOMB_BYTES and unpacked > BOMB_RATIO * packed:
                raise bomb(name, chunk.path_in_schema, packed, unpacked)


def bomb(name: str, column: str, packed: int, unpacked: int) -> DataError:
    return DataError(
        f"{name} would unpack column {column!r} from {packed:,} to {unpacked:,} bytes",
        fix="If that is meant, export it with smaller row groups, or without compression and dictionaries",
    )

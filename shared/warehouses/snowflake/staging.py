"""Rows into a staging table: written as Parquet files, put to a stage of Snowflake, and copied in by name."""

from __future__ import annotations

import contextlib
import tempfile

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import sqlalchemy as sa

from shared.warehouses import Loaded
from shared.warehouses.merge import ddl
from shared.warehouses.merge.session import STAGING
from shared.warehouses.snowflake import sql
from shared.warehouses.snowflake.session import Connection

PART_BYTES = 128_000_000
"""Of a file: Snowflake loads files at the same time, and advises 100 to 250 MB for each."""


def load(connection: Connection, table: sa.Table, batches: Iterable[pa.RecordBatch]) -> Loaded:
    """Create *table* anew and fill it: the files are on disk and on the stage only as long as that takes."""
    name = ddl.quoted(sql.DIALECT, STAGING, table.name)
    stage = f'@"{STAGING}"."{table.name}_files"'
    connection.execute(ddl.creating(sql.DIALECT, table).replace("CREATE TABLE", "CREATE OR REPLACE TRANSIENT TABLE", 1))
    connection.execute(f"CREATE OR REPLACE TEMPORARY STAGE {stage[1:]}")
    try:
        rows = size = 0
        for file, number in _parts(batches):
            connection.execute(f"PUT 'file://{file.as_posix()}' {stage} AUTO_COMPRESS=FALSE")
            rows, size = rows + number, size + file.stat().st_size
        if rows:
            connection.execute(
                f"COPY INTO {name} FROM {stage} FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE"
                " BINARY_AS_TEXT = FALSE) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE ON_ERROR = ABORT_STATEMENT"
            )
        return Loaded(rows=rows, size=size)
    finally:
        with contextlib.suppress(Exception):  # it ends with the session
            connection.execute(f"DROP STAGE IF EXISTS {stage[1:]}")


def _parts(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Path, int]]:
    """Files of *batches*, each with its number of rows, and each gone once the next is asked for."""
    import pyarrow.parquet as pq

    source = iter(batches)
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        for number, first in enumerate(source):
            file, rows = Path(folder) / f"part_{number:05}.parquet", 0
            with file.open("wb") as sink, pq.ParquetWriter(sink, first.schema, compression="snappy") as writer:
                batch: pa.RecordBatch | None = first
                while batch is not None:
                    writer.write_batch(batch)
                    rows += batch.num_rows
                    batch = None if sink.tell() >= PART_BYTES else next(source, None)
            yield file, rows
            file.unlink()

"""The practical limit on PostgreSQL: COPY and the same merge by hand, one process, nothing around it.

It ends with the same table and the same two indexes as Sluice, and trusts its input in everything: no contract, no
rejects, no history, no lock. The rows are encoded by Arrow and sent while the next are made; the first load is frozen.

Alone: ``python -m bench.plain_postgres first|delta EXPORTS``, with the server's address in the variable URL.
"""

from __future__ import annotations

import os
import sys

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from pyarrow import csv

TABLE = "coolr.orderitem"
KEY, CURSOR, FLAG = '"OrderItemId"', '"ModifiedOn"', '"IsDeleted"'
_BATCH = 65_536
_OPTIONS = csv.WriteOptions(include_header=False, quoting_style="needed")
_TIMES = {"first": "2026-03-01", "delta": "2026-03-10"}
_KINDS = {"int64": "bigint", "string": "text", "bool": "boolean", "timestamp[us]": "timestamp"}


def first(connection: psycopg.Connection[Any], file: pq.ParquetFile, now: str) -> None:
    ours = f"""timestamp DEFAULT '{now}', "SyncedAt" timestamp DEFAULT '{now}', "SyncedBy" text DEFAULT 'first'"""
    connection.execute("CREATE SCHEMA coolr")
    connection.execute(f'CREATE TABLE {TABLE} ({_columns(file)}, "FirstSyncAt" {ours}, "DeletedAt" timestamp)'.encode())
    _copy(connection, file, f"{TABLE} ({_names(file)})", "(FORMAT csv, FREEZE)")
    connection.execute(f'UPDATE {TABLE} SET "DeletedAt" = {CURSOR} WHERE {FLAG}'.encode())
    connection.execute(f"CREATE UNIQUE INDEX orderitem_keys ON {TABLE} ({KEY})".encode())
    connection.execute(
        f'CREATE INDEX orderitem_active ON {TABLE} ({KEY}) INCLUDE ("FirstSyncAt") WHERE "DeletedAt" IS NULL'.encode()
    )


def delta(connection: psycopg.Connection[Any], file: pq.ParquetFile, now: str) -> None:
    connection.execute(f"CREATE TEMPORARY TABLE incoming ({_columns(file)})".encode())
    _copy(connection, file, "incoming", "(FORMAT csv)")
    names = [*(f'"{name}"' for name in file.schema_arrow.names), '"SyncedAt"', '"SyncedBy"', '"DeletedAt"']
    new = ", ".join(f"{name} = excluded.{name}" for name in names if name != KEY)
    connection.execute(
        f"""INSERT INTO {TABLE} AS t ({", ".join(names)}, "FirstSyncAt")
        SELECT *, '{now}'::timestamp, 'delta', CASE WHEN {FLAG} THEN {CURSOR} END, '{now}'::timestamp FROM incoming
        ON CONFLICT ({KEY}) DO UPDATE SET {new} WHERE excluded.{CURSOR} > t.{CURSOR}""".encode()
    )


def _columns(file: pq.ParquetFile) -> str:
    return ", ".join(f'"{field.name}" {_kind(field.type)}' for field in file.schema_arrow)


def _kind(kind: pa.DataType) -> str:
    return f"numeric({kind.precision},{kind.scale})" if pa.types.is_decimal(kind) else _KINDS[str(kind)]


def _names(file: pq.ParquetFile) -> str:
    return ", ".join(f'"{name}"' for name in file.schema_arrow.names)


def _copy(connection: psycopg.Connection[Any], file: pq.ParquetFile, table: str, options: str) -> None:
    statement = f"COPY {table} FROM STDIN {options}".encode()
    with connection.cursor().copy(statement) as copy, ThreadPoolExecutor(1) as sender:
        sent = None
        for batch in file.iter_batches(_BATCH):
            sink = pa.BufferOutputStream()
            csv.write_csv(batch, sink, _OPTIONS)
            if sent is not None:
                sent.result()
            sent = sender.submit(copy.write, memoryview(sink.getvalue()))
        if sent is not None:
            sent.result()


def main(step: str, exports: str) -> None:
    file = pq.ParquetFile(next(Path(exports).rglob("*.parquet")))
    with psycopg.connect(os.environ["URL"]) as connection:
        {"first": first, "delta": delta}[step](connection, file, _TIMES[step])


if __name__ == "__main__":
    main(*sys.argv[1:])

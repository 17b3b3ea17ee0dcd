"""The practical limit: the same merge in plain DuckDB SQL, one process, nothing around it.

It gets what Sluice gives DuckDB by default (250 MB of memory, no insertion order) and ends with the same table:
FirstSyncAt, SyncedAt, SyncedBy and DeletedAt, keys that are unique, rows only replaced by newer or repaired ones,
tombstones for what a full lacks. It trusts its input in everything else: no contract, no rejects, no history of
runs, no lock, no recognition of work done before, and it is written for this one table.

There are two of it, alike but for where the rows are read from after the first full:

    direct    the file itself, once for each statement that needs it: the fastest of those tried, and the one that
              others are compared with. It only works while the file is a local one that nobody replaces meanwhile
    staged    a temporary table, filled from the file first. In the second full this costs two thirds more

In both, rows are compared by a hash of their content; every column by itself takes twice as long.

Alone: ``python -m bench.plain direct|staged first|second|delta STATE EXPORTS``, STATE a folder for the database.
"""

from __future__ import annotations

import sys

from pathlib import Path

import duckdb

MEMORY = "250MB"
DATABASE = "plain.duckdb"
TABLE = "orderitem"
KEY, CURSOR, FLAG = "OrderItemId", "ModifiedOn", "IsDeleted"
_TIMES = {"first": "2026-03-01", "second": "2026-03-10", "delta": "2026-03-10"}


def first_full(connection: duckdb.DuckDBPyConnection, file: str, now: str, kind: str) -> None:
    connection.execute(
        f"""CREATE TABLE {TABLE} AS SELECT *, {now} AS FirstSyncAt, {now} AS SyncedAt, 'first' AS SyncedBy,
        CASE WHEN {FLAG} THEN {CURSOR} END AS DeletedAt FROM read_parquet('{file}')"""
    )
    _refuse_duplicates(connection, TABLE)


def second_full(connection: duckdb.DuckDBPyConnection, file: str, now: str, kind: str) -> None:
    content = _incoming(connection, file, kind)
    hashed = f"hash({', '.join(content)})"
    connection.execute(
        f"""CREATE TEMP TABLE changes AS
        SELECT coalesce(s.k, t.k) AS k, s.k IS NULL AS absent, coalesce(t.FirstSyncAt, {now}) AS FirstSyncAt
        FROM (SELECT {KEY} AS k, {CURSOR} AS c, {hashed} AS h, {FLAG} AS gone FROM incoming) AS s
        FULL JOIN (SELECT {KEY} AS k, {CURSOR} AS c, {hashed} AS h, FirstSyncAt, DeletedAt FROM {TABLE}) AS t
        ON s.k = t.k
        WHERE t.k IS NULL OR s.c > t.c OR s.h <> t.h
            OR (s.k IS NULL AND t.DeletedAt IS NULL) OR (NOT s.gone AND t.DeletedAt IS NOT NULL)"""
    )
    _replace(connection, now, "second", "NOT changes.absent")
    connection.execute(
        f"""UPDATE {TABLE} SET DeletedAt = {now}, SyncedAt = {now}, SyncedBy = 'second'
        FROM changes WHERE {TABLE}.{KEY} = changes.k AND changes.absent"""
    )


def delta(connection: duckdb.DuckDBPyConnection, file: str, now: str, kind: str) -> None:
    _incoming(connection, file, kind)
    connection.execute(
        f"""CREATE TEMP TABLE changes AS
        SELECT s.{KEY} AS k, coalesce(t.FirstSyncAt, {now}) AS FirstSyncAt
        FROM incoming AS s LEFT JOIN {TABLE} AS t ON s.{KEY} = t.{KEY}
        WHERE t.{KEY} IS NULL OR s.{CURSOR} > t.{CURSOR}"""
    )
    _replace(connection, now, "delta")


def _incoming(connection: duckdb.DuckDBPyConnection, file: str, kind: str) -> list[str]:
    """Make ``incoming``, a temporary VIEW of the file or TABLE with its rows; all its columns but the key."""
    connection.execute(f"CREATE TEMP {kind} incoming AS SELECT * FROM read_parquet('{file}')")
    _refuse_duplicates(connection, "incoming")
    described = connection.execute("DESCRIBE incoming").fetchall()
    return [f'"{name}"' for name, *_ in described if name != KEY]


def _refuse_duplicates(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    rows, keys = connection.execute(f"SELECT count(*), count(DISTINCT {KEY}) FROM {table}").fetchall()[0]
    if rows != keys:
        raise SystemExit(f"{rows} rows have only {keys} keys")


def _replace(connection: duckdb.DuckDBPyConnection, now: str, run: str, which: str = "true") -> None:
    connection.execute(f"DELETE FROM {TABLE} USING changes WHERE {TABLE}.{KEY} = changes.k AND {which}")
    connection.execute(
        f"""INSERT INTO {TABLE} SELECT s.*, changes.FirstSyncAt, {now}, '{run}', CASE WHEN s.{FLAG} THEN s.{CURSOR} END
        FROM incoming AS s JOIN changes ON s.{KEY} = changes.k WHERE {which}"""
    )


def main(how: str, step: str, state: str, exports: str) -> None:
    file = next(Path(exports).rglob("*.parquet")).as_posix()
    merge = {"first": first_full, "second": second_full, "delta": delta}[step]
    config = {"memory_limit": MEMORY, "preserve_insertion_order": False}
    with duckdb.connect(str(Path(state) / DATABASE), config=config) as connection:
        connection.execute("BEGIN")
        merge(connection, file, f"TIMESTAMP '{_TIMES[step]}'", "VIEW" if how == "direct" else "TABLE")
        connection.execute("COMMIT")


if __name__ == "__main__":
    main(*sys.argv[1:])

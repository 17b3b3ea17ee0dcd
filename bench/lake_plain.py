"""What a lake is compared with: DuckDB writing the rows as Parquet, and delta-rs's own MERGE. One process for each.

    python -m bench.lake_plain copy FILE STATE     one file of zstd Parquet, nothing else
    python -m bench.lake_plain table FILE STATE    a Delta table of it, by DuckDB's files and one commit
    python -m bench.lake_plain merge FILE STATE    delta-rs: update what is newer, insert what is new
    python -m bench.lake_plain found TABLE         what is in a table's current files, as JSON
    python -m bench.lake_plain wanted FIRST [DELTA]    the sum of the hashes that its active rows must have

DuckDB has the memory that Sluice gives it by default. MERGE streams its source and has no limit: with one (its
``max_spill_size``) it takes half as long again.
"""

from __future__ import annotations

import json
import sys
import time

from pathlib import Path

import duckdb

from bench.plain import MEMORY

KEY, CURSOR = "OrderItemId", "ModifiedOn"
OURS = ("FirstSyncAt", "SyncedAt", "SyncedBy", "SyncedKind", "SyncedOn", "DeletedAt")


def connection(state: Path) -> duckdb.DuckDBPyConnection:
    config = {"memory_limit": MEMORY, "preserve_insertion_order": False, "temp_directory": str(state / "spill")}
    made = duckdb.connect(config=config)
    made.execute("SET TimeZone = 'UTC'")
    return made


def copy(file: Path, state: Path) -> None:
    connection(state).execute(f"COPY (FROM '{file}') TO '{state / 'rows.parquet'}' (FORMAT parquet, COMPRESSION zstd)")


def table(file: Path, state: Path) -> None:
    from deltalake import Schema
    from deltalake.transaction import AddAction, create_table_with_add_actions

    root, made = state / "table", connection(state)
    written = made.execute(
        f"COPY (FROM '{file}') TO '{root}' (FORMAT parquet, COMPRESSION zstd, FILE_SIZE_BYTES '128MB', RETURN_STATS)"
    ).fetchall()
    actions = []
    for name, rows, size, _footer, found, *_ in written:
        key = found[f'"{KEY}"']
        stats = {"numRecords": rows, "minValues": {KEY: int(key["min"])}, "maxValues": {KEY: int(key["max"])}}
        moment = int(time.time() * 1000)
        actions.append(AddAction(Path(name).name, size, {}, moment, data_change=True, stats=json.dumps(stats)))
    schema = made.sql(f"FROM '{file}' LIMIT 0").to_arrow_table().schema
    create_table_with_add_actions(str(root), Schema.from_arrow(schema), actions)


def merge(file: Path, state: Path) -> None:
    from deltalake import DeltaTable, WriterProperties

    rows = connection(state).sql(f"FROM '{file}'").to_arrow_reader(100_000)
    target = DeltaTable(state / "table")
    merging = target.merge(
        rows, f"t.{KEY} = s.{KEY}", source_alias="s", target_alias="t",
        writer_properties=WriterProperties(compression="ZSTD"),
    )  # fmt: skip
    merging.when_matched_update_all(f"s.{CURSOR} > t.{CURSOR}").when_not_matched_insert_all().execute()


def found(path: Path) -> None:
    """Rows, dead ones, changed ones, and the sum of the hashes of the active ones' own columns."""
    from deltalake import DeltaTable

    made = duckdb.connect()
    made.execute("SET TimeZone = 'UTC'")
    rows = made.read_parquet(DeltaTable(path).file_uris(), union_by_name=True)
    ours = "DeletedAt" in rows.columns
    alive, touched = ("DeletedAt IS NULL", "SyncedAt > FirstSyncAt") if ours else ("NOT IsDeleted", "false")
    counts = rows.aggregate(f"count(*), count(*) FILTER (NOT ({alive})), count(*) FILTER ({touched})").fetchall()[0]
    print(
        json.dumps({**dict(zip(("rows", "dead", "touched"), counts, strict=True)), "alive": _sum(rows.filter(alive))})
    )


def wanted(first: Path, delta: Path | None = None) -> None:
    made = duckdb.connect()
    made.execute("SET TimeZone = 'UTC'")
    if delta is None:
        print(json.dumps({"alive": _sum(made.sql(f"FROM '{first}'"))}))
        return
    query = f"FROM '{delta}' WHERE NOT IsDeleted UNION ALL FROM '{first}' AS a ANTI JOIN '{delta}' AS b USING ({KEY})"
    print(json.dumps({"alive": _sum(made.sql(query))}))


def _sum(rows: duckdb.DuckDBPyRelation) -> str:
    """Of the hashes of the source's columns, instants without zone, whatever the writer made of them."""
    own = [
        f'"{name}"::TIMESTAMP' if str(kind).startswith("TIMESTAMP") else f'"{name}"'
        for name, kind in sorted(zip(rows.columns, rows.types, strict=True))
        if name not in OURS
    ]
    return str(rows.aggregate(f"sum(hash({', '.join(own)})::HUGEINT)").fetchall()[0][0])


if __name__ == "__main__":
    {"copy": copy, "table": table, "merge": merge, "found": found, "wanted": wanted}[sys.argv[1]](
        *map(Path, sys.argv[2:])
    )

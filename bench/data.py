"""The exports that are loaded: made once, by a formula, the same on every machine.

An order item has 20 columns: six int64 (one 15 % null), four decimals (one 30 % null), five strings (one with
accents, one 60 % null with quotes and line breaks, one unique in every row), two booleans and three timestamps.
The files are Parquet, snappy, row groups of 250,000, each in a folder of its own as a system exports it:

    first/Full/acme/20260301000000/orderitem.parquet     N rows
    second/Full/acme/20260310000000/orderitem.parquet    the same, later: 1 % of them changed, 0.1 % gone
    delta/Delta/acme/20260310000000/orderitem.parquet    N/10 rows, each key once, all newer than in the first:
                                                         80 % updates, 15 % inserts, 5 % deletions
    triple/Full/acme/20260301000000/orderitem.parquet    3 N rows, for the memory

Make them alone: ``python -m bench.data FOLDER --rows 5000000``.
"""

from __future__ import annotations

import argparse
import json

from collections.abc import Iterator
from pathlib import Path

VERSION = 1
"""Of the formula. Another one, and files made before are made again."""
DONE = "made.json"
GROUP = 250_000
FILES = {
    "first": "first/Full/acme/20260301000000/orderitem.parquet",
    "second": "second/Full/acme/20260310000000/orderitem.parquet",
    "delta": "delta/Delta/acme/20260310000000/orderitem.parquet",
    "triple": "triple/Full/acme/20260301000000/orderitem.parquet",
}

_ROW = """
    SELECT
        k AS OrderItemId,
        (hash(k, 1) % 1000000)::BIGINT AS OrderId,
        (hash(k, 2) % 50000)::BIGINT AS ProductId,
        (hash(k, 3) % 20000)::BIGINT AS LocationId,
        CASE WHEN hash(k, 4) % 100 >= 15 THEN (hash(k, 4) % 30000)::BIGINT END AS AssetId,
        (hash(k, 5, version) % 48 + 1)::BIGINT AS Quantity,
        ((hash(k, 6, version) % 1000000)::DECIMAL(18, 4) / 10000)::DECIMAL(18, 4) AS UnitPrice,
        ((hash(k, 7, version) % 10000000)::DECIMAL(18, 2) / 100)::DECIMAL(18, 2) AS Amount,
        CASE WHEN hash(k, 8) % 100 >= 30
            THEN ((hash(k, 8) % 10000)::DECIMAL(18, 2) / 100)::DECIMAL(18, 2) END AS Discount,
        ((hash(k, 9, version) % 100000)::DECIMAL(18, 4) / 10000)::DECIMAL(18, 4) AS Tax,
        ['EUR', 'USD', 'GBP', 'SEK'][1 + (hash(k, 10) % 4)::INT] AS Currency,
        'SKU-' || hash(k, 11) % 50000 AS Sku,
        'Crème brûlée № ' || hash(k, 12) % 50000 AS ProductName,
        CASE WHEN hash(k, 13) % 100 >= 60
            THEN 'note, "quoted" ' || hash(k, 13) % 100000 || chr(10) || 'line' END AS Notes,
        md5(k::VARCHAR) AS ExternalId,
        hash(k, 14) % 2 = 0 AS IsPromo,
        gone AS IsDeleted,
        TIMESTAMP '2025-01-01' + to_seconds((hash(k, 15) % 31536000)::BIGINT) AS CreatedOn,
        CASE version
            WHEN 0 THEN TIMESTAMP '2026-01-01' + to_microseconds((hash(k, 17) % 4000000000000)::BIGINT)
            ELSE TIMESTAMP '2026-03-05' + to_microseconds((hash(k, 18) % 300000000000)::BIGINT)
        END AS ModifiedOn,
        TIMESTAMP '2025-02-01' + to_seconds((hash(k, 16) % 31536000)::BIGINT) AS DeliveredOn
    FROM ({keys}) AS keys ORDER BY k
"""

# Keys go from 1. Every 100th row of the second full is changed, and every 1000th (never a changed one) is gone.
# The delta takes every tenth key, twenty in turn: 16 updates, three inserts above the last key, one deletion.
_FIRST = "SELECT i AS k, 0 AS version, false AS gone FROM range({low} + 1, {high} + 1) AS t(i)"
_SECOND = """SELECT i AS k, (i % 100 = 7)::INT AS version, false AS gone
    FROM range({low} + 1, {high} + 1) AS t(i) WHERE i % 1000 <> 3"""
_DELTA = """SELECT CASE WHEN j % 20 BETWEEN 16 AND 18 THEN {rows} + 1 + j ELSE j * 10 + 1 END AS k,
    1 AS version, j % 20 = 19 AS gone FROM range({low}, {high}) AS t(j)"""


def make(folder: Path, rows: int) -> None:
    """Write the exports below *folder*, unless they are there already."""
    _only_whole(rows)
    done = folder / DONE
    made = json.dumps({"version": VERSION, "rows": rows})
    if done.exists() and done.read_text(encoding="utf-8") == made:
        return
    _write(folder / FILES["first"], _FIRST, rows, rows)
    _write(folder / FILES["second"], _SECOND, rows, rows)
    _write(folder / FILES["delta"], _DELTA, rows // 10, rows)
    _write(folder / FILES["triple"], _FIRST, 3 * rows, rows)
    done.write_text(made, encoding="utf-8")


def expected(rows: int) -> dict[str, dict[str, int]]:
    """What a correct table holds after each step: rows, dead ones, and those not as they first came.

    >>> expected(5_000_000)["delta"]
    {'rows': 5075000, 'dead': 25000, 'touched': 425000}
    """
    _only_whole(rows)
    delta = rows // 10
    return {
        "first": {"rows": rows, "dead": 0, "touched": 0},
        "second": {"rows": rows, "dead": rows // 1000, "touched": rows // 100 + rows // 1000},
        "delta": {"rows": rows + delta * 3 // 20, "dead": delta // 20, "touched": delta * 17 // 20},
        "triple": {"rows": 3 * rows, "dead": 0, "touched": 0},
    }


def _only_whole(rows: int) -> None:
    if rows < 1000 or rows % 1000:
        raise SystemExit("--rows must be a multiple of 1000: the shares of the delta are exact")


def _write(path: Path, keys: str, count: int, rows: int) -> None:
    import duckdb
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        writer = None
        for low, high in _ranges(count):
            named = keys.format(low=low, high=high, rows=rows)
            table = connection.sql(_ROW.format(keys=named)).to_arrow_table()
            writer = writer or pq.ParquetWriter(path, table.schema, compression="snappy")
            writer.write_table(table, row_group_size=GROUP)
        assert writer is not None  # noqa: S101 - there is at least one range
        writer.close()


def _ranges(count: int) -> Iterator[tuple[int, int]]:
    for low in range(0, count, GROUP):
        yield low, min(low + GROUP, count)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Make the exports that the benchmark loads.")
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--rows", type=int, default=5_000_000)
    options = arguments.parse_args()
    make(options.folder, options.rows)

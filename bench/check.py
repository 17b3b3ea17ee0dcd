"""Whether a table is what it should be after a step: the contents of its active rows, its dead rows, its times.

What it should be is worked out from the exports alone. Contents are compared by the sum of a hash of every row.
Alone: ``python -m bench.check expect EXPORTS`` and ``python -m bench.check found DATABASE SCHEMA KIND`` print JSON.
"""

from __future__ import annotations

import json
import sys

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data import FILES

if TYPE_CHECKING:
    import duckdb

_ABSENT = "UNION ALL SELECT * FROM '{first}' AS a ANTI JOIN '{second}' AS b USING (OrderItemId)"
_ALIVE = {
    "first": "SELECT * FROM '{first}'",
    "second": "SELECT * FROM '{second}'",
    "second, absences ignored": f"SELECT * FROM '{{second}}' {_ABSENT}",
    "delta": """SELECT * FROM '{delta}' WHERE NOT IsDeleted
        UNION ALL SELECT * FROM '{first}' AS a ANTI JOIN '{delta}' AS b USING (OrderItemId)""",
    "triple": "SELECT * FROM '{triple}'",
}
Contents = tuple[int, str]


def expect(exports: Path) -> dict[str, list[object]]:
    """Number and contents of the active rows after each step."""
    import duckdb

    files = {name: (exports / path).as_posix() for name, path in FILES.items()}
    with duckdb.connect() as connection:
        columns = _columns(connection, f"'{files['first']}'")
        return {step: list(_contents(connection, columns, query.format(**files))) for step, query in _ALIVE.items()}


def found(database: str, schema: str, kind: str) -> dict[str, object]:
    """The same of a table, and how many of its rows are dead and how many not as they first came."""
    import duckdb

    with duckdb.connect(database, read_only=True) as connection:
        table = f'"{schema}".orderitem'
        columns = _columns(connection, table)
        counts: dict[str, object] = {}
        if kind == "history":
            columns = [name for name in columns if name not in ("FirstSyncAt", "SyncedAt", "SyncedBy", "DeletedAt")]
            counted = connection.execute(
                f"SELECT count(DeletedAt), count(*) FILTER (SyncedAt > FirstSyncAt) FROM {table}"
            ).fetchall()[0]
            counts = dict(zip(("dead", "touched"), counted, strict=True))
            table = f"{table} WHERE DeletedAt IS NULL"
        alive = list(_contents(connection, columns, f"SELECT * FROM {table}"))
        return {"alive": alive, **counts}


def verdict(step: str, rows: Mapping[str, int], alive: Mapping[str, list[object]], seen: Mapping[str, object]) -> str:
    """``right``, or what is wrong, of what ``found`` saw after *step*."""
    if "dead" not in seen:
        if seen["alive"] == alive[step]:
            return "right, no history"
        if seen["alive"] == alive.get(f"{step}, absences ignored"):
            return f"{rows['dead']:,} rows the full lacks are still there, no history"
        return f"wrong: {seen['alive']} where {alive[step]} belongs"
    wanted = {"alive": alive[step], "dead": rows["dead"], "touched": rows["touched"]}
    return "right" if dict(seen) == wanted else f"wrong: {dict(seen)} where {wanted} belongs"


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    return [str(row[0]) for row in connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()]


def _contents(connection: duckdb.DuckDBPyConnection, columns: list[str], query: str) -> Contents:
    hashed = f"hash({', '.join(columns)})"
    rows, total = connection.execute(f"SELECT count(*), sum({hashed}::HUGEINT) FROM ({query})").fetchall()[0]
    return int(rows), str(total)


if __name__ == "__main__":
    if sys.argv[1] == "expect":
        print(json.dumps(expect(Path(sys.argv[2]))))
    else:
        print(json.dumps(found(*sys.argv[2:])))

"""A lake as a test sees it: its tables as another program reads them, in a DuckDB of its own."""

from __future__ import annotations

import datetime as dt
import re
import shutil

from pathlib import Path
from typing import Any

import duckdb

from deltalake import DeltaTable

from shared.warehouses import Backfill
from tests.arrivals import rows
from tests.exports import START, export_path, load_exports, write_parquet

_TYPES = {"timestamp": "TIMESTAMP", "date": "DATE"}


def tables(root: Path) -> list[tuple[str, str]]:
    """System and entity of every table."""
    found = sorted(path.parent.relative_to(root) for path in root.glob("*/*/_delta_log"))
    return [(plain(path.parts[0]), plain(path.parts[1])) for path in found]


def open_tables(root: Path, db: duckdb.DuckDBPyConnection) -> None:
    """A table of DuckDB for each of the lake, and a view of the active rows beside those that have such."""
    db.execute("SET TimeZone = 'UTC'")
    for path in sorted(root.glob("*/*/_delta_log")):
        system, table = (_quoted(plain(part)) for part in path.parent.relative_to(root).parts)
        db.execute(f"CREATE SCHEMA IF NOT EXISTS {system}")
        rows = DeltaTable(str(path.parent)).to_pyarrow_table()
        listed = ", ".join(_column(field) for field in DeltaTable(str(path.parent)).schema().fields)
        db.execute(f"CREATE TABLE {system}.{table} AS SELECT {listed} FROM rows")
        if "DeletedAt" in rows.schema.names:
            view = table[:-1] + '_active"'
            db.execute(f'CREATE VIEW {system}.{view} AS SELECT * FROM {system}.{table} WHERE "DeletedAt" IS NULL')


def query(root: Path, statement: str) -> list[tuple[Any, ...]]:
    """What *statement* finds; DROP TABLE takes the folder of the table away."""
    dropped = re.fullmatch(r'DROP (TABLE|VIEW) "(\w+)"\."(\w+)"', statement)
    if dropped:
        if dropped[1] == "TABLE":
            shutil.rmtree(root / dropped[2] / dropped[3])
        return []
    with duckdb.connect() as db:
        open_tables(root, db)
        return db.execute(statement).fetchall()


def _column(field: Any) -> str:
    name = _quoted(field.name)
    kind = "TIME" if field.metadata.get("sluice.type") == "time" else _TYPES.get(field.type.type)
    return f"CAST({name} AS {kind}) AS {name}" if kind else name


def plain(name: str) -> str:
    return bytes(re.sub(rb"~([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), name.encode())).decode()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def forget(root: Path) -> None:
    """Remove a copy."""
    shutil.rmtree(root)


def rewrite(folder: Path, where: str) -> None:
    """Delete the rows of a table that do not meet *where*."""
    DeltaTable(str(folder)).delete(f"NOT ({where})")


def backfill(number: int) -> Backfill:
    """One of many."""
    return Backfill(id=f"{number:016x}", feed="shop.item", at="2026-02-01T00:00:00.000000", requested_by="a test")


def load(app, tmp_path, number, *, keys=None, every=1):
    """Load an export of ten rows, by default with keys of its own; else from *keys* on, *every* one of so many."""
    stamp = (START - dt.timedelta(minutes=100 - number)).strftime("%Y%m%d%H%M%S")
    path = export_path(tmp_path / "exports" / str(number), "delta", stamp, "location")
    write_parquet(path, rows(10 * every, number - 100, first=10 * number if keys is None else keys)[::every])
    (result,) = load_exports(app, tmp_path / "exports" / str(number))
    assert result.loaded, result.run.error

"""What `make demo-lake` does: two databases, each with a table that lists its tables, flow into a data lake.

A first sync, one without news, one that is killed between its commit and its watermark, the repair, a backfill by
metadata alone, upkeep, time travel and a query by DuckDB. It brings its own servers; where they cannot be had, it says
so and ends with 0.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import duckdb
import pytest

from deltalake import DeltaTable

from shared.cli import demo, output
from tests.servers.mariadb import MariaDB, mariadb_programs
from tests.servers.postgres import Postgres, postgres_programs

FOLDER = Path(".sluice/demo-lake")
CUSTOMERS, ORDERS, INVOICES = 200, 5_000, 3_000
KILLED = 137
_CATALOG = """[system]
name = "{system}"
source = "sql"

[feed_list]
from = "source"
table = "table_details"
columns = {{ table = "table_name", cursor = "cdc_column", last_value = "last_cdc", enabled = "is_enabled" }}
"""
_LIST = (
    "CREATE TABLE table_details (table_name VARCHAR(40), cdc_column VARCHAR(40), last_cdc VARCHAR(40), is_enabled INT)"
)
_SHOP = (
    _LIST,
    "INSERT INTO table_details VALUES ('customer', 'updated_at', NULL, 1), ('orders', 'updated_at', NULL, 1)",
    "CREATE TABLE customer (id INT PRIMARY KEY, name VARCHAR(40), city VARCHAR(40), updated_at DATETIME(6),"
    " KEY (updated_at))",
    "INSERT INTO customer SELECT seq, CONCAT('Customer ', seq), ELT(1 + seq % 3, 'Boston', 'Köln', 'São Paulo'),"
    f" '2026-01-01' + INTERVAL seq MINUTE FROM seq_1_to_{CUSTOMERS}",
    "CREATE TABLE orders (id INT PRIMARY KEY, customer_id INT, amount DECIMAL(18,2), updated_at DATETIME(6),"
    " KEY (updated_at))",
    f"INSERT INTO orders SELECT seq, 1 + seq % {CUSTOMERS}, seq / 4,"
    f" '2026-01-01' + INTERVAL seq MINUTE FROM seq_1_to_{ORDERS}",
)
_BILLING = (
    _LIST,
    "INSERT INTO table_details VALUES ('invoice', 'updated_at', NULL, 1)",
    "CREATE TABLE invoice (id INT PRIMARY KEY, order_id INT, paid BOOLEAN, updated_at TIMESTAMP(6))",
    "CREATE INDEX ON invoice (updated_at)",
    "INSERT INTO invoice SELECT n, n, n % 3 > 0, TIMESTAMP '2026-01-01' + n * INTERVAL '1 minute'"
    f" FROM generate_series(1, {INVOICES}) AS n",
)
_NEWS = (
    "UPDATE orders SET amount = amount + 1000, updated_at = '2026-06-01' WHERE id <= 3",
    f"INSERT INTO orders VALUES ({ORDERS + 1}, 1, 12.50, '2026-06-01 00:00:01')",
)
_QUERY = (
    "SELECT c.city, count(*) AS orders, sum(o.amount) AS amount FROM orders o JOIN customer c ON c.id = o.customer_id"
    " GROUP BY c.city ORDER BY c.city"
)
_CRASH = """import os, sys
from shared.cli.main import main
from shared.warehouses.lake.table import LakeTable

commit = LakeTable.commit

def dies(table, before, change):
    commit(table, before, change)
    if table.path == "shop/orders":
        os._exit({code})

LakeTable.commit = dies
sys.argv = ["sluice", "sync", "shop"]
main()
"""


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=FOLDER, help="Where to create the demo.")
def main(folder: Path) -> None:
    """Sync two databases step by step into a local data lake."""
    try:
        programs = mariadb_programs(), postgres_programs()
    except pytest.skip.Exception as reason:
        click.echo(f"The demo is skipped: {reason}.")
        return
    with MariaDB(programs[0]) as shop, Postgres(programs[1]) as billing:
        names = shop.create_database(), billing.create_database()
        with shop.connect(names[0]) as connection, connection.cursor() as cursor:
            with billing.connect(names[1]) as other:
                for statement in _SHOP:
                    cursor.execute(statement)
                for statement in _BILLING:
                    other.execute(statement.encode())
            home = demo.empty(folder).resolve()
            Demo(home, {"SHOP_DATABASE_URL": shop.url(names[0]), "BILLING_DATABASE_URL": billing.url(names[1])}).play(
                cursor
            )


class Demo:
    """The steps, in a folder of their own."""

    def __init__(self, home: Path, databases: Mapping[str, str]) -> None:
        self._home = home
        (home / "catalog").mkdir()
        for system in ("shop", "billing"):
            (home / "catalog" / f"{system}.toml").write_text(_CATALOG.format(system=system), encoding="utf-8")
        self._settings = {
            "WAREHOUSE_URL": f"lake:///{home}/lake", "LEDGER_URL": f"sqlite:///{home}/ledger.db",
            "STATE_URL": str(home / "state"), "CATALOG_PATH": str(home / "catalog"), **databases,
        }  # fmt: skip

    def play(self, cursor: Any) -> None:
        _title(
            "1. Two databases are synced for the first time",
            "In each, a table names the tables to read, their cursors and where to begin.",
        )
        self._run("sync", "shop")
        self._run("sync", "billing")
        self._versions()
        _title("2. Nothing is new", "Each table has its own watermark. A sync that finds nothing commits nothing.")
        self._run("sync", "shop")
        self._run("sync", "shop")
        self._versions()
        _title("3. Orders change, and the sync is killed", "It dies after its commit, before its watermark is moved.")
        for statement in _NEWS:
            cursor.execute(statement)
        self._crash()
        self._versions()
        _title("4. The next sync repairs it", "The run finds its own commit in the table: no row is written twice.")
        self._run("sync", "shop")
        self._versions()
        _title(
            "5. A backfill by metadata alone",
            "One value of the list is set back: that table is read again, and what is the same is not rewritten.",
        )
        cursor.execute("UPDATE table_details SET last_cdc = '2026-01-03' WHERE table_name = 'orders'")
        self._run("sync", "shop")
        self._versions()
        _title("6. Upkeep", "Small files become large ones. What a reader may still need stays.")
        self._run("upkeep")
        _title("7. Time travel", "The table as it was before the orders changed, and as it is.")
        output.print_table(self._amounts())
        _title("8. The summary", "Every run says what became of its rows.")
        self._run("history")
        _title("9. Query the lake with DuckDB", f"  {_QUERY}")
        output.print_table(self._query())

    def _run(self, *words: str) -> None:
        """Run a command of sluice as a person would, and show it."""
        click.secho(f"\n$ sluice {shlex.join(words)}", fg="cyan")
        sys.stdout.flush()
        subprocess.run([sys.executable, "-m", "shared", *words], env=os.environ | self._settings, check=True)

    def _crash(self) -> None:
        """The same command, in a process that is gone as soon as it has committed the orders."""
        command = [sys.executable, "-c", _CRASH.format(code=KILLED)]
        click.secho("\n$ sluice sync shop", fg="cyan")
        sys.stdout.flush()
        killed = subprocess.run(command, env=os.environ | self._settings, check=False)
        click.echo(f"The process ended with {killed.returncode}.")

    def _versions(self) -> None:
        output.print_table(
            {"table": table, "version": lake.version(), "files": len(lake.file_uris()), "rows": lake.count()}
            for table, lake in self._tables().items()
        )

    def _tables(self) -> dict[str, DeltaTable]:
        root = self._home / "lake"
        return {name: DeltaTable(root / name) for name in ("shop/customer", "shop/orders", "billing/invoice")}

    def _amounts(self) -> list[dict[str, Any]]:
        path = self._home / "lake" / "shop" / "orders"
        return [
            {"version": version, **self._sum(DeltaTable(path, version=version))}
            for version in (0, DeltaTable(path).version())
        ]

    def _sum(self, table: DeltaTable) -> dict[str, Any]:
        files = table.file_uris()
        (rows, amount) = duckdb.execute("SELECT count(*), sum(amount) FROM read_parquet(?)", [files]).fetchall()[0]
        return {"orders": rows, "amount": amount}

    def _query(self) -> Sequence[dict[str, Any]]:
        with duckdb.connect() as connection:
            for name, table in self._tables().items():
                files = connection.read_parquet(table.file_uris())
                files.create_view(name.partition("/")[2])
            found = connection.execute(_QUERY)
            names = [column[0] for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _title(title: str, text: str) -> None:
    click.secho(f"\n{title}", bold=True)
    click.echo(text)


if __name__ == "__main__":
    main()

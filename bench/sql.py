"""Measure a sync of a database table into DuckDB beside connectorx, the mariadb client and dlt.

    python -m bench sql                                2,000,000 rows of 20 columns from both servers
    python -m bench sql --rows 500000 --only mysql     a quick look

MariaDB and PostgreSQL are started for this. Everybody reads the same table, each as one process, measured from its
start to its end, in turns; figures are medians, ratios are taken within a run. Processor seconds are those of the
client alone. Peers are used where ``make bench-peers`` installed them, the mariadb client where it is on the path.
bench/RESULTS_SQL.md is written by hand from what this prints.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import sqlalchemy as sa

from bench import sql_data
from bench.contestants import PEERS, ROOT, quiet
from bench.measure import Cost, run

PEER_NAMES = ("connectorx", "dlt-pyarrow", "dlt-connectorx")
SYSTEM = """[system]
name = "shop"
source = "sql"

[tables.prospect]
keys = ["id"]
cursor = "updated_at"
overlap_seconds = 0
"""


def main(given: list[str]) -> None:
    options = _arguments(given)
    shutil.rmtree(options.work, ignore_errors=True)
    for dialect in options.only.split(","):
        costs: dict[str, list[Cost]] = {}
        with server(dialect, options.rows) as url:
            for number in range(options.runs):
                names = list(_commands(dialect, url, options.work))
                for name in names[:: 1 if number % 2 == 0 else -1]:
                    cost = _measured(name, dialect, url, options.work)
                    print(
                        f"  {dialect:10} {name:15} {cost.wall:7.2f} s {cost.cpu:7.2f} s CPU {cost.peak:5.0f} MB",
                        flush=True,
                    )
                    costs.setdefault(name, []).append(cost)
        print(_table(dialect, options.rows, costs))


def _measured(name: str, dialect: str, url: str, work: Path) -> Cost:
    folder = work / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "catalog").mkdir(parents=True)
    (folder / "catalog" / "shop.toml").write_text(SYSTEM)
    command, env = _commands(dialect, url, work)[name]
    cost, _ = run(command, quiet(env), ROOT)
    shutil.rmtree(folder)
    return cost


def _commands(dialect: str, url: str, work: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    sluice = work.resolve() / "sluice"
    settings = {
        "SHOP_DATABASE_URL": url, "CATALOG_PATH": str(sluice / "catalog"),
        "WAREHOUSE_URL": f"duckdb:///{sluice}/warehouse.duckdb", "LEDGER_URL": f"sqlite:///{sluice}/ledger.db",
    }  # fmt: skip
    found = {"sluice": ([sys.executable, "-m", "shared", "sync", "shop", "--json"], settings)}
    if PEERS.exists():
        for name in PEER_NAMES:
            found[name] = ([str(PEERS), "-m", "bench.sql_peers", name, url, str(work.resolve() / name)], {})
    client = shutil.which("mariadb")
    if client and dialect == "mysql":
        place = sa.make_url(url)
        reading = [
            client, "--no-defaults", "-h", str(place.host), "-P", str(place.port), "-u", str(place.username), "-B",
            "-q", "-e", f"SELECT * FROM {sql_data.TABLE} ORDER BY id", str(place.database),
        ]  # fmt: skip
        found["mariadb-tsv"] = (reading, {"MYSQL_PWD": str(place.password)})
    return found


@contextlib.contextmanager
def server(dialect: str, rows: int) -> Iterator[str]:
    """The URL of a database with the table of *rows* rows, on a server that is started for it."""
    from tests.servers.mariadb import FAST, MariaDB, mariadb_programs
    from tests.servers.postgres import Postgres, postgres_programs

    made: Any = (
        MariaDB(mariadb_programs(), (*FAST, "innodb-buffer-pool-size=1500M"))
        if dialect == "mysql"
        else Postgres(postgres_programs(), ("fsync=off", "shared_buffers=1GB", "max_wal_size=4GB"))
    )
    with made as server:
        database = server.create_database()
        with server.connect(database) as connection:
            sql_data.fill(connection, dialect, rows)
        yield server.url(database)


def _table(dialect: str, rows: int, costs: dict[str, list[Cost]]) -> str:
    lines = [
        "",
        f"{dialect}, {rows:,} rows, medians of {len(costs['sluice'])} runs",
        "",
        "| | wall s | x | CPU s | x | peak MB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    ours = costs["sluice"]
    for name, found in costs.items():
        wall = median(a.wall / b.wall for a, b in zip(ours, found, strict=True))
        cpu = median(a.cpu / b.cpu for a, b in zip(ours, found, strict=True))
        middle = [median(getattr(cost, field) for cost in found) for field in Cost._fields]
        lines.append(f"| {name} | {middle[0]:.1f} | {wall:.2f} | {middle[1]:.1f} | {cpu:.2f} | {middle[2]:.0f} |")
    return "\n".join([*lines, "", "x: what Sluice takes, in times of that."])


def _arguments(given: list[str]) -> argparse.Namespace:
    arguments = argparse.ArgumentParser("python -m bench sql", description=str(__doc__).partition("\n")[0])
    arguments.add_argument("--rows", type=int, default=2_000_000, help="of the table (%(default)s)")
    arguments.add_argument("--runs", type=int, default=3, help="of everything (%(default)s)")
    arguments.add_argument("--only", default="mysql,postgresql", help="servers (%(default)s)")
    arguments.add_argument("--work", type=Path, default=ROOT / ".bench" / "sql", help="folder for what is made")
    return arguments.parse_args(given)

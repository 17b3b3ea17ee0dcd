"""What a system of many tables costs when nothing is new: its catalog, its feeds, the timer, a sync.

    python -m bench.scaling_tables 100 500 2000

One MariaDB is started; for each number a database with so many tables of 6 columns and 10 rows. The catalog names them,
but in `lookup`, where they are found in the database. Documents and ledger of the timer are in Azurite.
"""

from __future__ import annotations

import datetime as dt
import os
import sys

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.contestants import ROOT, quiet
from bench.measure import run
from bench.scaling import scratch
from bench.scaling_files import counted, said, spent
from tests.exports import START, Clock

_COLUMNS = (
    "id INT PRIMARY KEY, name VARCHAR(40), amount DECIMAL(18,2), city VARCHAR(40), created_at DATETIME, "
    "updated_at DATETIME(6), KEY (updated_at)"
)
_ROWS = (
    "SELECT seq, CONCAT('name ', seq), seq / 4, 'Köln', '2026-01-01', '2026-01-01' + INTERVAL seq MINUTE"
    " FROM seq_1_to_10"
)


def main(counts: list[int]) -> None:
    from tests.servers.azurite import Azurite, azurite_command
    from tests.servers.mariadb import MariaDB, mariadb_programs

    home = scratch("tables")
    with Azurite(home / "azurite", azurite_command()) as storage, MariaDB(mariadb_programs()) as server:
        for count in counts:
            database = server.create_database()
            with server.connect(database) as connection, connection.cursor() as cursor:
                for n in range(count):
                    cursor.execute(f"CREATE TABLE t{n:04} ({_COLUMNS})")
                    cursor.execute(f"INSERT INTO t{n:04} {_ROWS}")
            _measure(count, home / str(count), server.url(database), storage)
            server.drop_database(database)


def _measure(count: int, home: Path, url: str, storage: Any) -> None:
    system = '[system]\nname = "shop"\nsource = "sql"\n\n'
    system += '[defaults.sql]\ncursor = "updated_at"\nschedule = "*/15 * * * *"\n\n'
    tables = "".join(f'[tables.t{n:04}]\nkeys = ["id"]\n' for n in range(count))
    for name, text in (("named", system + tables), ("lookup", f"{system}[discover]\n")):
        (home / name).mkdir(parents=True)
        (home / name / "shop.toml").write_text(text)
    env = {
        "SHOP_DATABASE_URL": url, "CATALOG_PATH": str(home / "named"),
        "WAREHOUSE_URL": f"duckdb:///{home}/warehouse.duckdb", "LEDGER_URL": f"sqlite:///{home}/ledger.db",
    }  # fmt: skip
    _catalog(count, home / "named")
    for what, more, command in (
        ("first sync", {}, ["sync", "shop"]),
        ("second sync, reads the newest again", {}, ["sync", "shop"]),
        ("sync without news", {}, ["sync", "shop"]),
        ("feeds", {}, ["feeds"]),
        ("sync without news, tables looked up", {"CATALOG_PATH": str(home / "lookup")}, ["sync", "shop"]),
    ):
        cost, _ = run([sys.executable, "-m", "shared", *command, "--json"], quiet(env | more), ROOT)
        said(
            tables=count, what=what, cpu_s=cost.cpu, cpu_ms_a_table=cost.cpu / count * 1000, wall_s=cost.wall,
            peak_mb=cost.peak,
        )  # fmt: skip
    _timer(count, home, env, storage)


def _catalog(count: int, folder: Path) -> None:
    from shared import catalog

    cpu, _, found = spent(lambda: catalog.read(folder))
    said(
        tables=count,
        what="catalog",
        cpu_s=cpu,
        cpu_ms_a_table=cpu / count * 1000,
        feeds=len(list(found["shop"].feeds())),
    )


def _timer(count: int, home: Path, env: dict[str, str], storage: Any) -> None:
    """The timer that looks for due syncs, when all tables were synced a minute ago."""
    from shared.app import open_app
    from shared.jobs.feed_state import FeedStates
    from shared.jobs.triggers import due_syncs
    from shared.model import to_text

    settings = {
        "STORAGE_CONNECTION_STRING": storage.connection_string, "STATE_URL": f"{storage.blob_url}/state{count}",
    }  # fmt: skip
    app = open_app(env | settings, now=Clock(START + dt.timedelta(minutes=2)))
    for feed in app.systems["shop"].feeds():
        FeedStates(app.documents).record_sync(feed.name, to_text(START + dt.timedelta(minutes=1)))
    with counted({urlsplit(storage.blob_url).port or 0: "blob"}) as sent:
        cpu, wall, due = spent(lambda: list(due_syncs(app)))
    said(
        tables=count, what="timer, nothing due", cpu_s=cpu, cpu_ms_a_table=cpu / count * 1000, wall_s=wall,
        due=len(due), blob_requests=sent["blob"],
    )  # fmt: skip


if __name__ == "__main__":
    os.environ.pop("CATALOG_PATH", None)
    main([int(one) for one in sys.argv[1:]])

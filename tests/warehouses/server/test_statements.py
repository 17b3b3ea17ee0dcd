"""How many requests a load of ten rows takes, from staging to tidying, on each way there is."""

from __future__ import annotations

import json
import re

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from shared.contract.conform import ROW
from shared.ids import staging_name
from shared.model import Column
from shared.mssql import odbc
from shared.pipeline.tally import REJECTS_SCHEMA
from tests.servers.postgres import FAST, Postgres
from tests.standins.tsql.engine import Server
from tests.suites.warehouse_case import WarehouseCase, row, some
from tests.warehouses.azure_sql.direct.samples import Publishing

DIRECT, STAGED = 8, 45
"""The most that are allowed."""
TEN = [row(n, f"n{n}", 6) for n in range(1, 11)]


@dataclass
class Counted:
    """A warehouse with three items, and all that it is asked."""

    case: WarehouseCase
    statements: Callable[[], list[str]]
    most: int

    def load(self, number: float, *rows: dict) -> tuple[int, dict[str, int]]:
        """How many statements the load of a delta takes, and what became of its rows."""
        before = len(self.statements())
        run = self.case.loaded("delta", number, *rows)
        return len(self.statements()) - before, some(run)

    def staging_tables(self) -> list[str]:
        return [name for name in self.case.contents() if name.startswith("staging.")]

    def rejects(self) -> list[str]:
        return [json.loads(one["raw"])["Name"] for one in self.case.app.warehouse.rejects("shop.item")]


def _on_sql_server(request: pytest.FixtureRequest, folder: Path, loader: str) -> Iterator[Counted]:
    server = Server()
    request.getfixturevalue("monkeypatch").setattr(odbc, "load_pyodbc", lambda: server)
    url = "mssql://app:secret@stand-in/sluice"
    case = WarehouseCase(folder, server.query, WAREHOUSE_URL=url, WAREHOUSE_LOADER=loader)
    yield Counted(case, lambda: server.statements, DIRECT if loader == "auto" else STAGED)


@pytest.fixture(scope="module")
def logging_postgres(postgres_installed: Path) -> Iterator[Postgres]:
    """A server that counts by itself: every request is a line of its log."""
    with Postgres(postgres_installed, (*FAST, "log_statement=all", "log_min_messages=log")) as server:
        yield server


def _on_postgresql(request: pytest.FixtureRequest, folder: Path, loader: str) -> Iterator[Counted]:
    server: Postgres = request.getfixturevalue("logging_postgres")
    name = server.create_database()

    def query(statement):
        with server.connect(name) as connection:
            found = connection.execute(statement)
            return found.fetchall() if found.description else []

    def statements():
        return re.findall(r"LOG:  (?:statement|execute [^:]*): (.*)", (server.folder / "output.txt").read_text())

    case = WarehouseCase(folder, query, WAREHOUSE_URL=server.url(name), WAREHOUSE_LOADER=loader)
    yield Counted(case, statements, DIRECT if loader == "auto" else STAGED)


@pytest.fixture(params=["SQL Server, directly", "SQL Server, staged", "PostgreSQL, directly", "PostgreSQL, staged"])
def counted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Counted]:
    if request.param.startswith("PostgreSQL"):
        opened = _on_postgresql(request, tmp_path, "array" if request.param.endswith("staged") else "auto")
    else:
        opened = _on_sql_server(request, tmp_path, "array" if request.param.endswith("staged") else "auto")
    for one in opened:
        one.case.loaded("full", 5, row(1), row(2), row(3))
        yield one


def test_ten_rows_take_few_requests(counted):
    """Staging them, forgetting what an earlier try rejected, merging them and dropping what there is to drop."""
    taken, became = counted.load(6, *TEN)

    assert {"inserted": 7, "updated": 3, "read": 10} == became
    assert taken <= counted.most
    assert [] == counted.staging_tables()


def test_the_first_load_of_a_process_takes_two_requests_more(counted):
    """It looks whether the warehouse is of its version."""
    counted.load(6, *TEN)
    counted.case.app.warehouse._prepared = False

    taken, _ = counted.load(7, *TEN)

    assert taken <= counted.most + 2
    assert (taken - 2, {"unchanged": 10, "read": 10}) == counted.load(8, *TEN)


def test_a_try_without_rejects_takes_one_request_and_replaces_those_of_the_try_before(counted):
    """Also those of slices that there are no more."""
    publish = Publishing(counted.case, *TEN)
    warehouse = counted.case.app.warehouse
    reject = pa.record_batch([["x"], ["row"], [None], ["key_null"], ["no key"], ['{"Name": "Nobody"}']], REJECTS_SCHEMA)
    for part in (0, 1):
        warehouse.reject(publish.plan, part, [reject])
    kept = counted.rejects()
    before = len(counted.statements())

    warehouse.reject(publish.plan, 0, [])

    assert before + 1 == len(counted.statements())
    assert (["Nobody"] * 2, []) == (kept, counted.rejects())
    publish()


def test_tidying_drops_what_there_is_of_the_run_and_nothing_else(counted):
    """An earlier try may have made more slices. Where there is nothing to drop, looking is all."""
    publish = Publishing(counted.case, *TEN)
    warehouse, plan = counted.case.app.warehouse, publish.plan
    own, other = staging_name(plan.run.id, 7), staging_name("f" * 16, 0)
    for name in (own, f"{own}_keys", other):
        warehouse.stage(plan.feed, name, [Column("ItemId", "ItemId", "bigint")], [_numbered(1)])
    before = len(counted.statements())

    warehouse.tidy(plan)
    between = len(counted.statements())
    warehouse.tidy(plan)
    after = len(counted.statements())

    assert (6, 1) == (between - before, after - between)
    assert [f"staging.{other}"] == counted.staging_tables()


def _numbered(key: int) -> pa.RecordBatch:
    return pa.record_batch([pa.array([0], pa.int64()), pa.array([key], pa.int64())], [ROW, "ItemId"])

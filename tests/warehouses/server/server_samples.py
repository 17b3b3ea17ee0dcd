"""A delta, and what it does to the three items of the tests in this folder. On PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.warehouses.merge import ingest
from shared.warehouses.postgres import direct
from tests.servers.postgres import Postgres
from tests.suites.warehouse_case import WarehouseCase, day, row

ROOT = Path(__file__).parents[3]


def asking(server: Postgres, database: str) -> Callable[[str], list[tuple[Any, ...]]]:
    def run(statement: str) -> list[tuple[Any, ...]]:
        with server.connect(database) as connection:
            found = connection.execute(statement)
            return found.fetchall() if found.description else []

    return run


def filled(folder: Path, query: Any, url: str, **env: str) -> WarehouseCase:
    """Three items are stored, the third of them dead. Few rows go by a staging table, unless *env* says otherwise."""
    case = WarehouseCase(folder, query, WAREHOUSE_URL=url, **{"WAREHOUSE_LOADER": "array", **env})
    case.loaded("full", 5, row(1, "Ada", 1), row(2, "Bob", 2), row(3, "Cy", 3, True))
    return case


def just_before_commit(monkeypatch, act: Callable[[], object], times: int = 1) -> None:
    """Do *act* within the next merges, when all is written and nothing is committed."""
    left = iter(range(times))
    write = ingest.write

    def written(*given: Any) -> None:
        write(*given)
        if next(left, None) is not None:
            act()

    def written_directly(*given: Any) -> None:
        write_directly(*given)
        if next(left, None) is not None:
            act()

    write_directly = direct._write
    monkeypatch.setattr(ingest, "write", written)
    monkeypatch.setattr(direct, "_write", written_directly)


SESSIONS = "FROM pg_stat_activity WHERE datname = current_database()"


"""Those of this test: its database is its own, the server is not."""


CONNECTIONS = f"{SESSIONS} AND application_name = 'sluice'"


DELTA = (row(1, "Ida", 4), row(2, "Bob", 4, True), row(4, "Di", 4))


AFTER_DELTA = [(1, "Ida", None), (2, "Bob", day(4)), (3, "Cy", day(3)), (4, "Di", None)]


OUTCOMES_OF_DELTA = {"updated": 1, "deleted": 1, "inserted": 1, "read": 3}


def stored(case: WarehouseCase) -> list[tuple[Any, ...]]:
    return case.rows("ItemId", "Name", "DeletedAt")

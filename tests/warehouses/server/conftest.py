"""A database with three items, and SQLSTATEs that were considered for a retry. On PostgreSQL."""

from __future__ import annotations

import psycopg
import pytest

from shared.warehouses.postgres import engine
from tests.servers.postgres import Postgres
from tests.suites.warehouse_case import WarehouseCase
from tests.warehouses.postgres.retries import retries_come_at_once
from tests.warehouses.server.server_samples import asking, filled


@pytest.fixture
def query(postgres: Postgres, database: str):
    return asking(postgres, database)


@pytest.fixture
def case(postgres: Postgres, database: str, query, tmp_path, monkeypatch) -> WarehouseCase:
    """A table of three items, in a database of the shared server."""
    retries_come_at_once(monkeypatch)
    return filled(tmp_path, query, postgres.url(database))


@pytest.fixture
def states(monkeypatch) -> list[str | None]:
    """SQLSTATE of every error that was weighed for a retry."""
    seen: list[str | None] = []

    def passes(error: BaseException) -> bool:
        if isinstance(error, psycopg.Error):
            seen.append(error.sqlstate)
        return original(error)

    original = engine.passes
    monkeypatch.setattr(engine, "passes", passes)
    return seen

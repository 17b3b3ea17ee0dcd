"""PostgreSQL as a warehouse: the behaviour of every warehouse, and what is particular to it."""

from __future__ import annotations

import pytest

from tests.servers.postgres import Postgres
from tests.warehouse_suite import WarehouseSuite


class TestPostgres(WarehouseSuite):
    """On a real server, in a database of its own for each test."""

    longest_key = 2_500

    @pytest.fixture
    def settings(self, postgres: Postgres, database: str):
        return {"WAREHOUSE_URL": postgres.url(database)}

    @pytest.fixture
    def query(self, postgres: Postgres, database: str):
        def run(statement):
            with postgres.connect(database) as connection:
                found = connection.execute(statement)
                return found.fetchall() if found.description else []

        return run

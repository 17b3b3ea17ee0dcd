"""Azure SQL as a warehouse: the behaviour of every warehouse, on the stand-in and on a real server where there is one.

The stand-in has Microsoft's parser in front, so that no statement passes that SQL Server would not understand; what
it cannot show is said in its docstring (tests/standins/tsql/engine.py). Set TEST_AZURE_SQL_URL to an empty database, as
WAREHOUSE_URL would name it, to run the same on a real server.
"""

from __future__ import annotations

import os

import pytest

from shared.mssql import odbc
from tests.standins.tsql.engine import Server
from tests.suites.warehouse_fulls import Fulls
from tests.suites.warehouse_suite import WHATEVER_LOADS, WarehouseSuite

ON_A_REAL_SERVER = os.environ.get("TEST_AZURE_SQL_URL", "")
OURS = ("shop", "coolr", "ingest", "staging")


class OnTheStandIn(WarehouseSuite):
    longest_key = 450
    takes_long = True
    slow_parts = (Fulls, *WHATEVER_LOADS)  # their rules are the SQL of all servers: PostgreSQL shows them quickly

    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Server:
        server = Server()
        monkeypatch.setattr(odbc, "load_pyodbc", lambda: server)
        return server

    @pytest.fixture
    def query(self, server: Server):
        def run(statement):
            return [tuple(row) for row in server.query(statement)]

        return run

    @pytest.fixture(autouse=True)
    def nothing_stays_open(self, server: Server):
        """A connection that stays open keeps a serverless database awake."""
        yield
        assert 0 == server.open_connections


class TestFewRowsOnTheStandIn(OnTheStandIn):
    """As few rows as these tests have mostly go without a staging table."""

    @pytest.fixture
    def settings(self, server: Server):
        return {"WAREHOUSE_URL": "mssql://app:secret@stand-in/sluice"}


@pytest.mark.slow
class TestArraysOnTheStandIn(OnTheStandIn):
    """The same, by way of staging tables."""

    shown_elsewhere = WHATEVER_LOADS

    @pytest.fixture
    def settings(self, server: Server):
        return {"WAREHOUSE_URL": "mssql://app:secret@stand-in/sluice", "WAREHOUSE_LOADER": "array"}


@pytest.mark.slow
class TestBulkOnTheStandIn(OnTheStandIn):
    """The same, by way of CSV parts in a container."""

    shown_elsewhere = (*WHATEVER_LOADS, Fulls)

    @pytest.fixture
    def settings(self, server: Server, azurite, container):
        server.external_data_sources.append({"name": "sluice_staging"})
        server.blobs = lambda _, path: container.download_blob(path).readall()
        return {
            "WAREHOUSE_URL": "mssql://app:secret@stand-in/sluice",
            "WAREHOUSE_LOADER": "bulk",
            "STAGING_URL": container.url,
            "STORAGE_CONNECTION_STRING": azurite.connection_string,
        }


@pytest.mark.skipif(not ON_A_REAL_SERVER, reason="no SQL Server here: TEST_AZURE_SQL_URL is not set")
class OnARealServer(WarehouseSuite):
    longest_key = 450

    @pytest.fixture
    def query(self):
        """On a connection of its own; afterwards all our schemas are empty again."""
        connection = odbc.connect(odbc.load_pyodbc(), odbc.address(ON_A_REAL_SERVER))

        def run(statement):
            cursor = connection.cursor()
            cursor.execute(statement)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

        _empty(run)
        yield run
        _empty(run)
        connection.close()


class TestArraysOnARealServer(OnARealServer):
    """By way of fast_executemany."""

    @pytest.fixture
    def settings(self, query):
        return {"WAREHOUSE_URL": ON_A_REAL_SERVER, "WAREHOUSE_LOADER": "array"}


class TestCopyOnARealServer(OnARealServer):
    """By way of Microsoft's bulk copy."""

    @pytest.fixture(autouse=True)
    def no_row_goes_another_way(self, caplog):
        """Where bulk copy does not work, rows are sent in arrays, and these tests would show nothing."""
        yield
        assert [] == [reported for reported in caplog.messages if "rows are" in reported]

    @pytest.fixture
    def settings(self, query):
        return {"WAREHOUSE_URL": ON_A_REAL_SERVER, "WAREHOUSE_LOADER": "copy"}


class TestFewRowsOnARealServer(OnARealServer):
    """Without a staging table, as few rows go."""

    @pytest.fixture
    def settings(self, query):
        return {"WAREHOUSE_URL": ON_A_REAL_SERVER}


def _empty(query) -> None:
    tables = query("SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM INFORMATION_SCHEMA.TABLES")
    for schema, name, kind in sorted(tables, key=lambda row: row[2] == "BASE TABLE"):
        if schema in OURS:
            what = "VIEW" if kind == "VIEW" else "TABLE"
            query(f"DROP {what} [{schema}].[{name.replace(']', ']]')}]")
    for schema in OURS:
        query(f"DROP SCHEMA IF EXISTS [{schema}]")

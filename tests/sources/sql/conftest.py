"""Tables on every kind of server that can be a source."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.mssql import odbc
from tests.servers.source_table import BOTH, SourceTable
from tests.servers.sqlserver import REAL_URL, RealServer, StandInServer

REAL = pytest.param(
    "azure_sql", marks=pytest.mark.skipif(not REAL_URL, reason="no SQL Server here: TEST_AZURE_SQL_URL is not set")
)


@pytest.fixture
def sqlserver(monkeypatch: pytest.MonkeyPatch) -> StandInServer:
    """The stand-in, as what pyodbc reaches."""
    server = StandInServer()
    monkeypatch.setattr(odbc, "load_pyodbc", lambda: server.module)
    return server


@pytest.fixture
def azure_sql() -> RealServer:
    """The server that TEST_AZURE_SQL_URL names."""
    return RealServer()


@pytest.fixture(params=[*BOTH, "sqlserver", REAL])
def any_table(request: pytest.FixtureRequest) -> Iterator[SourceTable]:
    """A fresh, empty database on a server of each kind."""
    server = request.getfixturevalue(request.param)
    name = server.create_database()
    yield SourceTable(server, name)
    server.drop_database(name)

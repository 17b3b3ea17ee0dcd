"""A stand-in for SQL Server that stores three items; retries without waits."""

from __future__ import annotations

from pathlib import Path

import pytest
import stamina

from shared.mssql import odbc
from tests.standins.tsql.engine import Server
from tests.suites.warehouse_case import WarehouseCase, row
from tests.warehouses.azure_sql.direct.samples import opened


@pytest.fixture(autouse=True)
def no_waiting():
    """Retries as ever, at once."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


@pytest.fixture
def server(monkeypatch) -> Server:
    server = Server()
    monkeypatch.setattr(odbc, "load_pyodbc", lambda: server)
    return server


@pytest.fixture
def case(tmp_path: Path, server: Server) -> WarehouseCase:
    """Three items are stored, the third of them dead."""
    case = opened(tmp_path, server)
    case.loaded("full", 5, row(1, "Ada", 1), row(2, "Bob", 2), row(3, "Cy", 3, True))
    return case

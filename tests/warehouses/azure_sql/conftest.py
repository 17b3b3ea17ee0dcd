"""A stand-in for SQL Server, with a staging container or without, and an engine over it."""

from __future__ import annotations

from pathlib import Path

import pytest
import stamina

from shared.settings import Settings
from shared.warehouses.azure_sql import engine as azure_engine
from shared.warehouses.azure_sql import odbc
from shared.warehouses.azure_sql.engine import AzureSQL
from tests.standins.tsql.engine import Server
from tests.suites.warehouse_suite import WarehouseCase, row
from tests.warehouses.azure_sql.direct_samples import opened
from tests.warehouses.azure_sql.loader_samples import URL, Bay, Copied


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


@pytest.fixture(autouse=True)
def _no_waits():
    with stamina.set_testing(True, attempts=99, cap=True):
        yield


@pytest.fixture
def bay(server, container, azurite):
    return Bay(server, container, azurite)


@pytest.fixture
def bulk(bay):
    """An engine that loads by CSV parts."""
    return bay.engine()


@pytest.fixture
def plain(server):
    """An engine without a staging container."""
    return AzureSQL(Settings.from_env({"WAREHOUSE_URL": URL}), odbc.address(URL), server)


@pytest.fixture
def copied(monkeypatch, plain):
    kind = type("Copied", (Copied,), {"sent": [], "engine": plain})
    monkeypatch.setattr(azure_engine, "BulkCopy", kind)
    return kind


@pytest.fixture
def engine(request, server):
    """The engine for a way of loading; only bulk loads need Azurite."""

    def of(way):
        return request.getfixturevalue({"bulk": "bulk", "copy": "plain", "array": "plain"}[way])

    return of

"""The T-SQL stand-in with and without a staging container, and engines on it."""

from __future__ import annotations

import pytest
import stamina

from shared.mssql import odbc
from shared.settings import Settings
from shared.warehouses.azure_sql.engine import AzureSQL
from tests.standins.tsql.engine import Server
from tests.warehouses.azure_sql.samples import URL, ServerWithContainer, copy_through


@pytest.fixture
def _no_waits():
    with stamina.set_testing(True, attempts=99, cap=True):
        yield


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def with_container(server, container, azurite):
    return ServerWithContainer(server, container, azurite)


@pytest.fixture
def bulk(with_container):
    """An engine that loads by CSV parts."""
    return with_container.engine()


@pytest.fixture
def new_engine(server):
    """Makes engines without a staging container."""

    def make(*, env=None, **more):
        return AzureSQL(Settings.from_env({"WAREHOUSE_URL": URL, **(env or {})}), odbc.address(URL), server, **more)

    return make


@pytest.fixture
def copy(server):
    """Bulk copy as the tests have it: rows arrive as arrays, and are remembered."""
    return copy_through(server)


@pytest.fixture
def plain(new_engine, copy):
    """An engine without a staging container."""
    return new_engine(copy=copy)

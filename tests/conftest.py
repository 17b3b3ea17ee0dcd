"""Servers that tests share: started when the first test needs one, stopped after the last, whatever happened."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import uuid

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from azure.storage.blob import BlobServiceClient, ContainerClient
from click.testing import CliRunner, Result
from hypothesis import settings

from shared.app import opened
from shared.cli.main import main
from shared.sources.exports import parquet
from tests.servers.azurite import Azurite, azurite_command
from tests.servers.mariadb import MariaDB, Programs, mariadb_programs
from tests.servers.postgres import Postgres, postgres_programs
from tests.servers.receiver import Receiver
from tests.servers.shared import shared
from tests.servers.source_table import BOTH, SourceTable, hurried
from tests.standins.tsql import parser

settings.register_profile("sluice", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("sluice")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is above the room of SQL sources is tried quickly with the first of the two servers; the other is slow."""
    for item in items:
        params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        if params.get("source_table") in BOTH[1:] and "sql" not in item.path.parts:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(autouse=True)
def logging_stays_as_it_was() -> Iterator[None]:
    """The command line sets up the logging of its process, which is the tests': the next one would hear nothing."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture(params=["staged", "direct"], scope="module")
def reading(request: pytest.FixtureRequest) -> Iterator[str]:
    """Tests that use it run twice: once with all rows staged, and once with DuckDB reading what it may by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "DIRECT_ROWS", 1 if request.param == "direct" else sys.maxsize)
        yield request.param


@pytest.fixture(scope="session")
def azurite_installed() -> list[str]:
    """The command that starts Azurite; tests that need it are skipped where it cannot be had."""
    return azurite_command()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where the processes of this run, one or several, meet over the servers that they share."""
    folder = tmp_path_factory.getbasetemp()
    return (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "servers"


@pytest.fixture(scope="session")
def azurite(azurite_installed: list[str], servers: Path) -> Iterator[Azurite]:
    """Blobs, queues and tables for all tests of the run: leave it running, and use names of your own."""
    with shared(lambda: Azurite(servers / "azurite" / "data", azurite_installed), servers / "azurite") as server:
        yield server


@pytest.fixture
def private_azurite(azurite_installed: list[str], tmp_path: Path) -> Iterator[Callable[[], Azurite]]:
    """Each call starts another server, for the test to stop, kill and start again; none outlives it."""
    with contextlib.ExitStack() as running:

        def start() -> Azurite:
            return running.enter_context(Azurite(tmp_path / f"azurite-{uuid.uuid4().hex}", azurite_installed))

        yield start


@pytest.fixture
def container(azurite: Azurite) -> Iterator[ContainerClient]:
    """A fresh, empty container."""
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        client = service.create_container(f"test-{uuid.uuid4().hex}")
        yield client
        client.delete_container()


@pytest.fixture(scope="session")
def postgres_installed() -> Path:
    """The folder with PostgreSQL's programs; tests that need it are skipped where it cannot be had."""
    return postgres_programs()


@pytest.fixture(scope="session")
def postgres(postgres_installed: Path, servers: Path) -> Iterator[Postgres]:
    """A PostgreSQL server for all tests of the run: leave it running, and use a database of your own."""
    with shared(lambda: Postgres(postgres_installed), servers / "postgres") as server:
        yield server


@pytest.fixture
def private_postgres(postgres_installed: Path) -> Iterator[Postgres]:
    """A PostgreSQL server for one test, to be killed and started again."""
    with Postgres(postgres_installed) as server:
        yield server


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    """Name of a fresh, empty database."""
    name = postgres.create_database()
    yield name
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def mariadb_installed() -> Programs:
    """Where MariaDB lies; tests that need it are skipped where it cannot be had."""
    return mariadb_programs()


@pytest.fixture(scope="session")
def mariadb(mariadb_installed: Programs, servers: Path) -> Iterator[MariaDB]:
    """A MariaDB server for all tests of the run: leave it running, and use a database of your own."""
    with shared(lambda: MariaDB(mariadb_installed), servers / "mariadb") as server:
        yield server


@pytest.fixture
def private_mariadb(mariadb_installed: Programs) -> Iterator[MariaDB]:
    """A MariaDB server for one test, to be killed and started again."""
    with MariaDB(mariadb_installed) as server:
        yield server


@pytest.fixture
def mariadb_database(mariadb: MariaDB) -> Iterator[str]:
    """Name of a fresh, empty database in MariaDB."""
    name = mariadb.create_database()
    yield name
    mariadb.drop_database(name)


@pytest.fixture(scope="session")
def tsql_problems() -> Callable[[str], list[parser.Problem]]:
    """What Microsoft's parser finds wrong with a text; tests that need it are skipped where it cannot be had."""
    if reason := parser.unavailable():
        pytest.skip(reason)
    return parser.problems


@pytest.fixture(params=BOTH)
def source_table(request: pytest.FixtureRequest) -> Iterator[SourceTable]:
    """A fresh, empty database on either server, for pull feeds to read."""
    server = request.getfixturevalue(request.param)
    name = server.create_database()
    yield SourceTable(server, name)
    server.drop_database(name)


@pytest.fixture
def in_a_hurry() -> Iterator[None]:
    """Calls of databases that pull feeds read are tried once, without waits."""
    with hurried():
        yield


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A local HTTP server that takes alerts and calls."""
    with Receiver() as found:
        yield found


@pytest.fixture
def sluice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Run a command with a warehouse and a ledger of its own; settings can be added."""
    monkeypatch.setenv("WAREHOUSE_URL", f"duckdb:///{tmp_path}/warehouse.duckdb")
    monkeypatch.setenv("LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")

    def run(*words: object, **env: str) -> Result:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        opened.cache_clear()
        return CliRunner().invoke(main, [str(word) for word in words])

    yield run
    opened.cache_clear()

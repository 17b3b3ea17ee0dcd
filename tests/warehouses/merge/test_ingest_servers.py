"""A warehouse on a database server whose tables of ``ingest`` the third version wrote: history gets an index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import ConfigError
from shared.mssql import odbc
from shared.warehouses.merge import ingest
from tests.servers.postgres import Postgres
from tests.standins.tsql.engine import Server
from tests.suites.warehouse_case import Query, WarehouseCase, row, some

THIRD_VERSION = """
    CREATE SCHEMA ingest;
    CREATE TABLE ingest.version (version INTEGER NOT NULL);
    INSERT INTO ingest.version VALUES (3);
    CREATE TABLE ingest.run (
        id {id} NOT NULL, feed {text} NOT NULL, kind {text} NOT NULL, status {text} NOT NULL,
        started {datetime} NOT NULL, finished {datetime} NULL, client {text} NULL, exported_at {datetime} NULL,
        complete {boolean} NOT NULL, "read" BIGINT NOT NULL, rejected BIGINT NOT NULL, superseded BIGINT NOT NULL,
        stale BIGINT NOT NULL, unchanged BIGINT NOT NULL, inserted BIGINT NOT NULL, deleted BIGINT NOT NULL,
        undeleted BIGINT NOT NULL, updated BIGINT NOT NULL, absent BIGINT NOT NULL, values_rejected BIGINT NOT NULL,
        "size" BIGINT NULL, seconds DOUBLE PRECISION NULL, log_rate BIGINT NULL, high {text} NULL,
        files {long} NOT NULL, "columns" {long} NOT NULL, error {long} NULL, note {long} NULL
    );
    CREATE TABLE ingest.rejected (
        run {id} NOT NULL, feed {text} NOT NULL, slice INTEGER NOT NULL, exported_at {datetime} NULL,
        place {long} NOT NULL, scope {text} NOT NULL, "column" {text} NULL, code {text} NOT NULL,
        reason {long} NOT NULL, raw {long} NOT NULL
    );
    CREATE UNIQUE INDEX ix_run_keys ON ingest.run (id);
    CREATE INDEX ix_rejected_keys ON ingest.rejected (run, slice);
    INSERT INTO ingest.run VALUES (
        '0123456789abcdef', 'shop.item', 'full', 'done', '2026-02-06', '2026-02-06 00:00:01.25', 'Acme', '2026-02-06',
        {true}, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 100, 0.5, NULL, '2026-02-02T00:00:00.000000',
        '["/exports/item.parquet"]', '[{{"source": "ItemId", "name": "ItemId", "type": "bigint"}}]', NULL, NULL
    );
    CREATE SCHEMA shop;
    CREATE TABLE shop.item (
        "ItemId" BIGINT NULL, "Name" {text} NULL, "ModifiedOn" {datetime} NULL, "IsDeleted" {boolean} NULL,
        "FirstSyncAt" {datetime} NULL, "SyncedAt" {datetime} NULL, "SyncedBy" {text} NULL, "DeletedAt" {datetime} NULL
    );
    {key_index};
    INSERT INTO shop.item VALUES (
        1, 'Ada', '2026-02-02', {false}, '2026-02-06 00:00:01.25', '2026-02-06 00:00:01.25', '0123456789abcdef', NULL
    );
    CREATE VIEW shop.item_active AS SELECT * FROM shop.item WHERE "DeletedAt" IS NULL;
"""
"""What the third version wrote. Never to be changed: such databases are out there."""

POSTGRESQL = {
    "id": "TEXT", "text": "TEXT", "long": "TEXT", "datetime": "TIMESTAMP", "boolean": "BOOLEAN",
    "true": "true", "false": "false", "key_index": 'CREATE UNIQUE INDEX ix_item_keys ON shop.item ("ItemId")',
}  # fmt: skip
SQL_SERVER = {
    "id": "NVARCHAR(64)", "text": "NVARCHAR(4000)", "long": "NVARCHAR(max)", "datetime": "DATETIME2(6)",
    "boolean": "BIT", "true": "1", "false": "0",
    "key_index": 'CREATE CLUSTERED INDEX ix_item_keys ON shop.item ("ItemId")',
}  # fmt: skip
INDEXES = {
    "postgresql": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'ingest' AND indexname = 'ix_run_feed'",
    "mssql": "SELECT name FROM sys.indexes WHERE name = N'ix_run_feed'",
}


class Old:
    """A database of the third version."""

    def __init__(
        self, engine: str, query: Query, open_case: Callable[[], WarehouseCase], types: dict[str, str]
    ) -> None:
        self.engine, self.query, self.open_case = engine, query, open_case
        for statement in THIRD_VERSION.format(**types).split(";\n"):
            if statement.strip():
                query(statement)

    @property
    def indexes(self) -> int:
        return len(self.query(INDEXES[self.engine]))

    @property
    def version(self) -> int:
        return self.query("SELECT version FROM ingest.version")[0][0]


@pytest.fixture(params=["postgresql", "mssql"])
def old(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Old:
    if request.param == "mssql":
        server = Server()
        monkeypatch.setattr(odbc, "load_pyodbc", lambda: server)
        return _on_stand_in(server, tmp_path)
    postgres: Postgres = request.getfixturevalue("postgres")
    database: str = request.getfixturevalue("database")

    def query(statement):
        with postgres.connect(database) as connection:
            found = connection.execute(statement)
            return found.fetchall() if found.description else []

    return Old(
        "postgresql", query, lambda: WarehouseCase(tmp_path, query, WAREHOUSE_URL=postgres.url(database)), POSTGRESQL
    )


def _on_stand_in(server: Server, folder: Path) -> Old:
    connection = server.connect(autocommit=True)

    def query(statement):
        cursor = connection.cursor()
        cursor.execute(statement)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    url = "mssql://app:secret@stand-in/sluice"
    return Old("mssql", query, lambda: WarehouseCase(folder, query, WAREHOUSE_URL=url), SQL_SERVER)


def test_history_without_an_index_on_feeds_gets_one_by_the_next_load(old):
    """Its runs and rows stay what they were, and are built upon."""
    case = old.open_case()

    run = case.loaded("delta", 7, row(1, "Ida", 4), row(2, "Bob", 4))

    assert (1, ingest.CURRENT) == (old.indexes, old.version)
    assert {"updated": 1, "inserted": 1, "read": 2} == some(run)
    assert [run.id, "0123456789abcdef"] == [one.id for one in case.app.warehouse.runs("shop.item")]
    assert [("Ida",), ("Bob",)] == case.rows("Name")


def test_a_late_file_still_meets_the_full_of_the_old_history(old):
    """The index answers what the table did: a full of the sixth day is merged already."""
    run = old.open_case().loaded("delta", 4, row(3, "Cy", 3))

    assert "late: a full exported at 2026-02-06" in run.note


def test_looking_at_an_old_history_is_enough_to_get_the_index_once(old):
    """The next process, which has the version to look at, finds nothing to do."""
    old.open_case().app.warehouse.runs()
    old.open_case().app.warehouse.runs()

    assert (1, ingest.CURRENT) == (old.indexes, old.version)


def test_a_newer_history_is_refused_and_left_alone(old):
    """A later version may keep something in another way."""
    old.query("UPDATE ingest.version SET version = 99")

    with pytest.raises(ConfigError, match="newer version of Sluice"):
        old.open_case().app.warehouse.runs()

    assert (0, 99) == (old.indexes, old.version)

"""The tables of schema ``ingest`` through the versions of Sluice: opened, brought forward, refused."""

from __future__ import annotations

import datetime as dt
import json
import threading

from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest

from shared.errors import ConfigError
from shared.model import Column, Run
from shared.pipeline.folder import LoadOptions
from tests.exports import Clock, export_path, load_exports, open_test_app, write_parquet

FIRST_VERSION = """
    CREATE SCHEMA ingest;
    CREATE TABLE ingest.version (version INTEGER NOT NULL);
    INSERT INTO ingest.version VALUES (1);
    CREATE TABLE ingest.run (
        id TEXT NOT NULL, feed TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL,
        started TIMESTAMP WITHOUT TIME ZONE NOT NULL, finished TIMESTAMP WITHOUT TIME ZONE, client TEXT,
        exported_at TIMESTAMP WITHOUT TIME ZONE, complete BOOLEAN NOT NULL, read BIGINT NOT NULL,
        rejected BIGINT NOT NULL, superseded BIGINT NOT NULL, stale BIGINT NOT NULL, unchanged BIGINT NOT NULL,
        inserted BIGINT NOT NULL, deleted BIGINT NOT NULL, undeleted BIGINT NOT NULL, updated BIGINT NOT NULL,
        absent BIGINT NOT NULL, values_rejected BIGINT NOT NULL, high TEXT, files TEXT NOT NULL,
        columns TEXT NOT NULL, error TEXT
    );
    CREATE TABLE ingest.rejected (
        run TEXT NOT NULL, feed TEXT NOT NULL, slice INTEGER NOT NULL, exported_at TIMESTAMP WITHOUT TIME ZONE,
        place TEXT NOT NULL, scope TEXT NOT NULL, "column" TEXT, code TEXT NOT NULL, reason TEXT NOT NULL,
        raw TEXT NOT NULL
    );
    INSERT INTO ingest.run VALUES (
        '0123456789abcdef', 'coolr.location', 'full', 'done', '2026-01-05 06:00:00', '2026-01-05 06:00:01.25', 'Acme',
        '2026-01-05', true, 3, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, '2026-01-04T00:00:00.000000',
        '["/exports/Full/Acme/20260105/Location.parquet"]',
        '[{"source": "LocationId", "name": "LocationId", "type": "bigint"}]', NULL
    );
    INSERT INTO ingest.rejected VALUES (
        '0123456789abcdef', 'coolr.location', 0, '2026-01-05', 'Location.parquet row 3', 'row', 'LocationId',
        'key_null', 'no key', '{"LocationId": null}'
    );
    CREATE SCHEMA coolr;
    CREATE TABLE coolr.location (
        "LocationId" BIGINT, "Name" TEXT, "ModifiedOn" TIMESTAMP, "IsDeleted" BOOLEAN, "FirstSyncAt" TIMESTAMP,
        "SyncedAt" TIMESTAMP, "SyncedBy" TEXT, "DeletedAt" TIMESTAMP
    );
    INSERT INTO coolr.location VALUES
        (1, 'Ada', '2026-01-04', false, '2026-01-05 06:00:01.25', '2026-01-05 06:00:01.25', '0123456789abcdef', NULL),
        (2, 'Bob', '2026-01-03', false, '2026-01-05 06:00:01.25', '2026-01-05 06:00:01.25', '0123456789abcdef', NULL);
    CREATE VIEW coolr.location_active AS SELECT * FROM coolr.location WHERE "DeletedAt" IS NULL;
"""
"""What the first version wrote, to the letter. Never to be changed: such files are out there."""

FIRST_RUN = Run(
    id="0123456789abcdef", feed="coolr.location", kind="full", started="2026-01-05T06:00:00.000000",
    finished="2026-01-05T06:00:01.250000", files=("/exports/Full/Acme/20260105/Location.parquet",), client="Acme",
    exported_at="2026-01-05T00:00:00.000000", complete=True, read=3, rejected=1, inserted=2,
    columns=(Column("LocationId", "LocationId", "bigint"),), high="2026-01-04T00:00:00.000000",
)  # fmt: skip


@pytest.fixture
def file(tmp_path):
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def first_version(file):
    with duckdb.connect(str(file)) as db:
        db.execute(FIRST_VERSION)
    return file


@pytest.fixture
def app(tmp_path):
    return open_test_app(tmp_path, Clock(dt.datetime(2026, 1, 8, tzinfo=dt.UTC)), COOLR_CLIENT="Acme")


def delta(tmp_path):
    rows = [
        {"LocationId": 2, "Name": "Bo", "ModifiedOn": dt.datetime(2026, 1, 6), "IsDeleted": False},  # noqa: DTZ001
        {"LocationId": 3, "Name": "Cy", "ModifiedOn": dt.datetime(2026, 1, 6), "IsDeleted": False},  # noqa: DTZ001
    ]
    return write_parquet(export_path(tmp_path / "exports", "delta", "20260107", "Location"), rows)


def requested(file, query):
    with duckdb.connect(str(file), read_only=True) as db:
        return db.execute(query).fetchall()


def test_history_of_the_first_version_still_reads(app, first_version):
    """Every column is where it was; what is new since is empty."""
    assert [FIRST_RUN] == app.warehouse.runs("coolr.location")


def test_rejects_of_the_first_version_still_read(app, first_version):
    """With the status of the run they belong to."""
    (reject,) = app.warehouse.rejects("coolr.location")

    reported = {name: reject[name] for name in ("run", "place", "column", "code", "status")}
    assert {
        "run": FIRST_RUN.id, "place": "Location.parquet row 3", "column": "LocationId", "code": "key_null",
        "status": "done",
    } == reported  # fmt: skip
    assert {"LocationId": None} == json.loads(reject["raw"])


def test_load_goes_on_where_the_first_version_stopped(app, first_version, tmp_path):
    """Rows and history are built upon, and FirstSyncAt is what it was."""
    delta(tmp_path)

    (result,) = load_exports(app, str(tmp_path / "exports"), LoadOptions(system="coolr"))

    assert ("done", 1, 1) == (result.run.status, result.run.updated, result.run.inserted)
    assert [result.run, FIRST_RUN] == app.warehouse.runs("coolr.location")
    first_sync = dt.datetime(2026, 1, 5, 6, 0, 1, 250_000)  # noqa: DTZ001 - as the table has it
    assert [(1, "Ada", first_sync), (2, "Bo", first_sync)] == requested(
        first_version,
        'SELECT "LocationId", "Name", "FirstSyncAt" FROM coolr.location WHERE "LocationId" < 3 ORDER BY 1',
    )


def test_runs_of_both_versions_have_the_new_column(app, first_version, tmp_path):
    """A note is there for those that have something to say."""
    full = export_path(tmp_path / "exports", "full", "latest", "Location")
    delta(tmp_path).rename(_folder_of(full))

    (result,) = load_exports(app, str(tmp_path / "exports"), LoadOptions(system="coolr"))

    assert result.run.note.startswith("merged as a delta")
    assert [result.run.note, None] == [run.note for run in app.warehouse.runs()]


def test_file_is_brought_forward_once(app, first_version, tmp_path):
    """It becomes what a new file is from the start, and the next opening finds nothing to do."""
    app.warehouse.runs()
    open_test_app(tmp_path).warehouse.runs()

    new = tmp_path / "new"
    new.mkdir()
    with open_test_app(new).warehouse._session():
        pass

    columns = (
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'ingest' ORDER BY ALL"
    )
    version = "SELECT version FROM ingest.version"
    assert requested(new / "warehouse.duckdb", columns) == requested(first_version, columns)
    assert requested(new / "warehouse.duckdb", version) == requested(first_version, version)
    assert (1,) < requested(first_version, version)[0]


def test_two_sessions_at_once_bring_it_forward_once(app, first_version):
    """The second waits for the first and finds it done."""
    start = threading.Barrier(4)

    def look(_):
        start.wait()
        return app.warehouse.runs()

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(look, range(4)))

    assert [[FIRST_RUN]] * 4 == found
    assert 1 == len(requested(first_version, "SELECT version FROM ingest.version"))


def test_file_that_cannot_be_brought_forward_stays_as_it_was(app, first_version):
    """All of a migration or nothing: here the new column is there already, with another meaning."""
    with duckdb.connect(str(first_version)) as db:
        db.execute("ALTER TABLE ingest.run ADD COLUMN note INTEGER")

    with pytest.raises(Exception, match="note"):
        app.warehouse.runs()
    assert [(1,)] == requested(first_version, "SELECT version FROM ingest.version")


def test_file_of_a_newer_version_is_refused_and_left_alone(app, first_version):
    """Rather than written in a way that it would not understand."""
    with duckdb.connect(str(first_version)) as db:
        db.execute("UPDATE ingest.version SET version = 99")
    before = requested(first_version, "FROM ingest.run"), requested(first_version, "FROM ingest.version")

    with pytest.raises(
        ConfigError, match=r"newer version of Sluice \(layout 99, .*\)\. Run a newer version of Sluice\.$"
    ) as caught:
        app.warehouse.runs()
    assert "\n" not in str(caught.value)
    assert before == (requested(first_version, "FROM ingest.run"), requested(first_version, "FROM ingest.version"))


def test_refused_file_can_be_opened_once_it_is_corrected(app, first_version):
    """A failed opening leaves nothing open."""
    with duckdb.connect(str(first_version)) as db:
        db.execute("UPDATE ingest.version SET version = 99")
    with pytest.raises(ConfigError):
        app.warehouse.runs()
    with duckdb.connect(str(first_version)) as db:
        db.execute("UPDATE ingest.version SET version = 1")

    assert [FIRST_RUN] == app.warehouse.runs()


def _folder_of(path):
    path.parent.mkdir(parents=True)
    return path

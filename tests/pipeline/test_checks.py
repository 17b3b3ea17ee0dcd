"""The doctor: every part a load needs is looked at by itself, and what is wrong with it says what to do."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import sys

from urllib.parse import quote

import pytest
import stamina

from azure.storage.blob import ContainerSasPermissions, generate_container_sas
from click.testing import CliRunner

from shared import app as shared_app
from shared.cli.main import main
from shared.errors import DataError
from shared.model import Finding
from shared.warehouses.azure_sql import canary, loader, odbc
from shared.warehouses.azure_sql import engine as azure_engine
from shared.warehouses.azure_sql.bulk_copy import BulkCopy
from shared.warehouses.server.warehouse import ServerWarehouse
from tests.exports import Clock, doctor_findings, export_path, open_test_app, write_parquet
from tests.servers import free_port
from tests.standins.tsql import bulk as server_bulk
from tests.standins.tsql import engine as stand_in
from tests.standins.tsql.engine import Server
from tests.warehouses.azure_sql.loader_samples import URL, Bay, Copied

SAS = "sv=2024-11-04&se=2027-01-01&sr=c&sp=rwdl&sig=abc%2Bdef%3D"


@pytest.fixture(autouse=True)
def _no_waits():
    with stamina.set_testing(True, attempts=2, cap=True):
        yield


@pytest.fixture
def sluice(tmp_path, monkeypatch):
    """Run a command with a warehouse and a ledger of its own; settings can be added."""
    monkeypatch.setenv("WAREHOUSE_URL", f"duckdb:///{tmp_path}/warehouse.duckdb")
    monkeypatch.setenv("LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")

    def run(*words, **env):
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        shared_app.opened.cache_clear()
        return CliRunner().invoke(main, [str(word) for word in words])

    yield run
    shared_app.opened.cache_clear()


def told(findings):
    return {one.check: (one.status, one.message) for one in findings}


def of(findings, check):
    return [one for one in findings if one.check == check]


# -- on the command line


def test_embedded_default_is_healthy(sluice):
    """Without any setting: exit code 0, and a line for each check."""
    result = sluice("doctor")

    assert (0, "") == (result.exit_code, result.stderr)
    assert all(word in result.stdout for word in ("settings", "ledger", "warehouse"))
    assert "failed" not in result.stdout


def test_findings_are_records_as_json(sluice, tmp_path):
    """A list, also of what failed."""
    (tmp_path / "warehouse.duckdb").write_bytes(b"no database" * 100)

    result = sluice("doctor", "--json")

    found = json.loads(result.stdout)
    assert 1 == result.exit_code
    assert {"check", "status", "message", "fix"} == set(found[0])
    assert "failed" == found[-1]["status"]
    assert found[-1]["fix"]


def test_broken_ledger_does_not_keep_the_warehouse_from_being_looked_at(sluice, tmp_path):
    """Exit code 1, and both are told."""
    (tmp_path / "ledger.db").write_bytes(b"no database" * 100)

    result = sluice("doctor", "--json")

    status = {one["check"]: one["status"] for one in json.loads(result.stdout)}
    assert (1, "failed") == (result.exit_code, status["ledger"])
    assert "ok" in [one for check, one in status.items() if check.startswith("warehouse")]


def test_broken_catalog_is_told_in_one_line(sluice, tmp_path):
    """Without it there is nothing to look at."""
    (tmp_path / "shop.toml").write_text("[system", encoding="utf-8")

    result = sluice("doctor", "--json", CATALOG_PATH=str(tmp_path))

    (found,) = json.loads(result.stdout)
    assert (1, "settings", "failed") == (result.exit_code, found["check"], found["status"])
    assert "shop.toml" in found["message"]
    assert found["fix"]


def test_server_that_is_away_is_told_without_its_password(sluice):
    """All other checks are told as well."""
    url = f"postgresql://app:hunter2@127.0.0.1:{free_port()}/sales"

    result = sluice("doctor", "--json", WAREHOUSE_URL=url)

    assert 1 == result.exit_code
    assert "failed" == json.loads(result.stdout)[-1]["status"]
    assert "hunter2" not in result.output


# -- storage


@pytest.fixture
def app(tmp_path):
    return open_test_app(tmp_path, Clock(dt.datetime.now(dt.UTC)))


def test_folder_with_exports_is_listed_and_read(app, tmp_path):
    """The first file, and how many there are."""
    for table in ("item", "order"):
        write_parquet(export_path(tmp_path / "exports", "full", "20260224000000", table), [{"a": 1}])

    found = told(doctor_findings(app, str(tmp_path / "exports")))

    first = tmp_path / "exports/Full/Acme/20260224000000/item.parquet"
    assert ("ok", f"2 files, the first is {first}") == found["storage: list"]
    assert ("ok", f"the first 4 bytes of {first}") == found["storage: read"]


def test_folder_without_files_is_a_warning(app, tmp_path):
    """It may be the wrong one, or too early."""
    (tmp_path / "empty").mkdir()

    assert [("warning", "Check the path")] == [
        (one.status, one.fix) for one in of(doctor_findings(app, str(tmp_path / "empty")), "storage")
    ]


@pytest.mark.parametrize(
    "location",
    ["{tmp}/nowhere", "sftp://app:hunter2@127.0.0.1:{port}/x", "https://app:hunter2@127.0.0.1:{port}/x.parquet?sig=abc",
     "ftp://app:hunter2@127.0.0.1/x", "https://acme.blob.core.windows.net/?sig=abc"],
)  # fmt: skip
def test_storage_that_cannot_be_reached_is_told_and_the_rest_goes_on(app, tmp_path, location):
    """Of whatever kind; without what signs in."""
    findings = list(doctor_findings(app, location.format(tmp=tmp_path, port=free_port())))

    (storage,) = of(findings, "storage")
    assert "failed" == storage.status
    assert storage.fix
    assert "hunter2" not in f"{storage}"
    assert "abc" not in storage.message
    assert "ok" == findings[-1].status


@pytest.fixture
def signed(azurite, container):
    """URL of a container with an export, signed with some rights for some time."""

    def sign(rights, **time):
        container.upload_blob("Full/Acme/20260224000000/item.parquet", b"PAR1", overwrite=True)
        sas = generate_container_sas(
            azurite.account, container.container_name, account_key=azurite.key,
            start=dt.datetime.now(dt.UTC) - dt.timedelta(days=9), expiry=dt.datetime.now(dt.UTC) + dt.timedelta(**time),
            permission=ContainerSasPermissions.from_string(rights),
        )  # fmt: skip
        return f"{container.url}?{sas}"

    return sign


@pytest.mark.parametrize(
    ("hours", "status", "words"),
    [(73.5, "ok", "UTC, in 3 days"), (24.5, "warning", "UTC, in 24 hours"), (0.5, "warning", "in less than an hour")],
)
def test_end_of_a_link_is_told_in_words(app, signed, hours, status, words):
    """Two days before, it is a warning; nothing of the link itself is repeated."""
    findings = list(doctor_findings(app, signed("rl", hours=hours)))

    (link,) = of(findings, "storage: SAS")
    assert (status, True) == (link.status, link.message.endswith(words))
    assert "ok" == told(findings)["storage: read"][0]
    assert "sig=" not in f"{findings}"


def test_link_that_has_ended_is_told_beside_what_the_server_says(app, signed):
    """Since when, and that a new one is needed."""
    findings = list(doctor_findings(app, signed("rl", hours=-50)))

    (link,) = of(findings, "storage: SAS")
    assert ("failed", "Ask for a new link") == (link.status, link.fix)
    assert link.message.endswith("2 days ago")
    assert "ok" == findings[-1].status


def test_link_without_the_right_to_list_is_told(app, signed):
    """What the server refuses, and what to ask for."""
    findings = list(doctor_findings(app, signed("w", hours=72)))

    (storage,) = of(findings, "storage")
    assert "failed" == storage.status
    assert "list" in f"{storage.message} {storage.fix}"
    assert "sig=" not in f"{storage}"


# -- Azure SQL


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def bay(server, container, azurite):
    return Bay(server, container, azurite)


@pytest.fixture
def examined(tmp_path, server):
    """What the doctor finds over an engine; nothing is to stay behind."""

    def examine(engine):
        app = dataclasses.replace(open_test_app(tmp_path), warehouse=ServerWarehouse(engine))
        found = list(doctor_findings(app))
        server._faults.clear()
        tables = server.query("SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'staging'")
        blobs = list(engine.container.list_blob_names()) if engine.container is not None else []
        assert ([], [], 0) == (tables, blobs, server.open_connections)
        return [one for one in found if one.check.startswith("warehouse")]

    return examine


@pytest.fixture
def plain(server):
    settings = shared_app.Settings.from_env({"WAREHOUSE_URL": URL, "WAREHOUSE_LOADER": "array"})
    return stand_in_engine(settings, server)


def stand_in_engine(settings, server):
    from shared.warehouses.azure_sql.engine import AzureSQL

    return AzureSQL(settings, odbc.address(settings.warehouse_url), server)


ODD = f"{len(canary.CASES)} odd rows came back unchanged"


def test_healthy_database_without_a_container(examined, plain):
    """Driver, sign-in, rights, log rate, canary."""
    assert {
        "warehouse: driver": ("ok", "ODBC Driver 18 for SQL Server"),
        "warehouse: sign-in": ("ok", "app in sluice, SQL Server 12.0.2000.8"),
        "warehouse: rights": ("ok", "create table, create view, create schema"),
        "warehouse: log rate": ("ok", "the tier allows 4.7 MB/s"),
        "warehouse: staging": ("skipped", "STAGING_URL is not set: rows are loaded with bulk copy or in arrays"),
        "warehouse: canary (array)": ("ok", ODD),
    } == told(examined(plain))


def test_healthy_database_with_a_container(examined, bay):
    """The canary goes the way of a real load, and so do a bad row and a rollback."""
    found = told(examined(bay.engine()))

    assert {"ok"} == {status for status, _ in found.values()}
    assert ("ok", ODD) == found["warehouse: canary (bulk)"]
    assert "it is refused" in found["warehouse: canary, bad row"][1]
    assert "leaves nothing" in found["warehouse: canary, rollback"][1]
    assert "administer database bulk operations" in found["warehouse: rights"][1]


def test_rights_that_are_lacking_are_named(examined, bay, server):
    """All at once, with the script that gives them; what can be looked at without them is."""
    server.permissions = {"CREATE VIEW": False, "ADMINISTER DATABASE BULK OPERATIONS": False}

    found = examined(bay.engine())

    (rights,) = of(found, "warehouse: rights")
    assert ("failed", "the user lacks CREATE VIEW, ADMINISTER DATABASE BULK OPERATIONS") == (
        rights.status,
        rights.message,
    )
    assert "sluice sql setup" in rights.fix
    assert "ok" == told(found)["warehouse: canary (bulk)"][0]


def test_right_to_bulk_loads_is_not_missed_without_a_container(examined, plain, server):
    """Nobody needs it then."""
    server.permissions = {"ADMINISTER DATABASE BULK OPERATIONS": False}

    assert "ok" == told(examined(plain))["warehouse: rights"][0]


@pytest.mark.parametrize(
    ("number", "words"), [(18456, "sluice sql setup"), (40615, "firewall"), (4060, "database's name")]
)
def test_sign_in_that_is_refused_ends_the_checks(examined, plain, server, number, words):
    """There is nothing more to try; the fix says who has to do what."""
    server.fail_next("CONNECT", number, times=9)

    found = examined(plain)

    assert ["warehouse: driver", "warehouse"] == [one.check for one in found]
    assert words in found[-1].fix


def test_missing_driver_is_told(examined, plain, server, monkeypatch):
    """By the name of the package to install."""
    monkeypatch.setattr(server, "drivers", list)
    monkeypatch.setitem(sys.modules, "mssql_python_odbc", None)

    (found,) = examined(plain)

    assert ("failed", True) == (found.status, "msodbcsql18" in found.fix)


def test_container_that_is_missing_is_told(examined, bay, azurite, tmp_path):
    """By its name, with the setting to correct."""
    engine = bay.engine(STAGING_URL=f"{azurite.blob_url}/nowhere-to-be-found")
    app = dataclasses.replace(open_test_app(tmp_path), warehouse=ServerWarehouse(engine))

    last = list(doctor_findings(app))[-1]

    assert "failed" == last.status
    assert "nowhere-to-be-found" in last.message
    assert "STAGING_URL" in last.fix


@pytest.mark.parametrize(
    ("number", "words"), [(12703, "STAGING_DATA_SOURCE"), (4861, "Storage Blob Data Reader"), (4860, "same container")]
)
def test_way_of_the_database_to_the_container_is_tried(examined, bay, server, number, words):
    """The app can write there, but the server does not find or may not read it."""
    server.fail_next("BULK INSERT", number, times=9)

    found = examined(bay.engine())

    assert ("failed", True) == (found[-1].status, words in found[-1].fix)


# -- what a canary dies of


def spoilt(monkeypatch, change):
    """Let BULK INSERT read its file in another way."""
    read = server_bulk.read
    monkeypatch.setattr(server_bulk, "read", lambda *args: change(read(*args)))


def each(convert):
    return lambda rows: [[None if field is None else convert(field) for field in row] for row in rows]


SPOILT = {
    "empty text becomes NULL": (each(lambda field: field or None), "empty text is not NULL"),
    "text is cut at 8,000 bytes": (each(lambda field: field[:8_000]), "text beyond 8,000 bytes"),
    "CR LF becomes LF": (each(lambda field: field.replace(b"\r\n", b"\n")), "LF, CR LF and a lone CR are text"),
    "blanks are cut off": (each(lambda field: field.rstrip(b" ")), "tabs and blanks at both ends"),
    "a row vanishes": (lambda rows: [row for row in rows if row[0] != b"5"], "the row is missing"),
    "a row doubles": (lambda rows: [*rows, rows[-1]], f"{len(canary.CASES) + 1} rows came back"),
    "quotes stay doubled": (each(lambda field: field.replace(b'"', b'""')), "commas and quotes are text"),
    "years before 1753 are lost": (
        each(lambda field: b"1753-01-01" if field.startswith(b"0001-01-01") and len(field) == 10 else field),
        "the first moment: column Day",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_canary_notices(examined, bay, monkeypatch, name):
    """What BULK INSERT is documented to do nowhere: the row that shows it is named, and the way to avoid."""
    change, words = SPOILT[name]
    spoilt(monkeypatch, change)
    monkeypatch.setattr(loader.StagingLoader, "_insert_part", no_counting)

    found = of(examined(bay.engine()), "warehouse: canary (bulk)")

    assert {"failed"} == {one.status for one in found}
    assert any(words in one.message for one in found), found
    assert all("WAREHOUSE_LOADER" in one.fix for one in found)
    assert all(len(one.message) < 300 for one in found)


def no_counting(self, data_source, part, _end):
    """A part is loaded, and its rows are not counted: that would be noticed before the canary is looked at."""
    from shared.warehouses.azure_sql import tsql

    self.units.run(lambda session: session.execute(tsql.bulk_insert(self.name, part.name, data_source)))


def test_canary_notices_a_part_that_is_refused(examined, bay, server):
    """A load would go on row by row, slowly and every time: that is no bulk load to be trusted."""
    server.fail_next("BULK INSERT", 4864, times=2)

    found = of(examined(bay.engine()), "warehouse: canary (bulk)")

    assert ["failed"] == [one.status for one in found]
    assert "4864" in found[0].message


def test_canary_notices_bad_rows_that_are_dropped(examined, bay, monkeypatch):
    """As BULK INSERT does by default, up to ten of them, and reports success."""
    monkeypatch.setattr(server_bulk, "_refuse", lambda faults, _: {fault.row for fault in faults})

    (found,) = of(examined(bay.engine()), "warehouse: canary, bad row")

    assert ("failed", True) == (found.status, "dropped" in found.message)
    assert "WAREHOUSE_LOADER" in found.fix


def test_canary_notices_rows_that_outlive_a_rollback(examined, bay, server, monkeypatch):
    """A load that failed would leave half of its rows."""
    from shared.warehouses.azure_sql import checks, tsql

    load = server_bulk.load

    def committed(connection, *rest):
        done = load(connection, *rest)
        connection.execute("COMMIT; BEGIN")
        return done

    monkeypatch.setattr(server_bulk, "load", committed)
    monkeypatch.setattr(checks, "_bad_row", lambda *_: Finding("x", "ok", tsql.COMMIT))

    (found,) = of(examined(bay.engine()), "warehouse: canary, rollback")

    assert ("failed", "1 rows remained after a rollback") == (found.status, found.message)


def test_canary_of_arrays_notices_what_comes_back_wrong(examined, plain, monkeypatch):
    """The same rows, by the other way."""
    arrow = stand_in.bulk.arrow

    def changed(columns, rows, sizes, blind):
        return arrow(columns, [[None if value == "" else value for value in row] for row in rows], sizes, blind)

    monkeypatch.setattr(stand_in.bulk, "arrow", changed)

    found = of(examined(plain), "warehouse: canary (array)")

    assert {"failed"} == {one.status for one in found}
    assert any("empty text is not NULL" in one.message for one in found)


def test_bulk_copy_that_cannot_be_used_is_a_warning(examined, server, monkeypatch):
    """Loads go on in arrays, and so does the canary; who wants speed has to know."""

    def refuse(_):
        raise DataError("bulk copy: no libltdl", fix="x")

    monkeypatch.setattr(BulkCopy, "open", refuse)
    settings = shared_app.Settings.from_env({"WAREHOUSE_URL": URL})

    found = told(examined(stand_in_engine(settings, server)))

    assert ("warning", "bulk copy: no libltdl; rows are loaded in arrays, which is slow") == found[
        "warehouse: bulk copy"
    ]
    assert ("ok", ODD) == found["warehouse: canary (array)"]


def test_bulk_copy_that_works_carries_the_canary(examined, server, monkeypatch):
    """Tried by itself first, then with the odd rows."""
    settings = shared_app.Settings.from_env({"WAREHOUSE_URL": URL, "WAREHOUSE_LOADER": "copy"})
    engine = stand_in_engine(settings, server)
    monkeypatch.setattr(azure_engine, "BulkCopy", type("Working", (Copied,), {"sent": [], "engine": engine}))

    found = told(examined(engine))

    assert ("ok", ODD) == found["warehouse: canary (copy)"]
    assert "warehouse: bulk copy" not in found


def test_lost_connection_within_the_canary_is_told_and_cleaned_up(examined, bay, server):
    """It is tried again first, as every unit of work is."""
    server.fail_next("BULK INSERT", 10054, times=1)

    assert {"ok"} == {one.status for one in examined(bay.engine())}


def test_errors_of_the_canary_are_ours(examined, bay, server):
    """A server that is busy for long ends the checks, not the program."""
    server.fail_next("BULK INSERT", 40501, times=2)

    found = examined(bay.engine())

    assert ("warehouse", "failed", "Try again later") == (found[-1].check, found[-1].status, found[-1].fix)


# -- sluice sql setup


AZURE = {"WAREHOUSE_URL": URL, "STAGING_URL": "https://acme.blob.core.windows.net/staging/in"}


def test_setup_is_printed_as_a_script(sluice):
    """One batch each, with what it is for; it parses as a whole as sqlcmd cuts it."""
    result = sluice("sql", "setup", "--user", "id-sluice", **AZURE)

    assert 0 == result.exit_code
    batches = result.stdout.strip().removesuffix("GO").split("\nGO\n")
    assert all(batch.strip().startswith("-- ") and batch.strip().endswith(";") for batch in batches)
    assert "CREATE USER [id-sluice] FROM EXTERNAL PROVIDER" in result.stdout
    assert "LOCATION = ''https://acme.blob.core.windows.net/staging''" in result.stdout
    assert "SCHEMA::[coolr]" in result.stdout


def test_printed_script_parses(sluice, tsql_problems):
    """Every batch of it."""
    result = sluice("sql", "setup", "--user", "o'brien]", "--login", **AZURE)

    for batch in result.stdout.strip().removesuffix("GO").split("\nGO\n"):
        assert [] == tsql_problems(batch)


def test_setup_as_json_has_no_secret(sluice):
    """Purpose and text of each statement, and whether it was run."""
    staging = f"https://acme.blob.core.windows.net/staging?{SAS}"

    result = sluice("sql", "setup", "--json", WAREHOUSE_URL=URL, STAGING_URL=staging)

    found = json.loads(result.stdout)
    assert {"purpose", "sql", "applied"} == set(found[0])
    assert not any(one["applied"] for one in found)
    assert any("SECRET" in one["sql"] for one in found)
    assert "abc" not in result.output
    assert "hunter2" not in result.output


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_setup_is_run_if_asked_to(sluice, server, monkeypatch, how):
    """By whoever the settings sign in; the secret goes to the server and nowhere else. Twice is as good as once."""
    monkeypatch.setattr(odbc, "load_pyodbc", lambda: server)
    staging = f"https://acme.blob.core.windows.net/staging?{SAS}"
    words = ("sql", "setup", "--user", "id-sluice", "--apply", *how)

    results = [sluice(*words, WAREHOUSE_URL=URL, STAGING_URL=staging) for _ in range(2)]

    assert [0, 0] == [result.exit_code for result in results], results[0].output
    assert "abc" not in results[0].output
    assert ["https://acme.blob.core.windows.net/staging"] == [one["location"] for one in server.external_data_sources]
    assert any(SAS in statement for statement in server.statements)
    assert [("coolr",)] == server.query("SELECT name FROM sys.schemas WHERE name = 'coolr'")
    assert 0 == server.open_connections
    if how:
        assert all(one["applied"] for one in json.loads(results[0].stdout))
    else:
        assert "done: Schema ingest" in results[0].stdout
        assert "EXEC(" not in results[0].stdout


def test_setup_stops_at_what_it_may_not_do(sluice, server, monkeypatch):
    """What was done until then is told, and the error in one line."""
    monkeypatch.setattr(odbc, "load_pyodbc", lambda: server)
    server.fail_next("CREATE USER", 15247)

    result = sluice("sql", "setup", "--user", "id-sluice", "--apply", **AZURE)

    assert 1 == result.exit_code
    assert "done: Schema staging" in result.stdout
    assert "(15247)" in result.stderr
    assert 0 == server.open_connections


@pytest.mark.parametrize("url", ["duckdb:///x.duckdb", f"postgresql://app:{quote('hunter2')}@db.test/sales"])
def test_setup_of_other_warehouses_is_refused(sluice, url):
    """They need none."""
    result = sluice("sql", "setup", WAREHOUSE_URL=url)

    assert 1 == result.exit_code
    assert "needs no setup" in result.stderr
    assert "hunter2" not in result.output


def test_setup_for_a_container_that_no_server_reads_is_refused(sluice):
    """An emulator's, for one."""
    result = sluice("sql", "setup", WAREHOUSE_URL=URL, STAGING_URL="http://127.0.0.1:10000/devstoreaccount1/staging")

    assert 1 == result.exit_code
    assert "https address" in result.stderr

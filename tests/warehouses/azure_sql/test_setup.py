"""``sluice sql setup``: the script an administrator runs once, printed or applied."""

from __future__ import annotations

import json
import re

from urllib.parse import quote

import pytest

from shared.mssql import odbc
from tests.warehouses.azure_sql.samples import URL

SAS = "sv=2024-11-04&se=2027-01-01&sr=c&sp=rwdl&sig=abc%2Bdef%3D"


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
def test_setup_is_run_if_requested_to(sluice, server, monkeypatch, how):
    """By whoever the settings sign in; the secret goes to the server and nowhere else. Twice is as good as once."""
    monkeypatch.setattr(odbc, "load_pyodbc", lambda: server)
    staging = f"https://acme.blob.core.windows.net/staging?{SAS}"
    words = ("sql", "setup", "--user", "id-sluice", "--apply", *how)

    results = [sluice(*words, WAREHOUSE_URL=URL, STAGING_URL=staging) for _ in range(2)]

    assert [0, 0] == [result.exit_code for result in results], results[0].output
    assert "abc" not in results[0].output
    assert ["https://acme.blob.core.windows.net/staging"] == [one["location"] for one in server.external_data_sources]
    assert any(SAS in statement for statement in server.statements)
    made = [found[1] for sent in server.statements if (found := re.search("BY PASSWORD = '+([^']+)'", sent))]
    assert len(made[0]) > 40
    assert not any(password in result.output for password in made for result in results)
    assert [("coolr",)] == server.query("SELECT name FROM sys.schemas WHERE name = 'coolr'")
    assert 0 == server.open_connections
    if how:
        assert all(one["applied"] for one in json.loads(results[0].stdout))
    else:
        assert "done: Schema ingest" in results[0].stdout
        assert "EXEC(" not in results[0].stdout


def test_setup_stops_at_what_it_may_not_do(sluice, server, monkeypatch):
    """What was done until then is reported, and the error in one line."""
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

"""`sluice verify`: what it says, its exit code, and that the command it names repairs the table."""

from __future__ import annotations

import json
import shlex
import sys

from unittest import mock

import pyarrow as pa
import pytest

from shared import sources
from shared.warehouses.snowflake.engine import Snowflake
from tests.advice import advises
from tests.exports import export_path, write_parquet
from tests.standins.fakes import MemoryPullSource
from tests.suites.warehouse_case import day

FEED = "coolr.location"
SHOP = """
[system]
name = "shop"
source = "toy"
[tables]
item = { keys = ["Id"], cursor = "At" }
"""
LEADS = """
[system]
name = "crm"
source = "csv"
[tables.leads]
keys = ["id"]
cursor = false
columns = { id = { type = "bigint" }, name = {} }
"""


def export(tmp_path, number, *rows, kind="Full", where="exports"):
    named = [{"LocationId": key, "Name": name, "ModifiedOn": day(1), "IsDeleted": False} for key, name in rows]
    return write_parquet(export_path(tmp_path / where, kind, f"202602{number:02}000000", "location"), named).parent


def printed(result):
    return json.loads(result.stdout)


def repaired(sluice, result):
    """Do what the last line says."""
    command = result.stdout.splitlines()[-1].removeprefix("This repairs it: ")
    assert 0 == sluice(*shlex.split(command)[1:]).exit_code, command


def test_what_differs_is_listed_and_repaired(sluice, tmp_path):
    sluice("load", export(tmp_path, 10, (1, "Ada"), (3, "Cy")))
    full = export(tmp_path, 11, (1, "Eve"), (2, "Bob"))

    result = sluice("verify", FEED, "--against", full)

    assert 1 == result.exit_code
    assert f"{FEED}: 2 rows, 2 rows in " in result.stdout
    assert ["1", "differing", "Name"] in [line.split() for line in result.stdout.splitlines()]
    repaired(sluice, result)
    again = sluice("verify", FEED, "--against", full)
    assert (0, True) == (again.exit_code, "They are equal." in again.stdout)


def test_json_has_all_of_it(sluice, tmp_path):
    sluice("load", export(tmp_path, 10, (1, "Ada")))
    full = export(tmp_path, 11, (1, "Eve"))

    (found,) = printed(sluice("verify", FEED, "--against", full, "--json"))

    assert (False, 1, {"Name": 1}) == (found["equal"], found["differing"], found["columns"])
    assert [{"LocationId": 1}] == [one["key"] for one in found["differences"]]
    assert found["repair"].endswith("--again")


def test_a_text_file_is_compared(sluice, tmp_path, monkeypatch):
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "crm.toml").write_text(LEADS)
    monkeypatch.setenv("CATALOG_PATH", str(tmp_path / "catalog"))
    (tmp_path / "leads.csv").write_text("id,name\n1,Ada\n2,Bob\n")
    sluice("csv", "crm", "leads", tmp_path / "leads.csv", "--full", "--exported-at", "2026-02-01T00:00:00Z")
    (tmp_path / "later.csv").write_text("id,name\n1,Ada\n3,Cy\n")

    same = sluice("verify", "crm.leads", "--against", tmp_path / "leads.csv")
    untimed = sluice("verify", "crm.leads", "--against", tmp_path / "later.csv")
    known = ("--exported-at", "2026-03-01T00:00:00Z")
    other = sluice("verify", "crm.leads", "--against", tmp_path / "later.csv", *known)

    assert "--full --exported-at T --again" in untimed.stdout
    assert 0 == same.exit_code
    assert (1, True) == (other.exit_code, "extra" in other.stdout)
    repaired(sluice, other)
    assert 0 == sluice("verify", "crm.leads", "--against", tmp_path / "later.csv", *known).exit_code


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """Of a source in memory, for a test to change."""
    found = [{"Id": n, "At": n, "Name": f"n{n}"} for n in (1, 2, 3)]
    schema = pa.schema([("Id", pa.int64()), ("At", pa.int64()), ("Name", pa.string())])
    monkeypatch.setitem(sources.KINDS, "toy", sources.SourceKind(__name__, delivers="windows"))
    monkeypatch.setattr(
        sys.modules[__name__], "open_source", lambda _feed, _settings: MemoryPullSource(schema, found, "At", "bigint"),
        raising=False,
    )  # fmt: skip
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "shop.toml").write_text(SHOP)
    monkeypatch.setenv("CATALOG_PATH", str(tmp_path / "catalog"))
    return found


def test_a_source_is_read_whole_and_compared(sluice, rows):
    """What lies beyond the watermark is not loaded yet, and no difference."""
    sluice("sync", "shop")
    rows.append({"Id": 4, "At": 4, "Name": "new"})
    same = sluice("verify", "shop.item")
    rows[0]["Name"] = "changed in silence"
    del rows[1]

    other = sluice("verify", "shop.item")

    assert (0, True) == (same.exit_code, "1 row differ, but are not loaded yet" in same.stderr)
    assert 1 == other.exit_code
    repaired(sluice, other)
    assert 0 == sluice("verify", "shop.item").exit_code


def error(result):
    return printed(result)["fix"]


def test_what_it_advises_can_be_followed(sluice, tmp_path):
    full = export(tmp_path, 10, (1, "Ada"))
    delta = export(tmp_path, 12, (1, "Ada"), kind="Delta", where="deltas")

    (command,) = advises("Load it first: {}", error(sluice("verify", FEED, "--against", full, "--json")))
    assert 0 == sluice(*shlex.split(command)[1:]).exit_code
    advises("Name a full export of it with --against FOLDER", error(sluice("verify", FEED, "--json")))
    advises("Name the folder of a full export", error(sluice("verify", FEED, "--against", delta, "--json")))
    assert 0 == sluice("verify", FEED, "--against", full).exit_code


def test_of_text_files_one_is_named(sluice, tmp_path, monkeypatch):
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "crm.toml").write_text(LEADS)
    monkeypatch.setenv("CATALOG_PATH", str(tmp_path / "catalog"))
    (tmp_path / "files").mkdir()
    for name in ("a", "b"):
        (tmp_path / "files" / f"{name}.csv").write_text("id,name\n1,Ada\n")
    sluice("csv", "crm", "leads", tmp_path / "files" / "a.csv", "--full")

    advises("Name one file", error(sluice("verify", "crm.leads", "--against", tmp_path / "files", "--json")))
    assert 0 == sluice("verify", "crm.leads", "--against", tmp_path / "files" / "b.csv").exit_code


def test_a_source_needs_no_folder(sluice, rows, tmp_path):
    sluice("sync", "shop")

    advises("Leave out --against", error(sluice("verify", "shop.item", "--against", tmp_path, "--json")))
    assert 0 == sluice("verify", "shop.item").exit_code


@pytest.fixture
def both(sluice, tmp_path, monkeypatch):
    """A feed that goes to a lake that keeps the rows of every run, or to main as well."""
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "coolr.toml").write_text(
        '[system]\nname = "coolr"\nsource = "exports"\n[defaults]\ncursor = "ModifiedOn"\ndeleted = "IsDeleted"\n'
        'destinations = ["lake", "main"]\nlake = "append"\n[undeclared]\nkeys = ["{table}Id"]\n'
    )
    monkeypatch.setenv("CATALOG_PATH", str(tmp_path / "catalog"))
    monkeypatch.setenv("WAREHOUSE_URL_LAKE", f"lake:///{tmp_path}/lake")
    return sluice


def test_a_lake_that_keeps_all_rows_is_not_compared(both, tmp_path):
    full = export(tmp_path, 10, (1, "Ada"))
    both("load", full)

    refused = both("verify", FEED, "--against", full, "--json")

    advises(
        'Compare another destination of the feed (--destination), or declare lake = "current" for it', error(refused)
    )
    assert 0 == both("verify", FEED, "--against", full, "--destination", "main").exit_code


def test_a_warehouse_that_does_not_compare_says_so(both, tmp_path):
    """As Snowflake."""
    full = export(tmp_path, 10, (1, "Ada"))
    both("load", full)

    with mock.patch("shared.pipeline.verify.Compares", Snowflake):
        refused = both("verify", FEED, "--against", full, "--json")

    advises("Name another destination of the feed with --destination", error(refused))
    assert 0 == both("verify", FEED, "--against", full, "--destination", "main").exit_code


def test_keys_of_another_type_are_for_a_load(sluice, tmp_path):
    sluice("load", export(tmp_path, 10, (1, "Ada")))
    full = export(tmp_path, 11, ("x", "Ada"))

    fix = error(sluice("verify", FEED, "--against", full, "--json"))

    advises("Load the feed, which converts its keys or says why it cannot", fix)
    assert "bigint" in sluice("load", full).stderr

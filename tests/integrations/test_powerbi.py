"""The queries for Power BI, read by Microsoft's parser of Power Query: there is no Power BI here to run them."""

from __future__ import annotations

import json
import re
import subprocess

from functools import cache
from pathlib import Path

import pytest

from tests.servers.npm import node, npm_package

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "integrations" / "powerbi"
QUERIES = sorted(path.name for path in FOLDER.glob("*.pq"))
TABLES = [name for name in QUERIES if name not in ("Parameters.pq", "LatestExport.pq")]
LIBRARY = {
    "#datetime", "#duration", "AzureStorage.Blobs", "AzureStorage.DataLake", "DateTime.AddZone", "DateTime.Date",
    "DateTimeZone.From", "DateTimeZone.RemoveZone", "DateTimeZone.ToUtc", "DateTimeZone.UtcNow", "DeltaLake.Table",
    "List.Count", "List.Max", "List.Transform", "Order.Descending", "Parquet.Document", "Sql.Database",
    "Table.AddColumn", "Table.Combine", "Table.Group", "Table.IsEmpty", "Table.SelectRows", "Table.Sort",
    "Table.TransformColumns", "Text.BeforeDelimiter", "Text.EndsWith", "Text.Length", "Text.Lower", "Text.PadEnd",
    "Text.Select", "Text.Split", "Text.StartsWith",
}  # fmt: skip
"""Functions and values of Power Query M, as its reference spells them; the parser takes any name."""
OURS = {"FirstSyncAt", "SyncedAt", "DeletedAt", "SyncedOn"}


@cache
def parsed():
    """What the parser says of each file: an error, the names that it uses and defines, the fields that it reads."""
    parser = npm_package("@microsoft/powerquery-parser").parents[2]
    script = str(ROOT / "tests" / "integrations" / "powerquery.cjs")
    command = [node("The parser of Power Query"), script, str(parser), *QUERIES]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("query", QUERIES)
def test_query_is_power_query(query):
    """By the parser that Power BI's own editor is built on."""
    assert parsed()[query]["error"] is None


@pytest.mark.parametrize("query", QUERIES)
def test_every_name_is_defined(query):
    """In the query, as a parameter, or by the library of M."""
    found = parsed()[query]
    known = LIBRARY | {"_", *found["defined"], *parsed()["Parameters.pq"]["defined"]}

    assert set() == set(found["used"]) - known


def test_every_parameter_is_used():
    """One that changes nothing would mislead."""
    used = {name for query in QUERIES for name in parsed()[query]["used"]}

    assert set() == set(parsed()["Parameters.pq"]["defined"]) - used


@pytest.mark.parametrize("query", TABLES)
def test_partitions_follow_a_time_that_never_changes(query):
    """A row that moved between partitions would be there twice: SyncedAt divides no table."""
    found = parsed()[query]
    divided = re.findall(r"\[(\w+)\] (?:>=|<) (?:DateTime\.Date\()?(Range\w+)", _text(query))

    assert {"RangeStart", "RangeEnd"} <= set(found["used"])
    assert divided in (
        [("FirstSyncAt", "RangeStart"), ("FirstSyncAt", "RangeEnd")],
        [("SyncedOn", "RangeStart"), ("SyncedOn", "RangeEnd")],
    )
    assert set(found["fields"]) - {"Data"} <= OURS


def test_change_is_looked_for_where_deleted_rows_are():
    """In the active rows the last change of a deleted row is gone, and its partition would look unchanged."""
    assert 'Item = "location"]' in _text("LastChange.pq")
    assert 'Item = "location"]' in _text("AllRows.pq")
    assert 'Item = "location_active"]' in _text("ActiveRows.pq")


def test_polling_is_of_the_partition_that_is_loaded():
    """Both divide the rows alike."""
    (loaded,) = re.findall(r"Table\.SelectRows\(\w+, (each .*)\)", _text("ActiveRows.pq"))

    assert [loaded] == re.findall(r"Table\.SelectRows\(\w+, (each .*)\)", _text("LastChange.pq"))


def test_latest_export_takes_every_part():
    """The first file alone would be a part of the rows."""
    (contents,) = re.findall(r"Table\.Sort\(Complete, .*\)\{0\}\[(\w+)\]", _text("LatestExport.pq"))

    assert "Contents" == contents
    assert "Table.Combine(List.Transform(Newest, each Parquet.Document(_)))" in _text("LatestExport.pq")


def test_the_check_finds_what_is_wrong(tmp_path):
    """A query that is cut off, and a name that nothing defines."""
    parser = npm_package("@microsoft/powerquery-parser").parents[2]
    (tmp_path / "cut.pq").write_text("let A = 1 in")
    (tmp_path / "name.pq").write_text("let A = Table.SelectRow(B) in A")
    script = str(ROOT / "tests" / "integrations" / "powerquery.cjs")
    command = [node("The parser of Power Query"), script, str(parser), "cut.pq", "name.pq"]

    done = json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)

    assert done["cut.pq"]["error"]
    assert {"Table.SelectRow", "B"} == set(done["name.pq"]["used"]) - set(done["name.pq"]["defined"])


def _text(query):
    return (FOLDER / query).read_text(encoding="utf-8")

"""What each command means for feeds that go to two warehouses."""

from __future__ import annotations

import datetime as dt
import json

from pathlib import Path

import pyarrow as pa
import pytest

from tests.advice import advises
from tests.exports import export_path, write_parquet

CATALOG = """
[system]
name = "coolr"
source = "exports"

[defaults]
cursor = "ModifiedOn"
deleted = "IsDeleted"
destinations = {destinations}
max_reject_share = 1.0

[undeclared]
keys = ["{{table}}Id"]
"""
FEED = "coolr.location"


@pytest.fixture
def both(sluice, tmp_path, monkeypatch):
    """Commands over a catalog whose feeds go to main and lake, and a folder with one export."""
    monkeypatch.setenv("CATALOG_PATH", str(tmp_path / "catalog"))
    monkeypatch.setenv("WAREHOUSE_URL_LAKE", f"duckdb:///{tmp_path}/lake.duckdb")
    declare(tmp_path, "main", "lake")
    when = [dt.datetime(2026, 1, 1)] * 3  # noqa: DTZ001 - as exports have it
    rows = {"LocationId": pa.array([1, 2, None], pa.int64()), "ModifiedOn": when, "IsDeleted": [False] * 3}
    write_parquet(export_path(tmp_path / "exports", "Full", "20260201", "location"), pa.table(rows))
    return sluice


def declare(tmp_path: Path, *destinations: str) -> None:
    (tmp_path / "catalog").mkdir(exist_ok=True)
    text = CATALOG.format(destinations=json.dumps(destinations))
    (tmp_path / "catalog" / "coolr.toml").write_text(text)


def answer(result):
    return json.loads(result.stdout)


def test_a_load_says_what_became_of_each(both, tmp_path):
    result = both("load", tmp_path / "exports")

    assert 0 == result.exit_code
    assert ["main", "lake"] == [line.split()[1] for line in result.stdout.splitlines()[1:]]
    found = answer(both("load", tmp_path / "exports", "--json"))
    assert [("main", True), ("lake", True)] == [(one["destination"], bool(one["skipped"])) for one in found]


def test_without_another_destination_nothing_is_said_of_any(both, tmp_path):
    declare(tmp_path, "main")

    assert "main" not in both("load", tmp_path / "exports").stdout


def test_a_load_of_which_one_destination_fails_ends_with_1(both, tmp_path):
    (tmp_path / "lake.duckdb").write_text("this is no database, and long enough to be taken for one" * 100)

    result = both("load", tmp_path / "exports", "--json")

    assert 1 == result.exit_code
    assert [("main", "done"), ("lake", "failed")] == [(o["destination"], o["run"]["status"]) for o in answer(result)]
    assert "Name another file in WAREHOUSE_URL_LAKE" in answer(result)[1]["run"]["error"]


def test_each_command_looks_at_one_of_them(both, tmp_path):
    both("load", tmp_path / "exports")
    runs = {}
    for name in ("main", "lake"):
        (run,) = answer(both("history", FEED, "--destination", name, "--json"))
        (rejected,) = answer(both("rejects", FEED, "--destination", name, "--json"))
        (audited,) = answer(both("audit", tmp_path / "exports", "--destination", name, "--json"))
        runs[name] = run["id"]
        assert (run["id"], 2) == (rejected["run"], audited["stored"]["rows"])

    assert runs["main"] != runs["lake"]
    assert runs["main"] == answer(both("history", FEED, "--json"))[0]["id"]


def test_feeds_have_a_line_for_each(both, tmp_path):
    both("load", tmp_path / "exports")

    found = answer(both("feeds", "--json"))

    assert [(FEED, "main"), (FEED, "lake")] == [(one["feed"], one["destination"]) for one in found]
    assert ["2026-01-01T00:00:00.000000"] * 2 == [one["watermark"] for one in found]
    assert [(FEED, "lake")] == [
        (one["feed"], "lake") for one in answer(both("feeds", "--destination", "lake", "--json"))
    ]


def test_feeds_of_one_that_cannot_be_reached_say_so(both, tmp_path):
    both("load", tmp_path / "exports", "--destination", "main")
    (tmp_path / "lake.duckdb").write_text("this is no database, and long enough to be taken for one" * 100)

    found = answer(both("feeds", "--json"))

    assert [("main", "done"), ("lake", True)] == [
        (one["destination"], "WAREHOUSE_URL_LAKE" in one["status"] or one["status"])
        for one in sorted(found, key=lambda one: one["destination"], reverse=True)
    ]


def test_corrected_rows_go_to_all_of_them(both, tmp_path):
    both("load", tmp_path / "exports")
    text = both("rejects", FEED, "--csv", "--destination", "lake").stdout
    assert 'no key",,' in text
    (tmp_path / "corrected.csv").write_text(text.replace('no key",,', 'no key","3",'))

    found = answer(both("rejects", FEED, "--replay", tmp_path / "corrected.csv", "--json"))

    assert [("main", 1), ("lake", 1)] == [(one["destination"], one["run"]["inserted"]) for one in found]


def test_a_backfill_is_of_all_or_of_one(both, tmp_path):
    both("load", tmp_path / "exports")

    assert ["lake"] == [
        one["destination"] for one in answer(both("backfill", FEED, "--reset", "--destination", "lake", "--json"))
    ]
    found = answer(both("load", tmp_path / "exports", "--json"))
    assert [("main", False), ("lake", True)] == [(one["destination"], one["run"] is not None) for one in found]

    both("backfill", FEED, "--reset")
    found = answer(both("load", tmp_path / "exports", "--json"))
    assert [("main", 2), ("lake", 2)] == [(one["destination"], one["run"]["unchanged"]) for one in found]


def test_a_destination_of_another_feed_cannot_be_chosen(both, tmp_path):
    """Until the catalog says so."""
    declare(tmp_path, "main")
    both("load", tmp_path / "exports")
    error = answer(both("backfill", FEED, "--reset", "--destination", "lake", "--json"))
    assert "coolr.location does not go to 'lake', only to main" in error["error"]
    advises("Name another destination, or add this one to `destinations` in the catalog", error["fix"])

    assert 0 == both("backfill", FEED, "--reset", "--destination", "main").exit_code
    declare(tmp_path, "main", "lake")
    assert 0 == both("backfill", FEED, "--reset", "--destination", "lake").exit_code


def findings(result, check):
    return [one for one in answer(result) if one["check"].startswith(check)]


def test_the_doctor_checks_each(both, tmp_path):
    both("load", tmp_path / "exports")

    result = both("doctor", "--json")

    assert 0 == result.exit_code
    assert len(findings(result, "warehouse")) == 2 * len(findings(result, "warehouse lake")) > 0


def test_the_doctor_names_a_destination_that_no_setting_has(both, tmp_path):
    declare(tmp_path, "main", "attic")

    (found,) = findings(both("doctor", "--json"), "warehouse attic")
    (setting,) = advises("Set {} to the URL of that warehouse", found["fix"])
    assert "failed" == found["status"]

    found = findings(both("doctor", "--json", **{setting: f"duckdb:///{tmp_path}/attic.duckdb"}), "warehouse attic")
    assert "failed" not in [one["status"] for one in found]


def test_the_doctor_names_a_setting_that_no_feed_uses(both, tmp_path, monkeypatch):
    declare(tmp_path, "main")

    found = findings(both("doctor", "--json"), "warehouse lake")[0]
    (setting,) = advises("Add it to `destinations` in the catalog, or remove {}", found["fix"])
    assert "warning" == found["status"]

    declare(tmp_path, "main", "lake")
    assert "ok" == findings(both("doctor", "--json"), "warehouse lake")[0]["status"]
    declare(tmp_path, "main")
    monkeypatch.delenv(setting)
    assert [] == findings(both("doctor", "--json"), "warehouse lake")

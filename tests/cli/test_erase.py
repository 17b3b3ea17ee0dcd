"""`sluice erase`: it asks, unless it is not to, and says what it removed."""

from __future__ import annotations

import json

import pytest

from click.testing import CliRunner

from shared.cli.main import main
from tests.exports import export_path, write_parquet
from tests.suites.warehouse_case import day

FEED = "coolr.location"


@pytest.fixture
def loaded(sluice, tmp_path):
    """Two rows."""
    rows = [{"LocationId": n, "ModifiedOn": day(1), "IsDeleted": False} for n in (7, 8)]
    file = write_parquet(export_path(tmp_path, "Full", "20260224000000", "location"), rows)
    assert 0 == sluice("load", file.parent).exit_code
    return sluice


def test_it_asks_and_removes_nothing_without_a_yes(loaded):
    """It has counted by then."""
    refused = CliRunner().invoke(main, ["erase", FEED, "7"], input="n\n")
    done = CliRunner().invoke(main, ["erase", FEED, "7"], input="y\n")

    assert (1, True) == (refused.exit_code, "Remove this for good?" in refused.stdout)
    assert (0, True) == (done.exit_code, "main" in done.stdout)
    assert "erased 1 row, 0 versions, " in loaded("history", FEED).stdout


def test_json_has_the_counts_of_each_place(loaded):
    """It cannot ask."""
    asking = loaded("erase", FEED, "7", "--json")
    dry = json.loads(loaded("erase", FEED, "7", "8", "--json", "--dry-run").stdout)
    done = json.loads(loaded("erase", FEED, "7", "--json", "--yes").stdout)
    again = json.loads(loaded("erase", FEED, "7", "--json", "--yes").stdout)

    assert 2 == asking.exit_code
    assert [2, 1, 0] == [one[0]["rows"] for one in (dry, done, again)]
    assert ["main", "documents"] == [one["place"] for one in done]


def test_dry_run_says_that_it_was_one(loaded):
    """And of a key that is not there, that nothing is stored."""
    dry, nothing = loaded("erase", FEED, "7", "--dry-run"), loaded("erase", FEED, "9", "--dry-run")

    assert "Nothing was removed: this was a dry run." in dry.stdout
    assert "Nothing is stored of that." in nothing.stdout

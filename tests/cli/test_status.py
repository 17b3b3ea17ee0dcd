"""The status of the feeds in the terminal."""

from __future__ import annotations

import json

import pytest

from click.testing import CliRunner

from shared import app as application
from shared.cli.main import main
from tests.exports import Clock, export_path, load_exports, open_test_app, write_parquet


@pytest.fixture
def run(tmp_path, monkeypatch):
    app = open_test_app(tmp_path, Clock())
    rows = [{"LocationId": n, "Name": "a", "ModifiedOn": None, "IsDeleted": False} for n in range(20)]
    write_parquet(export_path(tmp_path / "exports", "full", "20260224110000", "location"), rows)
    list(load_exports(app, tmp_path / "exports"))
    monkeypatch.setattr(application, "current", lambda: app)
    return lambda *words: CliRunner().invoke(main, ["status", *words])


def test_feeds_are_listed_with_their_freshness(run):
    """What needs somebody first."""
    lines = run("--system", "coolr").stdout.splitlines()

    assert ["feed", "state", "last_data", "last_run", "rows"] == lines[0].split()
    assert "coolr.location" in lines[1]
    assert "2026-02-24T12:00:00" in lines[1]
    assert "never" in lines[-1]


def test_status_is_json_for_machines(run):
    """One object a feed."""
    (found,) = json.loads(run("--text", "coolr.location", "--json").stdout)

    assert ("coolr.location", "ok", 20) == (found["name"], found["state"], found["runs"]["last"]["counts"]["read"])


def test_nothing_like_it_says_where_to_look(run):
    assert "No feed matches. See `sluice feeds`." in run("--text", "no such feed").stdout

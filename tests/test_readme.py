"""The README is true: its commands run, its tables are complete, its links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess

from dataclasses import fields
from pathlib import Path

import pytest

from click.testing import CliRunner

import function_app

from shared import app, catalog
from shared.cli import demo
from shared.cli.main import main
from shared.settings import Settings
from shared.sources.exports.layout import export_path
from tests.exports import open_test_app
from tests.standins.durable_host import DurableHost
from tests.standins.functions_host import FunctionsHost

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def _commands() -> list[list[str]]:
    return [shlex.split(line) for block in _blocks("console") for line in block.splitlines() if line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which the demo's exports lie where the README has them."""
    home = tmp_path_factory.mktemp("readme")
    steps = list(demo.play(home / "demo"))
    (home / "demo/exports").rename(home / "exports")
    return home, steps


@pytest.mark.parametrize("command", [words for words in _commands() if words[0] == "sluice"], ids=" ".join)
def test_every_sluice_command_runs(command, folder, monkeypatch):
    """As it stands there, in a folder with the demo's exports."""
    monkeypatch.chdir(folder[0])
    for setting in fields(Settings):
        monkeypatch.delenv(setting.name.upper(), raising=False)
    if command[1] == "sql":
        monkeypatch.setenv("WAREHOUSE_URL", "mssql://server.database.windows.net/sluice")
    app.opened.cache_clear()

    result = CliRunner().invoke(main, command[1:], catch_exceptions=False)
    app.opened.cache_clear()

    damaged = command == ["sluice", "load", "exports/"]  # the demo has one damaged file, and loading it says so
    assert int(damaged) == result.exit_code, result.stderr


def test_every_make_command_is_a_target():
    """The Makefile has what the README tells to type."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = [words[1] for words in _commands() if words[0] == "make"]

    assert ["demo", "test", "host"] == named
    assert set(named) <= set(targets)


def test_commands_are_all_listed():
    """The table of commands has every command, and no other."""
    listed = re.findall(r"^\| `sluice (\w+)", README, re.MULTILINE)

    assert sorted(main.commands) == sorted(listed)


def test_options_of_load_are_all_listed():
    """A flag that is not in the README is found by nobody."""
    options = {option for parameter in main.commands["load"].params for option in parameter.opts if option[:2] == "--"}
    line = next(line for line in README.splitlines() if line.startswith("| `sluice load"))

    assert options - {"--json"} == set(re.findall(r"`(--[a-z-]+)", line))


def test_settings_are_all_listed_with_their_defaults():
    """Names and defaults in the table are those of Settings."""
    rows = dict(re.findall(r"^\| ([A-Z_]+) \| `?([^`|]*?)`? \|", README, re.MULTILINE))
    known = {field.name.upper(): field.default for field in fields(Settings) if "read" in field.metadata}

    assert known.keys() == rows.keys()
    told = {name: _plain(value) for name, value in known.items() if value is not None}
    assert told == {name: rows[name] for name in told}
    assert all(rows.values())


def _plain(default: object) -> str:
    return f"{default:.0f}" if isinstance(default, float) else str(default)


def test_catalog_line_is_accepted(tmp_path):
    """What the README shows as a table's line is one."""
    shipped = (catalog.PACKAGED / "coolr.toml").read_text()
    (line,) = [block for block in _blocks("toml") if "[system]" not in block]
    (tmp_path / "coolr.toml").write_text(shipped + line)

    assert ("VisitCode",) == catalog.read(tmp_path)["coolr"].feed("visit", []).keys


def test_catalog_of_a_pull_system_is_accepted(tmp_path):
    """What the README shows as a whole file is one."""
    (whole,) = [block for block in _blocks("toml") if "[system]" in block]
    (tmp_path / "genius.toml").write_text(whole)
    feeds = {feed.table: feed for feed in catalog.read(tmp_path)["genius"].feeds()}

    assert ("updated_at", "*/15 * * * *", 300) == (
        feeds["prospect"].cursor, feeds["prospect"].schedule, feeds["prospect"].overlap_seconds
    )  # fmt: skip
    assert (None, "0 5 * * *") == (feeds["division_region"].cursor, feeds["division_region"].schedule)


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("openssl")), reason="there is no curl or openssl here")
def test_signing_example_is_accepted(tmp_path, monkeypatch):
    """The notification of the README, signed and sent as it says, by bash, openssl and curl."""
    secret, host = "it's a $ecret", "coolrexports.blob.core.windows.net"
    app = open_test_app(
        tmp_path, STATE_URL=str(tmp_path / "state"), COOLR_WEBHOOK_SECRET=secret, COOLR_WEBHOOK_HOSTS=host
    )
    (tmp_path / "notification.json").write_text(_blocks("json")[0])
    (example,) = [block for block in _blocks("sh") if "openssl" in block]
    monkeypatch.setattr("shared.app.current", lambda: app)

    with DurableHost(function_app.app) as durable, FunctionsHost(app, durable).listening() as address:
        env = {"SLUICE_URL": address.removesuffix("/api"), "SLUICE_KEY": "x", "COOLR_WEBHOOK_SECRET": secret}
        said = subprocess.run(
            ["bash", "-euc", example], cwd=tmp_path, env=os.environ | env, capture_output=True, text=True, check=True
        )
        (job,) = durable.instances

    assert job == json.loads(said.stdout)["job"]


def test_event_example_is_for_our_function():
    """Its body is JSON of one event, and its file is one that we take."""
    (example,) = [block for block in _blocks("sh") if "aeg-event-type" in block]
    (event,) = json.loads(example.partition("-d '")[2].rpartition("'")[0])

    assert "functionName=Host.Functions.on_export" in example
    assert event["subject"].partition("/blobs/")[2] == event["data"]["url"].partition("/exports/")[2]
    assert "full" == export_path(event["data"]["url"]).kind


def test_operations_name_tests_that_there_are():
    """Each countermeasure against a pain of the platform is held by a test."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    pains = page.partition("## Known pains")[2]
    file, missing = "", []
    for name in re.findall(r"`((?:tests/[\w/]+(?:\.py)?)?(?:::\w+)?)`", pains):
        path, _, test = name.partition("::")
        file = path or file
        found = ROOT / file
        if not found.exists() or (test and f"def {test}(" not in found.read_text(encoding="utf-8")):
            missing.append(name)

    assert [] == missing
    assert 11 == pains.count("\n|") - 2


def test_links_lead_to_files():
    """Relative links of README and docs name files that are there."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    links = [
        (page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    ]

    assert [] == [(page.name, link) for page, link in links if not (page.parent / link).exists()]


def test_demo_shows_every_outcome(folder):
    """The story has an update, a deletion, a row that comes back, late and repeated rows, a bad row and a bad file."""
    runs = [result.run for step in folder[1] for result in step.results if result.run]
    seen = {
        name
        for run in runs
        for name in ("updated", "deleted", "undeleted", "stale", "superseded", "rejected")
        if getattr(run, name)
    }

    assert {"updated", "deleted", "undeleted", "stale", "superseded", "rejected"} == seen
    assert any(run.status == "failed" for run in runs)
    assert any(result.skipped for step in folder[1] for result in step.results)
    assert folder[1][4].rows


def test_demo_throws_away_only_what_a_demo_left(tmp_path):
    """A folder with anything else in it is refused."""
    (tmp_path / "mine").mkdir()

    result = CliRunner().invoke(main, ["demo", "--folder", str(tmp_path / "mine")])

    assert 1 == result.exit_code
    assert "is not from an earlier demo. Choose another with --folder." in result.stderr

"""The README is true: its commands run, its tables are complete, its links lead somewhere."""

from __future__ import annotations

import re
import shlex

from dataclasses import fields
from pathlib import Path

import pytest

from click.testing import CliRunner

from shared import app, catalog, demo
from shared.cli import main
from shared.settings import Settings

ROOT = Path(__file__).parent.parent
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
    app.current.cache_clear()

    result = CliRunner().invoke(main, command[1:], catch_exceptions=False)
    app.current.cache_clear()

    damaged = command == ["sluice", "load", "exports/"]  # the demo has one damaged file, and loading it says so
    assert int(damaged) == result.exit_code, result.stderr


def test_every_make_command_is_a_target():
    """The Makefile has what the README tells to type."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = [words[1] for words in _commands() if words[0] == "make"]

    assert ["demo", "test"] == named
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
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_catalog_line_is_accepted(tmp_path):
    """What the README shows as a table's line is one."""
    shipped = (catalog.PACKAGED / "coolr.toml").read_text()
    (tmp_path / "coolr.toml").write_text(shipped + _blocks("toml")[0])

    assert ("VisitCode",) == catalog.read(tmp_path)["coolr"].feed("visit", []).keys


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

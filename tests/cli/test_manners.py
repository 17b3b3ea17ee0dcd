"""How the command line behaves towards scripts, towards people who begin, and towards the folder it is started in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

from pathlib import Path

import click
import pytest

from click.testing import CliRunner

from shared import app as shared_app
from shared.cli.main import main
from shared.cli.output import print_json, print_table
from shared.errors import DataError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sluice(tmp_path, monkeypatch):
    """Run a command in an empty folder, with the default settings."""
    for name in ("WAREHOUSE_URL", "LEDGER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    shared_app.opened.cache_clear()
    yield lambda *words: CliRunner().invoke(main, [str(word) for word in words])
    shared_app.opened.cache_clear()


@pytest.mark.parametrize(
    ("words", "code", "error", "fix"),
    [
        (["load", "no-such-folder"], 1, "does not exist", "Correct the path; it is case-sensitive"),
        (["history", "elsewhere.thing"], 1, "there is no feed", "Write <system>.<table>"),
        (["load", "x", "--type", "half"], 2, "Invalid value for '--type'", "See --help"),
        (["backfill", "coolr.location"], 2, "write either --to T or --reset", "See --help"),
    ],
)
def test_a_failure_is_json_if_json_is_wanted(sluice, words, code, error, fix):
    """With the same exit code; wherever --json stands."""
    for place in (1, len(words)):
        result = sluice(*words[:place], "--json", *words[place:])

        assert code == result.exit_code
        reported = json.loads(result.stdout)
        assert (True, True) == (error in reported["error"], fix in reported["fix"])


def test_an_empty_table_is_its_sentence_or_nothing(capsys):
    print_table([], empty="There is none")
    print_table([])

    assert "There is none.\n" == capsys.readouterr().out


def test_a_list_that_ends_in_a_failure_is_json(capsys):
    """The failure is its last element."""

    def values():
        yield {"a": 1}
        raise DataError("it broke", fix="Correct it")

    with pytest.raises(SystemExit) as stopped:
        print_json(values())

    assert 1 == stopped.value.code
    assert [{"a": 1}, {"error": "it broke", "fix": "Correct it"}] == json.loads(capsys.readouterr().out)


def test_a_list_that_is_interrupted_is_json(capsys):
    """What was printed before can be read."""

    def values():
        yield {"a": 1}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        print_json(values())

    assert [{"a": 1}] == json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "proposed"),
    [
        (["history"], "sluice load FOLDER"),
        (["history", "coolr.location"], "sluice load FOLDER"),
        (["rejects", "coolr.location"], "sluice history coolr.location"),
        (["backfill", "coolr.location", "--to", "20260224"], "sluice history coolr.location"),
    ],
)
def test_an_empty_view_names_the_next_command(sluice, words, proposed):
    """It does not only say that there is nothing."""
    result = sluice(*words)

    assert 0 == result.exit_code
    assert f"`{proposed}`" in result.stdout


@pytest.mark.parametrize("words", [["feeds"], ["history"], ["rejects", "coolr.location"], ["history", "--json"]])
def test_looking_makes_no_files(sluice, tmp_path, words):
    """Not even a folder for the files that a load would make."""
    assert 0 == sluice(*words).exit_code
    assert [] == list(tmp_path.iterdir())


def test_doctor_names_no_class(sluice):
    """What answers is named by its setting."""
    result = sluice("doctor")

    assert "ok       ledger: it can be read" in result.stdout.splitlines()


def commands(group: click.Group) -> list[click.Command]:
    return [group, *(each for one in group.commands.values() if isinstance(one, click.Group) for each in commands(one))]


@pytest.mark.parametrize("group", commands(main), ids=lambda group: str(group.name))
def test_short_helps_are_not_cut(group):
    """Each says one thing, and ends with its full stop."""
    lines = CliRunner().invoke(group, ["--help"], terminal_width=80).stdout.partition("Commands:\n")[2].splitlines()

    assert len(group.commands) == len(lines)
    assert [] == [line for line in lines if line.endswith("...") or not line.endswith(".")]


def test_what_the_demo_proposes_runs_as_printed(tmp_path):
    """Started as `make demo` does it: by its path, without `sluice` on the PATH."""
    program = shutil.which("sluice", path=str(ROOT / ".venv" / "bin"))
    assert program, "make setup"
    env = {**os.environ, "PATH": "/usr/bin:/bin"}

    def output(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=env).stdout

    shown = output(program, "demo", "--folder", "the demo")
    proposed = [line.strip() for line in shown.splitlines() if line.strip().startswith("WAREHOUSE_URL=")]

    printed = [output("/bin/sh", "-c", line) for line in proposed]

    assert 3 == len(printed)
    assert all("coolr.location" in text or "missing_key" in text or "LocationId" in text for text in printed)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_installed(shell):
    """The script asks `sluice` for the words."""
    result = CliRunner().invoke(main, ["completion", shell])

    assert 0 == result.exit_code
    assert f"_SLUICE_COMPLETE={shell}_complete" in result.stdout

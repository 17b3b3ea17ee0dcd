"""Ctrl-C and SIGTERM: one line, the exit code a shell expects, and a next load that completes the work."""

from __future__ import annotations

import signal
import subprocess
import sys

from importlib.metadata import entry_points
from pathlib import Path

import pytest

from shared.warehouses.embedded.session import translated
from tests.exports import export_path, open_test_app, write_parquet
from tests.quick import quick_if

ROOT = Path(__file__).parents[2]

COMMAND = """
import os, sys

from dataclasses import replace
from pathlib import Path

import shared.app

from shared.cli.main import main
from tests.exports import open_test_app
from tests.standins.fakes import Calls, Watched

folder, number, call, *words = sys.argv[1:]


class Stop(Calls):
    def through(self, name, function):
        if name.endswith(f".{call}") and self.done("commit") >= (call == "merge"):
            os.kill(os.getpid(), int(number))
        return super().through(name, function)


app = open_test_app(Path(folder))
calls = Stop()
app = replace(app, warehouse=Watched(app.warehouse, calls), ledger=Watched(app.ledger, calls, "ledger"))
shared.app.current = lambda: app
main(words)
"""


LEADS = str(ROOT / "tests" / "data" / "csv" / "leadconduit" / "leads.csv")
AGAIN = "Run the same command again to load the rest"


def run(folder: Path, number: int, call: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A command that gets a signal as it calls a port."""
    program = [sys.executable, "-c", COMMAND, str(folder), str(int(number)), call, *words]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def exports(tmp_path):
    for table in ("asset", "location"):
        key = f"{table.capitalize()}Id"
        write_parquet(export_path(tmp_path / "exports", "full", "20260224110000", table), [
            {key: n, "ModifiedOn": None, "IsDeleted": False} for n in range(3)
        ])  # fmt: skip
    return str(tmp_path / "exports")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_load_says_what_is_done_and_how_to_continue(tmp_path, exports, number):
    """In the middle of the second table; the next load takes what is left."""
    stopped = run(tmp_path, number, "merge", "load", exports)

    assert 128 + number == stopped.returncode, stopped.stderr
    assert ["asset"] == [line.split()[0] for line in stopped.stdout.splitlines()[1:]]
    assert f"Interrupted. Tables loaded before: 1. {AGAIN}." == stopped.stderr.strip()
    assert [("coolr.asset", "done")] == [(run.feed, run.status) for run in open_test_app(tmp_path).warehouse.runs()]


@pytest.mark.parametrize(
    ("call", "words", "expected"),
    [
        quick_if(True, "runs", ["history"], "Nothing was changed"),
        quick_if(False, "runs", ["feeds"], "Nothing was changed"),
        quick_if(False, "examine", ["doctor"], "Nothing was changed"),
        quick_if(True, "forget", ["backfill", "coolr.asset", "--to", "20260224"], "Run it again"),
        quick_if(False, "rejects", ["rejects", "coolr.asset"], "Nothing was changed"),
        quick_if(False, "profile", ["audit", "{exports}"], "Nothing was changed"),
        quick_if(True, "stage", ["load", "{exports}"], "Tables loaded before: 0."),
        quick_if(False, "stage", ["csv", "leadconduit", "leads", LEADS], "Tables loaded before: 0."),
    ],
)
def test_every_command_ends_in_one_line(tmp_path, exports, call, words, expected):
    """Without a traceback, and with what to do next."""
    stopped = run(tmp_path, signal.SIGINT, call, *(word.format(exports=exports) for word in words))

    assert 130 == stopped.returncode, stopped.stderr
    (line,) = stopped.stderr.splitlines()
    assert line.startswith(f"Interrupted. {expected}")


IMPORTS = """
import os, sys


class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == "shared.cli.main":
            os.kill(os.getpid(), int(sys.argv[1]))


sys.meta_path.insert(0, Stop())
from shared.cli.start import start
start()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_imports_ends_in_one_line(number):
    program = [sys.executable, "-c", IMPORTS, str(int(number))]
    stopped = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (128 + number, "", "Interrupted. Nothing was changed.") == (
        stopped.returncode, stopped.stdout, stopped.stderr.strip(),
    )  # fmt: skip


def test_the_program_starts_where_signals_are_awaited():
    (program,) = entry_points(group="console_scripts", name="sluice")

    assert "shared.cli.start:start" == program.value


def test_a_signal_within_a_query_is_an_interrupt_and_no_bug():
    """DuckDB turns what a signal's handler raises into a RuntimeError of its own, which is raised here by hand."""
    with pytest.raises(KeyboardInterrupt), translated():
        raise RuntimeError("Query interrupted")

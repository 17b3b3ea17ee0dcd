"""What a person is shown of waiting and of slower ways, and what is left to the log."""

from __future__ import annotations

import logging
import os
import pty
import re
import subprocess
import sys

from pathlib import Path

import pytest
import stamina

from rich import progress as rich_progress

from shared.cli.bar import Bar
from shared.pipeline.progress import Result
from shared.remote import RetryLater, RetryPolicy, log_retries
from tests.exports import export_path, write_parquet

ROOT = Path(__file__).parents[2]

HOLD = """
import sys, duckdb

held = duckdb.connect(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """The id of a process that has the warehouse open."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "warehouse.duckdb")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.communicate("")


@pytest.fixture
def command(tmp_path):
    """Run a command that waits a moment for the warehouse; its exit code and its error output."""
    export = write_parquet(export_path(tmp_path / "exports", "full", "20260224110000", "location"), [{
        "LocationId": 1, "ModifiedOn": None, "IsDeleted": False,
    }])  # fmt: skip
    env = {
        **os.environ, "WAREHOUSE_URL": f"duckdb:///{tmp_path}/warehouse.duckdb", "WAREHOUSE_LOCK_TIMEOUT": "0.3",
        "LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db", "COLUMNS": "200",
    }  # fmt: skip

    def run(*words: str, terminal: bool = False) -> tuple[int, str]:
        line = [sys.executable, "-m", "shared", *(word.format(export=export) for word in words)]
        if not terminal:
            done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
            return done.returncode, done.stderr
        ours, theirs = pty.openpty()
        with subprocess.Popen(line, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=theirs) as process:
            os.close(theirs)
            shown = b""
            try:
                while some := os.read(ours, 4096):
                    shown += some
            except OSError:  # Linux says so that the other end is closed
                pass
        os.close(ours)
        return process.returncode, shown.decode()

    return run


@pytest.mark.parametrize("words", [("load", "{export}"), ("history",)])
def test_waiting_for_the_warehouse_is_shown_on_a_terminal(holder, command, words):
    """As progress, with the process that has it open."""
    code, shown = command(*words, terminal=True)

    assert 1 == code
    assert re.search(rf"[Ww]aiting for .*\(process {holder}\), which has the warehouse open", shown)
    assert "stamina" not in shown


@pytest.mark.parametrize("words", [("load", "{export}"), ("history",)])
def test_waiting_says_nothing_where_there_is_no_terminal(holder, command, words):
    """But for the error in the end."""
    code, shown = command(*words)

    assert 1 == code
    (line,) = shown.splitlines()
    assert "waited 0.3 s for python" in line or f"(process {holder})" in line


def test_waiting_is_logged_for_who_asks_for_the_log(holder, command):
    """With the reason, once for each time it is looked again."""
    _, shown = command("-v", "history")

    assert f"(process {holder}), which has the warehouse open" in shown
    assert "stamina" not in shown


def test_a_repeated_call_is_logged_with_its_reason(caplog):
    """Not as a warning: most of them pass."""
    log_retries()
    failures = iter([RetryLater("https://host/x?sig=secret is busy")])

    def call() -> int:
        for failure in failures:
            raise failure
        return 1

    with stamina.set_testing(True, attempts=2, cap=True), caplog.at_level(logging.INFO, "sluice"):
        assert 1 == RetryPolicy(attempts=2, seconds=1).call(call, on=RetryLater)

    (record,) = caplog.records
    assert (logging.INFO, "sluice") == (record.levelno, record.name)
    assert "https://host/x is busy. Several tries have failed" in record.getMessage()


def test_tables_that_are_loaded_at_the_same_time_have_a_bar_each():
    """And each takes only its own away."""
    with rich_progress.Progress(disable=True) as bars:
        shown = Bar(bars, lambda text: None)
        one, other = shown.table(), shown.table()
        one.start("shop.item", 10)
        other.start("shop.kind", 5)
        one.rows(4)
        other.detail("3 rows/s")

        assert [("shop.item", 4, 10), ("shop.kind: 3 rows/s", 0, 5)] == tasks(bars)
        one.end(Result(table="item", place=""))
        assert [("shop.kind: 3 rows/s", 0, 5)] == tasks(bars)


def tasks(bars):
    return [(task.description, task.completed, task.total) for task in bars.tasks]

"""A process that is killed, and processes that want the warehouse at the same time. With real processes."""

from __future__ import annotations

import contextlib
import datetime as dt
import signal
import sqlite3
import subprocess
import sys

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.exports import START, export_path, load_exports, open_test_app, write_parquet
from tests.quick import quick_if

ROOT = Path(__file__).parents[2]
EPOCH = START.replace(tzinfo=None)

LOAD = """
import sys

from dataclasses import replace
from pathlib import Path

from shared.pipeline.folder import LoadOptions
from tests.exports import load_exports, open_test_app
from tests.standins.fakes import Fatal, Watched

folder, export, moment, place = sys.argv[1:]

print("ready", flush=True)
sys.stdin.readline()
app = open_test_app(Path(folder), SLICE_ROWS="2", BATCH_ROWS="2")
calls = Fatal(moment, place)
app = replace(app, warehouse=Watched(app.warehouse, calls), ledger=Watched(app.ledger, calls))
for result in load_exports(app, export, LoadOptions()):
    assert not result.failed, result
"""

HOLD = """
import sys

from pathlib import Path

from tests.exports import load_exports, open_test_app

app = open_test_app(Path(sys.argv[1]))
with app.warehouse._session():
    print("ready", flush=True)
    sys.stdin.readline()
"""


@contextlib.contextmanager
def process(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that has said it is ready and waits for a line, or for the end of its input."""
    started = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert "ready\n" == started.stdout.readline(), started.stderr.read()
        yield started
    finally:
        started.kill()
        started.communicate()


def load(folder: Path, export: Path, moment: str = "", place: str = "") -> tuple[int, str]:
    """Load in a process of its own, which kills itself at a moment: its exit code and what it complained of."""
    with process(LOAD, folder, export, moment, place) as started:
        _, complaint = started.communicate("go\n")
        return started.returncode, complaint


def first(root: Path) -> Path:
    """A full of two slices with a row that is rejected."""
    return _export(root / "first", "full", "20260224120000", [_row(key, 1) for key in range(9)] + [_row(9, 99_999)])


def delta(root: Path) -> Path:
    """A delta with updates, a deletion and a new row."""
    rows = [_row(1, 2), _row(2, 2, deleted=True), *(_row(key, 2) for key in range(20, 27)), _row(3, 99_999)]
    return _export(root / "delta", "delta", "20260224121000", rows)


def _export(root: Path, kind: str, stamp: str, rows: list[dict[str, Any]], table: str = "location") -> Path:
    return write_parquet(export_path(root, kind, stamp, table), rows, 5).parent


def _row(key: int, minutes: int, *, deleted: bool = False) -> dict[str, Any]:
    cursor = EPOCH + dt.timedelta(minutes=minutes)
    return {"LocationId": key, "ModifiedOn": cursor, "IsDeleted": deleted, "Name": f"{key} at {minutes}"}


def everything(folder: Path) -> dict[str, Any]:
    """Table, history, rejects and ledger."""
    app = open_test_app(folder)
    with app.warehouse._session() as session:
        tables = ("coolr.location", "ingest.run", "ingest.rejected")
        timed = {"ingest.run": "SELECT * EXCLUDE (seconds)"}  # how long a load took is its own
        queries = {name: f"{timed.get(name, '')} FROM {name}" for name in tables}
        found = {name: sorted(session.connection.execute(q).fetchall(), key=repr) for name, q in queries.items()}
    with contextlib.closing(sqlite3.connect(folder / "ledger.db")) as db:
        kept = {name: db.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in ("watermark", "work")}
    # How often a load began without an end is no part of the state.
    return {**found, **kept, "watermark": [row for row in kept["watermark"] if row[2] != "starts"]}


MOMENTS = [
    ("stage", "within"), ("stage", "after"), ("reject", "after"), ("merge", "within"), ("merge", "after"),
    ("commit", "after"), ("tidy", "after"),
]  # fmt: skip
QUICK = [("merge", "within"), ("commit", "after")]
"""The moments at which most is at stake; the others are slow tests."""


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """What there is after two loads that nothing disturbs; the folder is the one with the exports."""
    root = tmp_path_factory.mktemp("calm")
    for export in (first(root), delta(root)):
        list(load_exports(open_test_app(root / "loaded", SLICE_ROWS="2"), export))
    return root, everything(root / "loaded")


@pytest.mark.parametrize("moment", [quick_if(one in QUICK, one, id=" ".join(one)) for one in MOMENTS])
def test_a_killed_load_is_completed_by_the_next(moment, calm, tmp_path):
    """A first load is killed and repeated, and then a delta is: as if nothing had happened."""
    root, expected = calm
    for export in (root / "first", root / "delta"):
        code, complaint = load(tmp_path, export, *moment)
        results = list(load_exports(open_test_app(tmp_path, SLICE_ROWS="2"), export))

        assert -signal.SIGKILL == code, complaint
        assert [False] == [result.failed for result in results]

    assert expected == everything(tmp_path)


def test_what_a_killed_load_left_in_staging_goes_with_the_next(tmp_path):
    """Both loads are recorded done before they can tidy, so that nobody takes them up again."""
    export = _export(tmp_path / "last", "delta", "20260224122000", [_row(1, 3)])
    home = tmp_path / "loaded"
    left = []
    for killed in (first(tmp_path), delta(tmp_path)):
        load(home, killed, "commit", "after")
        left.append(staged(home))

    list(load_exports(open_test_app(home), export))

    assert all(left)
    assert [] == staged(home)


def staged(folder: Path) -> list[str]:
    """Staging tables in the warehouse and beside it."""
    with open_test_app(folder).warehouse._session() as session:
        tables = session.connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    beside = [path.name for path in folder.rglob("*.staging/*")]
    return [name for (name,) in tables if name.startswith("s_")] + beside


def test_two_processes_load_into_one_warehouse_at_the_same_time(tmp_path):
    """They wait for each other, and both end well."""
    exports = [first(tmp_path), delta(tmp_path)]
    home = tmp_path / "loaded"
    with process(LOAD, home, exports[0], "", "") as one, process(LOAD, home, exports[1], "", "") as other:
        for started in (one, other):
            started.stdin.write("go\n")
            started.stdin.flush()
        complaints = [started.communicate()[1] for started in (one, other)]

        assert [0, 0] == [one.returncode, other.returncode], complaints

    rows = {row[0]: (row[1], row[7] is None) for row in everything(home)["coolr.location"]}

    assert {*range(9), *range(20, 27)} == set(rows)
    assert EPOCH + dt.timedelta(minutes=2) == rows[1][0]
    assert not rows[2][1]


def test_error_of_who_waits_too_long_names_the_process_that_holds_the_warehouse(tmp_path):
    """It is nobody's fault, and may work later."""
    app = open_test_app(tmp_path, WAREHOUSE_LOCK_TIMEOUT="0.3")

    with process(HOLD, tmp_path) as holder:
        (result,) = load_exports(app, first(tmp_path))

    assert result.run.error.startswith("waited 0.3 s for ")
    assert f"(process {holder.pid}), which has the warehouse open" in result.run.error
    assert 1 == len(list(load_exports(app, first(tmp_path))))


@pytest.mark.slow
def test_processes_that_load_one_folder_do_not_break_each_other(tmp_path):
    """The run of each file is the same for all of them: whoever comes second waits, and finds it done."""
    home = tmp_path / "loaded"
    folder = tmp_path / "all"
    for minute in range(3):
        _export(folder, "delta", f"202602241201{minute:02}", [_row(key, minute) for key in range(200)])

    with contextlib.ExitStack() as stack:
        several = [stack.enter_context(process(LOAD, home, folder, "", "")) for _ in range(3)]
        for one in several:
            one.stdin.write("go\n")
            one.stdin.flush()
        complaints = [one.communicate()[1] for one in several]
        codes = [one.returncode for one in several]

    assert [0, 0, 0] == codes, complaints
    assert [] == staged(home)
    assert 3 == len(open_test_app(home).warehouse.runs())

"""The command line as a person and a script use it, in processes of its own where that matters."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from click.testing import CliRunner

from shared import app as shared_app
from shared.cli.main import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sluice(tmp_path, monkeypatch):
    """Run a command with a warehouse and a ledger of its own."""
    monkeypatch.setenv("WAREHOUSE_URL", f"duckdb:///{tmp_path}/warehouse.duckdb")
    monkeypatch.setenv("LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")
    shared_app.opened.cache_clear()
    yield lambda *words: CliRunner().invoke(main, [str(word) for word in words])
    shared_app.opened.cache_clear()


@pytest.fixture
def exports(tmp_path):
    """A full, and a delta with an update, a deletion, and a row without a key."""
    root = tmp_path / "exports"
    _write(
        root / "Full/Acme/20260224000000/location.parquet", [(n, f"Store {n}", "2026-02-23", 0) for n in range(1, 21)]
    )
    _write(
        root / "Delta/Acme/20260224060000/location.parquet",
        [(n, f"Shop {n}", "2026-02-24", int(n == 3)) for n in range(1, 11)] + [(None, "Nameless", "2026-02-24", 0)],
    )
    return root


def _write(path: Path, rows: list[tuple[int | None, str, str, int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ids, names, days, deleted = zip(*rows, strict=True)
    table = pa.table(
        {
            "LocationId": pa.array(ids, pa.int64()),
            "Name": names,
            "ModifiedOn": pa.array(days).cast(pa.timestamp("us")),
            "IsDeleted": deleted,
        }
    )
    pq.write_table(table, path)


def test_load_tells_what_became_of_each_table(sluice, exports):
    """A root with a full and a delta is taken in order; rejects below the share do not fail it."""
    result = sluice("load", exports, "--json")

    first, second = (one["run"] for one in json.loads(result.stdout))
    assert 0 == result.exit_code
    assert (20, 20) == (first["read"], first["inserted"])
    assert (11, 9, 1, 1) == (second["read"], second["updated"], second["deleted"], second["rejected"])


def test_load_prints_a_table_for_people(sluice, exports):
    """Without --json, columns without any value are left out and numbers have separators."""
    result = sluice("load", exports)

    lines = result.stdout.splitlines()
    assert ["table", "export", "status", "read", "inserted", "updated", "deleted", "rejected"] == lines[0].split()
    assert ["location", "Full/Acme/20260224000000", "done", "20", "20"] == lines[1].split()


def test_second_load_skips_and_names_what_is_known(sluice, exports):
    """Nothing is read twice, unless it is wished again; then nothing differs."""
    sluice("load", exports)

    skipped = json.loads(sluice("load", exports, "--json").stdout)
    again = json.loads(sluice("load", exports, "--again", "--json").stdout)

    assert ["already loaded (--again repeats it)"] * 2 == [one["skipped"] for one in skipped]
    assert [0, 0] == [one["run"]["inserted"] + one["run"]["updated"] for one in again]


def test_dry_run_shows_rows_before_and_after_and_changes_nothing(sluice, exports):
    """The outcomes are those of the real load that follows."""
    sluice("load", exports / "Full/Acme/20260224000000")
    delta = exports / "Delta/Acme/20260224060000"

    dry = json.loads(sluice("load", delta, "--dry-run", "--json").stdout)[0]
    between = json.loads(sluice("history", "--json").stdout)
    rejected = json.loads(sluice("rejects", "coolr.location", "--json").stdout)
    wet = json.loads(sluice("load", delta, "--json").stdout)[0]

    update = next(change for change in dry["changes"] if change["outcome"] == "updated")
    assert ("Store 1", "Shop 1") == (update["before"]["Name"], update["after"]["Name"])
    assert 1 == len(between)
    assert [] == rejected
    counts = ("read", "updated", "deleted", "rejected", "unchanged")
    assert [wet["run"][name] for name in counts] == [dry["run"][name] for name in counts]


def test_failed_table_ends_with_1_and_says_why(sluice, exports):
    """The others go on, and the error names the file and what to do."""
    folder = exports / "Full/Acme/20260224000000"
    (folder / "asset.parquet").write_bytes(b"")

    result = sluice("load", folder)

    assert 1 == result.exit_code
    assert "asset.parquet is empty (0 bytes). Ask for the file again." in result.stderr
    assert "done" in result.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["load"], 2, "Missing argument"),
        (["load", "x", "--type", "half"], 2, "Invalid value for '--type'"),
        (["load", "x", "--exported-at", "yesterday"], 2, "is not a time"),
        (["load", "x", "--max-delete-share", "2"], 2, "from 0 to 1"),
        (["load", "no-such-folder"], 1, "does not exist. Correct the path; it is case-sensitive."),
        (["load", "gopher://x/y"], 1, "there is no store for gopher://"),
        (["backfill", "coolr.location"], 2, "write either --to T or --reset"),
        (["backfill", "elsewhere.location", "--to", "20260224"], 1, "there is no feed 'elsewhere.location'"),
        (["rejects", "coolr.location", "--replay", "x", "--csv"], 2, "--replay cannot be combined"),
        (["rejects", "coolr.location", "--replay", "no-such.csv"], 1, "does not exist"),
        (["load", "x", "--system", "sap"], 1, "there is no system 'sap'"),
    ],
)
def test_wrong_use_ends_with_2_and_failed_work_with_1(sluice, words, code, said):
    """In either case with one line that says what to do."""
    result = sluice(*words)

    assert code == result.exit_code
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_rejects_go_out_as_csv_and_come_back_corrected(sluice, exports, tmp_path):
    """The corrected row is loaded as of the export it came in."""
    sluice("load", exports)
    csv = sluice("rejects", "coolr.location", "--csv").stdout
    corrected = tmp_path / "corrected.csv"
    corrected.write_text(csv.replace(',,"Nameless"', ',"77","Nameless"'))
    assert corrected.read_text() != csv

    result = json.loads(sluice("rejects", "coolr.location", "--replay", corrected, "--json").stdout)

    assert (1, "2026-02-24T06:00:00.000000") == (result[0]["run"]["inserted"], result[0]["run"]["exported_at"])
    assert 21 == json.loads(sluice("audit", exports / "Full", "--json").stdout)[0]["stored"]["rows"]


def test_backfill_makes_the_next_load_take_it_again(sluice, exports):
    """What was exported before the time stays known."""
    sluice("load", exports)

    (backfill,) = json.loads(sluice("backfill", "coolr.location", "--to", "20260224030000", "--json").stdout)
    loaded = json.loads(sluice("load", exports, "--json").stdout)

    assert "backfill from 2026-02-24T03:00:00.000000" in sluice("history", "coolr.location").stdout
    assert (1, 1) == (len(backfill["forgotten"]), backfill["backfill"]["forgotten"])
    assert "loaded again after a backfill" == loaded[1]["run"]["note"]
    assert [None, "done"] == [one["run"] and one["run"]["status"] for one in loaded]


def test_audit_compares_a_file_with_the_warehouse(sluice, exports):
    """Rows, active, deleted and span of the file, beside what is stored."""
    sluice("load", exports / "Full/Acme/20260224000000")
    file = exports / "Delta/Acme/20260224060000/location.parquet"

    found = json.loads(sluice("audit", file, "--json").stdout)[0]
    shown = sluice("audit", file)

    assert (11, 9, 1, 1) == (found["rows"], found["active"], found["deleted"], found["rejected"])
    assert ("2026-02-24T00:00:00.000000", 20) == (found["highest"], found["stored"]["rows"])
    assert "coolr.location" in shown.stdout


def test_feeds_show_watermark_and_last_run(sluice, exports):
    """Declared feeds are listed before their first run, too."""
    sluice("load", exports)

    reported = {one["feed"]: one for one in json.loads(sluice("feeds", "--json").stdout)}

    assert ("2026-02-24T00:00:00.000000", "done") == (
        reported["coolr.location"]["watermark"],
        reported["coolr.location"]["status"],
    )
    assert reported["coolr.asset"]["watermark"] is None


def commands(group):
    """All commands, those of groups too, by what is typed."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", found) for inner, found in commands(command))
        else:
            yield name, command


@pytest.mark.parametrize("command", [pytest.param(found, id=name) for name, found in commands(main)])
def test_every_command_explains_itself_and_speaks_json(command):
    """A person finds out what it does; a machine can read what it says."""
    names = [option for parameter in command.params for option in parameter.opts]

    assert command.help
    assert "--json" in names or command.name == "completion"


def test_module_and_script_are_the_same(tmp_path):
    """`python -m shared` works where the script is not on the path."""
    env = {**os.environ, "WAREHOUSE_URL": f"duckdb:///{tmp_path}/w.duckdb", "LEDGER_URL": f"sqlite:///{tmp_path}/l.db"}

    reported = subprocess.run(
        [sys.executable, "-m", "shared", "feeds", "--json"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "coolr.orderitem" in [one["feed"] for one in json.loads(reported.stdout)]


def test_progress_is_shown_on_a_terminal_only(tmp_path, exports):
    """A pipe gets nothing but the result; a terminal gets a bar on the error output."""
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals on this system")
    env = {**os.environ, "WAREHOUSE_URL": f"duckdb:///{tmp_path}/w.duckdb", "LEDGER_URL": f"sqlite:///{tmp_path}/l.db"}
    command = [sys.executable, "-m", "shared", "load", str(exports), "--again"]
    ours, theirs = pty.openpty()

    quiet = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, check=True)
    subprocess.run(
        command, cwd=ROOT, env={**env, "TERM": "xterm"}, stdout=subprocess.DEVNULL, stderr=theirs, check=True
    )
    os.close(theirs)

    assert b"" == quiet.stderr
    assert b"coolr.location" in os.read(ours, 65_536)
    os.close(ours)

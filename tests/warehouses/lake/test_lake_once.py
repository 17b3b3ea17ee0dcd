"""Each run once in a lake: crashes between its steps, other writers, clocks, vacuums."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys

from pathlib import Path

import pyarrow as pa
import pytest

from deltalake import DeltaTable

from shared.errors import TransientError
from shared.warehouses.lake import feed_table
from shared.warehouses.lake.ingest_tables import IngestTables
from shared.warehouses.lake.storage import LocalStorage
from shared.warehouses.lake.table import LakeTable
from tests.quick import quick_if
from tests.suites.warehouse_case import WarehouseCase, row, some
from tests.warehouses.lake import lake_tables


class Killed(KeyboardInterrupt):
    """The end of a process."""


@pytest.fixture
def lake(tmp_path):
    return tmp_path / "lake"


@pytest.fixture
def case(tmp_path, lake):
    return WarehouseCase(tmp_path, lambda text: lake_tables.query(lake, text), WAREHOUSE_URL=f"lake:///{lake}")


@pytest.fixture
def table(lake):
    return lambda: DeltaTable(str(lake / "shop" / "item"))


def data_files(lake):
    return {path.name for path in (lake / "shop").rglob("*.parquet") if "_delta_log" not in path.parts}


def killed(case, file, monkeypatch, where, method):
    """Load *file* in a process that ends when it calls *method* of *where*."""

    def end(*_args, **_options):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(where, method, end)
        with pytest.raises(Killed):
            case.load(file)


@pytest.mark.parametrize("mode", ["current", "append"])
@pytest.mark.parametrize("first", [quick_if(False, "the same run"), "another run"])
def test_a_run_that_ended_after_its_commit_is_found_in_its_table(case, table, monkeypatch, mode, first):
    """Its rows are not there twice, and history gets its row with the same counts, whoever comes next."""
    case.declare_table("item", f'keys = ["ItemId"], lake = "{mode}"')
    file = case.write("full", 5, [row(1), row(2)])
    killed(case, file, monkeypatch, IngestTables, "add_run")
    before = table().version()

    if first == "another run":
        case.loaded("delta", 6, row(3))
    run = case.load(file).run

    assert {"inserted": 2, "read": 2} == some(run)
    assert before == 0
    assert table().version() == (1 if first == "another run" else 0)
    ids = [(1,), (2,), (3,)] if first == "another run" else [(1,), (2,)]
    assert ids == case.rows("ItemId")
    assert [(run.id, 2)] == case.query(f"SELECT id, inserted FROM ingest.run WHERE id = '{run.id}'")


@pytest.mark.slow
def test_a_run_is_found_in_its_table_after_many_others(case, table, monkeypatch):
    """Also where history lacks the row, and the last commits say nothing of it."""
    file = case.write("full", 5, [row(1), row(2)])
    first = case.load(file).run
    for number in range(6, 14):
        case.loaded("delta", number, row(number, modified=number))
    lake_tables.rewrite(case.folder / "lake" / "ingest" / "run", f"id <> '{first.id}'")
    before = table().version()

    again = case.app.warehouse.run(first.id)
    (case.folder / "ledger.db").unlink()
    case = WarehouseCase(case.folder, case.query, WAREHOUSE_URL=f"lake:///{case.folder}/lake")
    run = case.load(file).run

    assert again is None
    assert (first.id, some(first)) == (run.id, some(run))
    assert before == table().version()


def test_files_that_were_not_committed_are_deleted(case, lake, monkeypatch):
    """At once if the process goes on, else by another run, a day later."""
    case.loaded("full", 5, row(1))
    before = data_files(lake)
    file = case.write("delta", 6, [row(2)])
    with monkeypatch.context() as patched:
        patched.setattr(LakeTable, "commit", lambda *_: (_ for _ in ()).throw(TransientError("gone", fix="Wait")))
        assert case.load(file).failed
    after_failure = data_files(lake)
    with monkeypatch.context() as patched:
        patched.setattr(LocalStorage, "delete", lambda *_: None)
        killed(case, file, monkeypatch, LakeTable, "commit")
    after_end = data_files(lake)
    notes = list((lake / "_staging").glob("w_*.json"))
    case.loaded("delta", 7, row(3))
    young = data_files(lake)
    for note in notes:
        os.utime(note, (1, 1))
    case.loaded("delta", 8, row(4))

    assert before == after_failure
    assert len(before) + 1 == len(after_end)
    assert after_end < young
    assert not (after_end - before) & data_files(lake)
    assert [] == list((lake / "_staging").glob("w_*.json"))
    assert [(1,), (3,), (4,)] == case.rows("ItemId")


@pytest.mark.parametrize("gone", [1, 2], ids=["its commit is known", "its commit is gone from the log"])
def test_files_of_a_commit_are_no_leftovers_however_long_ago_it_was(case, lake, table, gone):
    """Its process died before it could delete its note. Another program has shortened the log since."""
    case.loaded("full", 5, row(1))
    case.loaded("delta", 6, row(2))
    note = lake / "_staging" / "w_1.json"
    note.write_text(json.dumps({"table": "shop/item", "attempt": table().history(1)[0]["sluice"]["attempt"]}))
    case.loaded("delta", 7, row(3))
    table().create_checkpoint()
    for version in range(gone):
        (lake / "shop" / "item" / "_delta_log" / f"{version:020}.json").unlink()
    os.utime(note, (1, 1))

    case.loaded("delta", 8, row(4))

    assert not note.exists()
    assert [(1,), (2,), (3,), (4,)] == case.rows("ItemId")


def test_what_is_staged_is_deleted_after_success_and_failure(case, lake):
    """And leftovers of others, once they are a day old."""
    case.loaded("full", 5, row(1))
    left = lake / "_staging" / "shop" / "other" / "s_0123456789abcdef_0.parquet"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"")
    case.refused("delta", 6, row("x"), key=pa.string())
    kept = left.exists()
    os.utime(left, (1, 1))
    case.loaded("delta", 7, row(2))

    assert kept
    assert [] == list((lake / "_staging").rglob("s_*"))


def test_a_run_that_changes_nothing_commits_nothing(case, table):
    """History has it nevertheless."""
    case.loaded("full", 5, row(1))

    run = case.loaded("delta", 6, row(1))

    assert {"unchanged": 1, "read": 1} == some(run)
    assert 0 == table().version()
    assert 2 == len(case.query("SELECT 1 FROM ingest.run"))


STEPS = ("pull_log", "push_log", "publish", "local", "folder", "delete", "entries")


@pytest.mark.parametrize("step", [quick_if(step == "publish", step) for step in STEPS])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_storage_that_fails_once_changes_nothing(case, table, monkeypatch, step, after):
    """At any call, before or after it takes effect: a second try ends as if nothing had happened."""
    case.loaded("full", 5, row(1), row(2))
    file = case.write("delta", 6, [row(2, "Bill", 6), row(3, "Cy", 6)])
    true = getattr(LocalStorage, step)
    for number in range(12):
        calls = iter(range(1_000))

        def once(*args, calls=calls, number=number):
            fails = next(calls) == number
            if fails and not after:
                raise OSError("no answer")
            result = true(*args)
            result = list(result) if step == "entries" else result
            if fails:
                raise OSError("no answer")
            return result

        with monkeypatch.context() as patched:
            patched.setattr(LocalStorage, step, once)
            try:
                failed = case.load(file).failed
            except OSError:
                failed = True
        if not failed:
            break
    run = case.load(file, again=True).run if failed else None

    assert run is None or run.error is None
    assert [("Ada",), ("Bill",), ("Cy",)] == case.rows("Name")
    done = case.query("SELECT count(*), count(DISTINCT id) FROM ingest.run WHERE status = 'done' AND inserted = 1")
    assert [(1, 1)] == done


LOADS = """
import sys
from pathlib import Path
from tests.suites.warehouse_case import WarehouseCase, row
folder, first = Path(sys.argv[1]), int(sys.argv[2])
case = WarehouseCase(folder / f"p{first}", None, WAREHOUSE_URL=f"lake:///{folder}/lake")
files = [case.write("delta", 6 + n, [row(0, f"{first} {n}", 6 + n), row(first + n, modified=6 + n)]) for n in range(4)]
print("ready", flush=True)
sys.stdin.readline()
for file in files:
    result = case.load(file)
    assert result.run.error is None, result.run.error
"""


@pytest.mark.slow
def test_two_processes_that_write_one_table_at_once_lose_nothing(case, tmp_path, table):
    """Each key is there once, with its newest content; no run is lost or there twice."""
    case.loaded("full", 5, row(0))
    command = [sys.executable, "-c", LOADS, str(tmp_path)]
    root = Path(__file__).parents[3]
    both = [
        subprocess.Popen([*command, first], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
        for first in ("100", "200")
    ]
    for one in both:
        assert one.stdout.readline() == "ready\n"
    for one in both:
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in both:
        one.communicate()

    assert [0, 0] == [one.returncode for one in both]
    assert [(key,) for key in (0, *range(100, 104), *range(200, 204))] == case.rows("ItemId")
    assert case.rows("Name")[0][0] in ("100 3", "200 3")
    assert [(9, 9)] == case.query("SELECT count(*), count(DISTINCT id) FROM ingest.run")
    assert [] == list((tmp_path / "lake" / "_staging").rglob("*.parquet"))


def test_another_writer_that_is_faster_makes_a_merge_start_over(case, table, monkeypatch):
    """A compaction, for example, whose old files are gone as well."""
    case.loaded("full", 5, row(1))
    case.loaded("delta", 6, row(2))
    true, others = feed_table._commit, []

    def late(*args):
        if not others:
            others.append(table())
            others[0].optimize.compact()
            others[0].vacuum(0, dry_run=False, enforce_retention_duration=False)
        return true(*args)

    monkeypatch.setattr(feed_table, "_commit", late)
    run = case.loaded("delta", 7, row(2, "Bill", 7), row(3))

    assert others
    assert {"inserted": 1, "updated": 1, "read": 2} == some(run)
    assert [(1,), (2,), (3,)] == case.rows("ItemId")


def test_a_reader_of_an_earlier_version_is_not_disturbed(case, table):
    """Neither by merges nor by a vacuum with the usual retention."""
    case.loaded("full", 5, row(1, "Ada"))
    reader = table()
    case.loaded("delta", 6, row(1, "Ida", 6))
    table().vacuum(dry_run=False)

    assert ["Ada"] == reader.to_pyarrow_table()["Name"].to_pylist()
    assert ["Ida"] == table().to_pyarrow_table()["Name"].to_pylist()


def test_a_clock_that_goes_back_changes_no_outcome(case, table):
    """Rules go by cursors and exports; versions by number."""
    case.loaded("full", 5, row(1), row(2))
    case.clock.now -= dt.timedelta(days=10)

    run = case.loaded("delta", 6, row(1, "Ida", 6), row(3))
    case.clock.now += dt.timedelta(days=20)
    again = case.loaded("delta", 7, row(1, "Eva", 7))

    assert [{"inserted": 1, "updated": 1, "read": 2}, {"updated": 1, "read": 1}] == [some(run), some(again)]
    assert [("Eva",), ("Ada",), ("Ada",)] == case.rows("Name")
    assert [0, 1, 2] == sorted(entry["version"] for entry in table().history())


def test_a_key_that_changes_its_type_is_refused_until_it_is_declared(case):
    """Then the stored keys are converted, and every file is written anew in the same commit."""
    case.loaded("full", 5, row(1), row(2))

    refused = case.refused("delta", 6, row("1", "Ida", 6), key=pa.string())
    case.declare("ItemId", "text")
    run = case.loaded("delta", 7, row("1", "Ida", 7), row("x"), key=pa.string())

    assert "column 'ItemId' of shop.item is bigint, but text in" in refused
    assert {"inserted": 1, "updated": 1, "read": 2} == some(run)
    assert [("1", "Ida"), ("2", "Ada"), ("x", "Ada")] == case.rows("ItemId", "Name")


@pytest.mark.slow
def test_many_runs_leave_few_files_of_history(case, lake):
    """What each adds is put together from time to time."""
    case.loaded("full", 5, row(1))
    for number in range(70):
        case.app.warehouse.record_backfill(lake_tables.backfill(number))

    found = case.app.warehouse.backfills("shop.item", 1_000)

    assert 70 == len(found)
    assert 64 > len(DeltaTable(str(lake / "ingest" / "backfill")).file_uris())

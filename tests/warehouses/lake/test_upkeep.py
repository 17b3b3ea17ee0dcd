"""Upkeep of a lake: what it puts together and deletes, beside loads and readers, and when it is killed."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil

import duckdb
import pytest

from deltalake import DeltaTable

from shared.jobs.upkeep import tend_all
from shared.pipeline.upkeep import upkeep
from shared.warehouses import Upkeep
from shared.warehouses.lake import feed_table
from shared.warehouses.lake import upkeep as lake_upkeep
from shared.warehouses.lake.staging import DEAD
from shared.warehouses.lake.table import LakeTable
from tests.advice import advised, advises
from tests.exports import Clock, open_test_app
from tests.warehouses.lake.lake_tables import load

FILES = 4
WEEK = dt.timedelta(days=7)


@pytest.fixture
def app(tmp_path):
    return open_test_app(tmp_path, Clock(), WAREHOUSE_URL=f"lake:///{tmp_path}/lake")


@pytest.fixture(scope="module")
def four_loads(tmp_path_factory):
    """A folder with a lake whose table of locations has a file for each of four loads, to be copied."""
    folder = tmp_path_factory.mktemp("loaded")
    app = open_test_app(folder, Clock(), WAREHOUSE_URL=f"lake:///{folder}/lake")
    for number in range(FILES):
        load(app, folder, number)
    return folder


@pytest.fixture
def loaded(four_loads, tmp_path):
    """An app over a copy of those loads."""
    shutil.copytree(four_loads, tmp_path, dirs_exist_ok=True)
    return open_test_app(tmp_path, Clock(), WAREHOUSE_URL=f"lake:///{tmp_path}/lake")


def tend(app, *feeds, keep=WEEK, **options):
    found = {one.table.table: one for one in upkeep(app.runner, feeds, Upkeep(keep=keep, **options))}
    assert [] == [one.error for one in found.values() if one.error]
    return found["coolr.location"].table


def lake_table(tmp_path, version=None):
    return DeltaTable(tmp_path / "lake" / "coolr" / "location", version=version)


def contents(tmp_path, version=None):
    return sorted(lake_table(tmp_path, version).to_pyarrow_table().to_pylist(), key=repr)


def on_disk(tmp_path):
    return sorted(str(path) for path in (tmp_path / "lake").rglob("*") if path.is_file())


def let_days_pass(tmp_path, days):
    """As if all that was written and replaced so far had been so many days ago."""
    ago = dt.timedelta(days=days).total_seconds()
    for path in (tmp_path / "lake").rglob("*"):
        if path.is_file():
            moment = path.stat().st_mtime - ago
            os.utime(path, (moment, moment))


# -- putting together


def test_small_files_become_one_and_rows_and_earlier_versions_stay(loaded, tmp_path):
    before, version = contents(tmp_path), lake_table(tmp_path).version()

    done = tend(loaded)

    assert (FILES, 1, 1) == (done.files_before, done.files_after, done.rewrites)
    assert done.bytes_after < done.bytes_before
    assert before == contents(tmp_path) == contents(tmp_path, version)
    assert 1 == len(lake_table(tmp_path).file_uris())


def test_upkeep_of_what_was_done_changes_nothing(loaded, tmp_path):
    """No commit, no file: it may run as often as it likes."""
    tend(loaded)
    before = on_disk(tmp_path)

    done = tend(loaded)

    assert (0, 1) == (done.rewrites, done.files_after)
    assert before == on_disk(tmp_path)


def test_a_dry_run_says_what_it_would_do_and_does_nothing(loaded, tmp_path):
    before = on_disk(tmp_path)

    done = tend(loaded, dry_run=True)

    assert (FILES, 1, 1) == (done.files_before, done.files_after, done.rewrites)
    assert before == on_disk(tmp_path)


def test_the_days_of_a_table_of_all_runs_stay_apart(tmp_path):
    """Its files are put together within each day."""
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "coolr.toml").write_text(
        '[system]\nname = "coolr"\nsource = "exports"\n\n[defaults]\nlake = "append"\n\n[tables.location]\n'
        'keys = ["LocationId"]\ncursor = "ModifiedOn"\ndeleted = "IsDeleted"\n'
    )
    clock = Clock()
    app = open_test_app(
        tmp_path, clock, WAREHOUSE_URL=f"lake:///{tmp_path}/lake", CATALOG_PATH=str(tmp_path / "catalog")
    )
    for number in range(FILES):
        load(app, tmp_path, number)
    clock.forward(days=1)
    for number in range(FILES, 2 * FILES):
        load(app, tmp_path, number)
    before = contents(tmp_path)

    done = tend(app)

    assert (2 * FILES, 2, 2) == (done.files_before, done.files_after, done.rewrites)
    assert before == contents(tmp_path)
    assert ["2026-02-24", "2026-02-25"] == sorted(str(one["SyncedOn"]) for one in lake_table(tmp_path).partitions())


@pytest.mark.slow
def test_clustering_sorts_files_that_overlap_in_their_key_once(loaded, tmp_path, monkeypatch):
    """Afterwards no two files have keys of the same range, so that a load of few keys reads few files."""
    monkeypatch.setattr(lake_upkeep, "_FEWEST", 100)
    monkeypatch.setattr(feed_table, "_FEW", 0)  # as of many rows, each file is written anew by itself
    for number in range(FILES, FILES + 3):
        load(loaded, tmp_path, number, keys=number, every=4)
    before = contents(tmp_path)

    plain, clustered, again = tend(loaded), tend(loaded, cluster=True), tend(loaded, cluster=True)

    assert (0, 1, 0) == (plain.rewrites, clustered.rewrites, again.rewrites)
    assert before == contents(tmp_path)
    keys = [key for (key,) in duckdb.read_parquet(lake_table(tmp_path).file_uris()).project("LocationId").fetchall()]
    assert sorted(keys) == keys


# -- beside loads


def test_a_load_that_commits_meanwhile_is_kept_and_upkeep_starts_over(loaded, tmp_path, monkeypatch):
    commit, calls = LakeTable.commit, []

    def slow(table, before, change):
        if change.same_rows and table.path == "coolr/location" and not calls:
            calls.append(change)
            LakeTable.commit = commit
            other = open_test_app(tmp_path, Clock(), WAREHOUSE_URL=f"lake:///{tmp_path}/lake")
            load(other, tmp_path, FILES)
        commit(table, before, change)

    monkeypatch.setattr(LakeTable, "commit", slow)

    done = tend(loaded)

    assert (1, 1, None) == (len(calls), done.rewrites, done.note)
    assert 10 * (FILES + 1) == len(contents(tmp_path)) == lake_table(tmp_path).count()


def test_upkeep_gives_way_to_loads_that_are_faster_every_time(loaded, tmp_path, monkeypatch):
    """What it has written is gone, and what the loads wrote is there."""
    commit, numbers = LakeTable.commit, iter(range(FILES, 100))

    def slow(table, before, change):
        if change.same_rows and table.path == "coolr/location":
            other = open_test_app(tmp_path, Clock(), WAREHOUSE_URL=f"lake:///{tmp_path}/lake")
            load(other, tmp_path, next(numbers))
        commit(table, before, change)

    monkeypatch.setattr(LakeTable, "commit", slow)

    done = tend(loaded)

    assert (0, "loads changed it all the time; the rest waits for the next upkeep") == (done.rewrites, done.note)
    named = {uri.rpartition("/")[2] for uri in lake_table(tmp_path).file_uris()}
    assert named == {path.name for path in (tmp_path / "lake" / "coolr" / "location").glob("*.parquet")}
    assert 10 * (FILES + 3) == lake_table(tmp_path).count()


@pytest.mark.parametrize("after", [False, True], ids=["before its commit", "after its commit"])
def test_what_a_killed_upkeep_leaves_is_deleted_and_what_it_committed_stays(loaded, tmp_path, monkeypatch, after):
    commit, delete = LakeTable.commit, type(loaded.warehouse._storage).delete

    def dies(table, before, change):
        if change.same_rows and after:
            commit(table, before, change)
        if change.same_rows:
            # A process that is gone deletes nothing.
            monkeypatch.setattr(type(loaded.warehouse._storage), "delete", lambda storage, paths: list(paths))
            raise KeyboardInterrupt  # nothing after this is done
        commit(table, before, change)

    monkeypatch.setattr(LakeTable, "commit", dies)
    before = contents(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        tend(loaded)
    monkeypatch.setattr(LakeTable, "commit", commit)
    monkeypatch.setattr(type(loaded.warehouse._storage), "delete", delete)
    for note in (tmp_path / "lake" / "_staging").glob("w_*.json"):
        os.utime(note, (note.stat().st_mtime - 2 * DEAD,) * 2)

    load(loaded, tmp_path, FILES)  # its tidy deletes what is left

    assert [] == list((tmp_path / "lake" / "_staging").glob("w_*.json"))
    assert set(map(repr, before)) <= set(map(repr, contents(tmp_path)))
    files = {path.name for path in (tmp_path / "lake" / "coolr" / "location").glob("*.parquet")}
    assert ((1 if after else 0) + FILES + 1) == len(files)
    assert (2 if after else FILES + 1) == len(lake_table(tmp_path).file_uris())


# -- deleting


@pytest.mark.slow
def test_replaced_files_go_after_the_retention_and_not_before(loaded, tmp_path):
    """Readers that have begun, and earlier versions within it, are not broken."""
    version = lake_table(tmp_path).version()
    let_days_pass(tmp_path, 30)
    tend(loaded)
    before = contents(tmp_path)
    reader = lake_table(tmp_path, version)
    let_days_pass(tmp_path, 3)

    kept = tend(loaded)
    read = reader.to_pyarrow_table().to_pylist()
    let_days_pass(tmp_path, 5)
    dry = tend(loaded, dry_run=True)
    deleted = tend(loaded)

    assert (0, 10 * FILES) == (kept.deleted_files, len(read))
    assert (FILES, FILES) == (dry.deleted_files, deleted.deleted_files)
    assert dry.deleted_bytes == deleted.deleted_bytes > 0
    assert before == contents(tmp_path)
    assert 1 == len(list((tmp_path / "lake" / "coolr" / "location").glob("*.parquet")))


@pytest.mark.slow
def test_loads_go_on_after_upkeep_and_are_recognised(loaded, tmp_path):
    """What was loaded is not loaded again, though its files are gone; what is new is merged."""
    tend(loaded)
    let_days_pass(tmp_path, 8)
    tend(loaded)

    load(loaded, tmp_path, FILES, keys=0)

    assert 10 * FILES == lake_table(tmp_path).count()
    assert FILES + 1 == len(loaded.warehouse.runs("coolr.location"))


def test_a_short_retention_is_refused(loaded, tmp_path):
    with advised("Keep them for a day at least: LAKE_KEEP=86400, or --keep 1"):
        tend(loaded, keep=dt.timedelta(hours=1))

    assert tend(loaded, keep=dt.timedelta(seconds=86_400)).rewrites


# -- the manifest


@pytest.mark.slow
def test_a_manifest_is_kept_current_once_there_is_one(loaded, tmp_path):
    manifest = tmp_path / "lake" / "coolr" / "location" / "_symlink_format_manifest" / "manifest"
    tend(loaded)
    assert not manifest.exists()

    tend(loaded, manifest=True)
    first = manifest.read_text().split()
    load(loaded, tmp_path, FILES)
    tend(loaded)

    assert 1 == len(first)
    assert sorted(lake_table(tmp_path).file_uris()) == sorted(manifest.read_text().split()) != first


# -- the command and the timer


def test_the_command_says_what_it_saved(loaded, tmp_path, sluice, monkeypatch):
    monkeypatch.setenv("WAREHOUSE_URL", f"lake:///{tmp_path}/lake")
    monkeypatch.setenv("LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")

    shown, again = sluice("upkeep", "coolr.location"), sluice("upkeep", "coolr.location", "--json")

    assert re.search(r"^coolr.location +main +4 > 1 ", shown.stdout, re.MULTILINE)
    assert '"files_before": 1' in again.stdout


def test_without_a_lake_there_is_nothing_to_do(tmp_path, sluice, monkeypatch):
    monkeypatch.setenv("WAREHOUSE_URL", f"duckdb:///{tmp_path}/warehouse.duckdb")
    monkeypatch.setenv("LEDGER_URL", f"sqlite:///{tmp_path}/ledger.db")

    refused = sluice("upkeep")

    assert 1 == refused.exit_code
    advises(
        "Set WAREHOUSE_URL, or WAREHOUSE_URL_LAKE beside it, to a lake such as lake:///.sluice/lake",
        refused.stderr.strip(),
    )
    monkeypatch.setenv("WAREHOUSE_URL_LAKE", f"lake:///{tmp_path}/lake")
    assert 0 == sluice("upkeep").exit_code
    assert [] == tend_all(open_test_app(tmp_path))


def test_the_timer_tends_every_table_and_alerts_about_what_failed(loaded, tmp_path, caplog):
    """A table that cannot be read stops no other."""
    log = tmp_path / "lake" / "coolr" / "location" / "_delta_log"
    for file in log.glob("*.json"):
        file.write_text("no log")

    done = {one.table.table: one for one in tend_all(loaded)}

    assert done["coolr.location"].error
    assert (FILES, 1) == (done["ingest.run"].table.files_before, done["ingest.run"].table.files_after)
    assert "Upkeep of 1 tables of the data lake failed" in caplog.text

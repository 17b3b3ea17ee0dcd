"""Upkeep of a lake in a container of Azurite: what it deletes there and keeps, by the server's clock."""

from __future__ import annotations

import datetime as dt
import json
import re

from collections import Counter

import duckdb
import pytest

from deltalake import DeltaTable

from shared.jobs.upkeep import tend_all
from shared.pipeline.upkeep import upkeep
from shared.settings import Settings
from shared.warehouses import Upkeep
from shared.warehouses.lake.blob import BlobStorage
from tests.exports import Clock, open_test_app
from tests.warehouses.lake.lake_tables import load

FILES = 4
WEEK = dt.timedelta(days=7)
TABLE = "lake/coolr/location/"


@pytest.fixture
def env(azurite, container):
    return {
        "WAREHOUSE_URL": f"lake+{azurite.blob_url}/{container.container_name}/lake",
        "STORAGE_CONNECTION_STRING": azurite.connection_string,
    }


@pytest.fixture
def app(tmp_path, env):
    return open_test_app(tmp_path, Clock(), **env)


@pytest.fixture
def loaded(app, tmp_path):
    """An app whose table of locations has a file for each of four loads."""
    for number in range(FILES):
        load(app, tmp_path, number)
    return app


@pytest.fixture
def let_days_pass(container, monkeypatch):
    """Makes all that is there now as much older as if the server had written it so many days earlier."""
    passed, true = Counter(), BlobStorage.entries

    def entries(storage, prefix):
        for entry in true(storage, prefix):
            yield entry._replace(age=entry.age + passed[f"lake/{entry.path}", entry.size] * 86_400)

    def let_pass(days):
        passed.update({(blob.name, blob.size): days for blob in container.list_blobs()})

    monkeypatch.setattr(BlobStorage, "entries", entries)
    return let_pass


def tend(app, keep=WEEK, **options):
    found = {one.table.table: one for one in upkeep(app.runner, ["coolr.location"], Upkeep(keep=keep, **options))}
    assert [] == [one.error for one in found.values() if one.error]
    return found["coolr.location"].table


@pytest.fixture
def copy(container, tmp_path):
    """Copies the table to a folder of this machine, whose name it returns."""

    def copied():
        root = tmp_path / f"copy{len(list(tmp_path.glob('copy*')))}"
        for name in names(container, TABLE):
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(container.download_blob(TABLE + name).readall())
        return root

    return copied


def names(container, below):
    return [blob.name.removeprefix(below) for blob in container.list_blobs(below)]


def data_files(container):
    return {name for name in names(container, TABLE) if not name.startswith("_")}


def contents(root, version=None):
    """By delta-rs, and the same by DuckDB from the files of that version."""
    table = DeltaTable(root, version=version)
    rows = sorted(map(repr, table.to_pyarrow_table().to_pylist()))
    found = duckdb.read_parquet(table.file_uris(), union_by_name=True, hive_partitioning=True)
    assert len(rows) == found.aggregate("count(DISTINCT LocationId)").fetchall()[0][0] == table.count()
    return rows


@pytest.mark.slow
def test_replaced_files_go_after_the_retention_and_not_before(loaded, container, copy, let_days_pass):
    """By the timer. Every version within the retention can be read, and the table then has a checkpoint."""
    loads = data_files(container)
    version = DeltaTable(copy()).version()
    let_days_pass(30)
    tend(loaded)
    before = contents(copy())
    let_days_pass(6)
    kept = tend(loaded)
    earlier = contents(copy(), version)
    let_days_pass(2)
    dry = tend(loaded, dry_run=True)
    done = {one.table.table: one for one in tend_all(loaded)}

    table = done["coolr.location"].table
    assert not [one.error for one in done.values() if one.error]
    assert (0, FILES, FILES) == (kept.deleted_files, dry.deleted_files, table.deleted_files)
    assert dry.deleted_bytes == table.deleted_bytes > 0
    assert before == earlier == contents(copy())
    assert 1 == len(data_files(container) - loads) == len(data_files(container))
    assert [name for name in names(container, TABLE) if "checkpoint.parquet" in name]


@pytest.mark.slow
def test_what_another_writer_has_not_committed_yet_stays(loaded, container, let_days_pass):
    """However long ago this machine's clock, or that of whoever replaced a file, says it was."""
    let_days_pass(30)
    tend(loaded)
    for name in names(container, f"{TABLE}_delta_log/"):
        text = container.download_blob(f"{TABLE}_delta_log/{name}").readall()
        if name.endswith(".json"):
            old = re.sub(rb'("deletionTimestamp":)\d+', rb"\g<1>1000000000000", text)
            container.upload_blob(f"{TABLE}_delta_log/{name}", old, overwrite=True)
        elif "checkpoint" in name:
            container.delete_blob(f"{TABLE}_delta_log/{name}")
    before = data_files(container)
    container.upload_blob(f"{TABLE}sluice-new.parquet", b"PAR1 of a writer")
    loaded.now.forward(days=60)

    now = tend(loaded)
    kept = data_files(container)
    let_days_pass(8)
    later = tend(loaded)

    assert (0, FILES + 1) == (now.deleted_files, later.deleted_files)
    assert before | {"sluice-new.parquet"} == kept
    assert 1 == len(data_files(container))


class Killing:
    """Calls a method, but ends the process at one call, before or after it."""

    def __init__(self, true, *, after):
        self._true, self._after, self._left = true, after, 0

    def at(self, number):
        self._left = number

    def __call__(self, *args, **options):
        self._left -= 1
        is_last = self._left == 0
        if is_last and not self._after:
            raise KeyboardInterrupt
        result = self._true(*args, **options)
        if is_last:
            raise KeyboardInterrupt
        return result


@pytest.mark.slow
@pytest.mark.parametrize("step", [("_upload", False), ("_upload", True), ("_delete", False), ("_delete", True)])
def test_upkeep_that_is_killed_can_be_repeated(step, loaded, tmp_path, container, copy, let_days_pass, monkeypatch):
    """At each file that it writes or deletes: the table can be read all the time, and in the end is as it should be."""
    method, after = step
    tend(loaded, manifest=True)
    load(loaded, tmp_path, FILES)
    rows = contents(copy())
    let_days_pass(8)
    killing, killed = Killing(getattr(BlobStorage, method), after=after), 0
    monkeypatch.setattr(BlobStorage, method, lambda *args, **options: killing(*args, **options))  # noqa: PLW0108 - it is bound
    for number in range(1, 30):
        killing.at(number)
        try:
            tend(loaded)
        except KeyboardInterrupt:
            killed += 1
            assert rows == contents(copy())
        else:
            break

    assert killed
    assert rows == contents(copy())
    assert data_files(container) == {uri.rpartition("/")[2] for uri in DeltaTable(copy()).file_uris()}


@pytest.mark.slow
def test_old_entries_of_the_log_go_once_a_checkpoint_stands_for_them(loaded, tmp_path, container, copy, let_days_pass):
    """Versions of the last 30 days can be read still, loads go on, and a run is recognised as loaded."""
    tend(loaded)
    checkpoint = DeltaTable(copy()).version()
    let_days_pass(20)
    load(loaded, tmp_path, FILES)
    let_days_pass(20)
    rows = contents(copy())
    for _ in range(2):
        tend(loaded)

    versions = sorted(int(name[:20]) for name in names(container, f"{TABLE}_delta_log/") if name.endswith(".json"))
    assert versions[0] == checkpoint
    assert rows == contents(copy())
    assert 10 * FILES == len(contents(copy(), checkpoint))
    load(loaded, tmp_path, FILES + 1)
    assert 10 * (FILES + 2) == len(contents(copy()))
    assert FILES + 2 == len(loaded.warehouse.runs("coolr.location"))


@pytest.mark.slow
def test_a_manifest_lists_the_current_files_by_their_address(
    loaded, azurite, container, tmp_path, env, sluice, monkeypatch
):
    """By the command. Later upkeep keeps it current."""
    for name, value in {**env, "LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db"}.items():
        monkeypatch.setenv(name, value)

    shown = sluice("upkeep", "coolr.location", "--manifest", "--json")
    first = container.download_blob(f"{TABLE}_symlink_format_manifest/manifest").readall().decode().splitlines()
    load(loaded, tmp_path, FILES)
    tend(loaded)
    second = container.download_blob(f"{TABLE}_symlink_format_manifest/manifest").readall().decode().splitlines()

    assert (FILES, 1) == tuple(json.loads(shown.stdout)[0][name] for name in ("files_before", "files_after"))
    root = f"{azurite.blob_url}/{container.container_name}/{TABLE}"
    assert (1, 2) == (len(first), len(second))
    assert {line.removeprefix(root) for line in second} <= data_files(container)


def test_a_manifest_names_files_as_spark_and_fabric_do():
    settings = Settings(warehouse_url="", storage_connection_string=None)
    for host in ("dfs", "blob"):
        storage = BlobStorage(f"https://acme.{host}.core.windows.net/data/a folder?sv=1&sig=x", settings)
        assert "abfss://data@acme.dfs.core.windows.net/a folder/shop/item" == storage.address("shop/item")

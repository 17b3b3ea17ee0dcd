"""A data lake in a container of Azurite."""

from __future__ import annotations

import contextlib
import datetime as dt

from collections import defaultdict

import pytest

from azure.storage.blob import generate_container_sas

from shared.errors import ConfigError
from shared.pipeline.upkeep import upkeep
from shared.warehouses import Upkeep
from shared.warehouses.lake import feed_table
from tests.advice import advised
from tests.suites.warehouse_case import WarehouseCase, row, some
from tests.suites.warehouse_suite import WarehouseSuite
from tests.warehouses.lake import lake_tables


@pytest.fixture
def lake_settings(azurite, container):
    return {
        "WAREHOUSE_URL": f"lake+{azurite.blob_url}/{container.container_name}/some folder/lake",
        "STORAGE_CONNECTION_STRING": azurite.connection_string,
    }


@pytest.fixture
def copied(container, tmp_path):
    """Runs a statement over a copy of the lake."""

    def run(statement):
        root = tmp_path / "copy"
        for blob in container.list_blobs("some folder/lake/"):
            file = root / blob.name.removeprefix("some folder/lake/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(container.download_blob(blob.name).readall())
        found = lake_tables.query(root, statement)
        if statement.startswith("DROP TABLE"):
            for blob in list(container.list_blobs("some folder/lake/shop/item/")):
                container.delete_blob(blob.name)
        with contextlib.suppress(FileNotFoundError):
            lake_tables.forget(root)
        return found

    return run


@pytest.mark.slow
class TestLakeInAContainer(WarehouseSuite):
    """In a container of its own for each test."""

    longest_key = None
    has_views = False

    @pytest.fixture
    def settings(self, lake_settings):
        return lake_settings

    @pytest.fixture
    def query(self, copied):
        return copied


@pytest.fixture
def case(tmp_path, lake_settings, copied):
    return WarehouseCase(tmp_path, copied, **lake_settings)


def test_a_container_is_a_lake_as_a_folder_is(case):
    """Loaded, changed and looked at: the rest of what it does is the same code, and a slow suite."""
    case.loaded("full", 5, row(1, "Ada"), row(2, "Bob"), *(row(n) for n in range(10, 20)), row(None))
    run = case.loaded("delta", 6, row(2, "Bill", 6), row(3, "Cy", 6))

    assert {"inserted": 1, "updated": 1, "read": 2} == some(run)
    assert [("Ada",), ("Bill",), ("Cy",)] == case.rows("Name")[:3]
    assert 1 == len(list(case.app.warehouse.rejects("shop.item")))
    assert not [name for name in case.query("SELECT 1 FROM ingest.run") if name != (1,)]


def sas(azurite, container, permission):
    """A SAS for the container."""
    until = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    return generate_container_sas(azurite.account, container.container_name, azurite.key, None, permission, until)


def test_a_container_that_may_only_be_read_is_refused_until_it_may_be_written(azurite, container, tmp_path, case):
    """What it has can be looked at; nothing else changes. So says the doctor."""
    case.loaded("full", 5, row(1))
    url = f"lake+{azurite.blob_url}/{container.container_name}/some folder/lake"

    def signed(permission):
        settings = {"WAREHOUSE_URL": f"{url}?{sas(azurite, container, permission)}"}
        return WarehouseCase(tmp_path, case.query, **settings)

    reading = signed("rl")
    known = [run.feed for run in reading.app.warehouse.runs()]
    with advised("Ask for a link with sp={}") as doctor:
        list(reading.app.warehouse.examine())
    with pytest.raises(ConfigError, match="lacks write permission"):
        reading.load(reading.write("delta", 6, [row(2)]))
    (tended,) = upkeep(reading.app.runner, ["shop.item"], Upkeep(keep=dt.timedelta(days=7)))
    writing = signed("racwdl")
    writing.loaded("delta", 6, row(2))
    (finding,) = writing.app.warehouse.examine()

    assert ["shop.item"] == known
    assert "lacks write permission" in tended.error
    assert "\n" not in tended.error
    assert ("racwdl",) == doctor.values or doctor.error.fix.endswith("sp=racwdl")
    assert "ok" == finding.status
    assert "can be read and written" in finding.message
    assert [(1,), (2,)] == case.rows("ItemId")


def test_two_that_commit_to_a_container_at_once_take_turns(case, monkeypatch):
    """The version that one has uploaded is not replaced by the other's: that merges anew."""
    case.loaded("full", 5, row(1))
    true, others = feed_table._commit, []

    def late(*args):
        if not others:
            others.append(True)
            case.loaded("delta", 7, row(1, "Ida", 7), table="item")
        return true(*args)

    monkeypatch.setattr(feed_table, "_commit", late)
    monkeypatch.setattr(case.app.warehouse, "_merging", defaultdict(contextlib.nullcontext))
    run = case.loaded("delta", 6, row(1, "Eva", 6), row(2))

    assert {"inserted": 1, "stale": 1, "read": 2} == some(run)
    assert [("Ida",), ("Ada",)] == case.rows("Name")

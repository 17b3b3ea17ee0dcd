"""A data lake in a container of Azurite."""

from __future__ import annotations

import contextlib

import pytest

from tests.suites.warehouse_case import WarehouseCase, row, some
from tests.suites.warehouse_suite import WarehouseSuite
from tests.warehouses.lake import lake_tables


@pytest.fixture
def settings(azurite, container):
    return {
        "WAREHOUSE_URL": f"lake+{azurite.blob_url}/{container.container_name}/somefolder/lake",
        "STORAGE_CONNECTION_STRING": azurite.connection_string,
    }


@pytest.fixture
def copied(container, tmp_path):
    """Runs a statement over a copy of the lake."""

    def run(statement):
        root = tmp_path / "copy"
        for blob in container.list_blobs("somefolder/lake/"):
            file = root / blob.name.removeprefix("somefolder/lake/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(container.download_blob(blob.name).readall())
        found = lake_tables.query(root, statement)
        if statement.startswith("DROP TABLE"):
            for blob in list(container.list_blobs("somefolder/lake/shop/item/")):
                container.delete_blob(blob.name)
        with contextlib.suppress(FileNotFoundError):
            lake_tables.forget(root)
        return found

    return run


@pytest.mark.slow
class TestLakeInAContainer(WarehouseSuite):
    """In a container of its own for each test."""

    longest_key = None

    @pytest.fixture
    def query(self, copied):
        return copied


@pytest.fixture
def case(tmp_path, settings, copied):
    return WarehouseCase(tmp_path, copied, **settings)


def test_a_container_is_a_lake_as_a_folder_is(case):
    """Loaded, changed and looked at: the rest of what it does is the same code, and a slow suite."""
    case.loaded("full", 5, row(1, "Ada"), row(2, "Bob"), *(row(n) for n in range(10, 20)), row(None))
    run = case.loaded("delta", 6, row(2, "Bill", 6), row(3, "Cy", 6))

    assert {"inserted": 1, "updated": 1, "read": 2} == some(run)
    assert [("Ada",), ("Bill",), ("Cy",)] == case.rows("Name")[:3]
    assert 1 == len(list(case.app.warehouse.rejects("shop.item")))
    assert not [name for name in case.query("SELECT 1 FROM ingest.run") if name != (1,)]

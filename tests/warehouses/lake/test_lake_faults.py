"""A lake in a container when the storage fails between data files and commit, and what may only be read."""

from __future__ import annotations

import re

import pytest
import stamina

from tests.servers.proxy import Fault, Proxy, busy
from tests.suites.warehouse_case import WarehouseCase, row, some
from tests.warehouses.lake import lake_tables

LOG = re.compile(r"PUT /\S*/shop/item/_delta_log/\S*\.json")
DATA = re.compile(r"PUT /\S*/shop/item/sluice-")


@pytest.fixture
def proxy(azurite):
    with Proxy.to(azurite.blob_url) as found, stamina.set_testing(True, attempts=3, cap=True):
        yield found


@pytest.fixture
def case(tmp_path, azurite, container, proxy):
    def query(statement):
        root = tmp_path / "copy"
        for blob in container.list_blobs("lake/"):
            file = root / blob.name.removeprefix("lake/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(container.download_blob(blob.name).readall())
        found = lake_tables.query(root, statement)
        lake_tables.forget(root)
        return found

    through = re.sub(r"(BlobEndpoint=http://127\.0\.0\.1:)\d+", rf"\g<1>{proxy.port}", azurite.connection_string)
    url = f"lake+{proxy.through(azurite.blob_url)}/{container.container_name}/lake"
    return WarehouseCase(tmp_path, query, WAREHOUSE_URL=url, STORAGE_CONNECTION_STRING=through)


def data_files(container):
    return [blob.name for blob in container.list_blobs("lake/shop/item/") if blob.name.endswith(".parquet")]


@pytest.mark.parametrize("what", [LOG, pytest.param(DATA, marks=pytest.mark.slow)], ids=["the commit", "a data file"])
def test_a_storage_that_fails_before_the_commit_leaves_nothing_behind(case, container, proxy, what):
    """The run fails, readers see the version before, and the same work succeeds later."""
    case.loaded("full", 5, row(1))
    file = case.write("delta", 6, [row(1, "Ida", 6), row(2)])
    fault = Fault(lambda request: bool(what.match(request.line)), times=100, answer=busy(503))
    proxy.faults.append(fault)

    failed = case.load(file)
    seen, files = case.rows("Name"), data_files(container)
    proxy.faults.clear()
    run = case.load(file).run

    assert failed.failed
    assert "\n" not in failed.run.error
    assert 3 <= len(fault.met)
    assert ([("Ada",)], 1) == (seen, len(files))
    assert {"inserted": 1, "updated": 1, "read": 2} == some(run)
    assert [("Ida",), ("Ada",)] == case.rows("Name")


@pytest.mark.parametrize("what", [LOG, pytest.param(DATA, marks=pytest.mark.slow)], ids=["the commit", "a data file"])
def test_a_commit_whose_answer_is_lost_is_made_once(case, proxy, what):
    """The storage has the version, the connection is reset: the repetition finds its own files there."""
    case.loaded("full", 5, row(1))
    proxy.faults.append(Fault(lambda request: bool(what.match(request.line)), cut_after=0))

    run = case.loaded("delta", 6, row(1, "Ida", 6), row(2))

    assert 1 == len(proxy.faults[0].met)
    assert {"inserted": 1, "updated": 1, "read": 2} == some(run)
    assert [("Ida",), ("Ada",)] == case.rows("Name")
    assert [(2, 2)] == case.query("SELECT count(*), count(DISTINCT id) FROM ingest.run")

"""A folder of part files counts as complete once it has stopped changing, and not before."""

from __future__ import annotations

import os

import pyarrow as pa
import pytest

from shared.pipeline.folder import LoadOptions
from tests.exports import Clock, load_exports, open_test_app, write_parquet

CATALOG = """
[system]
name = "coolr"
source = "exports"
[tables]
outlet = { keys = ["LocationId"] }
"""


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def app(tmp_path, clock):
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog/coolr.toml").write_text(CATALOG)
    return open_test_app(tmp_path, clock, CATALOG_PATH=str(tmp_path / "catalog"), SETTLE="600")


def _dump(tmp_path, stamp, ids, *, arrived):
    path = write_parquet(tmp_path / f"exports/{stamp}/outlet_dump_1/7f3a.parquet", pa.table({"LocationId": ids}))
    os.utime(path, (arrived.timestamp(), arrived.timestamp()))
    return str(tmp_path / "exports" / stamp)


def test_absences_count_once_a_folder_has_settled(app, clock, tmp_path):
    """Loaded too early it is a delta; loaded again later, it is the full it is, though its files are known."""
    before = clock.now
    list(load_exports(app, _dump(tmp_path, "20260201", [1, 2, 3], arrived=before), LoadOptions(kind="full")))
    folder = _dump(tmp_path, "20260202", [1, 2], arrived=before)

    (early,) = load_exports(app, folder, LoadOptions())
    clock.forward(minutes=20)
    (later,) = load_exports(app, folder, LoadOptions())
    (again,) = load_exports(app, folder, LoadOptions())

    assert (False, 0) == (early.run.complete, early.run.absent)
    assert "part files may still be arriving" in early.run.note
    assert (True, 1) == (later.run.complete, later.run.absent)
    assert again.skipped

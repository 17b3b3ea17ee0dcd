"""A warehouse and a ledger that the first version of Sluice wrote, as whoever upgrades has them.

tests/data/first_version has layout 1 of the ledger, version 2 of schema ingest, and the newest of the three files that
were loaded.
"""

from __future__ import annotations

import gzip
import shutil

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.exports import export_path, load_exports, open_test_app, write_parquet

WRITTEN = Path(__file__).parents[1] / "data/first_version"
KNOWN = ["/exports/Full/Contoso/20260224000000", "/exports/Delta/Contoso/20260224060000"]


@pytest.fixture
def app(tmp_path):
    for name in ("ledger.db", "warehouse.duckdb"):
        (tmp_path / name).write_bytes(gzip.decompress((WRITTEN / f"{name}.gz").read_bytes()))
    return open_test_app(tmp_path)


def test_history_and_rejects_are_there(app):
    newest, middle, first = app.warehouse.runs("coolr.location")

    assert ("full", 300, 300) == (first.kind, first.read, first.inserted)
    assert ("delta", 35, 3, 28, 3) == (middle.kind, middle.read, middle.inserted, middle.updated, middle.deleted)
    assert ("delta", 55, 20, 1, 32, 2) == (
        newest.kind, newest.read, newest.updated, newest.undeleted, newest.unchanged, newest.superseded,
    )  # fmt: skip
    assert ["key_null"] == [one["code"] for one in app.warehouse.rejects("coolr.location")]


def test_what_was_loaded_then_is_known_and_what_is_new_is_merged(app, tmp_path):
    """The same file under another path, whose work another version names, changes no row."""
    old = tmp_path / "exports/Delta/Contoso/20260224120000/location.parquet"
    old.parent.mkdir(parents=True)
    shutil.copy(WRITTEN / "location.parquet", old)
    rows = pq.read_table(old)
    new_names = pa.array([f"{name}, new" for name in rows["Name"].to_pylist()])
    changed = rows.set_column(rows.schema.get_field_index("Name"), "Name", new_names)
    write_parquet(export_path(tmp_path / "exports", "Delta", "20260224180000", "location", "Contoso"), changed)

    again, new = load_exports(app, tmp_path / "exports")

    assert again.run is None or (0, 0) == (again.run.inserted, again.run.updated)
    assert (None, "done") == (new.run.error, new.run.status)
    assert 0 < new.run.updated == len({*rows["LocationId"].to_pylist()}) - new.run.deleted
    assert "2026-02-24T11:00:00.000000" == app.ledger.watermark("coolr.location").value

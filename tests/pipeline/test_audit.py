"""An audit says what a load would do, and does nothing."""

from __future__ import annotations

import datetime as dt

from dataclasses import replace

import pyarrow as pa
import pytest

from shared.pipeline.folder import LoadOptions, audits
from tests.exports import export_path, load_exports, open_test_app, write_parquet

DAY = dt.datetime(2026, 2, 20)  # noqa: DTZ001 - as exports have it


@pytest.fixture
def app(tmp_path):
    return open_test_app(tmp_path)


def _file(tmp_path, kind="Full", stamp="20260224000000", **columns):
    table = {
        "LocationId": [1, 2, 3],
        "ModifiedOn": [DAY, DAY + dt.timedelta(days=1), None],
        "IsDeleted": [False, True, None],
    }
    return write_parquet(export_path(tmp_path / "exports", kind, stamp, "location"), pa.table({**table, **columns}))


def test_counts_and_span_of_a_file(app, tmp_path):
    """A row without a flag is active; NULL is no part of the span."""
    (found,) = audits(app.runner, app.settings, str(_file(tmp_path)), LoadOptions())

    assert (3, 2, 1, 0) == (found.rows, found.active, found.deleted, found.rejected)
    assert ("2026-02-20T00:00:00.000000", "2026-02-21T00:00:00.000000") == (found.lowest, found.highest)
    assert ["there is no table yet"] == found.differences


def test_audit_changes_nothing(app, tmp_path):
    """Neither table nor history nor ledger know of it."""
    list(audits(app.runner, app.settings, str(_file(tmp_path)), LoadOptions()))

    assert [] == app.warehouse.runs()
    assert {} == app.warehouse.profile(app.systems["coolr"].feeds()[0]).columns


def test_differences_are_what_a_load_would_do(app, tmp_path):
    """New, missing, widened and refused columns, each in words."""
    list(
        load_exports(
            app, str(_file(tmp_path, A=pa.array([1, 2, 3], pa.int32()), B=[1, 2, 3], C=["x", "y", "z"])), LoadOptions()
        )
    )
    file = _file(tmp_path, "Delta", "20260224060000", A=[1, 2, 3], B=["x", "y", "z"], D=[1.0, 2.0, 3.0])

    (found,) = audits(app.runner, app.settings, str(file), LoadOptions())

    assert [
        "A would be widened from integer to bigint",
        "B is bigint in the table and text here: would be refused",
        "new column D (double)",
        "column C is missing here: keeps its values",
    ] == found.differences


def test_a_declared_type_is_announced_as_a_conversion(app, tmp_path):
    """As a load would do it."""
    list(load_exports(app, str(_file(tmp_path, B=[1, 2, 3])), LoadOptions()))
    file = _file(tmp_path, "Delta", "20260224060000", B=["x", "y", "z"])
    options = {"keys": ("LocationId",), "cursor": "ModifiedOn", "deleted": "IsDeleted", "types": {"b": "text"}}
    system = replace(app.systems["coolr"], tables={"location": options})

    (found,) = audits(replace(app.runner, systems={"coolr": system}), app.settings, str(file), LoadOptions())

    assert [
        "B is bigint in the table and text here: would be converted to it, if every stored value fits"
    ] == found.differences


def test_damaged_file_is_refused_as_a_load_would(app, tmp_path):
    """With the file's name and what to do."""
    file = _file(tmp_path)
    file.write_bytes(file.read_bytes()[:100])

    (found,) = audits(app.runner, app.settings, str(file), LoadOptions())

    assert "location.parquet is damaged or not Parquet" in found.error

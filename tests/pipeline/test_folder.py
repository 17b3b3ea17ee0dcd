"""What is taken of a folder, what stands in for what cannot be taken, and what is refused before anything is read."""

from __future__ import annotations

import datetime as dt
import io

from dataclasses import replace

import pyarrow as pa
import pytest

from shared.errors import ConfigError
from shared.ledger import open_ledger
from shared.pipeline.feeds import known_feed
from shared.pipeline.folder import LoadOptions
from shared.pipeline.replay import replay, write_rejects
from shared.settings import Settings
from shared.warehouses import open_warehouse
from tests.exports import export_path, load_exports, open_test_app, write_parquet

DAY = dt.datetime(2026, 1, 20)  # noqa: DTZ001 - as exports have it
FEED = "coolr.location"


@pytest.fixture
def app(tmp_path):
    return open_test_app(tmp_path)


def _export(tmp_path, kind, stamp, ids, **columns):
    rows = {"LocationId": pa.array(ids, pa.int64()), "ModifiedOn": [DAY] * len(ids), "IsDeleted": [False] * len(ids)}
    path = write_parquet(export_path(tmp_path / "exports", kind, stamp, "location"), pa.table({**rows, **columns}))
    return str(path.parent)


def _load(app, location, **options):
    return list(load_exports(app, str(location), LoadOptions(**options)))


def test_full_that_is_refused_gives_way_to_the_next_older(app, tmp_path):
    """Its deltas must not land on nothing; what is said of the older one does not name the refused one."""
    _export(tmp_path, "Full", "20260201", range(1, 11))
    _export(tmp_path, "Full", "20260202", [1, None, None])
    _export(tmp_path, "Delta", "20260203", [77])

    results = _load(app, tmp_path / "exports")

    assert ["failed", "done", "done"] == [result.run.status for result in results]
    assert 11 == app.warehouse.profile(app.systems["coolr"].feeds()[0]).rows


def test_delta_is_not_taken_for_a_full(app, tmp_path):
    """Whatever it does not mention would be deleted."""
    with pytest.raises(ConfigError, match="is a delta: loaded as a full it would delete"):
        _load(app, _export(tmp_path, "Delta", "20260201", [1]), kind="full")


def test_one_time_is_not_given_to_several_exports(app, tmp_path):
    """They would lose their order."""
    _export(tmp_path, "Full", "20260201", [1])
    _export(tmp_path, "Delta", "20260202", [1])

    with pytest.raises(ConfigError, match="more than one export"):
        _load(app, tmp_path / "exports", exported_at="2026-02-10T00:00:00.000000")


def test_export_from_the_future_is_refused(app, tmp_path):
    """Every later file would be late, for ever."""
    with pytest.raises(ConfigError, match="from 2062-02-24T00:00:00, which is in the future"):
        _load(app, _export(tmp_path, "Full", "20620224", [1]))


def test_several_dumps_of_one_time_are_refused(app, tmp_path):
    """Nobody knows whether they are parts or versions of one another."""
    for number in (1, 2):
        write_parquet(tmp_path / f"exports/20260201/location_dump_{number}/a.parquet", pa.table({"LocationId": [1]}))

    with pytest.raises(ConfigError, match=r"several dumps of one time: .*location_dump_1, .*location_dump_2"):
        _load(app, tmp_path / "exports")


def test_stray_file_is_named_and_passed_over(app, tmp_path):
    """A copy somebody left in the root does not stop the exports."""
    _export(tmp_path, "Full", "20260201", [1])
    write_parquet(tmp_path / "exports/backup/location.parquet", pa.table({"LocationId": [1]}))

    stray, taken = _load(app, tmp_path / "exports")

    assert "does not say whether it is a full or a delta" in stray.skipped
    assert "done" == taken.run.status


def test_table_that_is_not_there_is_an_error(app, tmp_path):
    """A typo among several tables is found at once."""
    with pytest.raises(ConfigError, match="no Parquet file for ordr in that folder"):
        _load(app, _export(tmp_path, "Full", "20260201", [1]), tables=("location", "ordr"))


def test_client_that_is_given_goes_with_exports_that_name_none(app, tmp_path):
    """So that the data of two clients does not end in one table."""
    _load(app, _export(tmp_path, "Full", "20260201", [1]))
    path = write_parquet(
        tmp_path / "loose/location.parquet", pa.table({"LocationId": [1], "ModifiedOn": [DAY], "IsDeleted": [0]})
    )

    (result,) = _load(app, path, kind="delta", client="Beta")

    assert "holds the data of client 'Acme', this is of 'Beta'" in result.run.error


def test_work_whose_run_the_warehouse_lost_is_taken_again(app, tmp_path):
    """A ledger that outlives its warehouse must not leave an empty one empty."""
    folder = _export(tmp_path, "Full", "20260201", [1, 2])
    _load(app, folder)
    other = open_warehouse(replace(app.settings, warehouse_url=f"duckdb:///{tmp_path}/other.duckdb"))

    (result,) = _load(replace(app, warehouse=other), folder)

    assert ("done", 2) == (result.run.status, result.run.inserted)
    assert "the warehouse has no such run" in result.run.note


def test_dry_run_says_so_and_leaves_the_rejects_of_a_real_one(app, tmp_path):
    """It has an id of its own; of several exports the later ones are compared with the warehouse as it is."""
    folder = _export(tmp_path, "Full", "20260201", [1, None])
    _load(app, folder)
    before = list(app.warehouse.rejects(FEED))
    _export(tmp_path, "Delta", "20260203", [77])

    refused, dry = _load(app, tmp_path / "exports", dry_run=True)

    assert (1, before) == (len(before), list(app.warehouse.rejects(FEED)))
    assert ("failed", "dry") == (refused.run.status, dry.run.status)
    assert "without the exports that would be loaded before it" in dry.run.note


def test_rejects_of_a_refused_load_can_be_corrected(app, tmp_path):
    """Above the share is when people correct."""
    _load(app, _export(tmp_path, "Full", "20260201", [1, None]))
    corrected = tmp_path / "corrected.csv"
    with corrected.open("wb") as out:
        write_rejects(app.warehouse, FEED, None, out)
    corrected.write_text(corrected.read_text().replace('no key",,', 'no key","9",'))

    (result,) = replay(app.runner, FEED, corrected)

    assert ("done", 1) == (result.run.status, result.run.inserted)


def test_row_with_two_bad_values_is_one_line_to_correct(app, tmp_path):
    """On two lines, each would undo the correction of the other."""
    odd = float("nan")
    _load(app, _export(tmp_path, "Delta", "20260201", [1], A=[odd], B=[odd]))
    out = io.BytesIO()
    write_rejects(app.warehouse, FEED, None, out)

    lines = out.getvalue().decode().splitlines()

    assert 2 == len(lines)
    assert '"A; B"' in lines[1]


def test_column_may_have_the_name_of_a_mark_of_the_sql_library(app, tmp_path):
    """SQLAlchemy looks for some words in the finished text of a statement."""
    folder = _export(tmp_path, "Full", "20260201", [1, 1], **{"__[POSTCOMPILE_y]": ["a", "b"]})
    _load(app, folder)

    (again,) = _load(app, _export(tmp_path, "Delta", "20260202", [1], **{"__[POSTCOMPILE_y]": ["c"]}))

    assert ("done", 1) == (again.run.status, again.run.updated)


@pytest.mark.parametrize("opened", [
    lambda url: open_warehouse(Settings(warehouse_url=url)),
    lambda url: open_ledger(url, lock_timeout=0).watermark("feed"),
])  # fmt: skip
def test_connection_string_is_not_repeated(opened):
    """It may hold a key, whatever is wrong with it."""
    with pytest.raises(ConfigError) as caught:
        opened("DefaultEndpointsProtocol=https;AccountKey=SECRET==")

    assert "SECRET" not in str(caught.value)


def test_feed_nobody_knows_is_an_error(app):
    """A typo must not look like a feed without history."""
    with pytest.raises(ConfigError, match=r"there is no feed 'coolr\.loction'"):
        known_feed("coolr.loction", app.systems, app.warehouse)


def test_reading_makes_no_warehouse(app, tmp_path):
    """In the wrong folder, nothing is left behind."""
    app.warehouse.runs()
    list(app.warehouse.rejects(FEED))
    app.warehouse.profile(app.systems["coolr"].feeds()[0])

    assert not (tmp_path / "warehouse.duckdb").exists()

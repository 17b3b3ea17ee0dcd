"""Files that DuckDB reads by itself end in a lake as those do whose rows are staged."""

from __future__ import annotations

import shutil

from pathlib import Path

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

import shared

from shared.pipeline.folder import LoadOptions
from shared.pipeline.progress import Progress
from shared.sources.exports import parquet
from tests.exports import START, Clock, load_exports, open_test_app
from tests.warehouses.duckdb.test_direct import DAY, VALUES, Lab, examined, row
from tests.warehouses.lake import lake_tables

__all__ = ["examined"]

_SYSTEMS = Path(str(shared.__file__)).parent / "catalog" / "systems"


class LakeLab(Lab):
    """The same exports, into a lake."""

    def __init__(self, folder, mode="current"):
        self.folder, self.clock = folder, Clock(START + 30 * DAY)
        shutil.copytree(_SYSTEMS, folder / "catalog")
        system = folder / "catalog" / "coolr.toml"
        text = system.read_text(encoding="utf-8")
        system.write_text(text.replace("[defaults]\n", f'[defaults]\nlake = "{mode}"\n'), encoding="utf-8")
        places = {"WAREHOUSE_URL": f"lake:///{folder}/lake", "CATALOG_PATH": str(folder / "catalog")}
        self.app = open_test_app(folder, self.clock, **places)

    def rows(self, columns="*"):
        return lake_tables.query(self.folder / "lake", f"SELECT {columns} FROM coolr.location ORDER BY ALL")


@pytest.fixture(params=["current", "append"])
def lake(tmp_path, request):
    return LakeLab(tmp_path, request.param)


def test_a_plain_file_is_read_by_duckdb(lake, examined):
    """And nothing of it is left in the lake's staging."""
    for number in (1, 2):
        run = lake.load(lake.write([row(1), row(number + 1)], number, "delta"))
        assert ("done", 2, 0) == (run.status, run.read, run.rejected)

    assert [True, True] == examined
    assert [(1,), (2,), (3,)] == sorted(set(lake.rows("LocationId")))
    assert [] == list((lake.folder / "lake").rglob("*.file.json*"))


def test_a_file_with_a_row_to_reject_is_staged(lake, examined):
    lake.load(lake.write([row(1), *(row(n) for n in range(10, 30)), row(None)]))

    assert [False] == examined
    assert 1 == len(list(lake.app.warehouse.rejects("coolr.location")))


def test_a_file_that_changes_before_the_merge_is_not_merged(lake, examined):
    """Nothing is committed, nor left: other rows than those that were examined would be."""
    lake.load(lake.write([row(1)]))
    path = lake.write([row(1), row(2)], number=2)
    before = set((lake.folder / "lake" / "coolr").rglob("*.parquet"))

    class Meddler(Progress):
        def phase(self, label):
            if label.endswith("merging"):
                lake.write([row(1), row(9)], number=2)

    (result,) = load_exports(lake.app, str(path.parent), LoadOptions(system="coolr"), Meddler())

    assert "changed while it was loaded. Load it again" in result.run.error
    assert before == set((lake.folder / "lake" / "coolr").rglob("*.parquet"))
    lake.load(path)
    assert [(1,), (9,)] == sorted(set(lake.rows("LocationId")))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["current", "append"])
def test_both_ways_end_in_the_same_rows_and_counts(tmp_path_factory, mode):
    @settings(max_examples=8, deadline=None)
    @given(
        files=st.lists(st.lists(VALUES, min_size=1, max_size=8), min_size=1, max_size=3),
        group=st.sampled_from([1, 3, 100]),
    )
    def check(files, group):
        assert _end(tmp_path_factory.mktemp("lab"), mode, files, group, 1) == _end(
            tmp_path_factory.mktemp("lab"), mode, files, group, 10**9
        )

    check()


def _end(folder, mode, files, group, least):
    """Counts, rejects and rows after *files*; DuckDB reads those of *least* rows or more by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "DIRECT_ROWS", least)
        lake, runs = LakeLab(folder, mode), []
        for number, file in enumerate(files, start=1):
            path = lake.write([row(key, **one) for key, one in enumerate(file)], number, row_group_size=group)
            run = lake.load(path, max_delete_share=1.0)
            counts = (run.inserted, run.updated, run.unchanged, run.absent, run.deleted, run.undeleted, run.stale)
            runs.append((run.status, run.read, run.rejected, run.high, *counts))
        rejects = [(one["column"], one["code"], one["raw"]) for one in lake.app.warehouse.rejects("coolr.location")]
        stored = lake.rows("* EXCLUDE (SyncedBy)") if any(run[4] for run in runs) else []
    return runs, sorted(map(str, rejects)), str(stored)

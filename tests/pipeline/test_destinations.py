"""Feeds that go to two warehouses: read once, merged in each, and each one catches up by itself."""

from __future__ import annotations

import datetime as dt
import signal
import subprocess
import sys

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError, DataError, TransientError
from shared.model import FeedName
from shared.pipeline import csv as csv_files
from shared.pipeline import sync as syncing
from shared.pipeline.folder import LoadOptions
from shared.pipeline.sync import SyncOptions
from shared.sources.exports.parquet import ExportsSource
from tests.exports import START, export_path, load_exports, open_test_app, write_parquet
from tests.quick import quick_if
from tests.standins.fakes import Calls, MemoryPullSource, Watched

ROOT = Path(__file__).parents[2]
CATALOG = """
[system]
name = "coolr"
source = "exports"

[defaults]
cursor = "ModifiedOn"
deleted = "IsDeleted"
destinations = ["main", "lake"]
max_delete_share = 1.0

[undeclared]
keys = ["{table}Id"]

[tables]
alone = { keys = ["AloneId"], destinations = ["main"] }
"""
SHOP = """
[system]
name = "shop"
source = "sql"

[defaults]
cursor = "At"
destinations = ["main", "lake"]

[tables]
item = { keys = ["Id"], max_delete_share = 1.0 }
kind = { keys = ["Id"], cursor = false }
"""
LEADS = """
[system]
name = "leads"
source = "csv"

[tables.lead]
keys = ["id"]
destinations = ["main", "lake"]
columns = { id = { type = "bigint" }, name = {} }
"""
SCHEMA = pa.schema([("Id", pa.int64()), ("At", pa.int64()), ("Name", pa.string())])


@pytest.fixture
def catalog(tmp_path):
    folder = tmp_path / "catalog"
    folder.mkdir()
    for name, text in (("coolr", CATALOG), ("shop", SHOP), ("leads", LEADS)):
        (folder / f"{name}.toml").write_text(text)
    return str(folder)


@pytest.fixture
def app(tmp_path, catalog):
    return open_test_app(
        tmp_path, CATALOG_PATH=catalog, WAREHOUSE_URL_LAKE=f"duckdb:///{tmp_path}/lake.duckdb", SYNC_ROWS="3",
        SHOP_DATABASE_URL="mysql://u:p@h/d",
    )  # fmt: skip


def export(tmp_path, kind, stamp, rows, table="location"):
    """The folder of an export with (key, version) pairs."""
    moment = START.replace(tzinfo=None) - dt.timedelta(days=50)
    data = {
        f"{table.capitalize()}Id": pa.array([key for key, _ in rows], pa.int64()),
        "ModifiedOn": [moment + dt.timedelta(minutes=version) for _, version in rows],
        "IsDeleted": [version % 5 == 4 for _, version in rows],
    }
    path = write_parquet(export_path(tmp_path / "exports", kind, stamp, table), pa.table(data))
    return str(path.parent)


def load(app, tmp_path, **options):
    found = list(load_exports(app, tmp_path / "exports", LoadOptions(**options)))
    return [(one.destination, one.skipped or one.run.status) for one in found if one.run or one.skipped]


def content(warehouse, system="coolr", table="location"):
    """The rows of a table, without the ids of runs and when they came in."""
    columns, rows = warehouse.table_rows(system, table)
    known = [n for n, name in enumerate(columns) if name not in ("SyncedBy", "SyncedAt", "FirstSyncAt")]
    return sorted(tuple(str(row[n]) for n in known) for row in rows)


def is_equal(app, system="coolr", table="location"):
    main, lake = (content(one, system, table) for one in (app.warehouse, app.others["lake"]))
    return bool(main) and main == lake


@pytest.fixture
def reads(monkeypatch):
    """The slices that were read of exports, by file."""
    found, read = Counter(), ExportsSource.read

    def counted(self, part):
        found[part.origin] += 1
        return read(self, part)

    monkeypatch.setattr(ExportsSource, "read", counted)
    return found


class Down:
    """A warehouse that cannot be reached while ``app.down`` says so, from some call on."""

    def __init__(self, port, fails):
        self._port, self._fails = port, fails

    def __getattr__(self, name):
        found = getattr(self._port, name)
        if not callable(found) or name.startswith("_"):
            return found

        def call(*given, **named):
            if name in self._fails:
                raise TransientError("the server is away", fix="Wait for it")
            return found(*given, **named)

        return call


def with_lake(app, lake):
    return replace(app, others={"lake": lake})


# -- files


def test_an_export_is_read_once_and_merged_in_each(app, tmp_path, reads):
    export(tmp_path, "Full", "20260201", [(n, 0) for n in range(20)])
    export(tmp_path, "Delta", "20260202", [(1, 4), (30, 1)])

    assert [("main", "done"), ("lake", "done")] * 2 == load(app, tmp_path)
    assert is_equal(app)
    assert [1, 1] == list(reads.values())
    runs = [one.runs("coolr.location") for one in (app.warehouse, app.others["lake"])]
    assert not {run.id for run in runs[0]} & {run.id for run in runs[1]}


def test_duckdb_and_postgresql_end_with_the_same_rows(tmp_path, catalog, postgres, database, reads):
    app = open_test_app(
        tmp_path, CATALOG_PATH=catalog, WAREHOUSE_URL_LAKE=postgres.url(database), SHOP_DATABASE_URL="mysql://u:p@h/d"
    )  # fmt: skip
    export(tmp_path, "Full", "20260201", [(n, 0) for n in range(3_000)])
    export(tmp_path, "Delta", "20260202", [(1, 4), (30, 1)])
    load(with_lake(app, Down(app.others["lake"], {"merge"})), tmp_path)
    assert ("lake", "done") in load(app, tmp_path)
    shop = Shop(app)
    shop.put(*((n, n) for n in range(8)))
    shop.sync()

    assert is_equal(app)
    assert is_equal(app, "shop", "item")
    assert {2} == set(reads.values())  # once for both, and once for the one that failed


def test_a_feed_goes_where_its_line_says(app, tmp_path):
    export(tmp_path, "Full", "20260201", [(1, 0)], table="alone")

    assert [("main", "done")] == load(app, tmp_path)
    assert [] == app.others["lake"].runs()


@pytest.mark.parametrize(
    "call",
    [quick_if(call in ("stage", "merge"), call) for call in ("owned", "stage", "reject", "merge", "tidy", "run")],
)
def test_a_destination_that_is_down_stops_no_other_and_catches_up(app, tmp_path, call, reads):
    export(tmp_path, "Full", "20260201", [(n, 0) for n in range(20)])
    load(app, tmp_path)
    export(tmp_path, "Delta", "20260202", [(1, 4), (30, 1)])

    result = load(with_lake(app, Down(app.others["lake"], {call})), tmp_path)[-2:]
    assert ("main", "done") == result[0]
    assert (result[1][1] == "failed") == (call not in ("run", "tidy"))

    after = load(app, tmp_path)
    assert ("main", "already loaded (--again repeats it)") in after
    assert is_equal(app)


KILLED = """
import sys

from dataclasses import replace
from pathlib import Path

from tests.exports import load_exports, open_test_app
from tests.standins.fakes import Fatal, Watched
from tests.quick import quick_if

folder, exports, catalog, lake = sys.argv[1:]
app = open_test_app(Path(folder), CATALOG_PATH=catalog, WAREHOUSE_URL_LAKE=lake)


class Waiting(Fatal):
    def through(self, name, call):
        while name.endswith(".merge") and not app.warehouse.runs("coolr.location"):
            pass
        return super().through(name, call)


list(load_exports(replace(app, others={"lake": Watched(app.others["lake"], Waiting("merge", "before"))}), exports))
"""


def test_a_process_that_is_killed_between_two_merges_is_healed_by_the_next(app, tmp_path, catalog):
    export(tmp_path, "Full", "20260201", [(n, 0) for n in range(20)])
    words = (tmp_path, tmp_path / "exports", catalog, f"duckdb:///{tmp_path}/lake.duckdb")
    killed = subprocess.run([sys.executable, "-c", KILLED, *map(str, words)], cwd=ROOT, check=False)
    assert -signal.SIGKILL == killed.returncode
    assert ([], 20) == (content(app.others["lake"]), len(content(app.warehouse)))

    assert ("lake", "done") in load(app, tmp_path)
    assert is_equal(app)
    assert 1 == len(app.warehouse.runs())


def test_a_failure_names_its_destination_and_its_setting(app, tmp_path):
    class Refusing(Down):
        def __getattr__(self, name):
            if name in ("stage", "record"):
                raise ConfigError("the user of WAREHOUSE_URL lacks a right", fix="Grant it")
            return super().__getattr__(name)

    export(tmp_path, "Full", "20260201", [(1, 0)])
    found = list(load_exports(with_lake(app, Refusing(app.others["lake"], ())), tmp_path / "exports"))

    assert [("main", None), ("lake", "the user of WAREHOUSE_URL_LAKE lacks a right. Grant it.")] == [
        (one.destination, one.run.error) for one in found
    ]


def test_a_full_that_one_destination_refuses_is_a_base_in_the_other(app, tmp_path):
    """Each goes its own way and order, and both end with the same rows once the full can be loaded."""
    export(tmp_path, "Full", "20260201", [(n, 0) for n in range(20)])
    export(tmp_path, "Full", "20260203", [(n, 1) for n in range(10)])
    export(tmp_path, "Delta", "20260204", [(1, 3), (30, 1)])
    lake = app.others["lake"]

    class RefusingOne(Down):
        def merge(self, plan, *given):
            if plan.run.exported_at.startswith("2026-02-03"):
                raise DataError("it does not fit", fix="Change it")
            return self._port.merge(plan, *given)

    found = list(load_exports(with_lake(app, RefusingOne(lake, ())), tmp_path / "exports"))
    assert [
        ("20260203", "main"),
        ("20260203", "lake"),
        ("20260201", "lake"),
        ("20260204", "main"),
        ("20260204", "lake"),
    ] == [(one.place.split("/")[-1], one.destination) for one in found if one.run]

    load(app, tmp_path)
    main, lake = ([row for row in content(one) if row[-1] == "None"] for one in (app.warehouse, lake))
    assert main == lake  # what only the older full had is a tombstone in one, and unknown in the other
    assert len(main) == 11


def test_a_destination_that_is_added_later_loads_the_newest_full_and_what_follows(app, tmp_path, reads):
    alone = open_test_app(tmp_path)
    for stamp, kind, rows in (
        ("20260201", "Full", [(1, 0), (2, 0)]), ("20260202", "Delta", [(3, 0)]), ("20260203", "Full", [(1, 1), (3, 0)]),
        ("20260204", "Delta", [(4, 2), (1, 4)]),
    ):  # fmt: skip
        export(tmp_path, kind, stamp, rows)
    list(load_exports(alone, tmp_path / "exports"))
    reads.clear()

    found = load(app, tmp_path)

    assert [("lake", "done")] * 2 == [one for one in found if one == ("lake", "done")]
    assert 2 == reads.total()
    assert is_equal(app)


def test_only_the_chosen_destination_is_loaded(app, tmp_path):
    export(tmp_path, "Full", "20260201", [(1, 0)])
    export(tmp_path, "Full", "20260201", [(1, 0)], table="alone")

    found = load(app, tmp_path, destination="lake")

    assert ("lake", "done") in found
    assert any("coolr.alone does not go to 'lake', only to main" in text for _, text in found)
    assert [] == app.warehouse.runs()


def test_a_dry_run_leaves_nothing_in_either(app, tmp_path):
    export(tmp_path, "Full", "20260201", [(1, 0)])

    assert [("main", "dry"), ("lake", "dry")] == load(app, tmp_path, dry_run=True)
    assert [[], []] == [content(one) for one in (app.warehouse, app.others["lake"])]


def test_a_destination_without_url_fails_alone(tmp_path, catalog):
    app = open_test_app(tmp_path, CATALOG_PATH=catalog)
    export(tmp_path, "Full", "20260201", [(1, 0)])

    main, lake = load_exports(app, tmp_path / "exports")

    assert ("done", "failed", "lake") == (main.run.status, lake.run.status, lake.destination)
    assert "Set WAREHOUSE_URL_LAKE to the URL of its warehouse" in lake.run.error


@pytest.mark.slow
def test_text_files_go_to_both(app, tmp_path):
    (tmp_path / "leads.csv").write_text("id,name\n1,Ann\nx,Bob\n2,Cid\n")
    options = csv_files.CsvOptions(max_reject_share=1.0)

    found = list(
        csv_files.load(app.runner, app.settings, FeedName("leads", "lead"), str(tmp_path / "leads.csv"), options)
    )

    assert [("main", 2, 1), ("lake", 2, 1)] == [(one.destination, one.run.inserted, one.run.rejected) for one in found]
    assert is_equal(app, "leads", "lead")
    assert [1, 1] == [len(list(one.rejects("leads.lead"))) for one in (app.warehouse, app.others["lake"])]


# -- windows


class Shop:
    """A table to pull, and how often it was read."""

    def __init__(self, app):
        self.app, self.source = app, MemoryPullSource(SCHEMA, [], "At", "bigint", slice_rows=10, sync_rows=3)
        self.calls = Calls()

    def put(self, *ats):
        have = {row["Id"]: row for row in self.source.rows}
        for key, at in ats:
            have[key] = {"Id": key, "At": at, "Name": f"{key} at {at}"}
        self.source.rows[:] = have.values()

    def sync(self, app=None, **options):
        app = app or self.app
        watched = Watched(self.source, self.calls, "source")
        found = syncing.sync(
            app.runner, app.settings, "shop", ["item"], SyncOptions(**options), open_sources=lambda feeds, _: [watched]
        )
        return {one.destination: one for one in found}

    def windows_read(self):
        """How often the source was called to describe a window since the last time."""
        count = sum(name == "source.describe" for name in self.calls.names)
        self.calls.names.clear()
        return count


@pytest.fixture
def shop(app):
    return Shop(app)


def outcomes(found):
    return {name: (one.outcome, one.behind) for name, one in found.items()}


def test_windows_are_read_once_for_destinations_in_step(app, shop):
    shop.put(*((n, n) for n in range(8)))

    found = shop.sync()

    assert {"main": ("done", 0.0), "lake": ("done", 0.0)} == outcomes(found)
    assert [3, 3] == [len(one.windows) for one in found.values()]
    assert 3 == shop.windows_read()
    assert is_equal(app, "shop", "item")

    shop.sync()
    assert 1 == sum(name == "source.peek" for name in shop.calls.names)


def test_one_that_lags_catches_up_by_itself_and_then_reads_with_the_others_again(app, shop):
    shop.put(*((n, n) for n in range(4)))
    shop.sync()
    shop.put(*((n, n) for n in range(4, 12)))
    shop.sync(with_lake(app, Down(app.others["lake"], {"stage"})))
    assert not is_equal(app, "shop", "item")
    shop.put((20, 20), (3, 21))
    shop.windows_read()

    found = shop.sync()

    assert {"main": ("done", 0.0), "lake": ("done", 0.0)} == outcomes(found)
    assert [1, 4] == [len(found[name].windows) for name in ("main", "lake")]
    assert found["main"].watermark == found["lake"].watermark
    assert is_equal(app, "shop", "item")

    shop.put((30, 30))
    shop.windows_read()
    shop.sync()
    assert 1 == shop.windows_read()


@pytest.mark.slow
def test_one_that_is_behind_does_not_pass_the_others(app, shop):
    """Rows that arrive meanwhile are for the next sync of both: else they would never meet."""
    shop.put(*((n, n) for n in range(4)))
    shop.sync(with_lake(app, Down(app.others["lake"], {"stage"})))
    shop.put((5, 5))
    ceiling, seen = shop.source.ceiling, []

    def rows_come(after):
        seen.append(after)
        shop.put((100 + len(seen), 100 + len(seen)))
        return ceiling(after)

    shop.source.ceiling = rows_come
    found = shop.sync()

    assert found["main"].watermark == found["lake"].watermark
    assert is_equal(app, "shop", "item")


def test_a_destination_that_is_added_later_reads_from_the_beginning(tmp_path, app, shop, catalog):
    shop.put(*((n, n) for n in range(8)))
    shop.sync(destination="main")
    shop.windows_read()

    found = shop.sync()

    assert {"main": "no news", "lake": "done"} == {name: one.outcome for name, one in found.items()}
    assert is_equal(app, "shop", "item")


@pytest.mark.parametrize("how", ["full", "keys"])
def test_rows_that_are_gone_are_found_for_both_by_one_reading(app, shop, how):
    shop.put(*((n, n) for n in range(4)))
    shop.sync()
    shop.windows_read()
    app.now.forward(minutes=1)
    del shop.source.rows[0]

    found = shop.sync(**{how: True})

    assert [1, 1] == [found[name].counts["absent"] for name in ("main", "lake")]
    assert 1 == shop.windows_read()
    assert is_equal(app, "shop", "item")


def test_a_destination_without_the_feed_cannot_be_chosen(app, shop):
    with pytest.raises(ConfigError, match=r"shop\.item does not go to 'attic', only to main, lake"):
        shop.sync(destination="attic")


CHANGES = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=6),
        st.sampled_from(["", "main", "lake"]), st.sampled_from(["stage", "merge", "owned"]),
    ),
    min_size=1, max_size=5,
)  # fmt: skip


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES)
def test_at_rest_both_destinations_are_equal(tmp_path_factory, catalog, changes):
    """Whatever was down meanwhile, and whatever changed: after one sync of both that goes well, both have the rows."""
    folder = tmp_path_factory.mktemp("case")
    app = open_test_app(
        folder, CATALOG_PATH=catalog, WAREHOUSE_URL_LAKE=f"duckdb:///{folder}/lake.duckdb", SYNC_ROWS="3",
        SHOP_DATABASE_URL="mysql://u:p@h/d",
    )  # fmt: skip
    shop, now = Shop(app), 0
    shop.put((0, 0))
    for rows, down, call in changes:
        for key, step in rows:
            now += step
            shop.put((key, now))
        ports = {
            name: Down(port, {call} if name == down else ())
            for name, port in (("main", app.warehouse), ("lake", app.others["lake"]))
        }
        found = shop.sync(replace(app, warehouse=ports["main"], others={"lake": ports["lake"]}))
        assert not any(one.failed for name, one in found.items() if name != down)

    assert not any(one.failed for one in shop.sync().values())
    assert is_equal(app, "shop", "item")
    assert sorted(shop.source.rows, key=lambda row: row["Id"]) == sorted(
        ({"Id": int(key), "At": int(at), "Name": name} for key, at, name, *_ in content(app.warehouse, "shop", "item")),
        key=lambda row: row["Id"],
    )

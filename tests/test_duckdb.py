"""What is particular to DuckDB as a warehouse, and what the merge does there that one look at a file can tell."""

from __future__ import annotations

import datetime as dt
import random
import shutil
import sqlite3
import subprocess
import sys

from dataclasses import replace

import duckdb
import pyarrow as pa
import pytest

from shared import catalog, pipeline
from shared.errors import ConfigError, IngestError, TransientError
from shared.loading import LoadOptions
from shared.model import OUTCOMES
from shared.settings import Settings
from shared.sources.exports import ExportsSource, Told, find, unit
from shared.stores import open_store
from shared.warehouses import Limits, open_warehouse
from tests.exports import START, Clock, export_path, open_test_app, write_parquet

SCHEMA = pa.schema(
    [
        ("LocationId", pa.int64()),
        ("Name", pa.string()),
        ("ModifiedOn", pa.timestamp("us")),
        ("IsDeleted", pa.bool_()),
    ]
)


def day(number):
    return dt.datetime(2026, 2, 1) + dt.timedelta(days=number)  # noqa: DTZ001 - as files have it


def row(key, name, modified, deleted=False):
    return {"LocationId": key, "Name": name, "ModifiedOn": modified and day(modified), "IsDeleted": deleted}


def export(folder, kind, number, *rows):
    stamp = f"{day(number):%Y%m%d}"
    return write_parquet(export_path(folder, kind, stamp, "Location"), list(rows), schema=SCHEMA)


def load(app, file, **options):
    (result,) = app.load(str(file.parent), LoadOptions(system="coolr", kind=_kind(file), **options))
    return result


def loaded(app, file, **options):
    result = load(app, file, **options)
    assert result.run.error is None
    return result.run


def _kind(file):
    return file.parts[-4].lower()


def counts(run):
    return {name: getattr(run, name) for name in (*OUTCOMES, "absent", "values_rejected", "read")}


def some(run):
    return {name: count for name, count in counts(run).items() if count}


def select(file, query):
    with duckdb.connect(str(file), read_only=True) as db:
        return db.execute(query).fetchall()


def opened(app):
    """Make the warehouse's file, which reading alone does not."""
    with app.warehouse._session():
        pass


def contents(file):
    """The text of all views of a warehouse, and the columns and rows of all its tables."""
    with duckdb.connect(str(file), read_only=True) as db:
        tables = db.execute("SELECT schema_name, table_name FROM duckdb_tables() ORDER BY ALL").fetchall()
        views = db.execute("SELECT schema_name, view_name, sql FROM duckdb_views() WHERE NOT internal ORDER BY ALL")
        return views.fetchall(), {(schema, table): _table(db, f'"{schema}"."{table}"') for schema, table in tables}


def _table(db, name):
    return db.execute(f"DESCRIBE {name}").fetchall(), db.execute(f"FROM {name} ORDER BY ALL").fetchall()


def dump(file):
    with sqlite3.connect(file) as db:
        text = list(db.iterdump())
    db.close()
    return text


@pytest.fixture
def app(tmp_path):
    return open_test_app(tmp_path)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def full(tmp_path):
    return export(tmp_path, "full", 5, row(1, "Ada", 1), row(2, "Bob", 2), row(3, "Cy", 3, True))


@pytest.fixture
def hard(tmp_path):
    """An app whose locations are removed instead of marked."""
    folder = tmp_path / "catalog"
    shutil.copytree(catalog.PACKAGED, folder)
    text = (folder / "coolr.toml").read_text()
    changed = text.replace(
        'location = { keys = ["LocationId"] }', 'location = { keys = ["LocationId"], deletes = "hard" }'
    )
    assert text != changed
    (folder / "coolr.toml").write_text(changed)
    return open_test_app(tmp_path, CATALOG_PATH=str(folder))


# -- the file


@pytest.mark.parametrize("name", ["coolr.duckdb", "ingest.duckdb", "temp.duckdb", 'it\'s "odd"; é鍵'])
def test_warehouse_may_be_called_anything(tmp_path, full, name):
    """Like a schema of ours or of DuckDB's, or as no database would be called."""
    app = open_test_app(tmp_path, WAREHOUSE_URL=f"duckdb:///{tmp_path}/{name}")
    loaded(app, full)

    again = loaded(app, full, again=True)

    assert {"unchanged": 3, "read": 3} == some(again)
    assert 2 == len(app.warehouse.runs())
    assert 3 == app.warehouse.profile(app.systems["coolr"].feed("location", SCHEMA.names)).rows
    assert (tmp_path / name).is_file()


@pytest.mark.parametrize("url", ["duckdb://", "duckdb:///", "duckdb:///:memory:", "oracle://x", "warehouse.duckdb"])
def test_url_that_names_no_file_is_refused(url):
    """With how to write one."""
    with pytest.raises(ConfigError, match="duckdb://") as caught:
        open_warehouse(Settings(warehouse_url=url))
    assert "\n" not in str(caught.value)


def test_nothing_stays_beside_the_warehouse(app, full, file, tmp_path):
    """Staging is gone after a load, after a second one, and after one that failed."""
    loaded(app, full)
    loaded(app, full, again=True)
    bad = export(tmp_path, "full", 6, *(row(None, "x", 1) for _ in range(9)))
    assert load(app, bad).failed

    assert [("coolr", "location"), ("ingest", "rejected"), ("ingest", "run"), ("ingest", "version")] == list(
        contents(file)[1]
    )
    assert [] == list(tmp_path.glob("*staging*/*"))


def test_file_is_not_held_between_loads(app, full, file):
    """Somebody else can write to it."""
    loaded(app, full)
    with duckdb.connect(str(file)) as db:
        db.execute("CREATE TABLE mine AS SELECT 1")

    assert {"unchanged": 3, "read": 3} == some(loaded(app, full, again=True))


def test_process_that_holds_the_file_is_named(tmp_path, full, file):
    """After the time allowed, in one line; when it is gone the same load goes on."""
    app = open_test_app(tmp_path, WAREHOUSE_LOCK_TIMEOUT="0.05")
    program = "import duckdb, sys; db = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert "held\n" == holder.stdout.readline()
        with pytest.raises(TransientError, match=rf"held by .*{holder.pid}.*WAREHOUSE_LOCK_TIMEOUT") as caught:
            app.warehouse.runs()
        holder.stdin.close()
        holder.wait()

    assert "\n" not in str(caught.value)
    assert "done" == loaded(app, full).status


def test_waits_until_the_file_is_free(tmp_path, file):
    """The holder ends while we wait."""
    app = open_test_app(tmp_path, WAREHOUSE_LOCK_TIMEOUT="30")
    program = (
        "import duckdb, sys, threading; db = duckdb.connect(sys.argv[1]); print('held', flush=True)\n"
        "sys.stdin.readline(); threading.Timer(0.1, db.close).start()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        holder.stdout.readline()
        holder.stdin.write("now\n")
        holder.stdin.flush()

        assert [] == app.warehouse.runs()


def test_file_that_is_no_database_is_refused_and_left_alone(app, file):
    """WAREHOUSE_URL points to something else."""
    file.write_text("Dear diary, " * 1_000)

    with pytest.raises(ConfigError, match=r"warehouse\.duckdb.* WAREHOUSE_URL\.$") as caught:
        opened(app)
    assert "\n" not in str(caught.value)
    assert "Dear diary, " * 1_000 == file.read_text()


def test_folder_that_cannot_be_made_is_told_in_one_line(tmp_path):
    """A file is in its place."""
    (tmp_path / "taken").write_text("")
    app = open_test_app(tmp_path, WAREHOUSE_URL=f"duckdb:///{tmp_path}/taken/warehouse.duckdb")

    with pytest.raises(IngestError, match="taken") as caught:
        opened(app)
    assert "\n" not in str(caught.value)


# -- tables that others have touched


def test_column_type_that_is_not_ours_is_refused(app, full, file):
    """By name and type; the table stays as it was."""
    loaded(app, full)
    with duckdb.connect(str(file)) as db:
        db.execute('ALTER TABLE coolr.location ADD COLUMN "Huge" HUGEINT')
    before = select(file, "FROM coolr.location ORDER BY ALL")

    result = load(app, full, again=True)

    assert result.failed
    assert "column 'Huge' of coolr.location has type HUGEINT, which Sluice does not write" in result.run.error
    assert "\n" not in result.run.error
    assert before == select(file, "FROM coolr.location ORDER BY ALL")


PLANTED = {
    "twin as it was": ("Ada", 1, None),
    "twin of another content": ("Eve", 1, None),
    "newer twin": ("Eve", 9, None),
    "dead twin": ("Ada", 1, day(1)),
}


@pytest.mark.parametrize(
    ("twin", "beside"),
    [
        ("twin as it was", ()),
        *((twin, ("same",)) for twin in PLANTED),
        ("twin as it was", ("same", "wider")),
        ("newer twin", ("same", "wider")),
    ],
)
def test_key_that_is_there_twice_is_refused(app, full, file, tmp_path, twin, beside):
    """Somebody else wrote to the table: the merge says so and is rolled back.

    Whatever the second row is like, whatever else is in the file, and however the engine applies the changes.
    """
    loaded(app, full)
    name, modified, deleted_at = PLANTED[twin]
    with duckdb.connect(str(file)) as db:
        db.execute(
            'INSERT INTO coolr.location SELECT * REPLACE (? AS "Name", ?::TIMESTAMP AS "ModifiedOn",'
            ' ?::TIMESTAMP AS "DeletedAt") FROM coolr.location WHERE "LocationId" = 1',
            [name, day(modified), deleted_at],
        )
        if "wider" in beside:  # a column that the file lacks makes the merge update rows in place
            db.execute('ALTER TABLE coolr.location ADD COLUMN "Kept" TEXT')
    before = select(file, "FROM coolr.location ORDER BY ALL")
    rows = [row(1, "Ida", 4), *([row(2, "Bob", 2), row(3, "Cy", 3, True)] if beside else [])]

    result = load(app, export(tmp_path, "delta", 6, *rows))

    assert result.failed
    assert "Look for rows with the same key in its table" in result.run.error
    assert before == select(file, "FROM coolr.location ORDER BY ALL")


def test_outcomes_that_do_not_add_up_are_named(app, full, file, tmp_path):
    """So that the table can be mended by what is said."""
    loaded(app, full)
    with duckdb.connect(str(file)) as db:
        db.execute('INSERT INTO coolr.location FROM coolr.location WHERE "LocationId" = 1')

    result = load(app, export(tmp_path, "delta", 6, row(1, "Ida", 4)))

    assert "the outcomes of coolr.location do not add up to 1 rows" in result.run.error


# -- first load and merge are one


def any_rows(keys):
    """A row for each of *keys*, with every combination of NULLs, times and flags among them."""
    some = random.Random(len(keys))
    return [
        row(key, some.choice([None, "Ada", "Bob"]), some.choice([None, 1, 2, 3]), some.choice([None, False, True]))
        for key in keys
    ]


TWINS = (*range(40), *range(30), *range(20))


@pytest.mark.parametrize(
    ("kind", "keys"),
    [("full", range(90)), ("delta", range(90)), ("full", TWINS), ("delta", ())],
    ids=["full", "delta", "full with twins", "delta without rows"],
)
def test_first_load_makes_the_table_that_a_merge_makes(tmp_path, kind, keys):
    """Into no table or into an empty one: same columns, same rows, same view, same outcomes."""
    empty, given = export(tmp_path, "delta", 4), export(tmp_path, kind, 5, *any_rows(keys))
    found = []
    for before in ((), (empty,)):
        place = tmp_path / str(len(before))
        app = open_test_app(place)
        for earlier in before:
            loaded(app, earlier)
        run = loaded(app, given)
        views, tables = contents(place / "warehouse.duckdb")
        found.append((counts(run), views, tables["coolr", "location"]))

    assert found[0] == found[1]


def test_first_load_of_several_slices_is_one_table(tmp_path, file):
    """The first slice becomes the table, the others join it."""
    rows = [row(n, f"n{n}", 1, n % 7 == 0) for n in range(40)]
    path = export_path(tmp_path, "full", "20260206", "Location")
    write_parquet(path, rows, row_group_size=10, schema=SCHEMA)
    app = open_test_app(tmp_path, SLICE_ROWS="10")

    run = loaded(app, path)

    assert {"inserted": 40, "read": 40} == some(run)
    assert [(n, f"n{n}", day(1) if n % 7 == 0 else None, run.id) for n in range(40)] == select(
        file, 'SELECT "LocationId", "Name", "DeletedAt", "SyncedBy" FROM coolr.location ORDER BY 1'
    )


# -- what is beside the table, and what a feed may choose


def test_active_view_has_the_rows_that_are_not_deleted(app, full, file, tmp_path):
    """From the first load on, and with every column the table gets later."""
    loaded(app, full)
    first = select(file, 'SELECT "LocationId" FROM coolr.location_active ORDER BY 1')
    wider = pa.Table.from_pylist([{**row(4, "Di", 4), "Colour": "red"}, {**row(1, "Ada", 4, True), "Colour": None}])
    loaded(app, write_parquet(export_path(tmp_path, "delta", "20260207", "Location"), wider))

    assert [(1,), (2,)] == first
    assert [(2, None), (4, "red")] == select(
        file, 'SELECT "LocationId", "Colour" FROM coolr.location_active ORDER BY 1'
    )


def test_hard_deletes_remove_rows(hard, full, file, tmp_path):
    """Flagged ones, first load and later; a key that comes back is new."""
    first = loaded(hard, full)
    gone = loaded(hard, export(tmp_path, "delta", 6, row(1, "Ada", 4, True), row(9, "Nobody", 4, True)))
    back = loaded(hard, export(tmp_path, "delta", 7, row(1, "Ada", 5)))

    assert {"inserted": 2, "unchanged": 1, "read": 3} == some(first)
    assert {"deleted": 1, "unchanged": 1, "read": 2} == some(gone)
    assert {"inserted": 1, "read": 1} == some(back)
    assert [(1, back.id), (2, first.id)] == select(
        file, 'SELECT "LocationId", "SyncedBy" FROM coolr.location ORDER BY 1'
    )


def test_hard_deletes_remove_what_a_full_lacks(hard, full, file, tmp_path):
    """Absences are counted apart, as ever."""
    loaded(hard, full)

    run = loaded(hard, export(tmp_path, "full", 6, row(2, "Bob", 2)))

    assert {"absent": 1, "unchanged": 1, "read": 1} == some(run)
    assert [(2,)] == select(file, 'SELECT "LocationId" FROM coolr.location')


def test_hard_deletes_work_beside_a_column_the_file_lacks(hard, full, file, tmp_path):
    """Where rows are updated in place instead of replaced."""
    loaded(hard, full)
    with duckdb.connect(str(file)) as db:
        db.execute("ALTER TABLE coolr.location ADD COLUMN \"Kept\" TEXT DEFAULT 'here'")

    run = loaded(hard, export(tmp_path, "delta", 6, row(1, "Ada", 4, True), row(2, "Bo", 4)))

    assert {"deleted": 1, "updated": 1, "read": 2} == some(run)
    assert [(2, "Bo", "here")] == select(file, 'SELECT "LocationId", "Name", "Kept" FROM coolr.location')


# -- dry runs and repetitions


MIXED = (
    row(1, "Ida", 4), row(2, "Bob", 2), row(3, "Cy", 4), row(4, "Di", 4), row(4, "Dee", 5), row(5, "Ed", 4, True),
    *(row(n, f"n{n}", 4) for n in range(10, 30)), row(None, "Nobody", 4),
)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "first"), [("full", True), ("full", False), ("delta", False)], ids=["no table yet", "full", "delta"]
)
def test_dry_run_reports_the_real_run_and_changes_nothing(app, full, file, tmp_path, kind, first):
    """No row, no history, no reject, no ledger; then the run for real has the same counts."""
    if first:
        opened(app)
        app.ledger.watermark("coolr.location")
    else:
        loaded(app, full)
    before = contents(file), dump(tmp_path / "ledger.db")
    mixed = export(tmp_path, kind, 6, *MIXED)

    dry = load(app, mixed, dry_run=True)
    after = contents(file), dump(tmp_path / "ledger.db")
    real = loaded(app, mixed)

    assert before == after
    assert counts(real) == counts(dry.run)
    assert (1, 1) == (real.rejected, real.superseded)
    assert real.read == sum(getattr(real, name) for name in OUTCOMES)


def test_dry_run_shows_rows_before_and_after(app, full, tmp_path):
    """A few of each outcome, as they would be."""
    loaded(app, full)
    mixed = export(tmp_path, "delta", 6, row(1, "Ida", 4), row(2, "Bob", 4, True), row(3, "Cy", 4), row(4, "Di", 4))

    changes = load(app, mixed, dry_run=True).changes

    shown = {change.outcome: (change.before, change.after) for change in changes}
    assert {"updated", "deleted", "undeleted", "inserted"} == shown.keys()
    assert ("Ada", "Ida") == tuple(version["Name"] for version in shown["updated"])
    assert [None, str(day(4))] == [_plain(version["DeletedAt"]) for version in shown["deleted"]]
    assert [str(day(3)), None] == [_plain(version["DeletedAt"]) for version in shown["undeleted"]]
    assert (None, "Di") == (shown["inserted"][0], shown["inserted"][1]["Name"])


def _plain(time):
    return time and time.replace("T", " ").removesuffix(".000000")


def test_failed_dry_run_leaves_nothing(app, full, file, tmp_path):
    """It would be refused: the answer says so, and that is all."""
    loaded(app, full)
    before = contents(file), dump(tmp_path / "ledger.db")
    bad = export(tmp_path, "full", 6, *(row(None, "x", 1) for _ in range(9)))

    result = load(app, bad, dry_run=True)

    assert "9 of 9 rows were rejected" in result.run.error
    assert before == (contents(file), dump(tmp_path / "ledger.db"))


@pytest.mark.parametrize("first", [True, False], ids=["no table yet", "a table"])
def test_published_run_is_recognised(app, full, file, tmp_path, first):
    """Publishing it again merges nothing and returns the same counts, even when staging is gone."""
    if not first:
        loaded(app, full)
    store = open_store(str(export(tmp_path, "full", 6, *MIXED).parent))
    source = ExportsSource(store, slice_rows=10, batch_rows=10)
    (offer,), _ = find(store, Told(kind="full"), START)
    asked = unit(offer, store)
    run = pipeline.asked("coolr.location", asked, app.ledger, "2026-02-24T12:00:00.000000")
    plan = pipeline.plan(run, asked, source, app.systems["coolr"])
    staged = [
        pipeline.stage(plan, part, source, app.warehouse, allowance=pipeline.Allowance(86_400)) for part in plan.slices
    ]
    limits = Limits(max_delete_share=1)

    def publish(finished):
        return pipeline.publish(plan, staged, app.warehouse, app.ledger, limits=limits, finished=finished)

    once = publish("2026-02-24T12:00:01.000000")
    pipeline.tidy(plan, app.warehouse)
    before = contents(file), dump(tmp_path / "ledger.db")
    twice = publish("2026-02-24T13:00:00.000000")

    assert once.run == twice.run
    assert before == (contents(file), dump(tmp_path / "ledger.db"))


def test_late_failure_does_not_undo_history(app, full, tmp_path):
    """The host gave up on a call that had worked."""
    run = loaded(app, full)

    app.warehouse.record(replace(run, status="failed", error="timed out"))

    assert [run] == app.warehouse.runs()


def test_history_is_newest_first_and_by_feed(app, full, tmp_path):
    """And as long as asked for."""
    clock = Clock()
    app = open_test_app(tmp_path, clock)
    first = loaded(app, full)
    clock.forward(hours=1)
    second = loaded(app, full, again=True)

    assert [second, first] == app.warehouse.runs("coolr.location")
    assert [second] == app.warehouse.runs(limit=1)
    assert [] == app.warehouse.runs("coolr.asset")


def test_two_warehouses_of_one_process_wait_for_each_other(tmp_path):
    """DuckDB does not attach a file twice; the second is told that it is held, as if by another process."""
    one, other = (open_test_app(tmp_path, WAREHOUSE_LOCK_TIMEOUT="0.1").warehouse for _ in range(2))
    one.runs()

    with one._session(), pytest.raises(TransientError, match=r"is held by another process since 0\.1 s"):
        other.runs()

    assert [] == other.runs()

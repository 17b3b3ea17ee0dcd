"""DuckDB as a warehouse: the behaviour of every warehouse, and what is particular to it."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import threading

from concurrent.futures import ThreadPoolExecutor

import duckdb
import pyarrow as pa
import pytest

from shared.arrow import arange
from shared.contract.conform import ROW
from shared.errors import ConfigError, IngestError, TransientError
from shared.model import OUTCOMES, Column
from shared.pipeline.folder import LoadOptions
from shared.pipeline.progress import Progress
from shared.pipeline.sync import SyncOptions, sync
from shared.settings import Settings
from shared.warehouses import open_warehouse
from tests.exports import export_path, load_exports, open_test_app, write_parquet
from tests.standins.fakes import MemoryPullSource
from tests.suites.warehouse_suite import WarehouseSuite

pytestmark = pytest.mark.usefixtures("reading")  # both ways into DuckDB

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
    (result,) = load_exports(app, str(file.parent), LoadOptions(system="coolr", kind=_kind(file), **options))
    return result


def loaded(app, file, **options):
    result = load(app, file, **options)
    assert result.run.error is None
    return result.run


def _kind(file):
    return file.parts[-4].lower()


def some(run):
    reported = {name: getattr(run, name) for name in (*OUTCOMES, "absent", "values_rejected", "read")}
    return {name: count for name, count in reported.items() if count}


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


@pytest.fixture
def app(tmp_path):
    return open_test_app(tmp_path)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def full(tmp_path):
    return export(tmp_path, "full", 5, row(1, "Ada", 1), row(2, "Bob", 2), row(3, "Cy", 3, True))


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

    kept = [("ingest", table) for table in ("backfill", "erasure", "rejected", "run", "version")]
    assert [("coolr", "location"), *kept] == list(contents(file)[1])
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
        with pytest.raises(TransientError, match=rf"waited .*{holder.pid}.*WAREHOUSE_LOCK_TIMEOUT") as caught:
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


def test_folder_that_cannot_be_made_is_reported_in_one_line(tmp_path):
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
    "duplicate as it was": ("Ada", 1, None),
    "duplicate of another content": ("Eve", 1, None),
    "newer duplicate": ("Eve", 9, None),
    "dead duplicate": ("Ada", 1, day(1)),
}


@pytest.mark.parametrize(
    ("duplicate", "beside"),
    [
        ("duplicate as it was", ()),
        *((duplicate, ("same",)) for duplicate in PLANTED),
        ("duplicate as it was", ("same", "wider")),
        ("newer duplicate", ("same", "wider")),
    ],
)
def test_key_that_is_there_twice_is_refused(app, full, file, tmp_path, duplicate, beside):
    """Somebody else wrote to the table: the merge says so and is rolled back.

    Whatever the second row is like, whatever else is in the file, and however the engine applies the changes.
    """
    loaded(app, full)
    name, modified, deleted_at = PLANTED[duplicate]
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
    assert "keep one row of each key" in result.run.error
    assert before == select(file, "FROM coolr.location ORDER BY ALL")


def test_outcomes_that_do_not_add_up_are_named(app, full, file, tmp_path):
    """So that the table can be corrected by what is said."""
    loaded(app, full)
    with duckdb.connect(str(file)) as db:
        db.execute('INSERT INTO coolr.location FROM coolr.location WHERE "LocationId" = 1')

    result = load(app, export(tmp_path, "delta", 6, row(1, "Ida", 4)))

    assert "the outcomes of coolr.location do not add up to 1 rows" in result.run.error


def test_two_warehouses_of_one_process_wait_for_each_other(tmp_path):
    """DuckDB does not attach a file twice; the second learns that it is held, as if by another process."""
    one, other = (open_test_app(tmp_path, WAREHOUSE_LOCK_TIMEOUT="0.1").warehouse for _ in range(2))
    one.runs()

    with one._session(), pytest.raises(TransientError, match=r"waited 0\.1 s for another process"):
        other.runs()

    assert [] == other.runs()


class TestDuckDB(WarehouseSuite):
    """In a file of its own for each test."""

    longest_key = None

    @pytest.fixture
    def settings(self, tmp_path):
        return {"WAREHOUSE_URL": f"duckdb:///{tmp_path}/warehouse.duckdb"}

    @pytest.fixture
    def query(self, tmp_path):
        def run(statement):
            with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as db:
                return db.execute(statement).fetchall()

        return run


class Branching:
    """A connection that can be branched and nothing else, by one thread at a time."""

    def __init__(self, connection):
        self._connection, self._lock = connection, threading.Lock()

    def cursor(self):
        assert self._lock.acquire(blocking=False), "two calls of one connection at a time"
        try:
            return self._connection.cursor()
        finally:
            self._lock.release()


def test_threads_of_one_process_share_no_connection(tmp_path):
    """DuckDB refuses a call of a connection that another thread is using, be it to attach, to detach or to branch."""
    app = open_test_app(tmp_path)
    app.warehouse.__dict__["_database"] = Branching(app.warehouse._database)
    feed = app.systems["coolr"].feed("location", ())
    column = Column("LocationId", "LocationId", "bigint")

    def stage(number):
        for _ in range(5):
            batch = pa.RecordBatch.from_arrays([arange(0, 10), pa.array(range(10))], names=[ROW, "LocationId"])
            app.warehouse.stage(feed, f"s_0123456789abcdef_{number}", [column], [batch])
            app.warehouse.runs(limit=1)

    with ThreadPoolExecutor(4) as threads:
        assert [None] * 4 == list(threads.map(stage, range(4)))


def test_a_merge_does_not_wait_for_those_who_looked_at_the_catalog_while_its_rows_were_staged(tmp_path):
    """Their transactions may last as long as a merge of another table does."""
    (tmp_path / "shop.toml").write_text(
        'system = { name = "shop", source = "sql" }\n[tables]\nitem = { keys = ["Id"], cursor = "At" }'
    )
    app = open_test_app(tmp_path, CATALOG_PATH=str(tmp_path), WAREHOUSE_LOCK_TIMEOUT="0.2")
    schema = pa.schema([("Id", pa.int64()), ("At", pa.int64())])
    source = MemoryPullSource(schema, [{"Id": n, "At": n} for n in range(200)], "At", "bigint", slice_rows=200)

    def synced(progress=None):
        return next(iter(sync(app.runner, app.settings, "shop", [], SyncOptions(), progress, lambda *_: [source])))

    synced()  # the first load is staged in the warehouse itself
    source.rows += [{"Id": n, "At": n} for n in range(200, 400)]
    with app.warehouse._session() as other, other.transaction():

        class Looking(Progress):
            def rows(self, count):
                other.columns("shop", "item")

        found = synced(Looking())

    assert ("done", 200) == (found.outcome, found.counts["inserted"]), found.reason

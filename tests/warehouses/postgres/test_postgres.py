"""PostgreSQL as a warehouse: the behaviour of every warehouse, and what is particular to it."""

from __future__ import annotations

import datetime as dt
import re
import uuid

from urllib.parse import quote

import psycopg
import pyarrow as pa
import pytest

from shared.errors import ConfigError, DataError, IngestError, TransientError
from shared.settings import Settings
from shared.warehouses import open_warehouse
from shared.warehouses.merge import ingest, numbered
from shared.warehouses.postgres.errors import passes, translated
from shared.warehouses.postgres.session import PostgresSession
from tests.advice import advised, advises, follows
from tests.exports import START, open_test_app
from tests.servers.postgres import Postgres
from tests.suites.warehouse_case import WarehouseCase, row, some
from tests.suites.warehouse_checks import Checks
from tests.suites.warehouse_erase import Erase
from tests.suites.warehouse_fulls import Fulls
from tests.suites.warehouse_names import Names
from tests.suites.warehouse_suite import WHATEVER_LOADS, WarehouseSuite
from tests.warehouses.postgres.retries import retries_come_at_once
from tests.warehouses.server.server_samples import asking


class OnAServer(WarehouseSuite):
    """In a database of its own for each test."""

    longest_key = 2_500

    @pytest.fixture
    def query(self, postgres: Postgres, database: str):
        def run(statement):
            with postgres.connect(database) as connection:
                found = connection.execute(statement)
                return found.fetchall() if found.description else []

        return run


@pytest.mark.slow
class TestStagedRows(OnAServer):
    """All rows by way of staging tables."""

    shown_elsewhere = (*WHATEVER_LOADS, Fulls)

    @pytest.fixture
    def settings(self, postgres: Postgres, database: str):
        return {"WAREHOUSE_URL": postgres.url(database), "WAREHOUSE_LOADER": "array"}


class TestPostgres(OnAServer):
    """As few rows as these tests have mostly go without a staging table."""

    takes_long = True
    slow_parts = (Names, Erase, Checks)  # the same SQL as in DuckDB

    @pytest.fixture
    def settings(self, postgres: Postgres, database: str):
        return {"WAREHOUSE_URL": postgres.url(database)}

    # -- what only PostgreSQL has

    def test_no_connection_stays_open(self, filled, query):
        """Not after a load, nor after looking."""
        list(filled.app.warehouse.rejects("shop.item"))
        filled.app.warehouse.runs()

        assert [(0,)] == query(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sluice' AND datname = current_database()"
        )

    def test_table_has_its_indexes(self, case):
        """Each key once; and the active ones for counting them by FirstSyncAt. Whatever the table is called."""
        for table in ("item", "t" * 56):
            case.loaded("full", 5, row(1), table=table)

            found = case.query(f"SELECT indexdef FROM pg_indexes WHERE tablename = '{table}' ORDER BY 1")

            key = f'"{table.capitalize()}Id"'
            assert 2 == len(found)
            assert found[0][0].endswith(f' ({key}) INCLUDE ("FirstSyncAt") WHERE ("DeletedAt" IS NULL)')
            assert found[1][0].startswith("CREATE UNIQUE INDEX")
            assert found[1][0].endswith(f" ({key})")

    def test_index_serves_a_text_key(self, case, query):
        """Keys are compared in the collation C: in another one, the index would be of no use."""
        for table in ("adopted", "created"):
            if table == "created":
                case.loaded("delta", 4, table=table, key=pa.string())
            case.loaded("delta", 5, row("a"), table=table, key=pa.string())
            case.loaded("delta", 6, row("a", "Ada", 2), table=table, key=pa.string())

        found = query(
            "SELECT DISTINCT c.collname FROM pg_attribute a JOIN pg_collation c ON c.oid = a.attcollation"
            " WHERE a.attname IN ('AdoptedId', 'CreatedId') AND a.attnum > 0"
        )

        assert [("C",)] == found

    def test_pages_have_room_for_updates(self, case, query):
        """A tenth of each: then a new version of a row stays in the page of the old one, and no index changes."""
        case.loaded("delta", 5, row(1), table="adopted")
        case.loaded("delta", 5, table="created")

        options = "SELECT DISTINCT reloptions FROM pg_class WHERE relname IN ('adopted', 'created')"

        assert [(["fillfactor=90"],)] == query(options)

    def test_nobody_else_writes_between_computing_changes_and_applying_them(
        self, open_case, full, query, database, postgres, monkeypatch
    ):
        """Rows are updated in their places, which others could give to new versions of them."""
        case, refused, filled = open_case(WAREHOUSE_LOADER="array"), [], PostgresSession.filled
        case.load(full)

        def write_meanwhile(session, table):
            with postgres.connect(database) as other:
                other.execute("SET lock_timeout = '50ms'")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    other.execute("UPDATE shop.item SET \"Name\" = 'mine'")
            refused.append(table.name)
            filled(session, table)

        monkeypatch.setattr(PostgresSession, "filled", write_meanwhile)
        run = case.loaded("delta", 6, row(1, "Ida", 4))

        assert ["changes"] == refused
        assert {"updated": 1, "read": 1} == some(run)

    def test_rows_are_updated_in_their_places(self, open_case, query, monkeypatch):
        """Even after others have moved them: a place that is looked up holds until the transaction ends."""
        case, places, change = open_case(WAREHOUSE_LOADER="array"), [], PostgresSession.change
        case.loaded("full", 5, *(row(n) for n in range(2_000)))
        query("UPDATE shop.item SET \"Name\" = 'mine'")

        def look(session, statement):
            places.extend(re.findall(r'\S+ = "shop"."item"."ctid"', numbered.compiled(statement)[0]))
            return change(session, statement)

        monkeypatch.setattr(PostgresSession, "change", look)
        run = case.loaded("delta", 6, *(row(n, "Ida", 6) for n in range(0, 2_000, 2)))

        assert ['"pg_temp"."changes"."_sluice_place" = "shop"."item"."ctid"'] == places
        assert {"updated": 1_000, "read": 1_000} == some(run)
        names = 'SELECT "Name", count(*) FROM shop.item GROUP BY 1 ORDER BY 1'
        assert [("Ida", 1_000), ("mine", 1_000)] == query(names)

    def test_tables_survive_a_crash(self, case, query):
        """They are logged, whether they were staged or made empty; what is staged later is not."""
        kinds = []
        for number in (5, 6):
            case.loaded("delta", number, row(1), table="adopted")
            case.loaded("delta", number, *([row(1)] if number == 6 else []), table="created")
            kinds += query("SELECT DISTINCT relpersistence::text FROM pg_class WHERE relname IN ('adopted', 'created')")

        adopted = "SELECT attnum FROM pg_attribute WHERE attname = 'AdoptedId' AND attrelid = 'shop.adopted'::regclass"
        assert [("p",), ("p",)] == kinds
        assert [(2,)] == query(adopted)  # it was staged as the second column, after the number of the row

    def test_index_that_somebody_dropped_is_made_again(self, filled, query):
        """It lets no key of a first load in twice, and while it is made or looked at nobody writes."""
        query("DROP INDEX shop.ix_item_keys")

        run = filled.loaded("delta", 6, row(1, "Ida", 4), row(4, "Di", 4))

        assert {"updated": 1, "inserted": 1, "read": 2} == some(run)
        assert 2 == len(query("SELECT 1 FROM pg_indexes WHERE tablename = 'item'"))

    @pytest.mark.parametrize("beside", [(), (row(2, "Bo", 4),)], ids=["alone", "beside others"])
    def test_key_that_is_there_twice_is_refused(self, filled, query, beside):
        """Somebody dropped the index and wrote to the table: the merge says so and is rolled back."""
        query("DROP INDEX shop.ix_item_keys")
        query('INSERT INTO shop.item SELECT * FROM shop.item WHERE "ItemId" = 1')
        before = filled.contents()["shop.item"]

        said = filled.refused("delta", 6, row(1, "Ida", 4), *beside)

        assert "keep one row of each key" in said
        assert before == filled.contents()["shop.item"]

    def test_who_may_read_the_view_may_still_do_so_after_a_column_has_widened(self, case, query, postgres):
        """The view has to be made again for that."""
        reader = f"reader {uuid.uuid4().hex}"
        case.loaded("delta", 5, row(1, Value=1), types={"Value": pa.int32()})
        query(f'CREATE ROLE "{reader}"')
        try:
            query(f'GRANT SELECT ON shop.item_active TO "{reader}" WITH GRANT OPTION')
            query("GRANT SELECT ON shop.item_active TO PUBLIC")
            before = query("SELECT relacl::text FROM pg_class WHERE relname = 'item_active'")

            case.loaded("delta", 6, row(1, "Ada", 2, Value=1 << 40), types={"Value": pa.int64()})

            assert before == query("SELECT relacl::text FROM pg_class WHERE relname = 'item_active'")
        finally:
            query(f'DROP OWNED BY "{reader}"')
            query(f'DROP ROLE "{reader}"')

    def test_view_of_others_that_keeps_a_column_from_widening_is_named(self, case, query):
        """It is not ours to drop; what is ours stays as it was."""
        case.loaded("delta", 5, row(1, Value=1), types={"Value": pa.int32()})
        query('CREATE VIEW shop.theirs AS SELECT "Value" FROM shop.item_active')
        before = case.contents()["shop.item"]

        said = case.refused("delta", 6, row(1, "Ada", 2, Value=1 << 40), types={"Value": pa.int64()})

        assert "view shop.theirs depends on view shop.item_active" in said
        assert before == case.contents()["shop.item"]
        advises("Drop what depends on that column, load, and create it again", said)
        query("DROP VIEW shop.theirs")
        case.loaded("delta", 6, row(1, "Ada", 2, Value=1 << 40), types={"Value": pa.int64()})
        query('CREATE VIEW shop.theirs AS SELECT "Value" FROM shop.item_active')
        assert [(1 << 40,)] == query("TABLE shop.theirs")

    def test_column_type_that_is_not_ours_is_refused(self, filled, query, full):
        """By name and type."""
        query('ALTER TABLE shop.item ADD COLUMN "Odd" inet')

        result = filled.load(full, again=True)

        assert "column 'Odd' of shop.item has type inet, which Sluice does not write" in result.run.error

    def test_settings_of_the_database_do_not_matter(self, case, query, database, monkeypatch):
        """Time zone, order of dates, how long a statement may take: a load brings its own."""
        seen, find = set(), ingest.find

        def look(session, run):
            seen.update(session.execute("SELECT current_setting('statement_timeout'), current_setting('work_mem')"))
            return find(session, run)

        monkeypatch.setattr(ingest, "find", look)
        for setting in (
            "timezone = 'America/New_York'", "datestyle = 'SQL, DMY'", "statement_timeout = '10s'",
            "standard_conforming_strings = off", "bytea_output = 'escape'", "extra_float_digits = -3",
            "default_transaction_isolation = 'serializable'",
        ):  # fmt: skip
            query(f'ALTER DATABASE "{database}" SET {setting}')
        types = {"At": pa.timestamp("us", "UTC"), "Value": pa.float64(), "Raw": pa.binary(), "Text": pa.string()}
        query(f"ALTER DATABASE \"{database}\" SET work_mem = '1MB'")
        moment = dt.datetime(2026, 3, 8, 2, 30, 0, 1, tzinfo=dt.UTC)
        rows = [row(n, At=moment, Value=0.1, Raw=b"\\\0\xff", Text="\\n") for n in range(1_000)]
        for number in (5, 6):
            case.loaded("full", number, *rows, types=types)

        assert [(moment.replace(tzinfo=None), b"\\\0\xff", "\\n", START.replace(tzinfo=None))] * 1_000 == case.rows(
            "At", "Raw", "Text", "SyncedAt"
        )
        assert {("0", "64MB")} == seen

    def test_leftovers_are_swept_after_a_day(self, filled, query):
        """Staging tables of runs that died; not younger ones, and nothing of others."""
        old, new = "2026-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"
        for name, said in (("s_00000000000000aa_0", old), ("s_00000000000000bb_0", new), ("mine", old)):
            query(f'CREATE TABLE staging."{name}" (x int)')
            query(f"COMMENT ON TABLE staging.\"{name}\" IS 'staged by Sluice at {said}'")
        query('CREATE TABLE staging."s_00000000000000cc_0" (x int)')

        filled.loaded("delta", 6, row(1, "Ida", 4))

        left = query("SELECT tablename FROM pg_tables WHERE schemaname = 'staging' ORDER BY 1")
        assert [("mine",), ("s_00000000000000bb_0",), ("s_00000000000000cc_0",)] == left

    def test_staging_tables_tell_when_they_were_made(self, open_case, full, query, monkeypatch):
        """By the server's clock: the next run may have to tell which are leftovers."""
        filled = open_case(WAREHOUSE_LOADER="array")
        filled.load(full)
        reported, find = [], ingest.find

        def look(session, run):
            unlogged = "relname ~ '^s_' AND relpersistence = 'u'"
            reported.extend(query(f"SELECT obj_description(oid, 'pg_class') FROM pg_class WHERE {unlogged}"))
            return find(session, run)

        monkeypatch.setattr(ingest, "find", look)
        filled.loaded("delta", 6, row(1, "Ida", 4))

        assert reported
        assert all(re.fullmatch(r"staged by Sluice at 20\d\d-\d\d-\d\dT\S+\+00:00", said) for (said,) in reported)

    def test_error_of_a_user_without_rights_says_what_to_grant(self, postgres, database, query, tmp_path):
        """In one line, and by the doctor as well."""
        query("CREATE ROLE guest LOGIN PASSWORD 'guest'")
        try:
            url = f"postgresql://guest:guest@127.0.0.1:{postgres.port}/{database}"
            case = WarehouseCase(tmp_path, query, WAREHOUSE_URL=url)
            with advised("Grant it CREATE on the database and schemas") as advice:
                case.load(case.write("full", 5, [row(1)]))
            lacking = {finding.check: finding for finding in case.app.warehouse.examine()}["warehouse: rights"]

            assert "lacks a right: permission denied" in advice.error.problem
            assert ("failed", "the user lacks CREATE") == (lacking.status, lacking.message)
            (right,) = advises("GRANT {} ON DATABASE to that user", lacking.fix)
            query(f"GRANT {right} ON DATABASE {database} TO guest")
            assert "failed" not in {one.status for one in case.app.warehouse.examine()}
            assert case.load(case.write("full", 5, [row(1)])).loaded
        finally:
            query("DROP OWNED BY guest CASCADE")
            query("DROP ROLE guest")


@pytest.fixture
def hurried(postgres, database):
    """Gives the URL of a user of the database, who can be given settings, and a way to give them."""
    query = asking(postgres, database)
    query("CREATE ROLE hurried LOGIN SUPERUSER PASSWORD 'hurried'")
    yield f"postgresql://hurried:hurried@127.0.0.1:{postgres.port}/{database}", query
    query("REASSIGN OWNED BY hurried TO CURRENT_USER")
    query("DROP ROLE hurried")


SETTINGS = [
    follows(
        "Load it again; if it is cancelled again, raise statement_timeout for the user of WAREHOUSE_URL",
        "SET statement_timeout = '1ms'", "SET statement_timeout = '1min'",
    ),
    follows(
        "Name the primary server in WAREHOUSE_URL",
        "SET default_transaction_read_only = on", "SET default_transaction_read_only = off", id="a standby",
    ),
]  # fmt: skip


def refused(case, file):
    """Why a load fails, before its run began or after."""
    try:
        return str(case.load(file).run.error)
    except IngestError as error:
        return str(error)


@pytest.mark.parametrize(("advice", "wrong", "right"), SETTINGS)
def test_settings_of_the_server_are_corrected(hurried, tmp_path, monkeypatch, advice, wrong, right):
    """A standby is a server where nothing can be written: here a user who may not."""
    retries_come_at_once(monkeypatch)
    url, query = hurried
    case = WarehouseCase(tmp_path, query, WAREHOUSE_URL=url)
    file = case.write("full", 5, [row(n) for n in range(2_000)])
    query(f"ALTER ROLE hurried {wrong}")
    advises(advice, refused(case, file))

    query(f"ALTER ROLE hurried {right}")
    case = WarehouseCase(tmp_path, query, WAREHOUSE_URL=url)
    assert 2_000 == case.load(file).run.inserted


# -- what cannot be opened


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (("/test_", "/no_"), ConfigError, r'database "no_\w+" does not exist'),
        (("sluice:", "stranger:"), ConfigError, 'password authentication failed for user "stranger"'),
        (("127.0.0.1", "no.such.host.invalid"), ConfigError, "no.such.host.invalid"),
        (("{port}", "1"), TransientError, "Connection refused"),
    ],
    ids=["database", "user", "host", "port"],
)
def test_what_cannot_be_opened_is_reported_in_one_line(postgres, database, tmp_path, monkeypatch, change, kind, said):
    """With what to do, and without the password. What is right is opened."""
    retries_come_at_once(monkeypatch)
    old, new = change
    url = postgres.url(database).replace(old.format(port=postgres.port), new)

    with pytest.raises(kind, match=said) as caught:
        open_test_app(tmp_path, WAREHOUSE_URL=url).warehouse.runs()

    assert "\n" not in str(caught.value)
    if kind is ConfigError:
        advises(
            "Check user, password, host and database in WAREHOUSE_URL, and that the server allows this machine",
            str(caught.value),
        )
    else:
        advises(
            "Load again; if it lasts, check that the server runs and that WAREHOUSE_URL names its host and port",
            str(caught.value),
        )
    assert [] == open_test_app(tmp_path, WAREHOUSE_URL=postgres.url(database)).warehouse.runs()
    assert [] == [part for part in (postgres.password, quote(postgres.password, "")) if part in str(caught.value)]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:pa@ss@host/db", "postgresql://user:pa/ss@host/db", "postgresql://user:pass@host",
        "postgresql://user:pass%zz@host/db", "postgresql://user:pass@host/db?nonsense=pass",
        "postgresql://user:12/pass@host/db", "postgresql://user:pass@host:port/db", "postgresql://",
    ],
)  # fmt: skip
def test_url_that_cannot_be_read_is_not_repeated(url):
    """What cannot be told apart may be the password."""
    with pytest.raises(ConfigError, match=r"postgresql://user:password@host:port/database") as caught:
        open_warehouse(Settings(warehouse_url=url))

    reported = (
        str(caught.value).replace("postgresql://user:password@host:port/database", "").replace("of the password", "")
    )
    assert "pass" not in reported
    assert None is caught.value.__cause__


# -- which errors may pass


def test_errors_are_distinguished_by_what_can_be_done():
    """By SQLSTATE where there is one."""
    assert passes(psycopg.errors.DeadlockDetected())
    assert passes(psycopg.errors.SerializationFailure())
    assert passes(psycopg.errors.TooManyConnections())
    assert passes(psycopg.errors.AdminShutdown())
    assert passes(psycopg.errors.ConnectionFailure())
    assert passes(psycopg.OperationalError("the connection is lost"))
    assert passes(psycopg.OperationalError("connection to server failed: FATAL:  sorry, too many clients already"))
    assert not passes(psycopg.OperationalError('connection to server at "x" failed: FATAL: database "y" is not there'))
    assert not passes(psycopg.errors.LockNotAvailable())
    assert not passes(psycopg.errors.UniqueViolation())
    assert not passes(psycopg.errors.SyntaxError())
    assert not passes(ValueError())


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (psycopg.errors.DiskFull("no space left"), TransientError),
        (psycopg.errors.ReadOnlySqlTransaction("read only"), ConfigError),
        (psycopg.errors.InvalidPassword("no"), ConfigError),
        (psycopg.errors.TooManyColumns("too many"), DataError),
        (psycopg.errors.UndefinedTable('relation "staging.s_1" does not exist'), TransientError),
        (psycopg.errors.UndefinedTable('relation "shop.item" does not exist'), psycopg.Error),
        (psycopg.errors.SyntaxError("at or near"), psycopg.Error),
        (ConfigError("ours", fix="stays"), ConfigError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_errors_are_translated_where_somebody_can_act(error, kind):
    """The rest are bugs, and stay as they are."""
    with pytest.raises(kind), translated(1.0):
        raise error

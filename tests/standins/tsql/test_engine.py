"""The stand-in has the shape of pyodbc, and says of itself what SQL Server says."""

from __future__ import annotations

import datetime as dt
import threading

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from tests.standins.tsql import errors, parser
from tests.standins.tsql.samples import ask, at, failure

# -- shape of the module


def test_errors_have_a_state_a_class_and_a_number_as_pyodbc_gives_them(db):
    """The number stands in parentheses before the name of the ODBC call."""
    with pytest.raises(errors.ProgrammingError) as caught:
        db.execute("SELECT 1 FROM nope")

    assert (
        "42S02",
        "[42S02] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Invalid object name 'nope'. (208) "
        "(SQLExecDirectW)",
    ) == caught.value.args


def test_what_the_parser_refuses_is_not_run(db, tsql_problems):
    """Nothing passes that SQL Server could not read."""
    assert ("42000", 102) == failure(db, "INSERT INTO t (id) VALUES (1); SELECT id > 1 FROM t")[:2]
    assert [] == ask(db, "SELECT id FROM t")


def test_without_the_parser_statements_are_run_unseen(db, monkeypatch):
    """A machine without .NET still has a stand-in."""
    monkeypatch.setattr(parser, "unavailable", lambda: "not here")

    assert [(1,)] == ask(db, "SELECT 1")


def test_parameters_come_back_as_they_went(db):
    """Each as the type that pyodbc makes of its SQL type."""
    given = (
        1,
        1.5,
        Decimal("1.50"),
        "it's",
        b"\0\xff",
        dt.date(2026, 2, 28),
        at(2026, 1, 1, 1, 2, 3, 4),
        None,
    )

    assert [given] == ask(db, f"SELECT {', '.join('?' * len(given))}", *given)
    assert [(True, "a\0b")] == ask(db, "SELECT CAST(? AS bit), ?", 1, "a\0b")


def test_a_time_sent_alone_loses_its_fraction(db):
    """pyodbc keeps it only with fast_executemany."""
    assert [(dt.time(1, 2, 3),)] == ask(db, "SELECT ?", dt.time(1, 2, 3, 4))


def test_a_zone_is_dropped_not_converted(db):
    """As pyodbc does."""
    zone = dt.timezone(dt.timedelta(hours=5))

    assert [(at(2026, 1, 1, 12),)] == ask(db, "SELECT ?", dt.datetime(2026, 1, 1, 12, tzinfo=zone))


def test_results_of_a_batch_stand_one_behind_the_other(db):
    """Counts of DML are results too, unless NOCOUNT is on."""
    batch = "INSERT INTO t (id) VALUES (1), (2); SELECT @@ROWCOUNT; SELECT id FROM t"
    cursor = db.execute(batch)

    assert (2, None) == (cursor.rowcount, cursor.description)
    assert (True, [(2,)]) == (cursor.nextset(), cursor.fetchall())
    assert (True, [(1,), (2,)]) == (cursor.nextset(), cursor.fetchall())
    assert not cursor.nextset()
    assert [(2,)] == db.execute("SET NOCOUNT ON; " + batch).fetchall()


def test_the_error_of_a_later_statement_waits_for_its_turn(db):
    """Who does not call nextset never hears of it."""
    cursor = db.execute("INSERT INTO t (id) VALUES (1); SELECT 1 FROM nope")

    with pytest.raises(errors.ProgrammingError, match="nope"):
        cursor.nextset()


@pytest.mark.parametrize(
    ("sql", "given", "number"),
    [
        ("SELECT " + ", ".join("?" * 2_101), [1] * 2_101, 8003),
        ("INSERT INTO t (id) VALUES " + ", ".join(["(1)"] * 1_001), [], 10738),
        ("SELECT ?", [float("nan")], 8023),
    ],
)
def test_limits_of_a_request(db, sql, given, number):
    """2,100 parameters, 1,000 rows of VALUES, and no NaN."""
    assert number == failure(db, sql, *given)[1]


def test_a_missing_parameter_is_noticed(db):
    """By the driver: nothing is sent."""
    assert "07002" == failure(db, "SELECT ?, ?", 1)[0]


@pytest.mark.parametrize("sql", ["BEGIN TRANSACTION; SELECT ?", "COMMIT TRANSACTION; SELECT ?"])
def test_no_transaction_begins_or_ends_in_a_batch_with_parameters(db, sql):
    """It runs as a procedure, which has to leave as many transactions open as it found."""
    if sql.startswith("COMMIT"):
        db.execute("BEGIN TRANSACTION")

    cursor = db.execute(sql, 1)
    with pytest.raises(errors.Error, match="mismatching number of BEGIN and COMMIT statements") as caught:
        cursor.nextset()
    assert 266 == errors.number_of(caught.value)
    assert [(1,)] == ask(db, "BEGIN TRANSACTION; SELECT ?; COMMIT TRANSACTION", 1)


def test_what_was_sent_is_counted_and_kept(server):
    """So that tests can look at all texts."""
    with server.connect(autocommit=True) as connection:
        connection.execute("SELECT 1")
        open_now = server.open_connections
        connection.close()

    assert (1, 0, ["SELECT 1"], 1) == (open_now, server.open_connections, server.statements, server.executes)


# -- what the server says about itself


def test_functions_and_views_of_the_server(server, db):
    """As far as the app asks."""
    server.permissions["CREATE TABLE"] = False

    assert [(5, "sluice", 0, 1)] == ask(
        db,
        "SELECT CAST(SERVERPROPERTY('EngineEdition') AS int), DB_NAME(),"
        " HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'CREATE TABLE'), HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER STATE')",
    )
    assert [(server.log_rate,)] == ask(db, "SELECT primary_max_log_rate FROM sys.dm_user_db_resource_governance")
    server.log_rate = None
    assert 300 == failure(db, "SELECT primary_max_log_rate FROM sys.dm_user_db_resource_governance")[1]


def test_the_age_of_a_table_is_that_of_the_servers_clock(server, db):
    """Which a test can set."""
    later = server.now() + dt.timedelta(hours=1)
    server.now = lambda: later

    assert [("t", True)] == [
        (name, 3_590 <= age <= 3_610)
        for name, age in ask(
            db,
            "SELECT t.name, DATEDIFF(second, t.create_date, SYSUTCDATETIME()) FROM sys.tables AS t"
            " JOIN sys.schemas AS s ON s.schema_id = t.schema_id WHERE s.name = ?",
            "dbo",
        )
    ]


def test_credentials_and_data_sources_are_kept(server, db):
    """What an administrator's script makes can be looked up, and not be made twice."""
    db.execute("EXEC(N'CREATE DATABASE SCOPED CREDENTIAL [c] WITH IDENTITY = ''Managed Identity''')")
    source = (
        "CREATE EXTERNAL DATA SOURCE [d] WITH (TYPE = BLOB_STORAGE, LOCATION = 'https://a.test/c', CREDENTIAL = [c])"
    )
    db.execute(source)

    assert [("c", "Managed Identity")] == ask(
        db, "SELECT name, credential_identity FROM sys.database_scoped_credentials"
    )
    assert [("https://a.test/c", "BLOB_STORAGE")] == ask(
        db, "SELECT location, type_desc FROM sys.external_data_sources WHERE name = N'D'"
    )
    assert 46502 == failure(db, source)[1]
    db.execute("DROP EXTERNAL DATA SOURCE [d]")
    assert [] == server.external_data_sources


# -- faults on demand


def test_a_deadlock_on_demand_ends_the_transaction(server, db):
    """Once, before the statement did anything."""
    server.fail_next("INSERT INTO t", 1205)
    db.execute("BEGIN TRANSACTION; UPDATE t SET id = 0")

    assert ("40001", 1205) == failure(db, "INSERT INTO t (id) VALUES (1)")[:2]
    db.execute("INSERT INTO t (id) VALUES (2)")
    assert [(0, 1)] == ask(db, "SELECT @@TRANCOUNT, (SELECT COUNT(*) FROM t)")


@pytest.mark.parametrize(("after", "rows"), [(False, 0), (True, 1)])
def test_a_connection_may_be_lost_around_a_commit(server, db, after, rows):
    """Before or after it took effect; then it is of no more use."""
    server.fail_next("COMMIT", 0, after=after)
    other = server.connect(autocommit=True)
    other.execute("BEGIN TRANSACTION; INSERT INTO t (id) VALUES (1)")

    assert "08S01" == failure(other, "COMMIT TRANSACTION")[0]
    with pytest.raises(errors.OperationalError, match="08S01"):
        other.cursor()
    other.close()
    assert [(rows,)] == ask(db, "SELECT COUNT(*) FROM t")


def test_connecting_may_fail_for_a_while(server):
    """As a serverless database does that has to wake up."""
    server.fail_next("CONNECT", 40613, times=2)
    for _ in range(2):
        with pytest.raises(errors.Error, match=r"\(40613\) \(SQLDriverConnect\)"):
            server.connect()

    server.connect().close()
    assert 0 == server.open_connections


def test_many_threads_share_a_server(server, db):
    """Each on a connection of its own."""
    barrier = threading.Barrier(4)

    def work(n: int) -> None:
        with server.connect(autocommit=True) as connection:
            barrier.wait(30)
            for _ in range(5):
                connection.execute("INSERT INTO t (id) VALUES (?)", n)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))

    assert [(20,)] == ask(db, "SELECT COUNT(*) FROM t")

"""The stand-in for SQL Server does what it says: what bites on the real one bites here."""

from __future__ import annotations

import datetime as dt
import threading

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from tests.standins.tsql import bulk, errors, parser
from tests.standins.tsql.engine import Connection, Server

BULK_OPTIONS = (
    "DATA_SOURCE = N'staging', FORMAT = 'CSV', CODEPAGE = 65001, FIELDTERMINATOR = ',', FIELDQUOTE = '\"',"
    " ROWTERMINATOR = '0x0a', KEEPNULLS, TABLOCK"
)
LOCK = (
    "DECLARE @r int; EXEC @r = sp_getapplock @Resource = N'feed', @LockMode = 'Exclusive',"
    " @LockOwner = 'Transaction', @LockTimeout = {}; SELECT @r"
)


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def db(server):
    """A connection with autocommit, and a table ``dbo.t``."""
    connection = server.connect(autocommit=True)
    connection.execute(
        "CREATE TABLE t (id bigint NOT NULL, name nvarchar(5) NULL, code nvarchar(450) COLLATE Latin1_General_100_BIN2)"
    )
    return connection


def at(*parts: int) -> dt.datetime:
    return dt.datetime(*parts)  # noqa: DTZ001 - as the database has it


def query(connection: Connection, sql: str, *parameters: object) -> list[tuple]:
    return connection.execute(sql, *parameters).fetchall()


def failure(connection: Connection, sql: str, *parameters: object) -> tuple[str, int, str]:
    """SQLSTATE, native number and text of the error that *sql* ends in."""
    with pytest.raises(errors.Error) as caught:
        connection.execute(sql, *parameters)
    return caught.value.args[0], errors.number_of(caught.value), caught.value.args[1]


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
    assert [] == query(db, "SELECT id FROM t")


def test_without_the_parser_statements_are_run_unseen(db, monkeypatch):
    """A machine without .NET still has a stand-in."""
    monkeypatch.setattr(parser, "unavailable", lambda: "not here")

    assert [(1,)] == query(db, "SELECT 1")


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

    assert [given] == query(db, f"SELECT {', '.join('?' * len(given))}", *given)
    assert [(True, "a\0b")] == query(db, "SELECT CAST(? AS bit), ?", 1, "a\0b")


def test_a_time_sent_alone_loses_its_fraction(db):
    """pyodbc keeps it only with fast_executemany."""
    assert [(dt.time(1, 2, 3),)] == query(db, "SELECT ?", dt.time(1, 2, 3, 4))


def test_a_zone_is_dropped_not_converted(db):
    """As pyodbc does."""
    zone = dt.timezone(dt.timedelta(hours=5))

    assert [(at(2026, 1, 1, 12),)] == query(db, "SELECT ?", dt.datetime(2026, 1, 1, 12, tzinfo=zone))


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
    assert [(1,)] == query(db, "BEGIN TRANSACTION; SELECT ?; COMMIT TRANSACTION", 1)


def test_what_was_sent_is_counted_and_kept(server):
    """So that tests can look at all texts."""
    with server.connect(autocommit=True) as connection:
        connection.execute("SELECT 1")
        open_now = server.open_connections
        connection.close()

    assert (1, 0, ["SELECT 1"], 1) == (open_now, server.open_connections, server.statements, server.executes)


# -- DDL and what is remembered of it


def test_information_schema_tells_the_declared_types(db):
    """With lengths in UTF-16 units, -1 for max, digits and collations; names compare without case."""
    db.execute(
        "CREATE TABLE kinds (a bigint NOT NULL, b nvarchar(40), c nvarchar(max) COLLATE Latin1_General_100_BIN2, d bit,"
        " e float(53), f double precision, g real, h decimal(18,4), i datetime2(6), j time(6), k date,"
        " l varbinary(max), m smallint)"
    )
    described = query(
        db,
        "SELECT COLUMN_NAME, IS_NULLABLE, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE,"
        " DATETIME_PRECISION, COLLATION_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = ?"
        " ORDER BY ORDINAL_POSITION",
        "KINDS",
    )

    assert [
        ("a", "NO", "bigint", None, 19, 0, None, None),
        ("b", "YES", "nvarchar", 40, None, None, None, "SQL_Latin1_General_CP1_CI_AS"),
        ("c", "YES", "nvarchar", -1, None, None, None, "Latin1_General_100_BIN2"),
        ("d", "YES", "bit", None, None, None, None, None),
        ("e", "YES", "float", None, 53, None, None, None),
        ("f", "YES", "float", None, 53, None, None, None),
        ("g", "YES", "real", None, 24, None, None, None),
        ("h", "YES", "decimal", None, 18, 4, None, None),
        ("i", "YES", "datetime2", None, None, None, 6, None),
        ("j", "YES", "time", None, None, None, 6, None),
        ("k", "YES", "date", None, None, None, 0, None),
        ("l", "YES", "varbinary", -1, None, None, None, None),
        ("m", "YES", "smallint", None, 5, 0, None, None),
    ] == described


def test_values_come_back_as_their_columns_types(db):
    """A bit as bool, a decimal with its scale, an instant with six digits."""
    db.execute("CREATE TABLE k (a bit, b decimal(9,2), c datetime2(6), d time(6), e varbinary(max), f real)")
    db.execute("INSERT INTO k VALUES (1, 1.5, '2026-01-01T01:02:03.000004', '01:02:03.000004', 0x00ff, 0.5)")

    assert [(True, Decimal("1.50"), at(2026, 1, 1, 1, 2, 3, 4), dt.time(1, 2, 3, 4), b"\x00\xff", 0.5)] == query(
        db, "SELECT * FROM k"
    )


def test_nvarchar_wants_a_length(db):
    """Without one it would be a single character."""
    assert "nvarchar(1)" in failure(db, "CREATE TABLE k (a nvarchar)")[2]
    assert 2717 == failure(db, "CREATE TABLE k (a nvarchar(4001))")[1]


def test_ddl_rolls_back(db):
    """With everything remembered about it."""
    db.execute(
        "BEGIN TRANSACTION; ALTER TABLE t ADD more int; CREATE INDEX i ON t (id); CREATE TABLE k (a int); ROLLBACK"
    )

    assert [(3, None)] == query(
        db, "SELECT COUNT(*), OBJECT_ID(N'k') FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = N't'"
    )
    assert [] == query(db, "SELECT name FROM sys.indexes")


def test_altering_a_column_forgets_what_is_not_said_again(db):
    """NOT NULL goes, and so does the collation."""
    db.execute("ALTER TABLE t ALTER COLUMN id decimal(20,0); ALTER TABLE t ALTER COLUMN code nvarchar(450)")

    assert [("YES", "decimal", None), ("YES", "nvarchar", "SQL_Latin1_General_CP1_CI_AS")] == query(
        db,
        "SELECT IS_NULLABLE, DATA_TYPE, COLLATION_NAME FROM INFORMATION_SCHEMA.COLUMNS"
        " WHERE TABLE_NAME = N't' AND COLUMN_NAME IN (N'id', N'code') ORDER BY ORDINAL_POSITION",
    )


def test_a_column_is_held_by_its_default_and_its_indexes(db):
    """They have to be dropped first."""
    db.execute(
        "ALTER TABLE t ADD kind int NOT NULL CONSTRAINT df_kind DEFAULT 7; CREATE INDEX i ON t (id) INCLUDE (name)"
    )

    assert "'df_kind' is dependent on column 'kind'" in failure(db, "ALTER TABLE t DROP COLUMN kind")[2]
    assert "'i' is dependent on column 'name'" in failure(db, "ALTER TABLE t DROP COLUMN name")[2]
    db.execute("ALTER TABLE t DROP CONSTRAINT df_kind; ALTER TABLE t DROP COLUMN kind")
    db.execute("DROP INDEX i ON t; ALTER TABLE t DROP COLUMN name")
    assert [("id",), ("code",)] == query(db, "SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS")


def test_a_new_column_takes_its_default_only_where_it_has_to(db):
    """Rows that are there get it if the column is NOT NULL, or WITH VALUES is said."""
    db.execute("INSERT INTO t (id) VALUES (1)")
    db.execute(
        "ALTER TABLE t ADD a int NULL CONSTRAINT a DEFAULT 1; ALTER TABLE t ADD b int NOT NULL CONSTRAINT b DEFAULT 2"
    )
    db.execute("ALTER TABLE t ADD c int NULL CONSTRAINT c DEFAULT 3 WITH VALUES; INSERT INTO t (id) VALUES (2)")

    assert [(1, None, 2, 3), (2, 1, 2, 3)] == query(db, "SELECT id, a, b, c FROM t ORDER BY id")
    assert 4901 == failure(db, "ALTER TABLE t ADD d int NOT NULL")[1]


def test_schemas_are_made_once_and_tables_move_between_them(db):
    """CREATE SCHEMA has to be a batch of its own, so it goes through EXEC."""
    for _ in range(2):
        db.execute("IF SCHEMA_ID(N'x') IS NULL EXEC(N'CREATE SCHEMA [x]')")
    db.execute("INSERT INTO t (id, name) VALUES (1, N'A'); ALTER SCHEMA x TRANSFER dbo.t")

    assert [(1, "A")] == query(db, "SELECT id, name FROM x.t WHERE name = N'a'")
    assert [("x", "NO")] == query(
        db, "SELECT TABLE_SCHEMA, IS_NULLABLE FROM INFORMATION_SCHEMA.COLUMNS WHERE COLUMN_NAME = N'id'"
    )


def test_sp_rename_renames_tables_and_columns_with_all_that_is_known_of_them(db):
    """The new name has no schema and no brackets."""
    db.execute("CREATE INDEX i ON t (id)")
    db.execute("EXEC sp_rename N'dbo.t', N'u'; EXEC sp_rename N'dbo.u.name', N'label', N'COLUMN'")

    assert [("label", 5)] == query(
        db,
        "SELECT COLUMN_NAME, CHARACTER_MAXIMUM_LENGTH FROM INFORMATION_SCHEMA.COLUMNS"
        " WHERE TABLE_NAME = N'u' AND ORDINAL_POSITION = 2",
    )
    assert [("i",)] == query(db, "SELECT i.name FROM sys.indexes AS i WHERE i.object_id = OBJECT_ID(N'dbo.u')")
    assert 15225 == failure(db, "EXEC sp_rename N'dbo.t', N'v'")[1]


def test_views_are_replaced(db):
    """CREATE OR ALTER, and they are tables to INFORMATION_SCHEMA."""
    db.execute("INSERT INTO t (id) VALUES (1), (2)")
    for least in (2, 1):
        db.execute(f"CREATE OR ALTER VIEW v AS SELECT id FROM t WHERE id >= {least}")

    assert [(1,), (2,)] == query(db, "SELECT id FROM v ORDER BY id")
    assert [("VIEW",)] == query(db, "SELECT TABLE_TYPE FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME = N'v'")


def test_temporary_tables_are_their_connections_own(server, db):
    """Two connections may have one of the same name, and each ends with its own."""
    other = server.connect(autocommit=True)
    for connection, value in ((db, 1), (other, 2)):
        connection.execute(f"CREATE TABLE #k (a int); INSERT INTO #k VALUES ({value})")

    assert ([(1,)], [(2,)]) == (query(db, "SELECT a FROM #k"), query(other, "SELECT [#k].a FROM [#k]"))
    assert 208 == failure(server.connect(autocommit=True), "SELECT a FROM #k")[1]


def test_indexes_are_remembered(server, db):
    """With what they cover and what they leave out."""
    db.execute("CREATE UNIQUE NONCLUSTERED INDEX i ON t (id, code) INCLUDE (name) WHERE name IS NULL")

    schema, table, index = server.indexes[0]
    assert ("dbo", "t", "i", ("id", "code"), ("name",), "name IS NULL", True) == (
        schema, table, index.name, index.keys, index.include, index.where, index.unique,
    )  # fmt: skip


def test_unique_indexes_refuse_what_is_equal_to_sql_server(db):
    """Blanks at the end and case make no difference, rows outside of the filter do not count."""
    db.execute("CREATE UNIQUE INDEX i ON t (name) WHERE code IS NULL; INSERT INTO t (id, name) VALUES (1, N'a')")
    db.execute("INSERT INTO t (id, name, code) VALUES (2, N'a', N'x')")

    assert ("23000", 2601) == failure(db, "INSERT INTO t (id, name) VALUES (3, N'A ')")[:2]
    assert ("23000", 2601) == failure(db, "UPDATE t SET code = NULL")[:2]
    assert [(2,)] == query(db, "SELECT COUNT(*) FROM t")


def test_an_index_key_has_a_length(db):
    """1,700 bytes: what may be longer is refused row by row, and a max column at once."""
    db.execute("CREATE TABLE k (a nvarchar(1000), b nvarchar(max)); CREATE INDEX i ON k (a)")
    db.execute("INSERT INTO k (a) VALUES (?)", "x" * 850)

    assert 1946 == failure(db, "INSERT INTO k (a) VALUES (?)", "x" * 851)[1]
    assert 1919 == failure(db, "CREATE INDEX j ON k (b)")[1]


# -- texts


def test_texts_compare_without_case_and_trailing_blanks(db):
    """The collation of the column decides about case, nothing about blanks."""
    db.execute("INSERT INTO t VALUES (1, N'Ab ', N'Ab '), (2, N'aB', N'aB')")

    assert [(1,), (2,)] == query(db, "SELECT id FROM t WHERE name = N'ab' ORDER BY id")
    assert [(1,)] == query(db, "SELECT id FROM t WHERE code = ?", "Ab  ")
    assert [(1,)] == query(db, "SELECT id FROM t WHERE code IN (N'Ab', N'x')")
    assert [(1,)] == query(db, "SELECT id FROM t WHERE name COLLATE Latin1_General_100_BIN2 = N'Ab'")
    assert [(1,), (2,)] == query(db, "SELECT id FROM t WHERE EXISTS (SELECT name INTERSECT SELECT N'AB') ORDER BY id")


def test_texts_group_and_join_as_they_compare(db):
    """GROUP BY, DISTINCT, PARTITION BY, UNION and joins have one idea of equality."""
    db.execute("INSERT INTO t VALUES (1, N'a', N'a'), (2, N'A ', N'A '), (3, N'a ', N'a ')")

    assert [(3,)] == query(db, "SELECT COUNT(*) FROM t GROUP BY name")
    assert [(1,), (2,)] == query(db, "SELECT COUNT(*) AS n FROM t GROUP BY code ORDER BY n")
    assert [(1, 2)] == query(db, "SELECT COUNT(DISTINCT name), COUNT(DISTINCT code) FROM t")
    assert 1 == len(query(db, "SELECT DISTINCT name FROM t"))
    assert 2 == len(query(db, "SELECT code FROM t UNION SELECT code FROM t"))
    assert [(1,), (2,), (3,)] == query(db, "SELECT ROW_NUMBER() OVER (PARTITION BY name ORDER BY id) FROM t ORDER BY 1")
    assert [(9,)] == query(db, "SELECT COUNT(*) FROM t AS a JOIN t AS b ON a.name = b.name")
    assert [(5,)] == query(db, "SELECT COUNT(*) FROM t AS a JOIN t AS b ON a.code = b.code")


def test_collations_do_not_mix(db):
    """A column against one of another collation is an error, unless one side says which to use."""
    assert 468 == failure(db, "SELECT id FROM t WHERE name = code")[1]
    assert [] == query(db, "SELECT id FROM t WHERE name COLLATE Latin1_General_100_BIN2 = code")


def test_text_too_long_is_refused_with_its_place(db):
    """Counted in UTF-16 units; blanks at the end are cut without a word."""
    assert (
        "22001",
        2628,
        "[22001] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]String or binary data would be truncated in "
        "table 'sluice.dbo.t', column 'name'. Truncated value: 'ab😀c'. (2628) (SQLExecDirectW)",
    ) == failure(db, "INSERT INTO t (id, name) VALUES (1, ?)", "ab😀cd")
    db.execute("INSERT INTO t (id, name) VALUES (1, N'abcde  ')")
    assert 2628 == failure(db, "UPDATE t SET name = name + N'f'")[1]
    assert [("abcde", 10, 5)] == query(db, "SELECT name, DATALENGTH(name), LEN(name) FROM t")


def test_casts_cut_text(db):
    """As CAST does on SQL Server, without a word."""
    assert [("abc", "1")] == query(db, "SELECT CAST(N'abcdef' AS nvarchar(3)), CAST(CAST(1 AS bit) AS nvarchar(5))")


@pytest.mark.parametrize(
    ("sql", "state", "number"),
    [
        ("INSERT INTO t (name) VALUES (N'a')", "23000", 515),
        ("SELECT CAST(N'x' AS int)", "22018", 245),
        ("SELECT CAST(N'x' AS datetime2(6))", "22007", 241),
        ("SELECT CAST(99999 AS smallint)", "22003", 8115),
        ("SELECT nope FROM t", "42S22", 207),
        ("SELECT TRUE FROM t", "42S22", 207),
        ("CREATE TABLE t (a int)", "42S01", 2714),
        ("DROP TABLE nope", "42S02", 3701),
        ("INSERT INTO t (id, name) SELECT 1", "42000", 120),
        ("SELECT @nope", "42000", 137),
        ("EXEC nope", "42000", 2812),
    ],
)
def test_errors_have_the_numbers_of_sql_server(db, sql, state, number):
    """And their SQLSTATEs."""
    assert (state, number) == failure(db, sql)[:2]


# -- DML


def test_update_and_delete_from_a_join(db):
    """By the table's name or by its alias in the FROM; each row once."""
    db.execute("CREATE TABLE #c (id bigint, name nvarchar(5)); INSERT INTO #c VALUES (1, N'x'), (1, N'x'), (2, N'y')")
    db.execute("INSERT INTO t (id) VALUES (1), (2), (3)")

    by_name = "UPDATE [dbo].[t] SET [name] = c.name FROM [dbo].[t], (SELECT * FROM #c) AS c WHERE [dbo].[t].[id] = c.id"
    assert 2 == db.execute(by_name).rowcount
    assert (
        1
        == db.execute(
            "UPDATE a SET a.name = N'z' FROM t AS a LEFT JOIN #c AS c ON c.id = a.id WHERE c.id IS NULL"
        ).rowcount
    )
    assert [(1, "x"), (2, "y"), (3, "z")] == query(db, "SELECT id, name FROM t ORDER BY id")
    assert 1 == db.execute("DELETE FROM t FROM t, #c AS c WHERE t.id = c.id AND c.name = N'y'").rowcount
    assert 1 == db.execute("DELETE a FROM t AS a WITH (TABLOCK) INNER JOIN #c AS c ON c.id = a.id").rowcount
    assert [(3,)] == query(db, "SELECT id FROM t")


def test_insert_from_a_select_and_what_it_gave(db):
    """With hints, TOP, and OUTPUT."""
    db.execute("INSERT INTO t WITH (TABLOCK) (id, name) VALUES (1, N'a'), (2, N'b')")

    assert [(12, "b")] == query(
        db,
        "INSERT INTO t (id, name) OUTPUT inserted.id, inserted.name"
        " SELECT TOP (1) id + 10, name FROM t ORDER BY id DESC",
    )


def test_nulls_sort_first(db):
    """They are the smallest values."""
    db.execute("INSERT INTO t (id, name) VALUES (1, N'a'), (2, NULL)")

    assert [(2,), (1,)] == query(db, "SELECT id FROM t ORDER BY name")
    assert [(1,)] == query(db, "SELECT id FROM t ORDER BY name DESC OFFSET 0 ROWS FETCH NEXT 1 ROWS ONLY")


def test_binary_is_no_text(db):
    """Only CONVERT makes one of the other: style 2 is hex without 0x."""
    db.execute("CREATE TABLE b (a varbinary(max))")

    assert 257 == failure(db, "INSERT INTO b VALUES (N'00ff')")[1]
    assert [(b"\x00\xff", "00FF")] == query(
        db, "SELECT CONVERT(varbinary(max), N'00ff', 2), CONVERT(nvarchar(max), 0x00ff, 2)"
    )


def test_arrays_of_parameters_go_in_at_once(server, db):
    """One execute, whole or not at all, times with their fractions."""
    db.execute("CREATE TABLE k (a int, b time(6), c nvarchar(3), d decimal(5,2))")
    cursor = db.cursor()
    cursor.fast_executemany = True
    before = server.executes
    cursor.executemany("INSERT INTO k (a, b, c, d) VALUES (?, ?, ?, ?)",
                       [(1, dt.time(1, 2, 3, 4), "x", Decimal("1.5")), (2, None, None, None)])  # fmt: skip

    assert 1 == server.executes - before
    assert [(1, dt.time(1, 2, 3, 4), "x", Decimal("1.50")), (2, None, None, None)] == query(
        db, "SELECT * FROM k ORDER BY a"
    )
    with pytest.raises(errors.DataError, match=r"\(2628\)"):
        cursor.executemany("INSERT INTO k (a, c) VALUES (?, ?)", [(3, "abc"), (4, "abcd")])
    with pytest.raises(errors.Error, match="loses precision"):
        cursor.executemany("INSERT INTO k (d) VALUES (?)", [(Decimal("1.234"),)])
    assert [(2,)] == query(db, "SELECT COUNT(*) FROM k")


def test_the_width_of_text_in_arrays_has_to_be_said_for_temporary_tables(db):
    """The driver cannot ask for them, and takes 255 characters."""
    db.execute("CREATE TABLE #k (a nvarchar(max))")
    cursor = db.cursor()
    cursor.fast_executemany = True
    with pytest.raises(errors.DataError, match="right truncation"):
        cursor.executemany("INSERT INTO #k (a) VALUES (?)", [("x" * 256,)])

    cursor.setinputsizes([(Server.SQL_WVARCHAR, 0, 0)])
    cursor.executemany("INSERT INTO #k (a) VALUES (?)", [("x" * 256,)])
    assert [(512,)] == query(db, "SELECT DATALENGTH(a) FROM #k")


def test_arrays_go_one_by_one_where_it_is_not_asked_to_be_fast(server, db):
    """Or where the statement is no plain INSERT."""
    before = server.executes
    db.cursor().executemany("INSERT INTO t (id) VALUES (?)", [(1,), (2,)])

    assert 2 == server.executes - before


# -- transactions and locks


def test_an_error_rolls_the_whole_transaction_back(db):
    """As under XACT_ABORT ON."""
    db.execute("SET XACT_ABORT ON; BEGIN TRANSACTION; INSERT INTO t (id) VALUES (1)")
    failure(db, "INSERT INTO t (id) VALUES (NULL)")

    assert [(0, 0)] == query(db, "SELECT @@TRANCOUNT, (SELECT COUNT(*) FROM t)")
    assert ("25000", 3902) == failure(db, "COMMIT TRANSACTION")[:2]


def test_a_text_that_does_not_parse_leaves_the_transaction_alone(db, tsql_problems):
    """Nothing of it ran."""
    db.execute("BEGIN TRANSACTION; INSERT INTO t (id) VALUES (1)")
    failure(db, "SELECT 1 FROM")
    db.execute("COMMIT")

    assert [(1,)] == query(db, "SELECT id FROM t")


def test_others_see_what_is_committed_and_from_then_on(server, db):
    """Also within a transaction that has not written yet."""
    other = server.connect(autocommit=True)
    other.execute("BEGIN TRANSACTION")
    before = query(other, "SELECT COUNT(*) FROM t")
    db.execute("BEGIN TRANSACTION; INSERT INTO t (id) VALUES (1)")
    during = query(other, "SELECT COUNT(*) FROM t")
    db.execute("COMMIT")

    assert ([(0,)], [(0,)], [(1,)]) == (before, during, query(other, "SELECT COUNT(*) FROM t"))


def test_without_autocommit_the_first_look_at_a_table_begins_a_transaction(server, db):
    """And BEGIN TRANSACTION comes second to it."""
    other = server.connect()
    none = query(other, "SELECT @@TRANCOUNT")
    other.execute("INSERT INTO t (id) VALUES (1)")

    assert ([(0,)], [(1,)]) == (none, query(other, "SELECT @@TRANCOUNT"))
    other.rollback()
    other.execute("BEGIN TRANSACTION")
    assert ([(2,)], [(0,)]) == (query(other, "SELECT @@TRANCOUNT"), query(db, "SELECT COUNT(*) FROM t"))


def test_closing_rolls_back(server, db):
    """What was not committed never was."""
    other = server.connect()
    other.execute("INSERT INTO t (id) VALUES (1)")
    other.close()

    assert [(0,)] == query(db, "SELECT COUNT(*) FROM t")
    with pytest.raises(errors.ProgrammingError, match="closed"):
        other.cursor()


def test_the_second_writer_of_a_row_is_a_deadlock_victim(server, db):
    """A simplification: on SQL Server it would wait."""
    db.execute("INSERT INTO t (id) VALUES (1)")
    other = server.connect(autocommit=True)
    for connection in (db, other):
        connection.execute("BEGIN TRANSACTION")
    db.execute("UPDATE t SET name = N'a'")

    assert ("40001", 1205) == failure(other, "UPDATE t SET name = N'b'")[:2]


def test_one_connection_has_the_lock_at_a_time(server):
    """The other one waits for as long as it said, and learns whether it came to that."""
    first, second = (server.connect(autocommit=True) for _ in range(2))
    for connection in (first, second):
        connection.execute("BEGIN TRANSACTION")

    assert [(0,)] == query(first, LOCK.format(0))
    assert [(0,)] == query(first, LOCK.format(0))
    assert [(-1,)] == query(second, LOCK.format(10))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(query, second, LOCK.format(60_000))
        first.execute("COMMIT")
        assert waiting.result(60)[0][0] in (1, 0)  # 0 if it came too late to wait


def test_a_lock_of_a_transaction_needs_one(server):
    """And asking for the lock does not begin it, autocommit or not."""
    assert [(-999,)] == query(server.connect(autocommit=True), LOCK.format(0))
    assert [(-999,)] == query(server.connect(), LOCK.format(0))


@pytest.mark.parametrize("answer", [-2, -3, -999])
def test_the_answer_of_the_lock_can_be_set(server, answer):
    """For what cannot be brought about here."""
    server.applock_result = answer
    connection = server.connect(autocommit=True)
    connection.execute("BEGIN TRANSACTION")

    assert [(answer,)] == query(connection, LOCK.format(0))


def test_locks_end_with_their_connection(server):
    """Whoever is gone holds nothing."""
    first, second = (server.connect(autocommit=True) for _ in range(2))
    for connection in (first, second):
        connection.execute("BEGIN TRANSACTION")
    query(first, LOCK.format(0))
    first.close()

    assert [(0,)] == query(second, LOCK.format(0))


# -- what the server says about itself


def test_functions_and_views_of_the_server(server, db):
    """As far as the app asks."""
    server.permissions["CREATE TABLE"] = False

    assert [(5, "sluice", 0, 1)] == query(
        db,
        "SELECT CAST(SERVERPROPERTY('EngineEdition') AS int), DB_NAME(),"
        " HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'CREATE TABLE'), HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER STATE')",
    )
    assert [(server.log_rate,)] == query(db, "SELECT primary_max_log_rate FROM sys.dm_user_db_resource_governance")
    server.log_rate = None
    assert 300 == failure(db, "SELECT primary_max_log_rate FROM sys.dm_user_db_resource_governance")[1]


def test_the_age_of_a_table_is_that_of_the_servers_clock(server, db):
    """Which a test can set."""
    later = server.now() + dt.timedelta(hours=1)
    server.now = lambda: later

    assert [("t", True)] == [
        (name, 3_590 <= age <= 3_610)
        for name, age in query(
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

    assert [("c", "Managed Identity")] == query(
        db, "SELECT name, credential_identity FROM sys.database_scoped_credentials"
    )
    assert [("https://a.test/c", "BLOB_STORAGE")] == query(
        db, "SELECT location, type_desc FROM sys.external_data_sources WHERE name = N'D'"
    )
    assert 46502 == failure(db, source)[1]
    db.execute("DROP EXTERNAL DATA SOURCE [d]")
    assert [] == server.external_data_sources


# -- BULK INSERT


@pytest.fixture
def load(server, db):
    """Load some bytes into ``dbo.s``; the number of rows."""
    db.execute(
        "CREATE TABLE s (r bigint NOT NULL, n nvarchar(3) NULL, m nvarchar(max), b bit, d decimal(7,2), f float(53),"
        " g real, i datetime2(6), t time(6), k date, v varbinary(max))"
    )
    server.external_data_sources.append(
        {"name": "staging", "location": "https://a.test/c", "type_desc": "BLOB_STORAGE"}
    )

    def load(data: bytes | None, options: str = BULK_OPTIONS + ", MAXERRORS = 0") -> int:
        server.blobs = lambda source, path: data if (source, path) == ("staging", "a/b.csv") else None
        return db.execute(f"BULK INSERT [dbo].[s] FROM N'a/b.csv' WITH ({options})").rowcount

    return load


def test_bulk_insert_reads_every_type(load, db):
    """NULL is nothing between commas, an empty text is two quotes."""
    load(
        b'1,"a","x ""q"",\n",1,-1.50,1e-300,0.5,2026-01-02T03:04:05.0000067,01:02:03.5,2026-02-28,00ff\n'
        b'2,"",,0,,,,,,,\n'
    )

    moment = at(2026, 1, 2, 3, 4, 5, 6)
    assert [
        (1, "a", 'x "q",\n', True, Decimal("-1.50"), 1e-300, 0.5, moment, dt.time(1, 2, 3, 500_000),
         dt.date(2026, 2, 28), b"\x00\xff"),
        (2, "", None, False, *[None] * 7),
    ] == query(db, "SELECT * FROM s ORDER BY r")  # fmt: skip


@pytest.mark.parametrize(
    ("row", "number", "column"),
    [
        ("2,abcd,,,,,,,,,", 4863, "2 (n)"),
        ('2,"a😀b",,,,,,,,,', 4863, "2 (n)"),
        ("x,,,,,,,,,,", 4864, "1 (r)"),
        ("1.0,,,,,,,,,,", 4864, "1 (r)"),
        ("2,,,true,,,,,,,", 4864, "4 (b)"),
        ("2,,,,1e3,,,,,,", 4864, "5 (d)"),
        ("2,,,,,nan,,,,,", 4864, "6 (f)"),
        ("2,,,,,,,2026-01-01T00:00,,,", 4864, "8 (i)"),
        ("2,,,,,,,2026-13-01T00:00:00,,,", 4864, "8 (i)"),
        ("2,,,,,,,,,,0x00", 4864, "11 (v)"),
        ("9223372036854775808,,,,,,,,,,", 4867, "1 (r)"),
        ("2,,,,100000,,,,,,", 4867, "5 (d)"),
        ("2,,,,,1e999,,,,,", 4867, "6 (f)"),
        ("2,,,,,,1e39,,,,", 4867, "7 (g)"),
        (",,,,,,,,,,", 4869, "1"),
        ('2,a"b,,,,,,,,,', 4879, "2"),
        ('2,"a"b,,,,,,,,,', 4879, "2"),
        ("2,,,,,,,,,,,", 4879, "12"),
        ("2,,,", 4879, "5"),
    ],
)
def test_bulk_insert_refuses_a_file_for_one_field(load, db, row, number, column):
    """Naming row and column, and nothing of it is stored."""
    with pytest.raises(errors.ProgrammingError, match=rf"\({number}\)") as caught:
        load(f"1,,,,,,,,,,\n{row}\n3,,,,,,,,,,\n".encode())

    assert f"row 2, column {column}" in caught.value.args[1]
    assert [] == query(db, "SELECT * FROM s")


def test_bulk_insert_says_what_is_wrong_with_the_field(load):
    """In Microsoft's words."""
    with pytest.raises(errors.ProgrammingError) as caught:
        load(b"1,\xff,,,,,,,,,\n")

    assert (
        "[42000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Bulk load data conversion error (type mismatch "
        "or invalid character for the specified codepage) for row 1, column 2 (n). (4864) (SQLExecDirectW)"
    ) == caught.value.args[1]


def test_by_default_ten_bad_rows_are_dropped_without_a_word(load, db):
    """Which is why MAXERRORS has to be said."""
    assert 1 == load(b"1,,,,,,,,,,\n" + b"x,,,,,,,,,,\n" * 10, BULK_OPTIONS)
    with pytest.raises(errors.ProgrammingError, match=r"\(4864\)"):
        load(b"x,,,,,,,,,,\n" * 11, BULK_OPTIONS)


@pytest.mark.parametrize(
    ("data", "options", "number"),
    [
        (None, BULK_OPTIONS, 4860),
        (b"", BULK_OPTIONS.replace("staging", "other"), 12703),
        (b"", BULK_OPTIONS.partition(", ")[2], 12713),
        (b"1,", BULK_OPTIONS, 4832),
    ],
)
def test_bulk_insert_needs_its_file_and_its_data_source(load, data, options, number):
    """Names are reported apart, and a file that breaks off is noticed."""
    with pytest.raises(errors.ProgrammingError, match=rf"\({number}\)"):
        load(data, options)


def test_bulk_insert_does_not_reach_temporary_tables(load, db):
    """They are in another database."""
    db.execute("CREATE TABLE #s (a int)")

    assert 4834 == failure(db, f"BULK INSERT #s FROM N'a/b.csv' WITH ({BULK_OPTIONS})")[1]


def test_bulk_insert_rolls_back_with_its_transaction(load, db):
    """It is DML like any other."""
    db.execute("BEGIN TRANSACTION")
    load(b"1,,,,,,,,,,\n")
    db.execute("ROLLBACK")

    assert [] == query(db, "SELECT * FROM s")


def test_a_last_row_may_lack_its_line_feed():
    """The reader is strict about all the rest."""
    assert [[b"1", None], [b"2", b""]] == bulk.read(b'1,\n2,""', 2)


# -- faults on demand


def test_a_deadlock_on_demand_ends_the_transaction(server, db):
    """Once, before the statement did anything."""
    server.fail_next("INSERT INTO t", 1205)
    db.execute("BEGIN TRANSACTION; UPDATE t SET id = 0")

    assert ("40001", 1205) == failure(db, "INSERT INTO t (id) VALUES (1)")[:2]
    db.execute("INSERT INTO t (id) VALUES (2)")
    assert [(0, 1)] == query(db, "SELECT @@TRANCOUNT, (SELECT COUNT(*) FROM t)")


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
    assert [(rows,)] == query(db, "SELECT COUNT(*) FROM t")


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

    assert [(20,)] == query(db, "SELECT COUNT(*) FROM t")

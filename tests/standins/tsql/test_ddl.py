"""Tables, columns, schemas, views and indexes are declared and remembered as in SQL Server."""

from __future__ import annotations

import datetime as dt

from decimal import Decimal

from tests.standins.tsql.samples import ask, at, failure


def test_information_schema_tells_the_declared_types(db):
    """With lengths in UTF-16 units, -1 for max, digits and collations; names compare without case."""
    db.execute(
        "CREATE TABLE kinds (a bigint NOT NULL, b nvarchar(40), c nvarchar(max) COLLATE Latin1_General_100_BIN2, d bit,"
        " e float(53), f double precision, g real, h decimal(18,4), i datetime2(6), j time(6), k date,"
        " l varbinary(max), m smallint)"
    )
    described = ask(
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

    assert [(True, Decimal("1.50"), at(2026, 1, 1, 1, 2, 3, 4), dt.time(1, 2, 3, 4), b"\x00\xff", 0.5)] == ask(
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

    assert [(3, None)] == ask(
        db, "SELECT COUNT(*), OBJECT_ID(N'k') FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = N't'"
    )
    assert [] == ask(db, "SELECT name FROM sys.indexes")


def test_altering_a_column_forgets_what_is_not_said_again(db):
    """NOT NULL goes, and so does the collation."""
    db.execute("ALTER TABLE t ALTER COLUMN id decimal(20,0); ALTER TABLE t ALTER COLUMN code nvarchar(450)")

    assert [("YES", "decimal", None), ("YES", "nvarchar", "SQL_Latin1_General_CP1_CI_AS")] == ask(
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
    assert [("id",), ("code",)] == ask(db, "SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS")


def test_a_new_column_takes_its_default_only_where_it_has_to(db):
    """Rows that are there get it if the column is NOT NULL, or WITH VALUES is said."""
    db.execute("INSERT INTO t (id) VALUES (1)")
    db.execute(
        "ALTER TABLE t ADD a int NULL CONSTRAINT a DEFAULT 1; ALTER TABLE t ADD b int NOT NULL CONSTRAINT b DEFAULT 2"
    )
    db.execute("ALTER TABLE t ADD c int NULL CONSTRAINT c DEFAULT 3 WITH VALUES; INSERT INTO t (id) VALUES (2)")

    assert [(1, None, 2, 3), (2, 1, 2, 3)] == ask(db, "SELECT id, a, b, c FROM t ORDER BY id")
    assert 4901 == failure(db, "ALTER TABLE t ADD d int NOT NULL")[1]


def test_schemas_are_made_once_and_tables_move_between_them(db):
    """CREATE SCHEMA has to be a batch of its own, so it goes through EXEC."""
    for _ in range(2):
        db.execute("IF SCHEMA_ID(N'x') IS NULL EXEC(N'CREATE SCHEMA [x]')")
    db.execute("INSERT INTO t (id, name) VALUES (1, N'A'); ALTER SCHEMA x TRANSFER dbo.t")

    assert [(1, "A")] == ask(db, "SELECT id, name FROM x.t WHERE name = N'a'")
    assert [("x", "NO")] == ask(
        db, "SELECT TABLE_SCHEMA, IS_NULLABLE FROM INFORMATION_SCHEMA.COLUMNS WHERE COLUMN_NAME = N'id'"
    )


def test_sp_rename_renames_tables_and_columns_with_all_that_is_known_of_them(db):
    """The new name has no schema and no brackets."""
    db.execute("CREATE INDEX i ON t (id)")
    db.execute("EXEC sp_rename N'dbo.t', N'u'; EXEC sp_rename N'dbo.u.name', N'label', N'COLUMN'")

    assert [("label", 5)] == ask(
        db,
        "SELECT COLUMN_NAME, CHARACTER_MAXIMUM_LENGTH FROM INFORMATION_SCHEMA.COLUMNS"
        " WHERE TABLE_NAME = N'u' AND ORDINAL_POSITION = 2",
    )
    assert [("i",)] == ask(db, "SELECT i.name FROM sys.indexes AS i WHERE i.object_id = OBJECT_ID(N'dbo.u')")
    assert 15225 == failure(db, "EXEC sp_rename N'dbo.t', N'v'")[1]


def test_views_are_replaced(db):
    """CREATE OR ALTER, and they are tables to INFORMATION_SCHEMA."""
    db.execute("INSERT INTO t (id) VALUES (1), (2)")
    for least in (2, 1):
        db.execute(f"CREATE OR ALTER VIEW v AS SELECT id FROM t WHERE id >= {least}")

    assert [(1,), (2,)] == ask(db, "SELECT id FROM v ORDER BY id")
    assert [("VIEW",)] == ask(db, "SELECT TABLE_TYPE FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME = N'v'")


def test_temporary_tables_are_their_connections_own(server, db):
    """Two connections may have one of the same name, and each ends with its own."""
    other = server.connect(autocommit=True)
    for connection, value in ((db, 1), (other, 2)):
        connection.execute(f"CREATE TABLE #k (a int); INSERT INTO #k VALUES ({value})")

    assert ([(1,)], [(2,)]) == (ask(db, "SELECT a FROM #k"), ask(other, "SELECT [#k].a FROM [#k]"))
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
    assert [(2,)] == ask(db, "SELECT COUNT(*) FROM t")


def test_an_index_key_has_a_length(db):
    """1,700 bytes: what may be longer is refused row by row, and a max column at once."""
    db.execute("CREATE TABLE k (a nvarchar(1000), b nvarchar(max)); CREATE INDEX i ON k (a)")
    db.execute("INSERT INTO k (a) VALUES (?)", "x" * 850)

    assert 1946 == failure(db, "INSERT INTO k (a) VALUES (?)", "x" * 851)[1]
    assert 1919 == failure(db, "CREATE INDEX j ON k (b)")[1]

"""Texts compare, and rows change, as in SQL Server."""

from __future__ import annotations

import datetime as dt

from decimal import Decimal

import pytest

from tests.standins.tsql import errors
from tests.standins.tsql.engine import Server
from tests.standins.tsql.samples import failure, query

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


def test_texts_are_ordered_as_they_compare(db):
    """What only differs in case or in trailing blanks has the same place."""
    db.execute("INSERT INTO t VALUES (3, N'a', N'x'), (1, N'A ', N'x'), (2, N'a ', N'x'), (4, N'B', N'x')")

    assert [(1,), (2,), (3,), (4,)] == query(db, "SELECT t.id FROM t ORDER BY t.name, t.id")


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


def test_arrays_go_one_by_one_where_it_is_not_requested_to_be_fast(server, db):
    """Or where the statement is no plain INSERT."""
    before = server.executes
    db.cursor().executemany("INSERT INTO t (id) VALUES (?)", [(1,), (2,)])

    assert 2 == server.executes - before

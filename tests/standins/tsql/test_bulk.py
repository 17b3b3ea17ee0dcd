"""BULK INSERT reads and refuses files as SQL Server does."""

from __future__ import annotations

import datetime as dt

from decimal import Decimal

import pytest

from tests.standins.tsql import bulk, errors
from tests.standins.tsql.samples import BULK_OPTIONS, ask, at, failure


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
    ] == ask(db, "SELECT * FROM s ORDER BY r")  # fmt: skip


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
    assert [] == ask(db, "SELECT * FROM s")


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
    """Names are told apart, and a file that breaks off is noticed."""
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

    assert [] == ask(db, "SELECT * FROM s")


def test_a_last_row_may_lack_its_line_feed():
    """The reader is strict about all the rest."""
    assert [[b"1", None], [b"2", b""]] == bulk.read(b'1,\n2,""', 2)

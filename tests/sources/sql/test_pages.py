"""Pages are the same, whether made of whole columns or of a driver's rows."""

from __future__ import annotations

import io

import pymysql
import pytest

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared.model import Unit
from shared.sources.sql import pages, wire
from tests.servers.source_table import BOTH, SourceTable

pytestmark = pytest.mark.usefixtures("in_a_hurry")

TEXTS = ("", "NULL", "\\N", "'", '"', '""', '"a"', "a,b", "a\nb", "a\r\nb", "\n",
         "\r", "\\.", "\\", "a\\", "\t", " ", "é€😀",
         "x" * 250, "x" * 251, "é" * 40_000, "%s %(a)s %%", ";", "--")  # fmt: skip


@pytest.fixture(params=BOTH)
def data(request):
    """A database on one server, dropped afterwards."""
    server = request.getfixturevalue(request.param)
    table = SourceTable(server, server.create_database())
    yield table
    server.drop_database(table.database)


def batches(source):
    return [batch for part in source.describe(Unit(kind="full")).slices for batch in source.read(part)]


def compared(data, monkeypatch, **options):
    """What is read column by column, after it was found to be what is read row by row."""
    columns = batches(data.source(cursor=None, **options))
    with monkeypatch.context() as patch:
        patch.setattr(pages, "READERS", {})
        rows = batches(data.source(cursor=None, **options))
    assert [batch.schema for batch in rows] == [batch.schema for batch in columns]
    assert [repr(batch.to_pylist()) for batch in rows] == [repr(batch.to_pylist()) for batch in columns]
    return columns


def test_texts_and_bytes_with_traps_are_the_same(data, monkeypatch):
    """An empty text is not NULL; quotes, line ends, backslashes and long values are kept."""
    kinds = ("longtext", "longblob") if data.is_mariadb else ("text", "bytea")
    name = "Id" if data.is_mariadb else '"Id"'
    data.do(f"CREATE TABLE item ({name} int PRIMARY KEY, a {kinds[0]}, b {kinds[1]}, c {kinds[0]})")
    with data.engine.begin() as connection:
        for n, text in enumerate((*TEXTS, None)):
            values = (n, text, None if text is None else text.encode("utf-16"), None if n % 2 else text)
            connection.exec_driver_sql("INSERT INTO item VALUES (%s, %s, %s, %s)", values)

    found = [row for batch in compared(data, monkeypatch, batch_rows=7) for row in batch.to_pylist()]

    assert [*TEXTS, None] == [row["a"] for row in found]
    assert [None if text is None else text.encode("utf-16") for text in (*TEXTS, None)] == [row["b"] for row in found]


@pytest.mark.parametrize("batch_rows", [1, 100])
def test_every_type_of_mariadb_is_the_same(mariadb, mariadb_database, monkeypatch, batch_rows):
    """Also zero dates, times beyond a day, numbers at their ends, zeros in front, bits, and text in other alphabets."""
    data = SourceTable(mariadb, mariadb_database)
    data.do(
        """CREATE TABLE item (Id INT(9) ZEROFILL PRIMARY KEY, t TINYINT(1), bu BIGINT UNSIGNED, b BIGINT, y YEAR,
        d DECIMAL(20,4), dd DECIMAL(65,30), dz DECIMAL(9,3) ZEROFILL, f FLOAT, db DOUBLE, b1 BIT(1), b64 BIT(64),
        da DATE, dt DATETIME(6), dt0 DATETIME, ts TIMESTAMP(3) NULL,
        ti TIME(6), e ENUM('b','a',''), s SET('x','y'), j JSON,
        l TEXT CHARACTER SET latin1, ko CHAR(5) CHARACTER SET koi8r, bi VARBINARY(9), g POINT, u UUID)""",
        "SET SESSION sql_mode = ''",
    )
    with data.engine.begin() as connection:
        connection.exec_driver_sql("SET SESSION sql_mode = ''")
        connection.exec_driver_sql(
            """INSERT INTO item VALUES (1, -128, 18446744073709551615, -9223372036854775808, 1901, -0.0001,
            12345678901234567890123456789012345.000000000000000000000000000001, 1.5, 3.4e38, -1.7976931348623157e308,
            b'1', b'1111111111111111111111111111111111111111111111111111111111111111', '9999-12-31',
            '0001-01-01 00:00:00.000001', '2026-02-30',
            '2038-01-19 03:14:07.999', '-838:59:59.000001', '', '', '{"a": "\\\\u00e9"}',
            x'E9FF8F', _utf8mb4'Привет', x'00FF00', POINT(1, 2), '123e4567-e89b-12d3-a456-426655440000')"""
        )
        connection.exec_driver_sql(
            "INSERT INTO item (Id, da, dt, dt0, ts, y, f, db) VALUES (2, 0, 0, 0, 0, 0, 1e-45, 2.2250738585072014e-308)"
        )
        connection.exec_driver_sql(
            "INSERT INTO item (Id, da, dt, ti, b1) VALUES (3, '2026-00-10', NOW(6), '01:02:03', b'0')"
        )
        connection.exec_driver_sql("INSERT INTO item (Id) VALUES (4)")

    assert 4 == sum(map(len, compared(data, monkeypatch, batch_rows=batch_rows)))


@pytest.mark.parametrize("batch_rows", [1, 100])
def test_every_type_of_postgresql_is_the_same(postgres, database, monkeypatch, batch_rows):
    """Also infinities, NaN, years before Christ, arrays, domains and what is cast to text."""
    data = SourceTable(postgres, database)
    data.do(
        "CREATE TYPE mood AS ENUM ('b', 'a')",
        """CREATE TABLE item ("Id" int PRIMARY KEY, s smallint, b bigint, d numeric(20,4), n numeric, r real, f float8,
        o boolean, da date, ts timestamp, tz timestamptz, ti time, ttz timetz, iv interval, m mood, j json, jb jsonb,
        by bytea, u uuid, a int[], at text[], rg int4range,
        ip inet, ch char(3), x xml, mo money, bt bit(3), vb varbit)""",
        r"""INSERT INTO item VALUES (1, -32768, -9223372036854775808, 'NaN', 'NaN', 'NaN', '-Infinity', true,
        'infinity', '-infinity', 'infinity', '24:00', '12:00:00.000001+02', '-1 month 3 days', 'a', '{"a":  "\u00e9"}',
        '{"a":  1.10}', '\x', '123e4567-e89b-12d3-a456-426655440000', '{1,NULL}', '{"a,b","\"",NULL,""}', '[1,3)',
        '::1',
        'a', '<a/>', 12.5, b'101', b'1')""",
        r"""INSERT INTO item VALUES (2, 1, 1, -0.0001, 1e100, 3.4e38, 5e-324, false, '0044-03-15 BC',
        '0001-01-01 00:00:00.000001', '9999-12-31 23:59:59.999999+00', '00:00', '12:00+00', '0', 'b', 'null', 'null',
        '\x00ff', NULL, '{}', '{}', 'empty', '10.0.0.0/8', '', '', -1, b'000', b'')""",
        """INSERT INTO item ("Id", d, da, ts, tz) VALUES (3, 1, '2026-02-24', '2026-02-24', '2026-02-24 12:00+02')""",
        'INSERT INTO item ("Id") VALUES (4)',
    )

    assert 4 == sum(map(len, compared(data, monkeypatch, batch_rows=batch_rows)))


def test_a_row_longer_than_a_packet_is_joined(mariadb, mariadb_database, monkeypatch):
    """It comes in several packets of 16 MB; those around it are whole."""
    data = SourceTable(mariadb, mariadb_database)
    data.do(
        "CREATE TABLE item (Id INT PRIMARY KEY, a LONGTEXT, b LONGTEXT, c INT)",
        "INSERT INTO item VALUES (1, 'x', NULL, 1), (2, REPEAT('ab', 5000000), REPEAT('cd', 4000000), 2)",
        "INSERT INTO item VALUES (3, '', '', 3)",
    )

    (batch,) = compared(data, monkeypatch)

    assert ["x", "ab" * 5_000_000, ""] == batch["a"].to_pylist()
    assert [None, "cd" * 4_000_000, ""] == batch["b"].to_pylist()


# -- the protocol alone


class _Pieces(io.RawIOBase):
    """A socket from which bytes come in pieces."""

    def __init__(self, sent, size):
        self._sent, self._size = sent, size

    def readable(self):
        return True

    def readinto(self, room):
        piece, self._sent = self._sent[: min(self._size, len(room))], self._sent[min(self._size, len(room)) :]
        room[: len(piece)] = piece
        return len(piece)


def packet(payload):
    return len(payload).to_bytes(3, "little") + b"\0" + payload


def value(data):
    if data is None:
        return b"\xfb"
    size = len(data)
    mark = b"" if size < 251 else b"\xfc" if size < 1 << 16 else b"\xfd"
    return mark + size.to_bytes({b"": 1, b"\xfc": 2, b"\xfd": 3}[mark], "little") + data


END = packet(b"\xfe\0\0\x21\0")
_VALUES = st.one_of(
    st.none(), st.binary(max_size=300), st.sampled_from([b"\xfe" * 250, b"\xff" * 251, b"x" * 70_000, b""])
)


@hypothesis_settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(_VALUES, _VALUES, _VALUES), max_size=30), st.integers(1, 5_000))
def test_rows_come_out_as_they_were_sent(rows, size):
    """Whatever is in them, and however they are cut on their way."""
    sent = b"".join(packet(b"".join(map(value, row))) for row in rows) + END
    stream = io.BufferedReader(_Pieces(sent, size))
    found = [wire._columns(block, 3) for block in wire._blocks(stream)]

    assert rows == [row for arrays in found for row in zip(*(array.to_pylist() for array in arrays), strict=True)]


def test_what_ends_in_the_middle_is_an_error():
    """The server's own, or that the connection is lost."""
    rows = packet(value(b"a")) * 3
    refused = packet(b"\xff\x28\x05#HY000" + b"Query execution was interrupted")

    with pytest.raises(pymysql.OperationalError, match="Lost connection"):
        list(wire._blocks(io.BufferedReader(_Pieces(rows[:-1], 7))))
    with pytest.raises(pymysql.MySQLError, match="interrupted"):
        list(wire._blocks(io.BufferedReader(_Pieces(rows + refused, 7))))

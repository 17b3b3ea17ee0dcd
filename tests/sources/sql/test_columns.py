"""Types, values and names of columns, as each server has them."""

from __future__ import annotations

import datetime as dt

from decimal import Decimal

import pyarrow as pa
import pytest
import sqlalchemy as sa

from shared.contract.cast import cast
from shared.model import Feed
from shared.sources.sql import columns, mysql, open_source
from tests.servers.source_table import MOMENT, SourceTable, at, item, rows, window, with_database

pytestmark = pytest.mark.usefixtures("in_a_hurry")

UTC = dt.UTC
LAST = dt.datetime.max  # noqa: DTZ901 - naive, as the columns are


@pytest.fixture
def maria(mariadb, mariadb_database):
    """A database on MariaDB alone."""
    return SourceTable(mariadb, mariadb_database)


@pytest.fixture
def postgresql(postgres, database):
    """A database on PostgreSQL alone."""
    return SourceTable(postgres, database)


def ids(found):
    return [row["Id"] for row in found]


@pytest.mark.parametrize("name", ['a"b', "a`b", "a%sb", "a b", "é:c", "select", "x]y", "a'b", "%(a)s", "a,b(c)", "q?r"])
def test_any_name_works_for_table_and_columns(any_table, name):
    """They are always quoted."""
    columns = (sa.Column(name, sa.Integer, primary_key=True, autoincrement=False), sa.Column(f"{name}2", MOMENT))
    any_table.create(sa.Table(name, sa.MetaData(), *columns), *({name: n, f"{name}2": at(n)} for n in range(5)))
    source = any_table.source(name, (name,), f"{name}2", batch_rows=2, slice_rows=2)

    assert [{name: n, f"{name}2": at(n)} for n in range(5)] == rows(source)


def test_a_view_is_read_as_a_table(any_table):
    """No constraint makes anything unique there."""
    any_table.create(item(), *({"Id": n, "At": at(n // 2)} for n in range(5)))
    any_table.do("CREATE VIEW seen AS SELECT * FROM item")

    assert [0, 1, 2, 3, 4] == ids(rows(any_table.source("seen", batch_rows=1, slice_rows=2)))


def test_a_table_of_another_schema_is_named_by_the_url(source_table):
    """With ?schema= in it."""
    source_table.do(f"CREATE SCHEMA other_{source_table.database}")
    table = item().to_metadata(sa.MetaData(), schema=f"other_{source_table.database}")
    source_table.create(table, {"Id": 1, "At": at(1)})
    feed = Feed(system="shop", table="item", source="sql", keys=("Id",), cursor="At")
    url = source_table.server.url(source_table.database, schema=f"other_{source_table.database}")

    assert [1] == ids(rows(open_source(feed, with_database(url))))
    source_table.do(f"DROP SCHEMA other_{source_table.database}" + ("" if source_table.is_mariadb else " CASCADE"))


def test_every_type_of_mariadb_is_read(maria):
    """Each as a type that holds all of its values."""
    maria.do(
        """CREATE TABLE item (Id INT PRIMARY KEY, At TIMESTAMP(6), t TINYINT, tu TINYINT UNSIGNED, bu BIGINT UNSIGNED,
        m MEDIUMINT, y YEAR, d DECIMAL(20,4), dd DECIMAL(65,30), f FLOAT, db DOUBLE, b1 BIT, b9 BIT(9), da DATE,
        dt DATETIME(6), ti TIME(6), e ENUM('b','a'), s SET('x','y'), j JSON, c CHAR(3) CHARACTER SET latin1,
        bi VARBINARY(9), bl LONGBLOB, u UUID, g POINT)""",
        """INSERT INTO item VALUES (1, '2026-02-24 12:00:00.000001', -128, 255, 18446744073709551615, -8388608, 2026,
        1234567890123456.7891, 12345678901234567890123456789012345.000000000000000000000000000001, 16777217,
        0.1, b'1', b'100000001', '2026-02-24', '9999-12-31 23:59:59.999999', '23:59:59.999999', 'a', 'x,y',
        '{"a": 1.10}', _utf8mb4'é', x'00FF', x'00FE', '123e4567-e89b-12d3-a456-426655440000', POINT(1, 2))""",
        "INSERT INTO item (Id, At) VALUES (2, '2026-02-25')",
    )
    source = maria.source()
    first, second = rows(source)
    types = {field.name: field.type for field in next(iter(source.describe(window(source)).schemas.values()))}

    assert types == {
        "Id": pa.int32(), "At": pa.timestamp("us", "UTC"), "t": pa.int8(), "tu": pa.uint8(), "bu": pa.uint64(),
        "m": pa.int32(), "y": pa.int16(), "d": pa.decimal128(20, 4), "dd": pa.string(), "f": pa.float32(),
        "db": pa.float64(), "b1": pa.bool_(), "b9": pa.uint64(), "da": pa.date32(), "dt": pa.timestamp("us"),
        "ti": pa.time64("us"), "e": pa.string(), "s": pa.string(), "j": pa.string(), "c": pa.string(),
        "bi": pa.binary(), "bl": pa.binary(), "u": pa.string(), "g": pa.string(),
    }  # fmt: skip
    assert first == {
        "Id": 1, "At": dt.datetime(2026, 2, 24, 12, 0, 0, 1, UTC), "t": -128, "tu": 255,
        "bu": 18446744073709551615, "m": -8388608, "y": 2026, "d": Decimal("1234567890123456.7891"),
        "dd": "12345678901234567890123456789012345.000000000000000000000000000001", "f": 16777216.0, "db": 0.1,
        "b1": True, "b9": 257, "da": dt.date(2026, 2, 24), "dt": LAST,
        "ti": "23:59:59.999999", "e": "a", "s": "x,y", "j": '{"a": 1.10}', "c": "é", "bi": b"\x00\xff",
        "bl": b"\x00\xfe", "u": "123e4567-e89b-12d3-a456-426655440000", "g": "POINT(1 2)",
    }  # fmt: skip
    assert {None} == {value for name, value in second.items() if name not in ("Id", "At")}


def test_every_type_of_postgresql_is_read(postgresql):
    """Each as a type that holds all of its values."""
    postgresql.do(
        "CREATE TYPE mood AS ENUM ('b', 'a')",
        "CREATE DOMAIN positive AS numeric(9,2) CHECK (VALUE > 0)",
        """CREATE TABLE item ("Id" int PRIMARY KEY, "At" timestamptz, s smallint, b bigint, d numeric(20,4),
        n numeric, p positive, r real, f float8, o boolean, da date, ts timestamp, ti time, tz timetz, iv interval,
        m mood, j json, jb jsonb, by bytea, u uuid, a int[], rg int4range, ip inet, ch char(3), x xml)""",
        """INSERT INTO item VALUES (1, '2026-02-24 14:00:00.000001+02', -32768, 9223372036854775807,
        1234567890123456.7891, 123456789012345678901234567890.00000000000000000001, 1.5, 0.1, 0.1, true, '2026-02-24',
        '9999-12-31 23:59:59.999999', '23:59:59.999999', '12:00+02', '1 month', 'a', '{"a":  1.10}', '{"a":  1.10}',
        '\\x00ff', '123e4567-e89b-12d3-a456-426655440000', '{1,NULL}', '[1,3)', '::1', 'a', '<a/>')""",
        """INSERT INTO item ("Id", "At") VALUES (2, '2026-02-25')""",
    )
    source = postgresql.source()
    first, second = rows(source)
    types = {field.name: field.type for field in next(iter(source.describe(window(source)).schemas.values()))}

    assert {name: str(kind) for name, kind in types.items() if kind != pa.string()} == {
        "Id": "int32", "At": "timestamp[us, tz=UTC]", "s": "int16", "b": "int64", "d": "decimal128(20, 4)",
        "p": "decimal128(9, 2)",
        "r": "float", "f": "double", "o": "bool", "da": "date32[day]",
        "ts": "timestamp[us]", "ti": "time64[us]", "by": "binary",
    }  # fmt: skip
    assert first == {
        "Id": 1, "At": dt.datetime(2026, 2, 24, 12, 0, 0, 1, UTC), "s": -32768, "b": 9223372036854775807,
        "d": Decimal("1234567890123456.7891"), "n": "123456789012345678901234567890.00000000000000000001",
        "p": Decimal("1.50"), "r": pytest.approx(0.1), "f": 0.1, "o": True, "da": dt.date(2026, 2, 24),
        "ts": LAST, "ti": "23:59:59.999999", "tz": "12:00:00+02",
        "iv": "1 mon", "m": "a", "j": '{"a":  1.10}', "jb": '{"a": 1.10}', "by": b"\x00\xff",
        "u": "123e4567-e89b-12d3-a456-426655440000", "a": "[1, null]", "rg": "[1,3)", "ip": "::1/128", "ch": "a  ",
        "x": "<a/>",
    }  # fmt: skip
    assert {None} == {value for name, value in second.items() if name not in ("Id", "At")}


def test_a_date_of_zeros_leaves_its_page_as_text(maria):
    """So that the contract can reject it; the other values of its page are read from the text."""
    maria.do(
        "CREATE TABLE item (Id INT PRIMARY KEY, At DATETIME NOT NULL, d DATE, t TIME, s TIMESTAMP NULL)",
        """INSERT INTO item VALUES (1, '0000-00-00', '0000-00-00', '838:59:59', '0000-00-00'),
        (2, '2026-02-24', '2026-02-24', '-00:00:01', '2026-02-24')""",
    )
    source = maria.source(batch_rows=1, slice_rows=1)

    assert rows(source) == [
        {"Id": 1, "At": "0000-00-00 00:00:00", "d": "0000-00-00", "t": "838:59:59", "s": "0000-00-00 00:00:00+00:00"},
        {
            "Id": 2, "At": dt.datetime(2026, 2, 24), "d": dt.date(2026, 2, 24), "t": "-00:00:01",  # noqa: DTZ001
            "s": dt.datetime(2026, 2, 24, tzinfo=UTC),
        },
    ]  # fmt: skip


def test_a_value_that_only_postgresql_holds_leaves_its_page_as_text(postgresql):
    """Infinity, a year before the first, an hour after the last, no number."""
    postgresql.do(
        """CREATE TABLE item ("Id" int PRIMARY KEY, "At" int, a timestamptz, d date, t time, n numeric(5,2))""",
        """INSERT INTO item VALUES (1, 1, 'infinity', '0044-03-15 BC', '24:00', 'NaN'),
        (2, 2, '2026-02-24', '2026-02-24', '12:00', 1.5)""",
    )

    assert rows(postgresql.source()) == [
        {"Id": 1, "At": 1, "a": "infinity+00:00", "d": "0044-03-15 BC", "t": "24:00:00", "n": "NaN"},
        {"Id": 2, "At": 2, "a": "2026-02-24 00:00:00+00:00", "d": "2026-02-24", "t": "12:00:00", "n": "1.50"},
    ]


def test_enum_keys_are_paged_in_one_order(maria):
    """MariaDB would order them by number, and compare them as text."""
    maria.do(
        "CREATE TABLE item (Id ENUM('z','a','m') PRIMARY KEY, At INT)",
        "INSERT INTO item VALUES ('z',1),('a',1),('m',1)",
    )

    assert ["a", "m", "z"] == ids(rows(maria.source(batch_rows=1, slice_rows=1)))


def test_numbers_longer_than_a_decimal_are_paged_as_numbers(source_table):
    """They are text only where they are stored."""
    kind = sa.Numeric(50, 0)
    table = sa.Table("item", sa.MetaData(), sa.Column("Id", kind, primary_key=True), sa.Column("At", sa.Integer))
    numbers = [10**40 + n for n in range(4)] + [9, 10]
    source_table.create(table)
    source_table.do(*(f"INSERT INTO item VALUES ({n}, 1)" for n in numbers))

    assert [str(n) for n in sorted(numbers)] == ids(rows(source_table.source(batch_rows=1, slice_rows=1)))


def test_bytes_that_are_no_text_reach_the_contract():
    """A server passes on what a client stored under a wrong name: the contract rejects that value alone."""
    texts = [b"\xc3\xa9".decode(mysql._CODEC), b"\xff\xe9".decode(mysql._CODEC)]
    found = columns.array(texts, pa.string())
    made = cast(found, "text")

    assert b"\xff\xe9" == found.view(pa.binary())[1].as_py()
    assert ["é", None] == made.values.to_pylist()
    assert [[False, True]] == [fault.where.to_pylist() for fault in made.faults]

"""Tables of real MariaDB and PostgreSQL servers as a source, without the rest of the product."""

from __future__ import annotations

import datetime as dt
import json

from dataclasses import asdict
from decimal import Decimal
from itertools import pairwise, product

import pyarrow as pa
import pytest
import sqlalchemy as sa
import stamina

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared.errors import ConfigError, DataError, TransientError
from shared.model import Feed, Slice, Unit, Window, from_json, to_text
from shared.settings import Settings
from shared.sources import Ceiling
from shared.sources.sql import database as session
from shared.sources.sql import open_source
from shared.sources.sql.tables import SqlSource
from tests.servers.source_table import BOTH, MOMENT, SourceTable, at, item, rows, rows_of, window, with_database

pytestmark = pytest.mark.usefixtures("in_a_hurry")

UTC = dt.UTC
LAST = dt.datetime.max  # noqa: DTZ901 - naive, as the columns are


@pytest.fixture(params=["private_mariadb", "private_postgres"])
def private_source_table(request):
    """A database on a server that may be killed."""
    server = request.getfixturevalue(request.param)
    return SourceTable(server, server.create_database())


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


# -- windows


def test_the_ceiling_is_the_highest_cursor(source_table):
    """As cursor text; and there is nothing more."""
    source_table.create(item(), {"Id": 1, "At": at(1)}, {"Id": 2, "At": at(3)}, {"Id": 3, "At": at(2)})

    assert Ceiling(to_text(at(3)), more=False) == source_table.source().ceiling(None)
    assert Ceiling(to_text(at(3)), more=False) == source_table.source().ceiling(to_text(at(1)))


def test_an_empty_table_has_no_ceiling(source_table):
    """Nor has one in which no row has a cursor."""
    table = source_table.create(item())
    empty = source_table.source().ceiling(None)
    source_table.do(table.insert().values(Id=1, At=None))

    assert (None, None) == (empty, source_table.source().ceiling(None))


def test_the_ceiling_leaves_rows_for_the_next_window(source_table):
    """It is the cursor of the last row that one run takes, counted from the watermark; equal cursors go together."""
    source_table.create(item(), *({"Id": n, "At": at(n // 2)} for n in range(10)))
    source = source_table.source(sync_rows=3)

    assert Ceiling(to_text(at(1)), more=True) == source.ceiling(None)
    assert Ceiling(to_text(at(3)), more=True) == source.ceiling(to_text(at(1)))
    assert Ceiling(to_text(at(4)), more=False) == source.ceiling(to_text(at(3)))


def test_the_ceiling_is_there_still_when_nothing_is_above_the_watermark(source_table):
    """So that the overlap is read again."""
    source_table.create(item(), {"Id": 1, "At": at(1)})

    assert Ceiling(to_text(at(1)), more=False) == source_table.source().ceiling(to_text(at(1)))
    assert Ceiling(to_text(at(1)), more=False) == source_table.source().ceiling(to_text(at(9)))


def test_a_window_has_both_its_ends(source_table):
    """The floor and the ceiling are in it, what is below and above is not."""
    source_table.create(item(), *({"Id": n, "At": at(n)} for n in range(5)))
    unit = Unit(kind="window", window=Window(to_text(at(1)), to_text(at(3))))

    assert [1, 2, 3] == ids(rows(source_table.source(), unit))


def test_only_the_first_window_has_the_rows_without_cursor(source_table):
    """They are below every cursor."""
    source_table.create(item(), *({"Id": n, "At": None if n % 2 else at(n)} for n in range(6)))
    source = source_table.source(batch_rows=1, slice_rows=2)

    assert [1, 3, 5, 0, 2, 4] == ids(rows(source))
    assert [0, 2, 4] == ids(rows(source, window(source, to_text(at(0)))))


def test_a_row_that_changes_while_it_is_read_is_in_the_next_window(source_table):
    """The ceiling was fixed when the read was planned."""
    table = source_table.create(item(), *({"Id": n, "At": at(n)} for n in range(4)))
    source = source_table.source(batch_rows=1)
    (part,) = source.describe(window(source)).slices
    reading = rows_of(source, part)
    first = [next(reading)["Id"], next(reading)["Id"]]
    source_table.do(table.update().where(table.c.Id == 3).values(At=at(9)))

    assert [0, 1, 2] == first + ids(reading)
    assert [3] == ids(rows(source, window(source, to_text(at(5)))))


def test_nothing_in_a_window_is_one_empty_slice(source_table):
    """As of a file without rows: columns are known all the same."""
    source_table.create(item(), {"Id": 1, "At": at(1)})
    source = source_table.source()
    described = source.describe(Unit(kind="window", window=Window(to_text(at(5)), to_text(at(6)))))

    assert [0] == [part.rows for part in described.slices]
    assert [] == list(rows_of(source, described.slices[0]))
    assert ["Id", "At"] == next(iter(described.schemas.values())).names


def test_a_table_without_cursor_is_read_whole(source_table):
    """In the order of its keys."""
    table = sa.Table("item", sa.MetaData(), sa.Column("Id", sa.Integer, primary_key=True), sa.Column("A", sa.Text))
    source_table.create(table, *({"Id": n, "A": f"{n}"} for n in (3, 1, 2, 5, 4)))

    assert [1, 2, 3, 4, 5] == ids(rows(source_table.source(cursor=None, batch_rows=2, slice_rows=2), Unit(kind="full")))


# -- slices and pages


def test_slices_are_cut_at_rows_and_numbered_far_apart(source_table):
    """Their rows are counted, and one that gets rows meanwhile does not run into the numbers of the next."""
    source_table.create(item(), *({"Id": n, "At": at(n)} for n in range(5)))
    source = source_table.source(slice_rows=2)
    slices = source.describe(window(source)).slices

    assert [2, 2, 1] == [part.rows for part in slices]
    assert [0, 2, 4] == [part.origin_row for part in slices]
    assert all(after.first_row - before.first_row > 1 << 32 for before, after in pairwise(slices))
    assert [[0, 1], [2, 3], [4]] == [ids(rows_of(source, part)) for part in slices]


def test_a_slice_travels_as_json(source_table):
    """Another process with a source of its own reads the same."""
    key = sa.Column("Key", sa.LargeBinary(8).with_variant(sa.VARBINARY(8), "mysql"), nullable=False)
    price = sa.Column("Price", sa.Numeric(12, 3), nullable=False)
    source_table.create(
        item(key, price, exact=False, cursor=sa.Float(53)),
        *({"Id": n, "At": n / 3, "Key": bytes([n, 255]), "Price": Decimal(n) / 8} for n in range(5)),
    )
    keys = ("Key", "Price")
    source = source_table.source(keys=keys, slice_rows=2)
    slices = source.describe(window(source)).slices
    travelled = [from_json(Slice, json.loads(json.dumps(asdict(part)))) for part in slices]
    elsewhere = source_table.source(keys=keys, batch_rows=1)

    assert [[0, 1], [2, 3], [4]] == [ids(rows_of(elsewhere, part)) for part in travelled]


def test_pages_grow_to_the_size_of_a_batch_but_wide_rows_keep_them_small(source_table, monkeypatch):
    """The last page tells how wide rows are."""
    monkeypatch.setattr("shared.sources.sql.tables._FIRST_PAGE", 2)
    monkeypatch.setattr("shared.sources.sql.tables._BATCH_BYTES", 10_000)
    source_table.create(item(sa.Column("A", sa.Text)), *({"Id": n, "At": at(n), "A": "x" * 1_000} for n in range(30)))
    source = source_table.source(batch_rows=20)
    (part,) = source.describe(window(source)).slices
    sizes = [batch.num_rows for batch in source.read(part)]

    assert 2 == sizes[0]
    assert 9 == max(sizes)
    assert 30 == sum(sizes)


_ROWS = st.lists(
    st.tuples(
        st.sampled_from([None, 1, 2, 2, 2, 3, 10]),
        st.sampled_from([None, "a", "A", "a ", "b", "B"]),
        st.sampled_from([None, 0, 0, 1]),
    ),
    max_size=14,
)


@pytest.mark.parametrize("which", BOTH)
def test_windows_slices_and_pages_have_every_row_whatever_is_equal(which, request):
    """Each row is in some window and in exactly one slice of it, though cursors and keys are equal or missing."""
    server = request.getfixturevalue(which)
    place = SourceTable(server, server.create_database())
    columns = [sa.Column("A", sa.String(5)), sa.Column("B", sa.Integer)]
    table = place.create(item(*columns, exact=False, cursor=sa.Integer))
    once = place.source(keys=("A", "B"))

    @hypothesis_settings(
        deadline=None, database=None, max_examples=30, print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(_ROWS, st.integers(1, 4), st.integers(1, 6), st.integers(1, 6))
    def check(told, batch_rows, slice_rows, sync_rows):
        place.do(table.delete())
        if told:
            place.do(table.insert().values([{"Id": n, "At": c, "A": a, "B": b} for n, (c, a, b) in enumerate(told)]))
        told_settings = Settings(batch_rows=batch_rows, slice_rows=slice_rows, sync_rows=sync_rows)
        source = SqlSource(once._feed, once._database, told_settings)
        seen, mark = set(), None
        for top in _windows(source):
            some = rows(source, Unit(kind="window", window=Window(mark, top.value)))
            new = [n for n in ids(some) if mark is None or told[n][0] > int(mark)]
            limit = sorted(cursor for cursor, *_ in told if cursor is not None and cursor > int(mark or 0))
            assert len(some) == len(set(ids(some)))
            assert top.value == str(limit[:sync_rows][-1])
            assert all(told[n][0] is None or told[n][0] <= int(top.value) for n in new)
            seen |= set(ids(some))
            mark = top.value

        assert (set(range(len(told))) if mark else set()) == seen

    try:
        check()
    finally:
        server.drop_database(place.database)


def _windows(source):
    """Ceilings, each above the one before, until there is no more."""
    top = source.ceiling(None)
    while top is not None:
        yield top
        top = source.ceiling(top.value) if top.more else None


@pytest.mark.parametrize("batch_rows", [1, 2, 3])
def test_a_key_of_several_columns_is_one_place(source_table, batch_rows):
    """Numbers and text together; the server's own order of text decides, whatever that is."""
    more = [sa.Column("Code", sa.String(9), nullable=False), sa.Column("Line", sa.SmallInteger, nullable=False)]
    source_table.create(
        item(*more, exact=False),
        *(
            {"Id": n, "At": at(n % 2), "Code": code, "Line": line}
            for n, (code, line) in enumerate(product(("Zoë", "zebra", "éa", "%s", "a'\"\\", ""), (-1, 7)))
        ),
    )
    source = source_table.source(keys=("Code", "Line"), batch_rows=batch_rows, slice_rows=5)

    assert list(range(12)) == sorted(ids(rows(source)))


def test_fractions_as_cursor_are_exact(source_table):
    """Also those of single precision, which servers do not find equal to what they write."""
    single = sa.REAL().with_variant(sa.Float(24), "mysql")
    source_table.create(item(cursor=single), *({"Id": n, "At": n / 10} for n in range(9)))
    source = source_table.source(batch_rows=1, slice_rows=2)

    assert list(range(9)) == ids(rows(source))
    assert [8] == ids(rows(source, window(source, source.ceiling(None).value)))


def test_a_text_as_cursor_goes_by_code_points(source_table):
    """As watermarks do: in the server's own order, b might be below A."""
    source_table.create(item(cursor=sa.String(9)), *({"Id": n, "At": text} for n, text in enumerate("AZabé")))
    source = source_table.source(batch_rows=1, slice_rows=2, sync_rows=2)

    assert [Ceiling("Z", more=True), Ceiling("b", more=True), Ceiling("é", more=False)] == list(_windows(source))
    assert [0, 1, 2, 3, 4] == ids(rows(source_table.source(batch_rows=1)))


def test_a_number_of_any_length_needs_its_type(postgresql):
    """Then it goes by its value."""
    postgresql.create(item(cursor=sa.Numeric()), *({"Id": n, "At": Decimal(n)} for n in (9, 10, 100)))
    types = {"At": "decimal(20,2)"}

    with pytest.raises(ConfigError, match="number of any length"):
        postgresql.source().ceiling(None)
    assert Ceiling("100.00", more=False) == postgresql.source(types=types).ceiling(None)
    assert [9, 10, 100] == ids(rows(postgresql.source(types=types, batch_rows=1)))


def test_a_cursor_that_the_catalog_calls_something_else_is_refused(source_table):
    """Its text would be compared with moments."""
    source_table.create(item(cursor=sa.String(30)))

    with pytest.raises(ConfigError, match=r"'At' of .*item is text there, but timestamp in the catalog"):
        source_table.source(types={"At": "timestamp"}).ceiling(None)


def test_a_cursor_beyond_all_order_is_named(postgresql):
    """There is no window up to infinity."""
    postgresql.create(item())
    postgresql.do("""INSERT INTO item VALUES (1, 'infinity')""")

    with pytest.raises(DataError, match="goes up to infinity"):
        postgresql.source().ceiling(None)


def test_a_cursor_without_zone_is_in_the_zone_of_the_feed(source_table):
    """The watermark is in UTC, the column is not."""
    source_table.create(item(), *({"Id": n, "At": at(60 * n)} for n in range(4)))
    source = source_table.source(timezone="Europe/Amsterdam", batch_rows=1)

    assert to_text(at(120)) == source.ceiling(None).value
    assert [2, 3] == ids(rows(source, window(source, to_text(at(60)))))


def test_the_watermark_of_another_column_says_nothing(source_table):
    """All is read again, which does no harm."""
    source_table.create(item(cursor=sa.Integer), {"Id": 1, "At": 5})
    source = source_table.source()

    assert Ceiling("5", more=False) == source.ceiling(to_text(at(1)))
    assert [1] == ids(rows(source, Unit(kind="window", window=Window(to_text(at(1)), "5"))))


# -- values and names


@pytest.mark.parametrize("name", ['a"b', "a`b", "a%sb", "a b", "é:c", "select", "x]y", "a'b", "%(a)s", "a,b(c)", "q?r"])
def test_any_name_works_for_table_and_columns(source_table, name):
    """They are quoted wherever they stand."""
    columns = (sa.Column(name, sa.Integer, primary_key=True, autoincrement=False), sa.Column(f"{name}2", MOMENT))
    source_table.create(sa.Table(name, sa.MetaData(), *columns), *({name: n, f"{name}2": at(n)} for n in range(5)))
    source = source_table.source(name, (name,), f"{name}2", batch_rows=2, slice_rows=2)

    assert [{name: n, f"{name}2": at(n)} for n in range(5)] == rows(source)


def test_a_view_is_read_as_a_table(source_table):
    """No constraint says what is unique there."""
    source_table.create(item(), *({"Id": n, "At": at(n // 2)} for n in range(5)))
    source_table.do("CREATE VIEW seen AS SELECT * FROM item")

    assert [0, 1, 2, 3, 4] == ids(rows(source_table.source("seen", batch_rows=1, slice_rows=2)))


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
    """Each as what holds all of its values."""
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
        "bi": pa.binary(), "bl": pa.binary(), "u": pa.string(), "g": pa.binary(),
    }  # fmt: skip
    assert 25 == len(first.pop("g"))
    assert first == {
        "Id": 1, "At": dt.datetime(2026, 2, 24, 12, 0, 0, 1, UTC), "t": -128, "tu": 255,
        "bu": 18446744073709551615, "m": -8388608, "y": 2026, "d": Decimal("1234567890123456.7891"),
        "dd": "12345678901234567890123456789012345.000000000000000000000000000001", "f": 16777216.0, "db": 0.1,
        "b1": True, "b9": 257, "da": dt.date(2026, 2, 24), "dt": LAST,
        "ti": "23:59:59.999999", "e": "a", "s": "x,y", "j": '{"a": 1.10}', "c": "é", "bi": b"\x00\xff",
        "bl": b"\x00\xfe", "u": "123e4567-e89b-12d3-a456-426655440000",
    }  # fmt: skip
    assert {None} == {value for name, value in second.items() if name not in ("Id", "At")}


def test_every_type_of_postgresql_is_read(postgresql):
    """Each as what holds all of its values."""
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
        "r": "float", "f": "double", "o": "bool", "da": "date32[day]",
        "ts": "timestamp[us]", "ti": "time64[us]", "by": "binary",
    }  # fmt: skip
    assert first == {
        "Id": 1, "At": dt.datetime(2026, 2, 24, 12, 0, 0, 1, UTC), "s": -32768, "b": 9223372036854775807,
        "d": Decimal("1234567890123456.7891"), "n": "123456789012345678901234567890.00000000000000000001",
        "p": "1.50", "r": pytest.approx(0.1), "f": 0.1, "o": True, "da": dt.date(2026, 2, 24),
        "ts": LAST, "ti": "23:59:59.999999", "tz": "12:00:00+02",
        "iv": "1 mon", "m": "a", "j": '{"a":  1.10}', "jb": '{"a": 1.10}', "by": b"\x00\xff",
        "u": "123e4567-e89b-12d3-a456-426655440000", "a": "[1, null]", "rg": "[1,3)", "ip": "::1/128", "ch": "a  ",
        "x": "<a/>",
    }  # fmt: skip
    assert {None} == {value for name, value in second.items() if name not in ("Id", "At")}


def test_a_date_of_zeros_leaves_its_page_as_text(maria):
    """So that the contract can set it aside, and the others of its page are read from the text."""
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
    """MariaDB would put them in the order of their numbers, and compare them as text."""
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


# -- what goes wrong


def test_a_server_that_dies_while_it_is_read_may_be_asked_again(private_source_table):
    """A TransientError, and the same slice from its start once the server is back."""
    private_source_table.create(item(), *({"Id": n, "At": at(n)} for n in range(4)))
    source = private_source_table.source(batch_rows=2)
    (part,) = source.describe(window(source)).slices
    reading = source.read(part)
    first = next(reading).num_rows
    private_source_table.server.kill()
    with pytest.raises(TransientError, match=r"refuses connections|is away or busy|connection to .* broke") as caught:
        next(reading)
    private_source_table.server.start()

    assert 2 == first
    assert [0, 1, 2, 3] == ids(rows_of(source, part))
    assert private_source_table.server.password not in f"{caught.value}{caught.value.__cause__}"


def test_a_connection_that_breaks_is_made_again(source_table, monkeypatch):
    """The retry is around each query."""
    source_table.create(item(), {"Id": 1, "At": at(1)})
    source = source_table.source()
    prepare, broken = session._prepare, iter([True])

    def breaking(raw, statements):
        if next(broken, False):
            (raw._sock if source_table.is_mariadb else raw).close()
        prepare(raw, statements)

    monkeypatch.setattr(session, "_prepare", breaking)
    with stamina.set_testing(True, attempts=2):
        assert Ceiling(to_text(at(1)), more=False) == source.ceiling(None)


def test_no_connection_stays_open(source_table):
    """Not even while pages are read."""
    source_table.create(item(), *({"Id": n, "At": at(n)} for n in range(4)))
    source = source_table.source(batch_rows=1)
    (part,) = source.describe(window(source)).slices
    reading = source.read(part)
    next(reading)
    counting = (
        f"SELECT count(*) FROM information_schema.processlist WHERE db = '{source_table.database}'"
        if source_table.is_mariadb
        else "SELECT count(*) FROM pg_stat_activity"
        f" WHERE datname = '{source_table.database}' AND application_name = 'sluice'"
    )
    with source_table.engine.connect() as connection:
        found = connection.execute(sa.text(counting)).scalar_one()

    assert (1 if source_table.is_mariadb else 0) == found  # the one that counts


def test_nothing_can_be_written(source_table):
    """A session only reads."""
    source_table.create(item())
    source = source_table.source()

    with pytest.raises(sa.exc.DBAPIError, match=r"(?i)read.only"):
        source._database.do(lambda connection: connection.execute(sa.text("DELETE FROM item")))


def refused(url, feed=None):
    feed = feed or Feed(system="shop", table="item", source="sql", keys=("Id",), cursor="At")
    with pytest.raises(ConfigError) as caught:
        open_source(feed, with_database(url)).ceiling(None)
    assert "\n" not in str(caught.value)
    return f"{caught.value} / {caught.value.__cause__}"


def test_a_wrong_password_is_refused_in_one_line(source_table):
    """It says which setting to look at, and no secret."""
    url = source_table.url.replace(source_table.url.partition("@")[0].rpartition(":")[2], "Sesame-1")

    said = refused(url)

    assert "SHOP_DATABASE_URL" in said
    assert "Sesame-1" not in said


def test_a_database_that_does_not_exist_is_refused(source_table):
    """Its name is in the setting."""
    assert "SHOP_DATABASE_URL" in refused(source_table.server.url("nowhere"))


def test_a_table_or_column_that_does_not_exist_is_named(source_table):
    """The catalog is to be mended, not the source."""
    absent = refused(source_table.url)
    source_table.create(item())
    feed = Feed(system="shop", table="item", source="sql", keys=("Id", "Other"), cursor="Then")

    assert "item is not in the database of SHOP_DATABASE_URL" in absent
    assert "column 'Other', 'Then' of" in refused(source_table.url, feed)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (None, "no value for SHOP_DATABASE_URL"),
        ("", "no value for SHOP_DATABASE_URL"),
        ("oracle://me:Sesame-1@host/db", "SHOP_DATABASE_URL starts with oracle://"),
        ("Sesame-1", "SHOP_DATABASE_URL is no URL"),
        ("mysql://me:Sesame-1@host", "names no host or no database"),
        ("postgresql://me:Sesame-1@host:Sesame-1/db", "names no host or no database"),
        ("postgresql://me:Sesame-1@host/db?password=Sesame-1", "options that are not known here: 'password'"),
        ("mysql://me:Sesame-1@127.0.0.1.invalid/db", "there is no host"),
        ("postgresql://me:Sesame-1@127.0.0.1.invalid/db", "there is no host"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused_without_its_secret(url, said):
    """Whatever is wrong with it."""
    told = refused(url)

    assert said in told
    assert "Sesame-1" not in told

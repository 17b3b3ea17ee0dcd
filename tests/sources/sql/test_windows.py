"""How a table is read: windows, slices and pages, on both servers."""

from __future__ import annotations

import json

from dataclasses import asdict
from decimal import Decimal
from itertools import pairwise, product

import pytest
import sqlalchemy as sa

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared.errors import ConfigError, DataError
from shared.model import Slice, Unit, Window, from_json, to_text
from shared.settings import Settings
from shared.sources import Ceiling
from shared.sources.sql.source import SqlSource
from tests.servers.source_table import BOTH, SourceTable, at, item, rows, rows_of, window

pytestmark = pytest.mark.usefixtures("in_a_hurry")


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


def test_the_ceiling_remains_when_nothing_is_above_the_watermark(source_table):
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


def test_a_table_has_another_name_in_its_database(source_table):
    """In capitals, and in another schema: the feed's name is ours."""
    schema = None if source_table.is_mariadb else "Sales"
    name = "Order" if schema is None else "Sales.Order"
    if schema:
        source_table.do('CREATE SCHEMA "Sales"')
    order = sa.Table("Order", sa.MetaData(), sa.Column("Id", sa.Integer, primary_key=True), schema=schema)
    source_table.create(order, {"Id": 1}, {"Id": 2})
    source = source_table.source("orders", cursor=None, source_table=name)

    assert [1, 2] == ids(rows(source, Unit(kind="full", complete=True)))


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


def test_the_table_is_looked_up_once_for_a_window(source_table, monkeypatch):
    """Its ceiling, its slices and its rows are of the same columns, and each look costs several queries."""
    source_table.create(item(), *({"Id": n, "At": at(n)} for n in range(3)))
    source = source_table.source(slice_rows=1)
    looks = []
    look = source._database.reflected
    monkeypatch.setattr(source._database, "reflected", lambda table: looks.append(table) or look(table))

    found = rows(source)

    assert ([0, 1, 2], ["item"]) == (ids(found), looks)


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
    """Another process with its own source reads the same rows."""
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
    """The last page shows how wide rows are."""
    monkeypatch.setattr("shared.sources.sql.source._FIRST_PAGE", 2)
    monkeypatch.setattr("shared.sources.sql.source._BATCH_BYTES", 10_000)
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
    data = SourceTable(server, server.create_database())
    columns = [sa.Column("A", sa.String(5)), sa.Column("B", sa.Integer)]
    table = data.create(item(*columns, exact=False, cursor=sa.Integer))
    once = data.source(keys=("A", "B"))

    @hypothesis_settings(
        deadline=None, database=None, max_examples=30, print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(_ROWS, st.integers(1, 4), st.integers(1, 6), st.integers(1, 6))
    def check(values, batch_rows, slice_rows, sync_rows):
        data.do(table.delete())
        if values:
            data.do(table.insert().values([{"Id": n, "At": c, "A": a, "B": b} for n, (c, a, b) in enumerate(values)]))
        options = Settings(batch_rows=batch_rows, slice_rows=slice_rows, sync_rows=sync_rows)
        source = SqlSource(once._feed, once._database, options)
        seen, mark = set(), None
        for top in _windows(source):
            some = rows(source, Unit(kind="window", window=Window(mark, top.value)))
            new = [n for n in ids(some) if mark is None or values[n][0] > int(mark)]
            limit = sorted(cursor for cursor, *_ in values if cursor is not None and cursor > int(mark or 0))
            assert len(some) == len(set(ids(some)))
            assert top.value == str(limit[:sync_rows][-1])
            assert all(values[n][0] is None or values[n][0] <= int(top.value) for n in new)
            seen |= set(ids(some))
            mark = top.value

        assert (set(range(len(values))) if mark else set()) == seen

    try:
        check()
    finally:
        server.drop_database(data.database)


def _windows(source):
    """Ceilings, each above the one before, until there is no more."""
    top = source.ceiling(None)
    while top is not None:
        yield top
        top = source.ceiling(top.value) if top.more else None


@pytest.mark.parametrize("batch_rows", [1, 2, 3])
def test_a_key_of_several_columns_is_one_position(source_table, batch_rows):
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
    """Also those of single precision, which do not equal what servers print for them."""
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


def test_an_unbounded_numeric_as_cursor_needs_a_declared_type(postgresql):
    """Then it is ordered by value."""
    postgresql.create(item(cursor=sa.Numeric()), *({"Id": n, "At": Decimal(n)} for n in (9, 10, 100)))
    types = {"At": "decimal(20,2)"}

    with pytest.raises(ConfigError, match="unbounded numeric"):
        postgresql.source().ceiling(None)
    assert Ceiling("100.00", more=False) == postgresql.source(types=types).ceiling(None)
    assert [9, 10, 100] == ids(rows(postgresql.source(types=types, batch_rows=1)))


def test_a_cursor_whose_declared_type_differs_is_refused(source_table):
    """Text would be compared with instants."""
    source_table.create(item(cursor=sa.String(30)))

    with pytest.raises(ConfigError, match=r"'At' of .*item is text there, but timestamp in the catalog"):
        source_table.source(types={"At": "timestamp"}).ceiling(None)


def test_a_cursor_value_that_has_no_order_is_refused(postgresql):
    """There is no window up to infinity."""
    postgresql.create(item())
    postgresql.do("""INSERT INTO item VALUES (1, 'infinity')""")

    with pytest.raises(DataError, match="has value infinity"):
        postgresql.source().ceiling(None)


def test_a_cursor_without_zone_is_in_the_zone_of_the_feed(source_table):
    """The watermark is in UTC, the column is not."""
    source_table.create(item(), *({"Id": n, "At": at(60 * n)} for n in range(4)))
    source = source_table.source(timezone="Europe/Amsterdam", batch_rows=1)

    assert to_text(at(120)) == source.ceiling(None).value
    assert [2, 3] == ids(rows(source, window(source, to_text(at(60)))))


def test_the_watermark_of_another_column_is_ignored(source_table):
    """Everything is read again, which is harmless."""
    source_table.create(item(cursor=sa.Integer), {"Id": 1, "At": 5})
    source = source_table.source()

    assert Ceiling("5", more=False) == source.ceiling(to_text(at(1)))
    assert [1] == ids(rows(source, Unit(kind="window", window=Window(to_text(at(1)), "5"))))

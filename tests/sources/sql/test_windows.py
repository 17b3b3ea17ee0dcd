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
from shared.model import Feed, Slice, Unit, Window, from_json, to_text
from shared.settings import Settings
from shared.sources import Ceiling
from shared.sources.sql import open_sources
from shared.sources.sql.source import SqlSource
from tests.servers.source_table import BOTH, MOMENT, SourceTable, at, item, rows, rows_of, window, with_database

pytestmark = pytest.mark.usefixtures("in_a_hurry")


@pytest.fixture
def postgresql(postgres, database):
    """A database on PostgreSQL alone."""
    return SourceTable(postgres, database)


def ids(found):
    return [row["Id"] for row in found]


# -- windows


def test_the_ceiling_is_the_highest_cursor(any_table):
    """As cursor text; and there is nothing more."""
    any_table.create(item(), {"Id": 1, "At": at(1)}, {"Id": 2, "At": at(3)}, {"Id": 3, "At": at(2)})

    assert Ceiling(to_text(at(3)), more=False) == any_table.source().ceiling(None)
    assert Ceiling(to_text(at(3)), more=False) == any_table.source().ceiling(to_text(at(1)))


def test_an_empty_table_has_no_ceiling(any_table):
    """Nor has one in which no row has a cursor."""
    table = any_table.create(item())
    empty = any_table.source().ceiling(None)
    any_table.do(table.insert().values(Id=1, At=None))

    assert (None, None) == (empty, any_table.source().ceiling(None))


def test_the_ceiling_leaves_rows_for_the_next_window(any_table):
    """It is the cursor of the last row that one run takes, counted from the watermark; equal cursors go together."""
    any_table.create(item(), *({"Id": n, "At": at(n // 2)} for n in range(10)))
    source = any_table.source(sync_rows=3)

    assert Ceiling(to_text(at(1)), more=True) == source.ceiling(None)
    assert Ceiling(to_text(at(3)), more=True) == source.ceiling(to_text(at(1)))
    assert Ceiling(to_text(at(4)), more=False) == source.ceiling(to_text(at(3)))


def test_the_ceiling_remains_when_nothing_is_above_the_watermark(any_table):
    """So that the overlap is read again."""
    any_table.create(item(), {"Id": 1, "At": at(1)})

    assert Ceiling(to_text(at(1)), more=False) == any_table.source().ceiling(to_text(at(1)))
    assert Ceiling(to_text(at(1)), more=False) == any_table.source().ceiling(to_text(at(9)))


def test_a_window_has_both_its_ends(any_table):
    """The floor and the ceiling are in it, what is below and above is not."""
    any_table.create(item(), *({"Id": n, "At": at(n)} for n in range(5)))
    unit = Unit(kind="window", window=Window(to_text(at(1)), to_text(at(3))))

    assert [1, 2, 3] == ids(rows(any_table.source(), unit))


def test_only_the_first_window_has_the_rows_without_cursor(any_table):
    """They are below every cursor."""
    any_table.create(item(), *({"Id": n, "At": None if n % 2 else at(n)} for n in range(6)))
    source = any_table.source(batch_rows=1, slice_rows=2)

    assert [1, 3, 5, 0, 2, 4] == ids(rows(source))
    assert [0, 2, 4] == ids(rows(source, window(source, to_text(at(0)))))


def test_a_row_that_changes_while_it_is_read_is_in_the_next_window(any_table):
    """The ceiling was fixed when the read was planned."""
    table = any_table.create(item(), *({"Id": n, "At": at(n)} for n in range(20)))
    source = any_table.source(batch_rows=1)
    (part,) = source.describe(window(source)).slices
    reading = rows_of(source, part)
    first = [next(reading)["Id"], next(reading)["Id"]]
    any_table.do(table.update().where(table.c.Id == 19).values(At=at(30)))

    assert [*range(19)] == first + ids(reading)
    assert [19] == ids(rows(source, window(source, to_text(at(25)))))


def test_a_table_has_another_name_in_its_database(any_table):
    """In capitals, and in another schema: the feed's name is ours."""
    schema = None if any_table.is_mariadb else "Sales"
    name = "Order" if schema is None else "Sales.Order"
    if schema:
        any_table.do("CREATE SCHEMA [Sales]" if any_table.is_sqlserver else 'CREATE SCHEMA "Sales"')
    key = sa.Column("Id", sa.Integer, primary_key=True, autoincrement=False)
    order = sa.Table("Order", sa.MetaData(), key, schema=schema)
    any_table.create(order, {"Id": 1}, {"Id": 2})
    source = any_table.source("orders", cursor=None, source_table=name)

    assert [1, 2] == ids(rows(source, Unit(kind="full", complete=True)))


def test_nothing_in_a_window_is_one_empty_slice(any_table):
    """As of a file without rows: columns are known all the same."""
    any_table.create(item(), {"Id": 1, "At": at(1)})
    source = any_table.source()
    described = source.describe(Unit(kind="window", window=Window(to_text(at(5)), to_text(at(6)))))

    assert [0] == [part.rows for part in described.slices]
    assert [] == list(rows_of(source, described.slices[0]))
    assert ["Id", "At"] == next(iter(described.schemas.values())).names


def test_a_table_without_cursor_is_read_whole(any_table):
    """In the order of its keys."""
    columns = [sa.Column("Id", sa.Integer, primary_key=True, autoincrement=False), sa.Column("A", sa.Text)]
    any_table.create(sa.Table("item", sa.MetaData(), *columns), *({"Id": n, "A": f"{n}"} for n in (3, 1, 2, 5, 4)))

    assert [1, 2, 3, 4, 5] == ids(rows(any_table.source(cursor=None, batch_rows=2, slice_rows=2), Unit(kind="full")))


def test_the_table_is_looked_up_once_for_a_window(any_table):
    """Its ceiling, its slices and its rows are of the same columns, and a look is two queries."""
    any_table.create(item(), *({"Id": n, "At": at(n)} for n in range(3)))
    source = any_table.source(slice_rows=1)
    with any_table.statements(source) as sent:
        found = rows(source)

    assert [0, 1, 2] == ids(found)
    assert 2 == sum(any(word in one.lower() for word in ("information_schema", "pg_class", "sys.")) for one in sent)


def test_tables_opened_together_are_looked_up_together(any_table):
    """By the same two queries, however many they are."""
    feeds = [Feed(system="shop", table=f"t{n}", source="sql", keys=("Id",), cursor="At") for n in range(9)]
    for feed in feeds:
        table = item().to_metadata(sa.MetaData(), name=feed.table)
        any_table.create(table, {"Id": 1, "At": at(1)})
    sources = open_sources(feeds, with_database(any_table.url))
    with any_table.statements(sources[0]) as sent:
        tops = [source.ceiling(None) for source in sources]

    assert [Ceiling(to_text(at(1)), more=False)] * 9 == tops
    assert 2 + 9 == len(sent)


def test_two_queries_find_that_a_table_has_no_change(any_table):
    """Where its window ends, and the rows of the overlap; more are counted before they are read."""
    any_table.create(item(), *({"Id": n, "At": at(n)} for n in range(9)))
    source = any_table.source()
    source.ceiling(None)
    with any_table.statements(source) as sent:
        found = ids(rows(source, window(source, to_text(at(8)))))

    assert [8] == found
    assert 2 == len(sent)


# -- the end of a window, by the server's own time


def written(any_table, *seconds):
    """Rows whose cursors are so many seconds after the server's time."""
    any_table.create(item())
    any_table.do(*(any_table.insert_at(n, later) for n, later in enumerate(seconds)))


def test_windows_end_before_the_time_of_the_server(any_table):
    """Who writes now has perhaps not committed yet: the highest cursor of a few seconds ago is the end."""
    written(any_table, -3600, -600, 0, 0.5)
    source = any_table.source(batch_rows=1)

    assert [0, 1] == ids(rows(source))
    assert source.ceiling(None).value == source.newest()


def test_a_cursor_without_zone_is_held_against_the_time_of_its_zone(any_table):
    """New York is hours behind UTC: its present is no past there, and what it will be in hours is none either."""
    written(any_table, -3600 * 6, 0)

    assert [0, 1] == ids(rows(any_table.source(timezone="Pacific/Kiritimati")))
    assert [0] == ids(rows(any_table.source(timezone="America/New_York")))


def test_rows_of_the_future_wait_and_the_log_says_so(any_table, caplog):
    """Clocks differ by seconds; by more, somebody writes wrong times."""
    written(any_table, -60, 600)
    source = any_table.source()

    assert [0] == ids(rows(source))
    assert "later than the database's time" in caplog.text


def test_a_table_of_nothing_but_the_present_has_no_window_yet(any_table):
    """The next sync takes it."""
    written(any_table, 0)

    assert any_table.source().ceiling(None) is None


def test_a_row_of_a_transaction_that_commits_in_time_is_not_jumped_over(source_table):
    """It was written before the last row that was there, and committed after it."""
    written(source_table, -60)
    with source_table.engine.connect() as slow:
        slow.execute(sa.text(source_table.insert_at(8, -1)))
        source_table.do(source_table.insert_at(9, 0))
        top = source_table.source().ceiling(None)
        slow.commit()

    assert [0] == ids(rows(source_table.source(), Unit(kind="window", window=Window(None, top.value))))


# -- cursors of other kinds


def leads(any_table, *rows):
    """Rows with the minute of their last change and that of their creation."""
    table = item(sa.Column("Added", MOMENT))
    found = [
        {"Id": n, "At": None if minute is None else at(minute), "Added": None if added is None else at(added)}
        for n, (minute, added) in enumerate(rows)
    ]
    return any_table.create(table, *found)


def test_a_cursor_that_is_null_falls_back_to_another_column(any_table):
    """Rows are in the order of what counts for each; the stored cursor keeps its NULL."""
    leads(any_table, (5, 1), (None, 3), (4, 2), (None, 6), (None, None))
    source = any_table.source(cursor_fallback="Added", batch_rows=1, slice_rows=2, sync_rows=2)

    assert [Ceiling(to_text(at(4)), more=True), Ceiling(to_text(at(6)), more=False)] == list(_windows(source))
    assert [4, 1, 2] == ids(rows(source, Unit(kind="window", window=Window(None, to_text(at(4))))))
    unit = Unit(kind="window", window=Window(to_text(at(4)), to_text(at(6))))
    second = rows(source, unit)
    assert second == [row for batch in source.peek(unit, 3) or () for row in batch.to_pylist()]
    assert [(2, at(4)), (0, at(5)), (3, None)] == [(row["Id"], row["At"]) for row in second]
    assert {"Id", "At", "Added"} == set(second[0])


def test_a_fallback_of_another_type_is_refused(any_table):
    """There would be no order."""
    any_table.create(item(sa.Column("Added", sa.Date)))

    with pytest.raises(ConfigError, match="its fallback 'Added' date32"):
        any_table.source(cursor_fallback="Added").ceiling(None)
    with pytest.raises(ConfigError, match="column 'Then' of"):
        any_table.source(cursor_fallback="Then").ceiling(None)


def test_an_auto_increment_key_is_a_cursor(any_table):
    """It is key and cursor at once, and 9 is below 10."""
    columns = [sa.Column("Id", sa.Integer, primary_key=True, autoincrement=False), sa.Column("A", sa.Text)]
    any_table.create(sa.Table("item", sa.MetaData(), *columns), *({"Id": n, "A": "x"} for n in range(1, 12)))
    source = any_table.source(cursor="Id", batch_rows=2, slice_rows=3, sync_rows=9)

    assert [Ceiling("9", more=True), Ceiling("11", more=False)] == list(_windows(source))
    assert [9, 10, 11] == ids(rows(source, window(source, "9")))


# -- slices and pages


def test_slices_are_cut_at_rows_and_numbered_far_apart(any_table):
    """Their rows are counted, and one that gets rows meanwhile does not run into the numbers of the next."""
    any_table.create(item(), *({"Id": n, "At": at(n)} for n in range(5)))
    source = any_table.source(slice_rows=2)
    slices = source.describe(window(source)).slices

    assert [2, 2, 1] == [part.rows for part in slices]
    assert [0, 2, 4] == [part.origin_row for part in slices]
    assert all(after.first_row - before.first_row > 1 << 32 for before, after in pairwise(slices))
    assert [[0, 1], [2, 3], [4]] == [ids(rows_of(source, part)) for part in slices]


def test_a_slice_travels_as_json(any_table):
    """Another process with its own source reads the same rows."""
    key = sa.Column("Key", sa.LargeBinary(8).with_variant(sa.VARBINARY(8), "mysql"), nullable=False)
    price = sa.Column("Price", sa.Numeric(12, 3), nullable=False)
    any_table.create(
        item(key, price, exact=False, cursor=sa.Float(53)),
        *({"Id": n, "At": n / 3, "Key": bytes([n, 255]), "Price": Decimal(n) / 8} for n in range(5)),
    )
    keys = ("Key", "Price")
    source = any_table.source(keys=keys, slice_rows=2)
    slices = source.describe(window(source)).slices
    travelled = [from_json(Slice, json.loads(json.dumps(asdict(part)))) for part in slices]
    elsewhere = any_table.source(keys=keys, batch_rows=1)

    assert [[0, 1], [2, 3], [4]] == [ids(rows_of(elsewhere, part)) for part in travelled]


def test_pages_grow_to_the_size_of_a_batch_but_wide_rows_keep_them_small(any_table, monkeypatch):
    """The last page shows how wide rows are."""
    monkeypatch.setattr("shared.sources.sql.reading._FIRST_PAGE", 2)
    monkeypatch.setattr("shared.sources.sql.reading._BYTES", 40_000)
    any_table.create(item(sa.Column("A", sa.Text)), *({"Id": n, "At": at(n), "A": "x" * 1_000} for n in range(30)))
    source = any_table.source(batch_rows=20)
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


@pytest.mark.parametrize("which", [*BOTH, pytest.param("sqlserver", marks=pytest.mark.slow)])
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
def test_a_key_of_several_columns_is_one_position(any_table, batch_rows):
    """Numbers and text together; the server's own order of text decides, whatever that is."""
    more = [sa.Column("Code", sa.String(9), nullable=False), sa.Column("Line", sa.SmallInteger, nullable=False)]
    any_table.create(
        item(*more, exact=False),
        *(
            {"Id": n, "At": at(n % 2), "Code": code, "Line": line}
            for n, (code, line) in enumerate(product(("Zoë", "zebra", "éa", "%s", "a'\"\\", ""), (-1, 7)))
        ),
    )
    source = any_table.source(keys=("Code", "Line"), batch_rows=batch_rows, slice_rows=5)

    assert list(range(12)) == sorted(ids(rows(source)))


def test_fractions_as_cursor_are_exact(any_table):
    """Also those of single precision, which do not equal what servers print for them."""
    single = sa.REAL().with_variant(sa.Float(24), "mysql")
    any_table.create(item(cursor=single), *({"Id": n, "At": n / 10} for n in range(9)))
    source = any_table.source(batch_rows=1, slice_rows=2)

    assert list(range(9)) == ids(rows(source))
    assert [8] == ids(rows(source, window(source, source.ceiling(None).value)))


def test_a_text_as_cursor_goes_by_code_points(any_table):
    """As watermarks do: in the server's own order, b might be below A."""
    any_table.create(item(cursor=sa.String(9)), *({"Id": n, "At": text} for n, text in enumerate("AZabé")))
    source = any_table.source(batch_rows=1, slice_rows=2, sync_rows=2)

    assert [Ceiling("Z", more=True), Ceiling("b", more=True), Ceiling("é", more=False)] == list(_windows(source))
    assert [0, 1, 2, 3, 4] == ids(rows(any_table.source(batch_rows=1)))


def test_an_unbounded_numeric_as_cursor_needs_a_declared_type(postgresql):
    """Then it is ordered by value."""
    postgresql.create(item(cursor=sa.Numeric()), *({"Id": n, "At": Decimal(n)} for n in (9, 10, 100)))
    types = {"At": "decimal(20,2)"}

    with pytest.raises(ConfigError, match="unbounded numeric"):
        postgresql.source().ceiling(None)
    assert Ceiling("100.00", more=False) == postgresql.source(types=types).ceiling(None)
    assert [9, 10, 100] == ids(rows(postgresql.source(types=types, batch_rows=1)))


def test_a_cursor_whose_declared_type_differs_is_refused(any_table):
    """Text would be compared with instants."""
    any_table.create(item(cursor=sa.String(30)))

    with pytest.raises(ConfigError, match=r"'At' of .*item is text there, but timestamp in the catalog"):
        any_table.source(types={"At": "timestamp"}).ceiling(None)


def test_a_cursor_value_that_has_no_order_is_refused(postgresql):
    """There is no window up to infinity."""
    postgresql.create(item())
    postgresql.do("""INSERT INTO item VALUES (1, 'infinity')""")

    with pytest.raises(DataError, match="has value infinity"):
        postgresql.source().ceiling(None)


def test_a_cursor_without_zone_is_in_the_zone_of_the_feed(any_table):
    """The watermark is in UTC, the column is not."""
    any_table.create(item(), *({"Id": n, "At": at(60 * n)} for n in range(4)))
    source = any_table.source(timezone="Europe/Amsterdam", batch_rows=1)

    assert to_text(at(120)) == source.ceiling(None).value
    assert [2, 3] == ids(rows(source, window(source, to_text(at(60)))))


def test_the_watermark_of_another_column_is_ignored(any_table):
    """Everything is read again, which is harmless."""
    any_table.create(item(cursor=sa.Integer), {"Id": 1, "At": 5})
    source = any_table.source()

    assert Ceiling("5", more=False) == source.ceiling(to_text(at(1)))
    assert [1] == ids(rows(source, Unit(kind="window", window=Window(to_text(at(1)), "5"))))

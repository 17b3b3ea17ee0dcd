"""Pages of one table that are read at the same time come in the same order, and end together."""

from __future__ import annotations

import threading

import pyarrow as pa
import pytest
import sqlalchemy as sa

from shared.errors import TransientError
from shared.model import Feed, Unit, to_text
from shared.sources.sql import open_sources
from shared.sources.sql.reading import Rows
from tests.servers.source_table import at, item, rows, window, with_database

pytestmark = pytest.mark.usefixtures("in_a_hurry")


def at_once(source, monkeypatch, on_page):
    """The rows of the whole table, read by several connections; *on_page* is called with each page's span."""
    page = Rows.page

    def watched(self, part, **options):
        if part.until is not None:  # of several
            on_page(part)
        return page(self, part, **options)

    monkeypatch.setattr(Rows, "page", watched)
    (part,) = source.describe(Unit(kind="full")).slices
    return source.read(part)


def threads():
    return [one.name for one in threading.enumerate() if one.name.startswith(("call", "page"))]


def filled(any_table, count):
    any_table.create(item(sa.Column("A", sa.Text)), *({"Id": n, "At": at(n), "A": "x" * (n % 7)} for n in range(count)))


def test_pages_at_once_are_what_pages_one_by_one_are(any_table):
    """Row by row, in the same order, by keys and by the cursor."""
    filled(any_table, 60)
    units = [Unit(kind="full"), window(any_table.source()), window(any_table.source(), "2026-02-24T00:00:00")]

    several = [rows(any_table.source(batch_rows=7, source_connections=4), unit) for unit in units]

    assert several == [rows(any_table.source(batch_rows=7, source_connections=1), unit) for unit in units]
    assert [60, 60] == [len(several[0]), len(several[1])]


def test_several_pages_are_read_at_the_same_time(any_table, monkeypatch):
    """Three of them meet."""
    filled(any_table, 60)
    together = threading.Barrier(3, timeout=30)

    found = at_once(any_table.source(batch_rows=10, source_connections=4), monkeypatch, lambda part: together.wait())

    assert 10 == next(found).num_rows
    together.abort()  # nobody waits for those that are not made
    with pytest.raises(threading.BrokenBarrierError):
        list(found)


def test_a_page_that_fails_ends_the_others(any_table, monkeypatch):
    """The pages before it are there, its error comes in its place, and no thread goes on."""
    filled(any_table, 60)
    source, failed = any_table.source(batch_rows=10, source_connections=4), []

    def on_page(part):
        if int(part.until[0]) == 29 and not failed:
            failed.append(part)
            raise TransientError("the server went away", fix="Sync again")

    found = at_once(source, monkeypatch, on_page)

    assert [0, 10] == [next(found)["Id"][0].as_py(), next(found)["Id"][0].as_py()]
    with pytest.raises(TransientError, match="went away"):
        next(found)
    assert [] == threads()
    assert 60 == len(rows(source, Unit(kind="full")))


def test_whoever_takes_no_more_ends_all_pages(any_table, monkeypatch):
    """Connections are free again, too."""
    filled(any_table, 60)
    source = any_table.source(batch_rows=5, source_connections=4)
    found = at_once(source, monkeypatch, lambda part: None)
    next(found)
    found.close()

    assert [] == threads()
    assert 0 == source._database._engine.pool.checkedout()


def test_a_first_window_with_all_rows_is_read_by_its_keys(any_table):
    """By the cursor the server would look up each row, or sort them for each page. Later windows are not."""
    any_table.create(item(), *({"Id": n, "At": at(9 - n)} for n in range(9)))
    source = any_table.source(batch_rows=2)

    assert [*range(9)] == [row["Id"] for row in rows(source)]
    assert [3, 2, 1, 0] == [row["Id"] for row in rows(source, window(source, to_text(at(6))))]


def test_a_full_loses_no_row_where_the_key_alone_is_not_unique(any_table):
    """Its pages are in the order of the keys: what a constraint says of keys and cursor together does not help."""
    both = (sa.Column("Id", sa.Integer, nullable=False), sa.Column("At", sa.Integer, nullable=False))
    table = sa.Table("item", sa.MetaData(), *both, sa.PrimaryKeyConstraint("Id", "At"))
    any_table.create(table, *({"Id": n // 4, "At": n} for n in range(40)))

    found = rows(any_table.source(batch_rows=3), Unit(kind="full"))

    assert [*range(40)] == sorted(row["At"] for row in found)


def test_memory_of_pages_goes_back_to_malloc():
    """Arrow's own pool would keep it."""
    open_sources([Feed(system="shop", table="item", source="sql", keys=("Id",))], with_database("mysql://u:p@h/d"))

    assert "system" == pa.default_memory_pool().backend_name

"""Keys alone: all of them, whatever they equal for the server, and nothing else of their rows."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared.model import Feed, Unit
from shared.pipeline.keys import keys_unit
from shared.settings import Settings
from shared.sources.sql.source import SqlSource
from tests.servers.source_table import BOTH, SourceTable, at, item, rows

pytestmark = pytest.mark.usefixtures("in_a_hurry")


def unit(*keys: str) -> Unit:
    feed = Feed(system="shop", table="item", source="sql", keys=keys or ("Id",), cursor="At")
    return keys_unit(feed, now="2026-02-24T12:00:00.000000")


def test_only_the_keys_are_read_of_all_rows(source_table):
    """Rows without a cursor and rows above the last ceiling among them, in slices of the order of the keys."""
    source_table.create(
        item(sa.Column("A", sa.Text)),
        *({"Id": n, "At": None if n % 2 else at(n), "A": "x"} for n in (3, 1, 2, 5, 4)),
    )
    source = source_table.source(batch_rows=1, slice_rows=2)
    described = source.describe(unit())

    assert [["Id"]] == [schema.names for schema in described.schemas.values()]
    assert [2, 2, 1] == [part.rows for part in described.slices]
    assert [{"Id": n} for n in (1, 2, 3, 4, 5)] == rows(source, unit())


def test_an_empty_table_has_no_keys(source_table):
    """Its columns are known all the same."""
    source_table.create(item())
    source = source_table.source()

    assert ([0], []) == ([part.rows for part in source.describe(unit()).slices], rows(source, unit()))


def test_a_key_may_be_the_cursor(source_table):
    source_table.create(item(), *({"Id": n, "At": at(n)} for n in range(3)))

    assert [{"Id": 0}, {"Id": 1}, {"Id": 2}] == rows(source_table.source(cursor="Id"), unit())


_KEYS = st.lists(
    st.tuples(st.sampled_from([None, "a", "A", "a ", "é", "b", "B", ""]), st.sampled_from([None, 0, 1])), max_size=12
)


@pytest.mark.parametrize("constrained", [False, True], ids=["no constraint", "unique"])
@pytest.mark.parametrize("which", BOTH)
def test_slices_and_pages_have_every_key_to_the_letter(which, constrained, request):
    """'A' and 'a' are one key for MariaDB and come in any order; without a constraint both may be there.

    A row without one of its keys has no key.
    """
    server = request.getfixturevalue(which)
    data = SourceTable(server, server.create_database())
    both = sa.UniqueConstraint("A", "B")
    columns = [sa.Column("A", sa.String(5)), sa.Column("B", sa.Integer), *([both] if constrained else [])]
    table = data.create(item(*columns, exact=False))
    once = data.source(keys=("A", "B"))

    @hypothesis_settings(
        deadline=None, database=None, max_examples=30, print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(_KEYS, st.integers(1, 4), st.integers(1, 6))
    @example([("a", 0), ("A", 0), ("a ", 0), (None, 0), ("b", None)], 1, 1)
    def check(values, batch_rows, slice_rows):
        data.do(table.delete())
        known = {(a.rstrip().casefold() if a else a, b): (a, b) for a, b in values} if constrained else values
        stored = [*known.values()] if constrained else values
        if stored:
            data.do(table.insert().values([{"Id": n, "A": a, "B": b} for n, (a, b) in enumerate(stored)]))
        source = SqlSource(once._feed, once._database, Settings(batch_rows=batch_rows, slice_rows=slice_rows))
        found = {(row["A"], row["B"]) for row in rows(source, unit("A", "B"))}

        assert {(a, b) for a, b in stored if a is not None and b is not None} == found

    try:
        check()
    finally:
        server.drop_database(data.database)

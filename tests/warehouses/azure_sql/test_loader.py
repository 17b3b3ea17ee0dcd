"""How rows get into Azure SQL: arrays, CSV parts by way of a real Azurite, bulk copy; on the T-SQL stand-in."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hypothesis import HealthCheck, given
from hypothesis import settings as of_hypothesis
from hypothesis import strategies as st

from shared.errors import ConfigError
from shared.warehouses.azure_sql import canary
from shared.warehouses.azure_sql.loader import choose
from shared.warehouses.merge import shape
from shared.warehouses.server.warehouse import STAGING
from tests.warehouses.azure_sql.loader_samples import WAYS, batch, filled, staging, stored


@pytest.mark.parametrize(
    ("forced", "rows", "container", "copy", "way"),
    [
        ("auto", 0, True, True, "direct"), ("auto", 20, False, False, "direct"), ("auto", 21, True, True, "array"),
        ("auto", 5_000, True, True, "array"), ("auto", 5_001, True, True, "bulk"), ("auto", 5_001, True, False, "bulk"),
        ("auto", 5_001, False, True, "copy"), ("auto", 5_001, False, False, "array"),
        ("direct", 20, True, True, "direct"), ("direct", 21, True, True, "array"), ("array", 9**9, True, True, "array"),
        ("bulk", 1, True, True, "bulk"), ("bulk", 1, False, True, "bulk"), ("copy", 1, True, False, "copy"),
    ],
)  # fmt: skip
def test_way_is_chosen_by_rows_and_by_what_is_there(forced, rows, container, copy, way):
    """Few need no detour; many are worth a file, else a connection of their own; a setting goes first."""
    assert way == choose(forced, rows, container=container, copy=copy)


def test_bulk_without_a_container_says_what_is_missing(plain):
    """Whoever forces it has to name one."""
    with pytest.raises(ConfigError, match="STAGING_URL is not set"):
        filled(plain, "bulk", staging({"Key": "text"}))


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize("way", WAYS)
def test_odd_rows_come_back_as_they_went(engine, way):
    """Those of the doctor's canary: every type at its ends, line breaks, empty text beside NULL."""
    table = shape.staging(canary.FEED, canary.COLUMNS, "canary_0", STAGING)
    loading = engine(way)

    loaded = filled(loading, way, table, canary.batch())

    assert [] == list(canary.failures(stored(loading, table)))
    assert (len(canary.CASES), ()) == (loaded.rows, loaded.refused)
    assert loaded.size > 0
    assert "Last" in loaded.long


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from('",\r\n\t '))
VALUES = {
    "text": TEXTS, "boolean": st.booleans(), "smallint": st.integers(-(2**15), 2**15 - 1),
    "integer": st.integers(-(2**31), 2**31 - 1), "bigint": st.integers(-(2**63), 2**63 - 1),
    "decimal(38,10)": st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal(f"{n}E-10")),
    "real": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "double": st.floats(allow_nan=False, allow_infinity=False), "date": st.dates(), "time": st.times(),
    "timestamp": st.datetimes(), "binary": st.binary(),
}  # fmt: skip
COLUMNS = {f"{n} {kind}": kind for n, kind in enumerate(VALUES)}
ROWS = st.lists(st.tuples(*(st.none() | values for values in VALUES.values())), min_size=1, max_size=8)


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize("way", WAYS)
@of_hypothesis(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_any_rows_come_back_as_they_went(engine, way, rows):
    """Of all types at once, NULLs anywhere."""
    table, loading = staging(COLUMNS), engine(way)
    wanted = batch(COLUMNS, *rows)

    loaded = filled(loading, way, table, wanted)

    assert len(rows) == loaded.rows
    assert wanted.to_pylist() == [
        dict(zip(wanted.schema.names, found, strict=True)) for found in stored(loading, table)
    ]


def test_second_load_replaces_the_first(bulk):
    """A slice is staged anew each time, by whatever way."""
    table = staging({"Key": "text"})
    for way in ("array", "bulk", "array"):
        filled(bulk, way, table, batch({"Key": "text"}, ("a",), ("b",)))

    assert [(0, "a"), (1, "b")] == stored(bulk, table)


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize("way", WAYS)
def test_load_of_nothing_makes_an_empty_table(engine, way):
    """The merge finds it, and no row in it."""
    table, loading = staging({"Key": "text"}), engine(way)

    loaded = filled(loading, way, table)

    assert (0, 0, []) == (loaded.rows, loaded.size, stored(loading, table))

"""Cursor values as text at rest and as values in memory."""

from __future__ import annotations

import datetime as dt

from decimal import Decimal

import pytest

from hypothesis import given
from hypothesis import strategies as st

from shared.contract import cursor

VALUES = {
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "decimal(38,10)": st.decimals(
        allow_nan=False, allow_infinity=False, places=10, min_value=-(10**27), max_value=10**27
    ),
    "date": st.dates(),
    "timestamp": st.datetimes(),
    "text": st.text(),
}


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
def test_a_value_survives_being_written_as_text(kind, data):
    """What is read back equals what was written."""
    value = data.draw(VALUES[kind])

    assert value == cursor.typed(kind, cursor.text(value))


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
def test_the_later_text_is_that_of_the_greater_value(kind, data):
    """Text is compared as what it means, in any order; None is below everything."""
    values = data.draw(st.lists(VALUES[kind], min_size=1, max_size=5))
    texts = [cursor.text(value) for value in values]

    assert max(values) == cursor.typed(kind, cursor.later(kind, None, *texts))
    assert max(values) == cursor.typed(kind, cursor.later(kind, *reversed(texts), None))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_floating_point_cursors_keep_their_order(values):
    """They are read as the decimals they are written as, which are in the same order."""
    assert max(values) == float(cursor.later("double", *map(cursor.text, values)))


def test_nothing_is_later_than_nothing():
    """Without a value there is no cursor."""
    assert cursor.later("bigint", None, None) is None
    assert cursor.later("bigint") is None


def test_numbers_are_compared_as_numbers():
    """10 is later than 9, which its text is not."""
    assert "10" == cursor.later("integer", "9", "10")
    assert "9" == cursor.later("text", "9", "10")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (dt.datetime(2026, 2, 24, 12), "2026-02-24T12:00:00.000000"),  # noqa: DTZ001
        (dt.date(2026, 2, 24), "2026-02-24"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.10"), "0.10"),
        (7, "7"),
        ("é", "é"),
    ],
)
def test_text_is_plain(value, text):
    """Six decimals for instants, no exponents for decimals."""
    assert text == cursor.text(value)


def test_all_numbers_are_of_one_family():
    """So that a column may widen and keep its watermark; each other type is its own family."""
    numbers = {cursor.family(kind) for kind in ("smallint", "integer", "bigint", "decimal(5,2)", "real", "double")}

    assert {"number"} == numbers
    assert ["date", "timestamp", "text"] == [cursor.family(kind) for kind in ("date", "timestamp", "text")]

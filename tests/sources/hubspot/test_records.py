"""Records become columns of text, whole columns at once where every value is plain."""

from __future__ import annotations

import pytest

from hypothesis import given
from hypothesis import strategies as st

from shared.sources.hubspot import records

PLAIN = st.sampled_from([None, "", "2026-02-24", "2026-02-24T12:00:00.123Z"])
ODD = st.sampled_from(["1771934400000", "1771934400", " ", " 2026-02-24T12:00:00Z", "2026-02-24 ", "1e3", "soon", 7])


@pytest.mark.parametrize("kind", ["timestamp", "date", "double", "boolean", "text"])
@given(values=st.lists(PLAIN, max_size=5) | st.lists(PLAIN | ODD, max_size=5))
def test_a_column_has_what_each_value_means(kind, values):
    found = [{"id": n, "properties": {"p": value}} for n, value in enumerate(values)]

    column = records.batch_of(found, {"p": kind})["p"].to_pylist()

    expected = [records.value(value, kind) if kind in ("timestamp", "date") else _as_text(value) for value in values]
    assert expected == column


def _as_text(value):
    return {7: "7", "": None}.get(value, value)


def test_a_record_without_a_property_has_none():
    found = [
        {"id": 1, "properties": {"a": "x", "b": "y"}},
        {"id": "2", "properties": None},
        {"id": 3, "archived": True},
    ]

    batch = records.batch_of(found, {"id": "bigint", "archived": "boolean", "a": "text"})

    assert {"id": ["1", "2", "3"], "archived": ["false", "false", "true"], "a": ["x", None, None]} == batch.to_pydict()


def test_half_a_character_is_replaced():
    """JSON can write it, text cannot have it."""
    found = [{"id": 1, "properties": {"a": "x\ud800", "b": "y"}}]

    assert {"a": ["x?"], "b": ["y"]} == records.batch_of(found, {"a": "text", "b": "text"}).to_pydict()

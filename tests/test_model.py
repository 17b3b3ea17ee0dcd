"""Records travel between verbs as JSON."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json

from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import model
from shared.model import from_json, from_text, to_text

RECORDS = [
    kind
    for kind in vars(model).values()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == model.__name__
]

_TEXT = st.text(max_size=3)
_SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    str: _TEXT,
    int: st.integers(0, 2**53),
    float: st.floats(0, 1),
    bool: st.booleans(),
    Any: st.none() | st.booleans() | st.integers() | _TEXT | st.lists(_TEXT, max_size=2),
}


@cache
def _values(hint: Any) -> st.SearchStrategy[Any]:
    """Anything a field of type *hint* may hold."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _SIMPLE or hint is NoneType:
        return _SIMPLE.get(hint, st.none())
    if dataclasses.is_dataclass(hint) or hasattr(hint, "_fields"):  # or a NamedTuple
        hints = {name: kind for name, kind in get_type_hints(hint).items() if name != "__slots__"}
        return st.builds(hint, **{name: _values(kind) for name, kind in hints.items()})
    if origin is UnionType:
        return st.one_of([_values(argument) for argument in arguments])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        any_length = st.lists(_values(arguments[0]), max_size=2).map(tuple)
        return any_length if arguments[-1] is Ellipsis else st.tuples(*map(_values, arguments))
    assert origin is Mapping, hint
    return st.dictionaries(_values(arguments[0]), _values(arguments[1]), max_size=2)


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_every_record_survives_json(kind, data):
    """json.dumps(asdict(x)) and from_json give x again, tuples and all."""
    record = data.draw(_values(kind))

    assert record == from_json(kind, json.loads(json.dumps(dataclasses.asdict(record))))


def test_every_record_is_frozen():
    """Nobody changes what another verb was given."""
    assert 10 <= len(RECORDS)
    assert all(kind.__dataclass_params__.frozen for kind in RECORDS)


@given(st.lists(st.datetimes(), min_size=2, max_size=2))
def test_instants_as_text_compare_like_the_moments_they_mean(moments):
    """Text of records has always six decimals, so it sorts as time does; and reads back as it was."""
    first, second = moments

    assert (first < second) == (to_text(first) < to_text(second))
    assert first == from_text(to_text(first))


def test_an_instant_with_zone_is_written_in_utc():
    """Noon in Amsterdam is eleven."""
    noon = dt.datetime(2026, 2, 24, 12, tzinfo=dt.timezone(dt.timedelta(hours=1)))

    assert "2026-02-24T11:00:00.000000" == to_text(noon)


def test_no_text_is_no_moment():
    """Records leave out what is not known."""
    assert from_text(None) is None

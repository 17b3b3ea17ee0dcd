"""Casting: every value is stored or marked as faulty."""
# ruff: noqa: DTZ001 - naive is UTC inside, and local time where a zone is given

from __future__ import annotations

import datetime as dt
import json

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contract import types
from shared.contract.cast import Cast, cast, json_text
from shared.contract.codes import Code

KINDS = [*types.SIMPLE, "decimal(5,2)", "decimal(38,0)"]
CODES = {Code.OUT_OF_RANGE, Code.UNREADABLE, Code.NOT_FINITE, Code.NUL_IN_TEXT, Code.NOT_UTF8, Code.NOT_JSON}
_LONG = st.integers(-(2**63), 2**63 - 1)


def _viewed(kind: pa.DataType) -> Any:
    return lambda values: pa.array(values, pa.int64()).view(kind)


def _some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | values, max_size=6)


def _text(raw: list[bytes | None]) -> pa.Array[Any]:
    return pa.array(raw, pa.binary()).view(pa.string())


_BYTES = st.binary(max_size=6) | st.sampled_from(
    [
        b"12",
        b" 7 ",
        b"1.5",
        b"nan",
        b"2026-02-24",
        b"2026-02-24T12:00:00.1234567Z",
        b"\0",
        b"\xff",
        b"true",
        b"N",
        b"99999",
    ]
)
ARRAYS: dict[str, st.SearchStrategy[pa.Array[Any]]] = {
    "bool": _some(st.booleans()).map(lambda v: pa.array(v, pa.bool_())),
    "int8": _some(st.integers(-128, 127)).map(lambda v: pa.array(v, pa.int8())),
    "int64": _some(_LONG).map(lambda v: pa.array(v, pa.int64())),
    "uint64": _some(st.integers(0, 2**64 - 1)).map(lambda v: pa.array(v, pa.uint64())),
    "float32": _some(st.floats(width=32)).map(lambda v: pa.array(v, pa.float32())),
    "float64": _some(st.floats()).map(lambda v: pa.array(v, pa.float64())),
    "decimal128": _some(st.decimals(-(10**14), 10**14, places=4)).map(lambda v: pa.array(v, pa.decimal128(20, 4))),
    "decimal256": _some(st.integers(-(10**38), 10**38)).map(lambda v: pa.array(map(_number, v), pa.decimal256(40, 0))),
    "string": _some(_BYTES).map(_text),
    "large_string": _some(_BYTES).map(lambda v: _text(v).cast(pa.large_string())),
    "string_view": _some(st.text(max_size=14)).map(lambda v: pa.array(v, pa.string_view())),
    "dictionary": _some(_BYTES).map(lambda v: _text(v).dictionary_encode()),
    "binary": _some(st.binary(max_size=4)).map(lambda v: pa.array(v, pa.binary())),
    "uuid": _some(st.binary(min_size=16, max_size=16)).map(lambda v: pa.array(v, pa.uuid())),
    "date32": _some(st.integers(-(2**31), 2**31 - 1)).map(lambda v: pa.array(v, pa.int32()).view(pa.date32())),
    "time64": _some(st.integers(0, 86_399_999_999_999)).map(_viewed(pa.time64("ns"))),
    **{
        f"timestamp {unit} {zone}": _some(_LONG | st.integers(-(10**10), 10**10)).map(_viewed(pa.timestamp(unit, zone)))
        for unit in ("s", "us", "ns")
        for zone in (None, "Europe/Amsterdam")
    },
    **{f"duration {unit}": _some(_LONG).map(_viewed(pa.duration(unit))) for unit in ("s", "us", "ns")},
    "list": st.lists(_some(_BYTES).map(_text), max_size=3).map(
        lambda v: (
            pa.array([None, *(a.to_pylist() for a in v if a.validate(full=True) is None)], pa.list_(pa.string()))
            if all(_sound(a) for a in v)
            else pa.ListArray.from_arrays(pa.array([0, len(v[0])], pa.int32()), v[0])
        )
    ),
    "struct": _some(st.fixed_dictionaries({"a": st.floats(), "b": st.none() | st.text(max_size=2)})).map(
        lambda v: pa.array(v, pa.struct([("a", pa.float64()), ("b", pa.string())]))
    ),
    "null": st.integers(0, 4).map(pa.nulls),
}


def _number(value: int | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def _sound(array: pa.Array[Any]) -> bool:
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def faulty(found: Cast) -> list[bool]:
    """Which values any fault marks."""
    named = [fault.where.to_pylist() for fault in found.faults]
    return [any(one) for one in zip(*named, strict=True)] if named else [False] * len(found.values)


@pytest.mark.parametrize("source", ARRAYS)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), kind=st.sampled_from(KINDS), zone=st.sampled_from(["UTC", "Europe/Amsterdam"]))
def test_every_value_is_kept_or_faulty(source, data, kind, zone):
    """Whatever is cast to whatever: no row is lost, NULL stays NULL, and each other value is kept or faulty."""
    array = data.draw(ARRAYS[source])

    found = cast(array, kind, zone)

    found.values.validate(full=True)
    assert types.to_arrow(kind) == found.values.type
    assert len(array) == len(found.values)
    kept = zip(array.is_valid().to_pylist(), found.values.is_valid().to_pylist(), faulty(found), strict=True)
    assert set(kept) <= {(False, False, False), (True, True, False), (True, False, True)}
    assert {fault.code for fault in found.faults} <= CODES


OWN: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "smallint": st.integers(-(2**15), 2**15 - 1),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "bigint": _LONG,
    "real": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "text": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    "binary": st.binary(),
    "date": st.dates(),
    "time": st.times(),
    "timestamp": st.datetimes(),
    "decimal(18,4)": st.decimals(-(10**13), 10**13, places=4),
}


@pytest.mark.parametrize("kind", OWN)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_values_of_the_right_type_do_not_change(kind, data):
    """A column in its own type has no faults, and no value changes."""
    values = data.draw(st.lists(st.none() | OWN[kind]))

    assert Cast(pa.array(values, types.to_arrow(kind)), ()) == cast(pa.array(values, types.to_arrow(kind)), kind)


@pytest.mark.parametrize(
    "kind", ["boolean", "smallint", "integer", "bigint", "decimal(18,4)", "date", "timestamp", "double"]
)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_values_written_as_text_are_read_back(kind, data):
    """Numbers, dates, instants and flags, with blanks around them."""
    values = data.draw(st.lists(OWN[kind]))
    written = [f" {value.isoformat() if isinstance(value, dt.date) else value} " for value in values]

    found = cast(pa.array(written, pa.string()), kind)

    assert values == found.values.to_pylist()
    assert () == found.faults


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-(10**6), 10**6) | st.sampled_from(["x", "1.5.", None]), max_size=60))
def test_exactly_the_bad_values_are_found(values):
    """Wherever they are among the good ones."""
    found = cast(pa.array([None if v is None else str(v) for v in values], pa.string()), "integer")

    assert [v if isinstance(v, int) else None for v in values] == found.values.to_pylist()
    assert [isinstance(v, str) for v in values] == faulty(found)


def test_one_bad_value_of_many_is_found_by_halving():
    """Sixty-five thousand values, and the fault is one boolean array of the same length."""
    values = [*range(65_535), 2**40]

    found = cast(pa.array(values), "integer")

    assert [*range(65_535), None] == found.values.to_pylist()
    assert [False] * 65_535 + [True] == found.faults[0].where.to_pylist()
    assert ["out_of_range"] == [fault.code for fault in found.faults]


def test_a_batch_may_have_faults_of_several_kinds():
    """Bytes that are not UTF-8 and a NUL have different codes."""
    found = cast(_text([b"a", b"\xff", b"\0", None]), "text")

    assert ["a", None, None, None] == found.values.to_pylist()
    assert {"not_utf8": [False, True, False, False], "nul_in_text": [False, False, True, False]} == {
        fault.code: fault.where.to_pylist() for fault in found.faults
    }


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        (dt.datetime(2026, 1, 15, 12), dt.datetime(2026, 1, 15, 11)),
        (dt.datetime(2026, 7, 15, 12), dt.datetime(2026, 7, 15, 10)),
        # The clock goes back at 03:00 summer time: 02:30 comes twice, and the first is taken.
        (dt.datetime(2026, 10, 25, 1, 59), dt.datetime(2026, 10, 24, 23, 59)),
        (dt.datetime(2026, 10, 25, 2, 30), dt.datetime(2026, 10, 25, 0, 30)),
        (dt.datetime(2026, 10, 25, 3, 0), dt.datetime(2026, 10, 25, 2, 0)),
        # The clock goes forward at 02:00: 02:30 does not come, and the first instant after it is taken.
        (dt.datetime(2026, 3, 29, 1, 59), dt.datetime(2026, 3, 29, 0, 59)),
        (dt.datetime(2026, 3, 29, 2, 30), dt.datetime(2026, 3, 29, 1, 0)),
        (dt.datetime(2026, 3, 29, 3, 0), dt.datetime(2026, 3, 29, 1, 0)),
    ],
    ids=str,
)
def test_a_time_of_a_zone_becomes_utc(local, utc):
    """As a timestamp and as text; a value with its own zone keeps it."""
    for array in (pa.array([local]), pa.array([local.isoformat()])):
        assert [utc] == cast(array, "timestamp", "Europe/Amsterdam").values.to_pylist()
    zoned = pa.array([local], pa.timestamp("us", "UTC"))
    assert [local] == cast(zoned, "timestamp", "Europe/Amsterdam").values.to_pylist()
    assert [local] == cast(pa.array([f"{local.isoformat()}Z"]), "timestamp", "Europe/Amsterdam").values.to_pylist()


@settings(deadline=None)
@given(st.lists(st.datetimes(dt.datetime(2020, 1, 1), dt.datetime(2030, 1, 1)), min_size=2, max_size=20))
def test_a_zone_keeps_times_in_order(times):
    """Outside the hour that comes twice, what was later stays later, or becomes equal where an hour is skipped."""
    outside = sorted(t for t in times if not (t.month == 10 and t.hour in (2, 3)))

    found = cast(pa.array(outside, pa.timestamp("us")), "timestamp", "Europe/Amsterdam").values.to_pylist()

    assert sorted(found) == found


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-02-24", "2026-02-24T00:00:00"),
        ("2026-02-24 12:00", "2026-02-24T12:00:00"),
        ("2026-02-24T12:00:00Z", "2026-02-24T12:00:00"),
        ("2026-02-24T12:00:00z", "2026-02-24T12:00:00"),
        ("2026-02-24T12:00:00+01:00", "2026-02-24T11:00:00"),
        ("2026-02-24T12:00:00-0130", "2026-02-24T13:30:00"),
        ("2026-02-24T12:00:00.1234567", "2026-02-24T12:00:00.123456"),
        ("2026-02-24T12:00:00.999999999+01:00", "2026-02-24T11:00:00.999999"),
    ],
)
def test_instants_in_text_are_read_in_iso_8601(text, instant):
    """With zone and without; digits finer than microseconds are cut off."""
    found = cast(pa.array([text, None]), "timestamp")

    assert [dt.datetime.fromisoformat(instant), None] == found.values.to_pylist()
    assert () == found.faults


@pytest.mark.parametrize(("yes", "no"), [("true", "false"), ("T", "F"), (" yes ", "no"), ("Y", "n"), ("1", "0")])
def test_flags_in_text_are_read(yes, no):
    """In the ways people and programs write them."""
    assert [True, False] == cast(pa.array([yes, no]), "boolean").values.to_pylist()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_durations_are_microseconds(unit):
    """Finer is cut off; a value beyond 64 bits is faulty instead of wrapping around."""
    second = pa.array([dt.timedelta(seconds=1)], pa.duration("s")).cast(pa.duration(unit))

    assert [1_000_000] == cast(second, "bigint").values.to_pylist()
    assert (unit in ("s", "ms")) == bool(cast(pa.array([2**62], pa.duration(unit)), "bigint").faults)


@settings(deadline=None)
@given(st.lists(st.none() | st.dictionaries(st.sampled_from("ab"), st.none() | _LONG, min_size=2), max_size=3))
def test_nested_values_are_json(value):
    """JSON reads the same value back."""
    kind = pa.list_(pa.struct([("a", pa.int64()), ("b", pa.int64())]))

    found = cast(pa.array([value], kind), "text")

    assert value == json.loads(found.values[0].as_py())


def test_json_of_what_json_has_no_type_for():
    """Decimals and times as text, durations as microseconds, bytes as base64; letters as they are."""
    values = {
        "a": Decimal("1.50"), "b": b"\xff", "c": dt.datetime(2026, 2, 24, 12), "d": dt.date(2026, 2, 24),
        "e": dt.time(1, 2), "f": dt.timedelta(seconds=1), "g": "é",
    }  # fmt: skip

    assert (
        '{"a": "1.50", "b": "/w==", "c": "2026-02-24T12:00:00", "d": "2026-02-24", "e": "01:02:00", "f": 1000000,'
        ' "g": "é"}' == json_text(values)
    )


def test_json_has_no_nan_except_in_a_raw_row():
    """Strict for what is stored, lenient for what people read."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text([float("nan")])
    assert "[NaN]" == json_text([float("nan")], lenient=True)


def test_a_batch_cut_from_a_larger_one_is_checked_by_its_own_rows():
    """Arrow slices share their buffers; a NUL in another row of the buffer is not a fault of the slice."""
    array = pa.array(["a\0", "b", "c"])

    assert Cast(pa.array(["b", "c"]), ()) == cast(array[1:], "text")
    assert [True] == faulty(cast(array[:1], "text"))


def test_a_number_too_large_for_floating_point_is_no_flag():
    """It is unreadable, like any other number that is neither 0 nor 1."""
    found = cast(pa.array([2**53 + 1, 1, 0]), "boolean")

    assert [None, True, False] == found.values.to_pylist()
    assert [True, False, False] == faulty(found)


_UUIDS = _some(st.uuids())


@settings(deadline=None)
@given(values=_UUIDS, start=st.integers(0, 3), dictionary=st.booleans())
def test_a_uuid_becomes_text_of_36_characters_in_lower_case(values, start, dictionary):
    """As Python writes it; also in a slice of a longer array, and in a dictionary."""
    storage = pa.array([None if value is None else value.bytes for value in values], pa.uuid())[start:]
    array = storage.storage.dictionary_encode() if dictionary else storage

    found = cast(_as_uuids(array), "text")

    assert [None if value is None else str(value) for value in values[start:]] == found.values.to_pylist()
    assert () == found.faults


def _as_uuids(array: Any) -> Any:
    if not pa.types.is_dictionary(array.type):
        return array
    values = pa.ExtensionArray.from_storage(pa.uuid(), array.dictionary)
    return pa.DictionaryArray.from_arrays(array.indices, values)


def test_a_uuid_may_be_declared_binary():
    """For a table that has its bytes already."""
    assert [b"0123456789abcdef"] == cast(pa.array([b"0123456789abcdef"], pa.uuid()), "binary").values.to_pylist()

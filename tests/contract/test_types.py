"""Column types: what Arrow's become, and how they widen."""

from __future__ import annotations

import re

from itertools import product
from typing import Any

import pyarrow as pa
import pytest

from shared.contract import types
from shared.contract.types import decimal_of, of_arrow, parse, to_arrow, widened
from shared.errors import ConfigError

EXAMPLES: dict[str, list[pa.DataType]] = {
    "bool": [pa.bool_()],
    "int8, int16, uint8": [pa.int8(), pa.int16(), pa.uint8()],
    "int32, uint16": [pa.int32(), pa.uint16()],
    "int64, uint32": [pa.int64(), pa.uint32()],
    "uint64": [pa.uint64()],
    "float16, float32": [pa.float16(), pa.float32()],
    "float64": [pa.float64()],
    "decimal32 to decimal256, precision <= 38": [
        pa.decimal32(9, 2), pa.decimal64(18, 2), pa.decimal128(38, 38), pa.decimal256(38, 0),
    ],
    "string, large_string, string_view": [pa.string(), pa.large_string(), pa.string_view()],
    "binary, fixed-size and large binary": [pa.binary(), pa.binary(16), pa.large_binary(), pa.binary_view()],
    "date32, date64": [pa.date32(), pa.date64()],
    "time32, time64": [pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")],
    "timestamp of any unit, with zone": [pa.timestamp(unit, "UTC") for unit in ("s", "ms", "us", "ns")],
    "timestamp without zone": [pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")],
    "duration": [pa.duration(unit) for unit in ("s", "ms", "us", "ns")],
    "list, struct, map": [
        pa.list_(pa.int8()), pa.large_list(pa.int8()), pa.list_(pa.int8(), 2), pa.list_view(pa.int8()),
        pa.struct([("a", pa.int8())]), pa.map_(pa.string(), pa.int8()),
    ],
    "dictionary of one of these": [pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.int64())],
    "uuid": [pa.uuid()],
    "other extension stored as one of these": [pa.json_(), pa.bool8()],
    "null": [pa.null()],
}  # fmt: skip
"""Arrow types for each row of the table in the docstring of shared.contract.types."""

KINDS = [
    *types.SIMPLE, "decimal(1,0)", "decimal(5,0)", "decimal(5,2)", "decimal(18,4)", "decimal(19,0)",
    "decimal(38,0)", "decimal(38,19)", "decimal(38,38)",
]  # fmt: skip


def documented() -> dict[str, str]:
    """The table: Arrow types by the words of the first column, with the column type."""
    lines = [line for line in str(types.__doc__).splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return {arrow: column for arrow, column, _ in cells[1:]}


def test_the_type_table_has_an_example_for_each_row():
    """The documentation and these tests have the same types."""
    assert sorted(documented()) == sorted(EXAMPLES)


@pytest.mark.parametrize(
    ("words", "arrow"), [(words, arrow) for words, several in EXAMPLES.items() for arrow in several], ids=str
)
def test_every_arrow_type_becomes_what_the_table_says(words, arrow):
    """The second column of the table is what of_arrow gives."""
    expected: Any = documented()[words]
    if expected == "that one":
        expected = of_arrow(arrow.value_type if pa.types.is_dictionary(arrow) else arrow.storage_type)
    if expected == "decimal(p,s)":
        expected = f"decimal({arrow.precision},{arrow.scale})"

    assert {"none yet": types.NULL}.get(expected, expected) == of_arrow(arrow)


@pytest.mark.parametrize("arrow", [pa.decimal256(39, 0), pa.decimal128(5, -2), pa.month_day_nano_interval()], ids=str)
def test_an_arrow_type_that_cannot_be_stored_has_no_column_type(arrow):
    """More than 38 digits, a scale below zero, months and days."""
    assert of_arrow(arrow) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_type_maps_to_arrow_and_back(kind):
    """A conformed batch has the type of its column."""
    assert kind == of_arrow(to_arrow(kind))
    assert kind == parse(kind)


@pytest.mark.parametrize(("text", "kind"), [(" BigInt ", "bigint"), ("DECIMAL( 18 , 04 )", "decimal(18,4)")])
def test_a_type_may_be_written_loosely(text, kind):
    """Case and blanks do not matter."""
    assert kind == parse(text)


@pytest.mark.parametrize(
    "text", ["", "int", "decimal", "decimal(0,0)", "decimal(39,0)", "decimal(5,6)", "null", "text(5)"]
)
def test_an_unknown_type_is_refused_with_the_known_ones(text):
    """The error lists what can be chosen."""
    with pytest.raises(ConfigError, match=re.escape(", ".join(types.SIMPLE))):
        parse(text)


def test_widening_with_itself_changes_nothing():
    """It is idempotent."""
    assert KINDS == [widened(kind, kind) for kind in KINDS]


def test_widening_is_the_same_in_both_directions():
    """It is commutative, also in what it refuses."""
    assert [widened(a, b) for a, b in product(KINDS, KINDS)] == [widened(b, a) for a, b in product(KINDS, KINDS)]


def test_a_widened_type_holds_both():
    """Widening again with either changes nothing."""
    wide = [(a, b, wider) for a, b in product(KINDS, KINDS) if (wider := widened(a, b))]

    assert len(wide) > len(KINDS)
    assert [(wider, wider) for *_, wider in wide] == [(widened(a, wider), widened(wider, b)) for a, b, wider in wide]


def test_widening_ends_the_same_in_any_order():
    """It is associative: which file came first makes no difference."""

    def together(a: str | None, b: str | None) -> str | None:
        return widened(a, b) if a and b else None

    triples = list(product(KINDS, KINDS, KINDS))
    assert [together(together(a, b), c) for a, b, c in triples] == [together(a, together(b, c)) for a, b, c in triples]


def test_nothing_becomes_text_nor_an_integer_floating_point():
    """Only what is text is text, and only real becomes double."""
    found = {(a, b): widened(a, b) for a, b in product(KINDS, KINDS) if a != b and widened(a, b)}

    assert "text" not in {kind for pair in found for kind in pair}
    assert {("real", "double"), ("double", "real")} == {
        pair for pair, wider in found.items() if wider in ("real", "double")
    }


def test_a_widened_number_has_room_for_all_digits_of_both():
    """Digits before and after the point, each the greater of the two."""
    digits = {"smallint": 5, "integer": 10, "bigint": 19}

    def room(kind: str) -> tuple[int, int]:
        precision, scale = decimal_of(kind) if kind.startswith("decimal") else (digits[kind], 0)
        return precision - scale, scale

    exact = [kind for kind in KINDS if kind in digits or kind.startswith("decimal")]
    for a, b in product(exact, exact):
        need = tuple(map(max, room(a), room(b)))
        wider = widened(a, b)
        assert (need if sum(need) <= 38 else None) == (room(wider) if wider else None)

"""Cleaning as a whole: laws that hold for every cleaner, whatever the text."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from hypothesis import given
from hypothesis import strategies as st

from shared.contract import types
from shared.contract.clean import CleanOptions, clean
from shared.contract.codes import Code

OPTIONS = st.builds(
    CleanOptions,
    region=st.sampled_from(["US", "GB", "DE", "us"]),
    decimal_mark=st.sampled_from([".", ","]),
    day_first=st.booleans(),
    timezone=st.sampled_from(["UTC", "America/New_York", "Europe/Amsterdam"]),
    true=st.sampled_from([(), ("Active", "n")]),
    false=st.sampled_from([(), ("Inactive",)]),
)
COLUMNS = [
    (cleaner, kind)
    for cleaner, kinds in types.CLEANERS.items()
    for made in kinds
    for kind in (["decimal(10,2)", "decimal(2,2)", "decimal(38,0)"] if made == "decimal" else [made])
]
FRAGMENTS = st.sampled_from(
    [
        "", " ", "\u00a0", "0", "1", "12", "31", "2025", "0000", "512", "555", "0100", "9999", "/", "-", ".", ",", ":",
        "T", "Z", "+", "(", ")", "$", "€", "USD", "AM", "pm", "EST", "America/New_York", "+05:30", "x12", ";ext=",
        "ext. 7", "@", "ada", "Ada", "example.com", "münchen", "İ", "test", "yes", "N", "Active", "null", "'", "\u2019",
        "\u2212", "\u200f", "\0", "🧊", "tel:",
    ]
)  # fmt: skip
TYPICAL = st.sampled_from(
    [
        "(512) 555-0100", "+1 512-555-0100 x12", "+44 20 7946 0958", "Ada@Example.COM", "9/1/2025 8:00:00 AM EST",
        "2025-09-01", "31/12/2024 23:59", "$1,234.50", "(12.00)", "1.234,50-", "02138-1234", "2138", "12.00", "8:15 pm",
        "02/30/2025", "3/4/25",
    ]
)  # fmt: skip
TEXTS = st.none() | TYPICAL | st.lists(FRAGMENTS, max_size=7).map("".join) | st.text(max_size=20)
COLUMN = st.sampled_from(COLUMNS)


def array(values: list[str | None]) -> pa.Array[Any]:
    return pa.array(values, pa.string())


@given(st.lists(TEXTS, max_size=8), COLUMN, OPTIONS)
def test_every_value_is_cleaned_or_has_one_fault_or_is_blank(texts, column, options):
    """The three outcomes exclude each other, so that counts of values and faults add up."""
    cleaner, kind = column

    cleaned = clean(array(texts), cleaner, kind, options)

    assert types.to_arrow(kind) == cleaned.values.type
    for n, text in enumerate(texts):
        blank = text is None or not text.strip()
        outcomes = [cleaned.values[n].is_valid, blank, *(fault.where[n].as_py() for fault in cleaned.faults)]
        assert 1 == sum(outcomes), (text, outcomes)


@given(st.lists(TEXTS, max_size=8), COLUMN, OPTIONS, st.integers(0, 8))
def test_chunks_are_cleaned_as_the_whole_is(texts, column, options, cut):
    """Nothing of a value's result depends on its neighbours, or on what was cleaned before."""
    whole, first, second = (clean(array(part), *column, options) for part in (texts, texts[:cut], texts[cut:]))

    assert whole.values.to_pylist() == first.values.to_pylist() + second.values.to_pylist()
    for n, part in enumerate([whole, first, second]):
        assert all(len(fault.where) == len([texts, texts[:cut], texts[cut:]][n]) for fault in part.faults)


@given(st.lists(TEXTS, max_size=8), COLUMN, OPTIONS)
def test_what_is_clean_stays_as_it_is(texts, column, options):
    """The text of a cleaned value, cleaned again, gives that value."""
    cleaner, kind = column
    values = clean(array(texts), cleaner, kind, options).values
    written = [None if value is None else _written(value, options) for value in values.to_pylist()]

    again = clean(array(written), cleaner, kind, options)

    assert (values.to_pylist(), ()) == (again.values.to_pylist(), again.faults)


def _written(value: Any, options: CleanOptions) -> str:
    if isinstance(value, str | bool):
        return str(value) if isinstance(value, str) else ("true" if value else "false")
    if hasattr(value, "hour") and hasattr(value, "year"):
        return f"{value.isoformat()}Z"
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    text = f"{value:f}"
    return text.replace(".", options.decimal_mark)


@given(st.lists(TEXTS, max_size=8), COLUMN)
def test_blanks_around_a_text_do_not_matter(texts, column):
    """They are trimmed, narrow and unbreakable ones too."""
    padded = [None if text is None else f"\t {text}\u00a0\n" for text in texts]

    plain, trimmed = (clean(array(some), *column, CleanOptions()) for some in (texts, padded))

    assert plain.values.to_pylist() == trimmed.values.to_pylist()


@pytest.mark.parametrize(("cleaner", "kind"), COLUMNS)
def test_nul_and_broken_text_are_faults_of_every_cleaner(cleaner, kind):
    """They can be stored nowhere, and are found before the cleaner looks."""
    broken = pa.array([b"a\0b", b"\xff", b"  "], pa.binary()).view(pa.string())

    cleaned = clean(broken, cleaner, kind, CleanOptions())

    assert [None] * 3 == cleaned.values.to_pylist()
    assert {Code.NUL_IN_TEXT: [True, False, False], Code.NOT_UTF8: [False, True, False]} == {
        fault.code: fault.where.to_pylist() for fault in cleaned.faults
    }


@pytest.mark.parametrize(("cleaner", "kind"), COLUMNS)
def test_an_array_may_be_empty_or_have_only_nulls(cleaner, kind):
    """Both have no faults."""
    none, nulls = (clean(pa.array(some, pa.string()), cleaner, kind, CleanOptions()) for some in ([], [None, None]))

    assert ([], (), [None, None], ()) == (none.values.to_pylist(), none.faults, nulls.values.to_pylist(), nulls.faults)


@pytest.mark.parametrize(
    ("values", "cleaner", "kind", "expected"),
    [
        (pa.array([5125550100, None]), "phone", "text", ["+15125550100", None]),
        (pa.array(["2138"]).dictionary_encode(), "zip", "text", ["02138"]),
        (pa.array([True, False]), "boolean", "boolean", [True, False]),
        (pa.array([12]), "amount", "decimal(10,2)", [12]),
    ],
)
def test_what_is_no_text_is_cleaned_as_it_is_written(values, cleaner, kind, expected):
    """A column of a spreadsheet or a Parquet file may have a type."""
    assert expected == clean(values, cleaner, kind, CleanOptions()).values.to_pylist()


def test_every_type_a_cleaner_makes_is_a_column_type():
    """The catalog compares with these names."""
    made = {kind for kinds in types.CLEANERS.values() for kind in kinds}

    assert made <= {*types.SIMPLE, "decimal"}

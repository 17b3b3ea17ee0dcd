"""Texts of fixed forms are found where a regular expression finds them, and mean the same numbers."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from hypothesis import given
from hypothesis import strategies as st

from shared.contract.forms import Forms, rest_of

FORMS = ("0000-00-00", "00/00/0000", "0/0/0000", "+1 (000) 000-0000", "1-0", "0x0")
TEXTS = st.lists(
    st.none()
    | st.text("0123456789-/ +()x", max_size=18)
    | st.text(max_size=12)
    | st.sampled_from(FORMS).flatmap(lambda form: st.from_regex(f"^{pattern(form)}$", fullmatch=True))
)


def pattern(form: str) -> str:
    runs = re.findall("0+|[^0]+", form)
    return "".join(f"([0-9]{{{len(run)}}})" if run[0] == "0" else re.escape(run) for run in runs)


def found(texts: pa.Array) -> dict[int, tuple[str, list[int]]]:
    """By its place: the form of a text and its numbers."""
    return {
        int(row): (one.form, [int(number[n]) for number in one.numbers])
        for one in Forms(FORMS).found(texts)
        for n, row in enumerate(one.rows)
    }


@given(TEXTS, st.integers(0, 3))
def test_the_same_texts_are_found_as_by_a_regular_expression(texts, offset):
    """Of a slice too."""
    array = pa.array(texts, pa.string())[offset:]
    expected = {
        row: (form, [int(group) for group in match.groups()])
        for row, text in enumerate(texts[offset:])
        for form in FORMS
        if text is not None and (match := re.fullmatch(pattern(form), text))
    }

    assert expected == found(array)


@given(TEXTS)
def test_every_other_text_is_the_rest(texts):
    array = pa.array(texts, pa.string())
    formed = list(Forms(FORMS).found(array))

    assert set(range(len(texts))) - found(array).keys() == set(rest_of(len(texts), formed).tolist())


@pytest.mark.parametrize("hidden", ["2026-02-24", "1-1"])
def test_what_lies_below_a_null_is_no_text(hidden):
    """Arrow leaves the bytes there when it makes a value NULL."""
    texts = pa.StringArray.from_buffers(
        2, pa.array([0, len(hidden), len(hidden) + 3], pa.int32()).buffers()[1], pa.py_buffer(f"{hidden}1-2".encode()),
        pa.py_buffer(b"\2"),
    )  # fmt: skip

    assert [None, "1-2"] == texts.to_pylist()
    assert {1: ("1-0", [2])} == found(texts)

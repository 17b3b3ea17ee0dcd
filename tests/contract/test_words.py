"""Yes and no, and postal codes."""

from __future__ import annotations

import pyarrow as pa
import pytest

from hypothesis import given
from hypothesis import strategies as st

from shared.contract.clean import CleanOptions, clean
from shared.contract.codes import Code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("02138", "02138"), ("2138", "02138"), ("501", "00501"), ("2138.0", "02138"), ("02138-1234", "02138-1234"),
        ("2138-1234", "02138-1234"), ("021381234", "02138-1234"), ("21381234", "02138-1234"), ("78701-", "78701"),
        ("78701 1234", "78701-1234"), ("78701 - 1234", "78701-1234"), ("787011234.0", "78701-1234"),
    ],
)  # fmt: skip
def test_a_zip_code_has_five_digits_and_perhaps_four_more(text, code):
    """Spreadsheets lose its leading zeros."""
    assert [code] == clean(pa.array([text]), "zip", "text", CleanOptions()).values.to_pylist()


@pytest.mark.parametrize(
    "text", ["SW1A 1AA", "K1A 0B1", "100-0001", "018956", "01310-100", "01310100", "1234 AB", "D02 AF30", "AD500"]
)
def test_codes_of_other_countries_stay_as_they_are(text):
    """As far as they differ from ZIP codes."""
    assert [text] == clean(pa.array([text]), "zip", "text", CleanOptions()).values.to_pylist()


@pytest.mark.parametrize("text", ["501", "2138", "2000", "02138-1234", "21381234", "01310100"])
def test_elsewhere_a_code_of_digits_stays_as_it_is(text):
    """A code of four digits is an Australian or a Swiss one."""
    assert [text] == clean(pa.array([text]), "zip", "text", CleanOptions(region="AU")).values.to_pylist()


@pytest.mark.parametrize("region", ["US", "AU"])
@pytest.mark.parametrize(
    "text", ["N/A", "none", "12", "1", "-", "12345678901234", "78701;78702", "78701, TX", "2.138E3"]
)
def test_what_is_no_postal_code_is_a_fault(text, region):
    """Whatever the country."""
    result = clean(pa.array([text]), "zip", "text", CleanOptions(region=region))

    assert [None] == result.values.to_pylist()
    assert [(Code.NOT_A_ZIP, "text that is no postal code")] == [fault[:2] for fault in result.faults]


@given(st.integers(501, 99999), st.none() | st.integers(0, 9999), st.sampled_from(["-", " ", " - ", ""]))
def test_a_zip_code_comes_back_without_its_zeros(head, tail, separator):
    """Of every ZIP code and ZIP+4 from 01001 on; the first three digits of those below must be there."""
    whole = f"{head:05}" if tail is None else f"{head:05}-{tail:04}"
    lost = f"{head}" if tail is None else f"{head if head > 999 else f'{head:05}'}{separator}{tail:04}"

    assert [whole] == clean(pa.array([lost]), "zip", "text", CleanOptions()).values.to_pylist()


@pytest.mark.parametrize(
    ("options", "text", "means"),
    [
        ({}, "1", True), ({}, "YES", True), ({}, "t", True), ({}, "0", False), ({}, "No", False), ({}, "F", False),
        ({}, "2", None), ({}, "maybe", None), ({}, "1.0", None), ({}, "duplicate", None),
        ({"true": ("Duplicate",)}, "DUPLICATE ", True), ({"true": ("Duplicate",)}, "yes", True),
        ({"false": ("Inactive", "t")}, "inactive", False), ({"false": ("Inactive", "t")}, "T", False),
        ({"true": ("n",)}, "n", True), ({"true": ("n",)}, "no", False),
    ],
)  # fmt: skip
def test_words_of_the_column_go_before_the_usual_ones(options, text, means):
    """In any case."""
    result = clean(pa.array([text]), "boolean", "boolean", CleanOptions(**options))

    assert [means] == result.values.to_pylist()
    assert ([Code.UNREADABLE] if means is None else []) == [fault.code for fault in result.faults]

"""Amounts and whole numbers: exactly, or not at all."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from hypothesis import example, given
from hypothesis import strategies as st

from shared.contract.cast import Cast
from shared.contract.clean import CleanOptions, clean
from shared.contract.codes import Code

AMOUNTS = st.decimals(Decimal("-9999999999999999.99"), Decimal("9999999999999999.99"), places=2)
WRAPPINGS = st.sampled_from(
    ["{s}{n}", "{s}${n}", "${s}{n}", "{s}$ {n}", "{n}{s}", "{n}{s} ", "${n}{s}", "{s}USD {n}", "{s}{n} USD", "{s}{n} €"]
)


def amount(text: str, kind: str = "decimal(18,2)", decimal_mark: str = ".") -> Cast:
    return clean(pa.array([text]), "amount", kind, CleanOptions(decimal_mark=decimal_mark))


@given(AMOUNTS, WRAPPINGS, st.sampled_from([",", "", " ", "'", "\u00a0", "\u202f"]), st.booleans(), st.booleans())
def test_an_amount_is_read_exactly_however_it_is_written(value, wrapping, group, comma, brackets):
    """Digit by digit, whatever groups them, with either decimal mark and any form of the sign."""
    mark, separator = (",", "." if group == "," else group) if comma else (".", group)
    number = f"{abs(value):,.2f}".replace(".", "\0").replace(",", separator).replace("\0", mark)
    sign = "-" if value < 0 else ""
    text = f"(${number})" if brackets and value < 0 else wrapping.format(s=sign, n=number)

    assert [value] == amount(text, decimal_mark=mark).values.to_pylist()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$1,234.50", "1234.50"), ("(12.00)", "-12.00"), ("$(3)", "-3.00"), ("12.00-", "-12.00"), ("+5", "5.00"),
        (".5", "0.50"), ("5.", "5.00"), ("007", "7.00"), ("0", "0.00"), ("-0.00", "0.00"), ("$ -", "0.00"),
        ("\u22124", "-4.00"), ("1.2300000", "1.23"), ("us$ 7", "7.00"), ("12 eur", "12.00"), ("C$4", "4.00"),
    ],
)  # fmt: skip
def test_forms_of_an_amount(text, value):
    """As people, spreadsheets and accounting systems write them."""
    assert [Decimal(value)] == amount(text).values.to_pylist()


@pytest.mark.parametrize(
    "text",
    [
        "none", "-", "$", "()", ".", "1,23", "1,2345", "0,123", "12,34,567", "1,234 567", "1.234.567", "1.234,50",
        "12..3", "(12", "12)", "(-12)", "-(12)", "--12", "-12-", "12%", "1.2E5", "0x10", "12 34", "1 2", "12 USD 5",
        "1/2", "NaN", "5k",
    ],
)  # fmt: skip
def test_what_is_no_amount_is_a_fault(text):
    """A comma that cannot group is not taken for a decimal mark."""
    result = amount(text)

    assert [None] == result.values.to_pylist()
    assert [(Code.UNREADABLE, "text that is no amount")] == [fault[:2] for fault in result.faults]


@pytest.mark.parametrize(
    ("text", "kind"),
    [("0.125", "decimal(18,2)"), ("1000", "decimal(5,2)"), ("1", "decimal(2,2)"), ("9" * 301, "double")],
)
def test_an_amount_with_more_digits_than_the_type_is_a_fault(text, kind):
    """It is neither rounded nor cut."""
    result = amount(text, kind)

    assert [None] == result.values.to_pylist()
    assert [Code.OUT_OF_RANGE] == [fault.code for fault in result.faults]


@pytest.mark.parametrize("kind", ["decimal(38,0)", "decimal(38,38)", "decimal(20,2)"])
@given(st.data())
def test_a_decimal_holds_all_its_digits(kind, data):
    """Up to 38, none of which passes through a float."""
    precision, scale = (int(part) for part in kind[8:-1].split(","))
    digits = data.draw(st.integers(-(10**precision) + 1, 10**precision - 1))
    value = Decimal(f"{digits}E-{scale}")

    assert [value] == amount(f"{value:f}", kind).values.to_pylist()


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
def test_a_double_is_the_number_that_its_text_means(value):
    """The nearest one, as Python reads it."""
    text = f"{Decimal(value):f}"[:300].rstrip("-")

    assert [float(text)] == amount(text, "double").values.to_pylist()


def test_minus_nothing_is_nothing():
    """A double could hold a negative zero, which is another text on some engines."""
    assert ["0.0"] == [str(value) for value in amount("-0.00", "double").values.to_pylist()]


@given(
    st.integers(-(2**65), 2**65),
    st.sampled_from(["{}", "{:,}", "{}.0", "{:,}.00"]),
    st.sampled_from([15, 31, 63]),
)
@example(2**15 - 1, "{}", 15)
@example(2**63 - 1, "{}", 63)
@example(-(2**63), "{}", 63)
def test_a_whole_number_is_read_or_does_not_fit(value, form, bits):
    """Nothing wraps around."""
    kind = {15: "smallint", 31: "integer", 63: "bigint"}[bits]

    result = clean(pa.array([form.format(value)]), "integer", kind, CleanOptions())

    fits = -(2**bits) <= value < 2**bits
    assert [value if fits else None] == result.values.to_pylist()
    assert ([] if fits else [(Code.OUT_OF_RANGE)]) == [fault.code for fault in result.faults]


@pytest.mark.parametrize("text", ["12.5", "1.234", "1,23", "$5", "(5)", "5-", "1e3", "five", "0x10", "1 234 5"])
def test_what_is_no_whole_number_is_a_fault(text):
    """A fraction is not cut off."""
    result = clean(pa.array([text]), "integer", "bigint", CleanOptions())

    assert [None] == result.values.to_pylist()
    assert [(Code.UNREADABLE, "text that is no whole number")] == [fault[:2] for fault in result.faults]

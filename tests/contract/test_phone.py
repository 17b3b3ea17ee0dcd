"""Phone numbers: E.164, an extension, and what is refused."""

from __future__ import annotations

import string

import phonenumbers
import pyarrow as pa
import pytest

from hypothesis import given
from hypothesis import strategies as st

from shared.contract import phone
from shared.contract.clean import CleanOptions, clean
from shared.contract.codes import Code

DIGITS = st.text(string.digits, min_size=3, max_size=3) | st.sampled_from(["512", "555", "011", "911", "800", "242"])
SEPARATOR = st.sampled_from(["", " ", "-", ".", "  ", "/", " - "])
FORMS = st.builds(
    lambda country, opening, area, closing, one, office, two, line, rest: (
        f"{country}{opening}{area}{closing}{one}{office}{two}{line}{rest}"
    ),
    st.sampled_from(["", "1", "+1", "1-", "+1 ", "001", "011 1 ", "2", "+"]),
    st.sampled_from(["", "("]),
    DIGITS,
    st.sampled_from(["", ")"]),
    SEPARATOR,
    DIGITS,
    SEPARATOR,
    st.text(string.digits, min_size=3, max_size=5),
    st.sampled_from(["", "", "", " x12", " ext. 7", ";ext=12", " "]),
)


def cleaned(text: str | None, region: str = "US") -> str | None:
    value = clean(pa.array([text], pa.string()), "phone", "text", CleanOptions(region=region)).values[0].as_py()
    assert value is None or isinstance(value, str)
    return value


@given(FORMS, st.sampled_from(["US", "CA", "GB", "DE"]))
def test_the_short_way_gives_what_the_library_gives(text, region):
    """The usual forms are read without the library, and to the same numbers."""
    assert phone._e164(text.strip(), region) == cleaned(text, region)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("(512) 555-0100", "+15125550100"),
        ("512.555.0100", "+15125550100"),
        ("512 555 0100", "+15125550100"),
        ("+1 (512) 555-0100", "+15125550100"),
        ("1-512-555-0100", "+15125550100"),
        ("5125550100.0", "+15125550100"),
        ("'5125550100", "+15125550100"),
        ("tel:+1-512-555-0100", "+15125550100"),
        ("Cell: 512-555-0100", "+15125550100"),
        ("\u202a+1 512-555-0100\u202c", "+15125550100"),
        ("\uff15\uff11\uff12 555 0100", "+15125550100"),
        ("512-555-0100 x12", "+15125550100;ext=12"),
        ("512-555-0100 ext. 007", "+15125550100;ext=007"),
        ("512-555-0100, Extension 9", "+15125550100;ext=9"),
        ("+15125550100;ext=12", "+15125550100;ext=12"),
        ("+44 20 7946 0958", "+442079460958"),
        ("011 44 20 7946 0958", "+442079460958"),
        ("(555) 555-5555", "+15555555555"),
    ],
)
def test_what_people_write_becomes_one_form(text, number):
    """Without a country code a number is of the region."""
    assert number == cleaned(text)


@pytest.mark.parametrize(
    "text",
    [
        "none", "N/A", "-", "0", "911", "555-0100", "000 000 0000", "123-456-7890", "512-555-010", "512-555-01000",
        "2 512 555 0100", "+999 1234567", "512-555-0100/512-555-0101", "512-555-0100 or 512-555-0101", "5.12555E+09",
        "call 512-555-0100", "512-555-O1OO", "512-555-010O", "1-800-FLOWERS", "ada@example.com", "9/1/2025 8:00:00 AM",
    ],
)  # fmt: skip
def test_what_is_no_number_is_a_fault(text):
    """Letters, too: the library would drop or dial them, and store another number."""
    result = clean(pa.array([text]), "phone", "text", CleanOptions())

    assert [None] == result.values.to_pylist()
    assert [(Code.NOT_A_PHONE, "text that is no phone number")] == [fault[:2] for fault in result.faults]


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("020 7946 0958", "GB", "+442079460958"),
        ("020 7946 0958", "US", None),
        ("030 123456", "DE", "+4930123456"),
        ("+1 512 555 0100", "DE", "+15125550100"),
        ("5125550100", "CA", "+15125550100"),
        ("5125550100", "us", "+15125550100"),
        ("020 7946 0958 x7", "GB", "+442079460958;ext=7"),
    ],
)
def test_the_region_decides_what_a_number_without_country_code_is(text, region, number):
    """In another country the same digits are another number, or none."""
    assert number == cleaned(text, region)


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_the_example_numbers_of_every_country_are_accepted(region):
    """Written as at home and as abroad."""
    number = phonenumbers.example_number(region)
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)

    for form in (phonenumbers.PhoneNumberFormat.NATIONAL, phonenumbers.PhoneNumberFormat.INTERNATIONAL):
        assert written == cleaned(phonenumbers.format_number(number, form), region)


@given(
    st.sampled_from(["", "1", "+1", "1-", "+1 ", "01", "+"]),
    st.sampled_from(["({}) ", "{}-", "{}.", "{} ", "{}", "({})"]),
    st.from_regex(r"[0-9]{3}", fullmatch=True),
    st.from_regex(r"[0-9]{3}[-. ]?[0-9]{4}", fullmatch=True),
    st.sampled_from(
        ["", " x12", "x007", " x 007", " ext. 12", " ext 1234567", "ext.9", ";ext=12", " EXT 5", " x 12345678", " #5"]
    ),
)
def test_usual_forms_are_read_without_the_library_as_it_would_read_them(prefix, area, code, number, extension):
    """All of them, and what is nearly one."""
    text = f"{prefix}{area.format(code)}{number}{extension}"

    assert [phone._e164(text, "US")] == phone.phone(pa.array([text]), "text", CleanOptions()).values.to_pylist()

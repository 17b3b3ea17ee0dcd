"""Cleans phone numbers: E.164, with an extension as RFC 3966 writes it."""

from __future__ import annotations

import re

from functools import lru_cache
from typing import Any

import pyarrow as pa

from shared.arrow import pc
from shared.contract.cast import Cast
from shared.contract.codes import Code
from shared.contract.distinct import CleanOptions, checked, matches

_NORTH_AMERICAN = r"^(?:\+?1[ .-]?)?(?:\(([2-9]\d\d)\)|([2-9]\d\d))[ .-]?(\d{3})[ .-]?(\d{4})"
_USUAL = (
    (_NORTH_AMERICAN + r"(?:\.0)?$", r"+1\1\2\3\4"),
    (_NORTH_AMERICAN + r"(?:;ext=| [xX] ?| [eE]xt\.? ?)(\d{1,7})$", r"+1\1\2\3\4;ext=\5"),
)
"""The usual ways to write a number with country code 1, and one with an extension, which need no library."""
_DONE = r"^\+1[2-9]\d{9}(?:;ext=\d{1,7})?$"
_EXTENSION = re.compile(r"(?:;\s*ext=|(?:\s|,|;|\b)(?:extension|extn|ext|x)[\s.:#]*)\d{1,7}$", re.IGNORECASE)
_LABEL = re.compile(r"^[a-z .]{1,20}:", re.IGNORECASE)
_LETTER = re.compile(r"[^\W\d_]")


def phone(texts: pa.Array[Any], _kind: str, options: CleanOptions) -> Cast:
    """The library reads what is not in one of the usual North American forms."""
    region = options.region.upper()
    usual = _usual(texts) if _is_north_american(region) else texts
    other = pc.and_(texts.is_valid(), pc.invert(matches(usual, _DONE)))
    if not other.true_count:
        return Cast(usual, ())
    read = pa.array([_e164(text, region) for text in texts.filter(other).to_pylist()], pa.string())
    values = pc.replace_with_mask(usual, other, read)
    wrong = pc.and_(texts.is_valid(), values.is_null())
    return checked(values, (Code.NOT_A_PHONE, "text that is no phone number", wrong))


def _usual(texts: pa.Array[Any]) -> Any:
    written: Any = texts
    for pattern, form in _USUAL:
        written = pc.replace_substring_regex(written, pattern, form)
    return written


@lru_cache(maxsize=1_000)
def _is_north_american(region: str) -> bool:
    import phonenumbers

    return phonenumbers.country_code_for_region(region) == 1


@lru_cache(maxsize=50_000)  # batches repeat their values; an entry takes about 300 bytes
def _e164(text: str, region: str) -> str | None:
    """The library drops letters or dials them: only a label before the number and an extension may have any."""
    import phonenumbers

    if _LETTER.search(_EXTENSION.sub("", _LABEL.sub("", text))):
        return None
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not _is_planned(number):
        return None
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return f"{written};ext={number.extension}" if number.extension else written


def _is_planned(number: Any) -> bool:
    """Whether the country's numbering plan has such numbers, assigned or not: assignments change every month."""
    import phonenumbers

    if phonenumbers.is_possible_number_with_reason(number) != phonenumbers.ValidationResult.IS_POSSIBLE:
        return False
    significant = phonenumbers.national_significant_number(number)
    patterns = (_pattern(number.country_code, region) for region in _regions(number.country_code))
    return any(pattern.fullmatch(significant) for pattern in patterns)


def _regions(country_code: int) -> tuple[str, ...]:
    import phonenumbers

    return phonenumbers.region_codes_for_country_code(country_code)


@lru_cache(maxsize=1_000)
def _pattern(country_code: int, region: str) -> re.Pattern[str]:
    import phonenumbers

    of_region = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(country_code, region)
    general = of_region.general_desc if of_region else None
    return re.compile((general.national_number_pattern if general else None) or r"(?!)")

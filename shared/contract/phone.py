"""Cleans phone numbers: E.164, with an extension as RFC 3966 writes it."""

from __future__ import annotations

import re

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from shared.arrow import pc
from shared.contract.cast import Cast
from shared.contract.codes import Code
from shared.contract.distinct import NULL_TEXT, CleanOptions, checked, matches
from shared.contract.forms import Forms, mask_of, rest_of, written

_NUMBERS = (
    "0000000000", "10000000000", "+10000000000", "000-000-0000", "000.000.0000", "000 000 0000", "(000) 000-0000",
    "(000)000-0000", "1-000-000-0000", "+1-000-000-0000", "+1 000-000-0000", "+1 (000) 000-0000",
)  # fmt: skip
_EXTENSIONS = ("", " x0", " x00", " x000", " x0000")
_FORMS = Forms([f"{number}{extension}" for number in _NUMBERS for extension in _EXTENSIONS])
"""Most of what people and programs write; the patterns below mean the same by them, if the first digit is 2 or more."""
_LOCAL = Forms(["0000000", "000-0000", "000.0000", "000 0000"])
"""Numbers without an area code: nobody can tell where they are. The first digit is 2 or more here, too."""
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
    formed = list(_FORMS.found(texts)) if _is_north_american(region) else []
    usual = [one.taken(one.leading >= 2) for one in formed]
    values: Any = written(texts, [(one, _e164_form(one.form)) for one in usual])
    left = rest_of(len(texts), usual)
    if len(left):
        read = _read(pc.take(texts, pa.array(left)), region)
        values = pc.replace_with_mask(values, mask_of(len(texts), left), read)
    wrong = pc.and_(texts.is_valid(), values.is_null())
    return checked(values, (Code.NOT_A_PHONE, "text that is no phone number", wrong))


def _e164_form(form: str) -> str:
    _, _, extension = form.partition(" x")
    return f"+10000000000;ext={extension}" if extension else "+10000000000"


def _read(texts: pa.Array[Any], region: str) -> Any:
    """What has none of the forms of a whole number; NULL for what is no number."""
    usual: Any = texts
    if _is_north_american(region):
        local = np.concatenate([one.rows[one.leading >= 2] for one in _LOCAL.found(texts)] or [np.zeros(0, np.int64)])
        usual = pc.if_else(mask_of(len(texts), local), NULL_TEXT, texts)
        return _by_pattern(usual, region, _USUAL)
    return _by_pattern(texts, region, ())


def _by_pattern(texts: Any, region: str, patterns: Sequence[tuple[str, str]]) -> Any:
    usual = texts
    for pattern, form in patterns:
        usual = pc.replace_substring_regex(usual, pattern, form)
    other = pc.and_(texts.is_valid(), pc.invert(matches(usual, _DONE)))
    read = pa.array([_e164(text, region) for text in texts.filter(other).to_pylist()], pa.string())
    return pc.replace_with_mask(usual, other, read)


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

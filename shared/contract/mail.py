"""Cleans e-mail addresses: in lower case, and of valid syntax. No domain is looked up."""

from __future__ import annotations

import functools
import unicodedata

from functools import lru_cache
from typing import Any

import pyarrow as pa

from shared.arrow import pc
from shared.contract.cast import Cast
from shared.contract.codes import Code
from shared.contract.distinct import NULL_TEXT, CleanOptions, checked, matches

_USUAL = r"^[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@(?:[a-z0-9]+(?:-[a-z0-9]+)*\.)+[a-z]{2,}$"
"""What nearly all addresses look like, which need no library."""
_SPECIAL = ("arpa", "invalid", "local", "localhost", "onion", "test")
"""The library refuses domains that end so, if a dot or nothing comes before: no mail can be sent there."""
_SHORT = 63
"""Characters. No part of a shorter address is too long."""


def email(texts: pa.Array[Any], _kind: str, _options: CleanOptions) -> Cast:
    lower = pc.ascii_lower(texts)
    special = functools.reduce(pc.or_, (pc.ends_with(lower, end) for end in _SPECIAL))
    usual = pc.and_not(matches(lower, _USUAL), pc.fill_null(special, False))
    usual = pc.and_(usual, pc.fill_null(pc.less_equal(pc.binary_length(lower), _SHORT), False))
    marked = pc.fill_null(pc.match_substring(lower, "@"), False)
    lower = pc.if_else(marked, lower, NULL_TEXT)  # the library takes nothing without one, but slowly
    other = pc.and_not(marked, usual)
    read = pa.array([_normalised(text) for text in texts.filter(other).to_pylist()], pa.string())
    values = pc.replace_with_mask(lower, other, read)
    wrong = pc.and_(texts.is_valid(), values.is_null())
    return checked(values, (Code.NOT_AN_EMAIL, "text that is no e-mail address", wrong))


@lru_cache(maxsize=50_000)  # batches repeat their values; an entry takes about 300 bytes
def _normalised(text: str) -> str | None:
    import email_validator

    try:
        address = email_validator.validate_email(text, check_deliverability=False, strict=True).normalized
    except email_validator.EmailNotValidError:
        return None
    return unicodedata.normalize("NFC", address.lower())

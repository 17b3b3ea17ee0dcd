"""Cleans yes and no, and postal codes."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from shared.arrow import pc
from shared.contract.cast import Cast
from shared.contract.codes import Code
from shared.contract.distinct import CleanOptions, checked, matches
from shared.contract.forms import Forms, mask_of, rest_of

_TRUE = ("1", "true", "t", "yes", "y")
_FALSE = ("0", "false", "f", "no", "n")
_ZIP_REGIONS = ("US", "AS", "GU", "MP", "PR", "VI")
"""Countries and territories whose postal codes the United States Postal Service gives."""


def boolean(texts: pa.Array[Any], _kind: str, options: CleanOptions) -> Cast:
    """A word that the options have for yes or no means that, whatever it means otherwise."""
    yes = {word.strip().lower() for word in options.true}
    no = {word.strip().lower() for word in options.false}
    words = pc.utf8_lower(texts)
    means_yes = pc.is_in(words, pa.array([*yes, *(word for word in _TRUE if word not in no)], pa.string()))
    means_no = pc.is_in(words, pa.array([*no, *(word for word in _FALSE if word not in yes)], pa.string()))
    unknown = pc.and_(texts.is_valid(), pc.invert(pc.or_(means_yes, means_no)))
    values = pc.if_else(texts.is_valid(), means_yes, pa.scalar(None, pa.bool_()))
    return checked(values, (Code.UNREADABLE, "value that is neither yes nor no", unknown))


_FULL = Forms(["00000", "00000-0000"])


def postal_code(texts: pa.Array[Any], _kind: str, options: CleanOptions) -> Cast:
    """In the US, digits are a ZIP code or ZIP+4 whose leading zeros may be lost. Other codes stay as they are."""
    left = rest_of(len(texts), list(_FULL.found(texts)))  # the others stay, and are postal codes in any country
    codes: Any = pc.take(texts, pa.array(left))
    if options.region.upper() in _ZIP_REGIONS:
        for pattern, form in _ZIP_FORMS:
            codes = pc.replace_substring_regex(codes, pattern, form)
    right = pc.and_(matches(codes, _POSTAL_CODE), matches(codes, _DIGIT))
    where = mask_of(len(texts), left)
    faulty = pc.replace_with_mask(where, where, pc.and_(codes.is_valid(), pc.invert(right)))
    return checked(pc.replace_with_mask(texts, where, codes), (Code.NOT_A_ZIP, "text that is no postal code", faulty))


_ZIP_FORMS = (
    (r"^(\d{3,5}|\d{8,9})\.0$", r"\1"),  # as a spreadsheet or pandas writes a number
    (r"^(\d{3,5}) ?-$", r"\1"),  # a ZIP+4 without its last part
    (r"^(\d{5}|[1-9]\d{3})(?: ?- ?| )?(\d{4})$", r"\1-\2"),
    (r"^(\d{4}(?:-\d{4})?)$", r"0\1"),
    (r"^(\d{3})$", r"00\1"),
)
_POSTAL_CODE = r"^[0-9A-Za-z][0-9A-Za-z -]{1,10}[0-9A-Za-z]$"
_DIGIT = r"[0-9]"

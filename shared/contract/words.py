"""Cleans yes and no, and postal codes."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from shared.arrow import pc
from shared.contract.cast import Cast
from shared.contract.codes import Code
from shared.contract.distinct import CleanOptions, checked, matches

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


def postal_code(texts: pa.Array[Any], _kind: str, options: CleanOptions) -> Cast:
    """In the US, digits are a ZIP code or ZIP+4 whose leading zeros may be lost. Other codes stay as they are."""
    codes = texts
    if options.region.upper() in _ZIP_REGIONS:
        codes = _as_zip(texts)
    wrong = pc.and_(texts.is_valid(), pc.invert(pc.and_(matches(codes, _POSTAL_CODE), matches(codes, _DIGIT))))
    return checked(codes, (Code.NOT_A_ZIP, "text that is no postal code", wrong))


def _as_zip(texts: pa.Array[Any]) -> Any:
    other = pc.invert(matches(texts, r"^\d{5}$"))  # the others are few, and the forms many
    codes: Any = texts.filter(other)
    for pattern, written in _ZIP_FORMS:
        codes = pc.replace_substring_regex(codes, pattern, written)
    return pc.replace_with_mask(texts, other, codes)


_ZIP_FORMS = (
    (r"^(\d{3,5}|\d{8,9})\.0$", r"\1"),  # as a spreadsheet or pandas writes a number
    (r"^(\d{3,5}) ?-$", r"\1"),  # a ZIP+4 without its last part
    (r"^(\d{5}|[1-9]\d{3})(?: ?- ?| )?(\d{4})$", r"\1-\2"),
    (r"^(\d{4}(?:-\d{4})?)$", r"0\1"),
    (r"^(\d{3})$", r"00\1"),
)
_POSTAL_CODE = r"^[0-9A-Za-z][0-9A-Za-z -]{1,10}[0-9A-Za-z]$"
_DIGIT = r"[0-9]"

"""Cleans amounts and whole numbers, exactly: what does not fit the column type is a fault, never rounded."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from shared.arrow import pc
from shared.contract import types
from shared.contract.cast import Cast
from shared.contract.codes import Code
from shared.contract.distinct import NULL_TEXT, CleanOptions, checked, matches

_SAME = (("\u2212", "-"), ("[\u00a0\u2009\u202f]", " "), ("\u2019", "'"))
"""Minus sign, narrow blanks and typographic apostrophe, each with what it is read as."""
_CURRENCY = r"(?:(?:US|CA|C)?\$|€|£|USD|CAD|EUR|GBP)"
_ACCOUNTING_ZERO = rf"^{_CURRENCY} *-$"
"""How the accounting formats of spreadsheets show zero."""
_AMOUNT = (
    rf"^(?P<open>\(?)(?P<sign>[-+]?) ?{_CURRENCY}? *(?P<inner>[-+]?)(?P<late_open>\(?) ?(?P<number>[\d.,' ]*\d[.,]?)"
    rf"(?P<close>\)?) ?{_CURRENCY}? ?(?P<trailing>[-+]?)(?P<late_close>\)?)$"
)
_INTEGER = r"^(?P<sign>[-+]?)(?P<number>[\d.,' ]*\d[.,]?)$"
_NEGATIVE = ("-", "()")
_MARKS = pa.array(["", "+", *_NEGATIVE])
_MOST_DIGITS = 300
"""Before the decimal mark of a double, which ends at 10 to the 308th."""


def amount(texts: pa.Array[Any], kind: str, options: CleanOptions) -> Cast:
    """The currency is dropped; brackets, or a minus before or after the number, make it negative."""
    shown = pc.replace_substring_regex(_plain(texts), _ACCOUNTING_ZERO, "0")
    number = _number(shown, _AMOUNT, options.decimal_mark)
    unread = pc.and_(texts.is_valid(), number.is_null())
    fits = matches(number, _fitting(kind))
    return _made(number, kind, unread, "text that is no amount", pc.invert(fits))


def integer(texts: pa.Array[Any], kind: str, options: CleanOptions) -> Cast:
    """A fraction of zeros only is dropped, as spreadsheets add it."""
    number = _number(_plain(texts), _INTEGER, options.decimal_mark)
    whole = matches(number, r"^-?\d+$")
    unread = pc.and_not(texts.is_valid(), whole)
    short = pc.if_else(matches(number, r"^-?\d{1,19}$"), number, NULL_TEXT).cast(pa.decimal128(19, 0))
    low, high = (pa.scalar(limit, pa.decimal128(19, 0)) for limit in _LIMITS[kind])
    fits = pc.fill_null(pc.and_(pc.greater_equal(short, low), pc.less_equal(short, high)), False)
    return _made(number, kind, unread, "text that is no whole number", pc.invert(fits))


_LIMITS = {name: (-(2**bits), 2**bits - 1) for name, bits in (("smallint", 15), ("integer", 31), ("bigint", 63))}


def _made(number: Any, kind: str, unread: Any, reason: str, unfit: Any) -> Cast:
    good = pc.if_else(pc.or_(unread, unfit), NULL_TEXT, number)
    too_large = pc.and_(number.is_valid(), unfit)
    return checked(
        good.cast(types.to_arrow(kind)),
        (Code.UNREADABLE, reason, unread),
        (Code.OUT_OF_RANGE, "number that does not fit {type}", too_large),
    )


def _fitting(kind: str) -> str:
    """The pattern of numbers that the type holds with all their digits."""
    precision, scale = types.decimal_of(kind) if kind.startswith("decimal") else (2 * _MOST_DIGITS, _MOST_DIGITS)
    whole = rf"\d{{1,{precision - scale}}}" if precision > scale else "0"
    return rf"^-?{whole}(?:\.\d{{1,{scale}}})?$" if scale else rf"^-?{whole}$"


def _plain(texts: pa.Array[Any]) -> Any:
    upper: Any = pc.utf8_upper(texts)
    for pattern, same in _SAME:
        upper = pc.replace_substring_regex(upper, pattern, same)
    return upper


def _number(texts: Any, pattern: str, decimal_mark: str) -> Any:
    """`-1234.5` without zeros that add nothing; NULL for what is no number."""
    parts = pc.extract_regex(texts, pattern)
    names = [name for name in parts.type.names if name != "number"]
    marks = pc.binary_join_element_wise(*(pc.struct_field(parts, name) for name in names), "")
    number = _ungrouped(pc.struct_field(parts, "number"), decimal_mark)
    known = pc.and_(pc.is_in(marks, _MARKS), number.is_valid())
    negative = pc.and_(pc.is_in(marks, pa.array(_NEGATIVE)), pc.not_equal(number, "0"))
    signed = pc.if_else(negative, pc.binary_join_element_wise("-", number, ""), number)
    return pc.if_else(known, signed, NULL_TEXT)


def _ungrouped(number: Any, decimal_mark: str) -> Any:
    """Without the marks that group digits by three; NULL if they do not. A mark is never taken for the other one."""
    comma, mark = (r"\.", ",") if decimal_mark == "," else (",", r"\.")
    groups = "|".join(rf"(?:{group}\d{{3}})+" for group in (comma, " ", "'"))
    regular = matches(number, rf"^(?:\d+|[1-9]\d{{0,2}}(?:{groups}))?(?:{mark}\d*)?$")
    digits = pc.replace_substring_regex(pc.if_else(regular, number, NULL_TEXT), rf"[ '{comma}]", "")
    pointed = pc.replace_substring(digits, decimal_mark, ".")
    for pattern, same in ((r"^0*(\d)", r"\1"), (r"^\.", "0."), (r"(\.\d*?)0+$", r"\1"), (r"\.$", "")):
        pointed = pc.replace_substring_regex(pointed, pattern, same)
    return pointed

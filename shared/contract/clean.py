"""Cleans the texts of a column: phone numbers, e-mail addresses, dates, amounts and the like. Pure.

A text that cannot be cleaned becomes NULL and is marked by a ``Fault``, as in shared.contract.cast. docs/cleaners.md
lists what each cleaner accepts, makes and refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from shared.contract import dates, mail, numbers, phone, words
from shared.contract.cast import Cast, cast
from shared.contract.dates import DayMonth, day_month
from shared.contract.distinct import Cleaner, CleanOptions, of_distinct

__all__ = ["CLEANERS", "CleanOptions", "DayMonth", "clean", "day_month"]


class _Entry(NamedTuple):
    apply: Cleaner
    makes: tuple[str, ...]


_ENTRIES: dict[str, _Entry] = {
    "text": _Entry(words.text, ("text",)),
    "phone": _Entry(phone.phone, ("text",)),
    "email": _Entry(mail.email, ("text",)),
    "date": _Entry(dates.date, ("date",)),
    "timestamp": _Entry(dates.timestamp, ("timestamp",)),
    "time": _Entry(dates.time, ("time",)),
    "amount": _Entry(numbers.amount, ("decimal", "double")),
    "integer": _Entry(numbers.integer, ("smallint", "integer", "bigint")),
    "boolean": _Entry(words.boolean, ("boolean",)),
    "zip": _Entry(words.postal_code, ("text",)),
}
CLEANERS: Mapping[str, tuple[str, ...]] = {name: entry.makes for name, entry in _ENTRIES.items()}
"""The column types each cleaner can make; ``decimal`` stands for every decimal(p,s)."""


def clean(array: pa.Array[Any], cleaner: str, kind: str, options: CleanOptions) -> Cast:
    """*array* (text, or what can be written as text) cleaned and as column type *kind*. A blank text is NULL, no fault.

    >>> clean(pa.array(["(512) 555-0100 x12", "none", " "]), "phone", "text", CleanOptions()).values.to_pylist()
    ['+15125550100;ext=12', None, None]
    """
    text = cast(array, "text")
    cleaned = of_distinct(text.values, _ENTRIES[cleaner].apply, kind, options)
    fitted = cast(cleaned.values, kind)
    return Cast(fitted.values, text.faults + cleaned.faults + fitted.faults)

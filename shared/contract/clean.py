"""Cleans the texts of a column: phone numbers, e-mail addresses, dates, amounts and the like. Pure.

A text that cannot be cleaned becomes NULL and is marked by a ``Fault``, as in shared.contract.cast. docs/cleaners.md
lists what each cleaner accepts, makes and refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from shared.contract import dates, mail, numbers, phone, words
from shared.contract.cast import Cast, cast
from shared.contract.dates import DayMonth, day_month
from shared.contract.distinct import Cleaner, CleanOptions, of_distinct, trimmed
from shared.contract.types import CLEANERS

__all__ = ["CLEANERS", "CleanOptions", "DayMonth", "clean", "day_month"]

_BY_NAME: Mapping[str, Cleaner] = {
    "phone": phone.phone,
    "email": mail.email,
    "date": dates.date,
    "timestamp": dates.timestamp,
    "time": dates.time,
    "amount": numbers.amount,
    "integer": numbers.integer,
    "boolean": words.boolean,
    "zip": words.postal_code,
}


def clean(array: pa.Array[Any], cleaner: str, kind: str, options: CleanOptions) -> Cast:
    """*array* (text, or what can be written as text) cleaned, as one of the types that ``CLEANERS`` has for *cleaner*.

    A blank text is NULL, no fault.

    >>> clean(pa.array(["(512) 555-0100 x12", "none", " "]), "phone", "text", CleanOptions()).values.to_pylist()
    ['+15125550100;ext=12', None, None]
    """
    text = cast(array, "text")
    if cleaner == "text":  # nothing that is dearer than finding out which values differ
        return Cast(trimmed(text.values), text.faults)
    cleaned = of_distinct(text.values, _BY_NAME[cleaner], kind, options)
    fitted = cast(cleaned.values, kind)
    return Cast(fitted.values, text.faults + cleaned.faults + fitted.faults)

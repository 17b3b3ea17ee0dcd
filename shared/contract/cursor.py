"""Cursor values are text at rest and typed in memory.

>>> later("bigint", "9", "10")
'10'
>>> later("text", "9", "10")
'9'
>>> later("bigint", None, "3")
'3'
"""

from __future__ import annotations

import datetime as dt

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "smallint": Decimal,
    "integer": Decimal,
    "bigint": Decimal,
    "decimal": Decimal,
    "real": Decimal,
    "double": Decimal,
    "date": dt.date.fromisoformat,
    "timestamp": dt.datetime.fromisoformat,
    "text": str,
}
CURSOR_TYPES = tuple(_PARSERS)
"""Column types (without precision) whose values have an order that survives being written as text."""


def later(kind: str, *texts: str | None) -> str | None:
    """The latest of *texts* when read as values of column type *kind*; None is below every value."""
    known = [text for text in texts if text is not None]
    return max(known, key=lambda text: typed(kind, text), default=None)


def text(value: Any) -> str:
    """A value as it is stored: ISO 8601 with six decimals for instants (UTC, no zone), plain digits for numbers."""
    if isinstance(value, dt.datetime):
        return value.isoformat(timespec="microseconds")
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def family(kind: str) -> str:
    """The kind of values that *kind* can be compared with: all numbers are one family, each other type is its own."""
    plain = kind.partition("(")[0]
    return "number" if _PARSERS[plain] is Decimal else plain


def typed(kind: str, text: str) -> Any:
    """The value of a cursor text, which compares as the column does."""
    return _PARSERS[kind.partition("(")[0]](text)

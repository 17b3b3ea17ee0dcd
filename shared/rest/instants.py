"""How APIs write cursors: instants in several forms, dates, numbers, texts. Into cursor text and back."""

from __future__ import annotations

import datetime as dt

from collections.abc import Callable, Mapping
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any
from zoneinfo import ZoneInfo

from shared.contract import cursor

FORMATS = {
    "iso": "timestamp", "epoch_s": "timestamp", "epoch_ms": "timestamp", "date": "date", "number": "decimal",
    "text": "text",
}  # fmt: skip
"""The forms, each with the type of its cursor."""
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - instants of cursors are UTC without zone
_UNITS = {"epoch_s": 1, "epoch_ms": 1000}


def parse(value: Any, form: str, timezone: str = "UTC") -> Any:
    """A value of JSON as what its cursor is compared as: an instant is naive, in UTC. None if it is no such value.

    >>> parse("2026-02-24T13:00:00+01:00", "iso"), parse("1771934400000", "epoch_ms")
    (datetime.datetime(2026, 2, 24, 12, 0), datetime.datetime(2026, 2, 24, 12, 0))
    """
    if value is None or isinstance(value, bool | list | dict):
        return None
    try:
        return _READ[form](value, timezone)
    except (ValueError, ArithmeticError):
        return None


def written(text: str, form: str) -> str:
    """Cursor *text* as a parameter: in one of FORMATS, or in a pattern of strftime, in UTC.

    >>> [written("2026-02-24T12:00:00.500000", form) for form in ("iso", "date", "epoch_ms", "%d/%m/%Y %H:%M")]
    ['2026-02-24T12:00:00.500000Z', '2026-02-24', '1771934400500', '24/02/2026 12:00']
    """
    if form in ("number", "text"):
        return text
    moment = dt.datetime.fromisoformat(text)
    if "%" in form:
        return moment.strftime(form)
    if form in _UNITS:
        return str((moment - _EPOCH) // dt.timedelta(seconds=1 / _UNITS[form]))
    return moment.date().isoformat() if form == "date" else f"{moment.isoformat(timespec='auto')}Z"


def text(value: Any) -> str:
    """What ``parse`` gave, as cursor text."""
    return cursor.text(value)


def server_time(headers: Mapping[str, str]) -> dt.datetime | None:
    """The time of whoever answered, by the header Date, in UTC without zone."""
    try:
        return parsedate_to_datetime(headers.get("Date", "")).astimezone(dt.UTC).replace(tzinfo=None)
    except (ValueError, TypeError):
        return None


def _instant(value: Any, timezone: str) -> dt.datetime:
    found = dt.datetime.fromisoformat(str(value).strip())
    if found.tzinfo is dt.UTC:
        return found.replace(tzinfo=None)
    zoned = found if found.tzinfo else found.replace(tzinfo=ZoneInfo(timezone))
    return zoned.astimezone(dt.UTC).replace(tzinfo=None)


def _epoch(form: str) -> Callable[[Any, str], dt.datetime]:
    def read(value: Any, _timezone: str) -> dt.datetime:
        microseconds = Decimal(str(value)) * 1_000_000 // _UNITS[form]
        return _EPOCH + dt.timedelta(microseconds=int(microseconds))

    return read


_READ: dict[str, Callable[[Any, str], Any]] = {
    "iso": _instant,
    "epoch_s": _epoch("epoch_s"),
    "epoch_ms": _epoch("epoch_ms"),
    "date": lambda value, _: dt.date.fromisoformat(str(value)[:10]),
    "number": lambda value, _: Decimal(str(value)),
    "text": lambda value, _: str(value),
}

"""Spans of time that pages and the API filter by, and the beginnings of texts that lie in them. Pure."""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared.model import to_text

LAST: Mapping[str, dt.timedelta] = {
    "hour": dt.timedelta(hours=1), "day": dt.timedelta(days=1), "week": dt.timedelta(days=7),
}  # fmt: skip
"""Spans that end now, by name."""
_FEW_DAYS = 8
"""So many days are named one by one; of more, their months are."""
_MOST_MONTHS = 13
_HOW = "write times in UTC, such as 2026-02-24T12:00"


@dataclass(frozen=True, slots=True)
class Span:
    """From one time to another, both as texts of records; empty where it has no end."""

    since: str = ""
    until: str = ""

    def __bool__(self) -> bool:
        return bool(self.since or self.until)

    def takes(self, moment: str) -> bool:
        """Whether a time (text of records) is in the span, its ends included."""
        return self.since <= moment and (not self.until or moment <= self.until)

    def prefixes(self, now: dt.datetime) -> list[str]:
        """The days of all times in it, or of a long span its last two days and 13 months, newest first.

        >>> Span("2026-02-27T10", "2026-03-01T00:00").prefixes(dt.datetime(2026, 3, 5))
        ['2026-03-01', '2026-02-28', '2026-02-27']
        >>> Span("2026-01-30", "2026-03-01").prefixes(dt.datetime(2026, 3, 5))
        ['2026-03-01', '2026-02-28', '2026-03', '2026-02', '2026-01']
        """
        today = to_text(now)
        last = dt.date.fromisoformat(min(self.until or today, today)[:10])
        first = dt.date.fromisoformat(self.since[:10]) if self.since else dt.date.min
        apart = (last - first).days
        days = [str(last - dt.timedelta(days=back)) for back in range(apart + 1 if apart < _FEW_DAYS else 2)]
        if apart < _FEW_DAYS:
            return days
        newest, oldest = last.year * 12 + last.month - 1, first.year * 12 + first.month - 1
        months = range(newest, max(oldest, newest - _MOST_MONTHS + 1) - 1, -1)
        return [*days, *(f"{month // 12:04}-{month % 12 + 1:02}" for month in months)]


def span_of(given: Mapping[str, str], now: dt.datetime) -> Span:
    """What ``from`` and ``to`` say, or ``when``: ``hour``, ``day`` or ``week``. ValueError if nothing.

    >>> span_of({"when": "hour"}, dt.datetime(2026, 3, 5, 12, tzinfo=dt.UTC))
    Span(since='2026-03-05T11:00:00.000000', until='')
    """
    when = given.get("when", "")
    if when and when not in LAST:
        raise ValueError(f"when is one of {', '.join(LAST)}")
    since, until = given.get("from", "").strip(), given.get("to", "").strip()
    if since or until:
        found = Span(_moment("from", since), _moment("to", until))
        if until and found.since > found.until:
            raise ValueError("from is later than to")
        return found
    return Span(to_text(now - LAST[when])) if when else Span()


def _moment(name: str, text: str) -> str:
    try:
        found = dt.datetime.fromisoformat(text) if text else None
        return to_text(found if found.tzinfo else found.replace(tzinfo=dt.UTC)) if found else ""
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name} is no time: {_HOW}") from error


def prefixes_of(days: Iterable[str]) -> list[str]:
    """Those days, newest first, or their months if they are too far apart to be named one by one.

    >>> prefixes_of(["2026-02-27", "2026-03-01"]), prefixes_of(["2026-01-01", "2026-01-02", "2026-03-01"])
    (['2026-03-01', '2026-02-27'], ['2026-03', '2026-01'])
    """
    found = sorted(set(days), reverse=True)
    apart = (dt.date.fromisoformat(found[0]) - dt.date.fromisoformat(found[-1])).days if found else 0
    return found if apart < _FEW_DAYS else list(dict.fromkeys(day[:7] for day in found))


ALWAYS = Span()
"""All of time."""

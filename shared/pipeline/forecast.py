"""How long a load is likely to take, by what earlier runs took. Pure."""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from shared.model import Run, from_text
from shared.stores.expiry import CAUTIOUS, expiry_warning

TELLING = 1_000
"""Rows that a run must have had for its speed to say much: of fewer, most of the time is not spent on rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is to be loaded, as far as that is known beforehand."""

    rows: int | None
    """None: a file has to be read to its end for that."""
    size: int
    """Bytes of its files."""
    row_bytes: float | None = None
    """Bytes of a row in memory, about; None if none was looked at."""
    expires: dt.datetime | None = None
    """When the right to read ends (aware), if it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How long a load is likely to take."""

    seconds: float | None
    """None: there is nothing to judge by."""
    reason: str
    """What it is judged by, for people."""
    link: str | None = None
    """Whether a link lasts that long, for people; None if it does not end."""
    link_lasts: bool | None = None

    @property
    def text(self) -> str:
        if self.seconds is None:
            return self.reason
        return f"the load is likely to take {duration(self.seconds)}: {self.reason}"


def forecast(
    load: Load, own: Sequence[Run], others: Sequence[Run], now: dt.datetime, log_rate: int | None = None
) -> Forecast:
    """How long *load* takes in a warehouse that had these runs of the feed, and of *others*, newest first.

    *log_rate* is how many bytes a second the database's tier lets its log grow by. *now* is aware.
    """
    seconds, reason = _by_runs(load, own, others)
    if seconds is None:
        seconds, by_tier = _by_tier(load, log_rate)
        reason = f"{reason}; {by_tier}" if by_tier else reason
    return with_link(Forecast(seconds=seconds, reason=reason), load.expires, now, load.size)


def of_dry_run(seconds: float) -> Forecast:
    """How long a load takes whose dry run took so many seconds: that does all of it, and takes it back."""
    return Forecast(seconds=seconds, reason="its dry run took so long")


def with_link(found: Forecast, expires: dt.datetime | None, now: dt.datetime, size: int = 0) -> Forecast:
    """*found*, with whether a link lasts that long; by a cautious speed for *size* bytes where it has no seconds."""
    if expires is None:
        return found
    warning = expiry_warning(expires, now, size / CAUTIOUS if found.seconds is None else found.seconds)
    until = f"{expires.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
    link = warning or f"the link lasts until {until}, which is long enough"
    return replace(found, link=link, link_lasts=warning is None)


def read_rate(runs: Iterable[Run]) -> float | None:
    """Rows a second, from beginning to end, of the largest of *runs*; None if all of them were too small to tell."""
    largest = max(_done(runs), key=lambda run: run.read, default=None)
    return None if largest is None or largest.read < TELLING else largest.read / _seconds(largest)


def duration(seconds: float) -> str:
    """
    >>> duration(0.4), duration(65), duration(5_400), duration(200_000)
    ('a second at most', 'about 1 minute', 'about 1.5 hours', 'about 2.3 days')
    """
    for unit, size, most in (("second", 1, 60), ("minute", 60, 3_600), ("hour", 3_600, 86_400), ("day", 86_400, 0)):
        if seconds < most or not most:
            number = seconds / size
            shown = f"{number:.1f}".removesuffix(".0") if size > 60 and number < 10 else f"{number:.0f}"
            return "a second at most" if seconds < 1 else f"about {shown} {unit}{'' if shown == '1' else 's'}"
    raise AssertionError  # the last unit takes all


def _by_runs(load: Load, own: Sequence[Run], others: Sequence[Run]) -> tuple[float | None, str]:
    if load.rows is None:
        return None, "how many rows the file has is known only when it is read"
    runs, whose = _done(own), "of this feed"
    if not any(run.read >= TELLING for run in runs):
        runs, whose = [*runs, *_done(others)], "of another feed"
    rate = read_rate(runs)
    if rate is None:
        return None, "earlier runs were too small to judge by" if runs else "there is no earlier run to judge by"
    largest = max(runs, key=lambda run: run.read)
    least = min(_seconds(run) for run in runs)  # what a run takes however few its rows are
    small = ", but that run was much smaller" if load.rows > 100 * largest.read else ""
    reason = f"{load.rows:,} rows at {rate:,.0f} a second, as a run {whose} had{small}"
    return max(load.rows / rate, least), reason


def _by_tier(load: Load, log_rate: int | None) -> tuple[float | None, str | None]:
    """At least what the log takes (docs/azure-sql.md): every row is written to it twice, staged and merged."""
    if not log_rate or load.rows is None or load.row_bytes is None:
        return None, None
    size = 2 * load.rows * load.row_bytes
    return (
        size / log_rate,
        f"the service tier lets the log grow by {log_rate / 1e6:.1f} MB/s, for about {size / 1e6:,.0f} MB",
    )


def _done(runs: Iterable[Run]) -> list[Run]:
    return [run for run in runs if run.status == "done" and run.read and _seconds(run) > 0]


def _seconds(run: Run) -> float:
    since, until = from_text(run.started), from_text(run.finished)
    return (until - since).total_seconds() if since and until else 0.0

"""Whether the right to read will last as long as the reading. Pure."""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterable, Mapping

from shared.errors import NEW_LINK, ConfigError
from shared.model import Run, from_text

CAUTIOUS = 2e6
"""Bytes a second, where no earlier run tells."""


def refuse_expired(expires: dt.datetime | None, now: dt.datetime) -> None:
    """ConfigError if the right to read has ended at *now* (both aware)."""
    if expires is not None and expires <= now:
        raise ConfigError(f"the SAS of the URL expired at {_utc(expires)}", fix=NEW_LINK)


def expiry_warning(expires: dt.datetime | None, now: dt.datetime, seconds: float) -> str | None:
    """What to say before a load that is likely to take so many seconds, if the right to read ends before it does."""
    if expires is None or not seconds:
        return None
    until = now + dt.timedelta(seconds=seconds)
    if until < expires:
        return None
    return (
        f"the SAS of the URL expires at {_utc(expires)}, and this load is likely to take until {_utc(until)}: "
        "ask for a link that lasts longer; what is loaded by then is kept, and a load with a new link does the rest"
    )


def expected_seconds(sizes: Mapping[str, int], pace: float | None) -> float:
    """How long files of these sizes take at *pace* (bytes a second), or at a cautious one.

    >>> expected_seconds({"a": 3_000_000, "b": 1_000_000}, None)
    2.0
    """
    return sum(sizes.values()) / (pace or CAUTIOUS)


def bytes_per_second(runs: Iterable[Run], sizes: Mapping[str, int]) -> float | None:
    """Bytes a second of the *runs* that succeeded and whose files' sizes are known; None if there are none."""
    moved = took = 0.0
    for run in runs:
        started, finished = from_text(run.started), from_text(run.finished)
        if run.status == "done" and run.read and started and finished and run.files and sizes.keys() >= set(run.files):
            moved += sum(sizes[name] for name in run.files)
            took += (finished - started).total_seconds()
    return moved / took if took > 0 else None


def _utc(instant: dt.datetime) -> str:
    return f"{instant.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"

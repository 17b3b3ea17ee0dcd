"""The clocks that calls of an API are timed by: the one module of this package that reads them.

A rate limit holds for the whole process, whichever host opened the source, so it cannot have a clock of each caller's.
"""

from __future__ import annotations

import datetime as dt
import time

from collections.abc import Callable
from typing import NamedTuple


class Clock(NamedTuple):
    """What tests replace."""

    timer: Callable[[], float] = time.monotonic
    """Seconds from a clock that never goes back."""
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
    """The time, aware."""


SYSTEM = Clock()

"""How many calls an API allows: token buckets, shared by everything in this process that uses one account.

A bucket of N calls in S seconds lets a burst of 4 % of N through and refills so that no span of S seconds sees more
than N, with a little room for calls that arrive closer together than they were sent. After a 429 it is slower, and
recovers with each call that succeeds. No library does that: docs/decisions/0044-rate-limits.md.
"""

from __future__ import annotations

import datetime as dt
import threading

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shared.errors import TransientError
from shared.rest.clock import SYSTEM, Clock

_BURST = 0.04
_USED = 0.99
"""Share of what is allowed that is used at most."""
_SLOWEST = 0.1
"""Share of its rate that a bucket keeps, however often it is pushed back."""
_SLOWER = 0.5
_FASTER = 0.01
_ONCE_IN = 5.0
"""Seconds within which several 429s count as one: calls on their way were sent before the first was seen."""


class Rate(NamedTuple):
    """What an API allows."""

    requests: float
    seconds: float
    bucket: str = ""
    """Calls name the bucket that they are counted in, beside the one without a name, which counts all of them."""


class Bucket:
    """Calls of one rate. Not for several threads at once: whoever holds it has a lock."""

    def __init__(self, rate: Rate, now: float) -> None:
        allowed = rate.requests * _USED
        self.name, self.rate = rate.bucket, rate
        self._most = max(1.0, allowed * _BURST // 1)
        self._full = max(allowed - self._most, allowed * 0.8) / rate.seconds
        self._speed, self._tokens, self._since, self._pushed = 1.0, self._most, now, float("-inf")

    @property
    def speed(self) -> float:
        """Share of its full rate that it lets through now."""
        return self._speed

    def take(self, now: float) -> float:
        """Take a token, and say in how many seconds it is there."""
        self._refill(now)
        self._tokens -= 1.0
        return max(0.0, -self._tokens / (self._full * self._speed))

    def hold(self, now: float, seconds: float) -> None:
        """Let nothing through for so long, and less from then on."""
        self._refill(now)
        self._tokens = min(self._tokens, 1.0 - seconds * self._full * self._speed)
        if now - self._pushed >= _ONCE_IN:
            self._pushed, self._speed = now, max(_SLOWEST, self._speed * _SLOWER)

    def succeeded(self) -> None:
        self._speed = min(1.0, self._speed + _FASTER)

    def _refill(self, now: float) -> None:
        self._tokens = min(self._most, self._tokens + (now - self._since) * self._full * self._speed)
        self._since = now


@dataclass(frozen=True, slots=True)
class _Suspended:
    until: dt.datetime
    reason: str


class Limiter:
    """The buckets of one account. For any number of threads."""

    def __init__(self, rates: Iterable[Rate], clock: Clock = SYSTEM) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._buckets = [Bucket(rate, clock.timer()) for rate in rates]
        self._suspended: _Suspended | None = None
        self.calls = self.pushed_back = 0
        self.waited = 0.0
        """Seconds that calls have waited for their turn."""

    @property
    def speed(self) -> float:
        """Share of the full rate that the slowest bucket lets through now."""
        return min((bucket.speed for bucket in self._buckets), default=1.0)

    def allowed(self, seconds: float) -> float | None:
        """How many calls the API allows in so many seconds, and in a span of its rate at least; None without a rate."""
        rates = [bucket.rate for bucket in self._buckets if not bucket.name]
        return min((one.requests * max(1.0, seconds / one.seconds) for one in rates), default=None)

    def wait(self, bucket: str = "") -> None:
        """Return when a call may be made. TransientError while the account is suspended."""
        with self._lock:
            self._refuse_suspended()
            now = self._clock.timer()
            seconds = max((one.take(now) for one in self._of(bucket)), default=0.0)
            self.calls += 1
            self.waited += seconds
        if seconds > 0.0:
            self._clock.sleep(seconds)

    def succeeded(self, bucket: str = "") -> None:
        """A call was answered."""
        with self._lock:
            for one in self._of(bucket):
                one.succeeded()

    def push_back(self, bucket: str, seconds: float) -> None:
        """A call was refused because there were too many: every other one waits *seconds* too."""
        with self._lock:
            now = self._clock.timer()
            self.pushed_back += 1
            for one in self._of(bucket):
                one.hold(now, seconds)

    def suspend(self, until: dt.datetime, reason: str) -> None:
        """Make no call at all before *until* (aware)."""
        with self._lock:
            self._suspended = _Suspended(until, reason)

    def _of(self, bucket: str) -> Sequence[Bucket]:
        return [one for one in self._buckets if one.name in ("", bucket)]

    def _refuse_suspended(self) -> None:
        found = self._suspended
        if found is None:
            return
        if self._clock.now() >= found.until:
            self._suspended = None
            return
        raise suspended(found.until, found.reason)


def suspended(until: dt.datetime, reason: str) -> TransientError:
    return TransientError(
        f"{reason}; nothing is called before {until.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC",
        fix="Nothing to do: the first sync after that goes on from there",
    )

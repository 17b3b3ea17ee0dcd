"""Rate limits, by a clock of the test's own."""

from __future__ import annotations

import datetime as dt

import pytest

from hypothesis import given
from hypothesis import strategies as st

from shared.errors import TransientError
from shared.rest.clock import Clock
from shared.rest.limits import Limiter, Rate
from tests.exports import START


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.seconds, self.sleep, lambda: START + dt.timedelta(seconds=self.seconds))

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def sent(limiter, time, calls, bucket=""):
    """When each of so many calls is made."""
    found = []
    for _ in range(calls):
        limiter.wait(bucket)
        limiter.succeeded(bucket)
        found.append(time.seconds)
    return found


def most_within(times, seconds):
    return max(sum(start <= one < start + seconds for one in times) for start in times)


@given(requests=st.integers(1, 400), seconds=st.sampled_from([1, 10, 60]), idle=st.floats(0, 100))
def test_no_span_sees_more_than_is_allowed(requests, seconds, idle):
    """After idle time too."""
    time = Time()
    limiter = Limiter([Rate(requests, seconds)], time.clock)

    times = sent(limiter, time, requests)
    time.sleep(idle)
    times += sent(limiter, time, 2 * requests)

    assert requests >= most_within(times, seconds)


@pytest.mark.parametrize(("requests", "seconds"), [(190, 10), (100, 10), (250, 10), (300, 60)])
def test_most_of_what_is_allowed_is_used(requests, seconds):
    time = Time()
    sent(Limiter([Rate(requests, seconds)], time.clock), time, 20 * requests)

    assert 0.9 <= 20 * requests / time.seconds / (requests / seconds)


def test_a_call_counts_in_its_bucket_and_in_that_of_all():
    time = Time()
    limiter = Limiter([Rate(100, 10), Rate(5, 1, "search")], time.clock)

    assert 5 >= most_within(sent(limiter, time, 30, "search"), 1)
    since = time.seconds
    sent(limiter, time, 50)
    assert 6 > time.seconds - since


def test_a_push_back_holds_everything_and_slows_down_for_a_while():
    """A burst of them counts once, and success after success makes it as fast as before."""
    time = Time()
    limiter = Limiter([Rate(100, 10)], time.clock)
    for _ in range(8):
        limiter.push_back("", 3.0)

    assert 0.5 == limiter.speed
    assert 3.0 <= sent(limiter, time, 1)[0]
    sent(limiter, time, 50)
    assert 1.0 == limiter.speed


def test_a_suspended_account_makes_no_call_until_then():
    time = Time()
    limiter = Limiter([], time.clock)
    limiter.suspend(START + dt.timedelta(hours=1), "used up")

    with pytest.raises(TransientError, match="used up; nothing is called before 2026-02-24 13:00 UTC"):
        limiter.wait()
    time.sleep(3600)
    limiter.wait()

"""How much an API was called, for people. Data only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Traffic(NamedTuple):
    """Calls of one API."""

    requests: int = 0
    """Sent, repeated ones included."""
    retries: int = 0
    share: float | None = None
    """Of what the API allows in that time, by all feeds of the account in this process; None if it has no rate."""

    def since(self, before: Traffic) -> Traffic:
        """What was called after *before*."""
        return Traffic(self.requests - before.requests, self.retries - before.retries, self.share)

    @property
    def text(self) -> str:
        """
        >>> Traffic(1200, 3, 0.934).text, Traffic(1, 1).text
        ('1,200 requests, 3 retries, 93 % of the rate', '1 request, 1 retry')
        """
        requests = "1 request" if self.requests == 1 else f"{self.requests:,} requests"
        retries = "1 retry" if self.retries == 1 else f"{self.retries:,} retries"
        share = "" if self.share is None else f", {self.share * 100:.0f} % of the rate"
        return f"{requests}, {retries}{share}"


def summed(parts: Iterable[Traffic | None]) -> Traffic | None:
    """Of several pieces one after the other; None if nothing was called. The share is that of the last one."""
    known = [one for one in parts if one is not None]
    if not known:
        return None
    return Traffic(sum(one.requests for one in known), sum(one.retries for one in known), known[-1].share)

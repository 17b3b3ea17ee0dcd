"""What the status of an answer means: whether the call may be repeated, and otherwise who has to do what."""

from __future__ import annotations

import datetime as dt
import html
import json
import re

from collections.abc import Mapping
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from shared import remote
from shared.errors import ConfigError, DataError, IngestError
from shared.text import one_line

_LOCKED = 423
_MIGRATED = 477
"""HubSpot moves the account; Retry-After says how long."""
_RETRYABLE = remote.BUSY | {_LOCKED, _MIGRATED, 509, 520, 521, 522, 523, 524, 529, 530, 598, 599}
"""HTTP statuses that may pass: those of servers, and those of proxies such as Cloudflare's."""
_LEAST = {_LOCKED: 2.0}
_POLICIES = {"SECONDLY": 1.0, "TEN_SECONDLY_ROLLING": 10.0}
"""Seconds that each try adds to the wait of HubSpot's policies."""
_LONGEST = 300
_UNKNOWN = 401
_CLOCKS_DIFFER = 60.0
"""Seconds."""
_XML_MESSAGE = re.compile(r"<(?:\w+:)?message\b[^>]*>([^<]*)<")


class Response(NamedTuple):
    """What came back, as far as it was read."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Refusal(NamedTuple):
    """What an answer that is no success says of itself."""

    text: str
    policy: str | None
    """HubSpot's name of the limit that was exceeded."""
    after: float | None
    """Seconds to wait."""


def refusal_of(response: Response, hidden: tuple[str, ...]) -> Refusal:
    """What *response* says, without the *hidden* secrets."""
    found = parsed(response.body)
    message = one_line(_without(_reason(found) if found is not None else _as_text(response.body), hidden))
    names = found if isinstance(found, dict) else {}
    after = remote.retry_after(response.headers.get("Retry-After"), response.headers.get("Date"))
    wait = names.get("retry_after", names.get("retryAfter"))
    if after is None and isinstance(wait, int | float) and not isinstance(wait, bool) and 0 <= wait < 1e6:
        after = float(wait)
    policy = names.get("policyName")
    return Refusal(message[:_LONGEST].rstrip(". "), policy if isinstance(policy, str) else None, after)


def failure(
    response: Response, place: str, refusal: Refusal, tries: int, clock: float | None = None
) -> IngestError:  # fmt: skip
    """The error that *response* to the call of *place* means, on the *tries*-th try.

    *clock*: seconds that this machine's clock is ahead of the API's, where the sign-in depends on it.
    """
    status = response.status
    because = f" ({status})" + (f": {refusal.text}" if refusal.text else "")
    if status in _RETRYABLE:
        return remote.RetryLater(f"{place} is busy{because}", after=wait(status, refusal, tries))
    if 300 <= status < 400:
        return ConfigError(
            f"{place} redirects{because}, which is not followed", fix="Correct the base URL to where it leads"
        )
    if status == _UNKNOWN and clock is not None and abs(clock) > _CLOCKS_DIFFER:
        off = f"this machine's clock is {abs(clock):,.0f} s {'ahead of' if clock > 0 else 'behind'} the API's"
        return ConfigError(f"{place} refuses the sign-in{because}: {off}", fix="Set this machine's clock")
    kind = ConfigError if status in _PROBLEMS and status != 414 else DataError
    problem = _PROBLEMS.get(status, "refuses the call")
    return kind(f"{place} {problem}{because}", fix=_FIXES.get(status, "Correct its path and parameters in the catalog"))


_PROBLEMS = {
    401: "refuses the sign-in", 403: "may not be read", 404: "is not there", 410: "is not there",
    414: "refuses so long a URL",
}  # fmt: skip
_FIXES = {
    401: "Correct the token, key or password of the API",
    403: "Give the token, or its user, the scope or right to read it",
    404: "Correct the base URL, or the path in the catalog",
    410: "Correct the base URL, or the path in the catalog",
    414: "Read fewer fields at once",
}


def wait(status: int, refusal: Refusal, tries: int) -> float | None:
    """Seconds to wait before a call is repeated, where the answer says; None: as after any failure."""
    if refusal.after is not None:
        return max(refusal.after, _LEAST.get(status, 0.0))
    if status == 429:
        return _POLICIES.get(refusal.policy or "", 1.0) * tries
    return _LEAST.get(status)


def is_daily(response: Response, refusal: Refusal) -> bool:
    """Whether the calls of a whole day are used up."""
    return response.status == 429 and refusal.policy == "DAILY"


def next_midnight(now: dt.datetime, timezone: str) -> dt.datetime:
    """When the day after *now* (aware) begins in *timezone*.

    >>> str(next_midnight(dt.datetime(2026, 2, 24, 23, 30, tzinfo=dt.UTC), "Europe/Amsterdam"))
    '2026-02-26 00:00:00+01:00'
    """
    local = now.astimezone(ZoneInfo(timezone))
    return dt.datetime.combine(local.date() + dt.timedelta(days=1), dt.time(), ZoneInfo(timezone))


def parsed(body: bytes) -> Any:
    """JSON of *body*; None if it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _reason(found: Any) -> str:
    """The sentence of a JSON error, in the forms that APIs and RFC 6749 have."""
    if isinstance(found, list) and found:
        return _reason(found[0])
    if not isinstance(found, dict):
        return found if isinstance(found, str) else ""
    texts = [_reason(found[name]) for name in ("error", "message", "error_description", "detail") if found.get(name)]
    return ": ".join(dict.fromkeys(text for text in texts if text))


def _as_text(body: bytes) -> str:
    text = body.decode("utf-8", "replace").strip()
    if not text.lstrip("\ufeff").startswith("<"):
        return text
    found = _XML_MESSAGE.search(text)  # as OData has it; a page of HTML says nothing
    return html.unescape(found[1]).strip() if found else ""


def _without(text: str, hidden: tuple[str, ...]) -> str:
    for secret in sorted(hidden, key=len, reverse=True):
        text = text.replace(secret, "***") if secret else text
    return text

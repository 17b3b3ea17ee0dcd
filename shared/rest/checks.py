"""What the headers of an API's answer say to ``sluice doctor``: its clock, and the calls that are left."""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterator, Mapping

from shared.model import Finding
from shared.rest.instants import server_time

_CLOCKS_DIFFER = 60.0
"""Seconds from which it is worth a warning. Signatures of requests allow for some minutes mostly."""
_FEW_LEFT = 0.1


def of_account(system: str, headers: Mapping[str, str], now: dt.datetime) -> Iterator[Finding]:
    """Of the account that *system* is read by; *now* is aware."""
    yield from _clock(f"source {system}: clock", headers, now)
    yield from _left(f"source {system}: limits", headers)


def _clock(check: str, headers: Mapping[str, str], now: dt.datetime) -> Iterator[Finding]:
    theirs = server_time(headers)
    if theirs is None:
        return
    seconds = (now.astimezone(dt.UTC).replace(tzinfo=None) - theirs).total_seconds()
    text = f"this machine's is {abs(seconds):,.0f} s {'ahead of' if seconds > 0 else 'behind'} the API's"
    if abs(seconds) > _CLOCKS_DIFFER:
        yield Finding(check, "warning", text, "Set this machine's clock: sign-ins and windows depend on it")
    else:
        yield Finding(check, "ok", text)


def _left(check: str, headers: Mapping[str, str]) -> Iterator[Finding]:
    """What headers of a rate say, in the usual spellings."""
    known = {name.lower(): value for name, value in headers.items() if "ratelimit" in name.lower()}
    for name, value in sorted(known.items()):
        if not name.endswith("remaining") or not value.strip().isdigit():
            continue
        most = next((known[one] for one in _limits(name) if known.get(one, "").strip().isdigit()), None)
        text = f"{int(value):,} calls left" + (f" of {int(most):,}" if most else "") + f" ({name})"
        if most and int(value) < _FEW_LEFT * int(most):
            yield Finding(
                check, "warning", text, "Sync less often, or ask for a higher limit: syncs wait when it is used up"
            )
        else:
            yield Finding(check, "ok", text)


def _limits(remaining: str) -> list[str]:
    stem = remaining.removesuffix("remaining").rstrip("-")
    return [f"{stem}-limit", f"{stem}-max", stem, f"{stem}"]

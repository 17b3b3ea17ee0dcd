"""A stand-in for the API of LeadConduit: events, a bare list in the order of ids, strict about what it is sent."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt

from collections.abc import Iterator
from typing import Any

from tests.servers.http import Reply, Request, as_json, serving

KEY = "hush-key"
PARAMETERS = {"sort", "limit", "start", "after_id"}
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class LeadConduit:
    """``events`` may be changed while it runs; ``most`` is how many a page has, whatever is asked for."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.most = 1_000
        self.violations: list[str] = []
        self.calls: list[Request] = []
        self.url = ""

    def __call__(self, request: Request) -> Reply:
        self.calls.append(request)
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        if kind != "Basic" or base64.b64decode(given).decode().partition(":")[2] != KEY:
            return as_json({"message": "unauthorized"}, 401)
        if request.path != "/events":
            return as_json({"message": "not found"}, 404)
        self._check(request)
        found = sorted(self.events, key=lambda event: event["id"])
        if start := request.query.get("start"):
            since = (dt.datetime.fromisoformat(start) - EPOCH) // dt.timedelta(milliseconds=1)
            found = [event for event in found if event["start_timestamp"] >= since]
        if after := request.query.get("after_id"):
            found = [event for event in found if event["id"] > after]
        return as_json(found[: min(self.most, int(request.query["limit"]))])

    def _check(self, request: Request) -> None:
        """Its lists begin with the newest unless they are to be sorted: then after_id would lose all but one page."""
        if unknown := sorted(set(request.query) - PARAMETERS):
            self.violations.append(f"unknown parameters {unknown}")
        if request.query.get("sort") != "asc" or not 1 <= int(request.query.get("limit", 100)) <= 1_000:
            self.violations.append(f"sort or limit of {request.query}")
        if request.headers.get("Accept") != "application/json":
            self.violations.append("no Accept")


def event(
    number: int, minute: float = 0, *, of: int | None = None, kind: str = "source", **lead: Any
) -> dict[str, Any]:
    """The *number*-th event, that many minutes after noon; *of* is the number of its lead's first event."""
    at = dt.datetime(2026, 2, 24, 12, tzinfo=dt.UTC) + dt.timedelta(minutes=minute)
    ms = (at - EPOCH) // dt.timedelta(milliseconds=1)
    return {
        "id": ident(number), "type": kind, "outcome": "success", "start_timestamp": ms, "end_timestamp": ms + 120,
        "vars": {"lead": {"id": ident(number if of is None else of), **lead}, "flow": {"id": "f1", "name": "Roofs"}},
        "credential": {"token": "hush-credential"}, "steps": [{"credential": "hush-credential"}], "wait_ms": 3,
    }  # fmt: skip


def ident(number: int) -> str:
    """24 hexadecimal digits."""
    return f"65d{number:021x}"


@contextlib.contextmanager
def leadconduit() -> Iterator[LeadConduit]:
    found = LeadConduit()
    with serving(found, lambda: "Tue, 24 Feb 2026 18:00:00 GMT") as found.url:
        yield found

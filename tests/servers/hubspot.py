"""A stand-in for HubSpot's CRM API, strict where the real one is: limits, ceilings, a late index, partial answers.

A call that the real one would refuse is a violation, unless a test expects it. Times are moved by the test.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import threading

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import Any

from tests.servers.http import Reply, Request, as_json, serving

TOKEN = "pat-hush"
EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - all times here are UTC without zone
NOON = dt.datetime(2026, 2, 24, 12)  # noqa: DTZ001 - likewise
CEILING = 10_000
CURSORS = {"contacts": "lastmodifieddate"}
TYPES = {
    "lastmodifieddate": "datetime", "hs_lastmodifieddate": "datetime", "hs_object_id": "number", "email": "string",
    "amount": "number", "hs_merged_object_ids": "enumeration", "born": "date", "opted": "bool",
}  # fmt: skip
LONGEST_URL = 8_000


@dataclass
class Thing:
    """One record."""

    id: int
    at: dt.datetime
    properties: dict[str, Any] = field(default_factory=dict)
    archived_at: dt.datetime | None = None
    gone: bool = False
    """Archived so long ago, or erased, that nothing shows it."""


def iso(moment: dt.datetime) -> str:
    return f"{moment.isoformat(timespec='milliseconds')}Z"


def ms(moment: dt.datetime) -> int:
    return (moment - EPOCH) // dt.timedelta(milliseconds=1)


class HubSpot:
    """The objects of one account; ``now`` is its clock."""

    def __init__(self, version: str = "2026-03") -> None:
        self.version = version
        self.now = NOON
        self.lag = dt.timedelta(seconds=60)
        """How late the index of searches shows a change."""
        self.objects: dict[str, dict[int, Thing]] = {"contacts": {}, "companies": {}, "deals": {}}
        self.associations: dict[tuple[str, str], dict[int, list[dict[str, Any]]]] = {}
        self.associated_on_page = 500
        self.properties = dict(TYPES)
        self.tokens = {TOKEN}
        self.refresh_token = "none"
        self.issued = 0
        self.headers: dict[str, str] = {}
        self.violations: list[str] = []
        self.calls: list[Request] = []
        self.faults: deque[Callable[[Request], Reply | None]] = deque()
        self.url = ""
        self._lock = threading.Lock()

    def cursor(self, kind: str) -> str:
        return CURSORS.get(kind, "hs_lastmodifieddate")

    def put(self, kind: str, id: int, at: dt.datetime | None = None, **properties: Any) -> None:
        """Create or change a record now, or at that time."""
        known = self.objects[kind].get(id)
        before = known.properties if known else {}
        self.objects[kind][id] = Thing(id, at or self.now, {**before, **properties})

    def archive(self, kind: str, id: int) -> None:
        """Its time of change stays."""
        self.objects[kind][id].archived_at = self.now

    def merge(self, kind: str, winner: int, loser: int) -> None:
        self.objects[kind].pop(loser)
        known = self.objects[kind][winner].properties.get("hs_merged_object_ids")
        self.put(kind, winner, hs_merged_object_ids=";".join(filter(None, [known, str(loser)])))

    # -- answers

    def __call__(self, request: Request) -> Reply:
        with self._lock:
            self.calls.append(request)
            fault = self.faults.popleft() if self.faults else None
            broken = fault(request) if fault else None
            return broken if broken is not None else self._answer(request)

    def _answer(self, request: Request) -> Reply:
        reply = self._token(request) if request.path == "/oauth/2026-03/token" else self._data(request)
        return Reply(reply.status, reply.body, {**reply.headers, **self.headers})

    def _token(self, request: Request) -> Reply:
        """Nothing secret is in the query string."""
        expected = {"grant_type": "refresh_token", "client_id": "id", "client_secret": "shh"}
        if request.query or request.form != {**expected, "refresh_token": self.refresh_token}:
            return as_json({"error": "invalid_grant", "error_description": "BAD_REFRESH_TOKEN"}, 400)
        self.issued += 1
        self.tokens.add(f"token-{self.issued}")
        return as_json(
            {"access_token": f"token-{self.issued}", "refresh_token": self.refresh_token, "expires_in": 1800}
        )

    def _data(self, request: Request) -> Reply:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return as_json(
                {
                    "status": "error",
                    "message": "Authentication credentials not found",
                    "category": "INVALID_AUTHENTICATION",
                },
                401,
            )
        if len(str(request.query)) > LONGEST_URL:
            return Reply(414)
        what, kind, action = self._route(request.path.strip("/").split("/"))
        if what == "properties":
            known = [{"name": name, "type": of, "archived": False} for name, of in self.properties.items()]
            return as_json({"results": known})
        if what == "associations":
            return self._associated(kind, action, request)
        handler = {"": self._list, "batch/read": self._batch, "search": self._search}.get(action)
        if what != "objects" or kind not in self.objects or handler is None:
            return self._refused(f"no path {request.path}", 404)
        return handler(kind, request)

    def _route(self, parts: list[str]) -> tuple[str, str, str]:
        if self.version == "v3":
            expected = {"objects": "v3", "properties": "v3", "associations": "v4"}
            if len(parts) < 4 or expected.get(parts[2]) != parts[1]:
                return "", "", ""
            return parts[2], parts[3], "/".join(parts[4:])
        if len(parts) < 4 or parts[2] != self.version:
            return "", "", ""
        return parts[1], parts[3], "/".join(parts[4:])

    def _refused(self, why: str, status: int = 400) -> Reply:
        self.violations.append(why)
        return as_json({"status": "error", "message": why, "category": "VALIDATION_ERROR"}, status)

    def _record(self, kind: str, thing: Thing, names: list[str]) -> dict[str, Any]:
        known = {**thing.properties, self.cursor(kind): iso(thing.at), "hs_object_id": str(thing.id)}
        found = {name: known.get(name) for name in names if name in self.properties}
        archived = {"archivedAt": iso(thing.archived_at)} if thing.archived_at else {}
        return {
            "id": str(thing.id), "properties": found, "createdAt": iso(thing.at), "updatedAt": iso(thing.at),
            "archived": bool(thing.archived_at), **archived,
        }  # fmt: skip

    def _list(self, kind: str, request: Request) -> Reply:
        given = request.query
        unknown = set(given) - {"after", "limit", "properties", "archived"}
        limit = int(given.get("limit", 10))
        if request.method != "GET" or unknown or limit > 100:
            return self._refused(f"{request.method} list with {sorted(unknown)}, limit {limit}")
        archived = given.get("archived") == "true"
        found = sorted(
            (one for one in self.objects[kind].values() if bool(one.archived_at) == archived and not one.gone),
            key=lambda one: one.id,
        )
        rest = [one for one in found if one.id > int(given.get("after", 0))]
        page, names = rest[:limit], given.get("properties", "").split(",")
        paging = {"paging": {"next": {"after": str(page[-1].id)}}} if len(rest) > limit else {}
        return as_json({"results": [self._record(kind, one, names) for one in page], **paging})

    def _batch(self, kind: str, request: Request) -> Reply:
        body = request.json
        if request.method != "POST" or len(body["inputs"]) > 100 or not body["inputs"]:
            return self._refused(f"batch of {len(body['inputs'])}")
        archived = request.query.get("archived") == "true"
        results, errors = [], []
        for one in body["inputs"]:
            thing = self.objects[kind].get(int(one["id"]))
            if thing is None or thing.gone or bool(thing.archived_at) != archived:
                errors.append({"status": "error", "category": "OBJECT_NOT_FOUND", "context": {"ids": [one["id"]]}})
            else:
                results.append(self._record(kind, thing, body.get("properties", [])))
        more = {"numErrors": len(errors), "errors": errors} if errors else {}
        return as_json({"status": "COMPLETE", "results": results, **more}, 207 if errors else 200)

    def _search(self, kind: str, request: Request) -> Reply:
        body = request.json
        filters = [one for group in body["filterGroups"] for one in group["filters"]]
        if len(body["filterGroups"]) > 5 or len(filters) > 6 or body.get("limit", 10) > 200 or len(body["sorts"]) > 1:
            return self._refused("search beyond its limits")
        after = int(body.get("after", 0))
        if after + body.get("limit", 10) > CEILING:
            return self._refused("search beyond 10,000 results")
        if any(one.get("value") == "0" for one in filters):
            self.violations.append("filter by 1970-01-01")
            return as_json({"status": "error", "message": "internal error"}, 500)
        seen = [
            one for one in self.objects[kind].values()
            if one.archived_at is None and not one.gone and one.at <= self.now - self.lag
            and all(self._fits(kind, one, condition) for condition in filters)
        ]  # fmt: skip
        sort = body["sorts"][0]
        seen.sort(
            key=lambda one: one.id if sort["propertyName"] == "hs_object_id" else one.at,
            reverse=sort["direction"] == "DESCENDING",
        )
        page = seen[after : after + body["limit"]]
        end = after + len(page)
        paging = {"paging": {"next": {"after": str(end)}}} if end < len(seen) else {}
        return as_json(
            {"total": len(seen), "results": [self._record(kind, one, body["properties"]) for one in page], **paging}
        )

    def _fits(self, kind: str, thing: Thing, condition: Mapping[str, Any]) -> bool:
        name, operator = condition["propertyName"], condition["operator"]
        if name not in (self.cursor(kind), "hs_object_id"):
            self.violations.append(f"filter by {name}")
        value = thing.id if name == "hs_object_id" else ms(thing.at)
        low = int(condition["value"])
        if operator == "BETWEEN":
            return low <= value <= int(condition["highValue"])
        return {"GT": value > low, "GTE": value >= low, "LT": value < low, "LTE": value <= low, "EQ": value == low}[
            operator
        ]

    def _associated(self, kind: str, action: str, request: Request) -> Reply:
        other, _, verb = action.partition("/")
        inputs = request.json["inputs"]
        if verb != "batch/read" or request.method != "POST" or not 0 < len(inputs) <= 1000:
            return self._refused(f"associations {action} of {len(inputs)}")
        results, errors = [], []
        for one in inputs:
            thing = self.objects[kind].get(int(one["id"]))
            if thing is not None and thing.archived_at:
                return as_json({"status": "error", "message": f"{one['id']} is archived"}, 400)
            to = self.associations.get((kind, other), {}).get(int(one["id"]), [])
            start = int(one.get("after", 0))
            end = start + self.associated_on_page
            if to[start:end]:
                paging = {"paging": {"next": {"after": str(end)}}} if end < len(to) else {}
                results.append({"from": {"id": one["id"]}, "to": to[start:end], **paging})
            else:
                errors.append({"status": "error", "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND"})
        return as_json({"status": "COMPLETE", "results": results, "errors": errors}, 207 if errors else 200)


@contextlib.contextmanager
def hubspot(version: str = "2026-03") -> Iterator[HubSpot]:
    found = HubSpot(version)
    with serving(found, lambda: format_datetime(found.now.replace(tzinfo=dt.UTC), usegmt=True)) as found.url:
        yield found

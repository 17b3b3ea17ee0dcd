"""A vendor's API that a catalog file describes: lists in the five kinds of pages, strict about what it is sent.

Everything that a client should not do is a violation: a call without a sign-in, an unknown parameter, a page beyond
the last one by link or token, a page before its time. Tests allow none.
"""

from __future__ import annotations

import contextlib
import threading

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.servers.http import DATE, Reply, Request, as_json, serving

TOKEN = "hush-token"


class Api:
    """Its records can be changed while it runs. ``faults`` are answered first, one a call."""

    def __init__(self) -> None:
        self.lists: dict[str, list[dict[str, Any]]] = {"/v1/people": []}
        self.paging = "none"
        self.size = 3
        """Records of a page, whatever the client wants."""
        self.faults: deque[Callable[[Request], Reply | None]] = deque()
        self.tokens = {TOKEN}
        """Bearer tokens that are valid."""
        self.violations: list[str] = []
        self.calls: list[Request] = []
        self.date = DATE
        self.headers: dict[str, str] = {}
        self.authorized: Callable[[Request], bool] = self._has_token
        self.parameters = {"none": {"since"}}
        self.routes: dict[str, Callable[[Request], Reply]] = {}
        self.url = ""
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Reply:
        with self._lock:
            self.calls.append(request)
            fault = self.faults.popleft() if self.faults else None
        broken = fault(request) if fault else None
        if broken is not None:
            return broken
        if request.path in self.routes:
            return self.routes[request.path](request)
        if not self.authorized(request):
            return as_json({"message": "who are you?"}, 401)
        if request.path not in self.lists:
            return as_json({"detail": "Not found."}, 404)
        return self._page(request)

    def _has_token(self, request: Request) -> bool:
        return request.headers.get("Authorization", "").removeprefix("Bearer ") in self.tokens

    def _page(self, request: Request) -> Reply:
        given: Mapping[str, Any] = {**request.query, **(request.json if request.body else {})}
        found = self.lists[request.path]
        if since := given.get("since"):
            found = [one for one in found if one.get("updated_at") is None or str(one["updated_at"]) >= since]
        reply: Reply = getattr(self, f"_by_{self.paging}")(request, given, found)
        return Reply(reply.status, reply.body, {**reply.headers, **self.headers})

    def _expect(self, given: Mapping[str, Any], *known: str) -> None:
        if unknown := sorted(set(given) - {"since", *known}):
            self.violations.append(f"unknown parameters {unknown}")

    def _by_none(self, request: Request, given: Mapping[str, Any], found: list[dict[str, Any]]) -> Reply:
        self._expect(given)
        return as_json({"data": {"items": found}})

    def _by_page(self, request: Request, given: Mapping[str, Any], found: list[dict[str, Any]]) -> Reply:
        self._expect(given, "page", "per_page")
        start = (int(given["page"]) - 1) * self.size
        if start > len(found):
            self.violations.append(f"page {given['page']} is far beyond the last one")
        if start and start >= len(found):
            return as_json({"detail": "Invalid page."}, 404)
        return as_json({"data": {"items": found[start : start + self.size], "total": len(found)}})

    def _by_offset(self, request: Request, given: Mapping[str, Any], found: list[dict[str, Any]]) -> Reply:
        self._expect(given, "offset", "limit")
        start = int(given["offset"])
        return as_json({"data": {"items": found[start : start + self.size], "total": len(found)}})

    def _by_cursor(self, request: Request, given: Mapping[str, Any], found: list[dict[str, Any]]) -> Reply:
        self._expect(given, "after", "limit")
        start = int(given.get("after", 0))
        if start and start >= len(found):
            self.violations.append(f"no page ended at {start}")
        end = start + self.size
        after = {"next": {"after": str(end)}} if end < len(found) else {}
        return as_json({"data": {"items": found[start:end]}, "paging": after})

    def _by_next(self, request: Request, given: Mapping[str, Any], found: list[dict[str, Any]]) -> Reply:
        self._expect(given, "start", "limit")
        start = int(given.get("start", 0))
        end = start + self.size
        link = f"{self.url}{request.path}?start={end}" if end < len(found) else None
        if link and (since := given.get("since")):
            link += f"&since={since}"
        headers = {"Link": f'<{link}>; rel="next", <{self.url}/x>; rel="help"'} if link else {}
        return as_json({"data": {"items": found[start:end]}, "next": link}, **headers)


@contextlib.contextmanager
def api() -> Iterator[Api]:
    """A running one."""
    found = Api()
    with serving(found, lambda: found.date) as found.url:
        yield found

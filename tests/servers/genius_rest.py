"""A stand-in for the REST API of Genius CRM: tokens, and lists as Django REST framework has them."""

from __future__ import annotations

import contextlib

from collections.abc import Iterator
from typing import Any

from tests.servers.http import Reply, Request, as_json, serving

PATHS = {
    "user_data": "/api/users/users/", "division": "/api/divisions/division/", "prospect": "/api/customers/prospect/",
    "appointment": "/api/appointments/appointment/", "marketing_source": "/api/marketing_sources/",
    "service": "/api/services/service/",
}  # fmt: skip
STATIC = "hush-static"


class Genius:
    """Tokens that a login gives are valid for ``uses`` calls each."""

    def __init__(self) -> None:
        self.lists: dict[str, list[dict[str, Any]]] = {path: [] for path in PATHS.values()}
        self.violations: list[str] = []
        self.calls: list[Request] = []
        self.uses = 1_000
        self.logins = 0
        self.left: dict[str, int] = {}
        self.url = ""
        self.elsewhere: str | None = None
        """A host that links to next pages lead to."""

    def __call__(self, request: Request) -> Reply:
        self.calls.append(request)
        if request.path == "/api/token/":
            return self._login(request)
        if request.path not in self.lists:
            self.violations.append(f"no path {request.path}")
            return as_json({"detail": "Not found."}, 404)
        if not self._is_valid(request.headers.get("Authorization", "")):
            return as_json({"detail": "Given token not valid for any token type"}, 401)
        return self._page(request)

    def _login(self, request: Request) -> Reply:
        if request.method != "POST" or request.json != {"username": "me", "password": "hush"}:
            return as_json({"detail": "No active account found with the given credentials"}, 401)
        self.logins += 1
        token = f"jwt-{self.logins}"
        self.left[token] = self.uses
        return as_json({"access": token, "refresh": "unused"})

    def _is_valid(self, header: str) -> bool:
        kind, _, token = header.partition(" ")
        if kind != "Bearer":
            self.violations.append(f"signs in by {header!r}")
        if token == STATIC:
            return True
        self.left[token] = self.left.get(token, 0) - 1
        return self.left[token] >= 0

    def _page(self, request: Request) -> Reply:
        unknown = set(request.query) - {"updated_since", "limit", "offset"}
        if unknown or request.method != "GET":
            self.violations.append(f"{request.method} with {sorted(unknown)}")
        since = request.query.get("updated_since", "")
        found = [one for one in self.lists[request.path] if one["updated_at"] >= since]
        limit, offset = int(request.query.get("limit", 100)), int(request.query.get("offset", 0))
        following = None
        if offset + limit < len(found):
            more = f"&updated_since={since}" if since else ""
            following = f"{self.elsewhere or self.url}{request.path}?limit={limit}&offset={offset + limit}{more}"
        results = found[offset : offset + limit]
        return as_json({"count": len(found), "next": following, "previous": None, "results": results})


@contextlib.contextmanager
def genius() -> Iterator[Genius]:
    found = Genius()
    with serving(found) as found.url:
        yield found

"""The pages on this machine: a server of the loopback address, and a link that signs in once."""

from __future__ import annotations

import hmac
import secrets

from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from shared.errors import ConfigError
from shared.jobs.run_log import DocumentedRuns
from shared.pipeline.status import HistoryLog, RunLog
from shared.web.pages.forms import MOST_BYTES
from shared.web.pages.render import ROOT, Page, redirect
from shared.web.pages.sign_in import OPERATOR, Principal
from shared.web.pages.site import request_by, respond

if TYPE_CHECKING:
    from shared.app import App

_COOKIE = "sluice_status"
_HOST = "127.0.0.1"
_SOMEBODY = Principal("this machine", "this machine", frozenset({OPERATOR}))


def run_log(app: App) -> RunLog:
    """The runs to show on this machine: those that jobs keep, if STATE_URL is their container, or the warehouse's."""
    is_remote = "://" in app.settings.state_url and not app.settings.state_url.startswith("file://")
    return DocumentedRuns(app.documents, app.now) if is_remote else HistoryLog(app.warehouse)


class LocalServer(ThreadingHTTPServer):
    """Shows the pages of an app to whoever has its link. Files can be loaded there; no jobs run on this machine."""

    daemon_threads = True

    def __init__(self, app: App, port: int) -> None:
        """ConfigError if the port is taken; with 0 it is any free one."""
        self._app, self._log = app, run_log(app)
        self._token: str | None = secrets.token_urlsafe(32)
        self._session = secrets.token_urlsafe(32)
        try:
            super().__init__((_HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise ConfigError(f"port {port} cannot be used: {error}", fix="Choose another --port") from error

    @property
    def host(self) -> str:
        return f"{_HOST}:{self.server_address[1]}"

    @property
    def link(self) -> str:
        """Where to sign in, once."""
        return f"http://{self.host}{ROOT}?token={self._token}"

    def page(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Page:
        """The answer to a request for *target*; the names of *headers* are in lower case."""
        host, cookie = headers.get("host", ""), headers.get("cookie", "")
        path, query = urlsplit(target).path, dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
        if host != self.host:  # a foreign name that was made to lead here
            return _plain(421, "This server has another name.")
        if not (path == ROOT or path.startswith(f"{ROOT}/")):
            return redirect(ROOT) if path == "/" else _plain(404, "There is no such page.")
        token, known = query.get("token", ""), self._token
        if known and token and hmac.compare_digest(token.encode(), known.encode()):
            self._token = None
            answer_headers = {"Set-Cookie": f"{_COOKIE}={self._session}; Path={ROOT}; HttpOnly; SameSite=Strict"}
            first = redirect(ROOT)
            return first._replace(headers={**first.headers, **answer_headers})
        signed_in = hmac.compare_digest(_session_of(cookie).encode(), self._session.encode())
        who = _SOMEBODY if signed_in else None
        request = request_by(method, path.removeprefix(ROOT), query, headers, body, who)
        return respond(self._app, request, self._log, can_act=False)


def _session_of(cookie: str) -> str:
    try:
        found = SimpleCookie(cookie).get(_COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def _plain(status: int, text: str) -> Page:
    return Page(status, text.encode(), "text/plain; charset=utf-8")


class _Handler(BaseHTTPRequestHandler):
    server: LocalServer
    server_version = "sluice"
    sys_version = ""

    def do_GET(self) -> None:
        self._respond(b"")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        # One byte more than may be is enough to be refused, and the rest is never read.
        size = min(int(length), MOST_BYTES + 1) if length.isdecimal() else 0
        self._respond(self.rfile.read(size))

    def _respond(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        found = self.server.page(self.command, self.path, headers, body)
        self.send_response(found.status)
        for name, value in found.http_headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(found.body)))
        self.end_headers()
        self.wfile.write(found.body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: its first line would have the token."""

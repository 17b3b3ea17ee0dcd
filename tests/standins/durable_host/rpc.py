"""HTTP on loopback, kept alive and without delays: requests in, replies out."""

from __future__ import annotations

import contextlib
import json
import socket
import threading

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

BASE = "/durabletask/"


@dataclass(frozen=True, slots=True)
class Request:
    """One request, its path cut into decoded segments below the base."""

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: str

    def flag(self, name: str, *, default: bool) -> bool:
        return self.query.get(name, str(default)).lower() == "true"


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, a JSON value (None: no body) and further headers."""

    status: int
    document: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Endpoint:
    """A server on a free port whose every request *answer* replies to, in a thread of the connection."""

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        self._server = _Server(answer)
        self._thread = threading.Thread(target=self._server.serve, name="durable-rpc")
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}{BASE}"

    def close(self) -> None:
        """Stop, with every connection and thread."""
        self._server.stop()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    # Closing waits for the threads of the connections, which stop() has ended.
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self._stopping = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Like serve_forever, but woken by a last connection instead of looking up twice a second."""
        while not self._stopping:
            self.handle_request()
        for connection in self._still_open():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def stop(self) -> None:
        self._stopping = True
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.server_port), timeout=5).close()

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)

    def ended(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)

    def _still_open(self) -> set[socket.socket]:
        with self._lock:
            return set(self._open)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # Buffered, so that head and body leave together.
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.ended(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        reply = self.server.answer(self._request())
        body = b"" if reply.document is None else json.dumps(reply.document).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def _request(self) -> Request:
        url = urlsplit(self.path)
        return Request(
            method=self.command,
            path=tuple(unquote(part) for part in url.path.removeprefix(BASE).split("/")),
            query={name: values[0] for name, values in parse_qs(url.query).items()},
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode(),
        )

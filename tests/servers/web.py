"""A web server on this machine that answers as a test says."""

from __future__ import annotations

import contextlib
import ssl
import threading

from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias

Answer: TypeAlias = "tuple[int, Mapping[str, object], bytes]"
"""Status, headers and body; the length of the body is told unless it is among the headers."""


class Pages:
    """What is answered at each path, and the paths that were asked for, with their queries."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[Mapping[str, str]], Answer]] = {}
        self.seen: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def puts(self, path: str, data: bytes, etag: str = '"1"') -> None:
        """A file that is read in ranges."""

        def answer(headers: Mapping[str, str]) -> Answer:
            if headers.get("If-Match", etag) != etag:
                return 412, {}, b""
            first, last = (int(part) for part in headers["Range"].removeprefix("bytes=").split("-"))
            if first >= len(data):
                return 416, {"Content-Range": f"bytes */{len(data)}", "ETag": etag}, b""
            part = data[first : last + 1]
            return 206, {"ETag": etag, "Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(data)}"}, part

        self.answers[path] = answer

    def says(self, path: str, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        self.answers[path] = lambda _: (status, headers or {}, body)

    def answer(self, path: str, headers: Mapping[str, str]) -> Answer:
        self.seen.append(path)
        answer = self.answers.get(path.partition("?")[0])
        return (404, {}, b"") if answer is None else answer(headers)


@contextlib.contextmanager
def served(tls: ssl.SSLContext | None = None) -> Iterator[Pages]:
    pages = Pages()
    with listening(pages.answer, tls) as pages.port:
        yield pages


@contextlib.contextmanager
def listening(answer: Callable[[str, Mapping[str, str]], Answer], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server that answers a GET of a path with those headers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answer(self.path, self.headers)
            self.send_response(status)
            for name, value in {"Content-Length": len(body), **headers}.items():
                self.send_header(name, str(value))
            self.end_headers()
            with contextlib.suppress(OSError):  # the client has seen enough
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Listening(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # a client that found the wrong certificate leaves without a word

    with Listening(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()

"""An HTTP relay in front of a server that counts what comes back, and can cut, stall, dribble and answer itself."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

_PIECE = 64 << 10


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request that came through."""

    line: str
    headers: dict[str, str]

    @property
    def method(self) -> str:
        return self.line.partition(" ")[0]

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    @property
    def range(self) -> tuple[int, int] | None:
        """First and last byte that it asks for."""
        requested = self.headers.get("x-ms-range") or self.headers.get("range")
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", requested or "")
        return (int(found[1]), int(found[2])) if found else None


@dataclass(slots=True)
class Fault:
    """What to do with a request instead of passing it on, or with the answer to it."""

    when: Callable[[Request], bool]
    times: int = 1
    """How many requests it meets; then it is over."""
    answer: bytes | None = None
    """Sent back at once, for the server to hear nothing."""
    cut_after: int | None = None
    """Bytes of the answer's body before the connection is reset."""
    dribble: int | None = None
    """Bytes of the answer that come at once, as over a slow line."""
    stall: bool = False
    """No answer, on a connection that stays open."""
    before: Callable[[], None] | None = None
    """Called before the request is passed on."""
    met: list[Request] = field(default_factory=list)


_NONE = Fault(when=lambda _: False)


def busy(status: int, retry_after: str | None = None, code: str = "ServerBusy") -> bytes:
    """An HTTP answer that asks for patience."""
    wait = f"Retry-After: {retry_after}\r\n" if retry_after is not None else ""
    return (
        f"HTTP/1.1 {status} Busy\r\nx-ms-error-code: {code}\r\n{wait}"
        "Date: Tue, 24 Feb 2026 12:00:00 GMT\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    ).encode()


class Proxy:
    """Relays HTTP/1.1 to *upstream* (host, port); ``requests`` and ``bodies`` tell what passed."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.requests: list[Request] = []
        self.bodies = 0
        """Bytes of the answers that came back, without their headers."""
        self.faults: list[Fault] = []
        self.open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @classmethod
    def to(cls, url: str) -> Proxy:
        parts = urlsplit(url)
        return cls((parts.hostname or "", parts.port or 80))

    def through(self, url: str) -> str:
        """*url* by way of here."""
        return urlunsplit(urlsplit(url)._replace(netloc=f"127.0.0.1:{self.port}"))

    def __enter__(self) -> Proxy:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        # A blocked accept() ends by a last connection, not by closing what it waits on.
        self._stopping = True
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        self._listener.close()
        with self._lock:
            waiting, connections = list(self._threads), list(self.open)
        for one in connections:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in waiting:
            thread.join(5)
        for one in connections:
            one.close()

    _stopping = False

    def ranges(self) -> list[tuple[int, int]]:
        """First and last byte of each range asked for, in order."""
        return [found for request in self.requests if (found := request.range)]

    def _accept(self) -> None:
        while not self._stopping:
            with contextlib.suppress(OSError):
                client, _ = self._listener.accept()
                if self._stopping:
                    client.close()
                    return
                thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
                with self._lock:
                    self.open.append(client)
                    self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        """One request: an answer says that the connection ends with it."""
        with client, contextlib.suppress(OSError):
            head = _head(client)
            if not head:
                return
            request = _parsed(head)
            with self._lock:
                self.requests.append(request)
                fault = next((one for one in self.faults if one.times > 0 and one.when(request)), _NONE)
                if fault is not _NONE:
                    fault.times -= 1
                    fault.met.append(request)
            body = _exactly(client, int(request.headers.get("content-length", 0)))
            if fault.before is not None:
                fault.before()
            if fault.answer is not None:
                client.sendall(fault.answer)
            elif fault.stall:
                client.recv(1)  # until the other side has had enough
            else:
                self._relay(client, head + body, fault)

    def _relay(self, client: socket.socket, request: bytes, fault: Fault) -> None:
        left = fault.cut_after
        with socket.create_connection(self._upstream, timeout=30) as server:
            server.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            client.sendall(_head(server))
            for piece in iter(lambda: server.recv(fault.dribble or _PIECE), b""):
                with self._lock:
                    self.bodies += len(piece)
                if left is not None and left <= len(piece):
                    client.sendall(piece[:left])
                    # A reset, not an orderly end.
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                client.sendall(piece)
                left = None if left is None else left - len(piece)


def _head(connection: socket.socket) -> bytes:
    """Up to and with the empty line; nothing if the other side has ended."""
    got = b""
    while not got.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        if not piece:
            return b""
        got += piece
    return got


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts: list[bytes] = []
    while count > 0:
        piece = connection.recv(min(count, _PIECE))
        if not piece:
            break
        parts.append(piece)
        count -= len(piece)
    return b"".join(parts)


def _parsed(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    fields: Iterator[tuple[str, str]] = ((name, value) for name, _, value in (line.partition(":") for line in lines))
    return Request(first, {name.strip().lower(): value.strip() for name, value in fields})

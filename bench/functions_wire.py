"""What the servers take from a client that does nothing else: prepared requests over open sockets.

Reads what to do as JSON from its argument; prints calls per second and milliseconds of each. A call is ``put``, the
blob alone, or ``both``, the blob and then the job: what an accepted delivery has to write.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit


def main() -> None:
    request = json.loads(sys.argv[1])
    numbers = iter(range(sys.maxsize))
    with Wire(request["blob"]) as blob:
        for _ in range(request["warm_up"]):
            blob.send(_put(request, next(numbers)), 201)
    print(json.dumps(_measured(request, numbers)))


def _measured(request: Mapping[str, Any], numbers: Iterator[int]) -> dict[str, Any]:
    """So many threads, each of which calls again as soon as it is answered."""
    latencies: list[float] = []
    failed: list[BaseException] = []
    since = time.perf_counter()
    until = since + request["seconds"]

    def caller() -> None:
        try:
            with Wire(request["blob"]) as blob, Wire(request["rpc"]) as rpc:
                while (began := time.perf_counter()) < until:
                    number = next(numbers)
                    blob.send(_put(request, number), 201)
                    if request["kind"] == "both":
                        rpc.send(_post(request, number), 202)
                    latencies.append(1000 * (time.perf_counter() - began))
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that waits
            failed.append(error)

    threads = [threading.Thread(target=caller) for _ in range(request["at_once"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return {"rate": len(latencies) / (time.perf_counter() - since), "latencies": sorted(latencies)}


class Wire:
    """One connection that is kept alive."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, request: bytes, expected: int) -> None:
        self._socket.sendall(request)
        head, _, body = self._until(b"\r\n\r\n").partition(b"\r\n\r\n")
        lines = head.decode().lower().split("\r\n")
        if lines[0].split()[1] != str(expected):
            raise RuntimeError(f"answered with {lines[0]}")
        length = next((int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")), 0)
        while len(body) < length:
            body += self._more()

    def _until(self, mark: bytes) -> bytes:
        found = self._more()
        while mark not in found:
            found += self._more()
        return found

    def _more(self) -> bytes:
        found = self._socket.recv(1 << 16)
        if not found:
            raise ConnectionError("the server ended the connection")
        return found


def _put(request: Mapping[str, Any], number: int) -> bytes:
    """A blob as large as what is kept of a delivery."""
    parts = urlsplit(request["blob"])
    target = f"{parts.path}/bare-{number:032d}?{parts.query}"
    body = b"x" * request["bytes"]
    head = (
        f"PUT {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nx-ms-blob-type: BlockBlob\r\nx-ms-version: 2024-11-04\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _post(request: Mapping[str, Any], number: int) -> bytes:
    parts = urlsplit(request["rpc"])
    body = json.dumps(json.dumps({"work": {"notice": f"{number:032d}"}})).encode()
    head = (
        f"POST {parts.path}orchestrators/export_job/bare:{number:032d} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


if __name__ == "__main__":
    main()

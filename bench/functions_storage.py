"""A storage that takes every blob at once and forgets it: what a delivery costs when storage is not what limits it.

Prints its port; ends when its input does.
"""

from __future__ import annotations

import asyncio
import sys

_TAKEN = (
    b'HTTP/1.1 201 Created\r\nETag: "0x1"\r\nLast-Modified: Mon, 02 Nov 2026 08:00:00 GMT\r\n'
    b"x-ms-version: 2024-11-04\r\nx-ms-request-id: 1\r\nContent-Length: 0\r\n\r\n"
)


class Storage(asyncio.Protocol):
    """Answers each request of a connection with 201."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport, self._read = transport, bytearray()

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._read[:end]).lower()
            _, _, length = head.partition(b"\r\ncontent-length:")
            whole = end + 4 + int(length.partition(b"\r\n")[0] or 0)
            if len(self._read) < whole:
                return
            del self._read[:whole]
            self._transport.write(_TAKEN)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Storage, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())

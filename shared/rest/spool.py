"""Answers of a listing, page by page, in a temporary file: called for once, then read as often as needed."""

from __future__ import annotations

import tempfile
import weakref
import zlib

from collections.abc import Iterator

_MEMORY = 4 << 20
"""Bytes, packed, up to which there is no file."""


class Spool:
    """Bodies in the order in which they were added. Use ``close`` when done."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_MEMORY)  # noqa: SIM115 - closed by close
        weakref.finalize(self, self._file.close)
        self._places: list[tuple[int, int]] = []

    def add(self, body: bytes) -> None:
        packed = zlib.compress(body, 1)
        self._file.seek(0, 2)
        self._places.append((self._file.tell(), len(packed)))
        self._file.write(packed)

    def __iter__(self) -> Iterator[bytes]:
        for start, size in self._places:
            self._file.seek(start)
            yield zlib.decompress(self._file.read(size))

    def close(self) -> None:
        self._file.close()

"""A remote file for reading by range: few large requests, nothing moved that is not wanted, memory bounded."""

from __future__ import annotations

import io
import os
import threading

from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias, cast

from shared.stores import File

Fetch: TypeAlias = Callable[[int, int], bytes]
"""Moves the bytes from the first position up to, not including, the second."""

_AHEAD = 32 << 20
"""Bytes read ahead for one file; shared by the columns that are read side by side."""
_SMALLEST, _LARGEST = 256 << 10, 8 << 20
"""Bytes of one request ahead, at least and at most."""
_MOST = 48 << 20
"""Bytes kept of one file, whatever happens."""
_LASTING = 1 << 20
"""Bytes kept of the end of a file between two opens: its footer."""
_TINY = 16
_FILES = 16
"""Files whose end is kept."""


class Opens:
    """What the opens of one store share, so that no byte of a file is moved twice: its footer, and what is ahead."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, file: File, fetch: Fetch) -> BinaryIO:
        """*file* for reading. *fetch* is called with ranges within its size, one at a time."""
        key = file.name, file.version
        with self._lock:
            kept = self._kept.setdefault(key, Kept(file.size))
            self._kept.move_to_end(key)
            kept.users += 1
            idle = [key for key, one in self._kept.items() if not one.users]
            for old in idle[:-_FILES]:
                del self._kept[old]
        return cast("BinaryIO", RangedFile(kept, fetch))


@dataclass(slots=True)
class _Block:
    """Bytes of a file from one request."""

    start: int
    data: bytes
    left: int
    """Bytes of it that nobody has read yet."""


class Kept:
    """The bytes of one file that are here, and the ranges that somebody has said to read."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.users = 0
        self.lock = threading.RLock()
        self._blocks: OrderedDict[int, _Block] = OrderedDict()  # by start; least recently used first
        self._starts: list[int] = []
        self._bytes = 0
        self._wanted: list[tuple[int, int]] = []
        self._window = _SMALLEST

    def want(self, ranges: Iterable[tuple[int, int]], streams: int) -> None:
        """All of *ranges* will be read once, by so many interleaved streams: requests may run ahead inside them."""
        self._window = min(_LARGEST, max(_SMALLEST, _AHEAD // max(1, streams)))
        merged = _merged([*self._wanted, *((max(0, start), min(end, self.size)) for start, end in ranges)])
        for block in self._blocks.values():
            merged = _without(merged, block.start, block.start + len(block.data))
        self._wanted = merged

    def take(self, start: int, end: int, fetch: Fetch, *, once: bool) -> bytes:
        """The bytes from *start* to *end*; with *once* nobody is expected to read them again."""
        parts: list[bytes | memoryview] = []
        position = start
        while position < end:
            block = self._at(position) or self._fetched(position, end, fetch)
            offset = position - block.start
            part = memoryview(block.data)[offset : offset + end - position]
            position += len(part)
            whole = len(part) == len(block.data)
            parts.append(block.data if whole else part)
            if once:
                block.left -= len(part)
                if block.left <= 0:
                    self._drop(block)
        if len(parts) == 1:
            return bytes(parts[0])
        return b"".join(parts)

    def close(self) -> None:
        """Once nobody has it open, keep no more than the end of the file and its first bytes, which tell its kind."""
        self.users -= 1
        if not self.users:
            self._wanted = []
            for block in list(self._blocks.values()):
                if block.start < self.size - _LASTING and len(block.data) > _TINY:
                    self._drop(block)

    def _at(self, position: int) -> _Block | None:
        index = bisect_right(self._starts, position) - 1
        if index < 0:
            return None
        block = self._blocks[self._starts[index]]
        if position >= block.start + len(block.data):
            return None
        self._blocks.move_to_end(block.start)
        return block

    def _fetched(self, start: int, needed: int, fetch: Fetch) -> _Block:
        """One request: what is asked and not here yet, and ahead of it what is wanted."""
        end = needed
        index = bisect_right(self._wanted, (start, self.size + 1)) - 1
        if index >= 0 and start < self._wanted[index][1]:
            end = max(end, min(start + self._window, self._wanted[index][1]))
        following = bisect_right(self._starts, start)
        if following < len(self._starts):
            end = min(end, self._starts[following])
        block = _Block(start, fetch(start, end), end - start)
        self._wanted = _without(self._wanted, start, end)
        self._keep(block)
        return block

    def _keep(self, block: _Block) -> None:
        self._blocks[block.start] = block
        insort(self._starts, block.start)
        self._bytes += len(block.data)
        for old in list(self._blocks.values()):
            if self._bytes <= _MOST or old is block:
                break
            self._drop(old)

    def _drop(self, block: _Block) -> None:
        del self._blocks[block.start]
        self._starts.remove(block.start)
        self._bytes -= len(block.data)


class RangedFile(io.RawIOBase):
    """One open of a remote file."""

    def __init__(self, kept: Kept, fetch: Fetch) -> None:
        super().__init__()
        self._kept, self._fetch = kept, fetch
        self._position = 0
        self._once = False

    def expect(self, ranges: Iterable[tuple[int, int]], streams: int) -> None:
        """All bytes of *ranges* will be read once, in as many interleaved streams as are said."""
        with self._kept.lock:
            self._kept.want(ranges, streams)
        self._once = True

    def read(self, size: int | None = -1) -> bytes:
        self._refuse_if_closed()
        end = self._kept.size if size is None or size < 0 else min(self._kept.size, self._position + size)
        if end <= self._position:
            return b""
        with self._kept.lock:
            data = self._kept.take(self._position, end, self._fetch, once=self._once)
        self._position = end
        return data

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._refuse_if_closed()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._kept.size}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        self._refuse_if_closed()
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            with self._kept.lock:
                self._kept.close()
        super().close()

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise ValueError("the file is closed")


def _merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """*ranges* in order, those that touch as one.

    >>> _merged([(5, 9), (0, 2), (2, 5), (20, 21), (7, 7)])
    [(0, 9), (20, 21)]
    """
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _without(ranges: list[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]]:
    """What of *ranges* lies outside *start* to *end*.

    >>> _without([(0, 9), (20, 30)], 5, 25)
    [(0, 5), (25, 30)]
    """
    left = [(a, b) for first, last in ranges for a, b in ((first, min(last, start)), (max(first, end), last)) if a < b]
    return left if start < end else ranges

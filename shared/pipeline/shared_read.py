"""Read a source once for several runs at the same time: its batches go to all of them."""

from __future__ import annotations

import contextlib
import json
import threading

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from shared.model import Slice, Unit
from shared.sources import Described, Read, Source

PATIENCE = 30.0
"""Seconds that the first batch of a slice waits for runs that have not come for it yet."""
_AHEAD = 2
"""Batches that the fastest run may be ahead of the slowest."""


class SharedSource:
    """A source of one unit. Each run reads it by a reader of its own, in a thread of its own.

    A slice is read for the readers that come for it before its first batch, which waits for those that neither came
    nor left it. A reader that comes later, or once more, reads the slice by itself.
    """

    def __init__(self, source: Source, *, patience: float = PATIENCE) -> None:
        self._source, self._patience = source, patience
        self._changed = threading.Condition()
        self._open: set[Reader] = set()
        self._reads: dict[str, _Read] = {}
        """By slice: pieces of two readers with one number may be different ones."""
        self._describing = threading.Lock()
        self._described: Described | None = None

    def reader(self) -> Reader:
        """One more reader. All are made before the first one reads."""
        made = Reader(self)
        self._open.add(made)
        return made

    def describe(self, unit: Unit) -> Described:
        """What the source said when the first reader wanted to know."""
        with self._describing:
            if self._described is None:
                self._described = self._source.describe(unit)
            return self._described

    def read(self, reader: Reader, part: Slice) -> Iterator[Read]:
        read = self._joined(reader, part)
        yield from self._source.read(part) if read is None else self._shared(reader, read)

    def _joined(self, reader: Reader, part: Slice) -> _Read | None:
        """The common reading of a slice, once everybody is there; None for a reader that comes too late."""
        with self._changed:
            read = self._reads.setdefault(_key(part), _Read())
            if read.batches is not None:
                return None
            read.positions[reader] = 0
            self._changed.notify_all()
            self._changed.wait_for(lambda: read.batches is not None or self._all_came(read), self._patience)
            if read.batches is None:
                read.batches = iter(self._source.read(part))
                self._changed.notify_all()
            return read

    def leave(self, reader: Reader, key: str) -> None:
        """The reader does not read the slice, or not any more."""
        with self._changed:
            read = self._reads.setdefault(key, _Read())
            read.left.add(reader)
            read.positions.pop(reader, None)
            read.trim()
            if not read.positions and read.batches is not None:
                _close(read.batches)
            self._changed.notify_all()

    def close(self, reader: Reader) -> None:
        """The reader reads no more."""
        with self._changed:
            self._open.discard(reader)
            for key in [key for key, read in self._reads.items() if reader in read.positions]:
                self.leave(reader, key)
            self._changed.notify_all()

    def __getattr__(self, name: str) -> Any:
        """What a source has beside the port, such as ``plain_file``."""
        return getattr(self._source, name)

    def _all_came(self, read: _Read) -> bool:
        return self._open <= read.left | read.positions.keys()

    def _shared(self, reader: Reader, read: _Read) -> Iterator[Read]:
        while (found := self._next(reader, read)) is not _END:
            if isinstance(found, _Failed):
                raise found.error
            yield found

    def _next(self, reader: Reader, read: _Read) -> Any:
        """What is next for a reader: a batch, ``_END`` or ``_Failed``. Whoever needs it first gets it for all."""
        with self._changed:
            self._changed.wait_for(lambda: read.has_next(reader) or read.may_read)
            is_next = read.has_next(reader)
            read.is_reading = read.is_reading or not is_next
        if not is_next:
            found = _next_of(read.batches)
            with self._changed:
                read.kept.append(found)
                read.is_reading = False
        with self._changed:
            self._changed.notify_all()
            return read.take(reader)


class Reader:
    """One of the readers of a shared source: a source itself."""

    def __init__(self, shared: SharedSource) -> None:
        self._shared = shared

    def describe(self, unit: Unit) -> Described:
        return self._shared.describe(unit)

    def read(self, part: Slice) -> Iterator[Read]:
        return self._shared.read(self, part)

    def leave(self, part: Slice) -> None:
        """The slice is staged, or cannot be: the others need not wait for this reader."""
        self._shared.leave(self, _key(part))

    def close(self) -> None:
        """The run has ended."""
        self._shared.close(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shared, name)


def _key(part: Slice) -> str:
    return json.dumps([part.number, part.detail], sort_keys=True, default=str)


@contextlib.contextmanager
def leaving(source: Source, part: Slice) -> Iterator[None]:
    """Within it a slice is staged. After it other readers, if *source* is shared, do not wait for this one."""
    try:
        yield
    finally:
        if isinstance(source, Reader):
            source.leave(part)


@dataclass(slots=True, eq=False)
class _Read:
    """The reading of one slice. Everything is done under the lock of its source."""

    batches: Iterator[Read] | None = None
    """None before the first one is wanted."""
    positions: dict[Reader, int] = field(default_factory=dict)
    """How many batches each reader has taken."""
    left: set[Reader] = field(default_factory=set)
    is_reading: bool = False
    kept: deque[Any] = field(default_factory=deque)
    """The batches that not everybody has taken, and what the reading ended with."""
    first: int = 0
    """Number of the first of them."""

    @property
    def may_read(self) -> bool:
        return not self.is_reading and self.first + len(self.kept) - min(self.positions.values()) < _AHEAD

    def has_next(self, reader: Reader) -> bool:
        return self.positions[reader] - self.first < len(self.kept)

    def take(self, reader: Reader) -> Any:
        found = self.kept[self.positions[reader] - self.first]
        if found is not _END and not isinstance(found, _Failed):  # which stay for all
            self.positions[reader] += 1
            self.trim()
        return found

    def trim(self) -> None:
        """Forget what everybody has taken."""
        while self.first < min(self.positions.values(), default=self.first):
            self.kept.popleft()
            self.first += 1


_END = object()


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why the source cannot be read on."""

    error: Exception


def _next_of(batches: Iterator[Read] | None) -> Any:
    assert batches is not None  # noqa: S101 - readers begin when it is there
    try:
        return next(batches, _END)
    except Exception as error:  # noqa: BLE001 - it is raised for every reader
        return _Failed(error)


def _close(batches: Iterator[Read]) -> None:
    close = getattr(batches, "close", None)
    if close is not None:
        close()

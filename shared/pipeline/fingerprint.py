"""Whether a pull feed has anything new, by the few rows that are read again because of its overlap."""

from __future__ import annotations

import hashlib

from collections.abc import Iterable, Iterator
from typing import TypeVar

import pyarrow as pa

from shared.model import Feed, Unit

T = TypeVar("T")

FEW = 2_000
"""Rows whose fingerprint is taken at most: with more, a run costs less in proportion."""


class Fingerprint:
    """A digest of what the catalog says of a feed, of a window, and of its rows in the order in which they are read.

    The same digest means the same rows: reading and merging them again would change nothing.
    """

    def __init__(self, feed: Feed, unit: Unit) -> None:
        self._digest = hashlib.sha256(repr((feed, unit.kind, unit.window)).encode())
        self._rows = 0
        self._names: list[str] | None = None

    def add(self, batch: pa.RecordBatch) -> None:
        self._rows += batch.num_rows
        if self._rows > FEW:
            return
        if self._names is None:
            self._names = batch.schema.names
            self._digest.update(repr(self._names).encode())
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            self._digest.update(repr(row).encode())

    def watch(self, read: Iterable[T]) -> Iterator[T]:
        """*read*, with every batch of it added."""
        for one in read:
            if isinstance(one, pa.RecordBatch):
                self.add(one)
            yield one

    @property
    def text(self) -> str | None:
        """None if there were more than ``FEW`` rows."""
        return self._digest.hexdigest() if self._rows <= FEW else None

"""Whether a pull feed has anything new, by the few rows that are read again because of its overlap."""

from __future__ import annotations

import hashlib

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa

from shared.arrow import pc
from shared.contract import cursor
from shared.contract.cast import cast
from shared.model import Column, Feed, Unit

T = TypeVar("T")

FEW = 2_000
"""Rows whose fingerprint is taken at most: with more, a run costs less in proportion."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Chooses the rows of a window from what is read."""

    counted: tuple[Column, ...]
    """The cursor; then its fallback, if there is one."""
    floor: str
    ceiling: str
    timezone: str

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        there = {column.source for column in self.counted} <= set(batch.schema.names)
        return batch.filter(self._among(batch)) if batch.num_rows and there else batch.slice(0, 0)

    def _among(self, batch: pa.RecordBatch) -> Any:
        kind = self.counted[0].type
        values = pc.coalesce(
            *(cast(batch.column(column.source), kind, self.timezone).values for column in self.counted)
        )
        floor, ceiling = (pa.scalar(cursor.typed(kind, text), values.type) for text in (self.floor, self.ceiling))
        found = pc.and_(pc.greater_equal(values, floor), pc.less_equal(values, ceiling))
        return pc.fill_null(found, fill_value=False)


class Fingerprint:
    """A digest of what the catalog says of a feed, of a window, and of its rows in any order.

    The same digest means the same rows: reading and merging them again would change nothing.
    """

    def __init__(self, feed: Feed, unit: Unit, rows: Rows | None = None) -> None:
        """Of the *rows* among those that are added, all by default."""
        self._digest = hashlib.sha256(repr((feed, unit.kind, unit.window)).encode())
        self._rows = 0
        self._found: list[bytes] = []
        self._names: list[str] | None = None
        self._chosen = rows

    def add(self, batch: pa.RecordBatch) -> None:
        if self._rows > FEW:
            return
        batch = batch if self._chosen is None else self._chosen.of(batch)
        self._rows += batch.num_rows
        if self._rows > FEW or not batch.num_rows:
            return
        if self._names is None:
            self._names = batch.schema.names
            self._digest.update(repr(self._names).encode())
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            self._found.append(hashlib.sha256(repr(row).encode()).digest())

    def watch(self, read: Iterable[T]) -> Iterator[T]:
        """*read*, with every batch of it added."""
        for one in read:
            if isinstance(one, pa.RecordBatch):
                self.add(one)
            yield one

    @property
    def text(self) -> str | None:
        """None if there were more than ``FEW`` rows."""
        if self._rows > FEW:
            return None
        digest = self._digest.copy()
        digest.update(b"".join(sorted(self._found)))
        return digest.hexdigest()

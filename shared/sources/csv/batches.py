"""Rows gathered into batches, without those that hold no record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from shared.arrow import pc
from shared.sources.csv.dialect import Dialect

_MAX_BYTES = 32 * 2**20
"""Of long values a batch holds fewer rows."""


class Batches:
    """Turns tables of any length into batches of *batch_rows* rows."""

    def __init__(self, dialect: Dialect, batch_rows: int, skipped: Counter[str]) -> None:
        self._header = dialect.header if len(dialect.header) == len(dialect.names) else ()
        self._batch_rows = batch_rows
        self._skipped = skipped
        self._pending: list[pa.Table] = []
        self._rows = self._bytes = 0

    def add(self, table: pa.Table) -> Iterator[pa.RecordBatch]:
        kept = self._without_fillers(table)
        self._pending.append(kept)
        self._rows += kept.num_rows
        self._bytes += kept.nbytes
        if self._rows >= self._batch_rows or self._bytes >= _MAX_BYTES:
            yield from self._full()

    def rest(self) -> Iterator[pa.RecordBatch]:
        """What is left at the end."""
        yield from self._cut(self._rows)

    def _full(self) -> Iterator[pa.RecordBatch]:
        whole = self._rows if self._bytes >= _MAX_BYTES else self._rows // self._batch_rows * self._batch_rows
        yield from self._cut(whole)

    def _cut(self, rows: int) -> Iterator[pa.RecordBatch]:
        """The first *rows* of what is pending, as few batches as may be; one is in memory twice, the others once."""
        table = pa.concat_tables(self._pending) if self._pending else None
        for start in range(0, rows, self._batch_rows):
            assert table is not None  # noqa: S101 - there are rows
            yield from table[start : min(rows, start + self._batch_rows)].combine_chunks().to_batches()
        self._pending = [table[rows:]] if table is not None and rows < self._rows else []
        self._rows -= rows
        self._bytes = sum(one.nbytes for one in self._pending)

    def _without_fillers(self, table: pa.Table) -> pa.Table:
        width = table.num_columns
        rest = self._without(table, ("",) * width, "blank rows") if width > 1 else table
        return self._without(rest, self._header, "repeated header rows") if self._header else rest

    def _without(self, table: pa.Table, values: Sequence[str], kind: str) -> pa.Table:
        found = _equal(table, values)
        if found is None:
            return table
        self._skipped[kind] += found.true_count
        return table.filter(pc.invert(found))


def _equal(table: pa.Table, values: Sequence[str]) -> Any:
    """Which rows have exactly these values, blanks around them aside; None: no row has."""
    found: Any = None
    for column, value in zip(table.columns, values, strict=True):
        same = pc.equal(column, value) if value else pc.equal(pc.utf8_trim_whitespace(column), "")
        found = same if found is None else pc.and_(found, same)
        if not pc.any(found).as_py():
            return None
    return found.combine_chunks()

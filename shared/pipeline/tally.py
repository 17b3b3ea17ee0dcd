"""Count what becomes of the rows of one slice on their way through, and spool what is rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from shared.arrow import arange, pc
from shared.contract import cursor
from shared.contract.conform import ROW, Contract, Reject, folded
from shared.contract.raw_rows import raw_row
from shared.model import Feed, Slice, Staged
from shared.sources import BadRecord, Read
from shared.warehouses import REJECT_COLUMNS, Loaded, RefusedRow

REJECTS_SCHEMA = pa.schema([(name, pa.string()) for name in REJECT_COLUMNS])

MOST_REASONS = 5
"""Reasons for rejects that are counted out to people."""


class StageCounter:
    """Conforms the batches of a slice, and counts."""

    def __init__(self, contract: Contract, part: Slice, feed: Feed, rejects: Spool, keys: Spool) -> None:
        self._contract, self._part, self._feed = contract, part, feed
        self.rejects, self.keys = rejects, keys
        self.rejected = self.values_rejected = self.kept_out = 0
        self.checks: Counter[str] = Counter()
        """How many accepted rows fail each check, by its number in the feed."""
        self.high: str | None = None
        """Highest cursor accepted, as cursor text."""
        self.reasons: Counter[str] = Counter()
        """How often each code was found in each column."""
        self.next: Slice | None = None
        """The rest of the slice, if its read was cut."""

    def accepted(self, read: Iterable[Read], on_rows: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
        """The rows to stage of each batch that was read; *on_rows* gets how many rows or bad records it had."""
        before = 0
        for batch in read:
            self.next = self._following(batch, before) if isinstance(batch, Slice) else None
            if isinstance(batch, Slice):
                continue
            if not isinstance(batch, pa.RecordBatch):
                self._keep_bad(batch)
                on_rows(len(batch))
                continue
            conformed = self._contract.conform(batch, self._part.first_row + before)
            self._keep(conformed.rejects, before)
            self.keys.add(conformed.present)
            self.rejected += conformed.rejected
            self.kept_out += conformed.kept_out
            self.checks.update(conformed.checks)
            self._raise_cursor(conformed.accepted)
            before += batch.num_rows
            on_rows(batch.num_rows)
            yield conformed.accepted

    def _following(self, rest: Slice, before: int) -> Slice:
        part = self._part
        first, origin = part.first_row + before, part.origin_row + before
        return replace(rest, number=part.number + 1, first_row=first, origin_row=origin)

    def staged(self, table: str, loaded: Loaded) -> Staged:
        """What became of the slice, whose accepted rows were *loaded* into that staging table."""
        return Staged(
            table=table, rows=loaded.rows, size=loaded.size, long=tuple(loaded.long), inline=loaded.inline,
            rejected=self.rejected, values_rejected=self.values_rejected, kept_out=self.kept_out,
            keyless=self.rejected - self.kept_out - self.keys.rows, checks=dict(self.checks), high=self.high,
            next=self.next, reasons=dict(self.reasons.most_common(MOST_REASONS)),
        )  # fmt: skip

    def refuse(self, refused: Sequence[RefusedRow]) -> None:
        """Reject what fits the contract, but not the warehouse."""
        for one in refused:
            number = one.row.column(ROW)[0].as_py() - self._part.first_row
            content = one.row.drop_columns([ROW])
            self._keep([Reject(number, "row", one.column, one.code, one.reason, raw_row(content, 0))], 0)
            self.keys.add(content.select(self.keys.schema.names))
            self.rejected += 1

    def _keep_bad(self, records: Sequence[BadRecord]) -> None:
        self._spool(
            [(one.place, "row", None, one.code, one.reason, self._contract.raw_record(one.raw)) for one in records]
        )
        self.rejected += len(records)

    def _keep(self, rejects: Sequence[Reject], before: int) -> None:
        if not rejects:
            return
        first = self._part.origin_row + before + 1
        self.values_rejected += sum(reject.scope == "value" for reject in rejects)
        self._spool(
            [(f"{self._part.origin} row {first + r.row}", r.scope, r.column, r.code, r.reason, r.raw) for r in rejects]
        )

    def _spool(self, rows: Sequence[tuple[str | None, ...]]) -> None:
        """*rows* have REJECT_COLUMNS."""
        if not rows:
            return
        for _, _, column, code, _, _ in rows:
            self.reasons[f"{code}{f' in {column}' if column else ''}"] += 1
        columns: list[pa.Array[Any]] = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
        self.rejects.add(pa.RecordBatch.from_arrays(columns, schema=REJECTS_SCHEMA))

    def _raise_cursor(self, batch: pa.RecordBatch) -> None:
        name = self._feed.cursor
        if name is None or name not in batch.schema.names or not batch.num_rows:
            return
        top = pc.max(self._counted(batch, name)).as_py()
        if top is not None:
            kind = next(c for c in self._contract.columns if c.name == name).type
            self.high = cursor.later(kind, self.high, cursor.text(top))

    def _counted(self, batch: pa.RecordBatch, name: str) -> pa.Array[Any]:
        """The cursors of a batch, as windows count them: with the fallback's value where there is none."""
        cursors = batch.column(name)
        fallback = folded(self._feed.cursor_fallback or "")
        for column in self._contract.columns:
            if fallback and folded(column.name) == fallback:
                return pc.coalesce(cursors, batch.column(column.name))  # type: ignore[no-any-return]
        return cursors


class Spool:
    """Batches to be read once more, in bounded memory: those beyond it are on disk."""

    def __init__(self, file: Any, schema: pa.Schema) -> None:
        self._file, self.schema = file, schema
        self._writer = pa.ipc.new_stream(file, schema) if len(schema) else None
        self._is_complete = False
        self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        if self._writer is not None and batch.num_rows:
            self._writer.write_batch(batch)
            self.rows += batch.num_rows

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if self._writer is None:
            return
        if not self._is_complete:
            self._writer.close()  # once: it writes the mark of the end wherever the file stands
            self._is_complete = True
        self._file.seek(0)
        yield from pa.ipc.open_stream(self._file)

    def numbered(self) -> Iterator[pa.RecordBatch]:
        """The batches with a number for each row in front, as the warehouse stages them."""
        rows = 0
        for batch in self:
            numbers = arange(rows, rows + batch.num_rows)
            yield pa.RecordBatch.from_arrays([numbers, *batch.columns], names=[ROW, *batch.schema.names])
            rows += batch.num_rows

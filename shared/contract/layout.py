"""The text and the value of each column of a layout: headers combined, then cleaned. Pure."""

from __future__ import annotations

import functools
import json

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from shared.arrow import pc
from shared.contract.cast import Cast, Fault, cast
from shared.contract.clean import CleanOptions, clean
from shared.contract.codes import Code
from shared.contract.distinct import trimmed
from shared.contract.json_rows import quoted
from shared.contract.mapping import EXTRA
from shared.declared import Layout, LayoutColumn
from shared.model import Column, Feed


class CleanedColumn(NamedTuple):
    """Reads one column of a layout from batches of text."""

    column: LayoutColumn
    layout: Layout
    timezone: str
    stored: frozenset[str] = frozenset()
    """Headers whose text is stored by a column of their own, even where it is a part of this one."""

    def text(self, batch: pa.RecordBatch, column: Column) -> pa.Array[Any]:
        """The text of the column, of all headers that *column* takes."""
        arrays = [batch.column(name) for name in (column.source, *column.more)]
        if len(arrays) == 1:
            return arrays[0]
        blanks = [trimmed(array) for array in arrays]
        if self.column.parts:
            return pc.if_else(blanks[0].is_valid(), _joined(blanks, " "), None)  # type: ignore[no-any-return]  # Any
        return pc.coalesce(*blanks)  # type: ignore[no-any-return]  # likewise

    def read(self, text: pa.Array[Any], column: Column) -> Cast:
        """Values and faults of what ``text`` returned."""
        if self.column.cleaner is None:
            return cast(trimmed(text), column.type, self.timezone)
        layout = self.layout
        options = CleanOptions(
            region=layout.region, decimal_mark=layout.decimal_mark, timezone=self.timezone,
            day_first=layout.day_first if column.day_first is None else column.day_first,
            true=self.column.true, false=self.column.false,
        )  # fmt: skip
        return clean(text, self.column.cleaner, column.type, options)

    def unread(self, batch: pa.RecordBatch, column: Column) -> tuple[Fault, ...]:
        """Rows that have text in a part, but none in the header that it completes: it would be stored nowhere."""
        lost = [name for name in column.more if name not in self.stored] if self.column.parts else []
        if not lost:
            return ()
        some = functools.reduce(pc.or_, (_has_text(batch.column(name)) for name in lost))
        where = pc.and_not(some, _has_text(batch.column(column.source)))
        reason = f"text in {' or '.join(map(repr, lost))}, but none in {column.source!r}"
        escaped = reason.replace("{", "{{").replace("}", "}}")  # a reason is a format
        return (Fault(Code.NOT_A_DATE, escaped, where),) if where.true_count else ()


class ExtraColumn(NamedTuple):
    """Reads Extra: a JSON object of the text by header, without blanks; NULL if all of them are."""

    preferred: Mapping[str, Sequence[str]]
    """By header that a column coalesces: those before it. Its text is in Extra only where one of them has text."""
    column: LayoutColumn = LayoutColumn(name=EXTRA)

    def text(self, batch: pa.RecordBatch, column: Column) -> pa.Array[Any]:
        nothing: pa.Array[Any] = pa.nulls(batch.num_rows, pa.string())
        if not column.more:
            return nothing
        joined = _joined([_member(name, self._spare(batch, name)) for name in column.more], ", ")
        objects = pc.binary_join_element_wise("{", joined, "}", "")
        return pc.if_else(pc.equal(joined, ""), nothing, objects)  # type: ignore[no-any-return]  # Any

    def _spare(self, batch: pa.RecordBatch, header: str) -> pa.Array[Any]:
        """The text of *header* where no column stores it."""
        stored = [_has_text(batch.column(name)) for name in self.preferred.get(header, ())]
        if not stored:
            return batch.column(header)
        return pc.if_else(functools.reduce(pc.or_, stored), batch.column(header), pa.scalar(None, pa.string()))  # type: ignore[no-any-return]  # Any

    def read(self, text: pa.Array[Any], column: Column) -> Cast:
        return Cast(text, ())

    def unread(self, batch: pa.RecordBatch, column: Column) -> tuple[Fault, ...]:
        return ()


def cleaned_columns(feed: Feed, columns: Sequence[Column]) -> Mapping[str, CleanedColumn | ExtraColumn]:
    """What reads each of the *columns* of a feed with a layout, by name; empty for others."""
    if feed.layout is None:
        return {}
    stored = frozenset(column.source for column in columns)
    own = {column.name: CleanedColumn(column, feed.layout, feed.timezone, stored) for column in feed.layout.columns}
    preferred = {
        header: (column.source, *column.more[:number])
        for column in columns
        if column.name in own and own[column.name].column.several == "coalesce"
        for number, header in enumerate(column.more)
    }
    return {EXTRA: ExtraColumn(preferred), **own}


def _has_text(text: pa.Array[Any]) -> pa.Array[Any]:
    return pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(text), ""), False)  # type: ignore[no-any-return]  # Any


def _joined(texts: Sequence[pa.Array[Any]], separator: str) -> pa.Array[Any]:
    """The texts of each row that are not NULL, with *separator* between them; empty without any.

    Arrow's own null_handling="skip" loses the rows in which all are NULL (seen with 26.0).
    """
    led = [pc.binary_join_element_wise("", text, separator) for text in texts]
    joined = pc.binary_join_element_wise(*led, "", null_handling="replace", null_replacement="")
    return pc.utf8_slice_codeunits(joined, len(separator))  # type: ignore[no-any-return]  # Any


def _member(name: str, text: pa.Array[Any]) -> pa.Array[Any]:
    """One member of a JSON object for each text, NULL for a blank."""
    label = f"{json.dumps(name, ensure_ascii=False)}: "
    present = pc.if_else(pc.equal(pc.utf8_trim_whitespace(text), ""), pa.scalar(None, pa.string()), text)
    return pc.binary_join_element_wise(label, quoted(present), "")  # type: ignore[no-any-return]  # Any

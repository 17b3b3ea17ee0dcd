"""A file as blocks of whole records, in bounded memory, each with its place in the file."""

from __future__ import annotations

import re

from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple, TypeAlias

from shared.contract.codes import Code
from shared.sources.csv.dialect import Dialect
from shared.sources.csv.encoding import Utf8Stream
from shared.sources.csv.records import Split, split, without_totals

BLOCK = 1 * 2**20
"""Bytes read at once."""
MAX_RECORD = 32 * 2**20
"""A line longer than this is rejected, as is a record of several lines. One that is as long takes several times as
much memory."""
MAX_RAW = 2**20


class BadRecord(NamedTuple):
    """A record that could not be read. Reading went on at the next one."""

    line: int
    """Physical line, from 1."""
    offset: int
    """Where it begins, in bytes of the (unpacked) file."""
    code: Code
    reason: str
    raw: str
    """As the file has it, without its line end; bytes that are no text as ``\\xe9``. Cut after 1 MB, with a remark."""


class Bad(NamedTuple):
    """A part of a buffer that is no record."""

    start: int
    end: int
    code: Code
    reason: str


class Block(NamedTuple):
    """Part of a file as UTF-8, cut into records."""

    buffer: bytes
    split: Split
    line: int
    """Physical line of its first byte, from 1."""
    offset: int
    stream: Utf8Stream

    @property
    def size(self) -> int:
        """Bytes of the buffer that are its own."""
        return int(self.split.lines.starts[self.split.used])

    @property
    def records(self) -> int:
        """How many begin in it, whatever their width is."""
        return int(self.split.heads[: self.split.used].sum())

    @property
    def blank(self) -> int:
        """Lines without anything."""
        return int(self.split.lines.blank[: self.split.used].sum())

    def flawed(self) -> list[Bad]:
        """All records that were found to be malformed when the block was split."""
        starts = self.split.lines.starts.tolist() if self.split.flaws else []
        return [Bad(starts[one.line], starts[one.end_line], one.code, one.reason) for one in self.split.flaws]

    def reported(self, found: list[Bad]) -> list[BadRecord]:
        """Records of the buffer that cannot be read, in their order, with their places in the file."""
        ordered, records = sorted(found), list[BadRecord]()
        lines = self.split.lines.starts.searchsorted([one.start for one in ordered]).tolist()
        place, offset = 0, self.offset
        for one, line in zip(ordered, lines, strict=True):
            offset += self.stream.length(self.buffer[place : one.start])
            place = one.start
            text = _raw_text(self.buffer[one.start : one.end])
            records.append(BadRecord(self.line + line, offset, one.code, one.reason, text))
        return records


class Cut(NamedTuple):
    """Where a block ended in which every record was good, so that it need not be split again to be read again."""

    size: int
    """Bytes of UTF-8."""
    lines: int
    blank: int
    """Lines without anything."""


class Known(NamedTuple):
    """A block whose records are known to be good."""

    text: bytes
    cut: Cut


Piece: TypeAlias = Block | Known | BadRecord


class Blocks:
    """Reads *opened*, which stands at its beginning, from the first record of *dialect* on.

    *cuts* are of an earlier reading of the same bytes, one for each piece that it gave; None for one to be split.
    """

    def __init__(self, opened: BinaryIO, dialect: Dialect, cuts: Sequence[Cut | None] = ()) -> None:
        _skip(opened, dialect.data_offset)
        self._dialect = dialect
        self._stream = Utf8Stream(opened, dialect.encoding)
        self._line, self._offset = dialect.data_line, dialect.data_offset
        self._buffer, self._following = self._stream.read(BLOCK), self._stream.read(BLOCK)
        self._cuts = iter(cuts)

    def __iter__(self) -> Iterator[Piece]:
        cut = next(self._cuts, None)
        while self._buffer:
            piece = self._piece() if cut is None else self._known(cut)
            if piece is not None:
                yield piece
                cut = next(self._cuts, None)
            self._buffer += self._following
            self._following = self._stream.read(max(BLOCK, len(self._buffer)))

    def _piece(self) -> Piece | None:
        """None if it does not end in the buffer."""
        found, buffer, line, offset = self._split(), self._buffer, self._line, self._offset
        used = int(found.lines.starts[found.used])
        if used:
            self._drop(used, found.used)
            return Block(buffer, found, line, offset, self._stream)
        return self._endless_line() if len(buffer) >= MAX_RECORD else None

    def _known(self, cut: Cut) -> Known | None:
        if len(self._buffer) < cut.size:
            return None
        text = self._buffer[: cut.size]
        self._drop(cut.size, cut.lines)
        return Known(text, cut)

    def _split(self) -> Split:
        grammar, width, spare = self._dialect.grammar, len(self._dialect.names), self._dialect.spare
        ended = not self._following
        more = not ended and len(self._buffer) < MAX_RECORD
        found = split(self._buffer, grammar, width, spare=spare, ended=ended, more=more)
        return without_totals(found, self._buffer, grammar) if ended else found.without_last() if more else found

    def _drop(self, used: int, lines: int) -> None:
        self._offset += self._stream.length(self._buffer[:used])
        self._line += lines
        self._buffer = self._buffer[used:]

    def _endless_line(self) -> BadRecord:
        reason = f"the line is longer than {MAX_RECORD:,} bytes"
        bad = BadRecord(self._line, self._offset, Code.RECORD_TOO_LONG, reason, _raw_text(self._buffer))
        while (end := re.search(rb"\r\n|\n|\r(?!\Z)", self._buffer)) is None and self._following:
            self._drop(len(self._buffer), 0)
            self._buffer, self._following = self._following, self._stream.read(BLOCK)
        self._drop(end.end() if end else len(self._buffer), 1)
        return bad


def _skip(opened: BinaryIO, size: int) -> None:
    while size > 0 and (skipped := opened.read(min(size, BLOCK))):
        size -= len(skipped)


def _raw_text(raw: bytes) -> str:
    text = raw[:MAX_RAW].rstrip(b"\r\n").decode("utf-8", "backslashreplace")
    return f"{text} ... (cut after 1 MB of {len(raw):,} bytes)" if len(raw) > MAX_RAW else text

"""Where the records of a buffer begin, and which are malformed.

A record that cannot be read is rejected alone: reading goes on at the next line that is a record of the right width.
A quoted field that was never closed would otherwise swallow everything up to the next quote, or the whole file.
"""

from __future__ import annotations

import itertools
import re

from bisect import bisect_left
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from shared.contract.codes import Code
from shared.sources.csv.grammar import Grammar
from shared.sources.csv.lines import Lines, Positions, find_lines, suspects, whole_lines

_FAR = 50
"""How many lines to look ahead for a record that fits."""
_EVIDENCE = 4
"""How many delimiters in the right places make the lines within a quoted field records of their own."""

_FOOTERS = 3
"""How many rows at the end of a file may be totals."""
_TOTAL = re.compile(rb"(?i)(grand|sub|overall)?[ -]?(total|totals|sum)\s*:?")
_AMOUNT = re.compile(rb"[-+(]?\s*[^\w\s]{0,3}\s*[\d.,' ]+\s*[%)-]?\s*[^\w\s]{0,3}")


class Flaw(NamedTuple):
    """A record that cannot be read: from the beginning of one line to that of another, by their numbers."""

    line: int
    end_line: int
    code: Code
    reason: str


class Split(NamedTuple):
    """A buffer, cut into records."""

    lines: Lines
    heads: np.ndarray[Any, np.dtype[np.bool_]]
    """By line: whether a record that can be read begins there."""
    flaws: list[Flaw]
    used: int
    """How many lines are dealt with; the rest needs the bytes that follow."""

    def spans(self) -> list[tuple[int, int]]:
        """Start and end of each record in *heads*."""
        first = np.flatnonzero(self.heads[: self.used])
        begun = self._begun()
        following = np.searchsorted(begun, first, side="right")
        ends = np.append(begun, self.used)[following]
        return list(zip(self.lines.starts[first].tolist(), self.lines.starts[ends].tolist(), strict=True))

    def readable(self, buffer: bytes) -> bytes:
        """The lines of all records that can be read, one after the other."""
        starts, end = self.lines.starts, self.lines.starts[self.used]
        if not self.flaws:
            return buffer[:end]
        borders = [0, *(place for flaw in self.flaws for place in (flaw.line, flaw.end_line)), self.used]
        pairs = zip(borders[0::2], borders[1::2], strict=True)
        return b"".join(buffer[starts[first] : starts[last]] for first, last in pairs)

    def without_last(self) -> Split:
        """The same but for its last records, which may be the last of the file."""
        heads = np.flatnonzero(self.heads[: self.used])
        used = int(heads[-_FOOTERS]) if len(heads) > _FOOTERS else 0
        return self._replace(used=used, flaws=[flaw for flaw in self.flaws if flaw.line < used])

    def _begun(self) -> Positions:
        """Numbers of the lines at which anything begins: a record, a blank line or a flaw."""
        begun = self.heads | self.lines.blank
        begun[[flaw.line for flaw in self.flaws]] = True
        return np.flatnonzero(begun[: self.used])


def split(buffer: bytes, grammar: Grammar, width: int, *, spare: bool, ended: bool, more: bool) -> Split:
    """The records of *buffer*, of *width* fields (one more, empty, if *spare*).

    *ended*: the file ends with it. *more*: a record may be left for later, when there are more bytes.
    Lines that are well-formed are not counted here: a record in ``heads`` may still have the wrong number of fields.
    """
    whole = buffer if ended else buffer[: whole_lines(buffer)]
    return _Splitter(whole, grammar, width, spare=spare, more=more).split()


def without_totals(found: Split, buffer: bytes, grammar: Grammar) -> Split:
    """*found* of the end of a file, without rows of totals: each is a flaw instead."""
    lines = np.flatnonzero(found.heads[: found.used])[-_FOOTERS:]
    starts = found.lines.starts
    totals = [
        int(line)
        for line in lines
        if _is_total(grammar.fields(buffer[starts[line] : starts[line + 1]].rstrip(b"\r\n")))
    ]
    if not totals:
        return found
    heads = found.heads.copy()
    heads[totals] = False
    reason = "the row looks like a total of the rows before it"
    flaws = [Flaw(line, line + 1, Code.TOTAL_ROW, reason) for line in totals]
    return found._replace(heads=heads, flaws=sorted(found.flaws + flaws))


def _is_total(fields: list[bytes]) -> bool:
    filled = [field.strip() for field in fields if field.strip()]
    return len(filled) > 1 and bool(_TOTAL.fullmatch(filled[0])) and all(map(_AMOUNT.fullmatch, filled[1:]))


class _Splitter:
    def __init__(self, buffer: bytes, grammar: Grammar, width: int, *, spare: bool, more: bool) -> None:
        self._buffer = buffer
        self._grammar = grammar
        self._width = width
        self._fitting = [grammar.fitting(width + 1)] * spare + [grammar.fitting(width)]
        self._more = more
        self._lines = find_lines(buffer)
        self._starts: list[int] = self._lines.starts.tolist()
        self._count = len(self._lines.blank)
        self._barren = range(0)
        """Lines none of which is a record of the right width."""
        self._utf8 = is_utf8(buffer)

    def split(self) -> Split:
        heads, flaws = ~self._lines.blank, list[Flaw]()
        free = 0
        for line in self._suspects():
            if line < free or self._lines.blank[line]:
                continue
            end, flaw = self._examine(line)
            if end is None:
                return Split(self._lines, heads, flaws, line)
            heads[line + 1 : end] = self._lines.blank[line + 1 : end] = False
            if flaw is not None:
                heads[line] = False
                flaws.append(flaw)
            free = end
        return Split(self._lines, heads, flaws, self._count)

    def _suspects(self) -> list[int]:
        found = suspects(self._buffer, self._lines, self._grammar)
        return sorted({*found.tolist(), *self._not_utf8()})

    def _not_utf8(self) -> list[int]:
        if self._utf8:
            return []
        starts = self._lines.starts.tolist()
        return [
            line for line, (start, end) in enumerate(itertools.pairwise(starts)) if not is_utf8(self._buffer[start:end])
        ]

    def _examine(self, line: int) -> tuple[int | None, Flaw | None]:
        """The line after the record that begins at *line*, None if more bytes are needed; and what is wrong with it."""
        start = self._start(line)
        fits = self._fits(line)
        found = fits or self._grammar.record.match(self._buffer, start)
        if found is None:
            return self._malformed(line)
        end = self._line_at(found.end())
        if self._is_swallowed(line, end):
            return self._flawed(line, line + 1, Code.BAD_QUOTES, _swallowed(end - line))
        if not self._utf8 and not is_utf8(found[0]):
            return self._flawed(line, end, Code.BAD_ENCODING, "the record is not in the encoding of the file")
        if fits is None and end > line + 1:
            return self._too_wide(line, end)
        return end, None

    def _malformed(self, line: int) -> tuple[int | None, Flaw | None]:
        is_open = self._grammar.open_at_end.match(self._buffer, self._start(line))
        if is_open and self._more and not self._is_swallowed(line, self._count, least=2):
            return None, None
        resumed = self._resumed(line, self._count)
        if self._more and not self._fits(resumed) and self._count <= line + _FAR:
            return None, None
        reason = "a quote is never closed" if is_open else "a quote closes in the middle of a field"
        return self._flawed(line, resumed, Code.BAD_QUOTES, reason)

    def _too_wide(self, line: int, end: int) -> tuple[int | None, Flaw | None]:
        """A record of several lines with the wrong number of fields: one that was never closed, if a line fits."""
        resumed = self._resumed(line, end)
        if resumed < end and self._fits(resumed):
            return self._flawed(line, resumed, Code.BAD_QUOTES, "a quote is never closed")
        return end, None

    def _flawed(self, line: int, end: int, code: Code, reason: str) -> tuple[int, Flaw]:
        return end, Flaw(line, end, code, reason)

    def _resumed(self, line: int, limit: int) -> int:
        """The first line after *line* that is a record of the right width; the next one if there is none near."""
        end = min(limit, line + _FAR)
        first = self._barren.stop if line + 1 in self._barren else line + 1
        found = next((one for one in range(first, end) if self._fits(one)), None)
        self._barren = range(line + 1, max(first, end) if found is None else found)
        return line + 1 if found is None else found

    def _is_swallowed(self, line: int, end: int, least: int = 1) -> bool:
        """Whether all lines of a quoted field look like records: then its quote was not meant to open one."""
        if (end - line - 1) * (self._width - 1) < _EVIDENCE * least:
            return False
        last = min(end, line + _FAR) - 1
        if not all(map(self._is_record, range(line + 1, last))):
            return False
        if (last - line - 1) * (self._width - 1) >= 2 * _EVIDENCE:
            return True
        return self._delimiters(last) == self._width - 1 and self._is_opened_by_mistake(line)

    def _is_opened_by_mistake(self, line: int) -> bool:
        """Whether the line is a record if the quote that is still open at its end means nothing."""
        begun = self._grammar.closed_fields.match(self._buffer, self._start(line), self._start(line + 1))
        place = begun.end() if begun else self._start(line)
        before = len(self._grammar.fields(self._buffer[self._start(line) : place])) - 1
        rest = self._buffer[place : self._start(line + 1)]
        quotes = rest.count(self._grammar.quote or b"")
        return quotes == 1 and before + rest.count(self._grammar.delimiter) == self._width - 1

    def _is_record(self, line: int) -> bool:
        found = self._fits(line)
        return found is not None and found.end() == self._start(line + 1)

    def _delimiters(self, line: int) -> int:
        return self._buffer.count(self._grammar.delimiter, self._start(line), self._start(line + 1))

    def _fits(self, line: int) -> re.Match[bytes] | None:
        if line >= self._count:
            return None
        start = self._start(line)
        return next((found for one in self._fitting if (found := one.match(self._buffer, start))), None)

    def _start(self, line: int) -> int:
        return self._starts[line]

    def _line_at(self, place: int) -> int:
        return bisect_left(self._starts, place)


def is_utf8(text: bytes) -> bool:
    """Whether *text*, of any size below 2 GB, is valid. Arrow checks it several times faster than a decoder does."""
    if text.isascii():
        return True
    ends: Any = pa.array([0, len(text)], pa.int32()).buffers()[1]
    try:
        pa.StringArray.from_buffers(1, ends, pa.py_buffer(text)).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _swallowed(lines: int) -> str:
    return f"a quote opens a field that would take up {lines} lines, each of which looks like a record"

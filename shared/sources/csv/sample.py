"""The first records of a file, as one grammar reads them."""

from __future__ import annotations

import re

from typing import NamedTuple

from shared.sources.csv.grammar import Grammar

_LINE_END = re.compile(rb"\r\n|\n|\r")
_PATIENCE = 50
"""Lines after which a quoted field that is still open at the end of a sample was opened by mistake."""


class Record(NamedTuple):
    line: int
    """Physical line, from 1."""
    start: int
    end: int
    cells: tuple[str, ...] | None
    """None: malformed."""
    raw: bytes


def sample_records(text: bytes, grammar: Grammar, limit: int, *, whole: bool) -> list[Record]:
    """The first records of *text* that are not blank. Unless it is the *whole* file, the last one may be left out."""
    records: list[Record] = []
    place, line = 0, 1
    while place < len(text) and len(records) < limit:
        end, is_good = _end(text, place, grammar, whole=whole)
        if end is None:
            break
        raw = text[place:end]
        if raw.strip(b" \t\r\n"):
            records.append(Record(line, place, end, _cells(raw, grammar) if is_good else None, raw))
        line += len(_LINE_END.findall(raw))
        place = end
    return records


def _end(text: bytes, place: int, grammar: Grammar, *, whole: bool) -> tuple[int | None, bool]:
    """Where the record at *place* ends, None if the sample ends before; and whether it is well-formed."""
    found = grammar.record.match(text, place)
    if found is not None:
        is_complete = whole or found[0].endswith((b"\n", b"\r"))
        return (found.end() if is_complete else None), True
    is_open = not whole and grammar.open_at_end.match(text, place)
    if is_open and len(_LINE_END.findall(text, place)) < _PATIENCE:
        return None, False
    line_end = _LINE_END.search(text, place)
    return (line_end.end() if line_end else len(text)), False


def _cells(raw: bytes, grammar: Grammar) -> tuple[str, ...]:
    content = raw.removesuffix(b"\n").removesuffix(b"\r")
    return tuple(field.decode("utf-8", "backslashreplace") for field in grammar.fields(content))


def line_ends(text: bytes) -> int:
    """How many lines of *text* are ended."""
    return len(_LINE_END.findall(text))

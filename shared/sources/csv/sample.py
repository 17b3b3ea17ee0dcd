"""The first records of a file, as one grammar reads them."""

from __future__ import annotations

import re

from typing import NamedTuple

from shared.sources.csv.grammar import Grammar

_LINE_END = re.compile(rb"\r\n|\n|\r")
_FOLLOWING = 10
"""Lines that show what a field is which is still open at the end of a sample."""


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
        found = grammar.record.match(text, place)
        if not whole and (_is_cut(found) if found else _goes_on(text, place, grammar, records)):
            break
        end = found.end() if found else _line_end(text, place)
        raw = text[place:end]
        if raw.strip(b" \t\r\n"):
            records.append(Record(line, place, end, _cells(raw, grammar) if found else None, raw))
        line += line_ends(raw)
        place = end
    return records


def _is_cut(found: re.Match[bytes]) -> bool:
    return not found[0].endswith((b"\n", b"\r"))


def _goes_on(text: bytes, place: int, grammar: Grammar, before: list[Record]) -> bool:
    """Whether a field is open at the end of the sample, and not by mistake: its lines do not look like records."""
    if not grammar.open_at_end.match(text, place):
        return False
    widths = [len(one.cells) for one in before if one.cells is not None]
    following = text[_line_end(text, place) :].split(b"\n", _FOLLOWING)[:_FOLLOWING]
    if not widths or len(following) < 2:
        return line_ends(text[place:]) < _FOLLOWING
    alike = sum(1 for one in following if one.count(grammar.delimiter) == widths[-1] - 1)
    return 2 * alike < len(following)


def _line_end(text: bytes, place: int) -> int:
    found = _LINE_END.search(text, place)
    return found.end() if found else len(text)


def _cells(raw: bytes, grammar: Grammar) -> tuple[str, ...]:
    content = raw.removesuffix(b"\n").removesuffix(b"\r")
    return tuple(field.decode("utf-8", "backslashreplace") for field in grammar.fields(content))


def line_ends(text: bytes) -> int:
    """How many lines of *text* are ended."""
    return len(_LINE_END.findall(text))

"""Which delimiter, quote and escape character a file uses: the ones that make most records equally wide."""

from __future__ import annotations

import itertools
import re

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from shared.sources.csv.grammar import Grammar
from shared.sources.csv.sample import Record, sample_records

_COMMON = (",", ";", "\t", "|")
_RARE = ("\x1f", "\x01", "^", "~", "§", "¦", " ")
"""Tried if no common one fits; a blank last, since it is in every text."""
_POOR = 0.6
"""A score below which a rare delimiter may be the right one ..."""
_GOOD = 0.9
"""... if this share of the records has the same width, at least 3."""
_STRAY = 2
"""How many records with quotes within unquoted fields show that the file is written so. One may be a mistake."""
_TABLE = 3
"""How many records of one width, one after the other, may be a table of their own."""
_RECORDS = 300
_TITLES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "blank"}


class Shape(NamedTuple):
    grammar: Grammar
    width: int
    """How many fields most records have."""
    notes: tuple[str, ...]


class _Tried(NamedTuple):
    grammar: Grammar
    width: int
    fits: int
    """How many records have this width ..."""
    share: float
    """... and which share of them."""
    score: float


def find_shape(text: bytes, *, delimiter: str | None, quote: str | None, escape: str | None, whole: bool) -> Shape:
    """How *text*, UTF-8 from the beginning of a file, is written. What is given is not questioned."""
    candidates = [delimiter] if delimiter is not None else [one for one in _COMMON if one.encode() in text]
    tried = [_best_of(text, one, quote, escape, whole=whole) for one in candidates]
    best = max(tried, key=lambda one: one.score, default=None)
    if delimiter is None and (best is None or best.score < _POOR):
        best = _rare(text, quote, escape, whole=whole) or best
    if best is None or (best.width == 1 and delimiter is None):
        best = _best_of(text, ",", quote, escape, whole=whole)
    best = _with_stray_quotes(text, best, whole=whole) if escape is None else best
    return Shape(best.grammar, best.width, tuple(_notes(best, delimiter, quote)))


def _rare(text: bytes, quote: str | None, escape: str | None, *, whole: bool) -> _Tried | None:
    candidates = [one for one in _RARE if one.encode() in text]
    tried = [_best_of(text, one, quote, escape, whole=whole) for one in candidates]
    good = [one for one in tried if one.share >= _GOOD and one.width >= 3]
    return max(good, key=lambda one: one.score, default=None)


def _best_of(text: bytes, delimiter: str, quote: str | None, escape: str | None, *, whole: bool) -> _Tried:
    tried = [_try(text, grammar, whole=whole) for grammar in _grammars(text, delimiter.encode(), quote, escape)]
    return max(tried, key=lambda one: one.score)


def _grammars(text: bytes, delimiter: bytes, quote: str | None, escape: str | None) -> Iterator[Grammar]:
    """Those that *text* gives reason to try; of two that fit equally well the first is taken."""
    for mark in _quotes(text, delimiter, quote):
        given = [escape.encode()] if escape else [None]
        possible = [b"\\", None] if escape is None and mark is not None and b"\\" + mark in text else given
        for one in possible:
            plain = Grammar(delimiter, mark, one)
            padded = [replace(plain, padded=True)] if delimiter != b" " and delimiter + b" " in text else []
            yield from [*padded, plain] if _is_padded(text, delimiter) else [plain, *padded]


def _quotes(text: bytes, delimiter: bytes, given: str | None) -> list[bytes | None]:
    if given is not None:
        return [given.encode() or None]
    double, single = _wrapped(text, delimiter, b'"'), _wrapped(text, delimiter, b"'")
    if single < 2:
        return [b'"']
    return [b'"', b"'"] if double else [b"'", b'"']


def _wrapped(text: bytes, delimiter: bytes, quote: bytes) -> int:
    """How many fields are within such quotes, roughly."""
    mark = re.escape(delimiter)
    return len(re.findall(rb"(?m)(?:^|%s) ?%s[^%s\r\n]+%s(?=%s|\r|$)" % (mark, quote, quote, quote, mark), text))


def _is_padded(text: bytes, delimiter: bytes) -> bool:
    """Whether a blank follows nearly every delimiter."""
    count = text.count(delimiter)
    return count > 1 and text.count(delimiter + b" ") >= 0.95 * count


def _try(text: bytes, grammar: Grammar, *, whole: bool) -> _Tried:
    records = sample_records(text, grammar, _RECORDS, whole=whole)
    widths = [len(one.cells) if one.cells is not None else 0 for one in records]
    if not any(widths):
        return _Tried(grammar, 1, 0, 0, 0)
    width = _common_width(widths)
    fits = widths.count(width)
    share = fits / len(records)
    return _Tried(grammar, width, fits, share, share * (1 - 1 / width) * _tidiness(records, width, grammar))


def _common_width(widths: Sequence[int]) -> int:
    """The width of most records, of which a field in common proves little; of tables one below the other the first."""
    counts = Counter(width for width in widths if width)
    most = max(counts, key=lambda one: counts[one] * (1 - 1 / one) or counts[one] * 1e-9)
    for width, run in itertools.groupby(widths):
        if width > 1 and 2 * counts[width] >= counts[most] and len(list(run)) >= _TABLE:
            return width
    return most


def _tidiness(records: Sequence[Record], width: int, grammar: Grammar) -> float:
    """The share of cells without a character that delimits other files: ``5;2`` is two numbers more likely than one."""
    others = re.compile("[{}]".format("".join(one for one in ";\t|" if one.encode() != grammar.delimiter)))
    cells = [cell for one in records if one.cells and len(one.cells) == width for cell in one.cells if cell]
    odd = sum(1 for cell in cells if others.search(cell) and " " not in cell)
    return 1 - odd / len(cells) if cells else 1


def _with_stray_quotes(text: bytes, best: _Tried, *, whole: bool) -> _Tried:
    """*best*, or its grammar with quotes as text, if the file escapes no quote and more records fit then."""
    quote = best.grammar.quote
    if best.share == 1 or quote is None:
        return best
    mark = re.escape(best.grammar.delimiter)
    if re.search(rb"[^%s\r\n%s]%s%s[^%s\r\n]" % (mark, quote, quote, quote, mark), text):
        return best
    loose = _try(text, replace(best.grammar, loose=True), whole=whole)
    bare = _try(text, replace(best.grammar, bare=True, escape=None), whole=whole)
    fitter = max(loose, bare, key=lambda one: one.fits)
    least = _STRAY if fitter is loose and _wrapped(text, best.grammar.delimiter, quote) else 1
    return fitter if fitter.width == best.width and fitter.fits >= best.fits + least else best


def _notes(best: _Tried, delimiter: str | None, quote: str | None) -> Iterator[str]:
    grammar = best.grammar
    mark = grammar.delimiter.decode()
    title = _TITLES.get(mark, repr(mark))
    if best.width == 1 and delimiter is None:
        yield "No delimiter was found: the file has one column."
    else:
        yield f"Fields are separated by {title}{' and a blank' if grammar.padded else ''}."
    if grammar.quote == b"'" and quote is None:
        yield "Fields are quoted with apostrophes."
    if grammar.escape is not None:
        yield f"Characters are escaped with {grammar.escape.decode()}."
    if grammar.loose:
        yield "Quotes within fields that are not quoted are text."
    if grammar.bare:
        yield "Quotes within quoted fields are not escaped: a field ends at a quote before a delimiter or a line's end."

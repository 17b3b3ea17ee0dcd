"""The lines of a buffer, and those that need a closer look: found with whole-array operations, not line by line."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from shared.sources.csv.grammar import Grammar

Positions: TypeAlias = np.ndarray[Any, np.dtype[np.intp]]

_LF, _CR = 10, 13


class Lines(NamedTuple):
    """Lines of a buffer: ``starts[i]`` to ``starts[i + 1]``, with the line end; the last of *starts* is its length."""

    starts: Positions
    blank: np.ndarray[Any, np.dtype[np.bool_]]
    """By line: whether it is empty."""


def whole_lines(buffer: bytes) -> int:
    """How much of *buffer* is whole lines for certain: a CR at its very end may be followed by an LF."""
    return buffer.rfind(b"\n") + 1 or buffer.rfind(b"\r", 0, len(buffer) - 1) + 1


def find_lines(buffer: bytes) -> Lines:
    """Lines end with LF, CRLF or a lone CR, mixed as they like. The last may have no end."""
    array = np.frombuffer(buffer, np.uint8)
    ends = np.flatnonzero(array == _LF)
    if b"\r" in buffer:
        ends = _with_lone_returns(array, ends)
    unfinished = len(buffer) > 0 and (not len(ends) or ends[-1] != len(buffer) - 1)
    starts = np.concatenate(([0], ends + 1, [len(buffer)] if unfinished else [])).astype(np.intp)
    return Lines(starts, _blank(array, starts))


def _with_lone_returns(array: Any, ends: Positions) -> Positions:
    returns = np.flatnonzero(array == _CR)
    following = array[np.minimum(returns + 1, len(array) - 1)]
    lone = returns[(following != _LF) | (returns == len(array) - 1)]
    return np.sort(np.concatenate((ends, lone))) if len(lone) else ends


def _blank(array: Any, starts: Positions) -> Any:
    lengths = np.diff(starts)
    first = array[starts[:-1]] if len(lengths) else array[:0]
    return ((first == _LF) | (first == _CR)) & (lengths <= 2)


def suspects(buffer: bytes, lines: Lines, grammar: Grammar) -> Positions:
    """Numbers of the lines that may not be one record each: not well-formed alone, or with an escape character.

    Every other line is well-formed if it begins a record. It may still have the wrong number of fields.
    """
    quote = grammar.quote
    if not grammar.plain:
        return np.arange(len(lines.blank))
    found = [_with_byte(buffer, lines, grammar.escape)] if grammar.escape else []
    if quote is not None and quote in buffer:
        found.append(_badly_quoted(buffer, lines, quote[0], grammar.delimiter[0]))
    return np.unique(np.concatenate(found)) if found else lines.starts[:0]


def _with_byte(buffer: bytes, lines: Lines, byte: bytes) -> Positions:
    return _lines_of(np.flatnonzero(np.frombuffer(buffer, np.uint8) == byte[0]), lines)


def _lines_of(places: Positions, lines: Lines) -> Positions:
    return np.unique(np.searchsorted(lines.starts, places, side="right") - 1)


def _badly_quoted(buffer: bytes, lines: Lines, quote: int, delimiter: int) -> Positions:
    """Lines with an odd number of quotes, or with one that neither opens nor closes a field nor is doubled."""
    array = np.frombuffer(buffer, np.uint8)
    quotes = np.flatnonzero(array == quote)
    before = np.searchsorted(quotes, lines.starts)
    odd = np.flatnonzero(np.diff(before) & 1)
    opening, closing = _by_turns(quotes, before) if len(odd) else (quotes[0::2], quotes[1::2])
    beside = np.zeros(256, np.bool_)
    beside[[quote, delimiter, _LF, _CR]] = True
    preceded = beside[array[opening - 1]] | (opening == 0)
    followed = beside[array[np.minimum(closing + 1, len(array) - 1)]]
    wrong = np.concatenate((opening[~preceded], closing[~followed]))
    return np.union1d(odd, _lines_of(wrong, lines)) if len(wrong) else odd


def _by_turns(quotes: Positions, before: Positions) -> tuple[Positions, Positions]:
    """The quotes of each line that would open a field, and those that would close one, counted from its start."""
    turn = (np.arange(len(quotes)) - np.repeat(before[:-1], np.diff(before))) & 1
    return quotes[turn == 0], quotes[turn == 1]

"""Texts of fixed forms, such as 0000-00-00 or (000) 000-0000, told apart and taken apart many at once. Pure.

In a form every 0 stands for a digit and everything else for itself. It costs a tenth of a regular expression that means
the same, and takes most of what people and programs write; what has no such form is left to the expressions.
"""

from __future__ import annotations

import re

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from shared.arrow import pc

Integers: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
Bytes: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"

_ZERO = ord("0")
_RUN = re.compile("0+")


class Formed(NamedTuple):
    """The texts that have one of the forms."""

    form: str
    rows: Integers
    """Their places, in order."""
    digits: Bytes
    """The value of each digit: an array for each character of the form, with an item for each text."""

    @property
    def numbers(self) -> list[Integers]:
        """What each group of digits means, from left to right."""
        return [self._number(run.start(), run.end()) for run in _RUN.finditer(self.form)]

    @property
    def leading(self) -> Bytes:
        """The first digit."""
        return self.digits[self.form.index("0")]  # type: ignore[no-any-return]  # one of several arrays

    def written(self, form: str) -> pa.Array[Any]:
        """The same digits in another form."""
        columns = np.empty((len(form), len(self.rows)), np.uint8)
        digits = iter([place for place, char in enumerate(self.form) if char == "0"])
        for place, char in enumerate(form):
            columns[place] = self.digits[next(digits)] + _ZERO if char == "0" else ord(char)
        ends: Any = pa.array(np.arange(0, columns.size + 1, len(form)), pa.int32())
        data = pa.py_buffer(columns.T.tobytes())
        return pa.StringArray.from_buffers(len(self.rows), ends.buffers()[1], data)

    def taken(self, keep: Any) -> Formed:
        """Only those texts for which *keep* is true."""
        return self if keep.all() else self._replace(rows=self.rows[keep], digits=self.digits[:, keep])

    def _number(self, start: int, end: int) -> Integers:
        total: Integers = self.digits[start].astype(np.int64)
        for place in range(start + 1, end):
            total = total * 10 + self.digits[place]
        return total


class Forms:
    """Forms to be looked for. None is matched by a text that matches another one."""

    def __init__(self, forms: Sequence[str]) -> None:
        self._forms = tuple(forms)

    @cached_property
    def _by_length(self) -> dict[int, list[str]]:
        return {
            size: [form for form in self._forms if len(form) == size] for size in sorted(set(map(len, self._forms)))
        }

    def found(self, texts: pa.Array[Any]) -> Iterator[Formed]:
        """The *texts* (pa.string()) of each form; forms that no text has are left out, as are NULLs."""
        starts, lengths, data = _layout(texts)
        for size, forms in self._by_length.items():
            rows = np.flatnonzero(lengths == size)
            if not len(rows):
                continue
            columns = _columns(data, starts[rows], size)
            digits = columns - np.uint8(_ZERO)  # below 10 for a digit alone, as it wraps around
            for form in forms:
                same = _same(form, columns, digits)
                if same.any():
                    yield Formed(form, rows, digits).taken(same)


def written(texts: pa.Array[Any], formed: Sequence[tuple[Formed, str]]) -> pa.Array[Any]:
    """*texts* with those that were found in another form."""
    if not formed:
        return texts
    rows = np.concatenate([one.rows for one, _ in formed])
    new = pa.concat_arrays([one.written(form) for one, form in formed])
    in_order = pc.take(new, pa.array(np.argsort(rows)))
    return pc.replace_with_mask(texts, mask_of(len(texts), rows), in_order)  # type: ignore[no-any-return]  # Any


def mask_of(size: int, rows: Integers) -> pa.BooleanArray:
    """True at the places *rows*."""
    mask = np.zeros(size, np.bool_)
    mask[rows] = True
    return pa.array(mask)


def rest_of(size: int, found: Sequence[Formed]) -> Integers:
    """The places of *size* texts that none of *found* takes."""
    free = np.ones(size, np.bool_)
    for one in found:
        free[one.rows] = False
    return np.flatnonzero(free)


def _layout(texts: pa.Array[Any]) -> tuple[Any, Any, Bytes]:
    """Where each text begins, its length in bytes (-1 for NULL), and the bytes of all."""
    _, ends, data = texts.buffers()
    count = len(texts)
    if not count or ends is None or data is None:
        return np.zeros(count, np.int64), np.full(count, -1), np.zeros(0, np.uint8)
    borders = np.frombuffer(memoryview(ends), np.int32)[texts.offset : texts.offset + count + 1]
    lengths = np.diff(borders)
    if texts.null_count:
        lengths[texts.is_null().to_numpy(zero_copy_only=False)] = -1
    return borders[:-1], lengths, np.frombuffer(memoryview(data), np.uint8)


def _columns(data: Bytes, starts: Any, size: int) -> Bytes:
    """The first, the second ... byte of each text, an array for each."""
    at_each: Any = np.ndarray((len(data) - size + 1,), f"V{size}", buffer=data, strides=(1,))
    return np.ascontiguousarray(at_each[starts].view(np.uint8).reshape(-1, size).T)


def _same(form: str, columns: Bytes, digits: Bytes) -> Any:
    same = np.ones(columns.shape[1], np.bool_)
    # What is no digit comes first: it tells most forms apart.
    for place in sorted(range(len(form)), key=lambda place: form[place] == "0"):
        same &= digits[place] < 10 if form[place] == "0" else columns[place] == ord(form[place])
        if not same.any():
            break
    return same

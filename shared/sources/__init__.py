"""Where data comes from. One module per kind of source; none knows another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from shared.model import Slice, Unit

if TYPE_CHECKING:
    import pyarrow as pa


PULLED = ("sql",)
"""Kinds of sources that are asked for spans of cursor values; the others bring files."""


class Described(NamedTuple):
    """What a source says of a unit before reading it."""

    schemas: Mapping[str, pa.Schema]
    """By file name (or whatever the source reads), as Arrow types; never empty."""
    slices: Sequence[Slice]
    faulty: Mapping[str, str]
    """Part files that cannot be read at all, with what is wrong. The others go on without them."""


class Source(Protocol):
    """Reads units of work. Reading the same slice twice gives the same rows in the same order."""

    def describe(self, unit: Unit) -> Described:
        """Columns and slices of *unit*. DataError if nothing of it can be read."""
        ...

    def read(self, part: Slice) -> Iterator[pa.RecordBatch]:
        """The rows of one slice in file order, batch by batch. DataError or ConflictError, also half-way."""
        ...


class Ceiling(NamedTuple):
    """How far up a window reads."""

    value: str
    """Cursor text."""
    more: bool
    """Whether the source has rows beyond it already."""


class PullSource(Source, Protocol):
    """A source asked for a span of cursor values instead of files."""

    def ceiling(self, after: str | None) -> Ceiling | None:
        """How far up to read when everything up to the cursor text *after* is known; None: there is nothing to read.

        Above *after* if there are rows above it, but not many more of them than one run should take: rows with the
        same cursor go together. The highest cursor there is otherwise.
        """
        ...

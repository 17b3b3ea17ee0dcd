"""How a file is written: found out from its beginning, or as declared."""

from __future__ import annotations

import io

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO, NamedTuple

from shared.errors import ConfigError, DataError
from shared.sources.csv.encoding import (
    Encoding,
    Utf8Stream,
    find_encoding,
    read_fully,
    refuse_control_characters,
    refuse_what_is_no_text,
)
from shared.sources.csv.grammar import Grammar
from shared.sources.csv.header import Head, find_head
from shared.sources.csv.sample import Record, line_ends, sample_records
from shared.sources.csv.shape import Shape, find_shape

SAMPLE = 2**20
"""Bytes that are looked at, at most ..."""
ASCII_SAMPLE = 32 * 2**20
"""... but for the encoding, as long as nothing shows which one it is."""
_RECORDS = 300
"""How many records of the sample show where the header is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What an operator or the catalog declares of a file. None: it is found out."""

    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    """A character; the empty text for files in which quotes mean nothing."""
    escape: str | None = None
    header: bool | None = None
    """False: the file has no header row."""
    names: tuple[str, ...] = ()
    """The columns of a file without a header row."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """All that reading a file needs to know of it, as values that JSON carries."""

    encoding: str
    """A codec of Python's, without a byte order mark."""
    delimiter: str
    quote: str | None
    escape: str | None
    padded: bool = False
    """Blanks after a delimiter belong to it."""
    loose: bool = False
    """A field that is not quoted may have quotes in it."""
    bare: bool = False
    """So may a quoted field, unescaped."""
    spare: bool = False
    """Records end with a delimiter that no name stands for."""
    names: tuple[str, ...]
    """Of all columns, unique whatever their case, none empty. () for an empty file."""
    header: tuple[str, ...]
    """As the file spells it, without blanks around; () if there is none."""
    data_offset: int
    """Where the first record begins, in bytes of the (unpacked) file ..."""
    data_line: int
    """... and its physical line, from 1."""
    notes: tuple[str, ...]
    """What was found, guessed and skipped, in sentences for people."""
    above: int = 0
    """How many rows above the first record are neither the header nor blank: titles, a second header row."""

    @cached_property
    def grammar(self) -> Grammar:
        quote = self.quote.encode() if self.quote else None
        escape = self.escape.encode() if self.escape else None
        return Grammar(self.delimiter.encode(), quote, escape, padded=self.padded, loose=self.loose, bare=self.bare)


_AS_GIVEN = Given()


def detect(opened: BinaryIO, given: Given = _AS_GIVEN, *, known: Collection[str] = ()) -> Dialect:
    """How the file is written. *opened* stands at its beginning, need not be seekable, and is read only in part.

    *known*: headers that the catalog knows, normalized; they help to find the header row. An empty file has no columns,
    and a note that says so. DataError if it is no text, ConfigError if what is given cannot be.
    """
    _check(given)
    sample = read_fully(opened, SAMPLE)
    refuse_what_is_no_text(sample)
    whole = len(sample) < SAMPLE
    encoding = _encoding(opened, sample, given.encoding, whole=whole)
    text = _text(sample, encoding)
    refuse_control_characters(text)
    shape = find_shape(text, delimiter=given.delimiter, quote=given.quote, escape=given.escape, whole=whole)
    records = sample_records(text, shape.grammar, _RECORDS, whole=whole)
    if not records and text.strip():
        raise DataError(
            f"the first record does not end within {SAMPLE:,} bytes",
            fix="Check that the file is CSV and that a quote in its first line is closed",
        )
    if not records:
        return _empty(encoding, shape.grammar)
    head = find_head(
        records,
        shape.width,
        shape.grammar.delimiter.decode(),
        header=given.header,
        names=given.names,
        known=known,
    )
    return _dialect(encoding, shape, head, _start(records, head.records_before, text, encoding))


def _check(given: Given) -> None:
    for name, value in (("quote", given.quote), ("escape", given.escape)):
        if value and len(value) > 1:
            raise ConfigError(f"the {name} character is {value!r}", fix="Give one character")
    if given.delimiter is not None and (not given.delimiter or set(given.delimiter) & set('\r\n"')):
        raise ConfigError(f"the delimiter is {given.delimiter!r}", fix="Give one such as , or ; or a tab")


def _encoding(opened: BinaryIO, sample: bytes, given: str | None, *, whole: bool) -> Encoding:
    """Looks further while all is ASCII: the first accent may be far down."""
    found = find_encoding(sample, given, whole=whole)
    seen = len(sample)
    while given is None and not whole and sample.isascii() and found.mark == 0 and seen < ASCII_SAMPLE:
        sample = read_fully(opened, SAMPLE)
        whole, seen = len(sample) < SAMPLE, seen + len(sample)
        found = find_encoding(sample, None, whole=whole) if sample else found
    return found


def _text(sample: bytes, encoding: Encoding) -> bytes:
    stream = Utf8Stream(io.BytesIO(sample[encoding.mark :]), encoding.name)
    return b"".join(iter(lambda: stream.read(SAMPLE), b""))


class _Start(NamedTuple):
    line: int
    offset: int


def _start(records: Sequence[Record], before: int, text: bytes, encoding: Encoding) -> _Start:
    """Where the first record of data may begin: after the header, if there is one."""
    if not before:
        return _Start(1, encoding.mark)
    header = records[before - 1]
    length = Utf8Stream(io.BytesIO(), encoding.name).length(text[: header.end])
    return _Start(header.line + line_ends(header.raw), encoding.mark + length)


def _dialect(encoding: Encoding, shape: Shape, head: Head, start: _Start) -> Dialect:
    grammar = shape.grammar
    return Dialect(
        encoding=encoding.name,
        delimiter=grammar.delimiter.decode(),
        quote=grammar.quote.decode() if grammar.quote else None,
        escape=grammar.escape.decode() if grammar.escape else None,
        padded=grammar.padded,
        loose=grammar.loose,
        bare=grammar.bare,
        spare=head.spare,
        names=head.names,
        header=head.header,
        data_offset=start.offset,
        data_line=start.line,
        notes=(f"The encoding is {encoding.note}.", *shape.notes, *head.notes),
        above=head.records_before - bool(head.header),
    )


def _empty(encoding: Encoding, grammar: Grammar) -> Dialect:
    head = Head((), (), False, 0, ("The file is empty.",))
    return _dialect(encoding, Shape(grammar, 0, ()), head, _Start(1, encoding.mark))

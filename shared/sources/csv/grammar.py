"""How the bytes of a file split into records and fields, given its delimiter, quote and escape character."""

from __future__ import annotations

import re

from dataclasses import dataclass
from functools import cached_property

_END = rb"(?:\r\n|\n|\r|\Z)"


@dataclass(frozen=True)
class Grammar:
    """Works on UTF-8. Nothing here decides what a malformed record means; it only does not match.

    Patterns take time in proportion to their bytes, whatever these are: a record matches in one way only, so every
    attempt to match it in another fails at its first byte. Only single characters repeat possessively: Python before
    3.11.5 gets possessive groups wrong (gh-106052).
    """

    delimiter: bytes
    quote: bytes | None
    escape: bytes | None = None
    padded: bool = False
    """Blanks after a delimiter belong to it."""
    loose: bool = False
    """A field that is not quoted may have quotes in it."""
    bare: bool = False
    """So may a quoted field, unescaped: it ends at a quote before a delimiter or a line's end."""

    @property
    def plain(self) -> bool:
        """Whether Arrow's reader knows such files."""
        return len(self.delimiter) == 1 and self.delimiter.isascii() and not self.padded and not self.bare

    @cached_property
    def record(self) -> re.Pattern[bytes]:
        """One record of any width, with its line end."""
        return self._compiled(rb"%s(?:%s%s)*%s" % (self._field, self._separator, self._field, _END))

    def fitting(self, width: int) -> re.Pattern[bytes]:
        """One record of *width* fields, with its line end."""
        return self._compiled(rb"%s(?:%s%s){%d}%s" % (self._field, self._separator, self._field, width - 1, _END))

    @cached_property
    def closed_fields(self) -> re.Pattern[bytes]:
        """The fields of a record, with a delimiter after each, that come before the last or before one never closed."""
        return self._compiled(rb"(?:%s%s)*" % (self._field, self._separator))

    @cached_property
    def open_at_end(self) -> re.Pattern[bytes]:
        """A record whose last field is quoted and goes on after the end of the buffer."""
        if self.quote is None or self.bare:
            return re.compile(rb"(?!)")
        return self._compiled(rb"(?:%s%s)*%s\Z" % (self._field, self._separator, self._inside))

    def fields(self, record: bytes) -> list[bytes]:
        """The values of a record that matched, without its line end.

        >>> Grammar(b",", b'"').fields(b'a,"b ""c"", d",')
        [b'a', b'b "c", d', b'']
        """
        found = self._fields.findall(self.delimiter + record)
        return [self._unquoted(quoted) if quoted else self._unescaped(plain) for quoted, plain in found]

    @cached_property
    def _fields(self) -> re.Pattern[bytes]:
        if self.quote is None:
            return self._compiled(rb"%s((?!))?(%s)" % (self._separator, self._plain))
        return self._compiled(rb"%s(?:(%s)|(%s))" % (self._separator, self._quoted, self._plain))

    def _unquoted(self, quoted: bytes) -> bytes:
        quote = self.quote or b""
        inner = quoted[1:-1]
        if self.escape is not None and self.escape in inner:
            pattern = rb"(?s)%s(.)|%s(%s)" % (re.escape(self.escape), re.escape(quote), re.escape(quote))
            return re.sub(pattern, rb"\1\2", inner)
        return inner.replace(quote * 2, quote)

    def _unescaped(self, plain: bytes) -> bytes:
        if self.escape is not None and self.escape in plain:
            return re.sub(rb"(?s)%s(.)" % re.escape(self.escape), rb"\1", plain)
        return plain

    @property
    def _separator(self) -> bytes:
        return re.escape(self.delimiter) + (rb" *+" if self.padded else b"")

    @property
    def _field(self) -> bytes:
        if self.quote is None:
            return self._plain
        return rb"(?:%s|(?!%s)%s)" % (self._quoted, re.escape(self.quote), self._plain)

    @property
    def _plain(self) -> bytes:
        escape = re.escape(self.escape) if self.escape is not None else b""
        special = escape if self.quote is None or self.loose or self.bare else escape + re.escape(self.quote)
        first = re.escape(self.delimiter[:1])
        stops = [rb"%s." % escape] if escape else []
        if len(self.delimiter) > 1:
            stops.append(rb"(?!%s)%s" % (re.escape(self.delimiter), first))
        return _unrolled(rb"[^%s\r\n%s]" % (first, special), rb"|".join(stops))

    @property
    def _quoted(self) -> bytes:
        quote = re.escape(self.quote or b"")
        if self.bare:
            end = rb"%s(?=%s|[\r\n]|\Z)" % (quote, re.escape(self.delimiter))
            return quote + _unrolled(rb"[^%s\r\n]" % quote, rb"(?!%s)%s" % (end, quote)) + quote
        return self._inside + quote

    @property
    def _inside(self) -> bytes:
        """A quoted field up to its closing quote."""
        quote = re.escape(self.quote or b"")
        if self.escape is None:
            return quote + _unrolled(rb"[^%s]" % quote, quote * 2)
        escape = re.escape(self.escape)
        return quote + _unrolled(rb"[^%s%s]" % (quote, escape), rb"(?!%s(?!%s))[%s%s]." % (quote, quote, quote, escape))

    @staticmethod
    def _compiled(pattern: bytes) -> re.Pattern[bytes]:
        return re.compile(pattern, re.DOTALL)


def _unrolled(char: bytes, other: bytes) -> bytes:
    """Any number of *char* and *other*, which begins with none of them."""
    return rb"%s*+(?:(?:%s)%s*+)*" % (char, other, char) if other else rb"%s*+" % char

"""The characters of a file: which encoding it is in, and the same text as UTF-8."""

from __future__ import annotations

import codecs
import re

from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from charset_normalizer import from_bytes

from shared.errors import ConfigError, DataError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NOT_TEXT = (
    (b"PK\x03\x04", "a zip archive or a spreadsheet"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"PAR1", "a Parquet file"),
    (b"%PDF", "a PDF document"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet in the format before 2007"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"BZh", "compressed with bzip2"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard"),
)
_CONTROL = re.compile(rb"[\x02-\x08\x0e-\x1b\x7f]")
"""Characters that text hardly has; NUL, and those that delimit fields, are not among them."""
_CUT_OFF = b"\xff"
"""Stands in UTF-8 for a character of UTF-16 of which the file has only the first bytes; never part of other text."""
_UNDEFINED_IN_1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")


class Encoding(NamedTuple):
    name: str
    mark: int
    """Bytes of the byte order mark."""
    note: str


def refuse_what_is_no_text(sample: bytes) -> None:
    """DataError if the beginning of a file shows that it is something else."""
    for magic, kind in _NOT_TEXT:
        if sample.startswith(magic):
            raise DataError(f"the file is {kind}, not text", fix="Export it as CSV")


def refuse_control_characters(text: bytes) -> None:
    """DataError if so many of them stand at the beginning of a file that it is no text, or if it is mostly NULs."""
    if len(_CONTROL.findall(text)) > 0.01 * len(text) or text.count(0) > 0.3 * len(text) > 0:
        raise DataError("the file is not text: it has many control characters", fix="Export it as CSV")


def find_encoding(sample: bytes, given: str | None, *, whole: bool) -> Encoding:
    """The encoding of a file that begins with *sample*, or that consists of it (*whole*).

    A byte order mark is believed more than what was *given*. ConfigError if that is no encoding's name.
    """
    for mark, name in _BOMS:
        if sample.startswith(mark):
            return Encoding(name, len(mark), f"{_title(name)}, by its byte order mark")
    if given is not None:
        return Encoding(_known(given), 0, f"{_title(_known(given))}, as given")
    return Encoding(*_guessed(sample, whole=whole))


def _known(given: str) -> str:
    try:
        codec = codecs.lookup(given)
        " ".encode(codec.name)  # not an encoding of text, such as base64
    except LookupError:
        raise ConfigError(
            f"there is no encoding {given!r}", fix="Choose one such as utf-8, utf-16, windows-1252 or iso-8859-1"
        ) from None
    plain = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}
    return plain.get(codec.name, codec.name)


def _guessed(sample: bytes, *, whole: bool) -> tuple[str, int, str]:
    zeros = _utf_16_without_mark(sample)
    if zeros is not None:
        return zeros, 0, f"{_title(zeros)} without a byte order mark, by its zero bytes"
    if sample.isascii():
        return "utf-8", 0, "UTF-8 (only ASCII so far)" if not whole else "UTF-8 (only ASCII)"
    if _is_utf_8(sample, whole=whole):
        return "utf-8", 0, "UTF-8"
    if _mostly_utf_8(sample):
        return "utf-8", 0, "UTF-8, with some lines that are in another encoding"
    return _single_byte(sample)


def _utf_16_without_mark(sample: bytes) -> str | None:
    """Latin text in UTF-16 has a zero in every other byte."""
    pairs = len(sample) // 2
    even, odd = sample[0 : 2 * pairs : 2].count(0), sample[1 : 2 * pairs : 2].count(0)
    if pairs and odd > 0.4 * pairs and even < 0.05 * pairs:
        return "utf-16-le"
    if pairs and even > 0.4 * pairs and odd < 0.05 * pairs:
        return "utf-16-be"
    return None


def _is_utf_8(sample: bytes, *, whole: bool) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample, final=whole)
    except UnicodeDecodeError:
        return False
    return True


def _mostly_utf_8(sample: bytes) -> bool:
    """Text of another encoding hardly ever forms a character of several bytes in UTF-8 by chance."""
    odd = [line for line in re.split(rb"[\r\n]+", sample)[:-1] if not line.isascii()]
    good = sum(_is_utf_8(line, whole=True) for line in odd)
    return good > 0 and good >= 0.5 * len(odd)


def _single_byte(sample: bytes) -> tuple[str, int, str]:
    """Windows-1252, unless it cannot be or most letters are none of it."""
    high = sum(byte >= 0x80 for byte in sample[:65_536])
    letters = sum(chr(byte).isalpha() for byte in sample[:65_536] if byte < 0x80)
    if high < letters and not _UNDEFINED_IN_1252.search(sample):
        return "cp1252", 0, "Windows-1252, guessed since it is not UTF-8"
    best = from_bytes(sample[:65_536]).best()
    name = codecs.lookup(best.encoding).name if best is not None else "cp1252"
    return name, 0, f"{_title(name)}, guessed since it is not UTF-8"


def _title(name: str) -> str:
    shown = {"cp1252": "Windows-1252", "utf-16-le": "UTF-16 (LE)", "utf-16-be": "UTF-16 (BE)"}
    return shown.get(name, name.upper())


def read_fully(opened: BinaryIO, size: int) -> bytes:
    """*size* bytes, or as many as there are; one read of a stream may give fewer."""
    parts: list[bytes] = []
    while size > 0 and (part := opened.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class Utf8Stream:
    """A file's text as UTF-8, read forward.

    Bytes that are no text in the file's encoding stay bytes that are no UTF-8, so that who reads it finds them.
    """

    def __init__(self, opened: BinaryIO, encoding: str) -> None:
        self._opened = opened
        self._encoding = encoding
        self._errors = _errors(encoding)
        self._decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)(self._errors)
        self._ended = False

    def read(self, size: int) -> bytes:
        """At least one byte, from *size* bytes of the file or what is left of it; none at its end."""
        while not self._ended:
            raw = read_fully(self._opened, size)
            self._ended = len(raw) < size
            text = raw if self._decoder is None else self._decoded(self._decoder.decode, raw)
            if text:
                return text
        return b""

    def length(self, text: bytes) -> int:
        """How many bytes of the file a part of its UTF-8 text takes up."""
        if self._decoder is None:
            return len(text)
        kept = text.replace(_CUT_OFF, b"") if self._errors == "surrogatepass" else text
        return len(kept.decode("utf-8", self._errors).encode(self._encoding, self._errors)) + len(text) - len(kept)

    def _decoded(self, decode: Callable[[bytes, bool], str], raw: bytes) -> bytes:
        try:
            text = decode(raw, False)
        except UnicodeDecodeError as error:
            raise DataError(
                f"the file is not {_title(self._encoding)}: {error.reason}", fix="Export it as UTF-8"
            ) from error
        return text.encode("utf-8", self._errors) + (self._last(decode) if self._ended else b"")

    def _last(self, decode: Callable[[bytes, bool], str]) -> bytes:
        try:
            return decode(b"", True).encode("utf-8", self._errors)
        except UnicodeDecodeError:
            return _CUT_OFF


def _errors(encoding: str) -> str:
    """How bytes that are no text survive being decoded and encoded again."""
    return "surrogatepass" if encoding.startswith("utf-") else "surrogateescape"

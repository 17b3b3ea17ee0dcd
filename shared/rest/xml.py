"""XML of an API: read piece by piece, without document types or entities, and without what XML does not allow.

.NET writes control characters of its texts as references (``&#x1F;``), which no parser accepts: these are removed, and
nothing else is. As few documents have any, they are looked for in those that the parser refuses.
"""

from __future__ import annotations

import codecs
import re

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

from lxml import etree

Element: TypeAlias = Any
"""An element of lxml."""

T = TypeVar("T")
_CHUNK = 1 << 18
_CONTROLS = bytes(set(range(0x20)) - {0x09, 0x0A, 0x0D})
_BEYOND = (b"\xef\xbf\xbe", b"\xef\xbf\xbf")
"""U+FFFE and U+FFFF."""
_REFERENCE = re.compile(rb"<!\[CDATA\[.*?\]\]>|&#(?:x([0-9a-fA-F]+)|([0-9]+));", re.DOTALL)
_DOCTYPE = re.compile(rb"(?>\s*+(?:<\?.*?\?>|<!--.*?-->))*+\s*+<!DOCTYPE", re.DOTALL)
_ENCODING = re.compile(rb"""<\?xml[^>]{0,99}?\sencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def read(body: bytes, tags: Sequence[str], take: Callable[[Iterator[Element]], T]) -> T:
    """What *take* makes of the elements of *tags*, which it gets as they end, and then of the root. It may empty them.

    ValueError if *body* is not XML to its end, or has a document type; what *take* has made by then counts for nothing.
    """
    text = _as_utf8(body)
    try:
        return take(_ended(text, tags))
    except ValueError:
        readable = without_illegal(text)
        if readable == text:
            raise
    return take(_ended(readable, tags))


def _ended(text: bytes, tags: Sequence[str]) -> Iterator[Element]:
    if _DOCTYPE.match(text):
        raise ValueError("it has a document type")
    parser = etree.XMLPullParser(
        events=("end",), tag=list(tags), encoding="utf-8", resolve_entities=False, no_network=True, huge_tree=False,
        remove_comments=True, remove_pis=True, collect_ids=False,
    )  # fmt: skip
    try:
        for start in range(0, len(text), _CHUNK):
            parser.feed(text[start : start + _CHUNK])
            yield from (element for _, element in parser.read_events())
        root = parser.close()
    except etree.XMLSyntaxError as error:
        raise ValueError(f"it is not XML: {error}") from error
    yield root


def without_illegal(text: bytes) -> bytes:
    """*text*, in UTF-8, without characters that XML 1.0 does not allow.

    >>> without_illegal(b"<a>caf&#233; &#x1F;&#9;&#xFFFF;\\x0b<![CDATA[&#0;]]></a>")
    b'<a>caf&#233; &#9;<![CDATA[&#0;]]></a>'
    """
    for one in _BEYOND:
        text = text.replace(one, b"")
    return _REFERENCE.sub(_allowed, text.translate(None, _CONTROLS))


def local(tag: str) -> str:
    """The name of a *tag* without its namespace.

    >>> local("{http://www.w3.org/2005/Atom}feed"), local("feed")
    ('feed', 'feed')
    """
    return tag.rpartition("}")[2]


def _as_utf8(body: bytes) -> bytes:
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding).encode()
    found = _ENCODING.match(body)
    encoding = found[1].decode() if found else "utf-8"
    if encoding.lower() in ("utf-8", "us-ascii"):
        return body  # the parser sees whether it is
    try:
        return body.decode(encoding).encode()
    except LookupError as error:
        raise ValueError(str(error)) from error


def _allowed(found: re.Match[bytes]) -> bytes:
    if found[1] is None and found[2] is None:
        return found[0]
    digits, base = (found[1], 16) if found[1] is not None else (found[2], 10)
    number = int(digits, base) if len(digits) < 10 else -1
    legal = number in (0x9, 0xA, 0xD) or 0x20 <= number <= 0xD7FF or 0xE000 <= number <= 0xFFFD
    return found[0] if legal or 0x10000 <= number <= 0x10FFFF else b""

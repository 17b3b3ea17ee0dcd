"""Mask names of columns and tables while SQLAlchemy compiles a statement.

It looks for its own marks in the finished text, ``%(Id_1)s`` or ``__[POSTCOMPILE_Id_1]``, and would take a column
with such a name for one. So names are in hex, between two characters, until the text is finished.
"""

from __future__ import annotations

import re

from collections.abc import Callable
from typing import Any, ClassVar

_TOKEN = re.compile("\x02([0-9a-f]*)\x03")


class QuotedNames:
    """The names in statements of one dialect; *quote* puts one in quotes, or raises if it can be none."""

    def __init__(self, quote: Callable[[str], str]) -> None:
        self._quote = quote

    def mask(self, name: str) -> str:
        """What stands for *name* until ``unmask``."""
        self._quote(name)
        return f"\x02{name.encode('utf-8', 'surrogatepass').hex()}\x03"

    def unmask(self, text: str) -> str:
        """*text* with every name back in its place, in quotes."""
        return _TOKEN.sub(lambda found: self._quote(bytes.fromhex(found[1]).decode("utf-8", "surrogatepass")), text)


class MaskedNames:
    """Makes an identifier preparer of SQLAlchemy mask every name, so that a new reserved word breaks nothing either."""

    names: ClassVar[QuotedNames]

    def quote(self, ident: str, force: Any = None) -> str:
        return self.quote_identifier(ident)  # SQLAlchemy would remember every name for as long as the process runs

    def quote_identifier(self, value: str) -> str:
        return self.names.mask(value)

    def _requires_quotes(self, _value: str) -> bool:
        return True

"""Mask names of columns and tables while SQLAlchemy compiles a statement.

It looks for its own marks in the finished text, ``%(Id_1)s`` or ``__[POSTCOMPILE_Id_1]``, and would take a column
with such a name for one. So it gets numbers, and the names are put in afterwards.
"""

from __future__ import annotations

import re
import threading

from collections.abc import Callable

_TOKEN = re.compile("\x02(\\d+)\x03")


class QuotedNames:
    """The names that statements of one dialect have used; *quote* puts one in quotes."""

    def __init__(self, quote: Callable[[str], str]) -> None:
        self._quote = quote
        self._numbers: dict[str, int] = {}
        self._quoted: list[str] = []
        self._guard = threading.Lock()  # statements are built by several threads at once

    def mask(self, name: str) -> str:
        """What stands for *name* until ``unmask``."""
        quoted = self._quote(name)
        with self._guard:
            if name not in self._numbers:
                self._quoted.append(quoted)
                self._numbers[name] = len(self._quoted) - 1
            return f"\x02{self._numbers[name]}\x03"

    def unmask(self, text: str) -> str:
        """*text* with every name back in its place, in quotes."""
        return _TOKEN.sub(lambda found: self._quoted[int(found[1])], text)

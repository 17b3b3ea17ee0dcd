"""Names of columns and tables are kept out of SQLAlchemy's sight while it compiles.

It looks for its own marks in the finished text, ``%(Id_1)s`` or ``__[POSTCOMPILE_Id_1]``, and would take a column
that is called so for one. So it gets to see numbers, and the names are put in afterwards.
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

    def hide(self, name: str) -> str:
        """What stands for *name* until ``reveal``."""
        quoted = self._quote(name)
        with self._guard:
            if name not in self._numbers:
                self._quoted.append(quoted)
                self._numbers[name] = len(self._quoted) - 1
            return f"\x02{self._numbers[name]}\x03"

    def reveal(self, text: str) -> str:
        """*text* with every name back in its place, in quotes."""
        return _TOKEN.sub(lambda found: self._quoted[int(found[1])], text)

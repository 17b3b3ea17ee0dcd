"""How names of columns are compared."""

from __future__ import annotations


def folded(name: str) -> str:
    """Equal for names that some engine takes for the same: some ignore case, SQL Server also trailing blanks."""
    return name.rstrip(" ").casefold()

"""What things are called in a lake. Pure."""

from __future__ import annotations

import re

from shared.model import APPENDED_COLUMNS

STAGING = "_staging"
"""Folder of what is staged, and of notes of what is being written. Spark and others overlook names with ``_``."""
DATA = "sluice-"
"""How names of data files begin that this engine writes."""
AT, RUN, KIND, DAY = APPENDED_COLUMNS
"""Columns of a table of mode ``append``: the run that brought a row, when, as what, and on which day (UTC)."""

_PLAIN = re.compile(r"[A-Za-z0-9_.-]")


def table_path(system: str, table: str) -> str:
    """The folder of a table. Anything that a path or a URL could take otherwise is written as ``~`` and hex digits.

    >>> table_path("shop", "item"), table_path("shop", "a/b é"), table_path("shop", "_x"), table_path("..", ".")
    ('shop/item', 'shop/a~2Fb~20~C3~A9', 'shop/~5Fx', '~2E./~2E')
    """
    return f"{_segment(system)}/{_segment(table)}"


def _segment(name: str) -> str:
    plain = "".join(c if _PLAIN.fullmatch(c) else _escaped(c) for c in name)
    return f"{_escaped(plain[0])}{plain[1:]}" if plain[0] in "_." else plain


def _escaped(character: str) -> str:
    return "".join(f"~{byte:02X}" for byte in character.encode())

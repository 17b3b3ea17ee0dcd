"""Sections of a catalog file whose tables are looked up when they are read: ``[discover]`` and ``[feed_list]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.catalog.rules import Rule, read_section, text
from shared.sources.tables import Discovery

LISTED = ("schema", "table", "keys", "cursor", "last_value", "enabled")
"""What the columns of a feed list mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedList:
    """A table whose rows are feeds: it is read at each run."""

    where: Literal["source", "warehouse"]
    table: str
    """As ``<table>`` or ``<schema>.<table>``."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The column for each of LISTED that is not named like it."""


def read_discovery(section: Mapping[str, Any] | None, problems: list[str]) -> Discovery | None:
    """What ``[discover]`` says; None without it."""
    if section is None:
        return None
    return Discovery(**read_section("discover", section, _DISCOVER, problems))


def read_feed_list(section: Mapping[str, Any] | None, problems: list[str]) -> FeedList | None:
    """What ``[feed_list]`` says; None without it, or if it is wrong."""
    if section is None:
        return None
    found = read_section("feed_list", section, _FEED_LIST, problems)
    if not found.keys() >= {"from", "table"}:
        return None
    if found["from"] == "warehouse" and "." not in found["table"]:
        problems.append(f"feed_list: table must be <schema>.<table> in the warehouse, not {found['table']!r}")
    return FeedList(where=found["from"], table=found["table"], columns=found.get("columns", {}))


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError
    return tuple(map(text, value))


def _where(value: Any) -> str:
    if value not in ("source", "warehouse"):
        raise ValueError
    return str(value)


def _columns(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not set(value) <= set(LISTED):
        raise ValueError
    return {name: text(column) for name, column in value.items()}


_PATTERNS = "a list of patterns, such as 'dbo.*'"
_DISCOVER = {
    "include": Rule(_PATTERNS, _texts),
    "exclude": Rule(_PATTERNS, _texts),
    "cursors": Rule("a list of column names", _texts),
}
_FEED_LIST = {
    "from": Rule("'source' or 'warehouse'", _where, required=True),
    "table": Rule("the name of a table, as <table> or <schema>.<table>", text, required=True),
    "columns": Rule(f"a table with the columns of {', '.join(LISTED)}", _columns),
}

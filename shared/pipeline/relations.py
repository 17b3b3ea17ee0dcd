"""The order in which feeds are loaded so that keys come before what refers to them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.model import Feed


def in_order(feeds: Sequence[Feed]) -> list[list[Feed]]:
    """*feeds* level by level: a feed refers only to feeds of levels before its own.

    Feeds that refer to each other in a circle share a level. References to itself, and to feeds that are not among
    *feeds*, do not count. Within a level the order of *feeds* is kept.
    """
    behind = _reachable(feeds)
    levels: list[list[Feed]] = []
    left = list(feeds)
    while left:
        names = {feed.name for feed in left}
        ready = [feed for feed in left if all(feed.name in behind[other] for other in behind[feed.name] & names)]
        levels.append(ready)
        left = [feed for feed in left if feed not in ready]
    return levels


def _reachable(feeds: Sequence[Feed]) -> Mapping[str, set[str]]:
    """By the name of a feed: the feeds that it refers to, directly or through others."""
    names = {feed.name for feed in feeds}
    direct = {feed.name: {key.rpartition(".")[0] for key in feed.references.values()} & names for feed in feeds}
    found: dict[str, set[str]] = {}
    for name in direct:
        seen, todo = set[str](), [name]
        while todo:
            new = direct[todo.pop()] - seen
            seen |= new
            todo += new
        found[name] = seen
    return found

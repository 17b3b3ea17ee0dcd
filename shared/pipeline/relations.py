"""What follows from references: the order in which feeds are loaded, and the views that join names in. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from shared.contract.conform import folded
from shared.model import Feed, FeedName
from shared.warehouses import NAMED, NamedReference, NamedView


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


def named_views(feed: Feed, feeds: Mapping[str, Feed]) -> list[NamedView]:
    """The views that a run of *feed* may have to renew: its own, and those of *feeds* (by name) that show its names.

    One without references is to be dropped if it is there. A feed that another one's view is named like has that name.
    """
    known = {**feeds, feed.name: feed}
    showing = [other for other in known.values() if feed.display and other.name != feed.name and _shows(other, feed)]
    return [
        NamedView(feed=one, references=tuple(_named(one, known)))
        for one in ([feed] if feed.references else []) + showing
        if f"{one.name}{NAMED}" not in known
    ]


def _shows(feed: Feed, other: Feed) -> bool:
    return any(key.rpartition(".")[0] == other.name for key in feed.references.values())


def _named(feed: Feed, feeds: Mapping[str, Feed]) -> Iterator[NamedReference]:
    """The references of *feed* to the one key of a feed that has something to show."""
    for column, key in feed.references.items():
        name, _, referred = key.rpartition(".")
        other = feeds.get(name)
        if other is not None and other.display and [folded(referred)] == [folded(one) for one in other.keys]:
            system, table = FeedName.parse(name)
            yield NamedReference(column=column, system=system, table=table, key=referred, display=other.display)

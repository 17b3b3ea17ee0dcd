"""The feeds that are declared or have a history, and what is known of them."""

from __future__ import annotations

import difflib

from collections.abc import Mapping

from shared.catalog import System
from shared.errors import ConfigError
from shared.ledger import Ledger
from shared.model import Feed, FeedName, Json, Run
from shared.warehouses import History

_MOST_NAMES = 5


def declared(systems: Mapping[str, System]) -> list[Feed]:
    """The feeds that the catalog names."""
    return [feed for system in systems.values() for feed in system.feeds()]


def known_feed(name: str, systems: Mapping[str, System], history: History) -> str:
    """*name* if it is declared or has a history. Otherwise ConfigError, with declared names like it."""
    known = [feed.name for feed in declared(systems)]
    if name not in known and not history.runs(name, limit=1):
        similar = difflib.get_close_matches(name, known, n=_MOST_NAMES, cutoff=0)
        raise ConfigError(f"there is no feed {name!r}", fix=f"Write <system>.<table>, such as {', '.join(similar)}")
    return name


def overview(systems: Mapping[str, System], history: History, ledger: Ledger) -> list[dict[str, Json]]:
    """Each feed, declared or with a history: keys, cursor, watermark, last run."""
    last: dict[str, Run] = {}
    for run in history.runs(limit=None):
        last.setdefault(run.feed, run)
    feeds = {feed.name: feed for feed in declared(systems)}
    names = dict.fromkeys((*feeds, *sorted(last)))
    known = [_about(name, feeds.get(name), last.get(name), ledger.watermark(name).value) for name in names]
    found = {
        str(FeedName(system.name, one.table)): f"skipped: {one.skipped}. Declare: {one.entry}"
        if one.skipped
        else one.reason
        for system in systems.values()
        for one in system.found
    }
    more = [{"feed": name} for name in found if name not in names]
    return [{**one, "found": found.get(one["feed"])} for one in (*known, *more)]


def _about(name: str, feed: Feed | None, last: Run | None, watermark: str | None) -> dict[str, Json]:
    return {
        "feed": name,
        "keys": ", ".join(feed.keys) if feed else "by rule",
        "cursor": feed.cursor if feed else None,
        "deleted": feed.deleted if feed else None,
        "watermark": watermark,
        "last_run": last.finished if last else None,
        "status": last.status if last else None,
    }

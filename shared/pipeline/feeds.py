"""The feeds that are declared or have a history, and what is known of them."""

from __future__ import annotations

import difflib

from collections.abc import Mapping

from shared.catalog import System
from shared.errors import ConfigError, IngestError
from shared.model import MAIN, Feed, FeedName, Json, Run
from shared.pipeline.runner import Runner
from shared.settings import naming_setting
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


def overview(runner: Runner, chosen: str | None = None) -> list[dict[str, Json]]:
    """Each feed, declared or with a history: keys, watermark, last run in each destination, or in the *chosen* one.

    Destinations are named where there are several. Those beside the main one that cannot be reached say so.
    """
    if chosen is not None or not runner.others:
        return _overview(runner.of(chosen or MAIN))
    found = [{**row, "destination": MAIN} for row in _overview(runner)]
    for name, other in runner.others.items():
        try:
            found += [{**row, "destination": name} for row in _overview(other)]
        except IngestError as error:
            found.append({"feed": None, "destination": name, "status": naming_setting(str(error), name)})
    return sorted(found, key=lambda row: str(row["feed"]))


def _overview(runner: Runner) -> list[dict[str, Json]]:
    systems, history, ledger = runner.systems, runner.warehouse, runner.ledger
    last: dict[str, Run] = {}
    for run in history.runs(limit=None):
        last.setdefault(run.feed, run)
    feeds = {feed.name: feed for feed in declared(systems) if runner.destination in feed.destinations}
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
    shown = (*known, *more) if runner.destination == MAIN else known
    return [{**one, "found": found.get(one["feed"])} for one in shown]


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

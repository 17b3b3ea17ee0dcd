"""Upkeep of the tables of all warehouses that need it: which tables, in which order, and what became of each."""

from __future__ import annotations

import datetime as dt
import logging

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from shared.errors import ConfigError, IngestError
from shared.model import FeedName
from shared.pipeline.feeds import declared, known_feed
from shared.pipeline.runner import Runner
from shared.warehouses import NeedsUpkeep, TableUpkeep, Upkeep

_log = logging.getLogger("sluice")

SHORTEST = dt.timedelta(days=1)
"""Retention: a load that runs as long as that would lose files it has written and not yet committed."""
__all__ = ("TendedTable", "Upkeep", "in_need", "upkeep")
_INGEST = ("ingest.run", "ingest.rejected", "ingest.backfill", "ingest.erasure")


@dataclass(frozen=True, slots=True, kw_only=True)
class TendedTable:
    """What became of a table of one destination."""

    destination: str
    table: TableUpkeep
    error: str | None = None


def upkeep(runner: Runner, feeds: Sequence[str], options: Upkeep) -> Iterator[TendedTable]:
    """Do the upkeep of the tables of *feeds*, or of all; one that fails stops no other.

    ConfigError if no warehouse needs upkeep, the retention is too short, or there is no such feed.
    """
    if options.keep < SHORTEST:
        raise ConfigError(
            f"replaced files would be kept for {options.keep // dt.timedelta(hours=1)} hours, which is not long enough"
            " for loads and readers that have begun",
            fix="Keep them for a day at least: LAKE_KEEP=86400, or --keep 1",
        )
    runners = in_need(runner)
    if not runners:
        raise ConfigError(
            "none of the warehouses needs upkeep: only a data lake does",
            fix="Set WAREHOUSE_URL, or WAREHOUSE_URL_LAKE beside it, to a lake such as lake:///.sluice/lake",
        )
    for one in runners:
        names = [known_feed(feed, one.systems, one.warehouse) for feed in feeds] or _all(one)
        for name in names:
            found = _tended(one, name, options)
            if found is not None:
                yield found


def in_need(runner: Runner) -> list[Runner]:
    """The runners of the warehouses that need upkeep."""
    return [one for one in (runner, *runner.others.values()) if isinstance(one.warehouse, NeedsUpkeep)]


def _tended(runner: Runner, feed: str, options: Upkeep) -> TendedTable | None:
    warehouse = runner.warehouse
    assert isinstance(warehouse, NeedsUpkeep)  # noqa: S101 - others were left out

    def keys_of(name: str, columns: Collection[str]) -> Sequence[str]:
        return _keys(runner, name, columns)

    try:
        table = warehouse.upkeep(feed, keys_of, options)
    except IngestError as error:
        _log.warning("upkeep of %s failed: %s", feed, error)
        return TendedTable(destination=runner.destination, table=TableUpkeep(table=feed), error=str(error))
    if table is None:
        return None
    _log.info(
        "upkeep feed=%s files=%d to %d bytes=%d to %d deleted=%d files, %d bytes", feed, table.files_before,
        table.files_after, table.bytes_before, table.bytes_after, table.deleted_files, table.deleted_bytes,
    )  # fmt: skip
    return TendedTable(destination=runner.destination, table=table)


def _all(runner: Runner) -> list[str]:
    """The declared feeds, those that history has, and the tables of history itself."""
    known = [feed.name for feed in declared(runner.systems)]
    return [*dict.fromkeys([*known, *sorted({run.feed for run in runner.warehouse.runs(limit=None)}), *_INGEST])]


def _keys(runner: Runner, feed: str, columns: Collection[str]) -> Sequence[str]:
    """Of a feed that is declared, or whose columns show its key."""
    name = FeedName.parse(feed)
    system = runner.systems.get(name.system)
    try:
        return system.feed(name.table, list(columns)).keys if system else ()
    except ConfigError:
        return ()

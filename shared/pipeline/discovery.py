"""The feeds of a system that its database, or a list of feeds, names: looked up when they are needed, not declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from shared.catalog import System
from shared.model import Feed, FeedName, Json
from shared.pipeline.feed_list import listed_tables
from shared.pipeline.sync import feeds_to_sync
from shared.settings import Settings
from shared.sources import KINDS, Probe, database_tables, probe
from shared.sources.tables import Discovery, FoundTable, found_tables
from shared.warehouses import WarehouseWithHistory

_KIND = next(name for name, kind in KINDS.items() if kind.discovers)
"""The source of tables that are found."""


def resolved(system: System, settings: Settings, warehouse: WarehouseWithHistory) -> System:
    """*system* with the tables, beside the declared ones, that ``[feed_list]`` names and that ``[discover]`` takes.

    Reads the database's catalog, and the list, if there are such sections. ConfigError or TransientError if that is not
    possible.
    """
    found: list[FoundTable] = []
    declared = declared_tables(system)
    if system.feed_list is not None:
        found = listed_tables(system, _KIND, settings, warehouse, declared)
        declared |= {one.source_table: one.table for one in found}
    if system.discovery is not None:
        found += discovered(system, settings, system.discovery, declared)
    return system.with_found(found)


def discovered(
    system: System, settings: Settings, rules: Discovery | None = None, declared: Mapping[str, str] | None = None
) -> list[FoundTable]:
    """The tables of the system's database that *rules* take, by default those of the catalog, or else all of them."""
    chosen = rules or system.discovery or Discovery()
    options = system.found_options
    preferred = [options["cursor"]] if options.get("cursor") else []
    wished = replace(chosen, cursors=(*preferred, *chosen.cursors))
    tables = database_tables(system.name, _KIND, settings, chosen.include)
    found = found_tables(tables, wished, system.name, declared_tables(system) if declared is None else declared)
    return [_without_cursor(one) for one in found] if "cursor" in options and not preferred else found


def declared_tables(system: System) -> dict[str, str]:
    """The feeds of the catalog that are read from a database, by the table that they read."""
    own = {table: options for table, options in system.tables.items() if system.is_pulled(table)}
    return {options.get("source_table") or table: table for table, options in own.items()}


def proposed(name: str, systems: Mapping[str, System], settings: Settings) -> list[FoundTable]:
    """The tables of the database of system *name* that its catalog file does not declare.

    There need not be such a file yet, only the setting with the database. ConfigError or TransientError otherwise.
    """
    new = System(name=name, source=_KIND, client=None, tables={}, undeclared=None, file=Path(f"{name}.toml"))
    return discovered(systems.get(name, new), settings)


def as_toml(found: Sequence[FoundTable], name: str, systems: Mapping[str, System]) -> Iterator[str]:
    """Lines of a catalog file that declare what was *found*; what was skipped is a comment with the reason."""
    if name not in systems:
        yield from ("[system]", f'name = "{name}"', f'source = "{_KIND}"', "")
    known = systems[name].tables if name in systems else {}
    yield f"# Under [tables] in {systems[name].file.name}:" if known else "[tables]"
    for one in found:
        if one.skipped is None:
            yield f"{one.entry}  # {one.reason}"
    for one in found:
        if one.skipped is not None:
            yield f"# {one.source_table} is skipped: {one.skipped}. Name its key to read it:"
            yield f"# {one.entry}"


def _without_cursor(found: FoundTable) -> FoundTable:
    key, _, _ = found.reason.partition(", ")
    return replace(found, cursor=None, reason=f"{key}, no cursor as [defaults] says: read whole each time")


def as_record(found: FoundTable, system: str) -> dict[str, Json]:
    """What was found, as JSON."""
    return {
        "feed": str(FeedName(system, found.table)), "source_table": found.source_table, "keys": list(found.keys),
        "cursor": found.cursor, "references": dict(found.references), "reason": found.reason,
        "skipped": found.skipped, "entry": found.entry,
    }  # fmt: skip


def probed(systems: Mapping[str, System], settings: Settings, system: str, table: str) -> tuple[Feed, Probe]:
    """A table of an API, and its first page. ConfigError if there is no such table, or if it is of no API."""
    (feed,) = feeds_to_sync(systems, system, [table])
    return feed, probe(feed, settings)

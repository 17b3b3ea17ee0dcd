"""Which columns of a source a run reads, and as which types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from shared.catalog import System
from shared.contract import types
from shared.contract.change import type_change
from shared.contract.conform import fit, folded
from shared.errors import DataError
from shared.model import Column, Feed, Unit
from shared.pipeline.keys import contracted
from shared.sources import KINDS
from shared.warehouses import History


def stored_if_needed(system: System, table: str, warehouse: History) -> Mapping[str, str]:
    """The types of a table's columns, where a plan depends on them: by a policy, or as types are inferred."""
    options = system.tables.get(table, system.undeclared or {})
    policies = options.get("on_new_column", "add"), options.get("on_type_change", "stop")
    is_needed = KINDS[options.get("source", system.source)].infers or policies != ("add", "stop")
    return stored_types(system.name, table, warehouse) if is_needed else {}


def stored_types(system: str, table: str, warehouse: History) -> Mapping[str, str]:
    """The types of a table's columns by name; empty if there is no table."""
    return warehouse.columns(Feed(system=system, table=table, source="", keys=()))


def columns_of(
    schemas: Mapping[str, pa.Schema], feed: Feed, unit: Unit, stored: Mapping[str, str]
) -> tuple[tuple[Column, ...], list[str]]:
    """The columns of a run over *schemas*, by the names of files, and what the run is to note of them.

    *stored* are the types of the table's columns, if they matter. DataError if the columns do not fit the feed.
    """
    columns, notes = fit(schemas, contracted(feed, unit)), []
    if unit.kind == "keys":
        columns = tuple(column for column in columns if column.name in feed.keys)
    else:
        columns, new = admitted(columns, feed, stored)
        notes = [f"new columns are left out: {', '.join(new)}"] if new else []
        notes += missing(schemas, feed)
    return with_types(columns, feed, stored), notes


def missing(schemas: Mapping[str, pa.Schema], feed: Feed) -> list[str]:
    """Columns that an option names and no file has: perhaps they are misspelt, and then are stored as they come."""
    there = {folded(name) for schema in schemas.values() for name in schema.names}
    stored = there | {folded(name) for source, name in feed.rename.items() if folded(source) in there}
    if feed.layout is not None:
        stored |= {folded(column.name) for column in feed.layout.columns}
    named = {
        "exclude": [name for name in feed.exclude if folded(name) not in there],
        "rename": [name for name in feed.rename if folded(name) not in there],
        "hash": [name for name in feed.hash if folded(name) not in stored],
        "mask": [name for name in feed.mask if folded(name) not in stored],
    }
    return [f"there is no column {', '.join(map(repr, names))} to {verb}" for verb, names in named.items() if names]


def admitted(
    columns: Sequence[Column], feed: Feed, stored: Mapping[str, str]
) -> tuple[tuple[Column, ...], list[str]]:  # fmt: skip
    """The *columns* that may go into a table that has those *stored*, and the names of the others.

    DataError if the feed stops at a new column. A table that is not there takes them all.
    """
    known = {folded(name) for name in stored}
    new = [column for column in columns if column.type != types.NULL and folded(column.name) not in known]
    if feed.on_new_column == "add" or not stored or not new:
        return tuple(columns), []
    names = [column.name for column in new]
    if feed.on_new_column == "stop":
        raise DataError(
            f"{feed.name} has new columns: {', '.join(map(repr, names))}",
            fix="Set on_new_column to add or ignore in the catalog, or name them under exclude there",
        )
    return tuple(column for column in columns if column not in new), names


def with_types(columns: Sequence[Column], feed: Feed, stored: Mapping[str, str]) -> tuple[Column, ...]:
    """*columns* with the types that they are read as, where a table is there that has those *stored*.

    Values whose types are inferred are read as they are stored, where that holds them (types.kept), and so are those
    that are text there or are to become text, if the feed says so. What the catalog declares stays.
    """
    known = {folded(name): kind for name, kind in stored.items()}
    return tuple(
        replace(column, type=_type(column, known[folded(column.name)], feed))
        if folded(column.name) in known and folded(column.name) not in {folded(name) for name in feed.types}
        else column
        for column in columns
    )


def _type(column: Column, stored: str, feed: Feed) -> str:
    kind = types.kept(stored, column.type) if KINDS[feed.source].infers else column.type
    return "text" if type_change(feed, column.name, stored, kind).verb == "text" else kind

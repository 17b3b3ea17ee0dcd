"""Which columns of a source a run reads, and as which types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from shared.contract import types
from shared.contract.conform import fit, folded
from shared.errors import DataError
from shared.model import Column, Feed, Unit
from shared.pipeline.keys import contracted
from shared.sources import KINDS


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
        there = {folded(name) for schema in schemas.values() for name in schema.names}
        if lacking := [name for name in feed.exclude if folded(name) not in there]:  # perhaps misspelt, and so stored
            notes.append(f"there is no column {', '.join(map(repr, lacking))} to exclude")
    return as_stored(columns, feed, stored) if KINDS[feed.source].infers else columns, notes


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


def as_stored(columns: Sequence[Column], feed: Feed, stored: Mapping[str, str]) -> tuple[Column, ...]:
    """*columns*, where those that the catalog does not declare have the types of a table that is there (types.kept)."""
    declared, known = {folded(name) for name in feed.types}, {folded(name): kind for name, kind in stored.items()}
    return tuple(
        column
        if folded(column.name) in declared or folded(column.name) not in known
        else replace(column, type=types.kept(known[folded(column.name)], column.type))
        for column in columns
    )

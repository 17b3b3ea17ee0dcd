"""Data files: written by DuckDB, described for the log, and read back as a query."""

from __future__ import annotations

import json

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deltalake.transaction import AddAction

from shared.warehouses.embedded.files import file_literal
from shared.warehouses.embedded.session import DuckDBSession
from shared.warehouses.lake import types
from shared.warehouses.lake.names import AT, DATA, DAY
from shared.warehouses.merge.types import sql_type

FILE = "_sluice_file"
"""Column of a view over data files: the file that a row is in."""
DAYS = {DAY: f'CAST(CAST("{AT}" AS TIMESTAMP) AS DATE)'}
"""The column that a table of mode ``append`` is partitioned by, from what its files have."""
_FILE_BYTES = "256MB"
_DESCRIBED = 32
"""Columns whose lowest and highest values go into the log, as with other writers."""


class DataFile(NamedTuple):
    """A file of a table's current version."""

    path: str
    """Relative to the table."""
    size: int
    rows: int | None
    partition: Mapping[str, str | None]
    low: Mapping[str, Any]
    """Lowest value by column, where it is known."""
    high: Mapping[str, Any]


class NewFiles(NamedTuple):
    """Where new files of a table go."""

    folder: Path
    """The local one of the table."""
    attempt: str
    """What their names have in common."""
    partition: Mapping[str, str] = {}
    """What all rows have in the columns that the table is partitioned by: the log keeps that, not the files."""

    def below(self) -> str:
        """The folder of the partition, relative to the table's."""
        return "".join(f"{name}={value}/" for name, value in self.partition.items())


def write(
    session: DuckDBSession, query: str, columns: Mapping[str, str], place: NewFiles, parameters: Sequence[Any] = ()
) -> list[tuple[Path, AddAction]]:
    """Write the rows of *query*, which has *columns*, into new files of *folder*; none if it has no rows."""
    written = ", ".join(
        f"{types.writing(session.quoted(name), kind, sql(session, kind))} AS {session.quoted(name)}"
        for name, kind in columns.items()
        if name not in place.partition
    )
    folder, pattern = place.folder / place.below(), f"{DATA}{place.attempt}-{{uuid}}"
    folder.mkdir(parents=True, exist_ok=True)
    copied = session.connection.execute(
        f"COPY (SELECT {written} FROM ({query})) TO {file_literal(folder)} (FORMAT parquet, COMPRESSION zstd,"  # noqa: S608 - quoted
        f" FILE_SIZE_BYTES '{_FILE_BYTES}', FILENAME_PATTERN '{pattern}', APPEND, RETURN_STATS)",
        list(parameters),
    ).fetchall()
    made = []
    for name, rows, size, _footer, found, *_ in copied:
        path = Path(name)
        if not rows:
            path.unlink(missing_ok=True)
            continue
        made.append((path, _added(place, path, rows, size, _described(session, columns, found))))
    return made


def rows_of(action: AddAction) -> int:
    """How many rows the file of *action* has."""
    return int(json.loads(action.stats)["numRecords"])


def _added(place: NewFiles, path: Path, rows: int, size: int, stats: Mapping[str, Any]) -> AddAction:
    return AddAction(
        path=f"{place.below()}{path.name}",
        size=size,
        partition_values=dict(place.partition),
        modification_time=int(path.stat().st_mtime * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": rows, **stats}),
    )


def _described(session: DuckDBSession, columns: Mapping[str, str], found: Mapping[str, Any]) -> dict[str, Any]:
    low, high, nulls = {}, {}, {}
    for name, kind in list(columns.items())[:_DESCRIBED]:
        known = found.get(session.quoted(name), {})
        if "null_count" in known:
            nulls[name] = int(known["null_count"])
        if known.get("has_nan") == "true" or "false" in (known.get("min_is_exact"), known.get("max_is_exact")):
            continue
        ends = types.statistic(known.get("min"), kind), types.statistic(known.get("max"), kind)
        if None not in ends:
            low[name], high[name] = ends
    return {"minValues": low, "maxValues": high, "nullCount": nulls}


def query(
    session: DuckDBSession, files: Sequence[Path], columns: Mapping[str, str], *, named: bool = False,
    derived: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    """A query for the rows of *files*, which may lack columns of later versions; with FILE if *named*.

    *derived* are expressions for columns that no file has.
    """
    given = derived or {}
    if not files:
        nulls = (f"CAST(NULL AS {sql(session, kind)}) AS {session.quoted(name)}" for name, kind in columns.items())
        return f"SELECT {', '.join([*nulls, *(['NULL AS ' + session.quoted(FILE)] if named else [])])} WHERE false"
    source = (
        f"read_parquet([{', '.join(map(file_literal, files))}], union_by_name = true, hive_partitioning = false,"
        f" filename = '{FILE}')"
    )
    there = {row[0].casefold() for row in session.connection.execute(f"DESCRIBE FROM {source}").fetchall()}
    listed = []
    for name, kind in columns.items():
        own = session.quoted(name) if name.casefold() in there else given.get(name, "NULL")
        listed.append(f"{types.reading(own, kind, sql(session, kind))} AS {session.quoted(name)}")
    return f"SELECT {', '.join([*listed, *([session.quoted(FILE)] if named else [])])} FROM {source}"  # noqa: S608 - quoted


def sql(session: DuckDBSession, kind: str) -> str:
    """DuckDB's name of a column type."""
    return sql_type(kind).compile(dialect=session.dialect)

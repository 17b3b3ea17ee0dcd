"""Parquet files that DuckDB reads by itself instead of having their rows staged. Builds statements.

DuckDB takes the statistics of a Parquet file for true: it leaves out row groups by them, and packs values into fewer
bits. Some files have wrong ones, so while it reads files it must not use statistics (``WITHOUT_STATISTICS``).
"""

from __future__ import annotations

import os

from collections.abc import Sequence
from typing import Any

from shared.contract.conform import ROW
from shared.contract.direct import Check
from shared.errors import ConflictError
from shared.ids import file_version
from shared.model import Column, PlainFile
from shared.warehouses.embedded.session import DuckDBSession
from shared.warehouses.merge.types import column_type

WITHOUT_STATISTICS = "statistics_propagation,join_filter_pushdown"
_NUMBER = "file_row_number"
_ORIGIN = "origin"
_PATTERN = set("*?[]{}")


def select(session: DuckDBSession, file: PlainFile, columns: Sequence[Column]) -> str | None:
    """A query for the rows of *file* as they are to be staged. None if DuckDB would read them otherwise."""
    if _PATTERN & set(file.path) or any(column.source.casefold() == _NUMBER for column in columns):
        return None
    named = (f"{session.quoted(column.source)} AS {session.quoted(column.name)}" for column in columns)
    row = f"{_NUMBER} + {file.first_row} AS {session.quoted(ROW)}"
    path = file.path.replace("'", "''")
    query = (
        f"SELECT {', '.join([row, *named])}"  # noqa: S608 - quoted
        f" FROM read_parquet('{path}', {_NUMBER} = true, hive_partitioning = false)"
    )
    found = [column_type(str(kind)) for _, kind, *_ in session.connection.execute(f"DESCRIBE {query}").fetchall()]
    return query if found == ["bigint", *(column.type for column in columns)] else None


def examine(
    session: DuckDBSession, rows: str, file: PlainFile, columns: Sequence[Column], checks: Sequence[Check]
) -> dict[str, Any] | None:
    """The highest value of each column that is not text, in *rows*: a query, or a table made by it.

    None if they are not the rows that the file says it has, or if one does not pass all checks. Reads all values, so
    that damaged pages are found now, and not in the merge.
    """
    parameters: list[Any] = []
    bad = [f"coalesce(bool_or({_fails(session, check, parameters)}), false)" for check in checks]
    found: list[str] = []
    for column in columns:
        name = session.quoted(column.name)
        ends = (f"min({name})", f"max({name})") if column.type != "text" else ("NULL", "NULL")
        found += (f"count(*) - count({name})", *ends)
    counted, *rest = session.connection.execute(
        f"SELECT {', '.join(['count(*)', *bad, *found])} FROM {rows}",  # noqa: S608 - quoted
        parameters,
    ).fetchall()[0]
    seen = {c.name: tuple(rest[len(bad) + 3 * n :][:3]) for n, c in enumerate(columns)}
    wanted = {c.name: file.known[c.source] for c in columns}
    if counted != file.rows or any(rest[: len(bad)]) or seen != wanted:
        return None
    return {name: high for name, (_, _, high) in seen.items()}


def _fails(session: DuckDBSession, check: Check, parameters: list[Any]) -> str:
    column = session.quoted(check.column)
    if check.rule == "within":
        parameters += [check.low, check.high]
        return f"{column} NOT BETWEEN ${len(parameters) - 1} AND ${len(parameters)}"
    return {
        "not null": f"{column} IS NULL",
        "finite": f"NOT isfinite({column})",
        "no NUL": f"contains({column}, chr(0))",
    }[check.rule]


def create_view(session: DuckDBSession, database: str, view: str, query: str, file: PlainFile) -> None:
    """Create *view* of the rows of *file* in an attached staging *database*, with a note of the file."""
    session.ddl(f"CREATE VIEW {view} AS {query}")
    origin = session.quoted(database, "main", _ORIGIN)
    session.connection.execute(f"INSERT INTO {origin} VALUES (?, ?)", [file.path, file.version])  # noqa: S608 - quoted


def prepare(session: DuckDBSession, database: str) -> None:
    """Make room for the note of ``create_view`` in a new staging *database*."""
    session.ddl(f"CREATE TABLE {session.quoted(database, 'main', _ORIGIN)} (path VARCHAR, version VARCHAR)")


def origin(session: DuckDBSession, database: str) -> list[tuple[str, str]]:
    """Path and version of the file that an attached staging *database* has a view of, if it has one."""
    table = session.quoted(database, "main", _ORIGIN)
    return session.connection.execute(f"SELECT path, version FROM {table}").fetchall()  # noqa: S608 - quoted


def refuse_changed(path: str, version: str) -> None:
    """ConflictError unless the file is still the one that was staged."""
    try:
        now = file_version(os.stat(path))  # noqa: PTH116 - a path as text
    except OSError:
        now = "gone"
    if now != version:
        raise ConflictError(
            f"{path} changed while it was loaded", fix="Load it again; its new content is a new work item"
        )

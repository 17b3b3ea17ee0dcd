"""Change tracking, as far as readers of it can see: which primary keys were written or deleted since a version.

Each transaction that changes a tracked table is a version. A row that is written without a change counts here as not
written, and all versions are kept until ``forget``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from tests.standins.tsql import catalog, errors, script, translate
from tests.standins.tsql.catalog import DATABASE, Table
from tests.standins.tsql.script import Tokens


@dataclass
class _Tracked:
    table: Table
    keys: Sequence[str]
    oldest: int
    rows: dict[tuple[Any, ...], tuple[Any, ...]]
    changes: dict[tuple[Any, ...], tuple[int, str]] = field(default_factory=dict)
    """The last version and operation by key."""


class Tracking:
    """Of one database."""

    def __init__(self) -> None:
        self.version = 0
        self._tables: dict[tuple[str, str], _Tracked] = {}

    def enable(self, duck: duckdb.DuckDBPyConnection, table: Table) -> None:
        keys = next(index.keys for index in table.indexes if index.unique and index.constraint)
        tracked = _Tracked(table, keys, self.version, {})
        tracked.rows = _rows(duck, tracked)
        self._tables[table.schema.lower(), table.name.lower()] = tracked

    def forget(self) -> None:
        """Clean up: nothing is kept that was changed up to now."""
        for tracked in self._tables.values():
            tracked.oldest, tracked.changes = self.version, {}

    @property
    def oldest(self) -> int | None:
        """The least version that changes are kept since, of all tables; None if none is tracked."""
        return min((tracked.oldest for tracked in self._tables.values()), default=None)

    def committed(self, duck: duckdb.DuckDBPyConnection) -> None:
        """A transaction that wrote has ended."""
        version = self.version + 1
        for tracked in self._tables.values():
            before, tracked.rows = tracked.rows, _rows(duck, tracked)
            for key in before.keys() | tracked.rows.keys():
                if before.get(key) != tracked.rows.get(key):
                    operation = "I" if key not in before else "D" if key not in tracked.rows else "U"
                    tracked.changes[key] = (version, operation)
                    self.version = version

    def read(self, of: Tokens) -> Tokens:
        """A query, with the rows of each ``CHANGETABLE(CHANGES table, since)`` in its place."""
        found: list[script.Token] = []
        place = 0
        while place < len(of):
            if of[place].word != "CHANGETABLE":
                found.append(of[place])
                place += 1
                continue
            end = script.closing(of, place + 1)
            schema, name, _ = translate.name_of(of, place + 3)
            found += script.tokens(self._changes(schema, name, int(of[end - 1].text)))
            place = end + 1
        return tuple(found)

    def _changes(self, schema: str, name: str, since: int) -> str:
        tracked = self._tables.get((schema.lower(), name.lower()))
        if tracked is None:
            raise errors.raised(22105, f"Change tracking is not enabled on table '{schema}.{name}'.")
        names = [f"[{key}]" for key in tracked.keys]
        rows = [
            "SELECT "
            + ", ".join(f"{_text(value)} AS {name}" for value, name in zip(key, names, strict=True))
            + f", {version} AS SYS_CHANGE_VERSION, '{operation}' AS SYS_CHANGE_OPERATION"
            for key, (version, operation) in tracked.changes.items()
            if version > since
        ]
        place = f"[{tracked.table.schema}].[{tracked.table.name}]"
        none = f"SELECT {', '.join(names)}, CAST(0 AS bigint) AS SYS_CHANGE_VERSION FROM {place} WHERE 1 = 0"
        return f"({' UNION ALL '.join(rows) or none})"


def _rows(duck: duckdb.DuckDBPyConnection, tracked: _Tracked) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    columns = [column.name for column in tracked.table.columns]
    places = [columns.index(key) for key in tracked.keys]
    named = ", ".join(map(catalog.quoted, columns))
    found = duck.execute(f"SELECT {named} FROM {DATABASE}.{tracked.table.quoted}").fetchall()
    return {tuple(row[place] for place in places): row for row in found}


def _text(value: Any) -> str:
    return str(value) if isinstance(value, int) else "N'" + str(value).replace("'", "''") + "'"

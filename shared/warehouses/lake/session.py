"""A DuckDB in memory in which a merge works on a table of the lake.

The feed's table is a view over its data files until rows of it are to change: those are taken out then, into a table of
DuckDB's with the same name, and the shared SQL changes them there. What it inserts goes into new data files at once.
In the end the files that held such rows are written anew: what was left of them, and what became of the rows taken out.
"""

from __future__ import annotations

import uuid

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa

from deltalake.transaction import AddAction

from shared.model import Feed
from shared.warehouses.embedded.session import DuckDBSession
from shared.warehouses.lake import files
from shared.warehouses.lake.files import DAYS, FILE, DataFile
from shared.warehouses.lake.names import DAY
from shared.warehouses.merge import ddl, numbered

_STORED, _LEFT = "_sluice_stored", "_sluice_left"


class LakeSession(DuckDBSession):
    """A session on *feed*'s table in files; without *folder*, where new files go, nothing is written: a dry run."""

    keeps_versions = False  # a merge is one commit of one table; docs/lake.md says what a lake has instead

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, feed: Feed, folder: Path | None, *, streams: bool = False,
        day: str | None = None,
    ) -> None:  # fmt: skip
        """*streams*: rows that are inserted go into files at once. Few are kept, so that all go into one file.

        *day* is the partition of what is inserted, in a table that is only appended to.
        """
        super().__init__(connection)
        self._feed, self._folder, self._day = feed, folder, day
        self.streams = streams and folder is not None
        self.attempt = uuid.uuid4().hex[:16]
        self.added: list[tuple[Path, AddAction]] = []
        """New data files, in *folder*."""
        self.converted = False
        """Whether stored columns have got other types, so that all files are to be written anew."""
        self._data: dict[Path, DataFile] = {}
        self._load: Callable[[], Mapping[Path, DataFile]] = dict
        self._columns: dict[str, str] = {}
        self._is_view = False
        self._touched: set[str] = set()
        self._rest: tuple[str, list[Any]] | None = None
        """A query for what is left in files of which rows were taken out."""

    def open_table(self, load: Callable[[], Mapping[Path, DataFile]], columns: Mapping[str, str]) -> None:
        """Let the feed's table, with *columns*, be the rows of the files that *load* brings.

        Those of a table that is only appended to are brought once a stored column has to change.
        """
        self._load, self._columns = load, dict(columns)
        self._data = {} if self._day else dict(load())
        self._is_view = True
        ddl.create_schema(self, self._feed.system)
        self._create_views()

    def add_column(self, table: sa.Table, name: str, kind: str) -> None:
        if self._is_view:
            self._columns[name] = kind
            self._create_views()
        else:
            super().add_column(table, name, kind)

    def change_type(self, table: sa.Table, column: sa.Column[Any]) -> None:
        self._take_out_all()
        self.converted = True
        super().change_type(table, column)

    def replace_column(self, table: sa.Table, name: str, other: str) -> None:
        self._take_out_all()
        self.converted = True
        super().replace_column(table, name, other)

    def change(self, statement: sa.Insert | sa.Update | sa.Delete) -> int:
        if isinstance(statement, sa.Update) and self._is_view and self._is_own(statement.table):
            self._take_out_all()  # a column is about to be converted, and is written as its new type reads it
        return super().change(statement)

    def expose(self, table: sa.Table, where: Callable[[sa.FromClause], sa.ColumnElement[bool]]) -> None:
        if not self._is_view:
            return
        stored = self._with_file(_STORED, table)
        taken = sa.exists().where(where(stored)).correlate(stored)
        self._touched = {row[0] for row in self.rows(sa.select(stored.c[FILE]).where(taken).distinct())}
        own = [column.name for column in table.c]
        self._replace_view(sa.select(*(stored.c[name] for name in own)).where(taken))
        if self._touched:
            left = self._with_file(_LEFT, table)
            self._create_view(_LEFT, [path for path in self._data if str(path) in self._touched])
            stays = ~sa.exists().where(where(left)).correlate(left)
            self._rest = numbered.compiled(sa.select(*(left.c[name] for name in own)).where(stays))

    def insert(self, table: sa.Table, names: Sequence[str], rows: sa.Select[Any]) -> int:
        if not self.streams or not self._is_own(table):
            if self._is_view and self._is_own(table):
                self._replace_view(sa.select(*table.c).where(sa.false()))  # a dry run shows what it would append
            return super().insert(table, names, rows)
        text, parameters = numbered.compiled(rows)
        given = ", ".join(map(self.quoted, names))
        lacking = (
            f", CAST(NULL AS {column.type.compile(dialect=self.dialect).partition(' COLLATE ')[0]})"
            f" AS {self.quoted(column.name)}"
            for column in table.c
            if column.name not in names
        )
        query = f"SELECT *{''.join(lacking)} FROM ({text}) AS _sluice_rows ({given})"  # noqa: S608 - quoted
        return self.write(query, parameters, self._day)

    def write(self, query: str, parameters: Sequence[Any] = (), day: str | None = None) -> int:
        """Write the rows of *query* into new data files; their number."""
        assert self._folder is not None  # noqa: S101 - a dry run writes nothing
        kinds = self.columns(self._feed.system, self._feed.table)
        place = files.NewFiles(self._folder, self.attempt, {DAY: day} if day else {})
        made = files.write(self, query, kinds, place, parameters)
        self.added += made
        return sum(files.rows_of(action) for _, action in made)

    def finish(self) -> list[DataFile]:
        """Write what is left of the files that rows were taken out of, and the rows: the files that this replaces."""
        if self._is_view:
            return []
        if self._day:
            return self._finish_days()
        taken = f"SELECT * FROM {self.quoted(self._feed.system, self._feed.table)}"  # noqa: S608 - quoted
        rest, parameters = self._rest or ("", [])
        self.write(f"{taken} UNION ALL ({rest})" if rest else taken, parameters)
        return [file for path, file in self._data.items() if str(path) in self._touched]

    def _finish_days(self) -> list[DataFile]:
        """As ``finish``, of a table that is partitioned by days."""
        own, day = self.quoted(self._feed.system, self._feed.table), self.quoted(DAY)
        days = self.connection.execute(f"SELECT DISTINCT CAST({day} AS VARCHAR) FROM {own} ORDER BY 1").fetchall()  # noqa: S608 - quoted
        for (one,) in days:
            self.write(f"SELECT * FROM {own} WHERE CAST({day} AS VARCHAR) = $1", [one], one)  # noqa: S608 - quoted
        return list(self._data.values())

    def columns(self, schema: str, table: str) -> dict[str, str]:
        if self._is_view and (schema, table) == (self._feed.system, self._feed.table):
            return dict(self._columns)
        return super().columns(schema, table)

    def _create_views(self) -> None:
        self._create_view(_STORED, list(self._data))
        stored, own = (self.quoted(self._feed.system, name) for name in (_STORED, self._feed.table))
        listed = ", ".join(map(self.quoted, self._columns))
        self.ddl(f"CREATE OR REPLACE VIEW {own} AS SELECT {listed} FROM {stored}")  # noqa: S608 - quoted

    def _create_view(self, name: str, data: Sequence[Path]) -> None:
        query = files.query(self, data, self._columns, named=True, derived=DAYS if self._day else {})
        self.ddl(f"CREATE OR REPLACE VIEW {self.quoted(self._feed.system, name)} AS {query}")

    def _with_file(self, name: str, table: sa.Table) -> sa.Table:
        columns = [sa.Column(column.name, column.type) for column in table.c]
        return sa.Table(name, sa.MetaData(), *columns, sa.Column(FILE, sa.Text), schema=self._feed.system)

    def _take_out_all(self) -> None:
        if self._is_view:
            stored = sa.table(_STORED, *(sa.column(name) for name in self._columns), schema=self._feed.system)
            if self._day:
                self._data = dict(self._load())
                self._create_views()
            self._touched = {str(path) for path in self._data}
            self._replace_view(sa.select(*stored.c))

    def _replace_view(self, rows: sa.Select[Any]) -> None:
        """Let the feed's table be one of DuckDB's, with *rows*."""
        own, taken = (self.quoted(self._feed.system, name) for name in (self._feed.table, "_sluice_taken"))
        text, parameters = numbered.compiled(rows)
        self.connection.execute(f"CREATE TABLE {taken} AS {text}", parameters)
        self.ddl(f"DROP VIEW {own}")
        self.ddl(f"ALTER TABLE {taken} RENAME TO {self.quoted(self._feed.table)}")
        self._is_view = False

    def _is_own(self, table: Any) -> bool:
        return (table.schema, table.name) == (self._feed.system, self._feed.table)

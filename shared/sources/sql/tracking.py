"""Change tracking of SQL Server and Azure SQL in place of a cursor: which rows were written or deleted since a version.

The first run, and one whose version the server keeps no more, reads the table whole. Any other reads what was written
since: the server names the primary keys, and each row is read as it is at that moment. Deleted rows come too, with
their key alone. All rows have two columns more: ``CHANGE_VERSION`` is the feed's cursor, ``CHANGE_DELETED`` flags a
row that is gone.

A page is one statement. A row that changes after its version was reported comes again with the higher version, by a
later window, so that what is read in between needs no snapshot. The versions that a slice was read from must still be
kept when it has been read: else changes may be missing, and ConflictError ends the run.
https://learn.microsoft.com/sql/relational-databases/track-changes/work-with-change-tracking-sql-server
"""

from __future__ import annotations

import logging

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from shared.errors import ConfigError, ConflictError, IngestError
from shared.model import Feed, Slice, Unit
from shared.settings import Settings
from shared.sources import Ceiling
from shared.sources.sql.columns import Expression
from shared.sources.sql.database import Database
from shared.sources.sql.dialect import Reflected
from shared.sources.sql.order import Span, Table
from shared.sources.sql.source import SqlSource
from shared.sources.sql.sqlserver import SQLServer
from shared.sources.tables import CHANGE_DELETED, CHANGE_VERSION

_log = logging.getLogger("sluice")

_WHOLE = "SELECT {columns} FROM {place} AS t"
_WRITTEN = "SELECT {columns} FROM {changes} AS CT LEFT JOIN {place} AS t ON {same}"


class TrackedSource(SqlSource):
    """Reads one table by its change tracking. ConfigError if its database has none."""

    def __init__(self, feed: Feed, database: Database, settings: Settings) -> None:
        super().__init__(replace(feed, cursor=None, deleted=None), database, settings)
        self._tables: dict[tuple[int | None, bool], Table] = {}
        if not isinstance(database.dialect, SQLServer):
            raise ConfigError(
                f"feed {feed.name} has change_tracking, which only SQL Server and Azure SQL have",
                fix="Take change_tracking out of the catalog, and name a cursor there",
            )

    def ceiling(self, after: str | None) -> Ceiling | None:
        """See PullSource. ConfigError if the table is not tracked, or its versions have begun anew."""
        if after is None:
            return Ceiling(str(self._state()[0]), more=False, whole=True)
        seen = int(after)
        version: Expression = sa.literal_column("CT.SYS_CHANGE_VERSION")
        found = sa.select(version).select_from(sa.text(_escaped(f"{self._changes(seen)} AS CT")))
        last = found.order_by(version).limit(1).offset(self._settings.sync_rows - 1)
        top = found.with_only_columns(sa.func.max(version))
        try:
            current, oldest, *ends = self._state(last.scalar_subquery(), top.scalar_subquery())
        except IngestError:
            self._state()  # which says so if it is because tracking is off
            raise
        if seen > current:
            raise ConfigError(
                f"the change tracking of {self._origin} is at version {current}, before {seen}, which was read:"
                " it was switched on anew, or the database was restored",
                fix=f"Run sluice backfill {self._feed.name} --reset, and sync again",
            )
        if seen < oldest:
            _log.warning(
                "%s: the server keeps changes since version %d, and up to %d was read: it is read whole",
                self._feed.name, oldest, seen,
            )  # fmt: skip
            return Ceiling(str(current), more=False, whole=True)
        versions = [int(one) for one in ends if one is not None]
        return Ceiling(str(min(versions, default=seen)), more=len(set(versions)) > 1)

    def newest(self) -> str | None:
        """See PullSource."""
        return str(self._state()[0])

    def _pages(self, part: Slice) -> Iterator[pa.RecordBatch]:
        yield from super()._pages(part)
        span = Span.from_json(part.detail)
        if span.version is not None and not span.whole and self._state()[1] > span.version:
            raise ConflictError(
                f"changes of {self._origin} since version {span.version} were removed while they were read",
                fix="Sync it again: it is read whole then",
            )

    # -- statements

    def _spans(self, unit: Unit) -> list[Span]:
        if unit.kind == "keys":
            return [Span(keys=True)]
        floor = None if unit.window is None or unit.kind == "full" else unit.window.floor
        if floor is None:
            version = self.newest() if unit.window is None else unit.window.ceiling
            return [Span(version=int(version or 0), whole=True)]
        assert unit.window is not None  # noqa: S101 - it has a floor
        return [Span(floor=floor, ceiling=unit.window.ceiling, version=int(floor))]  # a version is never half read

    def _table_of(self, span: Span) -> Table:
        if span.keys:
            return self._table
        place = (span.version, span.whole)
        if place not in self._tables:  # statements are made of the expressions of one
            self._tables[place] = self._selected(span)
        return self._tables[place]

    def _selected(self, span: Span) -> Table:
        name, plain = self._name_there, self._reflected
        columns = [
            *(one if one.name in self._key_names else one._replace(nullable=True) for one in plain),
            Reflected(name, CHANGE_VERSION, "bigint", 19, 0, unsigned=False, nullable=False),
            Reflected(name, CHANGE_DELETED, "bit", None, None, unsigned=False, nullable=False),
        ]
        rows = sa.text(_escaped(self._rows(span))).columns(*(sa.column(one.name) for one in columns))
        clause = rows.subquery(name)
        found = {one.name: self._column(clause, one, ()) for one in columns}
        keys = tuple(found[key] for key in self._key_names)
        return replace(self._table, clause=clause, columns=found, keys=keys, cursor=found[CHANGE_VERSION])

    def _rows(self, span: Span) -> str:
        """All rows as of a version, or those that were written since one."""
        names = [_quoted(one.name) for one in self._reflected]
        if span.whole:
            columns = [f"t.{name} AS {name}" for name in names]
            more = [f"CAST({span.version} AS bigint) AS {CHANGE_VERSION}", f"CAST(0 AS bit) AS {CHANGE_DELETED}"]
            return _WHOLE.format(columns=", ".join([*columns, *more]), place=self._place)
        keys = [_quoted(name) for name in self._key_names]
        columns = [f"{'CT' if name in keys else 't'}.{name} AS {name}" for name in names]
        gone = f"CAST(CASE WHEN t.{keys[0]} IS NULL THEN 1 ELSE 0 END AS bit) AS {CHANGE_DELETED}"
        more = [f"CT.SYS_CHANGE_VERSION AS {CHANGE_VERSION}", gone]
        same = " AND ".join(f"t.{key} = CT.{key}" for key in keys)
        return _WRITTEN.format(
            columns=", ".join([*columns, *more]), changes=self._changes(span.version or 0), place=self._place, same=same
        )

    def _changes(self, since: int) -> str:
        """The server takes no expression there."""
        return f"CHANGETABLE(CHANGES {self._place}, {since})"

    def _state(self, *more: Any) -> list[Any]:
        """The present version, the oldest one that changes are kept since, and the values of subqueries."""
        place: Expression = sa.literal_column("N'" + self._place.replace("'", "''") + "'")
        oldest = sa.func.change_tracking_min_valid_version(sa.func.object_id(place))
        (row,) = self._database.rows(sa.select(sa.func.change_tracking_current_version(), oldest, *more))
        if row[0] is None or row[1] is None:
            raise ConfigError(
                f"change tracking is not on for {self._origin}, or the user may not see it",
                fix=f"Run ALTER TABLE {self._place} ENABLE CHANGE_TRACKING, after ALTER DATABASE CURRENT SET "
                f"CHANGE_TRACKING = ON (CHANGE_RETENTION = 7 DAYS), and GRANT VIEW CHANGE TRACKING ON {self._place}"
                " to the user",
            )
        return [int(row[0]), int(row[1]), *row[2:]]

    @cached_property
    def _place(self) -> str:
        """The table's name in statements. Without a schema, the user's default one counts, as everywhere."""
        schema = self._schema or self._database.schema
        return ".".join(_quoted(name) for name in (schema, self._name_there) if name)

    @cached_property
    def _name_there(self) -> str:
        return self._database.table(self._name, self._schema).name

    @cached_property
    def _reflected(self) -> Sequence[Reflected]:
        return self._database.table(self._name, self._schema).columns

    @cached_property
    def _key_names(self) -> list[str]:
        return [key.name for key in self._table.keys]


def _quoted(name: str) -> str:
    return f"[{name.replace(']', ']]')}]"


def _escaped(text: str) -> str:
    """For sa.text, where a colon begins the name of a parameter."""
    return text.replace(":", "\\:")

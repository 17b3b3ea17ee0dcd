"""Check a database: can it be reached, may we only read there, do its clock and its indexes fit the feeds."""

from __future__ import annotations

import datetime as dt

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from shared.contract.conform import folded
from shared.errors import IngestError
from shared.model import Feed, Finding
from shared.settings import Settings
from shared.sources.sql import columns
from shared.sources.sql.columns import NAIVE
from shared.sources.sql.database import Database, Reflection
from shared.sources.sql.facts import Facts, Size, look
from shared.sources.sql.postgres import PostgreSQL
from shared.sources.sql.source import database_of, named_table
from shared.sources.sql.tracking import TrackedSource

_CLOCK_SECONDS = 60
"""How far two clocks may differ before that is worth a warning."""
_SMALL = 10_000
"""Rows of a table that is read fast enough without an index."""
_SEARCHABLE = 1_000_000
"""Rows among which a NULL is looked for without an index; before its first ANALYZE PostgreSQL knows bytes alone."""
_SEARCHABLE_BYTES = 200_000_000
_UTC = ("utc", "etc/utc", "gmt", "+00:00", "zulu", "universal")
_MICROSECONDS = len("2026-02-24 12:00:00.123456")
_SHOWN = 5


def examine(
    feeds: Sequence[Feed], settings: Settings, now: Callable[[], dt.datetime], rate: Callable[[str], float | None]
) -> Iterator[Finding]:
    """Findings on the database of *feeds*, which are all of one system, and on each of their tables.

    Every query reads statistics, the catalog or one row. *now* is our time, aware; *rate* says how many rows a second
    the runs of a feed read so far. If the database cannot be reached, there is one finding.
    """
    check = f"source {feeds[0].system}"
    database = database_of(feeds, settings)
    try:
        yield from _Examined(check, database, feeds, now, rate).findings()
    except IngestError as error:
        yield Finding(check, "failed", error.problem, error.fix)
    finally:
        database.close()


def ping(system: str, settings: Settings) -> None:
    """Return once the database of *system* has answered one query, which reads no table. It is tried once."""
    database = Database(f"{system.upper()}_DATABASE_URL", settings.system(system).database_url)
    try:
        database.ping()
    finally:
        database.close()


@dataclass(frozen=True, slots=True)
class _Examined:
    check: str
    database: Database
    feeds: Sequence[Feed]
    now: Callable[[], dt.datetime]
    rate: Callable[[str], float | None]

    def findings(self) -> Iterator[Finding]:
        by_schema: dict[str | None, list[Feed]] = {}
        for feed in self.feeds:
            by_schema.setdefault(named_table(feed)[0], []).append(feed)
        facts: list[tuple[list[Feed], Facts]] = []
        for schema, feeds in by_schema.items():
            found, difference = self._look(schema, feeds)
            if not facts:
                yield from self._server(found, difference)
            facts.append((feeds, found))
        yield self._rights([text for _, found in facts for text in found.writes])
        yield from self._zone(facts[0][1])
        for feeds, found in facts:
            for feed in feeds:
                yield self._table(feed, found)

    def _look(self, schema: str | None, feeds: Sequence[Feed]) -> tuple[Facts, float]:
        """What the server says, and how many seconds its clock is ahead of ours."""
        tables = [self._spelled(feed) for feed in feeds]
        before = self.now()
        found = self.database.do(
            lambda connection: look(connection, self.database.dialect, schema or self.database.schema, tables)
        )
        after = self.now()
        theirs = dt.datetime.fromisoformat(found.clock[:_MICROSECONDS]).replace(tzinfo=dt.UTC)
        middle = before + (after - before) / 2
        return found, (theirs - middle).total_seconds()

    def _spelled(self, feed: Feed) -> str:
        schema, name = named_table(feed)
        try:
            return self.database.table(name, schema).name
        except IngestError:
            return name

    def _server(self, found: Facts, difference: float) -> Iterator[Finding]:
        server = found.server
        yield Finding(self.check, "ok", f"version {server.version}, signed in as {server.user}")
        text = f"its clock is {abs(difference):.1f} s {'ahead of' if difference > 0 else 'behind'} ours"
        if abs(difference) > _CLOCK_SECONDS:
            fix = "Let both be set by NTP: how far a table is behind, and how old it is, is reckoned between the two"
            yield Finding(f"{self.check}: clock", "warning", text, fix)
        else:
            yield Finding(f"{self.check}: clock", "ok", text)

    def _rights(self, writes: Sequence[str]) -> Finding:
        check = f"{self.check}: rights"
        if not writes:
            return Finding(check, "ok", "the user may only read")
        more = f" and {len(writes) - _SHOWN} more" if len(writes) > _SHOWN else ""
        return Finding(
            check, "warning", f"the user may change data: {', '.join(writes[:_SHOWN])}{more}",
            "Give Sluice a user of its own with SELECT alone: it never writes there, and a leaked password could",
        )  # fmt: skip

    def _zone(self, found: Facts) -> Iterator[Finding]:
        """Whether instants without zone are what the catalog takes them for, as far as the server's zone shows it."""
        zone, check = found.server.zone, f"{self.check}: time zone"
        naive = [feed.name for feed in self.feeds if feed.timezone == "UTC" and self._has_naive_cursor(feed)]
        if zone.lower() in _UTC or not naive:
            yield Finding(check, "ok", f"the server's is {zone}; our sessions use UTC")
            return
        more = f" and {len(naive) - _SHOWN} more" if len(naive) > _SHOWN else ""
        yield Finding(
            check, "warning",
            f"the server's is {zone}, but cursors without zone are read as UTC: {', '.join(naive[:_SHOWN])}{more}",
            f"If they are in local time, set {self.feeds[0].system.upper()}_TIMEZONE or timezone in the catalog",
        )  # fmt: skip

    def _has_naive_cursor(self, feed: Feed) -> bool:
        schema, name = named_table(feed)
        try:
            reflection = self.database.table(name, schema)
        except IngestError:
            return False
        known = {folded(one.name): one for one in reflection.columns}
        cursor = known.get(folded(feed.cursor)) if feed.cursor else None
        return cursor is not None and self.database.dialect.column(sa.column(cursor.name), cursor).type.equals(NAIVE)

    # -- one table

    def _table(self, feed: Feed, found: Facts) -> Finding:
        check = f"source {feed.name}"
        schema, name = named_table(feed)
        try:
            reflection = self.database.table(name, schema)
            names = {folded(one.name): one.name for one in reflection.columns}
            of_time = [] if feed.change_tracking else [feed.cursor, feed.cursor_fallback, feed.deleted]
            wanted = [*feed.keys, *of_time, *feed.references]
            missing = [column for column in wanted if column and folded(column) not in names]
            if missing:
                return Finding(
                    check, "failed", f"it has no column {', '.join(dict.fromkeys(missing))}",
                    f"Correct it in the catalog; its columns are {', '.join(names.values())}",
                )  # fmt: skip
            table = _Table(self.database, feed, reflection, found.indexes.get(reflection.name, ()))
            size = found.sizes.get(reflection.name, Size(None, None))
            if feed.change_tracking:
                TrackedSource(feed, self.database, Settings()).newest()
            problems = [*table.unread(), *table.unindexed(size), *table.nulls(size)]
        except IngestError as error:
            return Finding(check, "failed", error.problem, error.fix)
        text = "; ".join([self._size(feed, size), *(problem for problem, _ in problems)])
        return Finding(check, "warning" if problems else "ok", text, ". ".join(fix for _, fix in problems))

    def _size(self, feed: Feed, size: Size) -> str:
        if size.rows is None:
            return "its number of rows is not known to the server"
        text = f"about {size.rows:,} rows" + ("" if size.bytes is None else f", {size.bytes / 1e6:,.1f} MB")
        rate = self.rate(feed.name)
        return text if rate is None else f"{text}: a full takes about {_duration(size.rows / rate)}, as runs so far did"


@dataclass(frozen=True, slots=True)
class _Table:
    """A table that is there with all columns that its feed names."""

    database: Database
    feed: Feed
    reflection: Reflection
    indexes: Sequence[Sequence[str | None]]

    @property
    def clause(self) -> sa.TableClause:
        schema = named_table(self.feed)[0] or self.database.schema
        return columns.quoted_table(self.reflection.name, schema, [one.name for one in self.reflection.columns])

    def unread(self) -> Iterator[tuple[str, str]]:
        """Nothing, or ConfigError if the user may not read it."""
        self.database.rows(sa.select(sa.literal_column("1")).select_from(self.clause).limit(1))
        yield from ()

    def unindexed(self, size: Size) -> Iterator[tuple[str, str]]:
        """A problem with its fix if a large table has no index that begins with cursor and key."""
        if self.feed.change_tracking or self.feed.cursor is None or size.rows is None or size.rows < _SMALL:
            return
        wanted = [self._spelled(name) for name in dict.fromkeys([self.feed.cursor, *self.feed.keys])]
        leading = [index for index in self.indexes if index[0] == wanted[0]]
        if any(list(index[: len(wanted)]) == wanted for index in leading):
            return
        if leading and self._has_key_in_indexes(wanted[1:]):
            return
        listed = ", ".join(wanted)
        problem = "its index on the cursor lacks the key" if leading else f"no index begins with its cursor {wanted[0]}"
        yield problem, f"Create an index on {self.reflection.name} ({listed}): each run sorts the table without it"

    def _has_key_in_indexes(self, keys: Sequence[str]) -> bool:
        """Whether every index ends with the key: InnoDB appends the primary key, SQL Server the clustering one."""
        return not isinstance(self.database.dialect, PostgreSQL) and frozenset(keys) in self.reflection.unique

    def nulls(self, size: Size) -> Iterator[tuple[str, str]]:
        """A problem with its fix if rows have no cursor, and no other column stands in for it."""
        by = self.feed.cursor
        if by is None or self.feed.cursor_fallback is not None or self.feed.change_tracking:
            return
        name = self._spelled(by)
        if not next(one.nullable for one in self.reflection.columns if one.name == name):
            return
        fix = f"Declare {name} NOT NULL there, or name another column as cursor_fallback in the catalog"
        is_small = size.rows < _SEARCHABLE if size.rows is not None else (size.bytes or 0) < _SEARCHABLE_BYTES
        if not is_small and not any(index[0] == name for index in self.indexes):
            yield f"its cursor {name} may be NULL: rows without one are read by the first run alone", fix
            return
        clause = self.clause
        nulls: sa.Select[Any] = sa.select(sa.literal_column("1")).select_from(clause).where(clause.c[name].is_(None))
        if self.database.rows(nulls.limit(1)):
            yield f"rows have no cursor {name}: they are read by the first run alone", fix

    def _spelled(self, name: str) -> str:
        return next(one.name for one in self.reflection.columns if folded(one.name) == folded(name))


def _duration(seconds: float) -> str:
    """For people.

    >>> [_duration(seconds) for seconds in (0.2, 90, 5400)]
    ['1 s', '90 s', '90 min']
    """
    return f"{max(1, round(seconds))} s" if seconds < 120 else f"{round(seconds / 60):,} min"

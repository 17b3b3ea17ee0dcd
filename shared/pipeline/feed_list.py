"""A table that lists feeds, read at each run: which tables, by which cursor, from where on, and whether at all."""

from __future__ import annotations

import datetime as dt
import glob
import logging

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from shared.catalog import LISTED, FeedList, System
from shared.contract import cursor
from shared.documents import Documents, read_json, to_json
from shared.errors import ConfigError, IngestError
from shared.ledger import Ledger
from shared.model import MAIN, Feed, Watermark, to_text
from shared.pipeline.backfill import BackfillRequest, backfill
from shared.pipeline.folder import parse_time
from shared.settings import Settings
from shared.sources import database_tables, table_rows
from shared.sources.tables import DatabaseTable, Discovery, FoundTable, found_tables
from shared.text import SHOW_WARNING
from shared.warehouses import WarehouseWithHistory

_log = logging.getLogger("sluice")

_YES = ("1", "true", "t", "yes", "y", "on", "enabled", "active")
_NO = ("0", "false", "f", "no", "n", "off", "disabled", "inactive")


class _Row(NamedTuple):
    """A row of the list, as text."""

    number: int
    values: Mapping[str, str | None]
    """By what it means; only of columns that the list has."""

    @property
    def pattern(self) -> str:
        """The table, as a pattern of ``Discovery``."""
        schema, table = self.values.get("schema"), glob.escape(self.values["table"] or "")
        return f"{glob.escape(schema)}.{table}" if schema else table


class _Refused(Exception):  # noqa: N818 - what is wrong with one row; the others are feeds
    """Why a row is no feed."""


def listed_tables(
    system: System, kind: str, settings: Settings, warehouse: WarehouseWithHistory, declared: Mapping[str, str]
) -> list[FoundTable]:
    """The tables that the system's list names. A row that makes no sense is logged as a warning, and is no feed.

    *declared* are the feeds that have a table already. ConfigError or TransientError if the list cannot be read.
    """
    assert system.feed_list is not None  # noqa: S101 - only systems with a list are looked up so
    rows = list(_rows(system, kind, settings, warehouse, system.feed_list))
    patterns = [row.pattern for row in rows if row.values["table"]]
    tables = database_tables(system.name, kind, settings, patterns) if patterns else []
    found: list[FoundTable] = []
    for row in rows:
        try:
            found.append(_found(row, tables, system, declared, {one.source_table for one in found}))
        except _Refused as refused:
            text = f"row {row.number} of {system.feed_list.table} ({row.values['table'] or 'no table'}): {refused}"
            _log.warning("system %s: %s", system.name, text, extra=SHOW_WARNING)
    return found


def _rows(
    system: System, kind: str, settings: Settings, warehouse: WarehouseWithHistory, known: FeedList
) -> Iterator[_Row]:
    if known.where == "source":
        columns, rows = table_rows(system.name, kind, settings, known.table)
    else:
        schema, _, table = known.table.partition(".")
        columns, rows = warehouse.table_rows(schema, table)
    places = _places(known, columns)
    for number, row in enumerate(rows, 1):
        yield _Row(number, {name: _text(row[place]) for name, place in places.items()})


def _places(known: FeedList, columns: Sequence[str]) -> dict[str, int]:
    """Where the columns of the list are, by what they mean."""
    if not columns:
        raise ConfigError(f"there is no table {known.table} in the warehouse", fix="Correct [feed_list] in the catalog")
    there = {name.casefold(): place for place, name in enumerate(columns)}
    wanted = {name: known.columns.get(name, name) for name in LISTED}
    missing = [wanted[name] for name in wanted if name in known.columns and wanted[name].casefold() not in there]
    if wanted["table"].casefold() not in there:
        missing = list(dict.fromkeys((wanted["table"], *missing)))
    if missing:
        raise ConfigError(
            f"{known.table} has no column {', '.join(map(repr, missing))}, only {', '.join(columns)}",
            fix="Correct columns under [feed_list] in the catalog",
        )
    return {name: there[column.casefold()] for name, column in wanted.items() if column.casefold() in there}


def _text(value: Any) -> str | None:
    """A value of the list; None for NULL and blanks."""
    if isinstance(value, dt.datetime):
        return to_text(value)
    return (str(value).strip() or None) if value is not None else None


def _found(
    row: _Row, tables: Sequence[DatabaseTable], system: System, declared: Mapping[str, str], before: Collection[str]
) -> FoundTable:
    """The feed of one row. _Refused if it makes no sense."""
    assert system.feed_list is not None  # noqa: S101 - as above
    if row.values["table"] is None:
        raise _Refused("it names no table")
    rules = Discovery(include=(row.pattern,))
    fitting = [table for table in tables if rules.takes(table)]
    if not fitting:
        raise _Refused("the database has no such table, or its user may not see it")
    new = found_tables(fitting[:1], rules, system.name, declared)
    if not new:
        raise _Refused(f"it is declared in {system.file.name}, which goes before")
    if new[0].source_table in before:
        raise _Refused("it is listed twice")
    chosen = _with_columns(new[0], row, fitting[0])
    since = row.values.get("last_value")
    return replace(
        chosen, listed=True, has_last_value="last_value" in row.values, last_value=since,
        skipped=chosen.skipped if _enabled(row) else f"it is not enabled in {system.feed_list.table}",
        cursor_type=_cursor_type(chosen, fitting[0]), reason=f"{chosen.reason}, listed in {system.feed_list.table}",
    )  # fmt: skip


def _enabled(row: _Row) -> bool:
    text = (row.values.get("enabled", "1") or "").casefold()
    if text not in (*_YES, *_NO):
        raise _Refused(f"enabled is {text or 'NULL'}, which is neither yes nor no")
    return text in _YES


def _with_columns(found: FoundTable, row: _Row, table: DatabaseTable) -> FoundTable:
    """With key and cursor as the row has them."""
    spelled = {column.name.casefold(): column.name for column in table.columns}
    keys = [name.strip() for name in (row.values.get("keys") or "").split(",") if name.strip()]
    by = row.values.get("cursor")
    if unknown := [name for name in (*keys, by) if name and name.casefold() not in spelled]:
        names = ", ".join(column.name for column in table.columns)
        raise _Refused(f"the table has no column {', '.join(map(repr, unknown))}, only {names}")
    changes: dict[str, Any] = {}
    reasons = found.reason.partition(", ")
    if keys:
        changes |= {"keys": tuple(spelled[key.casefold()] for key in keys), "skipped": None}
    elif found.skipped:
        raise _Refused(found.skipped)
    if "cursor" in row.values:
        changes["cursor"] = spelled[by.casefold()] if by else None
    key_reason = "key and" if keys else f"{reasons[0]},"
    cursor_reason = f"cursor {changes['cursor'] or 'none'} as the list says" if "cursor" in changes else reasons[2]
    return replace(found, **changes, reason=f"{key_reason} {cursor_reason}")


def _cursor_type(found: FoundTable, table: DatabaseTable) -> str | None:
    """The column type of the cursor, as far as it is known before rows are read."""
    by = next((column for column in table.columns if column.name == found.cursor), None)
    if by is None:
        return None
    return "timestamp" if by.instant else ("bigint" if by.number else None)


# -- where the list says that reading is to begin


@dataclass(frozen=True, slots=True, kw_only=True)
class LastValues:
    """Applies the last values of a list of feeds: each once, when it has been changed."""

    systems: Mapping[str, System]
    """Resolved."""
    warehouse: WarehouseWithHistory
    ledger: Ledger
    documents: Documents
    now: str
    """Text of records."""
    destination: str = MAIN
    """That of ``warehouse`` and ``ledger``."""

    def apply(self, system: str, tables: Collection[str] = ()) -> None:
        """Set watermarks back where a value was changed to one below, or to NULL for everything.

        A table that has no watermark begins at its value. What was applied is remembered; what cannot be is a warning.
        """
        known = self.systems[system]
        for one in known.found:
            if self.destination not in known.destinations(one.table):
                continue
            if one.has_last_value and one.skipped is None and one.cursor and (not tables or one.table in tables):
                try:
                    self._apply(known.feed(one.table, ()), one, str(known.feed_list and known.feed_list.table))
                except IngestError as error:
                    text = f"{known.name}.{one.table}: the last value in its list is not applied: {error}"
                    _log.warning("%s", text, extra=SHOW_WARNING)

    def _apply(self, feed: Feed, found: FoundTable, where: str) -> None:
        folder = "feed_lists" if self.destination == MAIN else f"feed_lists/{self.destination}"
        document = f"{folder}/{feed.name}"
        seen, now = read_json(self.documents, document), {"last_value": found.last_value}
        if seen == now:
            return
        to = None if found.last_value is None else _in_utc(found.last_value, feed.timezone)
        if self.ledger.watermark(feed.name).value is None:
            self._begin(feed, found, to, where)
        elif seen is not None:  # else nobody knows whether the value is older than the watermark or was set back
            request = BackfillRequest(feed=feed.name, to=to, requested_by=f"feed list {where}", now=self.now)
            done = backfill(request, systems=self.systems, warehouse=self.warehouse, ledger=self.ledger)
            if done.recorded is None:
                text = f"{feed.name}: its last value in {where} changes nothing: {done.reason}"
                _log.warning("%s", text, extra=SHOW_WARNING)
        self.documents.put(document, to_json(now))

    def _begin(self, feed: Feed, found: FoundTable, to: str | None, where: str) -> None:
        if to is None:
            return
        if found.cursor_type is None:
            raise ConfigError(f"nobody can tell yet what {to!r} is", fix="Set it once rows have been read")
        value = parse_time(to) if found.cursor_type == "timestamp" else cursor.text(cursor.typed(found.cursor_type, to))
        note = f"begins at {value} as {where} says"
        self.ledger.rewind(feed.name, Watermark(value=value, type=found.cursor_type, note=note))


def _in_utc(text: str, timezone: str) -> str:
    """A time without zone in *timezone* as one in UTC; anything else as it is."""
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError:
        return text
    return to_text(time if time.tzinfo else time.replace(tzinfo=ZoneInfo(timezone)))

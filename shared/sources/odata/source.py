"""Sets of OData services, read by windows of their cursor where they have one, and whole where not.

* Instants without zone are in the ``timezone`` of the feed, but for properties named ``...Utc``.
* ``isActive`` is MarketSharp's flag of rows that are there: the column ``isDeleted`` is made of it.
* A window with few rows costs one call, which also shows whether there is anything new.
"""

from __future__ import annotations

import datetime as dt
import re

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from shared.contract import cursor as cursors
from shared.contract import types as column_types
from shared.errors import ConfigError
from shared.model import Feed, Slice, Unit
from shared.rest import instants
from shared.rest.connect import open_client
from shared.rest.few import Few
from shared.rest.pages import Place
from shared.rest.stretches import Stretch, batches, by_size, rows_of
from shared.settings import Settings
from shared.sources import Ceiling, Described
from shared.sources.odata.atom import Row
from shared.sources.odata.metadata import EntitySet
from shared.sources.odata.service import SIZE, Query, Service, literal
from shared.traffic import Traffic

ACTIVE, DELETED = "isActive", "isDeleted"
STAMPS = ("lastUpdate", "lastUpdateUtc")
"""What MarketSharp stamps changes with."""
_INSTANTS = ("Edm.DateTime", "Edm.DateTimeOffset")
_ZONED = re.compile(r"(Z|[+-]\d\d:\d\d)$")
_SECOND = dt.timedelta(seconds=1)


def open_source(feed: Feed, settings: Settings) -> ODataSource:
    """The set of *feed*. ConfigError if a setting is missing or wrong. Nothing is called yet."""
    return ODataSource(feed, open_service(feed, settings), settings)


def open_service(feed: Feed, settings: Settings) -> Service:
    return Service(client=open_client(feed, settings), size=int(feed.api.get("size", SIZE)))


def columns_of(of: EntitySet) -> dict[str, str]:
    """The column types of a set: its properties, and whether an entry is deleted."""
    own = {DELETED: "boolean"} if of.types.get(ACTIVE) == "boolean" and DELETED not in of.types else {}
    return {**of.types, **own}


def check(feed: Feed, of: EntitySet, host: str) -> None:
    """ConfigError if *feed* names a property that its set does not have, or a cursor that is no instant."""
    known = columns_of(of)
    if absent := [name for name in (*feed.keys, feed.cursor, feed.deleted) if name and name not in known]:
        raise ConfigError(
            f"{of.name} of {host} has no field {', '.join(absent)}",
            fix=f"Correct it in the catalog; the fields are {', '.join(known)}",
        )
    if feed.cursor and of.edm[feed.cursor] not in _INSTANTS:
        raise ConfigError(
            f"cursor {feed.cursor} of {of.name} is {of.edm[feed.cursor]}",
            fix="Choose one that is an instant, or cursor = false",
        )


class ODataSource:
    """Reads one set. A window is one slice."""

    def __init__(self, feed: Feed, service: Service, settings: Settings) -> None:
        self._feed, self._service, self._settings = feed, service, settings
        self._set: EntitySet | None = None
        self._few = Few[Row]()
        """Rows that ``peek`` has read, with what they are of."""
        self._settled: tuple[dt.datetime, dt.datetime, Sequence[Row]] | None = None
        """The rows from a cursor to another one, if they are so few that the search for the end brought them all."""

    def traffic(self) -> Traffic:
        """What was called so far."""
        return self._service.client.traffic()

    def close(self) -> None:
        self._service.client.close()

    # -- windows

    def ceiling(self, after: str | None) -> Ceiling | None:
        """See PullSource. One call, or three where there is more than a page."""
        of = self._checked()
        seen = None if after is None else _typed(after)
        if seen is not None and (top := self._settle(of, seen)) is not None:
            return Ceiling(cursors.text(top), more=False)
        newest = self._cursor_of(of, self._service.newest(of, str(self._feed.cursor)))
        if newest is None:
            return None if after is None else Ceiling(after, more=False)
        more = [f"{self._feed.cursor} gt {self._literal(of, seen)}"] if seen else [f"{self._feed.cursor} ne null"]
        query = Query(conditions=more, cursor=self._feed.cursor)
        beyond = self._cursor_of(of, self._service.at(of, query, self._settings.sync_rows - 1))
        top = newest if beyond is None else min(beyond, newest)
        return Ceiling(cursors.text(top if seen is None else max(top, seen)), more=top < newest)

    def newest(self) -> str | None:
        """See PullSource."""
        of = self._checked()
        found = self._cursor_of(of, self._service.newest(of, str(self._feed.cursor)))
        return None if found is None else cursors.text(found)

    def _settle(self, of: EntitySet, seen: dt.datetime) -> dt.datetime | None:
        """The highest cursor, *seen* at least, if all rows from the overlap on fit into one page; they are kept."""
        low = seen - dt.timedelta(seconds=self._feed.overlap_seconds)
        pages = self._service.pages(of, self._between(of, low, None))
        rows = next(pages).rows
        if len(rows) > self._settings.sync_rows or next(pages, None) is not None:
            return None
        top = max((at for row in rows if (at := self._cursor_of(of, row)) is not None), default=seen)
        self._settled = (low, max(top, seen), rows)
        return max(top, seen)

    # -- rows

    def describe(self, unit: Unit) -> Described:
        """See Source."""
        of = self._checked(fresh=unit.kind == "full" and self._feed.cursor is not None)
        types = columns_of(of)
        if unit.kind == "keys":
            types = {name: kind for name, kind in types.items() if name in self._feed.keys}
        window = unit.window if unit.kind == "window" else None
        detail = {
            "kind": unit.kind, "floor": window.floor if window else None, "columns": list(types),
            "ceiling": window.ceiling if window else None,
        }  # fmt: skip
        place = f"{self._service.client.host} {of.name}"
        schema = pa.schema([(name, column_types.to_arrow(kind)) for name, kind in types.items()])
        return Described({place: schema}, [Slice(0, 0, 0, place, 0, detail)], {})

    def peek(self, unit: Unit, most: int) -> list[pa.RecordBatch] | None:
        """See PullSource. What it reads is not called for again by ``read``."""
        part = self.describe(unit).slices[0]
        rows = self._few.keep(part.detail, rows_of(self._stretches(part.detail, None)), most)
        return None if rows is None else [_batch(rows, self._checked(), part.detail["columns"])] if rows else []

    def read(self, part: Slice) -> Iterator[pa.RecordBatch | Slice]:
        """See Source. ConflictError if a property appeared since the run was planned."""
        kept, of = self._few.of(part.detail), self._checked()

        def stretches(place: Place | None) -> Iterator[Stretch[Row]]:
            return iter([Stretch(kept, None)]) if kept is not None else self._stretches(part.detail, place)

        size = min(self._service.size, self._settings.batch_rows)

        def batches_of(rows: Sequence[Row]) -> Iterator[pa.RecordBatch]:
            return by_size(rows, lambda some: _batch(some, of, part.detail["columns"]), size)

        yield from batches(part, stretches, batches_of, size)

    def _stretches(self, detail: Mapping[str, Any], place: Place | None) -> Iterator[Stretch[Row]]:
        of = self._checked()
        if detail["kind"] == "keys" or self._feed.cursor is None:
            select = self._feed.keys if detail["kind"] == "keys" else ()
            return self._service.pages(of, Query(select=select), start=place)
        low, high = (None if detail[end] is None else _typed(detail[end]) for end in ("floor", "ceiling"))
        return (
            Stretch([row for row in found.rows if self._is_between(of, low, row, high)], found.place)
            for found in self._window(of, low, high, place)
        )

    def _is_between(self, of: EntitySet, low: dt.datetime | None, row: Row, high: dt.datetime | None) -> bool:
        at = self._cursor_of(of, row)
        return at is None or ((low is None or low <= at) and (high is None or at <= high))

    def _window(
        self, of: EntitySet, low: dt.datetime | None, high: dt.datetime | None, place: Place | None
    ) -> Iterator[Stretch[Row]]:
        """The rows of a window; in the first one, after them, those without a cursor, which are in no window.

        The contract says what becomes of these.
        """
        if place is None and self._settled is not None and self._settled[:2] == (low, high):
            yield Stretch(self._settled[2], None)
            return
        if place is None or "without" not in place:
            for page in self._service.pages(of, self._between(of, low, high), start=place and place["with"]):
                last = {"without": None} if low is None else None
                yield Stretch(page.rows, {"with": page.place} if page.place else last)
        if low is None:
            query = Query(conditions=[f"{self._feed.cursor} eq null"])
            for page in self._service.pages(of, query, start=place.get("without") if place else None):
                yield Stretch(page.rows, page.place and {"without": page.place})

    def _between(self, of: EntitySet, low: dt.datetime | None, high: dt.datetime | None) -> Query:
        """Cursors from *low* to *high*, by whole seconds: the service may have them finer than it writes them."""
        cursor = str(self._feed.cursor)
        least = [f"{cursor} ge {self._literal(of, low.replace(microsecond=0))}"] if low else []
        most = [f"{cursor} lt {self._literal(of, high.replace(microsecond=0) + _SECOND)}"] if high else []
        return Query(conditions=[*least, *most] or [f"{cursor} ne null"], cursor=cursor)

    def _literal(self, of: EntitySet, moment: dt.datetime) -> str:
        """*moment* (UTC, without zone) as the service has it."""
        edm, cursor = of.edm[str(self._feed.cursor)], str(self._feed.cursor)
        if edm == "Edm.DateTime" and not _is_utc(cursor):
            moment = moment.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(self._feed.timezone)).replace(tzinfo=None)
        return literal(moment.isoformat(), edm)

    def _cursor_of(self, of: EntitySet, row: Row | None) -> dt.datetime | None:
        """The cursor of a row, in UTC without zone."""
        if row is None:
            return None
        cursor = str(self._feed.cursor)
        zone = "UTC" if _is_utc(cursor) else self._feed.timezone
        found: dt.datetime | None = instants.parse(row[list(of.types).index(cursor)], "iso", zone)
        return found

    def _checked(self, *, fresh: bool = False) -> EntitySet:
        if self._set is None or fresh:
            self._set = self._service.entity_set(str(self._feed.api["set"]), fresh=fresh)
            check(self._feed, self._set, self._service.client.host)
        return self._set


def as_records(rows: Sequence[Row], of: EntitySet) -> list[dict[str, str | None]]:
    """*rows* as texts by column."""
    batch = _batch(rows, of, list(columns_of(of))) if rows else None
    return [] if batch is None else batch.to_pylist()


def _batch(rows: Sequence[Row], of: EntitySet, columns: Sequence[str]) -> pa.RecordBatch:
    """*rows* as text, which their contract casts."""
    values: dict[str, Sequence[str | None]] = dict(zip(of.types, zip(*rows, strict=True), strict=True))
    for name, edm in of.edm.items():
        if edm == "Edm.DateTime" and _is_utc(name):
            values[name] = [one if one is None or _ZONED.search(one) else f"{one}Z" for one in values[name]]
    if DELETED in columns and DELETED not in values:
        values[DELETED] = ["true" if one in ("false", "0") else "false" for one in values[ACTIVE]]
    return pa.RecordBatch.from_arrays([pa.array(values[name], pa.string()) for name in columns], names=list(columns))


def _is_utc(name: str) -> bool:
    return name.endswith("Utc")


def _typed(text: str) -> dt.datetime:
    found: dt.datetime = cursors.typed("timestamp", text)
    return found

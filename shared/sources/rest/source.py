"""Lists of REST APIs, as the catalog describes them, read from a cursor on.

What a feed has to know:

* A list is read whole, or from the watermark less ``overlap_seconds`` if the catalog names the parameter for that.
  Rows outside of the window are left out here, whatever the API made of the parameter. A row without a cursor is
  read, and rejected by its contract.
* With ``columns = "found"`` all pages are read before the run is planned, into a temporary file: the types of columns
  follow from all values. A job that stages on another machine reads them a second time. With ``"declared"`` only the
  first page is read before, and what the catalog declares no type for comes as JSON in one column.
* An API that hands out pages by number may show a row twice, or not at all, if rows come or go meanwhile: the overlap
  reads them again, and a full heals.
* The highest cursor read is where the next window begins, never a clock. A window of many pages whose list has no end
  yet in sight (``declared``) ends at the API's own time.
"""

from __future__ import annotations

import contextlib
import datetime as dt

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from shared.contract import cursor, types
from shared.contract.conform import folded
from shared.errors import ConflictError
from shared.model import Feed, Slice, Unit
from shared.rest import instants
from shared.rest.client import Client
from shared.rest.connect import open_client
from shared.rest.pages import Place
from shared.rest.rows import Kinds, Record, batch_of, schema_of
from shared.rest.stretches import Stretch, batches, by_size
from shared.settings import Settings
from shared.sources import Ceiling, Described
from shared.sources.rest.listing import Listing
from shared.sources.rest.options import EXTRA, ListOptions, Rows
from shared.traffic import Traffic

_BATCH = 2_000
"""Rows of a batch: pages are small, and each batch has a cost of its own."""


def open_source(feed: Feed, settings: Settings) -> RestSource:
    """The list of *feed*. ConfigError if a setting is missing or wrong. Nothing is called yet."""
    return RestSource(feed, open_client(feed, settings), settings)


class RestSource:
    """Reads one list of an API. It is one slice."""

    def __init__(self, feed: Feed, client: Client, settings: Settings) -> None:
        self._feed, self._client, self._settings = feed, client, settings
        self.options = ListOptions.of(feed)
        self._rows = Rows(feed, self.options)
        self._listing: Listing | None = None

    def traffic(self) -> Traffic:
        """What was called so far."""
        return self._client.traffic()

    def close(self) -> None:
        if self._listing is not None:
            self._listing.close()
            self._listing = None
        self._client.close()

    def ceiling(self, after: str | None) -> Ceiling | None:
        """See PullSource. An API without order is read to its end to know where N rows of it end."""
        since = self._since(after)
        found = self._ceiling(after, since)
        return None if found is None else found._replace(note=self._forgotten(since))

    def _ceiling(self, after: str | None, since: str | None) -> Ceiling | None:
        listing = self._listed(since)
        if not self._has_found and not listing.is_whole:
            now = listing.time()
            if now is not None and self._kind == "timestamp" and self._settings.sync_rows > listing.rows:
                return Ceiling(instants.text(now - dt.timedelta(seconds=self.options.lag_seconds)), more=False)
            listing.read()
        seen = None if after is None else cursor.typed(self._kind, after)
        top, more = listing.ceiling(seen, self._settings.sync_rows)
        if top is not None:
            return Ceiling(instants.text(top if seen is None else max(top, seen)), more=more)
        if listing.rows and next(listing.cursors(), None) is None:
            raise listing.refuse_without_cursor(str(self._feed.cursor))
        return None if after is None else Ceiling(after, more=False)

    def _forgotten(self, since: str | None) -> str | None:
        """What the API no longer has of a window that begins at *since*."""
        now = self._listing.time() if self._listing is not None else None
        if self.options.retention_days is None or now is None or self._kind != "timestamp":
            return None
        oldest = now - dt.timedelta(days=self.options.retention_days)
        if since is not None and cursor.typed(self._kind, since) >= oldest:
            return None
        kept = f"{self._client.host} keeps {self.options.retention_days} days"
        return f"{kept}: nothing from before {oldest:%Y-%m-%d} is read"

    def newest(self) -> str | None:
        """See PullSource."""
        listing = self._listed(None, whole=True)
        top, _ = listing.ceiling(None, listing.rows)
        return None if top is None else instants.text(top)

    def describe(self, unit: Unit) -> Described:
        """See Source."""
        window = unit.window if unit.kind == "window" else None
        since = self._since_floor(window.floor) if window else None
        listing = self._listed(since, whole=self._has_found)
        columns = self._columns(listing)
        if unit.kind == "keys":
            keys = {folded(name) for name in self._feed.keys}
            columns = {name: kind for name, kind in columns.items() if folded(name) in keys}
        detail = {
            "since": since, "floor": window.floor if window else None, "ceiling": window.ceiling if window else None,
            "columns": columns,
        }  # fmt: skip
        rows = listing.rows if listing.is_whole else 0
        return Described({self._place: schema_of(columns)}, [Slice(0, 0, rows, self._place, 0, detail)], {})

    def peek(self, unit: Unit, most: int) -> list[pa.RecordBatch] | None:
        """See PullSource. None too if the list would have to be called for."""
        found = self.describe(unit).slices[0] if self._listing is not None else None
        if found is None or self._listing is None or not self._listing.is_whole or found.rows > most:
            return None
        return [one for one in self.read(found) if isinstance(one, pa.RecordBatch)]

    def read(self, part: Slice) -> Iterator[pa.RecordBatch | Slice]:
        """See Source. ConflictError if a field appeared since the run was planned."""
        columns: Mapping[str, str] = part.detail["columns"]

        def stretches(place: Place | None) -> Iterator[Stretch[Record]]:
            for found in self._pages(part.detail["since"], place):
                yield Stretch(self._within(found.rows, part.detail["floor"], part.detail["ceiling"]), found.place)

        size = min(_BATCH, self._settings.batch_rows)
        yield from batches(
            part, stretches, lambda rows: by_size(rows, lambda some: self._batch(some, columns), size), size
        )

    # -- what there is

    @property
    def _has_found(self) -> bool:
        return self.options.columns == "found"

    @property
    def _kind(self) -> str:
        return instants.FORMATS[self.options.cursor_format]

    @property
    def _place(self) -> str:
        return f"{self._client.host} {self.options.path.partition('?')[0]}"

    def _since(self, after: str | None) -> str | None:
        """Where the list has to begin if everything up to *after* is loaded."""
        if after is None or self.options.since is None:
            return None
        if self._kind != "timestamp":
            return after
        return instants.text(cursor.typed(self._kind, after) - dt.timedelta(seconds=self._feed.overlap_seconds))

    def _since_floor(self, floor: str | None) -> str | None:
        return None if self.options.since is None else floor

    def _listed(self, since: str | None, *, whole: bool = False) -> Listing:
        """The list from *since* on: its first page at least."""
        if self._listing is None or self._listing.since != since:
            if self._listing is not None:
                self._listing.close()
            self._listing = Listing(self._client, self.options, self._rows, since)
            self._listing.read(None if self._has_found else 1)
        if whole:
            self._listing.read()
        return self._listing

    def _columns(self, listing: Listing) -> dict[str, str]:
        if not self._has_found:
            extra = {EXTRA: "text"} if self._rows.has_extra else {}
            return {**self._feed.types, **extra}
        needed = (*self._feed.keys, self._feed.cursor, self._feed.deleted)
        columns = listing.kinds.types
        spelled = {folded(name) for name in columns}
        return columns | {
            name: types.NULL for name in needed if name and folded(name) not in spelled and not listing.rows
        }

    def _pages(self, since: str | None, place: Place | None) -> Iterator[Stretch[Record]]:
        """The rows of the list. What is here of it is not called for again, unless it is read a second time."""
        listing = self._listing
        if place is None and listing is not None and listing.since == since and listing.is_whole:
            yield from (Stretch(rows, None) for rows in listing)
            return
        if place is not None or listing is None or listing.since != since:
            listing = Listing(self._client, self.options, self._rows, since, place)
        else:
            self._listing = None
        with contextlib.closing(listing):
            yield from listing.stream()

    def _within(self, rows: Sequence[Record], floor: str | None, ceiling: str | None) -> list[Record]:
        low, high = (None if text is None else cursor.typed(self._kind, text) for text in (floor, ceiling))
        if low is None and high is None:
            return list(rows)
        return [row for row in rows if _is_between(low, self._rows.cursor(row), high)]

    def _batch(self, rows: Sequence[Record], columns: Mapping[str, str]) -> pa.RecordBatch:
        if not self._has_found:
            rows = self._rows.declared(rows)
            kinds = Kinds()
            kinds.look(rows)
            seen = kinds.types
            return batch_of(rows, schema_of({name: seen.get(name, types.NULL) for name in columns}))
        new = {name for row in rows for name, value in row.items() if value is not None} - columns.keys()
        if new and not columns.keys() <= set(self._feed.keys):
            raise ConflictError(
                f"{self._place} has new fields since the run was planned: {', '.join(sorted(new))}",
                fix="Nothing to do: the next sync reads them",
            )
        return batch_of(rows, schema_of(columns))


def _is_between(low: Any, value: Any, high: Any) -> bool:
    """Whether *value* is in the window. A row without a cursor is in every one: its contract rejects it."""
    return value is None or ((low is None or low <= value) and (high is None or value <= high))

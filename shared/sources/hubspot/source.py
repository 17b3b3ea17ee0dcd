"""Objects of HubSpot, read by windows of their last modification, and associations, read whole.

* A window is searched by the keyset of ids: each search asks for ids above the last one, so that neither the 10,000
  results that a search gives at most, nor thousands of records with the same instant, nor records that leave the window
  meanwhile cost a row. What was found is then read in batches, from the store instead of the index.
* Windows end ``lag_seconds`` before HubSpot's own time: its index shows changes late.
* The first window, a full and keys are read from the list, which has every record.
* Objects that events named are read by their ids, whatever their last modification.
* Each run also lists what was archived since the window began, as HubSpot does not count that as a change; a record
  that was merged into another is deleted with the time of that one, and names it in ``merged_into``.
"""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from shared.contract import cursor as cursors
from shared.contract import types as column_types
from shared.errors import DataError
from shared.model import Feed, Slice, Unit
from shared.parallel import in_order
from shared.rest import connect, instants
from shared.rest.connect import open_client
from shared.rest.few import Few
from shared.rest.limits import Rate
from shared.rest.pages import Page, Place
from shared.rest.rows import Record
from shared.rest.stretches import Stretch, batches, by_size, rows_of
from shared.settings import Settings
from shared.sources import Ceiling, Described
from shared.sources.hubspot import records
from shared.sources.hubspot.associations import AssociationSource
from shared.sources.hubspot.calls import LIST, LONGEST_QUERY, SEARCH, SEARCHES, Calls, Found, between
from shared.sources.hubspot.columns import PageReader, in_batches, until, with_losers
from shared.sources.hubspot.named import NamedReader
from shared.traffic import Traffic

BASE_URL = "https://api.hubapi.com"
VERSION = "2026-03"
_ID = "hs_object_id"
_SEARCHED = (Rate(5, 1.0, SEARCHES),)
_BATCH = 2_000
_WORKERS = 4
_MILLISECOND = dt.timedelta(milliseconds=1)


def open_source(feed: Feed, settings: Settings) -> HubSpotSource | AssociationSource:
    """The object, or the associations, that *feed* names. ConfigError if a setting is missing. Nothing is called."""
    # Pages go soon, and Arrow's own pool would keep them.
    pa.set_memory_pool(pa.system_memory_pool())
    calls = open_calls(feed, settings)
    if "associated" in feed.api:
        return AssociationSource(feed, calls)
    return HubSpotSource(feed, calls, settings)


def missing(feed: Feed, settings: Settings) -> list[str]:
    """The settings that are not there, and that HubSpot cannot be called without."""
    return [name for name in connect.missing(feed, settings) if not name.endswith("_BASE_URL")]


def open_calls(feed: Feed, settings: Settings) -> Calls:
    client = open_client(feed, settings, base_url=BASE_URL, more_rates=_SEARCHED)
    return Calls(client, str(feed.api.get("version", VERSION)))


class HubSpotSource:
    """Reads one type of object. A window is one slice."""

    def __init__(self, feed: Feed, calls: Calls, settings: Settings) -> None:
        self._feed, self._calls, self._settings = feed, calls, settings
        self._kind = str(feed.api["object"])
        self._cursor = str(feed.cursor)
        self._lag = dt.timedelta(seconds=int(feed.api.get("lag_seconds", 300)))
        self._types: dict[str, str] | None = None
        self._few = Few[Record]()
        self._settled: tuple[dt.datetime, dt.datetime | None, Sequence[Record]] | None = None
        """The records of a window, if they are so few that the search for its end brought them all."""

    def traffic(self) -> Traffic:
        """What was called so far."""
        return self._calls.client.traffic()

    def close(self) -> None:
        self._calls.client.close()

    # -- windows

    def ceiling(self, after: str | None) -> Ceiling | None:
        """See PullSource. One search, or two if something changed just now; more where a window has to be cut."""
        seen = None if after is None else _typed(after)
        low = None if seen is None else seen - dt.timedelta(seconds=self._feed.overlap_seconds)
        top, total = self._top(low)
        if top is None:
            return None if after is None else Ceiling(after, more=False)
        if total > self._settings.sync_rows:
            cut = self._cut(None if seen is None else seen + _MILLISECOND, top)
            return Ceiling(cursors.text(cut), more=cut < top)
        return Ceiling(cursors.text(top if seen is None else max(top, seen)), more=False)

    def newest(self) -> str | None:
        """See PullSource."""
        top, _ = self._top(None)
        return None if top is None else cursors.text(top)

    def _top(self, low: dt.datetime | None) -> tuple[dt.datetime | None, int]:
        """The highest settled cursor from *low* on, and how many records there are up to it.

        If they are few, they are there already, and are kept.
        """
        found = self._searched(low, None)
        top = self._instant_of(found)
        if top is not None and found.now is not None and top > found.now - self._lag:
            found = self._searched(low, found.now - self._lag)
            top = self._instant_of(found)
        self._settled = None if found.more or low is None else (low, top, found.records)
        return top, found.total

    def _cut(self, low: dt.datetime | None, top: dt.datetime) -> dt.datetime:
        """The end of a window of as many records as one run takes, or of all that have the same instant."""
        least = records.milliseconds(low) if low else records.milliseconds(self._lowest())
        most = records.milliseconds(top)
        while least < most:
            middle = (least + most) // 2
            count = self._count(low, records.from_milliseconds(middle))
            if count > self._settings.sync_rows:
                most = middle
            elif count > self._settings.sync_rows // 2:
                return records.from_milliseconds(middle)
            else:
                least = middle + 1
        return min(top, records.from_milliseconds(most))

    def _lowest(self) -> dt.datetime:
        found = self._calls.search(
            self._kind, [between(self._cursor, None, None)], self._cursor, [self._cursor], limit=1
        )
        return self._instant_of(found) or records.from_milliseconds(0)

    def _searched(self, low: dt.datetime | None, high: dt.datetime | None) -> Found:
        """The last records of a span, as they are; the last one alone if it has no beginning."""
        span = between(self._cursor, *(None if one is None else records.milliseconds(one) for one in (low, high)))
        names, limit = ([self._cursor], 1) if low is None else (self._named(self._columns()), SEARCH)
        return self._calls.search(self._kind, [span], self._cursor, names, limit=limit, descending=True)

    def _count(self, low: dt.datetime | None, high: dt.datetime) -> int:
        span = between(self._cursor, None if low is None else records.milliseconds(low), records.milliseconds(high))
        return self._calls.search(self._kind, [span], self._cursor, [], limit=1).total

    def _instant_of(self, found: Found) -> dt.datetime | None:
        return records.instant(found.records[0], self._cursor) if found.records else None

    # -- rows

    def describe(self, unit: Unit) -> Described:
        """See Source."""
        types = self._columns(fresh=unit.kind == "full")
        if unit.kind == "keys":
            types = {name: kind for name, kind in types.items() if name in self._feed.keys}
        window = unit.window if unit.kind == "window" else None
        detail = {
            "kind": unit.kind, "floor": window.floor if window else None, "columns": types,
            "ceiling": window.ceiling if window else None,
            **({"objects": unit.files[0]["objects"], "latest": unit.exported_at} if unit.kind == "delta" else {}),
        }  # fmt: skip
        schema = pa.schema([(name, column_types.to_arrow(kind)) for name, kind in types.items()])
        return Described({self._place: schema}, [Slice(0, 0, 0, self._place, 0, detail)], {})

    def peek(self, unit: Unit, most: int) -> list[pa.RecordBatch] | None:
        """See PullSource. What it reads is not called for again by ``read``."""
        part = self.describe(unit).slices[0]
        rows = self._few.keep(part.detail, rows_of(self._stretches(part.detail, None)), most)
        return None if rows is None else [records.batch_of(rows, part.detail["columns"])] if rows else []

    def read(self, part: Slice) -> Iterator[pa.RecordBatch | Slice]:
        """See Source."""
        kept, size = self._few.of(part.detail), min(_BATCH, self._settings.batch_rows)
        types: Mapping[str, str] = part.detail["columns"]
        if kept is None and part.detail["kind"] in ("window", "full") and part.detail["floor"] is None:

            def columns(pages: Sequence[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
                return (records.columns_of(raw, types) for raw in in_batches(pages, size))

            yield from batches(part, lambda place: self._raw(part.detail, place), columns, size, _rows_in)
            return

        def stretches(place: Place | None) -> Iterator[Stretch[Record]]:
            return iter([Stretch(kept, None)]) if kept is not None else self._stretches(part.detail, place)

        def texts(rows: Sequence[Record]) -> Iterator[pa.RecordBatch]:
            return by_size(rows, lambda some: records.batch_of(some, types), size)

        yield from batches(part, stretches, texts, size)

    def _raw(self, detail: Mapping[str, Any], place: Place | None) -> Iterator[Stretch[pa.RecordBatch]]:
        """What ``_stretches`` gives of a list from its beginning, as raw columns."""
        last = None if detail["ceiling"] is None else _typed(detail["ceiling"]) + _MILLISECOND
        if place is None or "live" not in place:
            for found in self._whole_raw(detail["columns"], archived=True, start=place and place["archived"]):
                yield Stretch(found.rows, {"archived": found.place} if found.place else {"live": None})
        start = place.get("live") if place else None
        for found in self._whole_raw(detail["columns"], archived=False, start=start):
            rows = [with_losers(until(page, self._cursor, last), self._cursor) for page in found.rows]
            yield Stretch(rows, found.place and {"live": found.place})

    def _stretches(self, detail: Mapping[str, Any], place: Place | None) -> Iterator[Stretch[Record]]:
        """The archived records come first. A merged one may be among them, and of equal rows the later one counts.

        So a piece need not know which records were merged into those of the pieces before it.
        """
        types, kind = detail["columns"], detail["kind"]
        if kind == "delta":
            return (Stretch([one], None) for one in self._those_named(types, detail))
        if kind == "keys":
            return map(_of_page, self._calls.listed(self._kind, [self._cursor], start=place))
        low, high = (None if detail[end] is None else _typed(detail[end]) for end in ("floor", "ceiling"))
        archived = () if place and "live" in place else self._archived(types, low, place and place["archived"])
        return chain(archived, self._changed(types, low, high, place.get("live") if place else None))

    def _those_named(self, types: Mapping[str, str], detail: Mapping[str, Any]) -> Iterator[Record]:
        reader = NamedReader(self._calls, self._kind, self._cursor, self._named(types))
        yield from reader.read(detail["objects"], records.milliseconds(dt.datetime.fromisoformat(detail["latest"])))

    def _changed(
        self, types: Mapping[str, str], low: dt.datetime | None, high: dt.datetime | None, start: Place | None
    ) -> Iterator[Stretch[Record]]:
        for found in self._pages(types, low, high, start):
            rows = []
            for one in found.rows:
                at = records.instant(one, self._cursor)
                if at is None or high is None or (low or at) <= at <= high + _MILLISECOND:
                    rows += [one, *records.losers(one, self._cursor)]
            yield Stretch(rows, found.place and {"live": found.place})

    def _pages(
        self, types: Mapping[str, str], low: dt.datetime | None, high: dt.datetime | None, start: Place | None
    ) -> Iterator[Stretch[Record]]:
        if low is None:
            return self._whole(types, archived=False, start=start)
        if start is None and self._settled is not None and self._settled[:2] == (low, high):
            return iter([Stretch(self._settled[2], None)])
        return self._bodies(self._ids(low, high, start), self._named(types))

    def _archived(
        self, types: Mapping[str, str], low: dt.datetime | None, start: Place | None
    ) -> Iterator[Stretch[Record]]:  # fmt: skip
        for found in self._whole(types, archived=True, start=start):
            rows = [one for one in found.rows if low is None or (_archived_at(one) or low) >= low]
            yield Stretch(rows, {"archived": found.place} if found.place else {"live": None})

    def _whole(
        self, types: Mapping[str, str], *, archived: bool, start: Place | None
    ) -> Iterator[Stretch[Record]]:  # fmt: skip
        names = self._named(types)
        if len(",".join(names)) <= LONGEST_QUERY:
            return map(_of_page, self._calls.listed(self._kind, names, archived=archived, start=start))
        return self._bodies(self._listed_ids(archived=archived, start=start), names, archived=archived)

    def _whole_raw(
        self, types: Mapping[str, str], *, archived: bool, start: Place | None
    ) -> Iterator[Stretch[pa.RecordBatch]]:  # fmt: skip
        """As ``_whole``, as raw columns."""
        names = self._named(types)
        if len(",".join(names)) <= LONGEST_QUERY:
            return self._calls.listed_raw(self._kind, names, archived=archived, start=start)
        reader = PageReader(names, self._calls.client.host)

        def read(few: Stretch[str]) -> Stretch[pa.RecordBatch]:
            return Stretch([self._calls.batch_raw(self._kind, few.rows, reader, archived=archived)], few.place)

        return in_order(read, self._listed_ids(archived=archived, start=start), workers=_WORKERS)

    def _listed_ids(self, *, archived: bool, start: Place | None) -> Iterator[Stretch[str]]:
        listed = self._calls.listed(self._kind, [self._cursor], archived=archived, start=start)
        return (Stretch([str(one["id"]) for one in page.records], page.following) for page in listed if page.records)

    def _bodies(
        self, ids: Iterator[Stretch[str]], names: Sequence[str], *, archived: bool = False
    ) -> Iterator[Stretch[Record]]:
        def read(few: Stretch[str]) -> Stretch[Record]:
            return Stretch(self._calls.batch(self._kind, few.rows, names, archived=archived), few.place)

        yield from in_order(read, ids, workers=_WORKERS)

    def _ids(self, low: dt.datetime, high: dt.datetime | None, start: Place | None) -> Iterator[Stretch[str]]:
        """The ids of a window, in groups that a batch takes, from those after a place on."""
        span = between(self._cursor, records.milliseconds(low), None if high is None else records.milliseconds(high))
        last = int(start["after"]) if start else 0
        while True:
            beyond = [{"propertyName": _ID, "operator": "GT", "value": str(last)}] if last else []
            found = self._calls.search(self._kind, [span, *beyond], _ID, [self._cursor])
            ids = [int(one["id"]) for one in found.records]
            is_stuck = found.more and not ids
            if is_stuck or any(one <= before for before, one in zip([last, *ids], ids, strict=False)):
                wrong = "no ids, though there are more" if is_stuck else "ids that do not grow"
                raise DataError(f"{self._calls.client.host} gives {wrong}", fix="Sync again; if it lasts, sync --full")
            for begin in range(0, len(ids), LIST):
                few = [str(one) for one in ids[begin : begin + LIST]]
                yield Stretch(few, {"after": few[-1]} if found.more or begin + LIST < len(ids) else None)
            if not found.more:
                return
            last = ids[-1]

    def _named(self, types: Mapping[str, str]) -> list[str]:
        names = [name for name in types if name not in records.OWN]
        return names if records.MERGED in names else [*names, records.MERGED]

    def _columns(self, *, fresh: bool = False) -> dict[str, str]:
        """By the properties that HubSpot has, looked up once in a while by a process, or *fresh*."""
        if self._types is None or fresh:
            wanted = self._feed.api.get("properties")
            needed = None if wanted is None else list(dict.fromkeys([*wanted, self._cursor]))
            self._types = records.columns(self._calls.known_properties(self._kind, fresh=fresh), needed)
        return self._types

    @property
    def _place(self) -> str:
        return f"{self._calls.client.host} {self._kind}"


def _rows_in(pages: Sequence[pa.RecordBatch]) -> int:
    return sum(page.num_rows for page in pages)


def _of_page(page: Page) -> Stretch[Record]:
    return Stretch(page.records, page.following)


def _archived_at(record: Record) -> dt.datetime | None:
    found: dt.datetime | None = instants.parse(record.get("archivedAt"), "iso")
    return found


def _typed(text: str) -> dt.datetime:
    found: dt.datetime = cursors.typed("timestamp", text)
    return found

"""One OData service: what it says of its sets, and its sets page by page.

A service may end its pages itself, with a link to the next one: such links are followed as they are. One that does not
is asked for so many entries at a time:

* In the order of the cursor, from the last one read on, less a second, as instants are stored finer than they are
  written. Entries that change meanwhile move to the end, and are read again.
* Without a cursor, in the order of the key, by ``$skip``. Each call begins with the last entry of the one before:
  if it is another one, entries have gone meanwhile, and the list is read again from further up.
"""

from __future__ import annotations

import datetime as dt
import threading

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from weakref import WeakKeyDictionary

from shared.errors import ConfigError, ConflictError, DataError, TransientError
from shared.rest.client import Call, Client
from shared.rest.failures import Response
from shared.rest.limits import Limiter
from shared.rest.pages import REFUSED, Place, PlaceRefused
from shared.rest.stretches import Stretch
from shared.sources.odata import atom, metadata
from shared.sources.odata.atom import Page, Reader, Row
from shared.sources.odata.metadata import EntitySet

SIZE = 5_000
"""Entries that one call asks for, unless the catalog says otherwise."""
_LOOKUP_SECONDS = 600.0
_MOST_EMPTY = 20
"""Pages without entries that may follow each other. An empty one is not the last, unless it has no link."""
_MOST_MOVES = 5
"""How often a list is read again from further up before its sync is given up."""
_MARGIN = dt.timedelta(seconds=1)


class _Known:
    """What is known of a service, for all feeds of its account."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.sets: dict[str, EntitySet] = {}
        self.read_at: float | None = None
        self.ends_pages: set[str] = set()
        """Sets whose pages it was seen to end itself. It may do that with some of them only."""


_services: WeakKeyDictionary[Limiter, _Known] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A list to read."""

    conditions: Sequence[str] = ()
    """Of which all hold."""
    cursor: str | None = None
    """The property to read it in the order of; otherwise in that of the key."""
    select: Sequence[str] = ()
    """Properties to read; all of them without any."""


class _Position(NamedTuple):
    """Where a page begins that the service is asked for."""

    low: str = ""
    """The cursor from which on; empty for all."""
    skip: int = 0
    last: Sequence[str | None] | None = None
    """The key that it has to begin with, of the last entry of the page before; None where that may have moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service, as one set of it is read."""

    client: Client
    size: int = SIZE
    known: _Known = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", _services.setdefault(self.client.limiter, _Known()))

    def entity_set(self, name: str, *, fresh: bool = False) -> EntitySet:
        """The set of that *name*, by $metadata: looked up every ten minutes, or *fresh*. ConfigError if it is none."""
        with self.known.lock:  # several tables begin at once
            now, since = self.client.clock.timer(), self.known.read_at
            if fresh or since is None or now - since > _LOOKUP_SECONDS or name not in self.known.sets:
                self.metadata()
        if name not in self.known.sets:
            raise ConfigError(
                f"{self.client.host} has no entity set {name!r}",
                fix=f"Correct set in the catalog; there are {', '.join(sorted(self.known.sets))}",
            )
        return self.known.sets[name]

    def metadata(self) -> Response:
        """The answer to $metadata, whose sets are known from then on."""
        call = Call(path="$metadata", accept="application/xml")
        response, self.known.sets = self.client.parsed(call, lambda found: metadata.read(found.body), "$metadata")
        self.known.read_at = self.client.clock.timer()
        return response

    def newest(self, of: EntitySet, cursor: str) -> Row | None:
        """The entry with the highest cursor. None if no entry has one."""
        query = Query(conditions=[f"{cursor} ne null"], cursor=f"{cursor} desc")
        return next(iter(self._page(of, query, top=1).rows), None)

    def at(self, of: EntitySet, query: Query, number: int) -> Row | None:
        """The entry of a list that so many are before. None if it is not so long."""
        return next(iter(self._page(of, query, skip=number, top=1).rows), None)

    def pages(self, of: EntitySet, query: Query, *, start: Place | None = None) -> Iterator[Stretch[Row]]:
        """A list page by page, from a place on. An entry that changes meanwhile may come twice.

        PlaceRefused, by the first page, if the service does not know the link any more that it gave.
        """
        if start is not None:
            if "link" in start:
                yield from self._linked(of, self._resumed(of, start["link"]))
            else:
                yield from self._following(of, query, _Position(**start), set())
            return
        if of.name not in self.known.ends_pages:
            page = self._page(of, query, top=self.size)
            if page.next is None:
                position, known = self._after(of, query, page, _Position())
                yield Stretch(page.rows, position and position._asdict())
                yield from self._following(of, query, position, known)
                return
            self.known.ends_pages.add(of.name)
        yield from self._linked(of, self._page(of, query))

    # -- ways to go on

    def _linked(self, of: EntitySet, page: Page) -> Iterator[Stretch[Row]]:
        seen: set[str] = set()
        empty = 0
        yield _of_page(page)
        while page.next is not None:
            if page.next in seen or empty > _MOST_EMPTY:
                what = "it names one that was read before" if page.next in seen else f"{empty} of them are empty"
                raise DataError(
                    f"{self.client.host} would have no end of pages of {of.name}: {what}",
                    fix="Sync again; if it lasts, report it to whoever runs the API",
                )
            seen.add(page.next)
            page = self._read(of, Call(path=page.next, accept=_ATOM))
            empty = 0 if page.rows else empty + 1
            yield _of_page(page)

    def _following(
        self, of: EntitySet, query: Query, position: _Position | None, known: set[tuple[str | None, ...]]
    ) -> Iterator[Stretch[Row]]:
        """The pages from a *position* on, as long as they are full, without the rows *known* of the one before."""
        moves = 0
        while position is not None:
            page = self._page(of, query, low=position.low, skip=position.skip, top=self.size)
            if position.last is not None and [_key(of, row) for row in page.rows[:1]] != [list(position.last)]:
                moves += 1
                if moves > _MOST_MOVES:
                    raise TransientError(
                        f"{of.name} of {self.client.host} changes while it is read",
                        fix="Sync it again at a quieter time, or choose larger pages in the catalog",
                    )
                position = position._replace(skip=position.skip - (self.size - 1))
                page = self._page(of, query, low=position.low, skip=position.skip, top=self.size)
            rows = [row for row in page.rows if tuple(row) not in known]
            position, known = self._after(of, query, page, position)
            yield Stretch(rows, position and position._asdict())

    def _after(
        self, of: EntitySet, query: Query, page: Page, position: _Position
    ) -> tuple[_Position | None, set[tuple[str | None, ...]]]:
        """Where the page after one at *position* begins, and which rows both may have. None if there is none."""
        if len(page.rows) < self.size:
            return None, set()
        last, cursor = page.rows[-1], list(of.types).index(query.cursor) if query.cursor else None
        bound = _less(last[cursor]) if cursor is not None else ""
        if cursor is not None and bound > position.low:
            return _Position(bound), {tuple(row) for row in page.rows if (row[cursor] or "") >= bound}
        return position._replace(skip=position.skip + self.size - 1, last=_key(of, last)), {tuple(last)}

    # -- one page

    def _resumed(self, of: EntitySet, link: str) -> Page:
        page = self._read(of, Call(path=link, accept=_ATOM, allowed=REFUSED))
        if page is _REFUSED_PAGE:
            raise PlaceRefused(f"{self.client.host} does not know the link to the next page of {of.name} any more")
        return page

    def _page(self, of: EntitySet, query: Query, *, low: str = "", skip: int = 0, top: int | None = None) -> Page:
        """What a call gives; from the cursor *low* on if it is not empty."""
        more = [f"{query.cursor} ge {literal(low, of.edm[str(query.cursor)])}"] if low else []
        given = {
            "$filter": " and ".join([*query.conditions, *more]),
            "$orderby": ",".join([*([query.cursor] if query.cursor else []), *of.keys]),
            "$select": ",".join(query.select),
            "$skip": str(skip or ""),
            "$top": str(top or ""),
        }
        return self._read(of, Call(path=of.name, parameters={n: v for n, v in given.items() if v}, accept=_ATOM))

    def _read(self, of: EntitySet, call: Call) -> Page:
        reader = Reader(list(of.types), of.nested, of.in_entry, self.client.host)
        url = self.client.url(call.path)
        try:
            return self.client.parsed(call, lambda found: _parsed(found, call, url, reader), "a feed of Atom")[1]
        except ConflictError:
            self.known.read_at = None  # it has new properties
            raise


def _parsed(found: Response, call: Call, url: str, reader: Reader) -> Page:
    return _REFUSED_PAGE if found.status in call.allowed else atom.read(found.body, url, reader)


_REFUSED_PAGE = Page([], None)


def _of_page(page: Page) -> Stretch[Row]:
    return Stretch(page.rows, None if page.next is None else {"link": page.next})


def _key(of: EntitySet, row: Row) -> list[str | None]:
    places = list(of.types)
    return [row[places.index(key)] for key in of.keys]


_ATOM = "application/atom+xml,application/xml"


def literal(text: str, edm: str) -> str:
    """An instant as OData writes it: *text* is ISO 8601 without zone, in UTC where the property has an offset.

    >>> literal("2026-02-24T12:00:00", "Edm.DateTime"), literal("2026-02-24T12:00:00", "Edm.DateTimeOffset")
    ("datetime'2026-02-24T12:00:00'", "datetimeoffset'2026-02-24T12:00:00Z'")
    """
    return f"datetimeoffset'{text}Z'" if edm == "Edm.DateTimeOffset" else f"datetime'{text}'"


def _less(text: str | None) -> str:
    """The second before an instant, without its offset, in UTC if it has one. Empty if there is none.

    >>> _less("2026-02-24T12:00:00.123"), _less("2026-02-24T12:00:00+01:00"), _less(None)
    ('2026-02-24T11:59:59', '2026-02-24T10:59:59', '')
    """
    if not text:
        return ""
    moment = dt.datetime.fromisoformat(text)
    naive = moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment
    return (naive.replace(microsecond=0) - _MARGIN).isoformat()

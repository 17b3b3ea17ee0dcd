"""The calls of HubSpot's API that are made, in the versions that it has; their pages and their records."""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote
from weakref import WeakKeyDictionary

import pyarrow as pa

from shared.errors import DataError
from shared.rest.client import Call, Client
from shared.rest.failures import Response
from shared.rest.instants import server_time
from shared.rest.limits import Limiter
from shared.rest.pages import Page, Paging, Place, pages
from shared.rest.rows import Record, at
from shared.rest.stretches import Stretch
from shared.sources.hubspot.columns import PageReader

LIST = 100
"""Records of a page of a list, and of a batch read."""
SEARCH = 200
"""Records of a page of a search."""
ASSOCIATED = 1_000
"""Records whose associations are read by one call."""
SEARCHES = "search"
"""The bucket of rates that searches are counted in."""
LONGEST_QUERY = 6_000
"""Characters of property names in a URL. Longer ones are refused somewhere on the way (414)."""
_PAGING = Paging(kind="cursor", parameter="after", next="paging.next.after", size_parameter="limit", size=LIST)
_PARTIAL = frozenset({207})
_EARLIEST = 1_000
"""Milliseconds: a filter by 1970-01-01 itself is answered with an error."""


_LOOKUP_SECONDS = 600.0
_properties: WeakKeyDictionary[Limiter, dict[tuple[str, str], tuple[float, list[Mapping[str, Any]]]]] = (
    WeakKeyDictionary()
)
"""By account."""


class Found(NamedTuple):
    """A page of a search."""

    records: Sequence[Record]
    total: int
    more: bool
    """Whether another page follows."""
    now: dt.datetime | None
    """HubSpot's time, in UTC without zone."""


class Calls:
    """One account, in one version of the API."""

    def __init__(self, client: Client, version: str) -> None:
        self.client, self._version = client, version

    def known_properties(self, kind: str, *, fresh: bool = False) -> list[Mapping[str, Any]]:
        """Those of an object type, looked up every ten minutes by all feeds of the account, or *fresh*."""
        now = self.client.clock.timer()
        known = _properties.setdefault(self.client.limiter, {})
        since, found = known.get((self._version, kind), (None, []))
        if fresh or since is None or now - since > _LOOKUP_SECONDS:
            found = self.properties(kind)
            known[self._version, kind] = (now, found)
        return found

    def properties(self, kind: str) -> list[Mapping[str, Any]]:
        """Those of an object type that are not archived."""
        content = self.client.json(Call(path=f"{self._under('properties')}/{quote(kind, safe='')}"))
        found = content.get("results") if isinstance(content, dict) else None
        if not isinstance(found, list):
            raise self._unexpected("properties")
        return [one for one in found if isinstance(one, dict) and one.get("name") and not one.get("archived")]

    def listed(
        self, kind: str, names: Sequence[str], *, archived: bool = False, start: Place | None = None
    ) -> Iterator[Page]:
        """All records with those properties, page by page, from a place on. PlaceRefused as ``pages``."""
        return pages(self.client, self._list(kind, names, archived=archived), _PAGING, "results", start=start)

    def listed_raw(
        self, kind: str, names: Sequence[str], *, archived: bool = False, start: Place | None = None
    ) -> Iterator[Stretch[pa.RecordBatch]]:
        """As ``listed``, as raw columns, several pages at once."""
        reader, call = PageReader(names, self.client.host), self._list(kind, names, archived=archived)
        return reader.columns(pages(self.client, call, _PAGING, "results", start=start, read=reader.read_lazily))

    def _list(self, kind: str, names: Sequence[str], *, archived: bool) -> Call:
        given = {"archived": "true" if archived else "false"} | ({"properties": ",".join(names)} if names else {})
        return Call(path=self._objects(kind), parameters=given)

    def first(self, kind: str) -> Response:
        """The answer to a list of one record: whether there is such an object, and it may be read."""
        return self.client.call(Call(path=self._objects(kind), parameters={"limit": 1}))

    def batch(self, kind: str, ids: Sequence[str], names: Sequence[str], *, archived: bool = False) -> list[Record]:
        """The records of *ids* that are there; an id that is not is no failure (207)."""
        return self._results(self.client.json(self._batch(kind, ids, names, archived=archived)))

    def batch_raw(self, kind: str, ids: Sequence[str], reader: PageReader, *, archived: bool = False) -> pa.RecordBatch:
        """As ``batch``, as raw columns."""
        call = self._batch(kind, ids, reader.names, archived=archived)
        return self.client.parsed(call, reader.read, "JSON")[1]

    def _batch(self, kind: str, ids: Sequence[str], names: Sequence[str], *, archived: bool) -> Call:
        return Call(
            path=f"{self._objects(kind)}/batch/read", method="POST",
            body={"inputs": [{"id": one} for one in ids], "properties": list(names)},
            parameters={"archived": "true" if archived else "false"}, allowed=_PARTIAL,
        )  # fmt: skip

    def search(
        self, kind: str, filters: Sequence[Mapping[str, Any]], sort: str, names: Sequence[str], *, limit: int = SEARCH,
        descending: bool = False,
    ) -> Found:  # fmt: skip
        """The first page of a search."""
        body = {
            "filterGroups": [{"filters": list(filters)}], "limit": limit, "properties": list(names),
            "sorts": [{"propertyName": sort, "direction": "DESCENDING" if descending else "ASCENDING"}],
        }  # fmt: skip
        call = Call(path=f"{self._objects(kind)}/search", method="POST", body=body, bucket=SEARCHES)
        response, content = self.client.decoded(call)
        total = content.get("total") if isinstance(content, dict) else None
        if not isinstance(total, int):
            raise self._unexpected("a search")
        more = at(content, "paging.next.after") is not None
        return Found(self._results(content), total, more, server_time(response.headers))

    def associations(self, kind: str, other: str, ids: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """What each of *ids* is associated with: its id, and an element of ``to``."""
        inputs: list[dict[str, str]] = [{"id": one} for one in ids]
        while inputs:
            following: list[dict[str, str]] = []
            for result in self._associated(kind, other, inputs):
                one = str(result["from"]["id"])
                yield from ((one, target) for target in result.get("to", ()))
                after = ((result.get("paging") or {}).get("next") or {}).get("after")
                if after is not None:
                    following.append({"id": one, "after": str(after)})
            if following and following == inputs:
                raise DataError(
                    f"{self.client.host} would have no end of associations",
                    fix="Correct the base URL, or sync again once the API is up",
                )
            inputs = following

    def _associated(self, kind: str, other: str, inputs: Sequence[Mapping[str, str]]) -> list[Any]:
        """Of one call. An id that is archived fails all of them (400): then halves are read."""
        call = Call(
            path=f"{self._under('associations')}/{quote(kind, safe='')}/{quote(other, safe='')}/batch/read",
            method="POST", body={"inputs": list(inputs)}, allowed=_PARTIAL | {400},
        )  # fmt: skip
        response, content = self.client.decoded(call)
        if response.status != 400:
            return self._results(content)
        if len(inputs) == 1:
            return []
        middle = len(inputs) // 2
        return [*self._associated(kind, other, inputs[:middle]), *self._associated(kind, other, inputs[middle:])]

    def _objects(self, kind: str) -> str:
        return f"{self._under('objects')}/{quote(kind, safe='')}"

    def _under(self, what: str) -> str:
        if self._version == "v3":
            return f"/crm/{'v4' if what == 'associations' else 'v3'}/{what}"
        return f"/crm/{what}/{self._version}"

    def _results(self, content: Any) -> list[Any]:
        found = content.get("results") if isinstance(content, dict) else None
        if not isinstance(found, list):
            raise self._unexpected("a batch")
        return found

    def _unexpected(self, what: str) -> DataError:
        return DataError(
            f"{self.client.host} answers {what} without results",
            fix="Correct the base URL, or sync again once the API is up",
        )


def between(name: str, low: int | None, high: int | None) -> dict[str, Any]:
    """A filter of instants, in milliseconds; both ends are in it."""
    least = _EARLIEST if low is None else max(low, _EARLIEST)
    if high is None:
        return {"propertyName": name, "operator": "GTE", "value": str(least)}
    return {"propertyName": name, "operator": "BETWEEN", "value": str(least), "highValue": str(max(high, least))}

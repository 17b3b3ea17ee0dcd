"""Lists that come page by page, in the five usual ways: all in one, by page number, by offset, by a token, by a link.

A short page is not the last one, and an empty one is only where pages are numbered: what the API says of a next page
counts. What would repeat for ever (a link to a page that was read, a page that is the one before) is refused.
"""

from __future__ import annotations

import hashlib
import re

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias
from urllib.parse import unquote_plus, urljoin, urlsplit

from shared.errors import DataError
from shared.parallel import in_order
from shared.rest.client import Call, Client
from shared.rest.failures import Response
from shared.rest.rows import Record, at

PagingKind: TypeAlias = Literal["none", "page", "offset", "cursor", "next"]
Place: TypeAlias = "Mapping[str, Any]"
"""A place in a list, as JSON, small and without secrets."""
PAGINGS: tuple[PagingKind, ...] = ("none", "page", "offset", "cursor", "next")


REFUSED = frozenset({400, 404, 410, 422})
"""How an API answers a token that it does not know any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """How an API hands out a list."""

    kind: PagingKind = "none"
    parameter: str | None = None
    """That has the number of the page, the offset or the token."""
    first: int = 1
    """Number of the first page."""
    size_parameter: str | None = None
    size: int | None = None
    """Records to want on a page."""
    next: str | None = None
    """Where in a page the token of the next one is, or its URL. For URLs None means the header Link."""
    total: str | None = None
    """Where in a page is how many records there are in all. Then pages are read several at a time."""


class Page(NamedTuple):
    """One page, as it was read."""

    records: Sequence[Any]
    """Each a ``Record``, or what ``pages`` was given to read them made of them."""
    response: Response
    content: Any
    """Its JSON."""
    last: bool = False
    """Whether it is known that none follows. False: there is one, or the next call will show that there is none."""
    following: Place | None = None
    """Where the page after it begins. None if none follows, or if the list can only be read on by who reads it now."""


PageParser: TypeAlias = "Callable[[Response], tuple[Any, Any]]"
"""Gives the records of an answer, and what of its JSON says where the next page is; ValueError if it is broken."""


class PlaceRefused(Exception):  # noqa: N818 - no error: the list can be read from its beginning
    """An API does not know the place any more from which a list was to be read on."""


def pages(
    client: Client, call: Call, paging: Paging, records_at: str, *, workers: int = 4, start: Place | None = None,
    read: PageParser | None = None,
) -> Iterator[Page]:  # fmt: skip
    """The pages of the list that *call* is answered with, from *start* on (``Page.following`` of an earlier read).

    DataError if they have no records, or have no end. PlaceRefused, by the first page, if the API refuses *start*.
    *read* makes records of an answer in another way than as objects of JSON.
    """
    reader = _Reader(client, paging, records_at, workers, read)
    if paging.size_parameter and paging.size:
        call = replace(call, parameters={**call.parameters, paging.size_parameter: paging.size})
    if paging.kind == "none":
        return iter([reader.page(call)._replace(last=True)])
    if paging.kind in ("page", "offset"):
        return reader.counted(call, _Count(**start) if start else None)
    return reader.linked(call, _Link(**start) if start else None)


class _Count(NamedTuple):
    """A place in a list that is counted."""

    number: int
    """Of the page, from 0."""
    read: int
    """Records before it."""
    each: int
    """Records of the first page."""
    total: int | None
    digest: str
    """Of the page before."""

    def after(self, page: Page) -> _Count:
        """The place after *page*, which begins here."""
        return self._replace(number=self.number + 1, read=self.read + len(page.records), digest=_digest(page))


class _Link(NamedTuple):
    """A place in a list whose pages name each other."""

    token: str
    """Or the URL."""
    anchor: str = ""
    """The token of an earlier place, see ``pieces``."""
    pieces: int = 0
    """How many places the list was read on from. Of those that are powers of two the token is kept, so that a list
    that leads back to where it was read is found out, however long the circle is."""


@dataclass(frozen=True, slots=True)
class _Reader:
    client: Client
    paging: Paging
    records_at: str
    workers: int
    read: PageParser | None

    def page(self, call: Call) -> Page:
        if self.read is not None:
            response, (records, content) = self.client.parsed(call, lambda found: self._read(call, found), "JSON")
            return Page(records, response, content)
        response, content = self.client.decoded(call)
        if response.status in call.allowed:
            return Page((), response, None)
        return Page(records_of(content, self.records_at, self.client.host), response, content)

    def _read(self, call: Call, response: Response) -> tuple[Any, Any]:
        if self.read is None or response.status in call.allowed:
            return (), None
        return self.read(response)

    # -- by number or offset

    def counted(self, call: Call, start: _Count | None) -> Iterator[Page]:
        place = start
        if place is None:
            page = self.page(self._at(call, 0, 0))
            read, total = len(page.records), self._total(page)
            place = _Count(1, read, read, total, _digest(page))
            yield self._counted(page, place)
            if not page.records:
                return
        if place.total is not None:
            each, end = place.each, -(-place.total // place.each)
            for page in in_order(
                lambda n: self.page(self._at(call, n, n * each)), range(place.number, end), workers=self.workers
            ):
                place = place.after(page)
                yield self._counted(page, place)
        yield from self._one_by_one(call, place)

    def _one_by_one(self, call: Call, place: _Count) -> Iterator[Page]:
        """From a place on to the first page without records."""
        while place.total is None or place.read < place.total:
            page = self.page(replace(self._at(call, place.number, place.read), allowed=frozenset({404})))
            if not page.records:
                return
            if _digest(page) == place.digest:
                raise self._endless(f"page {place.number + self.paging.first} is the same as the one before")
            place = place.after(page)
            yield self._counted(page, place)

    @staticmethod
    def _counted(page: Page, following: _Count) -> Page:
        last = not page.records or (following.total is not None and following.total <= following.read)
        return page._replace(last=last, following=None if last else following._asdict())

    def _at(self, call: Call, number: int, read: int) -> Call:
        value = number + self.paging.first if self.paging.kind == "page" else read
        return replace(call, parameters={**call.parameters, str(self.paging.parameter): value})

    def _total(self, page: Page) -> int | None:
        total = at(page.content, self.paging.total) if self.paging.total else None
        return total if isinstance(total, int) and not isinstance(total, bool) and total >= 0 else None

    # -- by token or link

    def linked(self, call: Call, start: _Link | None) -> Iterator[Page]:
        seen: set[str] = set()
        place = start or _Link("")
        anchor, pieces = place.anchor, place.pieces + 1
        if pieces & (pieces - 1) == 0:
            anchor = place.token
        following: Call | None = self._resumed(call, place) if start else call
        while following is not None:
            page = self.page(following)
            if page.content is None:
                raise PlaceRefused(f"{self.client.host} does not read on where it was read to ({page.response.status})")
            token = self._next(page)
            rest = self._storable(following, token)
            # Before the page is given: whoever takes it may take no other one.
            if token is not None and (token in seen or (rest and rest == anchor)):
                raise self._endless("it names a next page that was read before")
            place_after = None if rest is None else _Link(rest, anchor, pieces)._asdict()
            yield page._replace(last=token is None, following=place_after)
            seen.add(token or "")
            following = None if token is None else self._following(following, token)

    def _resumed(self, call: Call, place: _Link) -> Call:
        return replace(self._following(call, place.token), allowed=REFUSED)

    def _storable(self, call: Call, token: str | None) -> str | None:
        """*token* as it may be kept: a whole URL, and without secrets. None if it has one."""
        if token is None:
            return None
        if self.paging.kind == "next":
            token = without_secrets(self._following(call, token).path, self.client.auth.secrets)
        return None if any(one in token for one in self.client.auth.secrets) else token

    def _next(self, page: Page) -> str | None:
        if self.paging.next is None:
            return link_header(page.response.headers, "next")
        found = at(page.content, self.paging.next)
        if found is None or found == "" or found is False:
            return None
        if isinstance(found, bool) or not isinstance(found, str | int):
            raise DataError(
                f"{self.client.host} has no token or URL at {self.paging.next}",
                fix="Correct next under paging in the catalog",
            )
        return str(found)

    def _following(self, call: Call, token: str) -> Call:
        if self.paging.kind == "next":
            return replace(call, path=urljoin(self.client.url(call.path), token), parameters={}, allowed=frozenset())
        return replace(call, parameters={**call.parameters, str(self.paging.parameter): token}, allowed=frozenset())

    def _endless(self, problem: str) -> DataError:
        return DataError(
            f"{self.client.host} would have no end of pages: {problem}", fix="Correct paging in the catalog"
        )


def records_of(content: Any, path: str, host: str) -> list[Record]:
    """The records at *path* of a page. An object there is one record. DataError if there is something else."""
    found = at(content, path)
    if isinstance(found, dict) and path:
        found = [found]
    if isinstance(found, list) and all(isinstance(record, dict) for record in found):
        return found
    place = f"at {path}" if path else "in the answer itself"
    lists = list_paths(content)
    where = f"; lists of records are at {', '.join(lists)}" if lists else ""
    raise DataError(f"{host} has no list of records {place}{where}", fix="Correct records in the catalog")


def list_paths(content: Any, under: str = "") -> list[str]:
    """Where in *content* there are lists of objects, as dotted paths."""
    if isinstance(content, list):
        return [under or '""'] if content and all(isinstance(one, dict) for one in content) else []
    if not isinstance(content, dict):
        return []
    return [
        found for name, value in content.items() for found in list_paths(value, f"{under}.{name}" if under else name)
    ]


def link_header(headers: Mapping[str, str], relation: str) -> str | None:
    """The URL of a *relation* in the header Link (RFC 8288), if it has one.

    >>> link_header({"Link": '<https://h/a?page=2>; rel="next", <https://h/a?page=9>; rel="last"'}, "next")
    'https://h/a?page=2'
    """
    for found in re.finditer(r"<([^>]*)>((?:\s*;[^,<]*)*)", headers.get("Link", "")):
        if re.search(rf"""rel\s*=\s*["']?(?:[^"']*\s)?{relation}(?:\s[^"']*)?["']?\s*(;|$)""", found[2].strip()):
            return found[1]
    return None


def without_secrets(url: str, secrets: Sequence[str]) -> str:
    """*url* without the parameters that have one of *secrets*: each call signs in by itself.

    >>> without_secrets("https://h/a?page=2&key=s%2Fh", ["s/h"])
    'https://h/a?page=2'
    """
    parts = urlsplit(url)
    kept = [one for one in parts.query.split("&") if unquote_plus(one.partition("=")[2]) not in secrets]
    return parts._replace(query="&".join(kept)).geturl()


def _digest(page: Page) -> str:
    return hashlib.sha256(page.response.body).hexdigest()[:16]

"""Lists that come page by page, in the five usual ways: all in one, by page number, by offset, by a token, by a link.

A short page is not the last one, and an empty one is only where pages are numbered: what the API says of a next page
counts. What would repeat for ever (a link to a page that was read, a page that is the one before) is refused.
"""

from __future__ import annotations

import hashlib
import re

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal, NamedTuple, TypeAlias
from urllib.parse import urljoin

from shared.errors import DataError
from shared.parallel import in_order
from shared.rest.client import Call, Client
from shared.rest.failures import Response
from shared.rest.rows import Record, at

PagingKind: TypeAlias = Literal["none", "page", "offset", "cursor", "next"]
PAGINGS: tuple[PagingKind, ...] = ("none", "page", "offset", "cursor", "next")


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


PageParser: TypeAlias = "Callable[[Response], tuple[Any, Any]]"
"""Gives the records of an answer, and what of its JSON says where the next page is; ValueError if it is broken."""


def pages(
    client: Client, call: Call, paging: Paging, records_at: str, *, workers: int = 4, read: PageParser | None = None
) -> Iterator[Page]:
    """The pages of the list that *call* is answered with. DataError if they have no records, or have no end.

    *read* makes records of an answer in another way than as objects of JSON.
    """
    reader = _Reader(client, paging, records_at, workers, read)
    if paging.size_parameter and paging.size:
        call = replace(call, parameters={**call.parameters, paging.size_parameter: paging.size})
    if paging.kind == "none":
        return iter([reader.page(call)._replace(last=True)])
    if paging.kind in ("page", "offset"):
        return reader.counted(call)
    return reader.linked(call)


@dataclass(frozen=True, slots=True)
class _Reader:
    client: Client
    paging: Paging
    records_at: str
    workers: int
    read: PageParser | None

    def page(self, call: Call) -> Page:
        if self.read is not None:
            response, (records, content) = self.client.parsed(call, self.read, "JSON")
            return Page(records, response, content)
        response, content = self.client.decoded(call)
        if response.status in call.allowed:
            return Page((), response, None)
        return Page(records_of(content, self.records_at, self.client.host), response, content)

    # -- by number or offset

    def counted(self, call: Call) -> Iterator[Page]:
        first = self.page(self._at(call, 0, 0))
        total, read = self._total(first), len(first.records)
        yield first._replace(last=not read or (total is not None and total <= read))
        if not read:
            return
        number, last = 1, first
        if total is not None:
            each = len(first.records)
            for page in in_order(
                lambda n: self.page(self._at(call, n, n * each)), range(1, -(-total // each)), workers=self.workers
            ):
                number, read, last = number + 1, read + len(page.records), page
                yield page
        yield from self._one_by_one(call, last, number, read, total)

    def _one_by_one(self, call: Call, before: Page, start: int, read: int, total: int | None) -> Iterator[Page]:
        """From the *start*-th page on, *read* records having been read, to the first one without records."""
        seen = _digest(before)
        for number in count(start):
            if total is not None and read >= total:
                return
            page = self.page(replace(self._at(call, number, read), allowed=frozenset({404})))
            if not page.records:
                return
            digest = _digest(page)
            if digest == seen:
                raise self._endless(f"page {number + self.paging.first} is the same as the one before")
            seen, read = digest, read + len(page.records)
            yield page

    def _at(self, call: Call, number: int, read: int) -> Call:
        value = number + self.paging.first if self.paging.kind == "page" else read
        return replace(call, parameters={**call.parameters, str(self.paging.parameter): value})

    def _total(self, page: Page) -> int | None:
        total = at(page.content, self.paging.total) if self.paging.total else None
        return total if isinstance(total, int) and not isinstance(total, bool) and total >= 0 else None

    # -- by token or link

    def linked(self, call: Call) -> Iterator[Page]:
        seen: set[str] = set()
        following: Call | None = call
        while following is not None:
            page = self.page(following)
            token = self._next(page)
            yield page._replace(last=token is None)
            if token is not None and token in seen:
                raise self._endless("it names a next page that was read before")
            seen.add(token or "")
            following = None if token is None else self._following(following, token)

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
            return replace(call, path=urljoin(self.client.url(call.path), token), parameters={})
        return replace(call, parameters={**call.parameters, str(self.paging.parameter): token})

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


def _digest(page: Page) -> bytes:
    return hashlib.sha256(page.response.body).digest()

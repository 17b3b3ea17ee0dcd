"""A feed of Atom as rows: one for each entry, its properties as text, null or empty as the service says. Pure."""

from __future__ import annotations

import json

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urljoin

from shared.errors import ConflictError
from shared.rest import xml
from shared.rest.xml import Element

Row: TypeAlias = "list[str | None]"
"""Values in the order of the properties that were asked for."""

_ATOM = "{http://www.w3.org/2005/Atom}"
_META = "{http://schemas.microsoft.com/ado/2007/08/dataservices/metadata}"
_DATA = "{http://schemas.microsoft.com/ado/2007/08/dataservices}"
_FEED, _ENTRY, _CONTENT, _LINK = f"{_ATOM}feed", f"{_ATOM}entry", f"{_ATOM}content", f"{_ATOM}link"
_PROPERTIES, _NULL, _ERROR, _MESSAGE = f"{_META}properties", f"{_META}null", f"{_META}error", f"{_META}message"
_BASE = "{http://www.w3.org/XML/1998/namespace}base"


class Page(NamedTuple):
    rows: list[Row]
    next: str | None
    """The URL of the next page, if the service ends its pages itself."""


def read(body: bytes, url: str, reader: Reader) -> Page:
    """The entries of a feed that came from *url*.

    ValueError if it is broken: cut off, no feed, or with an error in it, as a service ends a feed that it cannot go on
    with. ConflictError if an entry has a property that *reader* does not know.
    """
    return xml.read(body, (_ENTRY, _ERROR), lambda elements: _page(elements, url, reader))


class Reader:
    """Makes rows of the entries of one set."""

    def __init__(self, names: Sequence[str], nested: Collection[str], in_entry: Mapping[str, str], host: str) -> None:
        self._names, self._nested, self._host = list(names), nested, host
        self._in_entry = [(index, f"{_ATOM}{in_entry[name]}") for index, name in enumerate(names) if name in in_entry]
        self._tags: list[str] | None = None
        """Of the properties of the entry before, as those of the next are the same mostly."""
        self._order: list[int | None] | None = None
        """Where each name is among them; None: they are the names."""
        self._deep: list[int] = []

    def row(self, entry: Element) -> Row:
        properties = list(_properties(entry))
        values: Row = [one.text for one in properties]
        tags = [one.tag for one in properties]
        if tags != self._tags:
            self._learn(tags)
        if None in values:
            for index, value in enumerate(values):
                if value is None and properties[index].get(_NULL) not in ("true", "1"):
                    values[index] = ""
        for index in self._deep:
            values[index] = _as_json(properties[index])
        found = values if self._order is None else [None if place is None else values[place] for place in self._order]
        for index, tag in self._in_entry:
            element = entry.find(tag)
            found[index] = None if element is None else _plain(element)
        return found

    def _learn(self, tags: list[str]) -> None:
        names = [tag.removeprefix(_DATA) for tag in tags]
        if new := sorted(set(names) - set(self._names)):
            raise ConflictError(
                f"{self._host} has new fields since the run was planned: {', '.join(map(xml.local, new))}",
                fix="Nothing to do: the next sync reads them",
            )
        places = {name: place for place, name in enumerate(names)}
        self._tags, self._deep = tags, [places[name] for name in names if name in self._nested]
        self._order = None if names == self._names else [places.get(name) for name in self._names]


def _page(elements: Iterator[Element], url: str, reader: Reader) -> Page:
    rows: list[Row] = []
    for element in elements:
        if element.tag == _ERROR:
            raise ValueError(f"it has an error: {element.findtext(_MESSAGE) or element.findtext('message')}")
        if element.tag == _ENTRY and not _is_within_entry(element):
            rows.append(reader.row(element))
            _forget(element)
    if element.tag != _FEED:
        raise ValueError(f"it is no feed but {xml.local(element.tag)}")
    return Page(rows, _next(element, url))


def _properties(entry: Element) -> Element:
    """They are in the content of an entry, or beside it where that is a file."""
    for content in entry.iterchildren(_CONTENT):  # which is faster than find
        for found in content.iterchildren(_PROPERTIES):
            return found
    return next(entry.iterchildren(_PROPERTIES), ())


def _plain(element: Element) -> str | None:
    if element.get(_NULL) in ("true", "1"):
        return None
    return str(element.text or "")


def _as_json(element: Element) -> str | None:
    found = _value(element)
    return None if found is None else json.dumps(found, ensure_ascii=False, separators=(",", ":"))


def _value(element: Element) -> Any:
    if not len(element):
        return _plain(element)
    if all(xml.local(one.tag) == "element" for one in element):
        return [_value(one) for one in element]
    return {xml.local(one.tag): _value(one) for one in element}


def _is_within_entry(entry: Element) -> bool:
    """Whether it is in a link of another one, which is not asked for."""
    feed = entry.getparent()
    return feed is not None and feed.getparent() is not None


def _forget(entry: Element) -> None:
    """Give back the memory of an entry, and of those before it."""
    entry.clear()
    feed = entry.getparent()
    if feed is not None:
        for before in list(_before(entry)):
            feed.remove(before)


def _before(entry: Element) -> Iterator[Element]:
    while (entry := entry.getprevious()) is not None and entry.tag == _ENTRY:
        yield entry


def _next(feed: Element, url: str) -> str | None:
    for link in feed.iterchildren(_LINK):
        if link.get("rel") == "next" and link.get("href"):
            return urljoin(urljoin(url, str(feed.get(_BASE, ""))), str(link.get("href")))
    return None

"""Which column takes which header of a text file. Pure.

Headers are compared without case, accents, blanks, punctuation and a suffix in brackets. A header belongs to the first
column of the layout that accepts it, but may be a part of several (one zone for start and end). What no column takes is
kept in Extra, and so are the further headers of a column that coalesces, since only one of their values is stored.
Nothing is ever mapped by resemblance: that is only suggested.
"""

from __future__ import annotations

import difflib
import re
import unicodedata

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from shared.declared import Layout, LayoutColumn
from shared.errors import NEW_FILE, ConfigError, DataError
from shared.model import Column, Feed

EXTRA = "Extra"
"""Column with what no other column takes: a JSON object of text by header, NULL if all of it is blank."""

_BRACKETED = re.compile(r"\s*[(\[{][^()\[\]{}]*[)\]}]\s*$")
_RESEMBLANCE = 0.75
_SHOWN = 40


class HeaderMap(NamedTuple):
    columns: tuple[Column, ...]
    """In the order of the layout, Extra last."""
    suggestions: Mapping[str, str]
    """For headers that no column takes: the column that each resembles, if no header is mapped to it."""

    @property
    def unmapped(self) -> tuple[str, ...]:
        """The headers that no column but Extra takes."""
        taken = {header for column in self.columns if column.source for header in (column.source, *column.more)}
        extra = next((column.more for column in self.columns if not column.source), ())
        return tuple(header for header in extra if header not in taken)


def normalized(header: str) -> str:
    """What headers are compared by.

    >>> normalized("E-Mail Address"), normalized("Température (in °C)"), normalized("saleAmount"), normalized("#")
    ('emailaddress', 'temperature', 'saleamount', '#')
    """
    text = unicodedata.normalize("NFKD", header).casefold()
    plain = "".join(char for char in _BRACKETED.sub("", text) if char.isalnum())
    return plain or "".join(char for char in text if char.isalnum()) or text.strip()


def map_headers(headers: Sequence[str], layout: Layout) -> HeaderMap:
    """Columns for *headers*, none of which is lost."""
    free = dict.fromkeys(headers)
    chosen = _chosen(layout, free)
    taken_by = {one: _take(one, headers, free, chosen) for one in layout.columns}
    columns = [column for column in taken_by.values() if column is not None]
    spare = [
        header for one, column in taken_by.items() if column and one.several == "coalesce" for header in column.more
    ]
    kept = {*free, *spare}
    extra = Column("", EXTRA, "text", more=tuple(header for header in dict.fromkeys(headers) if header in kept))
    taken = {column.name for column in columns}
    missing = [column for column in layout.columns if column.name not in taken]
    return HeaderMap((*columns, extra), dict(_suggestions(free, missing)))


def accepted_headers(column: LayoutColumn) -> tuple[str, ...]:
    """The headers that mean *column*, in order of preference."""
    return (column.name, *column.aliases)


def known_headers(layout: Layout) -> frozenset[str]:
    """Every header that a column accepts, normalized."""
    accepted = ((*accepted_headers(column), *column.parts) for column in layout.columns)
    return frozenset(normalized(header) for headers in accepted for header in headers)


def with_choices(layout: Layout, choices: Mapping[str, str]) -> Layout:
    """*layout*, with the operator's choice of a column for some headers. ConfigError for a column it does not have."""
    unknown = sorted(set(choices.values()) - {column.name for column in layout.columns})
    if unknown:
        known = ", ".join(column.name for column in layout.columns)
        raise ConfigError(f"there is no column {unknown[0]!r} to map a header to", fix=f"Choose one of {known}")
    return replace(layout, choices=choices)


def require_columns(file: str, headers: Sequence[str], columns: Collection[Column], feed: Feed) -> None:
    """DataError, with the headers seen and those accepted, unless all that the feed requires are among *columns*."""
    if feed.layout is None:
        return
    found = {column.name for column in columns}
    required = (column.name for column in feed.layout.columns if column.required)
    missing = [name for name in (*feed.keys, feed.cursor, feed.deleted, *required) if name and name not in found]
    if not missing:
        return
    if not headers:
        raise DataError(f"{file} is empty", fix=NEW_FILE)
    accepted = {column.name: ", ".join(accepted_headers(column)) for column in feed.layout.columns}
    shown = ", ".join(map(_readable, headers[:_SHOWN])) + (
        f" and {len(headers) - _SHOWN} more" if len(headers) > _SHOWN else ""
    )
    raise DataError(
        f"{file} lacks column {missing[0]!r} of feed {feed.name}: it has {shown}, and accepted are"
        f" {accepted[missing[0]]}",
        fix=f'Say which header it is with --map "HEADER={missing[0]}", or add it to the aliases in the catalog',
    )


def _readable(header: str) -> str:
    """*header* on one line, also of a file that is no text."""
    text = "".join(char if char.isprintable() else "?" for char in header)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _chosen(layout: Layout, free: Mapping[str, None]) -> dict[str, str]:
    """The header that an operator chose, by column. ConfigError if the file does not have it."""
    found: dict[str, str] = {}
    for header, name in layout.choices.items():
        matching = [header] if header in free else _matching(header, free)
        if not matching:
            raise ConfigError(
                f"there is no header {header!r} to map to {name!r}", fix=f"Choose one of {', '.join(free)}"
            )
        found[name] = matching[0]
    return found


def _take(
    column: LayoutColumn, headers: Sequence[str], free: dict[str, None], chosen: Mapping[str, str]
) -> Column | None:
    """Take the headers of *column* out of the *free* ones. None if none is there. Those *chosen* go before all."""
    others = {header for name, header in chosen.items() if name != column.name}
    wanted = chosen.get(column.name)
    own = [wanted] if wanted in free else _found(column, [header for header in free if header not in others])
    if not own:
        return None
    kept = own if column.several == "coalesce" else own[:1]
    parts = [part for alias in column.parts for part in _matching(alias, headers)[:1] if part not in kept]
    for header in (*kept, *parts):
        free.pop(header, None)
    return Column(kept[0], column.name, column.type, more=(*kept[1:], *parts))


def _found(column: LayoutColumn, free: Collection[str]) -> list[str]:
    return list(dict.fromkeys(header for alias in accepted_headers(column) for header in _matching(alias, free)))


def _matching(alias: str, free: Collection[str]) -> list[str]:
    """Those spelled like *alias* first."""
    wanted = normalized(alias)
    return sorted((header for header in free if normalized(header) == wanted), key=lambda header: header != alias)


def _suggestions(free: Collection[str], missing: Sequence[LayoutColumn]) -> Iterator[tuple[str, str]]:
    by_text = {normalized(header): column.name for column in missing for header in accepted_headers(column)}
    for header in free:
        close = difflib.get_close_matches(normalized(header), by_text, n=1, cutoff=_RESEMBLANCE)
        if close:
            yield header, by_text[close[0]]

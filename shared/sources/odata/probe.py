"""The first page of a set, the types that its $metadata and the catalog give it, and what is unsure of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from shared.errors import ConfigError
from shared.model import Feed
from shared.redaction import redact
from shared.rest.probing import declared_types, example, filled, misfits
from shared.rest.rows import Record
from shared.settings import Settings
from shared.sources import Probe, ProbedColumn
from shared.sources.odata.metadata import EntitySet
from shared.sources.odata.service import Query
from shared.sources.odata.source import STAMPS, as_records, check, columns_of, open_service

_ENTRIES = 100
"""To look at."""


def probe(feed: Feed, settings: Settings) -> Probe:
    """Two calls: $metadata, and a page. Errors are those of a sync, but for what the catalog has wrong of the set."""
    service = replace(open_service(feed, settings), size=_ENTRIES)
    try:
        of = service.entity_set(str(feed.api["set"]), fresh=True)
        page = next(service.pages(of, Query()))
    finally:
        service.client.close()
    rows = as_records(page.rows, of)
    types = declared_types(columns_of(of), feed.types)
    columns = [
        ProbedColumn(name, kind, len(values := filled(name, rows)), example(values)) for name, kind in types.items()
    ]
    remarks = list(_remarks(feed, of, rows, types, service.client.host))
    return Probe(f"GET {redact(service.client.url(of.name))}", 200, len(rows), columns, remarks)


def _remarks(
    feed: Feed, of: EntitySet, rows: Sequence[Record], types: dict[str, str], host: str
) -> Iterator[str]:  # fmt: skip
    try:
        check(feed, of, host)
    except ConfigError as error:
        yield error.problem
    if tuple(feed.keys) != tuple(of.keys):
        yield f"the key of the set is {', '.join(of.keys)}, that of the feed {', '.join(feed.keys)}"
    stamp = next((one for one in STAMPS if one in of.types), None)
    if feed.cursor is None and stamp:
        yield f"each sync reads all of it, though its cursor could be {stamp}"
    if feed.cursor is not None and feed.overlap_seconds == 0:
        yield "overlap_seconds is 0: an entry that the API shows late is missed until the next full"
    if not rows:
        yield "the page has no entries"
    for name in sorted(of.nested):
        yield f"{name} has properties of its own: it is read as JSON"
    for name in feed.types:
        if name in types:
            yield from misfits(name, types[name], filled(name, rows), feed.timezone)
        else:
            yield f"{name} is declared, but is no property of the set"

"""The first page of an API, the types that its fields would have, and what is unsure of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

from shared.contract.conform import folded
from shared.model import Feed
from shared.redaction import redact
from shared.rest import instants
from shared.rest.client import Call
from shared.rest.connect import open_client
from shared.rest.pages import Page, pages
from shared.rest.probing import declared_types, example, filled, misfits
from shared.rest.rows import Kinds, Record, as_text
from shared.settings import Settings
from shared.sources import Probe, ProbedColumn
from shared.sources.rest.options import EXTRA, ListOptions, Rows


def probe(feed: Feed, settings: Settings) -> Probe:
    """One call. Errors are those of a sync."""
    client, options = open_client(feed, settings), ListOptions.of(feed)
    call = options.call(None)
    try:
        page = next(iter(pages(client, call, options.paging, options.records)))
    finally:
        client.close()
    table = Rows(feed, options)
    rows = table.of(page.records)
    kinds = Kinds()
    kinds.look(rows)
    shown, types = rows, declared_types(kinds.types, feed.types)
    if options.columns == "declared":
        shown, types = table.declared(rows), {**feed.types, **({EXTRA: "text"} if table.has_extra else {})}
    columns = [
        ProbedColumn(name, kind, len(values := filled(name, shown)), example(values)) for name, kind in types.items()
    ]
    return Probe(
        call=_shown(call, client.url(call.path)), status=page.response.status, records=len(rows), columns=columns,
        remarks=list(_remarks(feed, options, page, rows, kinds)),
    )  # fmt: skip


def _shown(call: Call, url: str) -> str:
    text = urlencode(call.parameters)
    return f"{call.method} {redact(url)}" + (f" with {text}" if text else "")


def _remarks(
    feed: Feed, options: ListOptions, page: Page, rows: Sequence[Record], kinds: Kinds
) -> Iterator[str]:  # fmt: skip
    if not rows:
        yield "the page has no records"
        return
    names = {folded(name): name for name in kinds.types}
    for what, name in (*(("key", key) for key in feed.keys), ("cursor", feed.cursor), ("deletion flag", feed.deleted)):
        if name and folded(name) not in names:
            yield f"{what} {name!r} is no field of the records"
    yield from _of_keys(feed, rows)
    yield from _of_cursor(feed, options, rows)
    yield from _of_types(feed, options, rows, kinds)
    yield from _of_paging(options, page)


def _of_types(feed: Feed, options: ListOptions, rows: Sequence[Record], kinds: Kinds) -> Iterator[str]:
    """Of declared types, whether the values fit them; of the others, what is unsure."""
    names = {folded(name): name for name in kinds.types}
    for name, kind in feed.types.items():
        if folded(name) not in names:
            yield f"{name} is declared, but is no field of the records"
        elif folded(name) != folded(feed.cursor or ""):  # what is wrong with that is said already
            yield from misfits(name, kind, filled(names[folded(name)], rows), feed.timezone)
    declared = {folded(name) for name in feed.types}
    others = [name for name in kinds.types if folded(name) not in declared]
    if options.columns == "found":
        yield from _of_found(others, rows, kinds)
    elif others:
        yield f"no type is declared for {', '.join(others)}: they are kept in {EXTRA}"


def _of_found(names: Sequence[str], rows: Sequence[Record], kinds: Kinds) -> Iterator[str]:
    mixed = kinds.mixed()
    for name in names:
        if name in mixed:
            yield f"{name} is {' and '.join(mixed[name])}: it is read as text"
        elif kinds.types[name] == "null":
            yield f"{name} has no value on this page: its type is not known"
        elif kinds.types[name] == "text":
            yield from _of_text(name, [row.get(name) for row in rows])


def _of_keys(feed: Feed, rows: Sequence[Record]) -> Iterator[str]:
    counts = Counter(tuple(as_text(row.get(key)) for key in feed.keys) for row in rows)
    if twice := sum(count > 1 for count in counts.values()):
        yield f"{twice} keys are there more than once: {', '.join(feed.keys)} may be no key"


def _of_cursor(feed: Feed, options: ListOptions, rows: Sequence[Record]) -> Iterator[str]:
    if feed.cursor is None:
        return
    without = sum(Rows(feed, options).cursor(row) is None for row in rows)
    if without:
        yield f"{without} records have no cursor {feed.cursor!r} as {options.cursor_format}"
    if options.since is None:
        yield "no parameter limits the list to what changed: each sync reads all of it"
    if feed.overlap_seconds == 0:
        yield "overlap_seconds is 0: a record that the API shows late is missed until the next full"


def _of_text(name: str, values: Sequence[Any]) -> Iterator[str]:
    texts = [value for value in values if isinstance(value, str) and value]
    if not texts:
        return
    if all(instants.parse(value, "iso") is not None and len(value) >= len("2026-02-24") for value in texts):
        kind = "date" if all(len(value) == len("2026-02-24") for value in texts) else "timestamp"
        yield f"{name} looks like a {kind}: declare it under types"
    elif all(instants.parse(value, "number") is not None for value in texts) and not any(v[0] == "0" for v in texts):
        yield f"{name} is a number written as text: declare its type if it should be one"


def _of_paging(options: ListOptions, page: Page) -> Iterator[str]:
    size = options.paging.size
    if options.paging.kind == "none":
        yield "no paging is declared: if there are more records, they are not read"
    elif size is not None and len(page.records) > size:
        yield f"the page has {len(page.records)} records instead of {size}: the API ignores the size"
    elif page.last and options.paging.kind in ("cursor", "next"):
        yield "the page names no next one: it is the only page, or next under paging is wrong"

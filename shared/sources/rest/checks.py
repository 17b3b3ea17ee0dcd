"""What ``sluice doctor`` finds out about an API: whether it answers and lets us in, its clock, the calls left."""

from __future__ import annotations

import datetime as dt

from collections.abc import Callable, Iterator, Mapping, Sequence

from shared.errors import IngestError
from shared.model import Feed, Finding
from shared.rest.connect import open_client
from shared.rest.pages import Page, pages
from shared.settings import Settings
from shared.sources.rest.listing import server_time
from shared.sources.rest.options import ListOptions, Rows
from shared.text import counted

_CLOCKS_DIFFER = 60.0
"""Seconds from which it is worth a warning. Signatures of requests allow for some minutes mostly."""
_FEW_LEFT = 0.1


def examine(
    feeds: Sequence[Feed], settings: Settings, now: Callable[[], dt.datetime], rate: Callable[[str], float | None]
) -> Iterator[Finding]:
    """See ``sources.examine_source``: one call for each feed. Errors end the check of their feed alone."""
    first: Page | None = None
    headers: Mapping[str, str] = {}
    for feed in feeds:
        check = f"source {feed.name}"
        try:
            client, options = open_client(feed, settings), ListOptions.of(feed)
            page = next(iter(pages(client, options.call(None), options.paging, options.records)))
            client.close()
        except IngestError as error:
            yield Finding(check, "failed", error.problem, error.fix)
            continue
        if first is None:
            first, headers = page, page.response.headers
            yield Finding(f"source {feed.system}: sign-in", "ok", f"{client.host} answers, and lets us in")
        yield _table(check, feed, options, page)
    if first is not None:
        yield from _clock(f"source {feeds[0].system}: clock", first, now())
        yield from _left(f"source {feeds[0].system}: limits", headers)


def _table(check: str, feed: Feed, options: ListOptions, page: Page) -> Finding:
    rows = Rows(feed, options).of(page.records)
    if not rows:
        return Finding(check, "ok", "its first page has no records")
    names = {name.casefold() for row in rows for name in row}
    wanted = dict.fromkeys(name for name in (*feed.keys, feed.cursor, feed.deleted) if name)
    absent = [name for name in wanted if name.casefold() not in names]
    if absent:
        fields = ", ".join(dict.fromkeys(name for row in rows for name in row))
        return Finding(
            check, "failed", f"its records have no field {', '.join(absent)}",
            f"Correct it in the catalog; the fields are {fields}",
        )  # fmt: skip
    return Finding(check, "ok", f"{counted(len(rows), 'record')} on its first page")


def _clock(check: str, page: Page, now: dt.datetime) -> Iterator[Finding]:
    theirs = server_time(page)
    if theirs is None:
        return
    seconds = (now.astimezone(dt.UTC).replace(tzinfo=None) - theirs).total_seconds()
    text = f"this machine's is {abs(seconds):,.0f} s {'ahead of' if seconds > 0 else 'behind'} the API's"
    if abs(seconds) > _CLOCKS_DIFFER:
        yield Finding(check, "warning", text, "Set this machine's clock: sign-ins and windows depend on it")
    else:
        yield Finding(check, "ok", text)


def _left(check: str, headers: Mapping[str, str]) -> Iterator[Finding]:
    """What headers of a rate say, in the usual spellings."""
    known = {name.lower(): value for name, value in headers.items() if "ratelimit" in name.lower()}
    for name, value in sorted(known.items()):
        if not name.endswith("remaining") or not value.strip().isdigit():
            continue
        most = next((known[one] for one in _limits(name) if known.get(one, "").strip().isdigit()), None)
        text = f"{int(value):,} calls left" + (f" of {int(most):,}" if most else "") + f" ({name})"
        if most and int(value) < _FEW_LEFT * int(most):
            yield Finding(
                check, "warning", text, "Sync less often, or ask for a higher limit: syncs wait when it is used up"
            )
        else:
            yield Finding(check, "ok", text)


def _limits(remaining: str) -> list[str]:
    stem = remaining.removesuffix("remaining").rstrip("-")
    return [f"{stem}-limit", f"{stem}-max", stem, f"{stem}"]

"""What ``sluice doctor`` finds out about an API: whether it answers and lets us in, its clock, the calls left."""

from __future__ import annotations

import datetime as dt

from collections.abc import Callable, Iterator, Sequence

from shared.errors import IngestError
from shared.model import Feed, Finding
from shared.rest import checks
from shared.rest.connect import open_client
from shared.rest.pages import Page, pages
from shared.settings import Settings
from shared.sources.rest.options import ListOptions, Rows
from shared.text import counted


def examine(
    feeds: Sequence[Feed], settings: Settings, now: Callable[[], dt.datetime], rate: Callable[[str], float | None]
) -> Iterator[Finding]:
    """See ``sources.examine_source``: one call for each feed. Errors end the check of their feed alone."""
    first: Page | None = None
    answered = now()
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
            first, answered = page, now()  # at once: the calls that follow may wait for the rate
            yield Finding(f"source {feed.system}: sign-in", "ok", f"{client.host} answers, and lets us in")
        yield _table(check, feed, options, page)
    if first is not None:
        yield from checks.of_account(feeds[0].system, first.response.headers, answered)


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

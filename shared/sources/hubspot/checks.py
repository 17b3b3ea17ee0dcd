"""What ``sluice doctor`` finds out about HubSpot: sign-in, scopes, clock, calls left."""

from __future__ import annotations

import datetime as dt

from collections.abc import Callable, Iterator, Sequence

from shared.errors import IngestError
from shared.model import Feed, Finding
from shared.rest import checks
from shared.rest.failures import Response
from shared.settings import Settings
from shared.sources.hubspot.source import open_calls


def examine(
    feeds: Sequence[Feed], settings: Settings, now: Callable[[], dt.datetime], rate: Callable[[str], float | None]
) -> Iterator[Finding]:
    """See ``sources.examine_source``: one call for each object, which shows whether its scope is there."""
    response: Response | None = None
    for feed in feeds:
        check = f"source {feed.name}"
        try:
            calls = open_calls(feed, settings)
            response = calls.first(str(feed.api["object"]))
            calls.client.close()
        except IngestError as error:
            yield Finding(check, "failed", error.problem, error.fix)
        else:
            yield Finding(check, "ok", "it may be read")
    if response is not None:
        yield from checks.of_account(feeds[0].system, response.headers, now())

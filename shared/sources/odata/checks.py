"""What ``sluice doctor`` finds out about an OData service: sign-in, sets, their fields, clock."""

from __future__ import annotations

import datetime as dt

from collections.abc import Callable, Iterator, Sequence

from shared.errors import IngestError
from shared.model import Feed, Finding
from shared.rest import checks
from shared.settings import Settings
from shared.sources.odata.service import Query, Service
from shared.sources.odata.source import STAMPS, check, open_service


def examine(
    feeds: Sequence[Feed], settings: Settings, now: Callable[[], dt.datetime], rate: Callable[[str], float | None]
) -> Iterator[Finding]:
    """See ``sources.examine_source``: one call for $metadata, and one for each set. Errors end a set's check alone."""
    system = feeds[0].system
    try:
        service = open_service(feeds[0], settings)
        response = service.metadata()
    except IngestError as error:
        yield Finding(f"source {system}: sign-in", "failed", error.problem, error.fix)
        return
    answered = now()  # at once: the calls that follow may wait for the rate
    sets = len(service.known.sets)
    yield Finding(
        f"source {system}: sign-in", "ok", f"{service.client.host} answers, and lets us in; it has {sets} sets"
    )
    for feed in feeds:
        yield _of_set(feed, service)
    service.client.close()
    yield from checks.of_account(system, response.headers, answered)


def _of_set(feed: Feed, service: Service) -> Finding:
    name = f"source {feed.name}"
    try:
        found = service.entity_set(str(feed.api["set"]))
        check(feed, found, service.client.host)
        service.at(found, Query(), 0)
    except IngestError as error:
        return Finding(name, "failed", error.problem, error.fix)
    stamp = next((one for one in STAMPS if one in found.types), None)
    if feed.cursor is not None:
        return Finding(name, "ok", "it may be read")
    remark = f", though its cursor could be {stamp}" if stamp else ""
    return Finding(name, "ok", f"it may be read; each sync reads all of it{remark}")

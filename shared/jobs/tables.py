"""The tables in the job of a system: which lane reads which of them, and what became of each.

As many lanes as SYNC_TABLES allows read one table after the other. A lane takes the next table that no other has taken,
so a large table keeps one lane busy and no table waiting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.errors import ConfigError
from shared.jobs.documents import TableDocuments, UnitDocuments, UnitState
from shared.jobs.orchestrations import CHILDREN
from shared.jobs.request import COUNTS, FinishRequest, JobRequest, PullFeed, PullSystem, TakeTable, UnitOutcome, short
from shared.jobs.summary import by_destination, seconds_behind, unit_outcomes
from shared.model import FeedName
from shared.pipeline.relations import in_order

if TYPE_CHECKING:
    from shared.app import App


def open_tables(app: App, request: JobRequest) -> dict[str, Any]:
    """Keep the list of tables, in the order of their relations: how many there are, and how many lanes read them."""
    work = request.work
    assert isinstance(work, PullSystem)  # noqa: S101 - no other work has this step
    try:
        names = _in_order(app, work)
    except ConfigError as error:
        return {"error": short(str(error))}
    feeds = TableDocuments(app.documents, request).add(names)
    return {"units": len(feeds), "lanes": min(len(feeds), app.settings.sync_tables, CHILDREN)}


def _in_order(app: App, work: PullSystem) -> list[str]:
    """The feeds, those that others refer to first. One that is not found any more comes last: its planning says why."""
    resolved = app if work.feeds else app.resolved(work.system)
    system = resolved.systems.get(work.system)
    if system is None:
        raise ConfigError(f"the catalog has no system {work.system!r}", fix="Declare it, or pause its feeds")
    known = {feed.table: feed for feed in system.feeds() if work.feeds or system.is_pulled(feed.table)}
    wanted = [known[table] for table in work.feeds or known if table in known]
    lost = [str(FeedName(work.system, table)) for table in work.feeds if table not in known]
    return [*(feed.name for level in in_order(wanted) for feed in level), *lost]


def take_table(app: App, request: TakeTable) -> dict[str, Any]:
    """The next table for a lane, with its feed; nothing if all are taken. Asked again, it is the same table."""
    documents = TableDocuments(app.documents, request)
    feeds = documents.read()
    for number in range(request.after + 1, len(feeds)):
        if documents.take(number, request.lane):
            return {"table": number, "feed": feeds[number]}
    return {}


def finish_table(app: App, request: FinishRequest) -> dict[str, Any]:
    """Keep what became of a table, all its windows together, as a unit of the job."""
    assert isinstance(request.work, PullFeed)  # noqa: S101 - no other work has this step
    feed = request.work.feed
    first, *others = [
        table_outcome(feed, windows, seconds_behind(app, feed, windows))
        for windows in by_destination(unit_outcomes(app, request))
    ]
    for outcome in (first, *others):
        UnitDocuments.of_table(app.documents, request, outcome.destination).add(UnitState(outcome=outcome))
    return {"status": first.status}


def table_outcome(feed: str, windows: Sequence[UnitOutcome], behind: float | None) -> UnitOutcome:
    """What became of the *windows* of a table together: failed if one did, done if one brought news."""
    statuses = {window.status for window in windows}
    status = next(one for one in ("failed", "done", "no news", "skipped") if one in statuses)
    known = [window for window in windows if window.run is not None]
    counts: dict[str, Any] = {name: sum(getattr(window, name) or 0 for window in known) for name in COUNTS}
    skipped = next((window.skipped for window in windows if window.skipped), None)
    notes = [note for window in windows for note in (window.note, window.skipped) if note and note != skipped]
    return UnitOutcome(
        status=status, place=short(feed), feed=feed, destination=windows[0].destination,
        windows=len(windows), behind=behind, skipped=skipped,
        error=next((window.error for window in windows if window.status == "failed"), None),
        note=short("; ".join(dict.fromkeys(notes))) or None, retryable=any(window.retryable for window in windows),
        run=known[-1].run if known else None, kind=known[-1].kind if known else None,
        **(counts if known else {}),
    )  # fmt: skip

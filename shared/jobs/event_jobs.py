"""What starts jobs for events that name changed objects: a request of a webhook, or the watchdog later."""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterator
from typing import TYPE_CHECKING

from shared.jobs.events import Events
from shared.jobs.request import ObjectEvents, Start
from shared.jobs.summary import read_record
from shared.jobs.triggers import UNSTARTED_SECONDS, Wanted, is_due, latest_attempt
from shared.model import to_text

if TYPE_CHECKING:
    from shared.app import App


def events_job(system: str, now: dt.datetime, group_seconds: float) -> Start:
    """The job for events that are kept already: it begins to collect when the window of *now* (aware) is over."""
    seconds = max(group_seconds, 1.0)
    window = int(now.timestamp() // seconds)
    return _job(ObjectEvents(system=system, window=window, wait=seconds))


def open_events(app: App, wanted: Wanted) -> Iterator[Start]:
    """The jobs of events that are still kept: those whose job never began, or may succeed now.

    With ``wanted.failed`` also those that failed for good.
    """
    kept = Events(app.documents)
    now = app.now()
    for system, window, entry in kept.batches():
        work = ObjectEvents(system=system, window=window, wait=0.0)
        start = latest_attempt(app.documents, _job(work))
        record = read_record(app.documents, start.job)
        if record and record.finished < to_text(dt.datetime.fromtimestamp(entry.modified, dt.UTC)):
            record = None  # of an earlier batch in the same window
        if (wanted.failed or is_due(record, entry.modified, now)) and _is_of(kept, work, wanted.feed):
            yield wanted.start(start)
    for name, known in app.systems.items():
        if wanted.feed is not None and all(feed.name != wanted.feed for feed in known.feeds()):
            continue
        oldest = kept.oldest(name)
        if oldest is not None and (wanted.feed is not None or oldest + UNSTARTED_SECONDS <= now.timestamp()):
            yield events_job(name, now, app.settings.webhook_group)


def _job(work: ObjectEvents) -> Start:
    return Start(job=f"events:{work.system}.{work.window}", work=work)


def _is_of(kept: Events, work: ObjectEvents, feed: str | None) -> bool:
    if feed is None:
        return True
    batch = kept.batch(work)
    return batch is not None and any(unit.feed == feed for unit in batch.units)

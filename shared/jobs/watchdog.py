"""What runs on the watchdog's schedule: alerts about late feeds, stuck jobs and undelivered events, and cleaning up."""

from __future__ import annotations

import base64
import datetime as dt
import functools
import hashlib
import json
import logging
import re

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from shared.alerts.decide import Alert, alert_key
from shared.azure import clients, urls
from shared.errors import ConfigError, IngestError
from shared.jobs import followups, triggers
from shared.jobs.event_jobs import open_events
from shared.jobs.events import BATCHES, EVENTS
from shared.jobs.feed_state import FeedStates
from shared.jobs.notifications import Notifications
from shared.jobs.reports import alerts_of, job_link
from shared.jobs.request import Start
from shared.jobs.uploads import UPLOADS
from shared.model import from_text, to_text
from shared.pipeline.feeds import declared

if TYPE_CHECKING:
    from shared.app import App

_log = logging.getLogger("sluice")

PENDING_SECONDS = 900.0
"""How long an orchestration may wait for its first activity."""
MAX_ATTEMPTS = 3
PAGE = 100
"""Orchestrations in one answer of the host; Durable's 1.x client never requests the rest."""
_JOB = re.compile(r"(?P<base>(?:blob|folder|export|sync|keys|search|events):[^:~]+)(?:~(?P<attempt>\d+))?")
POISON = "webjobs-blobtrigger-poison"
_AT_ONCE = 32
_PURGED = (
    "jobs/", "leases/", "hands/", "told/", "dead-letters/", "attempts/", "followed/", "runs/", "alerts/", UPLOADS,
    EVENTS, BATCHES,
)  # fmt: skip
"""Prefixes of documents; ``hands/`` are leases of earlier versions."""


class Instance(NamedTuple):
    """An orchestration as the host lists it."""

    id: str
    name: str
    status: str
    created: dt.datetime
    updated: dt.datetime
    """When it last made progress. Aware, in UTC, as ``created``."""


class Stuck(NamedTuple):
    """A job that makes no progress."""

    instance: Instance
    retry: str | None
    """Id of the next attempt; None for a sync, which its schedule restarts, and after the last attempt."""

    def alert(self) -> Alert:
        then = f"It was restarted as {self.retry}" if self.retry else "It restarts on its schedule or by POST /run"
        since = f"{self.instance.updated:%Y-%m-%d %H:%M} UTC"
        text = f"{self.instance.status}, no progress since {since}; the job was terminated. {then}."
        key = alert_key("stuck", self.instance.id)
        return Alert(kind="stuck", title=f"job {self.instance.id} is stuck", text=text, severity="error", key=key)


def stuck(instances: Iterable[Instance], now: dt.datetime, running_seconds: float) -> list[Stuck]:
    """The jobs among *instances* that have waited too long to begin, or made no progress for *running_seconds*.

    A job makes progress as long as any of its children does. Children without a job do not count.
    """
    listed = list(instances)
    progress: dict[str, dt.datetime] = {}
    for one in listed:
        job = ":".join(one.id.split(":")[:2])
        progress[job] = max(progress.get(job, one.updated), one.updated)
    return [
        Stuck(one, _retry(found))
        for one in listed
        if (found := _JOB.fullmatch(one.id)) and _is_stuck(one, progress[one.id], now, running_seconds)
    ]


def _is_stuck(one: Instance, progress: dt.datetime, now: dt.datetime, running_seconds: float) -> bool:
    if one.status == "Pending":
        return now - one.created > dt.timedelta(seconds=PENDING_SECONDS)
    return one.status == "Running" and now - progress > dt.timedelta(seconds=running_seconds)


def _retry(job: re.Match[str]) -> str | None:
    attempt = int(job["attempt"] or 1) + 1
    if job["base"].startswith(("sync:", "keys:")) or attempt > MAX_ATTEMPTS:
        return None
    return f"{job['base']}~{attempt}"


def children(stuck: Stuck, instances: Iterable[Instance]) -> list[str]:
    """The orchestrations below a job, which do not end with it."""
    return [one.id for one in instances if one.id.startswith(f"{stuck.instance.id}:")]


async def list_instances(
    page: Callable[[dt.datetime, dt.datetime], Awaitable[Sequence[Instance]]], since: dt.datetime, until: dt.datetime
) -> list[Instance]:
    """All orchestrations created between two times, though no answer holds more than ``PAGE``: the span is halved."""
    found = {one.id: one for one in await page(since, until)}
    if len(found) >= PAGE and until - since > dt.timedelta(milliseconds=1):
        middle = since + (until - since) / 2
        for span in ((since, middle), (middle, until)):
            found |= {one.id: one for one in await list_instances(page, *span)}
    return list(found.values())


def check_all(app: App) -> list[Start]:
    """Alert about feeds without data, poisoned events, dead letters and expired notifications; then clean up.

    Returns the jobs to start: those of notifications and events that are still kept. A check that fails is alerted, and
    the others go on.
    """
    for check in (stale, poisoned, dead_letters, expired):
        _guarded(app, functools.partial(_send_all, app, check))
    _guarded(app, functools.partial(followups.run_pending, app))
    _guarded(app, functools.partial(purge, app))
    return [*triggers.open_notifications(app), *open_events(app, triggers.Wanted())]


def send(app: App, alert: Alert) -> bool:
    """Send an alert, unless it was sent lately, and say whether it was sent."""
    return alerts_of(app).send(alert)


def _send_all(app: App, check: Callable[[App], Iterable[AlertAndThen]]) -> None:
    for alert, then in check(app):
        if send(app, alert) or not app.settings.alert_url:  # without one it is logged
            then()


def _guarded(app: App, act: Callable[[], object]) -> None:
    try:
        act()
    except Exception as error:  # noqa: BLE001 - a queue that may not be read must not keep the rest from being checked
        title = "The watchdog could not finish its checks"
        _log.exception(title)
        text = str(error) if isinstance(error, IngestError) else type(error).__name__
        key = alert_key("failure", "watchdog", text)
        send(app, Alert(kind="failure", title=title, text=text, severity="error", key=key))


AlertAndThen: TypeAlias = "tuple[Alert, Callable[[], object]]"
"""What to send, and what to do once it has been sent."""


def stale(app: App) -> Iterator[AlertAndThen]:
    """Feeds whose last data came longer ago than the catalog allows."""
    now = app.now()
    for feed in declared(app.systems):
        if feed.max_age_hours is None or FeedStates(app.documents).paused(feed.name):
            continue
        last = FeedStates(app.documents).last_run(feed.name)
        since = from_text(last.finished if last else FeedStates(app.documents).expected_since(feed.name, to_text(now)))
        assert since is not None  # noqa: S101 - both are times
        hours = (now.replace(tzinfo=None) - since).total_seconds() / 3600
        if hours > feed.max_age_hours:
            came = f"the last came at {since:%Y-%m-%d %H:%M} UTC" if last else f"none since {since:%Y-%m-%d %H:%M} UTC"
            alert = Alert(
                kind="stale", title=f"{feed.name} has had no data for {hours:,.0f} h", severity="error",
                text=f"{came}; the catalog allows {feed.max_age_hours:g} h", key=alert_key("stale", feed.name),
            )  # fmt: skip
            yield alert, _nothing


def poisoned(app: App) -> Iterator[AlertAndThen]:
    """Events of files for which no job could be started; each is removed from its queue once the alert is sent."""
    queue = _poison_queue(app)
    if queue is None:
        return
    from azure.core.exceptions import ResourceNotFoundError

    try:
        messages = list(queue.receive_messages(max_messages=_AT_ONCE, visibility_timeout=300))
    except ResourceNotFoundError:  # there never was one
        return
    if not messages:
        return
    names = [_named(message.content) for message in messages]
    for name in names:
        _log.error("poisoned event: %s", name)
    alert = Alert(
        kind="poison", title=f"{len(names)} events failed too often", severity="error",
        text=f"no job could be started for {_some(names)}; `reconcile` loads the files if they still exist",
        key=f"poison-{messages[0].id}",
    )  # fmt: skip
    yield alert, lambda: [queue.delete_message(message) for message in messages]


def dead_letters(app: App) -> Iterator[AlertAndThen]:
    """Events that Event Grid could not deliver. Their files stay where they are, and are alerted once."""
    if not app.settings.dead_letter_url:
        return
    from shared.stores import open_store

    known = {entry.name for entry in app.documents.entries("dead-letters/")}
    files = [file.name for file in open_store(app.settings.dead_letter_url, app.settings).list()]
    fresh = [name for name in files if _mark(name) not in known]
    if fresh:
        alert = Alert(
            kind="poison", title="Event Grid could not deliver events", severity="warning",
            text=f"see {_some(fresh)}; `reconcile` loads the files that no event announced",
            key=alert_key("poison", fresh[0]),
        )  # fmt: skip
        yield alert, functools.partial(_remember, app, fresh)


def _remember(app: App, letters: Iterable[str]) -> None:
    for name in letters:
        app.documents.put(_mark(name), b"")


def _mark(letter: str) -> str:
    """The document that says that a dead letter has been alerted."""
    return f"dead-letters/{hashlib.sha256(letter.encode()).hexdigest()[:32]}"


def expired(app: App) -> Iterator[AlertAndThen]:
    """Notifications whose links expired before all was loaded. They hold signatures, and are of no more use."""
    kept = Notifications(app.documents)
    for id, entry in kept.kept():
        try:
            notification = kept.read(id)
        except ConfigError:  # its job has just ended
            continue
        ends = notification.expires or dt.datetime.fromtimestamp(entry.modified + app.settings.webhook_max_age, dt.UTC)
        if ends + dt.timedelta(seconds=app.settings.stuck_after) <= app.now():  # what began in time may still run
            text = f"{notification.title}: its links expired before all was loaded. Ask the sender for a new one."
            alert = Alert(
                kind="failure", title="A notification expired", text=text, severity="error",
                link=job_link(app.settings, triggers.notification_job(id).job), key=alert_key("failure", id),
            )  # fmt: skip
            yield alert, functools.partial(kept.remove, id)


def purge(app: App) -> None:
    """Remove documents of jobs and runs, leases, alerts and their records that are older than KEEP_JOBS."""
    oldest = app.now().timestamp() - app.settings.keep_jobs
    for prefix in _PURGED:
        for entry in app.documents.entries(prefix):
            if entry.modified < oldest:
                app.documents.delete(entry.name)


def _nothing() -> None:
    """There is nothing to do once it has been sent."""


def _poison_queue(app: App) -> Any:
    if not app.settings.exports_url:
        return None
    return clients.queue_client(urls.parse_url(app.settings.exports_url), POISON, app.settings)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def _named(content: str) -> str:
    """The file that an event of the host is about."""
    for text in (content, _decoded(content)):
        try:
            event: Mapping[str, str] = json.loads(text)
            return f"{event['ContainerName']}/{event['BlobName']}"
        except (ValueError, KeyError, TypeError):
            continue
    return "a message that cannot be read"


def _decoded(content: str) -> str:
    try:
        return base64.b64decode(content).decode()
    except ValueError:
        return ""

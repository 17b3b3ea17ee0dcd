"""What an operator should hear without asking: feeds without data, jobs that are stuck, events nobody processed."""

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

from shared import alerts
from shared.alerts import Alert
from shared.azure import clients, urls
from shared.errors import ConfigError, IngestError
from shared.jobs import summaries, triggers, work_items
from shared.jobs.triggers import Start
from shared.model import Json, from_text, to_text
from shared.pipeline.feeds import declared

if TYPE_CHECKING:
    from shared.app import App

_log = logging.getLogger("sluice")

PENDING_SECONDS = 900.0
"""How long an orchestration may wait for its first step."""
MOST_ATTEMPTS = 3
PAGE = 100
"""Orchestrations in one answer of the host; Durable's 1.x client never asks for the rest."""
_JOB = re.compile(r"(?P<base>(?:blob|folder|export|sync):[^:~]+)(?:~(?P<attempt>\d+))?")
POISON = "webjobs-blobtrigger-poison"
_AT_ONCE = 32


class Instance(NamedTuple):
    """An orchestration as the host lists it."""

    id: str
    name: str
    status: str
    created: dt.datetime
    updated: dt.datetime
    """When it last went on. Aware, in UTC, as ``created``."""


class Stuck(NamedTuple):
    """A job that does not go on."""

    instance: Instance
    retry: str | None
    """Id of the next attempt; None for a sync, which its schedule starts again, and after the last attempt."""

    def alert(self) -> Alert:
        """What to tell of it."""
        then = f"it is started again as {self.retry}" if self.retry else "its next start is up to its schedule or you"
        since = f"{self.instance.updated:%Y-%m-%d %H:%M} UTC"
        text = f"{self.instance.status} and still since {since}: it is ended, and {then}"
        key = alerts.alert_key("stuck", self.instance.id)
        return Alert(kind="stuck", title=f"job {self.instance.id} is stuck", text=text, severity="error", key=key)


def stuck(instances: Iterable[Instance], now: dt.datetime, running_seconds: float) -> list[Stuck]:
    """The jobs among *instances* that have waited too long to begin, or have not gone on for *running_seconds*.

    A job goes on as long as any of its children does; children that go on without a job are nobody's business.
    """
    listed = list(instances)
    moved: dict[str, dt.datetime] = {}
    for one in listed:
        name = ":".join(one.id.split(":")[:2])
        moved[name] = max(moved.get(name, one.updated), one.updated)
    found = []
    for one in listed:
        job = _JOB.fullmatch(one.id)
        if not job:
            continue
        waits = one.status == "Pending" and now - one.created > dt.timedelta(seconds=PENDING_SECONDS)
        if waits or (one.status == "Running" and now - moved[one.id] > dt.timedelta(seconds=running_seconds)):
            attempt = int(job["attempt"] or 1) + 1
            again = not one.id.startswith("sync:") and attempt <= MOST_ATTEMPTS
            found.append(Stuck(one, f"{job['base']}~{attempt}" if again else None))
    return found


def children(stuck: Stuck, instances: Iterable[Instance]) -> list[str]:
    """Those below a job, which do not end with it."""
    return [one.id for one in instances if one.id.startswith(f"{stuck.instance.id}:")]


async def list_instances(
    page: Callable[[dt.datetime, dt.datetime], Awaitable[Sequence[Instance]]], since: dt.datetime, until: dt.datetime
) -> list[Instance]:
    """All orchestrations made between two times, though no answer holds more than ``PAGE``: by ever shorter spans."""
    found = {one.id: one for one in await page(since, until)}
    if len(found) >= PAGE and until - since > dt.timedelta(milliseconds=1):
        middle = since + (until - since) / 2
        for span in ((since, middle), (middle, until)):
            found |= {one.id: one for one in await list_instances(page, *span)}
    return list(found.values())


def check_all(app: App) -> list[Start]:
    """Tell of feeds without data, poisoned events, dead letters and notifications that are given up; then clear away.

    The jobs to start: those of notifications that are kept still. What fails of all this is told, and the rest goes on.
    """
    for check in (stale, poisoned, dead_letters, expired):
        _guarded(app, functools.partial(_tell_all, app, check))
    _guarded(app, functools.partial(summaries.run_followups, app))
    _guarded(app, functools.partial(purge, app))
    return list(triggers.open_notifications(app))


def _tell_all(app: App, check: Callable[[App], Iterable[AlertAndThen]]) -> None:
    for alert, then in check(app):
        if app.alerts.tell(alert) or not app.settings.alert_url:  # without one the log alone tells
            then()


def _guarded(app: App, act: Callable[[], object]) -> None:
    try:
        act()
    except Exception as error:  # noqa: BLE001 - a queue that may not be read must not keep the rest from being seen
        _log.exception("the watchdog could not look at everything")
        text = str(error) if isinstance(error, IngestError) else type(error).__name__
        key = alerts.alert_key("failure", "watchdog", text)
        app.alerts.tell(Alert(kind="failure", title="the watchdog is half blind", text=text, severity="error", key=key))


AlertAndThen: TypeAlias = "tuple[Alert, Callable[[], object]]"
"""What to tell, and what to do once it has been told."""


def stale(app: App) -> Iterator[AlertAndThen]:
    """Feeds whose last data came longer ago than the catalog allows."""
    now = app.now()
    for feed in declared(app.systems):
        if feed.max_age_hours is None or app.feed_states.paused(feed.name):
            continue
        last = app.feed_states.last(feed.name)
        since = from_text(last.finished if last else app.feed_states.expected_since(feed.name, to_text(now)))
        assert since is not None  # noqa: S101 - both are times
        hours = (now.replace(tzinfo=None) - since).total_seconds() / 3600
        if hours > feed.max_age_hours:
            came = f"the last came at {since:%Y-%m-%d %H:%M} UTC" if last else f"none since {since:%Y-%m-%d %H:%M} UTC"
            alert = Alert(
                kind="stale", title=f"{feed.name} has had no data for {hours:,.0f} h", severity="error",
                text=f"{came}; the catalog allows {feed.max_age_hours:g} h", key=alerts.alert_key("stale", feed.name),
            )  # fmt: skip
            yield alert, _nothing


def poisoned(app: App) -> Iterator[AlertAndThen]:
    """Events of files for which no job could be started; each is taken out of its queue once it has been told of."""
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
        text=f"no job could be started for {_some(names)}; `reconcile` takes the files if they are still there",
        key=f"poison-{messages[0].id}",
    )  # fmt: skip
    yield alert, lambda: [queue.delete_message(message) for message in messages]


def dead_letters(app: App) -> Iterator[AlertAndThen]:
    """Events that Event Grid could not deliver. Their files stay where they are, and are told of once."""
    if not app.settings.dead_letter_url:
        return
    from shared.stores import open_store

    told = {entry.name for entry in app.documents.entries("dead-letters/")}
    files = [file.name for file in open_store(app.settings.dead_letter_url, app.settings).list()]
    fresh = [name for name in files if _mark(name) not in told]
    if fresh:
        alert = Alert(
            kind="poison", title="Event Grid could not deliver events", severity="warning",
            text=f"see {_some(fresh)}; `reconcile` takes the files that nothing announced",
            key=alerts.alert_key("poison", fresh[0]),
        )  # fmt: skip
        yield alert, functools.partial(_remember, app, fresh)


def _remember(app: App, letters: Iterable[str]) -> None:
    for name in letters:
        app.documents.put(_mark(name), b"")


def _mark(letter: str) -> str:
    """The document that says that a dead letter has been told of."""
    return f"dead-letters/{hashlib.sha256(letter.encode()).hexdigest()[:32]}"


def expired(app: App) -> Iterator[AlertAndThen]:
    """Notifications whose links have expired before all was done. They hold signatures, and lead nowhere any more."""
    for entry in app.documents.entries("notices/"):
        try:
            noticed = work_items.notification(app, entry.name.removeprefix("notices/"))
        except ConfigError:  # its job has just ended
            continue
        ends = noticed.expires or dt.datetime.fromtimestamp(entry.modified + app.settings.webhook_max_age, dt.UTC)
        if ends + dt.timedelta(seconds=app.settings.stuck_after) <= app.now():  # what began in time may still run
            export = summaries.describe_notification(noticed)
            text = f"{export}: its links have expired before all was loaded; ask the sender for another"
            alert = Alert(
                kind="failure", title="a notification is given up", text=text, severity="error",
                link=app.job_link(f"export:{noticed.id}"), key=alerts.alert_key("failure", noticed.id),
            )  # fmt: skip
            yield alert, functools.partial(app.documents.delete, entry.name)


def purge(app: App) -> None:
    """Remove summaries, plans that were left behind and memories of alerts that are older than KEEP_JOBS."""
    oldest = app.now().timestamp() - app.settings.keep_jobs
    for prefix in ("jobs/", "hands/", "told/", "dead-letters/", "attempts/", "followed/"):
        for entry in app.documents.entries(prefix):
            if entry.modified < oldest:
                app.documents.delete(entry.name)


def _nothing() -> None:
    """There is nothing to do once it has been told."""


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
            told: Mapping[str, Json] = json.loads(text)
            return f"{told['ContainerName']}/{told['BlobName']}"
        except (ValueError, KeyError, TypeError):
            continue
    return "a message that cannot be read"


def _decoded(content: str) -> str:
    try:
        return base64.b64decode(content).decode()
    except ValueError:
        return ""

"""What starts jobs: a file that arrived, a notification, a schedule that is due, files that nobody announced.

Everything here says which job to start and starts none: that is for the host. The id of a job is a hash of its work, so
whatever asks for it a second time while it runs is refused there; what is done already, the ledger tells.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import re

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from shared.azure import urls
from shared.catalog import System
from shared.errors import ConfigError, RequestRefused
from shared.jobs import summaries, work_items
from shared.model import Json, from_text, to_text
from shared.pipeline.feeds import declared
from shared.pipeline.folder import exporting_system, exports_to_load, is_other_client
from shared.pipeline.verbs import recorded
from shared.sources.exports import listing
from shared.sources.exports.choice import Export, LoadPlan, SkippedExport, load_plans
from shared.sources.exports.layout import export_path
from shared.sources.exports.listing import FindOptions
from shared.stores import Store, open_store

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient

    from shared.app import App

_log = logging.getLogger("sluice")

_UNSTARTED_SECONDS = 900.0
"""How long a notification may lie before its job must have begun."""
_AGAIN_SECONDS = 3_600.0
"""How long a job rests that left something to be done again."""


CONTAINER = "exports"
"""The container whose files the host announces: it stands in the binding of the blob trigger."""


class Start(NamedTuple):
    """A job to start."""

    orchestrator: str
    """``file_job`` or ``export_job``, see shared.jobs.orchestrations."""
    job: str
    ask: Json


def file_arrived(app: App, file: BlobClient) -> Start | None:
    """The job for the file that an event is about, as it is now; None if it is gone, or no export of ours."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        etag = str(file.get_blob_properties().etag).strip('"')
    except ResourceNotFoundError:
        _log.info("ignored %s: it is gone", file.blob_name)
        return None
    return job_for_file(app, file.url, etag)


def job_for_file(app: App, url: str, etag: str) -> Start | None:
    """The job for a file of the exports container; None, with a line in the log, for what is no export of ours.

    *url* is percent-encoded; what signs in to it does not count.
    """
    spot = urls.parse_url(url)._replace(sas=None)
    found = export_path(spot.path)
    reason = None
    if found is None:
        reason = "it is not Parquet by its name, or a temporary file"
    elif found.kind is None:
        reason = "its path does not say whether it is a full or a delta"
    elif is_other_client(app.systems, found.client):
        reason = f"it is of client {found.client!r}"
    if reason:
        _log.info("ignored %s: %s", spot.url, reason)
        return None
    return Start("file_job", _id("blob", spot.container, spot.path, etag), {"work": {"file": spot.link, "etag": etag}})


def export_notified(app: App, body: bytes, signature: str | None) -> Start:
    """The job that CoolR's notification asks for; what it says is kept until that is done.

    Refused, with the status to answer, if it is not genuine or not right. ConfigError if none can be taken at all.
    """
    from shared.web.webhooks import coolr

    system = _signed_for(app, body, signature)
    told = app.settings.system(system.name)
    hosts = [host.strip() for host in told.webhook_hosts.split(",") if host.strip()]
    noticed = coolr.read(
        body, now=app.now(), max_age_seconds=app.settings.webhook_max_age, hosts=hosts, client=system.client
    )  # fmt: skip
    app.documents.put(f"notices/{noticed.id}", coolr.stored(noticed))
    return _export(noticed.id)


def _signed_for(app: App, body: bytes, signature: str | None) -> System:
    """The exporting system whose secret signed the notification. Refused if it is none's."""
    from shared.web.webhooks import coolr

    exporting = [system for system in app.systems.values() if not system.pulled]
    told = [(system, app.settings.system(system.name)) for system in exporting]
    ready = [(system, its) for system, its in told if its.webhook_secret and its.webhook_hosts]
    if not ready:
        names = " or ".join(system.name.upper() for system in exporting)
        raise ConfigError("notifications are not set up", fix=f"Set {names}_WEBHOOK_SECRET and {names}_WEBHOOK_HOSTS")
    for system, its in ready:
        try:
            coolr.verify(body, signature, [secret for secret in (its.webhook_secret, its.webhook_secret_old) if secret])
        except RequestRefused:
            if system is ready[-1][0]:
                raise
        else:
            return system
    raise AssertionError("the last one raises")  # pragma: no cover


def open_notifications(app: App, *, feed: str | None = None, failed: bool = False, **more: Json) -> Iterator[Start]:
    """The jobs of notifications that are kept still, for something of them is not done.

    Those that never began, and once an hour those of which something may pass. *failed* takes all of them, what has
    failed for good too; *feed* only those with files of it; *more* is asked of the jobs on top.
    """
    now = app.now()
    for entry in app.documents.entries("notices/"):
        id = entry.name.removeprefix("notices/")
        start = _last_attempt(app, _export(id, **more))
        before = summaries.concluded(app, start.job)
        if failed:
            is_due = True
        elif before is None:
            is_due = entry.modified + _UNSTARTED_SECONDS <= now.timestamp()
        else:
            is_due = before["again"] and before["finished"] <= to_text(now - dt.timedelta(seconds=_AGAIN_SECONDS))
        if is_due and (feed is None or _has(app, id, feed)):
            yield start


def missed_files(app: App, feed: str | None = None, *, failed: bool = False, **more: Json) -> Iterator[Start]:
    """The jobs for files of the exports container that the ledger does not know, of one feed or of all.

    As `sluice load` would, they take for each table the newest full and what came after it. *failed* takes up work
    that failed before, too; *more* is asked of the jobs on top.
    """
    if not app.settings.exports_url:
        return
    if urls.parse_url(app.settings.exports_url).container != CONTAINER:
        _log.warning("EXPORTS_URL is not of container %s, which alone announces its files", CONTAINER)
    root, store = urls.parse_url(app.settings.exports_url), open_store(app.settings.exports_url, app.settings)
    for system, plan in _plans(app, store):
        name = f"{system}.{plan.table}"
        if name == feed or (feed is None and not app.feed_states.paused(name)):
            for export in _unloaded(app, name, plan, store, retry=failed):
                start = _last_attempt(app, _of_offer(root._replace(sas=None), export, more))
                before = None if failed else summaries.concluded(app, start.job)
                if before is None or before["again"] or before["summary"]["done"]:
                    yield start


def _unloaded(app: App, feed: str, plan: LoadPlan, store: Store, *, retry: bool) -> Iterator[Export]:
    """The exports of a table to load that are not loaded yet; those that failed only with *retry*."""
    failed: set[Export] = set()
    for export in exports_to_load([plan], failed):
        if isinstance(export, SkippedExport):
            continue
        works = listing.export_unit(export, store).works
        status = recorded(works, app.ledger.known(feed, [work.id for work in works]))
        if status.failed and not retry:
            failed.add(export)
        if not (status.done if retry else status.settled):
            yield export


def due_syncs(app: App) -> Iterator[Start]:
    """The syncs of pull feeds whose schedule has come since they were last synced."""
    from cronsim import CronSim

    now = app.now()
    for feed in declared(app.systems):
        if feed.schedule is None or app.feed_states.paused(feed.name):
            continue
        last = from_text(app.feed_states.asked(feed.name))
        before = next(CronSim(feed.schedule, now + dt.timedelta(microseconds=1), reverse=True))
        if last is None or last < before.replace(tzinfo=None):
            yield sync_job(feed.name)


def sync_job(feed: str, **more: Json) -> Start:
    """The one job there is for a pull feed: while it runs, another is refused."""
    plain = feed if re.fullmatch(r"[a-z0-9_.-]{1,80}", feed) else hashlib.sha256(feed.encode()).hexdigest()[:32]
    return Start("file_job", f"sync:{plain}", {"work": {"feed": feed}, **more})


def remember_attempt(app: App, job: str, attempt: str) -> None:
    """Remember that *job* goes on under the id *attempt*."""
    app.documents.put(f"attempts/{job.partition('~')[0]}", attempt.encode())


def _last_attempt(app: App, start: Start) -> Start:
    """The job under the id that it goes by since an earlier attempt was ended, if one was."""
    attempt = app.documents.get(f"attempts/{start.job}")
    return start if attempt is None else start._replace(job=attempt.decode())


def _has(app: App, notice: str, feed: str) -> bool:
    """Whether a notification has files of a feed; not if it is gone."""
    try:
        return feed.partition(".")[2] in work_items.tables(work_items.notification(app, notice))
    except ConfigError:
        return False


def _export(notice: str, **more: Json) -> Start:
    return Start("export_job", f"export:{notice}", {"work": {"notice": notice}, **more})


def _id(kind: str, *parts: str) -> str:
    """An id that Durable takes (at most 100 characters, none of ``/\\#?``), the same for the same work."""
    text = "".join(f"{len(part)}:{part}" for part in parts)  # lengths keep ("ab", "c") apart from ("a", "bc")
    return f"{kind}:{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _plans(app: App, store: Store) -> Iterator[tuple[str, LoadPlan]]:
    """What the exports container has for each table, by system."""
    options = FindOptions(settle_seconds=app.settings.settle, ahead_seconds=app.settings.cursor_ahead)
    by_client: dict[str | None, list[Export]] = {}
    for export in listing.valid_exports(
        store, options, app.now(), on_error=lambda error: _log.warning("skipped: %s", error)
    ):
        if not is_other_client(app.systems, export.client):
            by_client.setdefault(export.client, []).append(export)
    for client, exports in by_client.items():
        try:
            system = exporting_system(app.systems, None, client)
        except ConfigError as error:
            _log.warning("skipped the exports of client %s: %s", client, error)
            continue
        yield from ((system.name, plan) for plan in load_plans(exports, everything=False))


def _of_offer(root: urls.StorageUrl, offer: Export, more: Mapping[str, Json]) -> Start:
    """The job that an event for the file would start; for a folder of part files one of their versions."""
    places = [(root.within(file.name) or root, file.version) for file in offer.files]
    first, etag = places[0]
    if not _is_parts(offer):
        return Start("file_job", _id("blob", first.container, first.path, etag), {
            "work": {"file": first.link, "etag": etag}, **more,
        })  # fmt: skip
    folder = first._replace(path=first.path.rpartition("/")[0])
    versions = [part for spot, version in sorted(places) for part in (spot.path, version)]
    return Start("file_job", _id("folder", folder.container, *versions), {
        "work": {"folder": folder.link, "table": offer.table}, **more,
    })  # fmt: skip


def _is_parts(offer: Export) -> bool:
    spot = export_path(offer.files[0].name)
    return spot is not None and spot.part

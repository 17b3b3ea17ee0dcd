"""What starts jobs: a file that arrived, a notification, a schedule, files that no event announced.

Everything here says which job to start; the host starts it. The id of a job is a hash of its work, so the host refuses
a second job for the same work while the first one runs; the ledger knows what is loaded already.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import logging

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shared.azure import urls
from shared.catalog import System
from shared.documents import Documents
from shared.errors import ConfigError, IngestError
from shared.ids import plain_name
from shared.jobs.feed_state import FeedStates
from shared.jobs.listed import DoneExports, Memory, Search, unloaded
from shared.jobs.notifications import Notification, Notifications
from shared.jobs.request import (
    ArchivedFiles,
    ExportedFile,
    MissedFiles,
    NotifiedFiles,
    PartFiles,
    PullFeed,
    PullSystem,
    Start,
)
from shared.jobs.summary import JobRecord, read_record
from shared.ledger import Ledger
from shared.model import Feed, FeedName, to_text
from shared.pipeline.csv import text_layout
from shared.pipeline.destinations import targets
from shared.pipeline.folder import exporting_system, is_other_client
from shared.pipeline.runner import Runner
from shared.pipeline.verbs import recorded
from shared.sources import is_set_up
from shared.sources.csv.files import Dropped, FileOptions, dropped, is_archive, members_of, text_unit
from shared.sources.exports import listing
from shared.sources.exports.choice import Export, LoadPlan, load_plans
from shared.sources.exports.layout import export_path
from shared.sources.exports.listing import FindOptions
from shared.stores import File, Store, open_store

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient

    from shared.app import App

_log = logging.getLogger("sluice")

CONTAINER = "exports"
"""The container whose files the host announces: it is named in the binding of the blob trigger."""
UNSTARTED_SECONDS = 900.0
"""How long a notification may be kept before its job must have begun."""
_MOST_TABLES = 500
"""Tables in the start of one job, which their names travel with. The others stay due until the next one."""
_RETRY_SECONDS = 3_600.0
"""How long after its end a job is started again of which something may succeed later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which work to take up, and what its jobs are started with."""

    feed: str | None = None
    """None for all feeds that are not paused."""
    failed: bool = False
    """Whether to take up work that failed before, too."""
    requested_by: str | None = None
    """As in Start."""
    max_delete_share: float | None = None
    all_again: bool = False
    """Whether to list the whole exports container, and not only what the searches before have left to be done."""

    def start(self, start: Start) -> Start:
        return replace(start, requested_by=self.requested_by, max_delete_share=self.max_delete_share)


# -- files


def file_arrived(app: App, file: BlobClient) -> Start | None:
    """The job for the file that an event is about, as it is now; None if it is gone, or no export."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        etag = str(file.get_blob_properties().etag).strip('"')
    except ResourceNotFoundError:
        _log.info("ignored %s: the file no longer exists", file.blob_name)
        return None
    return job_for_file(app.systems, file.url, etag)


def job_for_file(systems: Mapping[str, System], url: str, etag: str) -> Start | None:
    """The job for a file of the exports container; None, with a line in the log, if it is no export to load.

    *url* is percent-encoded; credentials in it are dropped.
    """
    location = urls.parse_url(url)._replace(sas=None)
    text = dropped(location.path)
    if reason := _ignored_text(systems, text) if text else _ignored(systems, location.path):
        _log.info("ignored %s: %s", location.url, reason)
        return None
    return _job_for_blob(location, etag)


def _job_for_blob(location: urls.StorageUrl, etag: str) -> Start:
    kind = ArchivedFiles if is_archive(location.path) else ExportedFile
    return Start(job=_id("blob", location.container, location.path, etag), work=kind(url=location.link, etag=etag))


def uploaded_job(url: str, version: str, feed: str) -> Start:
    """The job for a file that somebody has uploaded for *feed*, in one version; *url* is percent-encoded."""
    kind = ArchivedFiles if is_archive(url) else ExportedFile
    return Start(job=_id("blob", url, version), work=kind(url=url, etag=version), requested_by=feed)


def search_job(wanted: Wanted) -> Start:
    """The job that looks for files of a feed that are not loaded: with many files that takes minutes."""
    assert wanted.feed is not None  # noqa: S101 - the timer looks for those of all feeds by itself
    work = MissedFiles(feed=wanted.feed, failed=wanted.failed, all_again=wanted.all_again)
    options = (
        str(wanted.failed),
        str(wanted.max_delete_share),
        *(["all again"] if wanted.all_again else []),
    )  # another search with others is not refused
    return wanted.start(Start(job=_id("search", wanted.feed, *options), work=work))


def found_files(app: App, search: Start) -> list[Start]:
    """The jobs that a search finds."""
    assert isinstance(search.work, MissedFiles)  # noqa: S101 - no other work is a search
    wanted = Wanted(
        feed=search.work.feed, failed=search.work.failed, requested_by=search.requested_by,
        max_delete_share=search.max_delete_share, all_again=search.work.all_again,
    )  # fmt: skip
    return list(missed_files(app, wanted))


def missed_files(app: App, wanted: Wanted = Wanted()) -> Iterator[Start]:
    """The jobs for files of the exports container that the ledger does not know.

    As `sluice load` does, they take for each table the newest full and what came after it.
    """
    if not app.settings.exports_url:
        return
    root = urls.parse_url(app.settings.exports_url)
    if root.container != CONTAINER:
        _log.warning(
            "EXPORTS_URL is container %s, but events are sent for container %s only", root.container, CONTAINER
        )
    yield from _missed_texts(app, root, wanted)
    memory = Memory(app.documents, _all_ledgers(app), root._replace(sas=None).link, app.now())
    store = open_store(app.settings.exports_url, app.settings)
    search = Search(memory, store, all_tables=wanted.feed is None, all_again=wanted.all_again)
    for system, plan in _plans(app, search.store):
        feed = str(FeedName(system, plan.table))
        if _is_wanted(app, wanted, feed):
            ledgers = _ledgers(app, feed)
            found = [DoneExports() for _ in ledgers]
            lacking = [
                unloaded(ledger, feed, plan, search.store, one, retry=wanted.failed)
                for ledger, one in zip(ledgers, found, strict=True)
            ]
            for export in dict.fromkeys(itertools.chain.from_iterable(lacking)):
                yield from _again(app, wanted, _job_for_export(root._replace(sas=None), export))
            search.done.add(found)
    search.end(app.now())


def _is_wanted(app: App, wanted: Wanted, feed: str) -> bool:
    return wanted.feed == feed or (wanted.feed is None and not FeedStates(app.documents).paused(feed))


def _again(app: App, wanted: Wanted, start: Start) -> Iterator[Start]:
    """*start* under its latest id, unless it failed for good and that is not wanted."""
    latest = latest_attempt(app.documents, start)
    record = None if wanted.failed else read_record(app.documents, latest.job)
    if record is None or record.retryable or record.summary.done:
        yield wanted.start(latest)


def _missed_texts(app: App, root: urls.StorageUrl, wanted: Wanted) -> Iterator[Start]:
    """The jobs for text files below ``csv/`` that the ledger does not know."""
    folder = root._replace(path=f"{root.path}/csv".lstrip("/"))
    store = open_store(f"{folder.link}?{root.sas}" if root.sas else folder.link, app.settings)
    try:
        files = sorted(store.list(), key=lambda file: file.name)
    except ConfigError:  # there is no such folder
        return
    for file in files:
        location = root._replace(sas=None).within(file.name)
        text = dropped(location.path) if location else None
        if location is None or text is None or _ignored_text(app.systems, text):
            continue
        feed = str(text.feed)
        if _is_wanted(app, wanted, feed) and not _is_settled(app, feed, file, store, retry=wanted.failed):
            yield from _again(app, wanted, _job_for_blob(location, file.version))


def _is_settled(app: App, feed: str, file: File, store: Store, *, retry: bool) -> bool:
    """Whether all of a text file is loaded, or without *retry* failed for good. An archive that is damaged is not."""
    try:
        units = [text_unit(found, store, FileOptions(), app.now()) for found in members_of(file, store)]
    except IngestError:
        return False
    work_items = [work for unit in units for work in unit.work_items]
    ids = [work.id for work in work_items]
    known = [recorded(work_items, ledger.known(feed, ids)) for ledger in _ledgers(app, feed)]
    return all(status.done if retry else status.settled for status in known)


def _all_ledgers(app: App) -> list[Ledger]:
    return [app.ledger, *(runner.ledger for runner in app.runner.others.values())]


def _ledgers(app: App, feed: str) -> list[Ledger]:
    """Those of the destinations of a feed that are set up."""
    found = (target.found for target in targets(app.runner, feed))
    return [one.ledger for one in found if isinstance(one, Runner)]


def _ignored_text(systems: Mapping[str, System], text: Dropped) -> str | None:
    """Why a file below ``csv/`` is not loaded, if it is not."""
    try:
        text_layout(systems, text.feed)
    except ConfigError as error:
        return str(error)
    return None


def _ignored(systems: Mapping[str, System], path: str) -> str | None:
    """Why a file is not loaded, if it is not."""
    found = export_path(path)
    if found is None:
        return "its name is not that of a Parquet file, or it is a temporary file"
    if found.kind is None:
        return "its path does not say whether it is a full or a delta"
    return f"it is of client {found.client!r}" if is_other_client(systems, found.client) else None


def _plans(app: App, store: Store) -> Iterator[tuple[str, LoadPlan]]:
    """What the exports container has for each table, by system."""
    options = FindOptions(settle_seconds=app.settings.settle, ahead_seconds=app.settings.cursor_ahead)
    by_client: dict[str | None, list[Export]] = {}
    for export in listing.valid_exports(store, options, app.now(), _log_skipped):
        if not is_other_client(app.systems, export.client):
            by_client.setdefault(export.client, []).append(export)
    for client, exports in by_client.items():
        try:
            system = exporting_system(app.systems, None, client)
        except ConfigError as error:
            _log.warning("skipped the exports of client %s: %s", client, error)
            continue
        yield from ((system.name, plan) for plan in load_plans(exports, everything=False))


def _log_skipped(error: ConfigError) -> None:
    _log.warning("skipped: %s", error)


def _job_for_export(root: urls.StorageUrl, export: Export) -> Start:
    """The job that an event for the file would start; for a folder of part files, one of their versions."""
    files = [(root.within(file.name) or root, file.version) for file in export.files]
    first, etag = files[0]
    if not _is_parts(export):
        return _job_for_blob(first, etag)
    folder = first._replace(path=first.path.rpartition("/")[0])
    versions = [part for location, version in sorted(files) for part in (location.path, version)]
    return Start(
        job=_id("folder", folder.container, *versions), work=PartFiles(url=folder.link, table=export.table)
    )  # fmt: skip


def _is_parts(export: Export) -> bool:
    path = export_path(export.files[0].name)
    return path is not None and path.part


# -- notifications


def notification_job(id: str) -> Start:
    """The job for the files of a notification that is kept."""
    return Start(job=f"export:{id}", work=NotifiedFiles(id=id))


def open_notifications(app: App, wanted: Wanted = Wanted()) -> Iterator[Start]:
    """The jobs of notifications that are still kept, because something of them is not loaded.

    Those whose job never began, and once an hour those of which something may succeed. With ``wanted.failed`` all of
    them, those that failed for good too.
    """
    kept = Notifications(app.documents)
    for id, entry in kept.kept():
        start = latest_attempt(app.documents, notification_job(id))
        record = read_record(app.documents, start.job)
        due = wanted.failed or is_due(record, entry.modified, app.now())
        if due and (wanted.feed is None or _has_table(kept, id, FeedName.parse(wanted.feed).table)):
            yield wanted.start(start)


def is_due(record: JobRecord | None, kept_since: float, now: dt.datetime) -> bool:
    """Whether a job of something that has been kept since then is to be started: it never ran, or may succeed now."""
    if record is None:
        return kept_since + UNSTARTED_SECONDS <= now.timestamp()
    return record.retryable and record.finished <= to_text(now - dt.timedelta(seconds=_RETRY_SECONDS))


def _has_table(kept: Notifications, id: str, table: str) -> bool:
    """Whether a notification has files of a table; not if it is gone."""
    try:
        notification: Notification = kept.read(id)
    except ConfigError:
        return False
    return table in [name for name, _ in notification.tables]


# -- syncs


def due_syncs(app: App) -> Iterator[Start]:
    """A job for each system with feeds whose schedule has come since they were last synced, if it is set up."""
    for system in app.resolved_where_possible().systems.values():
        if tables := _due_tables(app, system):
            yield system_job(system.name, tables)
        for feed in system.feeds():
            if _is_comparison_due(app, feed):
                yield keys_job(feed.name)


def _is_comparison_due(app: App, feed: Feed) -> bool:
    """Whether ``reconcile`` has come since the keys of a feed, which has been synced, were last compared."""
    from cronsim import CronSim

    states = FeedStates(app.documents)
    if feed.reconcile is None or not is_set_up(feed, app.settings) or states.paused(feed.name):
        return False
    since = next(CronSim(feed.reconcile, app.now() + dt.timedelta(microseconds=1), reverse=True))
    return states.last_sync(feed.name) is not None and (states.last_comparison(feed.name) or "") < to_text(since)


def _due_tables(app: App, system: System) -> list[str]:
    """The tables of a system that are due, in the order of the catalog; of very many those that have waited longest."""
    from cronsim import CronSim

    states, now = FeedStates(app.documents), app.now()
    due: dict[str, str] = {}
    for feed in system.feeds():
        if feed.schedule is None or not is_set_up(feed, app.settings) or states.paused(feed.name):
            continue
        last = states.last_sync(feed.name) or ""
        since = next(CronSim(feed.schedule, now + dt.timedelta(microseconds=1), reverse=True))
        if last < to_text(since):
            due[feed.table] = last
    longest = set(sorted(due, key=lambda table: due[table])[:_MOST_TABLES])
    return [table for table in due if table in longest]


def system_job(system: str, tables: Sequence[str] = ()) -> Start:
    """The one job of a system, for these tables or for all that it pulls: while it runs, another is refused."""
    return Start(job=f"sync:{system}", work=PullSystem(system=system, feeds=tuple(tables)))


def sync_job(feed: str) -> Start:
    """The one job of a pull feed alone: while it runs, another is refused."""
    return Start(job=f"sync:{plain_name(feed)}", work=PullFeed(feed=feed))


def keys_job(feed: str) -> Start:
    """The one job that compares the keys of a pull feed. It gives way to a sync of the feed, and is due again then."""
    return Start(job=f"keys:{plain_name(feed)}", work=PullFeed(feed=feed, keys=True))


# -- attempts


def remember_attempt(documents: Documents, job: str, attempt: str) -> None:
    """Remember that *job* goes on under the id *attempt*."""
    documents.put(f"attempts/{job.partition('~')[0]}", attempt.encode())


def latest_attempt(documents: Documents, start: Start) -> Start:
    """The job under the id that it has had since an earlier attempt was terminated, if one was."""
    attempt = documents.get(f"attempts/{start.job}")
    return start if attempt is None else replace(start, job=attempt.decode())


def _id(kind: str, *parts: str) -> str:
    """An id that Durable takes (at most 100 characters, none of ``/\\#?``), the same for the same work."""
    text = "".join(f"{len(part)}:{part}" for part in parts)  # lengths keep ("ab", "c") apart from ("a", "bc")
    return f"{kind}:{hashlib.sha256(text.encode()).hexdigest()[:32]}"

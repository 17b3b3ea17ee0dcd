"""Open the work of a job: what each of its units is, and where it is read."""

from __future__ import annotations

import datetime as dt
import math

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol
from urllib.parse import unquote

from shared.azure import urls
from shared.catalog import System
from shared.documents import Documents
from shared.errors import ConfigError, ConflictError, DataError, IngestError, TransientError
from shared.ids import work_id
from shared.jobs.events import unit_of
from shared.jobs.notifications import Link, Notification, Notifications
from shared.jobs.request import (
    ArchivedFiles,
    ExportedFile,
    MissedFiles,
    NotifiedFiles,
    ObjectEvents,
    PartFiles,
    PullFeed,
    PullSystem,
    Work,
)
from shared.ledger import Ledger
from shared.model import Feed, FeedName, Unit, WorkItem
from shared.pipeline import pull
from shared.pipeline.csv import text_layout
from shared.pipeline.folder import exporting_system, exports_source
from shared.pipeline.keys import keys_unit
from shared.settings import Settings
from shared.sources import PullSource, Source, open_pull_source
from shared.sources.csv.files import Dropped, FileOptions, TextFile, dropped, text_files, text_unit
from shared.sources.csv.source import CsvSource
from shared.sources.exports import listing
from shared.sources.exports.choice import Export
from shared.sources.exports.listing import FindOptions
from shared.stores import Store, open_store

_MAX_NAMES = 200
"""Characters of the names of a notification's files."""


class FoundUnit(NamedTuple):
    """A unit of work and where to read it."""

    feed: str
    unit: Unit
    source: Source
    place: str
    """For people."""


class Skipped(Exception):  # noqa: N818 - no error: there is nothing to do
    """A unit that is not to be loaded, and why; *retryable* if it may be later, *news* unless there is nothing new."""

    def __init__(self, feed: str, place: str, reason: str, *, retryable: bool = False, news: bool = True) -> None:
        super().__init__(reason)
        self.feed, self.place, self.reason, self.retryable = feed, place, reason, retryable
        self.status: Literal["skipped", "no news"] = "skipped" if news else "no news"


class Unreadable(Exception):  # noqa: N818 - carries an error of ours
    """A unit that is known, but whose files cannot even be listed."""

    def __init__(self, feed: str, unit: Unit, error: IngestError) -> None:
        super().__init__(str(error))
        self.feed, self.unit, self.error = feed, unit, error


class OpenWork(Protocol):
    """The units of a job, by number."""

    def find(self, number: int, started: str) -> FoundUnit:
        """What the unit is now, for a job that *started* then (text of records).

        Skipped if it is not to be loaded; Unreadable if its files cannot be listed; any other IngestError if it is
        not even known which feed it belongs to.
        """
        ...

    def source(self, number: int) -> Source:
        """Where the slices of the unit are read, once it has been planned."""
        ...

    def describe(self, number: int) -> tuple[str | None, str]:
        """The feed, if it is known without reading anything, and the place of the unit, for people."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOpener:
    """Opens work of any kind with these ports."""

    settings: Settings
    systems: Mapping[str, System]
    documents: Documents
    ledger: Ledger
    now: Callable[[], dt.datetime]
    """The time, aware."""
    resolve: Callable[[str], System]
    """A system by its name, with the tables that its database names."""

    def count(self, work: NotifiedFiles | ArchivedFiles) -> tuple[int, str]:
        """How many units there are, and what they are of, for people. ConfigError for a notification that is gone.

        An archive that cannot be opened has one, whose outcome says why.
        """
        if isinstance(work, NotifiedFiles):
            notification = Notifications(self.documents).read(work.id)
            return len(notification.tables), notification.title
        texts = self.open(work)
        assert isinstance(texts, _Texts)  # noqa: S101 - an archive is nothing else
        try:
            return len(texts.files(texts.exports.store(work.url))), work.title
        except (ConfigError, ConflictError, DataError, Skipped):
            return 1, work.title

    def open(self, work: Work) -> OpenWork:
        match work:
            case ExportedFile() | ArchivedFiles() if (found := dropped(unquote(work.url))) is not None:
                return _Texts(work, found, Exports(self.settings, self.systems, self.now))
            case ExportedFile():
                return _File(work, Exports(self.settings, self.systems, self.now))
            case PartFiles():
                return _Folder(work, Exports(self.settings, self.systems, self.now))
            case NotifiedFiles():
                return _Notified(work, Exports(self.settings, self.systems, self.now), Notifications(self.documents))
            case ObjectEvents():
                return _Objects(work, self.settings, self.resolve, self.documents)
            case PullFeed():
                return _Windows(work, self.settings, self.resolve, self.ledger)
            case ArchivedFiles() | PullSystem() | MissedFiles():
                raise TypeError(f"a {work.title} has no units")


class Exports(NamedTuple):
    """The container that exports arrive in, or any other store."""

    settings: Settings
    systems: Mapping[str, System]
    now: Callable[[], dt.datetime]

    def store(self, url: str) -> Store:
        """The store of a URL without credentials; a SAS in EXPORTS_URL or STATE_URL signs in to its own container."""
        for location in filter(None, (self.settings.exports_url, self.settings.state_url)):
            own = urls.parse_url(location) if urls.is_blob_url(location) else None
            if own and own.sas and urls.is_blob_url(url) and own[:2] == urls.parse_url(url)[:2]:
                return open_store(f"{url}?{own.sas}", self.settings)
        return open_store(url, self.settings)

    def source(self, store: Store) -> Source:
        return exports_source(store, self.settings)

    def find(self, store: Store, *, settle_seconds: float, tables: Sequence[str] = ()) -> Export:
        """The one export of a table that is in *store*."""
        options = FindOptions(
            tables=tuple(tables), settle_seconds=settle_seconds, ahead_seconds=self.settings.cursor_ahead
        )
        return listing.find_exports(store, options, self.now())[0][0]

    def feed(self, client: str | None, table: str) -> str:
        return str(FeedName(exporting_system(self.systems, None, client).name, table))


class _File(NamedTuple):
    work: ExportedFile
    exports: Exports

    def find(self, number: int, started: str) -> FoundUnit:
        store = self.exports.store(self.work.url)
        # A part file that comes alone says nothing of the others, however old it is: `reconcile` takes the folder.
        export = self.exports.find(store, settle_seconds=math.inf)
        feed, file = self.exports.feed(export.client, export.table), export.files[0]
        if file.version != self.work.etag:
            raise Skipped(feed, file.name, "overwritten since; the new content is work of its own")
        return FoundUnit(feed, listing.export_unit(export, store), self.exports.source(store), file.name)

    def source(self, number: int) -> Source:
        return self.exports.source(self.exports.store(self.work.url))

    def describe(self, number: int) -> tuple[str | None, str]:
        return None, self.work.url


class _Texts(NamedTuple):
    """A text file, or the members of an archive."""

    work: ExportedFile | ArchivedFiles
    dropped: Dropped
    exports: Exports

    def files(self, store: Store) -> list[TextFile]:
        found = list(text_files(store))
        if found[0].file.version != self.work.etag:
            raise Skipped(
                str(self.dropped.feed), found[0].file.name, "overwritten since; the new content is work of its own"
            )
        return found

    def find(self, number: int, started: str) -> FoundUnit:
        store = self.exports.store(self.work.url)
        found = self.files(store)[number]
        latest = self.exports.now() + dt.timedelta(seconds=self.exports.settings.cursor_ahead)
        unit = text_unit(found, store, FileOptions(full=self.dropped.full), latest)
        return FoundUnit(str(self.dropped.feed), unit, self.reader(store), found.name)

    def source(self, number: int) -> Source:
        return self.reader(self.exports.store(self.work.url))

    def describe(self, number: int) -> tuple[str | None, str]:
        return str(self.dropped.feed), self.work.url

    def reader(self, store: Store) -> Source:
        layout = text_layout(self.exports.systems, self.dropped.feed)
        return CsvSource(store, layout, batch_rows=self.exports.settings.batch_size)


class _Folder(NamedTuple):
    work: PartFiles
    exports: Exports

    def find(self, number: int, started: str) -> FoundUnit:
        store = self.exports.store(self.work.url)
        export = self.exports.find(
            store, settle_seconds=self.exports.settings.settle, tables=[self.work.table]
        )  # fmt: skip
        feed = self.exports.feed(export.client, self.work.table)
        return FoundUnit(feed, listing.export_unit(export, store), self.exports.source(store), export.folder)

    def source(self, number: int) -> Source:
        return self.exports.source(self.exports.store(self.work.url))

    def describe(self, number: int) -> tuple[str | None, str]:
        return None, self.work.url


class _Notified(NamedTuple):
    work: NotifiedFiles
    exports: Exports
    notifications: Notifications

    def find(self, number: int, started: str) -> FoundUnit:
        notification = self.notifications.read(self.work.id)
        table, links = notification.tables[number]
        feed = self.exports.feed(notification.client, table)
        try:
            store = self._store(links)
            unit = listing.export_unit(_as_export(notification, table, store), store)
        except TransientError:
            raise
        except IngestError as error:
            raise Unreadable(feed, _unnamed_unit(notification, links), error) from error
        return FoundUnit(feed, unit, self.exports.source(store), _names(unit.work_items))

    def source(self, number: int) -> Source:
        _, links = self.notifications.read(self.work.id).tables[number]
        return self.exports.source(self._store(links))

    def describe(self, number: int) -> tuple[str | None, str]:
        try:
            notification = self.notifications.read(self.work.id)
            table, links = notification.tables[number]
            return self.exports.feed(notification.client, table), _names(links)
        except (IngestError, LookupError):
            return None, self.work.title

    def _store(self, links: Sequence[Link]) -> Store:
        from shared.stores.links import LinkStore

        settings = self.exports.settings
        return LinkStore([link.url for link in links], settings, most_bytes=settings.webhook_max_bytes)


def _as_export(notification: Notification, table: str, store: Store) -> Export:
    files = tuple(store.list())
    return Export(
        table=table, kind=notification.kind, client=notification.client, exported_at=notification.exported_at,
        complete=notification.kind == "full", folder=files[0].name.rpartition("/")[0], files=files,
    )  # fmt: skip


def _unnamed_unit(notification: Notification, links: Sequence[Link]) -> Unit:
    """The unit of files that cannot be listed: known by what the notification calls them."""
    work_items = tuple(WorkItem(work_id(link.name, "unreadable"), link.name) for link in links)
    return Unit(
        kind=notification.kind, work_items=work_items, exported_at=notification.exported_at, client=notification.client
    )  # fmt: skip


def _names(named: Sequence[WorkItem | Link]) -> str:
    return ", ".join(one.name for one in named)[:_MAX_NAMES]


class _Windows(NamedTuple):
    work: PullFeed
    settings: Settings
    resolve: Callable[[str], System]
    ledger: Ledger

    def find(self, number: int, started: str) -> FoundUnit:
        feed = self.feed()
        source = open_pull_source(feed, self.settings)
        if self.work.keys:
            compared = keys_unit(feed, now=started)
            return FoundUnit(self.work.feed, compared, source, compared.work_items[0].name)
        unit = pull.window(feed, source, self.ledger, now=started)
        if unit is None:
            raise Skipped(self.work.feed, self.work.feed, "the source is empty", news=False)
        if pull.is_unchanged(feed, unit, source, unit.seen or self.ledger.watermark(feed.name)):
            raise Skipped(self.work.feed, unit.work_items[0].name, "it has nothing new", news=False)
        return FoundUnit(self.work.feed, unit, source, unit.work_items[0].name)

    def source(self, number: int) -> PullSource:
        return open_pull_source(self.feed(), self.settings)

    def feed(self) -> Feed:
        name = FeedName.parse(self.work.feed)
        return self.resolve(name.system).feed(name.table, ())

    def describe(self, number: int) -> tuple[str | None, str]:
        return self.work.feed, self.work.feed


class _Objects(NamedTuple):
    work: ObjectEvents
    settings: Settings
    resolve: Callable[[str], System]
    documents: Documents

    def find(self, number: int, started: str) -> FoundUnit:
        feed, unit = unit_of(self.documents, self.work, number, started)
        return FoundUnit(feed, unit, self.reader(feed), unit.work_items[0].name)

    def source(self, number: int) -> PullSource:
        return self.reader(unit_of(self.documents, self.work, number, "").feed)

    def describe(self, number: int) -> tuple[str | None, str]:
        try:
            return unit_of(self.documents, self.work, number, "").feed, self.work.title
        except IngestError:
            return None, self.work.title

    def reader(self, feed: str) -> PullSource:
        name = FeedName.parse(feed)
        return open_pull_source(self.resolve(name.system).feed(name.table, ()), self.settings)

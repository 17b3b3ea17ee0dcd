"""What a job is asked to take, found again from the few words that travel: a file, a folder, a notification, a feed.

A *work* is one of these; none holds what signs in:

    {"file": URL, "etag": ETag}          one exported file in one version of its content
    {"folder": URL, "table": name}       all part files of one table of one export
    {"notice": id}                       the files of a notification, which lies in the app's state; a unit a table
    {"feed": name}                       the next window of a pull feed
"""

from __future__ import annotations

import math

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from shared.azure import urls
from shared.errors import ConfigError, IngestError, TransientError
from shared.ids import work_id
from shared.jobs import job_documents
from shared.model import Feed, Json, Run, Unit, WorkItem
from shared.pipeline import verbs
from shared.pipeline.folder import exporting_system, exports_source
from shared.pipeline.runner import RunOptions
from shared.sources import PullSource, Source, open_pull_source
from shared.sources.exports import listing
from shared.sources.exports.choice import Export
from shared.sources.exports.layout import export_path
from shared.sources.exports.listing import FindOptions
from shared.stores import Store, open_store

if TYPE_CHECKING:
    from shared.app import App
    from shared.web.webhooks.coolr import Link, Notification


class Found(NamedTuple):
    """A unit of work and where to read it."""

    feed: str
    unit: Unit
    source: Source
    place: str
    """For people."""


class Skipped(Exception):  # noqa: N818 - no error: there is nothing to do
    """A unit that is not to be taken, and why; *passing* if it may be later."""

    def __init__(self, feed: str, place: str, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.feed, self.place, self.reason, self.passing = feed, place, reason, passing


class Unreadable(Exception):  # noqa: N818 - carries an error of ours
    """A unit whose files cannot even be looked at."""

    def __init__(self, feed: str, unit: Unit, place: str, error: IngestError) -> None:
        super().__init__(str(error))
        self.feed, self.unit, self.place, self.error = feed, unit, place, error


def find(app: App, work: Json, number: int, started: str) -> Found:
    """Unit *number* of *work*, for a job that *started* then (text of records).

    Skipped if it is not to be taken, Unreadable if it is known what it is and not what is in it; any other error of
    ours if not even that.
    """
    if "file" in work:
        return _file(app, work)
    if "folder" in work:
        return _folder(app, work)
    if "notice" in work:
        return _noticed(app, notification(app, work["notice"]), number)
    return _window(app, work["feed"], started)


def about(app: App, ask: Json) -> dict[str, Json]:
    """The feed and the place of a unit, for people, from its work alone; as far as they can be told."""
    work = ask["work"]
    if "feed" in work:
        return {"feed": work["feed"], "place": work["feed"]}
    if "notice" not in work:
        return {"feed": None, "place": work.get("file") or work["folder"]}
    try:
        noticed = notification(app, work["notice"])
        table, links = _tables(noticed)[int(ask["unit"])]
        system = exporting_system(app.systems, None, noticed.client).name
    except (IngestError, LookupError):
        return {"feed": None, "place": f"notification {work['notice']}"}
    return {"feed": f"{system}.{table}", "place": ", ".join(link.name for link in links)[:200]}


def run(app: App, found: Found, ask: Json, options: RunOptions) -> Run:
    """The run that does what was found, in hand for this job.

    Skipped if its feed is paused, if all of it is done, or if another job has it in hand.
    """
    if app.feed_states.paused(found.feed):
        raise Skipped(found.feed, found.place, "its feed is paused", passing=True)
    # Only whoever asks by hand doubts the ledger: to look into the warehouse wakes a database that sleeps.
    asked = app.runner.run_for(found.feed, found.unit, options, verify_history=bool(ask.get("by_hand")))
    if asked is None:
        raise Skipped(found.feed, found.place, "already loaded")
    in_hand(app, ask, asked.id, found.feed, found.place)
    return asked


def in_hand(app: App, ask: Json, run: str, feed: str, place: str) -> None:
    """Take a run in hand for this job. Skipped if another has it."""
    holder = job_documents.Lease(app.documents, ask).take(run, app.now().timestamp(), app.settings.stuck_after)
    if holder is not None:
        raise Skipped(feed, place, f"job {holder} has it in hand", passing=True)


def source(app: App, work: Json, number: int) -> Source:
    """Where the slices of that unit are read, once it has been planned."""
    if "feed" in work:
        return pull_source(app, work["feed"])
    if "notice" in work:
        return exports_source(_links(app, _tables(notification(app, work["notice"]))[number][1]), app.settings)
    return exports_source(_store(app, work.get("file") or work["folder"]), app.settings)


# -- files of the container that exports arrive in


def _file(app: App, work: Json) -> Found:
    store = _store(app, work["file"])
    # A part file that comes alone says nothing of the others, however old it is: `reconcile` takes the whole folder.
    told = FindOptions(settle_seconds=math.inf, ahead_seconds=app.settings.cursor_ahead)
    (offer,), _ = listing.find_exports(store, told, app.now())
    system = exporting_system(app.systems, None, offer.client)
    feed = f"{system.name}.{offer.table}"
    if offer.files[0].version != work["etag"]:
        raise Skipped(feed, offer.files[0].name, "overwritten since; its new content is work of its own")
    return Found(feed, listing.export_unit(offer, store), exports_source(store, app.settings), offer.files[0].name)


def _folder(app: App, work: Json) -> Found:
    store = _store(app, work["folder"])
    told = FindOptions(
        tables=(work["table"],), settle_seconds=app.settings.settle, ahead_seconds=app.settings.cursor_ahead
    )  # fmt: skip
    offers, _ = listing.find_exports(store, told, app.now())
    system = exporting_system(app.systems, None, offers[0].client)
    feed = f"{system.name}.{work['table']}"
    return Found(feed, listing.export_unit(offers[0], store), exports_source(store, app.settings), offers[0].folder)


def _store(app: App, location: str) -> Store:
    """The store of a URL without what signs in; a SAS in EXPORTS_URL signs in to its own container."""
    own = urls.parse_url(app.settings.exports_url) if app.settings.exports_url else None
    place = urls.parse_url(location)
    if own and own.sas and own[:2] == place[:2]:
        return open_store(f"{location}?{own.sas}", app.settings)
    return open_store(location, app.settings)


# -- files that a notification links to


def notification(app: App, id: str) -> Notification:
    """The notification of that id. ConfigError once it is not kept any more."""
    from shared.web.webhooks.coolr import restored

    content = app.documents.get(f"notices/{id}")
    if content is None:
        raise ConfigError(f"notification {id} is not kept any more", fix="Ask the sender for another")
    return restored(content)


def tables(noticed: Notification) -> list[str]:
    """The tables that a notification has files of: a unit of work each."""
    return [table for table, _ in _tables(noticed)]


def _tables(noticed: Notification) -> list[tuple[str, list[Link]]]:
    """The links of each table: one file, or all the part files of a dump, which only their path tells."""
    tables: dict[str, list[Link]] = {}
    for link in noticed.links:
        spot = export_path(unquote(urlsplit(link.url).path).lstrip("/"))
        table = spot.table if spot and spot.part else link.name[: -len(".parquet")].lower()
        tables.setdefault(table, []).append(link)
    return sorted(tables.items())


def _noticed(app: App, noticed: Notification, number: int) -> Found:
    table, links = _tables(noticed)[number]
    system = exporting_system(app.systems, None, noticed.client)
    feed = f"{system.name}.{table}"
    try:
        store = _links(app, links)
        files = tuple(store.list())
        offer = Export(
            table=table, kind=noticed.kind, client=noticed.client, exported_at=noticed.exported_at,
            complete=noticed.kind == "full", folder=files[0].name.rpartition("/")[0], files=files,
        )  # fmt: skip
        unit = listing.export_unit(offer, store)
    except TransientError:
        raise
    except IngestError as error:
        names = [link.name for link in links]
        works = tuple(WorkItem(work_id(name, "unreadable"), name) for name in names)
        unit = Unit(kind=noticed.kind, works=works, exported_at=noticed.exported_at, client=noticed.client)
        raise Unreadable(feed, unit, ", ".join(names)[:200], error) from error
    return Found(feed, unit, exports_source(store, app.settings), ", ".join(work.name for work in unit.works)[:500])


def _links(app: App, links: Sequence[Link]) -> Store:
    from shared.stores.links import LinkStore

    return LinkStore([link.url for link in links], app.settings, most_bytes=app.settings.webhook_max_bytes)


# -- pull feeds


def _window(app: App, feed: str, started: str) -> Found:
    declared = _pull_feed(app, feed)
    source = open_pull_source(declared, app.settings)
    unit = verbs.window(declared, source, app.ledger, now=started)
    if unit is None:
        raise Skipped(feed, feed, "the source is empty")
    return Found(feed, unit, source, unit.works[0].name)


def pull_source(app: App, name: str) -> PullSource:
    """Where a pull feed is read."""
    return open_pull_source(_pull_feed(app, name), app.settings)


def _pull_feed(app: App, name: str) -> Feed:
    system, _, table = name.partition(".")
    return app.systems[system].feed(table, ())

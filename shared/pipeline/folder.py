"""Load the exports in a folder: which of them, in which order, and what stands in for a full that cannot be taken."""

from __future__ import annotations

import logging

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from shared.catalog import System
from shared.errors import ConfigError, IngestError
from shared.ids import work_id
from shared.model import Kind, Unit, WorkItem, with_note
from shared.pipeline.audit import Audit, audit
from shared.pipeline.runner import Progress, Result, RunOptions
from shared.pipeline.verbs import Allowance
from shared.sources.exports.choice import Export, LoadPlan, SkippedExport, load_plans, one_client
from shared.sources.exports.listing import FindOptions, export_unit, find_exports
from shared.stores import Store, open_store
from shared.stores.expiry import bytes_per_second, expected_seconds, expiry_warning, refuse_expired

if TYPE_CHECKING:
    from shared.app import App

_log = logging.getLogger("sluice")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions(RunOptions):
    """Which exports of a folder to load, and how."""

    system: str | None = None
    kind: Kind | None = None
    tables: tuple[str, ...] = ()
    client: str | None = None
    exported_at: str | None = None
    """Text of records (shared.model.to_text)."""
    everything: bool = False
    """Exports older than the newest full, too."""


def load(app: App, location: str, options: LoadOptions, watch: Progress) -> Iterator[Result]:
    """Take the exports at *location* (see shared.sources.exports.choice for which); a result as each is done.

    ConfigError, before anything is read, if it cannot be told what to take.
    """
    store, system = _opened(app, location), exporting_system(app.systems, options.system, options.client)
    offers, passed = _offers(app, store, system, options)
    todo = load_plans(offers, everything=options.everything)
    text = _too_late(app, store, system, offers, todo, again=options.again)
    if text:
        watch.warn(text)
    yield from map(_passed, passed)
    for queue in todo:
        taken = 0
        base: Export | None = None
        for offer in queue.fulls:
            if base is not None:
                yield _passed(SkippedExport(offer, f"older than the full of {str(base.exported_at)[:19]}"))
                continue
            result = _take(app, store, system, offer, options, watch, compared=taken)
            yield result
            taken += 1
            # What could not be merged stands for nothing: the next older full takes its place.
            base = None if result.failed else offer
        fresh, older = queue.after(base)
        yield from map(_passed, older)
        for number, offer in enumerate(fresh):
            yield _take(app, store, system, offer, options, watch, compared=taken + number)


def audits(app: App, location: str, options: LoadOptions) -> Iterator[Audit]:
    """What each table of each export at *location* holds; what cannot be read is told as such, and the rest goes on."""
    store, system = _opened(app, location), exporting_system(app.systems, options.system, options.client)
    offers, _ = _offers(app, store, system, replace(options, kind=options.kind or "delta"))
    for offer in offers:
        work = Unit(kind=offer.kind, files=tuple(asdict(file) for file in offer.files), exported_at=offer.exported_at)
        latest = Allowance(app.settings.cursor_ahead).latest(offer.exported_at)
        try:
            yield audit(offer.table, work, app.source(store), system, app.warehouse, latest_cursor=latest)
        except IngestError as error:
            yield Audit.failed(f"{system.name}.{offer.table}", [file.name for file in offer.files], error)


def _opened(app: App, location: str) -> Store:
    store = open_store(location, app.settings)
    refuse_expired(store.expires, app.now())
    return store


def _too_late(
    app: App, store: Store, system: System, offers: Sequence[Export], todo: Sequence[LoadPlan], *, again: bool
) -> str | None:
    """A warning if the right to read is likely to end before all is read that is not loaded yet."""
    if store.expires is None:
        return None
    sizes = {file.name: file.size for offer in offers for file in offer.files}
    seconds = 0.0
    for queue in todo:
        feed = f"{system.name}.{queue.table}"
        base = queue.fulls[0] if queue.fulls else None
        chosen = [file for offer in (*queue.fulls[:1], *queue.after(base)[0]) for file in offer.files]
        works = {work_id(file.name, store.etag(file)): file for file in chosen}
        known = {} if again else app.ledger.known(feed, list(works))
        done = {work for work, record in known.items() if record.status == "done"}
        fresh = {file.name: file.size for work, file in works.items() if work not in done}
        seconds += expected_seconds(fresh, bytes_per_second(app.warehouse.runs(feed), sizes))
    return expiry_warning(store.expires, app.now(), seconds)


def _offers(app: App, store: Store, system: System, options: LoadOptions) -> tuple[list[Export], list[SkippedExport]]:
    client = options.client or system.client
    told = FindOptions(
        kind=options.kind, client=client, exported_at=options.exported_at, tables=options.tables,
        settle_seconds=app.settings.settle, ahead_seconds=app.settings.cursor_ahead,
    )  # fmt: skip
    offers, passed = find_exports(store, told, app.now())
    return one_client(offers, client), passed


def _take(
    app: App, store: Store, system: System, offer: Export, options: LoadOptions, watch: Progress, *, compared: int
) -> Result:  # fmt: skip
    feed = f"{system.name}.{offer.table}"
    watch.phase(f"{feed}: looking")
    told = offer
    if options.dry_run and compared:
        note = "compared with the warehouse as it is, without the exports that would come before"
        told = replace(offer, note=with_note(offer.note, note))
    try:
        work = export_unit(told, store)
    except IngestError as error:
        works = tuple(WorkItem(work_id(file.name, file.version), file.name) for file in offer.files)
        work = Unit(kind=offer.kind, works=works, exported_at=offer.exported_at, client=offer.client)
        run = app.runner.refuse(feed, work, error, dry_run=options.dry_run)
        result = Result(table=offer.table, place=offer.folder, run=run)
    else:
        result = app.runner.run_unit(feed, work, app.source(store), options, place=offer.folder, progress=watch)
    watch.end(result)
    return result


def exporting_system(systems: Mapping[str, System], name: str | None, client: str | None) -> System:
    """The system that exports: the one of that name, else the one of the client, else the only one."""
    if name:
        if name not in systems:
            raise ConfigError(f"there is no system {name!r}", fix=f"Choose one of {', '.join(systems)}")
        return systems[name]
    exporting = [system for system in systems.values() if not system.pulled]
    of_client = [system for system in exporting if client and system.client == client]
    chosen = of_client or exporting
    if len(chosen) != 1:
        raise ConfigError(f"{len(chosen)} systems of the catalog load exports", fix="Choose one with --system")
    return chosen[0]


def _passed(passed: SkippedExport) -> Result:
    return Result(table=passed.export.table, place=passed.export.folder, skipped=passed.reason)

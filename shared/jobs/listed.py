"""What a search of the exports container need not list again: folders of exports whose work is done.

A container only grows, and a full makes what lies before it superfluous. A search by the timer remembers the folders,
named by the time of their export, whose files are all loaded or superseded. The next searches list the others: new
ones, late ones of an earlier time too, those of the last days, and the newest full that is loaded of each table, by
which the rest is chosen. Once a day everything is listed again, as a file may have been written into an old folder.

What is remembered holds for the ledgers of all destinations, until a backfill: they have a word of it, which must be
the same.
"""

from __future__ import annotations

import datetime as dt
import logging

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import BinaryIO

from shared.documents import Documents, read_json, to_json
from shared.ledger import Ledger
from shared.model import Watermark, from_json, from_text, to_text
from shared.pipeline.backfill import LISTED
from shared.pipeline.folder import exports_to_load
from shared.pipeline.verbs import recorded
from shared.sources.exports import listing
from shared.sources.exports.choice import Export, LoadPlan, SkippedExport
from shared.sources.exports.layout import export_path
from shared.sources.times import timestamp
from shared.stores import File, ListsByFolder, Store

_log = logging.getLogger("sluice")
_DOCUMENT = "exports/listed"
ALL_AGAIN = dt.timedelta(days=1)
"""How often everything is listed."""
_RECENT = dt.timedelta(days=2)
"""Folders of exports that are younger are listed each time: their files arrive one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The folders that are not listed."""

    location: str
    """Of the container, without credentials."""
    listed: str
    """When all was listed last (text of records)."""
    word: str
    """That of the ledgers, too."""
    folders: frozenset[str] = frozenset()


@dataclass(slots=True)
class DoneExports:
    """What a search finds done."""

    quiet: set[Export] = field(default_factory=set)
    """Loaded, or superseded by a full that is loaded."""
    needed: set[Export] = field(default_factory=set)
    """The newest full of each table that is loaded: the next search chooses by it."""

    def add(self, destinations: Sequence[DoneExports]) -> None:
        """Add what is done in all *destinations* of a feed, and what any of them needs."""
        self.quiet |= set.intersection(*(one.quiet for one in destinations)) if destinations else set()
        self.needed.update(*(one.needed for one in destinations))


class Memory:
    """What is remembered, in the app's documents."""

    def __init__(self, documents: Documents, ledgers: Sequence[Ledger], location: str, now: dt.datetime) -> None:
        self._documents, self._ledgers, self._location, self._now = documents, ledgers, location, now

    def read(self) -> Remembered | None:
        """None if all has to be listed."""
        found = read_json(self._documents, _DOCUMENT)
        if found is None:
            return None
        known = from_json(Remembered, found)
        since = from_text(known.listed)
        if since is None or known.location != self._location or to_text(self._now - ALL_AGAIN) >= known.listed:
            return None
        return known if all(known.word == one.watermark(LISTED).value for one in self._ledgers) else None

    def begin(self) -> Remembered:
        """Nothing, as everything is listed now. The ledgers note it first: a backfill meanwhile makes it void."""
        word = to_text(self._now)
        for ledger in self._ledgers:
            ledger.rewind(LISTED, Watermark(word, "text"))
        return Remembered(location=self._location, listed=word, word=word)

    def keep(self, before: Remembered, folders: Iterable[str]) -> None:
        """Remember *folders* beside those of *before*."""
        new = replace(before, folders=before.folders | set(folders))
        self._documents.put(_DOCUMENT, to_json({**asdict(new), "folders": sorted(new.folders)}))
        _log.info("%d folders of exports need not be listed by the next search", len(new.folders))


class Listing:
    """A store as a search lists it, and what the next search need not list."""

    expires = None

    def __init__(self, store: Store, remembered: Remembered | None) -> None:
        self._store, self._remembered = store, remembered
        self._seen: dict[str, set[str]] = {}
        """The files of exports in each folder that was listed."""

    def list(self) -> Iterator[File]:
        for file in self._files():
            folder = dated_folder(file.name)
            if folder is not None and export_path(file.name) is not None:
                self._seen.setdefault(folder, set()).add(file.name)
            yield file

    def _files(self) -> Iterator[File]:
        if self._remembered is None or not isinstance(self._store, ListsByFolder):
            return self._store.list()
        return self._store.list_but(self._remembered.folders.__contains__, _is_dated)

    def etag(self, file: File) -> str:
        return self._store.etag(file)

    def open(self, file: File) -> BinaryIO:
        return self._store.open(file)

    def done(self, exports: DoneExports, now: dt.datetime) -> set[str]:
        """The folders that the next search need not list, of those that were listed."""
        files = {file.name for export in exports.quiet for file in export.files}
        kept = {dated_folder(file.name) for export in exports.needed for file in export.files}
        latest = to_text(now - _RECENT)
        return {
            folder
            for folder, names in self._seen.items()
            if names <= files and folder not in kept and (timestamp(folder.split("/")[-2]) or latest) < latest
        }


class Search:
    """One search: what it lists, what it finds done, and what the next one need not list."""

    def __init__(self, memory: Memory, store: Store, *, all_tables: bool, all_again: bool) -> None:
        """Only one that looks at *all_tables* remembers what it found."""
        before = None if all_again else memory.read()
        self._memory, self._kept = memory, (before or memory.begin()) if all_tables else None
        self.store = Listing(store, before)
        self.done = DoneExports()

    def end(self, now: dt.datetime) -> None:
        if self._kept is not None:
            self._memory.keep(self._kept, self.store.done(self.done, now))


def unloaded(
    ledger: Ledger, feed: str, plan: LoadPlan, store: Store, done: DoneExports, *, retry: bool
) -> Iterator[Export]:
    """The exports of a table to load that are not loaded yet; those that failed only with *retry*. Adds to *done*."""
    failed: set[Export] = set()
    base_done = False
    for export in exports_to_load([plan], failed):
        if isinstance(export, SkippedExport):
            done.quiet.update([export.export] if base_done else [])
            continue
        work_items = listing.export_unit(export, store).work_items
        status = recorded(work_items, ledger.known(feed, [work.id for work in work_items]))
        if status.failed and not retry:
            failed.add(export)
        if status.done and export.settled:
            done.quiet.add(export)
            if export in plan.fulls and not base_done:
                base_done = True
                done.needed.add(export)
        if not (status.done if retry else status.settled):
            yield export


def dated_folder(name: str) -> str | None:
    """The folder above a file that is named by the time of an export, with ``/`` at its end; None if there is none.

    >>> dated_folder("c/Full/Acme/20260224120000/location.parquet")
    'c/Full/Acme/20260224120000/'
    """
    parts = name.split("/")[:-1]
    last = max((n for n, part in enumerate(parts) if timestamp(part)), default=None)
    return None if last is None else "/".join(parts[: last + 1]) + "/"


def _is_dated(folder: str) -> bool:
    return timestamp(folder.split("/")[-2]) is not None

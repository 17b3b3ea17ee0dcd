"""What a search of the exports container need not list again: folders of exports whose work is done.

A container only grows, and a full makes what lies before it superfluous. A search by the timer remembers the folders,
named by the time of their export, whose files are all loaded or superseded. The next searches list the others: new
ones, late ones of an earlier time too, those of the last days, and the newest full that is loaded of each table, by
which the rest is chosen. Once a day everything is listed again, as a file may have been written into an old folder.

What is remembered holds for one ledger and until a backfill: both have a word of it, which must be the same.
"""

from __future__ import annotations

import datetime as dt
import logging

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import BinaryIO, NamedTuple

from shared.documents import Documents, read_json, to_json
from shared.ledger import Ledger
from shared.model import Watermark, from_json, from_text, to_text
from shared.pipeline.backfill import LISTED
from shared.sources.exports.choice import Export
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
    """The ledger's, too."""
    folders: frozenset[str] = frozenset()


class DoneExports(NamedTuple):
    """What a search finds done."""

    quiet: list[Export]
    """Loaded, or superseded by a full that is loaded."""
    needed: list[Export]
    """The newest full of each table that is loaded: the next search chooses by it."""


class Memory:
    """What is remembered, in the app's documents."""

    def __init__(self, documents: Documents, ledger: Ledger, location: str, now: dt.datetime) -> None:
        self._documents, self._ledger, self._location, self._now = documents, ledger, location, now

    def read(self) -> Remembered | None:
        """None if all has to be listed."""
        found = read_json(self._documents, _DOCUMENT)
        if found is None:
            return None
        known = from_json(Remembered, found)
        since = from_text(known.listed)
        if since is None or known.location != self._location or to_text(self._now - ALL_AGAIN) >= known.listed:
            return None
        return known if known.word == self._ledger.watermark(LISTED).value else None

    def keep(self, before: Remembered | None, folders: Iterable[str]) -> None:
        """Remember *folders*, and those of *before*; without it everything was listed, and the ledger notes that."""
        if before is None:
            before = Remembered(location=self._location, listed=to_text(self._now), word=to_text(self._now))
            self._ledger.rewind(LISTED, Watermark(before.word, "timestamp"))
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

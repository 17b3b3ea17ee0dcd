"""Which text files a location has, and which feed each belongs to."""

from __future__ import annotations

import datetime as dt
import re

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

from shared.errors import ConfigError
from shared.ids import work_id
from shared.model import FeedName, Json, Unit, WorkItem, with_note
from shared.sources.csv import packed
from shared.sources.times import modified, refuse_future, timestamp
from shared.stores import File, Store

ENDINGS = (".csv", ".tsv", ".txt", ".xlsx", ".csv.gz", ".tsv.gz", ".txt.gz", ".zip")
_DROPPED = re.compile(r"(?:.*/)?csv/(?P<system>[^/]+)/(?P<table>[^/]+)/(?P<folders>.*/)?[^/]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions:
    """What the operator says of the files."""

    full: bool = False
    """Whether a file has all rows of its table."""
    exported_at: str | None = None
    """Text of records; it goes before what path and store say."""


class TextFile(NamedTuple):
    """One text file, or one member of an archive."""

    file: File
    member: str | None

    @property
    def name(self) -> str:
        return f"{self.file.name}/{self.member}" if self.member else self.file.name

    @property
    def fields(self) -> Mapping[str, Json]:
        """What the source needs to open it again, as JSON."""
        return {**asdict(self.file), "member": self.member}


def text_files(store: Store) -> Iterator[TextFile]:
    """The text files at the store's location, members of archives each for itself, in the order of their names.

    A single file is taken whatever its name is. ConfigError if there is none.
    """
    listed = sorted(store.list(), key=lambda file: file.name)
    alone = len(listed) == 1
    found = [file for file in listed if alone or is_text(file.name)]
    if not found:
        raise ConfigError(
            f"there is no text file in that folder, of {len(listed)} files", fix=f"Give one of {', '.join(ENDINGS)}"
        )
    for file in found:
        yield from members_of(file, store)


def members_of(file: File, store: Store) -> Iterator[TextFile]:
    """The text files in *file*: itself, or the members of an archive. DataError if that is damaged."""
    if not is_archive(file.name):
        yield TextFile(file, None)
        return
    with store.open(file) as opened:
        members = packed.members(opened, file.name)
    yield from (TextFile(file, member) for member in members)


def is_archive(name: str) -> bool:
    """Whether a file may hold several text files, by its name."""
    return name.lower().endswith(".zip")


def is_text(name: str) -> bool:
    """Whether a file is taken from a folder, by its name."""
    last = name.rpartition("/")[2]
    return last.lower().endswith(ENDINGS) and not last.startswith((".", "_", "~$"))


class Dropped(NamedTuple):
    """What the path of a file in the exports container says of it."""

    feed: FeedName
    full: bool


def dropped(path: str) -> Dropped | None:
    """What a file below ``csv/<system>/<table>/`` is: all rows of its table if a folder there is called ``full``.

    None for any other file.

    >>> dropped("csv/genius/users/20260224/users.csv"), dropped("Full/Acme/latest/a.parquet")
    (Dropped(feed=FeedName(system='genius', table='users'), full=False), None)
    """
    found = _DROPPED.fullmatch(path)
    if found is None or not is_text(path):
        return None
    folders = (found["folders"] or "").lower().split("/")
    return Dropped(FeedName(found["system"].lower(), found["table"].lower()), "full" in folders)


def text_unit(found: TextFile, store: Store, options: FileOptions, latest: dt.datetime) -> Unit:
    """The unit of work that loads one file. Reads a local file once to hash its content.

    The work of a local file is its content, whatever its name. *latest* (aware): an export time beyond it is refused.
    """
    exported_at = options.exported_at or _stamp(found.file.name) or modified([found.file])
    refuse_future(found.name, exported_at, latest)
    where = found.file.name if found.file.remote else "content"
    note = None
    if options.full and exported_at is None:
        note = with_note(None, "merged as a delta: its time is unknown (see --exported-at)")
    return Unit(
        kind="full" if options.full else "delta",
        work_items=(WorkItem(work_id(f"{where}/{found.member or ''}", store.etag(found.file)), found.name),),
        files=(found.fields,),
        exported_at=exported_at,
        complete=options.full and exported_at is not None,
        note=note,
    )


def _stamp(path: str) -> str | None:
    """The time in the segment of *path* that is nearest to its end."""
    return next((found for segment in reversed(path.split("/")[:-1]) if (found := timestamp(segment))), None)

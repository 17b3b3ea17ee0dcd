"""Where files live. One module per kind of store; a URL's scheme is looked up in one table."""

from __future__ import annotations

import datetime as dt
import importlib

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol, cast, runtime_checkable
from urllib.parse import urlsplit

from shared.azure import urls
from shared.errors import ConfigError, ConflictError
from shared.settings import Settings

_DEFAULTS = Settings()

_MODULES: Mapping[str, str] = {"": "local", "file": "local", "https": "https", "http": "https", "sftp": "sftp"}
"""By scheme; http is there for this machine alone. Blob Storage is told apart by its host."""


@dataclass(frozen=True, slots=True)
class File:
    """One file as a listing showed it."""

    name: str
    """Its path in the store, with ``/``: the same for every way that leads to the file, and free of secrets."""
    size: int
    modified: float
    """Seconds since 1970."""
    version: str
    """Changes whenever the content does; cheap to get. What reads are conditional on."""
    remote: bool = False
    """Whether ``modified`` was set by the store, and so tells when the file was exported."""


class Store(Protocol):
    """Lists files and reads parts of them.

    Remote stores repeat calls that may succeed later, and then raise TransientError; what an operator has to correct is
    a ConfigError. No error, name or log of theirs holds a secret.
    """

    @property
    def expires(self) -> dt.datetime | None:
        """When the right to read ends (aware, UTC), if the location says so."""
        ...

    def list(self) -> Iterator[File]:
        """Every file at or below the store's location. ConfigError if there is nothing to list."""
        ...

    def etag(self, file: File) -> str:
        """What names the file's content: equal text means equal content."""
        ...

    def open(self, file: File) -> BinaryIO:
        """The file for ranged reads. ConflictError, now or at a read, once its content is not *file*'s any more."""
        ...


@runtime_checkable
class ReadsAhead(Protocol):
    """What an opened file is as well if it is remote: see ``expect``."""

    def expect(self, ranges: Iterable[tuple[int, int]], streams: int) -> None: ...


@runtime_checkable
class ListsByFolder(Protocol):
    """What a store is as well that can look at the folders of a location without listing what is in them."""

    def list_but(self, skipped: Callable[[str], bool], is_whole: Callable[[str], bool]) -> Iterator[File]:
        """As ``list``, without the folders for which *skipped* is true.

        Folders are given as names of files are, with ``/`` at the end. Only those that *is_whole*, and which are not
        looked into for folders of their own, can be skipped.
        """
        ...


def expect(opened: BinaryIO, ranges: Iterable[tuple[int, int]], streams: int) -> None:
    """Say that all bytes of *ranges* (start, end) of an opened file will be read once, in so many interleaved streams.

    A remote file then reads ahead inside them, in large requests; without this it moves just what each read asks for.
    """
    if isinstance(opened, ReadsAhead):
        opened.expect(ranges, streams)


def local_path(store: Store, file: File) -> str | None:
    """Where a file lies on this machine, for who reads it without the store; None if it lies elsewhere."""
    find = getattr(store, "local_path", None)
    return None if find is None else cast("str", find(file))


def changed(file: File) -> ConflictError:
    """The error of a file whose content is not the one that was listed."""
    return ConflictError(
        f"{file.name} changed while it was read", fix="Load it again; its new content is a new work item"
    )


def open_store(location: str, settings: Settings = _DEFAULTS) -> Store:
    """The store a path or URL points to; ConfigError for an unknown scheme. Nothing is asked of it yet."""
    try:
        scheme = urlsplit(location).scheme if "://" in location else ""
    except ValueError:
        raise ConfigError("the location is no URL: its host is malformed", fix="Check its host and port") from None
    if scheme not in _MODULES:
        known = ", ".join(f"{name}://" for name in _MODULES if name not in ("", "http"))
        raise ConfigError(f"there is no store for {scheme}://", fix=f"Give a path, or a URL that starts with {known}")
    name = "blob" if urls.is_blob_url(location) else _MODULES[scheme]
    return cast("Store", importlib.import_module(f"{__name__}.{name}").open_store(location, settings))

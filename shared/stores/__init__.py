"""Where files live. One module per kind of store; a URL's scheme is looked up in one table."""

from __future__ import annotations

import importlib

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol, cast
from urllib.parse import urlsplit

from shared.errors import ConfigError
from shared.settings import Settings

_DEFAULTS = Settings()

_MODULES: Mapping[str, str] = {"": "local", "file": "local"}


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
    """Lists files and reads parts of them."""

    def list(self) -> Iterator[File]:
        """Every file at or below the store's location. ConfigError if there is nothing to list."""
        ...

    def etag(self, file: File) -> str:
        """What names the file's content: equal text means equal content."""
        ...

    def open(self, file: File) -> BinaryIO:
        """The file for ranged reads. ConflictError, now or at a read, once its content is not *file*'s any more."""
        ...


def open_store(location: str, settings: Settings = _DEFAULTS) -> Store:
    """The store a path or URL points to; ConfigError for an unknown scheme."""
    scheme = urlsplit(location).scheme if "://" in location else ""
    if scheme not in _MODULES:
        known = ", ".join(f"{name}://" for name in _MODULES if name)
        raise ConfigError(f"there is no store for {scheme}://", fix=f"Give a path, or a URL that starts with {known}")
    module = importlib.import_module(f"{__name__}.{_MODULES[scheme]}")
    return cast("Store", module.open_store(location, settings))

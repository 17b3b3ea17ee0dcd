"""Where a lake lies: a folder of this machine, or one in a container of Azure Storage. Paths are relative to it."""

from __future__ import annotations

import contextlib
import os
import tempfile

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from shared.errors import no_folder


class Entry(NamedTuple):
    """A file of the lake."""

    path: str
    age: float
    """Seconds since it was written, by the clock of the storage, which several machines share."""
    size: int
    """In bytes."""


class Storage(Protocol):
    """Files below one place."""

    name: str
    """The place, for people: without anything that signs in."""

    def pull_log(self, path: str, scratch: Path) -> str:
        """Where delta-rs finds the log of the table at *path*: in the storage itself, or in a copy of now."""
        ...

    def push_log(self, path: str, scratch: Path) -> None:
        """Make what delta-rs has added to that log part of the lake. Overtaken if such a version is there already."""
        ...

    def folder(self, path: str, scratch: Path) -> Path:
        """A local folder that exists, in which to write files that are to be in *path*; see ``publish``."""
        ...

    def publish(self, path: str, folder: Path, files: Iterable[Path]) -> None:
        """Make files that were written in or below *folder*, the one of *path*, part of the lake."""
        ...

    def local(self, paths: Iterable[str], scratch: Path) -> dict[str, Path]:
        """The files on this machine, by path: themselves, or copies in *scratch*. Those that are gone are left out."""
        ...

    def entries(self, prefix: str) -> Iterator[Entry]:
        """The files whose path begins with *prefix*: a folder with a slash at its end, or that and part of a name."""
        ...

    def delete(self, paths: Iterable[str]) -> None:
        """Delete files, those that are there."""
        ...

    def address(self, path: str) -> str:
        """What other programs call the folder *path*."""
        ...


class LocalStorage:
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self.name = str(self._root)

    @property
    def root(self) -> Path:
        return self._root

    def pull_log(self, path: str, _scratch: Path) -> str:
        return str(self._root / path)

    def push_log(self, path: str, scratch: Path) -> None:
        """It is there already."""

    def folder(self, path: str, _scratch: Path) -> Path:
        folder = self._root / path
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise no_folder(f"the lake {self.name}", "WAREHOUSE_URL", error) from error
        return folder

    def publish(self, path: str, folder: Path, files: Iterable[Path]) -> None:
        """They lie there already."""

    def local(self, paths: Iterable[str], _scratch: Path) -> dict[str, Path]:
        found = {path: self._root / path for path in paths}
        return {path: file for path, file in found.items() if file.exists()}

    def entries(self, prefix: str) -> Iterator[Entry]:
        folder, _, start = prefix.rpartition("/")
        now = self._now()
        for file in sorted((self._root / folder).rglob(f"{start}*" if start else "*")):
            try:
                if file.is_file():
                    found = file.stat()
                    yield Entry(file.relative_to(self._root).as_posix(), now - found.st_mtime, found.st_size)
            except FileNotFoundError:  # another process has deleted it meanwhile
                continue

    def delete(self, paths: Iterable[str]) -> None:
        for path in paths:
            (self._root / path).unlink(missing_ok=True)

    def address(self, path: str) -> str:
        return str(self._root / path)

    def _now(self) -> float:
        """When a file is written now: a network share goes by its server's clock."""
        with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=self._root) as file:
            return os.fstat(file.fileno()).st_mtime
        with tempfile.TemporaryFile() as file:  # the folder may only be read, or is not there yet
            return os.fstat(file.fileno()).st_mtime

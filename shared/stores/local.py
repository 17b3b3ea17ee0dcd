"""Files on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

from shared.errors import CORRECT_PATH, ConfigError, ConflictError, DataError
from shared.ids import file_version
from shared.settings import Settings
from shared.stores import File, changed

_CHUNK = 1 << 20


def open_store(location: str, _settings: Settings) -> LocalStore:
    path = unquote(urlsplit(location).path) if location.startswith("file://") else location
    return LocalStore(Path(path).expanduser())


class LocalStore:
    """A folder with all that is below it, or one file. Names are absolute paths."""

    expires = None

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def list(self) -> Iterator[File]:
        if self._root.is_file():
            yield _file(self._root)
            return
        if not self._root.is_dir():
            raise ConfigError(f"{self._root} does not exist", fix=CORRECT_PATH)
        for path in sorted(self._root.rglob("*")):
            with contextlib.suppress(FileNotFoundError):  # gone since the folder was read
                if path.is_file():
                    yield _file(path)

    def etag(self, file: File) -> str:
        """Size and SHA-256: a local file has no ETag, and its times say nothing about its content."""
        digest = hashlib.sha256()
        with self.open(file) as opened:
            while chunk := opened.read(_CHUNK):
                digest.update(chunk)
        return f"{file.size}-{digest.hexdigest()}"

    def local_path(self, file: File) -> str:
        return file.name

    def open(self, file: File) -> BinaryIO:
        try:
            return cast("BinaryIO", io.BufferedReader(_Unchanged(file), _CHUNK))
        except FileNotFoundError as error:
            raise changed(file) from error
        except OSError as error:
            raise DataError(
                f"{file.name} cannot be opened: {error.strerror}", fix="Correct its rights or path"
            ) from error


class _Unchanged(io.FileIO):
    """A file that refuses to go on once it is not what the listing showed."""

    def __init__(self, file: File) -> None:
        super().__init__(file.name)
        self._seen = file
        try:
            self._check()
        except ConflictError:
            self.close()
            raise

    def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]
        count = super().readinto(buffer)
        self._check()
        return count

    def readall(self) -> bytes:
        content = super().readall()
        self._check()
        return content

    def _check(self) -> None:
        try:
            now = file_version(os.stat(self._seen.name))  # noqa: PTH116 - called per read; a Path is made each time
        except FileNotFoundError:
            now = "gone"
        if now != self._seen.version:
            raise changed(self._seen)


def _file(path: Path) -> File:
    stat = path.stat()
    return File(path.as_posix(), stat.st_size, stat.st_mtime, file_version(stat))

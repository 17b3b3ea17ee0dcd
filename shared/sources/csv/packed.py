"""Text files in gzip and zip: what an archive holds, and its content as a stream that is read forward.

Nothing is ever written to disk: the path of a member is only its name, wherever it points.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import zipfile
import zlib

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

from shared.errors import NEW_FILE, DataError

MAX_RATIO = 100
MAX_FREE = 64 * 2**20
"""Content of this many bytes may be packed any tighter than ``MAX_RATIO``."""
_TEXT = (".csv", ".tsv", ".txt", ".xlsx", ".csv.gz", ".tsv.gz", ".txt.gz")
_GZIP = b"\x1f\x8b"
_ENCRYPTED = 0x1
_DAMAGE = (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError, ValueError)


def members(opened: BinaryIO, name: str) -> list[str]:
    """The text files and spreadsheets in the zip archive *opened* (seekable), in the order of their names.

    DataError if it has none or is damaged, or if one of them is encrypted, would unpack to too much or is there twice.
    """
    infos = [info for info in _archive(opened, name).infolist() if not info.is_dir()]
    found = sorted((info for info in infos if _is_text(info.filename)), key=lambda info: info.filename)
    if not found:
        raise DataError(
            f"{name} has no text file among its {len(infos)} files", fix=f"Pack files that end in one of {_endings()}"
        )
    names = [info.filename for info in found]
    for info, following in zip(found, [*names[1:], None], strict=True):
        _check(info, name)
        if info.filename == following:
            raise DataError(f"{name} has two files called {following}", fix="Pack each under a name of its own")
    return names


@contextlib.contextmanager
def unpacked(opened: BinaryIO, name: str, member: str | None) -> Iterator[BinaryIO]:
    """The content of a file, of one *member* if it is a zip archive. What is not packed is given as it is.

    ``tell`` of the content says how far the packed file has been read. Reading raises DataError for a damaged file,
    and for one that unpacks to more than 64 MiB and ``MAX_RATIO`` times its size.
    """
    if member is None:
        yield _limited(gzip.GzipFile(fileobj=opened), name, opened.tell) if _is_gzip(opened, name) else opened
        return
    archive = _archive(opened, name)
    if member not in archive.NameToInfo:
        raise DataError(f"{name} has no file {member!r}", fix="Load the archive again")
    info = archive.getinfo(member)
    _check(info, name)
    shown = f"{name}/{member}"
    with _translated(name), archive.open(info) as content:
        packed = cast("BinaryIO", content)
        yield _limited(gzip.GzipFile(fileobj=packed) if _is_gzip(packed, member) else packed, shown, opened.tell)


def _limited(content: Any, name: str, packed: Callable[[], int]) -> BinaryIO:
    return cast("BinaryIO", _Limited(content, name, packed))


def _archive(opened: BinaryIO, name: str) -> zipfile.ZipFile:
    with _translated(name):
        return zipfile.ZipFile(opened)


def _is_text(name: str) -> bool:
    last = name.rpartition("/")[2]
    return last.lower().endswith(_TEXT) and not last.startswith((".", "~$")) and not name.startswith("__MACOSX/")


def _endings() -> str:
    return ", ".join(_TEXT)


def _check(info: zipfile.ZipInfo, name: str) -> None:
    """What the archive's directory says already."""
    if info.flag_bits & _ENCRYPTED:
        raise DataError(f"{name}/{info.filename} is encrypted", fix="Pack it without a password")
    if info.file_size > max(MAX_FREE, MAX_RATIO * info.compress_size):
        raise _bomb(f"{name}/{info.filename}", info.file_size)


def _bomb(name: str, size: int) -> DataError:
    return DataError(
        f"{name} would unpack to {size:,} bytes or more, over {MAX_RATIO} times its size",
        fix="If that is intended, unpack it and load the text",
    )


def _is_gzip(opened: BinaryIO, name: str) -> bool:
    """By its first bytes, wherever they can be seen without being taken; else by its name."""
    if hasattr(opened, "peek"):
        return bool(opened.peek(2)[:2] == _GZIP)
    if not opened.seekable():
        return name.lower().endswith(".gz")
    start = opened.read(2)
    opened.seek(0)
    return start == _GZIP


@contextlib.contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise DataError(f"{name} is damaged: {error}", fix=NEW_FILE) from error


class _Limited(io.RawIOBase):
    """Unpacked content, which may not be far larger than what has been read of the packed file."""

    def __init__(self, content: BinaryIO, name: str, packed: Callable[[], int]) -> None:
        self._content, self._name, self._packed, self._size = content, name, packed, 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._packed()

    def readinto(self, buffer: Any) -> int:
        with _translated(self._name):
            part = self._content.read(len(buffer))
        buffer[: len(part)] = part
        self._size += len(part)
        if self._size > max(MAX_FREE, MAX_RATIO * self._packed()):
            raise _bomb(self._name, self._size)
        return len(part)

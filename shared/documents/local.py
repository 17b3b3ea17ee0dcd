"""Documents as files of a local folder."""

from __future__ import annotations

import contextlib
import os
import uuid

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from shared.documents import DocumentEntry, quoted
from shared.errors import no_folder
from shared.settings import Settings

_UNFINISHED = ".unfinished-"


def open_documents(settings: Settings) -> LocalDocuments:
    url = settings.state_url
    return LocalDocuments(Path(unquote(urlsplit(url).path) if url.startswith("file://") else url).expanduser())


class LocalDocuments:
    """A folder; it is made when something is written."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def get(self, name: str) -> bytes | None:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def put(self, name: str, content: bytes) -> None:
        with self._unfinished(name, content) as file:
            file.replace(self._path(name))

    def add(self, name: str, content: bytes) -> bool:
        with self._unfinished(name, content) as file:
            try:
                os.link(file, self._path(name))  # whole from its first moment, and never over another
            except FileExistsError:
                return False
        return True

    def entries(self, prefix: str) -> Iterator[DocumentEntry]:
        found = []
        folder, _, first = quoted(prefix).rpartition("/")
        for top in (self._root / folder).glob(f"{first}*"):  # quoted: it has no wildcard
            for path in (top, *top.rglob("*")):
                if not path.name.startswith(_UNFINISHED):
                    with contextlib.suppress(FileNotFoundError):  # gone since the folder was read
                        if path.is_file():
                            name = unquote(path.relative_to(self._root).as_posix())
                            found.append(DocumentEntry(name, path.stat().st_mtime))
        yield from sorted(found)

    def delete(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._root / quoted(name)

    @contextlib.contextmanager
    def _unfinished(self, name: str, content: bytes) -> Iterator[Path]:
        path = self._path(name)
        file = path.with_name(f"{_UNFINISHED}{uuid.uuid4().hex}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        except OSError as error:
            raise no_folder(self._root, "STATE_URL", error) from error
        try:
            yield file
        finally:
            file.unlink(missing_ok=True)

"""A lake in a container of Blob Storage or Data Lake Storage, which are one service by two names.

delta-rs reads and writes the log; data files are copied whole, to and from the folder of one call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from shared import remote
from shared.azure import clients, identity
from shared.azure.errors import Refusal, explained
from shared.azure.urls import StorageUrl, parse_url
from shared.errors import IngestError
from shared.settings import Settings
from shared.warehouses.lake.storage import Entry

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties

T = TypeVar("T")
_AT_ONCE = 4
"""Files that are copied at the same time."""


class BlobStorage:
    """A folder of a container."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._place, self._settings = parse_url(url), settings
        self._client = clients.container_client(self._place, settings)
        self._root = f"{self._place.path.strip('/')}/" if self._place.path.strip("/") else ""
        self.name = self._place.url

    def uri(self, path: str) -> str:
        return f"az://{self._place.container}/{quote(self._root + path)}"

    def options(self) -> dict[str, str]:
        return clients.object_store_options(self._place, self._settings)

    def folder(self, path: str, scratch: Path) -> Path:
        folder = scratch / "new" / path
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def publish(self, path: str, folder: Path, files: Iterable[Path]) -> None:
        self._each(lambda file: self._upload(f"{path}/{file.relative_to(folder).as_posix()}", file), files)

    def local(self, paths: Iterable[str], scratch: Path) -> dict[str, Path]:
        wanted = list(paths)
        copies = self._each(lambda path: self._download(path, scratch / "copies" / path), wanted)
        return {path: copy for path, copy in zip(wanted, copies, strict=True) if copy is not None}

    def entries(self, prefix: str) -> Iterator[Entry]:
        pages = self._client.list_blobs(self._root + prefix, include=["metadata"], **remote.single_attempt()).by_page()
        while True:
            page = self._call(prefix, "list", lambda: _next(pages))
            if page is None:
                return
            for blob in page:
                if not _is_folder(blob):
                    yield Entry(blob.name.removeprefix(self._root), blob.last_modified.timestamp(), blob.size)

    def delete(self, paths: Iterable[str]) -> None:
        self._each(self._delete, paths)

    def _each(self, call: Callable[[T], Path | None], things: Iterable[T]) -> list[Path | None]:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(call, list(things)))

    def _upload(self, path: str, file: Path) -> None:
        def put() -> None:
            with file.open("rb") as content:
                self._client.upload_blob(self._root + path, content, overwrite=True, **remote.single_attempt())

        self._call(path, "write", put)

    def _download(self, path: str, copy: Path) -> Path | None:
        from azure.core.exceptions import ResourceNotFoundError

        def get() -> Path | None:
            try:
                stream = self._client.download_blob(self._root + path, **remote.single_attempt())
            except ResourceNotFoundError as error:
                if "Container" in str(getattr(error, "error_code", "")):
                    raise
                return None
            with copy.open("wb") as content:
                stream.readinto(content)
            return copy

        if copy.exists():
            return copy  # of this call: data files never change, and what is staged is read once
        copy.parent.mkdir(parents=True, exist_ok=True)
        return self._call(path, "read", get)

    def _delete(self, path: str) -> None:
        from azure.core.exceptions import ResourceNotFoundError

        def drop() -> None:
            try:
                self._client.delete_blob(self._root + path, **remote.single_attempt())
            except ResourceNotFoundError:
                return

        self._call(path, "delete", drop)

    def _call(self, path: str, right: str, call: Callable[[], T]) -> T:
        from azure.core.exceptions import AzureError
        from urllib3.exceptions import HTTPError

        place: StorageUrl = self._place._replace(path=self._root + path)

        def explain(error: Exception) -> IngestError:
            return explained(error, Refusal.of(error, place, right), identity=identity.identity_name)

        return remote.call_with_retry(call, (AzureError, HTTPError), explain)


def _next(pages: Iterator[Iterator[BlobProperties]]) -> list[BlobProperties] | None:
    page = next(pages, None)
    return None if page is None else list(page)


def _is_folder(blob: BlobProperties) -> bool:
    return str({k.lower(): v for k, v in (blob.metadata or {}).items()}.get("hdi_isfolder", "")).lower() == "true"

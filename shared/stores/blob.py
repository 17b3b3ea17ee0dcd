"""Files in Azure Blob Storage, flat or hierarchical."""

from __future__ import annotations

import datetime as dt

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from shared import remote
from shared.azure import clients, identity, sas, urls
from shared.azure.errors import Refusal, explained
from shared.errors import CORRECT_PATH, NEW_LINK, ConfigError, IngestError
from shared.settings import Settings
from shared.stores import File, changed
from shared.stores.ranged import Opens

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties, ContainerClient

T = TypeVar("T")
P = TypeVar("P")
_DAY = 8
"""Characters of a day, with which the names of folders of exports begin."""
_MOST_CALLS = 20
"""Folders, or days of them, that are listed one by one. A call for all of them has 5,000 files."""


def open_store(location: str, settings: Settings) -> BlobStore:
    place = urls.parse_url(location)
    return BlobStore(place, clients.container_client(place, settings))


class BlobStore:
    """A container, a folder in it or one blob. Names are URLs, not percent-encoded."""

    def __init__(self, place: urls.StorageUrl, client: ContainerClient) -> None:
        self._place, self._client = place, client
        self._base = f"{place.account_url}/{place.container}/"
        self._opens = Opens()

    @property
    def expires(self) -> dt.datetime | None:
        return sas.sas_expiry(self._place.sas) if self._place.sas else None

    def list(self) -> Iterator[File]:
        path = self._place.path
        # A SAS for one blob has no right to list, so that is looked for first.
        if path and not path.endswith("/") and (one := self._one(path)):
            yield self._file(one)
            return
        found = False
        folder = f"{path.rstrip('/')}/" if path.rstrip("/") else ""
        for blob in self._below(folder):
            found = True
            if not _is_folder(blob):
                yield self._file(blob)
        if folder and not found:
            raise ConfigError(f"{self._place.url} does not exist", fix=CORRECT_PATH)

    def list_but(self, skipped: Callable[[str], bool], is_whole: Callable[[str], bool]) -> Iterator[File]:
        """See ListsByFolder."""
        path = self._place.path.rstrip("/")
        yield from map(self._file, self._walk(f"{path}/" if path else "", skipped, is_whole))

    def _walk(
        self, folder: str, skipped: Callable[[str], bool], is_whole: Callable[[str], bool]
    ) -> Iterator[BlobProperties]:
        """Level by level; where many folders are left, all of the level at once, which takes fewer calls."""
        beginnings: set[str] = set()
        others: list[str] = []
        for name, blob in self._level(folder):
            if blob is not None:
                yield blob
            elif not is_whole(f"{self._base}{name}"):
                others.append(name)
            elif not skipped(f"{self._base}{name}"):
                beginnings.add(name[: len(folder) + _DAY])
        if len(beginnings) + len(others) > _MOST_CALLS:
            beginnings, others = {folder}, []
        for other in others:
            yield from self._walk(other, skipped, is_whole)
        for beginning in sorted(beginnings):
            for blob in self._below(beginning):
                above = blob.name[len(folder) :].split("/")[:-1]
                folders = [f"{self._base}{folder}{'/'.join(above[: n + 1])}/" for n in range(len(above))]
                if above and not _is_folder(blob) and not any(is_whole(one) and skipped(one) for one in folders):
                    yield blob

    def _level(self, folder: str) -> Iterator[tuple[str, BlobProperties | None]]:
        """What lies directly in *folder*: the names of folders, and blobs."""
        from azure.storage.blob import BlobPrefix

        pages = self._client.walk_blobs(
            folder or None, include=["metadata"], delimiter="/", **remote.single_attempt()
        ).by_page()  # fmt: skip
        while (page := self._call(self._place.path, "list", lambda: _next(pages))) is not None:
            for one in page:
                if isinstance(one, BlobPrefix):
                    yield one.name, None
                elif not _is_folder(one):
                    yield one.name, one

    def file(self) -> File:
        """The blob at the store's location; ConfigError if there is none, whatever a listing might find below."""
        one = self._one(self._place.path)
        if one is None:
            raise ConfigError(f"{self._place.url} does not exist", fix=NEW_LINK)
        return self._file(one)

    def etag(self, file: File) -> str:
        """The ETag as the listing had it: every way to write a blob changes it."""
        return file.version

    def open(self, file: File) -> BinaryIO:
        return self._opens.open(file, lambda start, end: self._range(file, start, end))

    def _one(self, path: str) -> BlobProperties | None:
        return self._call(path, "read", lambda: self._properties(path))

    def _properties(self, path: str) -> BlobProperties | None:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            blob = self._client.get_blob_client(path).get_blob_properties(**remote.single_attempt())
        except ResourceNotFoundError as error:
            if "Container" in str(getattr(error, "error_code", "")):  # not there, or going
                raise
            return None
        return None if _is_folder(blob) else blob

    def _below(self, folder: str) -> Iterator[BlobProperties]:
        """Blobs in the order of their names, which is the service's own."""
        # Only its metadata tells the entry of a folder, on accounts with a hierarchical namespace, from an empty file.
        pages = self._client.list_blobs(folder or None, include=["metadata"], **remote.single_attempt()).by_page()
        while True:
            page = self._call(self._place.path, "list", lambda: _next(pages))
            if page is None:
                return
            yield from page

    def _range(self, file: File, start: int, end: int) -> bytes:
        from azure.core import MatchConditions

        path = file.name.removeprefix(self._base)
        seen, same = f'"{file.version}"', MatchConditions.IfNotModified

        def get() -> bytes:
            blob = self._client.get_blob_client(path)
            stream = blob.download_blob(start, end - start, etag=seen, match_condition=same, **remote.single_attempt())
            data = bytes(stream.readall())
            if len(data) != end - start:
                raise remote.RetryLater(f"{file.name} came with {len(data)} of {end - start} bytes")
            return data

        return self._call(path, "read", get, file)

    def _call(self, path: str, right: str, call: Callable[[], T], file: File | None = None) -> T:
        """*call*, repeated while that may help; *file* is what it must not have changed."""
        from azure.core.exceptions import AzureError
        from urllib3.exceptions import HTTPError

        def explain(error: Exception) -> IngestError:
            refusal = Refusal.of(error, self._place._replace(path=path), right)
            if file is not None and refusal.status in (404, 412):
                return changed(file)
            if 300 <= (refusal.status or 0) < 400:
                return ConfigError(
                    f"{refusal.place.url} answers with a redirect ({refusal.status}), which Blob Storage never does",
                    fix="Correct the host, or the proxy on the way to it",
                )
            return explained(error, refusal, identity=identity.identity_name)

        # A ValueError is the SDK's about an answer whose headers make no sense, as a broken proxy may send.
        return remote.call_with_retry(call, (AzureError, HTTPError, OSError, ValueError), explain)

    def _file(self, blob: BlobProperties) -> File:
        modified = blob.last_modified.timestamp()
        return File(f"{self._base}{blob.name}", int(blob.size), modified, str(blob.etag).strip('"'), remote=True)


def _next(pages: Iterator[Iterator[P]]) -> list[P] | None:
    page = next(pages, None)
    return None if page is None else list(page)


def _is_folder(blob: BlobProperties) -> bool:
    return str({k.lower(): v for k, v in (blob.metadata or {}).items()}.get("hdi_isfolder", "")).lower() == "true"

"""Documents as blobs of a container; it is made if there is none."""

from __future__ import annotations

import contextlib
import functools

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from shared import remote
from shared.azure import clients, identity, urls
from shared.azure.errors import Refusal, explained
from shared.azure.small_blobs import SmallBlobs
from shared.documents import DocumentEntry, quoted
from shared.errors import IngestError
from shared.settings import Settings

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

T = TypeVar("T")


def open_documents(settings: Settings) -> BlobDocuments:
    place = urls.parse_url(settings.state_url)
    return BlobDocuments(place, clients.container_client(place, settings))


class BlobDocuments:
    """A container, or a folder in one."""

    def __init__(self, place: urls.StorageUrl, client: ContainerClient) -> None:
        self._place, self._client, self._blobs = place, client, SmallBlobs(client)
        self._folder = f"{place.path.rstrip('/')}/" if place.path.rstrip("/") else ""

    def get(self, name: str) -> bytes | None:
        from azure.core.exceptions import ResourceNotFoundError

        def read() -> bytes | None:
            try:
                return bytes(
                    self._client.download_blob(self._folder + quoted(name), **remote.single_attempt()).readall()
                )
            except ResourceNotFoundError:
                return None

        return self._call("read", read)

    def put(self, name: str, content: bytes) -> None:
        self._call("write", lambda: self._upload(name, content, overwrite=True))

    def add(self, name: str, content: bytes) -> bool:
        from azure.core.exceptions import ResourceExistsError

        def write() -> bool:
            try:
                self._upload(name, content, overwrite=False)
            except ResourceExistsError:
                return False
            return True

        return self._call("write", write)

    def entries(self, prefix: str) -> Iterator[DocumentEntry]:
        token: str | None = None
        while True:
            page, token = self._call("list", functools.partial(self._page, self._folder + quoted(prefix), token))
            yield from page
            if not token:
                return

    def delete(self, name: str) -> None:
        from azure.core.exceptions import ResourceNotFoundError

        def remove() -> None:
            with contextlib.suppress(ResourceNotFoundError):
                self._client.delete_blob(self._folder + quoted(name), **remote.single_attempt())

        self._call("delete", remove)

    def _page(self, prefix: str, token: str | None) -> tuple[list[DocumentEntry], str | None]:
        pages: Any = self._client.list_blobs(name_starts_with=prefix, **remote.single_attempt()).by_page(token)
        found = [
            DocumentEntry(unquote(b.name.removeprefix(self._folder)), b.last_modified.timestamp())
            for b in next(pages, [])
        ]
        return found, pages.continuation_token

    def _upload(self, name: str, content: bytes, *, overwrite: bool) -> None:
        self._blobs.write(self._folder + quoted(name), content, overwrite=overwrite)

    def _call(self, right: str, call: Callable[[], T]) -> T:
        from azure.core.exceptions import AzureError
        from urllib3.exceptions import HTTPError

        def explain(error: Exception) -> IngestError:
            return explained(error, Refusal.of(error, self._place, right), identity=identity.identity_name)

        return remote.call_with_retry(lambda: self._in_container(call), (AzureError, HTTPError, OSError), explain)

    def _in_container(self, call: Callable[[], T]) -> T:
        from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

        try:
            return call()
        except ResourceNotFoundError as error:
            if str(getattr(error, "error_code", "")) != "ContainerNotFound":
                raise
        with contextlib.suppress(ResourceExistsError):  # another process has just made it
            self._client.create_container(**remote.single_attempt())
        return call()

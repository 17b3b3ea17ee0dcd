"""A lake in a container of Blob Storage or Data Lake Storage, which are one service by two names.

All is done on copies in the folder of one call: data files whole, and of the log what makes up the current version. The
version that delta-rs adds to the copy is uploaded on the condition that no other writer's is there, which is how a
commit to a lake in Azure works. delta-rs could do it itself, were it not for what its storage library makes of listings
(docs/decisions/0037-the-log-of-a-remote-lake-is-copied.md).
"""

from __future__ import annotations

import datetime as dt
import shutil

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from shared import remote
from shared.azure import clients, identity
from shared.azure.errors import Refusal, explained
from shared.azure.urls import StorageUrl, parse_url
from shared.errors import IngestError
from shared.settings import Settings
from shared.warehouses.lake.errors import Overtaken
from shared.warehouses.lake.storage import Entry

if TYPE_CHECKING:
    from azure.core.pipeline import PipelineResponse
    from azure.storage.blob import BlobProperties

T = TypeVar("T")
_LOG = "_delta_log"
_HISTORY = 10
"""Versions before the last checkpoint that are copied, too, for what they say about their runs."""
_PULLED = "_pulled"
"""A file beside the copy of a log: the names of what the storage has of it."""
_AT_ONCE = 4
"""Files that are copied at the same time."""


class BlobStorage:
    """A folder of a container."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._place, self._settings = parse_url(url), settings
        self._client = clients.container_client(self._place, settings)
        self._root = f"{self._place.path.strip('/')}/" if self._place.path.strip("/") else ""
        self.name = self._place.url

    def pull_log(self, path: str, scratch: Path) -> str:
        copy = scratch / "log" / path
        (copy / _LOG).mkdir(parents=True, exist_ok=True)
        names = [entry.path.rpartition("/")[2] for entry in self.entries(f"{path}/{_LOG}/")]
        since = max((_version(name) for name in names if ".checkpoint." in name), default=0)
        wanted = [name for name in names if not name[0].isdigit() or _version(name) >= since - _HISTORY]
        self._each(lambda name: self._download(f"{path}/{_LOG}/{name}", copy / _LOG / name), wanted)
        _note_pulled(copy)
        return str(copy)

    def push_log(self, path: str, scratch: Path) -> None:
        copy = scratch / "log" / path
        pulled = (copy / _PULLED).read_text(encoding="utf-8").splitlines()
        new = {file.name: file for file in (copy / _LOG).iterdir() if file.name not in pulled}
        try:
            for name in sorted(name for name in new if name.endswith(".json")):
                self._upload(f"{path}/{_LOG}/{name}", new[name], overwrite=False)
        except BaseException:
            shutil.rmtree(copy)
            raise
        checkpoints = [name for name in new if name.endswith(".parquet")]
        for name in [*checkpoints, *(["_last_checkpoint"] if checkpoints else [])]:
            self._upload(f"{path}/{_LOG}/{name}", copy / _LOG / name)
        _note_pulled(copy)

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
        dates: list[dt.datetime] = []
        pages = self._client.list_blobs(
            self._root + prefix, include=["metadata"], raw_response_hook=lambda response: dates.append(_date(response)),
            **remote.single_attempt(),
        ).by_page()  # fmt: skip
        while True:
            page = self._call(prefix, "list", lambda: _next(pages))
            if page is None:
                return
            for blob in page:
                if not _is_folder(blob):
                    age = (dates[-1] - blob.last_modified).total_seconds()
                    yield Entry(blob.name.removeprefix(self._root), age, int(blob.size))

    def delete(self, paths: Iterable[str]) -> None:
        self._each(self._delete, paths)

    def address(self, path: str) -> str:
        """As Hadoop, Spark and Fabric name it; for an emulator its URL."""
        place, folder = self._place, self._root + path
        host = place.account_url.partition("://")[2]
        if "/" in host:
            return f"{place.account_url}/{place.container}/{folder}"
        return f"abfss://{place.container}@{host.replace('.blob.', '.dfs.', 1)}/{folder}"

    def _each(self, call: Callable[[T], Path | None], things: Iterable[T]) -> list[Path | None]:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(call, list(things)))

    def _upload(self, path: str, file: Path, *, overwrite: bool = True) -> None:
        from azure.core.exceptions import ResourceExistsError

        def put() -> None:
            try:
                with file.open("rb") as content:
                    self._client.upload_blob(self._root + path, content, overwrite=overwrite, **remote.single_attempt())
            except ResourceExistsError as error:
                if overwrite:
                    raise
                raise Overtaken(f"{path} is there already") from error

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


def _note_pulled(copy: Path) -> None:
    (copy / _PULLED).write_text("\n".join(file.name for file in (copy / _LOG).iterdir()), encoding="utf-8")


def _version(name: str) -> int:
    return int(name.partition(".")[0])


def _next(pages: Iterator[Iterator[BlobProperties]]) -> list[BlobProperties] | None:
    page = next(pages, None)
    return None if page is None else list(page)


def _date(response: PipelineResponse[Any, Any]) -> dt.datetime:
    """What the server's clock says."""
    return parsedate_to_datetime(response.http_response.headers["Date"])


def _is_folder(blob: BlobProperties) -> bool:
    return str({k.lower(): v for k, v in (blob.metadata or {}).items()}.get("hdi_isfolder", "")).lower() == "true"

"""Files on an SFTP server."""

from __future__ import annotations

import datetime as dt
import stat
import threading

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar
from urllib.parse import unquote, urlsplit

from shared import remote
from shared.errors import CORRECT_PATH, ConfigError, IngestError
from shared.settings import Settings
from shared.stores import File, changed
from shared.stores.ranged import Opens
from shared.stores.ssh import Login, connected

if TYPE_CHECKING:
    from paramiko import SFTPAttributes, SFTPClient

T = TypeVar("T")

_REQUEST = 32 << 10
"""Bytes that every server gives at once; many are on their way side by side."""


def open_store(location: str, settings: Settings) -> SftpStore:
    try:
        parts = urlsplit(location)
        host, port = (parts.hostname or "").lower(), parts.port or 22
    except ValueError:
        raise ConfigError("the port of the SFTP URL is no number", fix=_FORM) from None
    if not host or not parts.username:
        raise ConfigError("the SFTP URL has no user or no host", fix=_FORM)
    if parts.query or parts.fragment:
        raise ConfigError(f"the path on {host} has a ? or #", fix="Write them as %3F and %23")
    login = Login(
        host=host, port=port, user=unquote(parts.username),
        password=unquote(parts.password) if parts.password else settings.sftp_password,
        key_file=settings.sftp_key_file, passphrase=settings.sftp_key_passphrase,
        known_hosts=Path(settings.sftp_known_hosts or "~/.ssh/known_hosts").expanduser(),
    )  # fmt: skip
    return SftpStore(login, unquote(parts.path) or ".")


_FORM = "Write sftp://user@host[:port]/path"


class SftpStore:
    """A folder with all that is below it, or one file. Names are URLs without the user, not percent-encoded.

    The protocol reports a file's time in whole seconds, so a change that keeps both goes unnoticed.
    """

    expires: dt.datetime | None = None

    def __init__(self, login: Login, path: str) -> None:
        self._login, self._path = login, path
        self._base = f"sftp://{login.address}"
        self._client: SFTPClient | None = None
        self._lock = threading.RLock()
        self._opens = Opens()

    def list(self) -> Iterator[File]:
        # Normalised by the server, so that relative ways and links end in one name.
        root = self._call(self._path, lambda client: client.normalize(self._path))
        found = self._call(root, lambda client: client.stat(root))
        if not stat.S_ISDIR(found.st_mode or 0):
            yield self._file(root, found)
            return
        yield from self._below(root.rstrip("/"), top=True)

    def etag(self, file: File) -> str:
        """Size and time: reading all of a remote file to name its content would cost as much as loading it."""
        return file.version

    def open(self, file: File) -> BinaryIO:
        return self._opens.open(file, _Reads(self, file).fetch)

    def _below(self, folder: str, *, top: bool = False) -> Iterator[File]:
        """Depth first, in the order of names. Links to files are followed, links to folders are not: no circles."""
        try:
            entries = self._call(folder or "/", lambda client: client.listdir_attr(folder or "/"))
        except ConfigError as error:
            hidden = folder.rpartition("/")[2].startswith(".")
            if top or not (isinstance(error, _Gone) or hidden):
                raise
            return  # removed since its parent was listed, or nobody's business
        for entry in sorted(entries, key=lambda entry: entry.filename):
            path = f"{folder}/{entry.filename}"
            if stat.S_ISDIR(entry.st_mode or 0):
                yield from self._below(path)
            elif (target := self._target(path, entry)) is not None:
                yield self._file(path, target)

    def _target(self, path: str, entry: SFTPAttributes) -> SFTPAttributes | None:
        """What the entry is in the end, if that is a file."""
        found = entry
        if stat.S_ISLNK(entry.st_mode or 0):
            try:
                found = self._call(path, lambda client: client.stat(path))
            except ConfigError:  # it leads nowhere, in circles, or where we may not look
                return None
        return found if stat.S_ISREG(found.st_mode or 0) else None

    def _file(self, path: str, found: SFTPAttributes) -> File:
        return File(f"{self._base}{path}", int(found.st_size or 0), float(found.st_mtime or 0), version(found), True)

    def path(self, file: File) -> str:
        return file.name.removeprefix(self._base)

    def call_for(self, file: File, call: Callable[[SFTPClient], T]) -> T:
        """*call*, which is about *file*: if that is gone, it has changed."""
        try:
            return self._call(self.path(file), call)
        except _Gone as error:
            raise changed(file) from error

    def _call(self, path: str, call: Callable[[SFTPClient], T]) -> T:
        import paramiko

        def try_once() -> T:
            with self._lock:
                if self._client is None:
                    self._client = connected(self._login)
                return call(self._client)

        def explain(error: Exception) -> IngestError:
            return self._explained(error, path)

        return remote.call_with_retry(try_once, (paramiko.SSHException, EOFError, OSError), explain)

    def _explained(self, error: Exception, path: str) -> IngestError:
        if isinstance(error, FileNotFoundError):
            return _Gone(f"{self._base}{path} does not exist", fix=CORRECT_PATH)
        if isinstance(error, PermissionError):
            return ConfigError(
                f"{self._login.user} may not read {self._base}{path}",
                fix="Ask for the right to list and read it, or give a path further down",
            )
        if type(error) is OSError and error.errno is None:  # the server's own word for what failed
            return ConfigError(
                f"{self._login.address} cannot read {path}: {error}",
                fix="List it with the program sftp, and correct the path",
            )
        with self._lock:
            self._client = None  # what is left of the connection is closed as nobody holds it any more
        return remote.unreachable(error, self._login.address)


class _Gone(ConfigError):  # noqa: N818 - it is one by its base
    """There is nothing of that path."""


class _Reads:
    """Ranges of one file."""

    def __init__(self, store: SftpStore, file: File) -> None:
        self._store, self._of = store, file

    def fetch(self, start: int, end: int) -> bytes:
        return self._store.call_for(self._of, lambda client: self._range(client, start, end))

    def _range(self, client: SFTPClient, start: int, end: int) -> bytes:
        path = self._store.path(self._of)
        with client.open(path, "rb") as handle:
            pieces = [(at, min(_REQUEST, end - at)) for at in range(start, end, _REQUEST)]
            try:
                data = b"".join(handle.readv(pieces))
            except EOFError:  # it has become shorter
                data = b""
        # By path, not by handle: a file that was replaced lives on behind its handle.
        if version(client.stat(path)) != self._of.version:
            raise changed(self._of)
        if len(data) != end - start:
            raise remote.RetryLater(f"{self._of.name} came with {len(data)} of {end - start} bytes")
        return data


def version(found: SFTPAttributes) -> str:
    return f"{found.st_size}-{found.st_mtime}"

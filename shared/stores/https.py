"""One file behind one https link, on any server that answers ranges and says when the file changes."""

from __future__ import annotations

import datetime as dt
import re

from collections.abc import Callable, Iterator
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING, BinaryIO, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

from shared import remote
from shared.azure import sas, urls
from shared.errors import ENCRYPTED, NEW_LINK, ConfigError, IngestError
from shared.settings import Settings
from shared.stores import File, changed
from shared.stores.ranged import Opens

if TYPE_CHECKING:
    import requests

T = TypeVar("T")

_CHUNK = 1 << 20


def open_store(location: str, _settings: Settings, *, redirects: bool = True) -> HttpsStore:
    parts = urlsplit(location)
    host = parts.hostname or ""
    if not host:
        raise ConfigError("the link has no host", fix="Write https://<host>/<path>")
    if parts.scheme == "http" and not urls.is_loopback(host):
        raise ConfigError(f"http://{host} is not encrypted", fix=ENCRYPTED)
    return HttpsStore(location, redirects=redirects)


class HttpsStore:
    """A single file. Its name is the link without query and user, not percent-encoded."""

    def __init__(self, link: str, *, redirects: bool = True) -> None:
        """Without *redirects*, an answer that leads elsewhere is a ConfigError."""
        import requests

        parts = urlsplit(link)
        self._link = urlunsplit(parts._replace(fragment=""))
        self._host = (parts.hostname or "").lower()
        self._address = parts.netloc.rpartition("@")[2].lower()
        self._name = name(link)
        self._redirects = redirects
        self._session = requests.Session()
        self._session.headers["Accept-Encoding"] = "identity"  # ranges are of what is stored
        if parts.scheme == "https":  # a redirect never leaves encryption
            del self._session.adapters["http://"]
        if not redirects:  # requests would still look at where one leads, and read all of its body before
            self._session.get_redirect_target = _nowhere  # type: ignore[method-assign]
        self._opens = Opens()

    @property
    def expires(self) -> dt.datetime | None:
        return sas.link_expiry(self._link)

    def list(self) -> Iterator[File]:
        yield self.file()

    def file(self) -> File:
        """The file behind the link."""
        # Not HEAD: links of some clouds are signed for GET alone.
        return self._call(self._look)

    def etag(self, file: File) -> str:
        """The server's ETag, or size and Last-Modified where it has none."""
        return file.version

    def open(self, file: File) -> BinaryIO:
        return self._opens.open(file, lambda start, end: self._call(lambda: self._range(file, start, end), file))

    def _look(self) -> File:
        with self._get({"Range": "bytes=0-0"}) as response:
            if response.status_code == 200:
                raise ConfigError(
                    f"{self._name} cannot be read in parts: its server ignores Range",
                    fix="Download it and load the file",
                )
            if response.status_code == 416:  # there is no first byte
                response.headers.setdefault("Content-Range", "bytes */0")
            else:
                response.raise_for_status()
            return self._file(response)

    def _range(self, file: File, start: int, end: int) -> bytes:
        with self._get({"Range": f"bytes={start}-{end - 1}", **_condition(file)}) as response:
            response.raise_for_status()
            # Some servers do not look at conditions, and a file that shrank has no such range.
            if response.status_code != 206 or self._file(response).version != file.version:
                raise changed(file)
            data = _body(response, end - start)
        if len(data) != end - start:
            raise remote.RetryLater(f"{file.name} came with {len(data)} of {end - start} bytes")
        return data

    def _get(self, headers: dict[str, str]) -> requests.Response:
        times = (remote.CONNECT_SECONDS, remote.READ_SECONDS)
        response = self._session.get(
            self._link, headers=headers, stream=True, timeout=times, allow_redirects=self._redirects
        )
        if not self._redirects and 300 <= response.status_code < 400:
            response.close()
            raise ConfigError(f"{self._name} answers with a redirect ({response.status_code})", fix=_DIRECT)
        return response

    def _file(self, response: requests.Response) -> File:
        size = response.headers.get("Content-Range", "").rpartition("/")[2]
        stamp, etag = response.headers.get("Last-Modified"), response.headers.get("ETag", "")
        modified = _seconds(stamp)
        version = etag.strip('"') if etag.startswith('"') else f"{size}-{modified:.0f}" if modified else ""
        if not re.fullmatch(r"[0-9]{1,18}", size) or not version:
            raise ConfigError(
                f"the server of {self._name} does not say its size, or neither ETag nor Last-Modified",
                fix="Download it and load the file",
            )
        return File(self._name, int(size), modified or 0.0, version, remote=modified is not None)

    def _call(self, call: Callable[[], T], file: File | None = None) -> T:
        """*call*, repeated while that may help; *file* is what it must not have changed."""
        import requests

        from urllib3.exceptions import HTTPError

        return remote.call_with_retry(
            call, (requests.RequestException, HTTPError, OSError), lambda e: self._explained(e, file)
        )

    def _explained(self, error: Exception, file: File | None) -> IngestError:
        import requests

        if not isinstance(error, requests.HTTPError):
            return self._unanswered(error)
        response, status = error.response, error.response.status_code
        if file is not None and status in (404, 410, 412, 416):
            return changed(file)
        if status in remote.BUSY:
            after = remote.retry_after(response.headers.get("Retry-After"), response.headers.get("Date"))
            return remote.RetryLater(f"{self._host} is busy ({status})", after=after)
        if status in (401, 403):
            return ConfigError(f"{self._name} is refused ({status})", fix=self._why_refused(response))
        if status in (404, 410):
            return ConfigError(f"{self._name} does not exist ({status})", fix=NEW_LINK)
        return ConfigError(f"{self._host} answers {status} for {self._name}", fix=NEW_LINK)

    def _unanswered(self, error: Exception) -> IngestError:
        import requests

        if isinstance(error, (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL)):
            return ConfigError(f"{self._name} redirects to something that is not an https link", fix=_DIRECT)
        if isinstance(error, requests.exceptions.TooManyRedirects):
            return ConfigError(f"{self._name} redirects too many times", fix=_DIRECT)
        return remote.unreachable(error, self._address)

    def _why_refused(self, response: requests.Response) -> str:
        now, end = _seconds(response.headers.get("Date")), self.expires
        if now and end and now >= end.timestamp():
            return f"{NEW_LINK}: its SAS expired at {end:%Y-%m-%d %H:%M:%S} UTC"
        return f"{NEW_LINK}: this one has expired, is truncated (put it in quotes), or is for another client"


_DIRECT = "Ask for a direct https link"


def name(link: str) -> str:
    """What the file behind *link* is known by: the same for each link to it, and free of what signs in."""
    parts = urlsplit(link)
    return f"{parts.scheme}://{_netloc(link)}{unquote(parts.path)}"


def _nowhere(resp: requests.Response) -> str | None:
    return None


def _body(response: requests.Response, size: int) -> bytes:
    """What was answered, which should have *size*: little more is kept, however much it is."""
    parts: list[bytes] = []
    for part in response.iter_content(_CHUNK):
        parts.append(part)
        if sum(map(len, parts)) > size:
            break
    return b"".join(parts)


def _condition(file: File) -> dict[str, str]:
    if file.version == f"{file.size}-{file.modified:.0f}":
        return {"If-Unmodified-Since": formatdate(file.modified, usegmt=True)}
    return {"If-Match": f'"{file.version}"'}


def _netloc(link: str) -> str:
    parts = urlsplit(link)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    usual = {"https": 443, "http": 80}[parts.scheme]
    return host if parts.port in (None, usual) else f"{host}:{parts.port}"


def _seconds(stamp: str | None) -> float | None:
    try:
        return parsedate_to_datetime(stamp).timestamp() if stamp else None
    except (ValueError, OverflowError):
        return None

"""JSON posted to somebody else's address: repeated while that may help, and failures in words without the address."""

from __future__ import annotations

import contextlib
import json
import re

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from shared import remote
from shared.azure import urls
from shared.errors import ENCRYPTED, ConfigError, IngestError
from shared.model import Json
from shared.text import one_line

if TYPE_CHECKING:
    import requests

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 15.0
_POLICY = remote.RetryPolicy(attempts=3, seconds=20.0)
"""With the last attempt, a call takes about half a minute."""
_LONGEST_WAIT = 15.0
_MOST_READ = 8_192
"""Bytes of an answer that are looked at."""
_LONGEST = 300


class PostResult(NamedTuple):
    """What the other side said at last."""

    status: int
    said: str
    """Why not, in one line, without secrets; empty where it does not say, or it is a success."""
    after: float | None = None
    """Seconds that it wants to be left alone."""

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300

    def __str__(self) -> str:
        return f"({self.status})" + (f": {self.said}" if self.said else "")


def post_json(
    url: str,
    body: Json,
    *,
    setting: str,
    headers: Mapping[str, str] | None = None,
    session: requests.Session | None = None,
) -> PostResult:
    """POST *body* to *url*, which *setting* holds, and return the response, whatever it is. Follows no redirect.

    ConfigError if the URL cannot be used, TransientError if no answer came; neither shows more of it than its host.
    A call whose answer was lost is repeated, so the other side may see it twice.
    """
    host = _host(url, setting)
    data, sent = json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})}
    with _opened(session) as connected:
        try:
            return _POLICY.call(lambda: _once(connected, url, data, sent, host), on=_wait)
        except _Busy as busy:
            return busy.result


_COPY_AGAIN = "Copy the complete link again"


class _Busy(remote.RetryLater):
    def __init__(self, host: str, result: PostResult) -> None:
        super().__init__(f"{host} is busy ({result.status})", after=result.after)
        self.result = result


def _host(url: str, setting: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if not host or parts.scheme not in ("https", "http"):
        raise ConfigError(f"{setting} is no https link", fix=_COPY_AGAIN)
    if parts.scheme == "http" and not urls.is_loopback(host):
        raise ConfigError(f"{setting} is not encrypted", fix=ENCRYPTED)
    return host


@contextlib.contextmanager
def _opened(session: requests.Session | None) -> Iterator[requests.Session]:
    import requests

    if session is not None:
        yield session
        return
    with requests.Session() as own:
        yield own


def _once(session: requests.Session, url: str, data: bytes, headers: Mapping[str, str], host: str) -> PostResult:
    import requests

    from urllib3.exceptions import HTTPError

    try:
        with session.post(
            url,
            data=data,
            headers=headers,
            timeout=(_CONNECT_SECONDS, _READ_SECONDS),
            allow_redirects=False,
            stream=True,
            auth=_as_it_is,
        ) as response:
            result = _result(response, url)
    except (requests.RequestException, HTTPError, OSError) as error:
        failure: IngestError = _unanswered(error, host)
    else:
        if result.status not in remote.BUSY and result.status < 500:
            return result
        failure = _Busy(host, result)
    raise failure  # out here, as the library's own error, whose text holds the address, would be its context in there


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Signs in with nothing: requests would take a sign-in from a netrc file, over the header that was given."""
    return request


def _wait(error: Exception) -> bool | float:
    return remote.retry_wait(error, _LONGEST_WAIT)


def _result(response: requests.Response, url: str) -> PostResult:
    after = remote.retry_after(response.headers.get("Retry-After"), response.headers.get("Date"))
    if response.status_code < 300:
        return PostResult(response.status_code, "", after)
    if response.status_code < 400:
        return PostResult(response.status_code, "it redirects, which is not followed", after)
    start = next(response.iter_content(_MOST_READ), b"").decode("utf-8", "replace")
    return PostResult(response.status_code, one_line(_without(_reason(start), url))[:_LONGEST].rstrip(". "), after)


def _reason(body: str) -> str:
    """What a body says for people: the message of a JSON error, or the text itself unless it is a page."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return "" if body.lstrip().startswith("<") else body
    while isinstance(found, dict):
        found = next((found[name] for name in ("error", "message", "code") if found.get(name)), "")
    return found if isinstance(found, str) else ""


def _without(text: str, url: str) -> str:
    """*text* without the parts of *url* that may be secret, should the other side repeat them."""
    parts = urlsplit(url)
    found = [
        part for part in re.split(r"[/&=]", f"{parts.path}&{parts.query}") if re.search(r"\d.{7}|.{7}\d|.{20}", part)
    ]
    hidden = text
    for part in sorted({*found, *map(unquote, found)}, key=len, reverse=True):
        hidden = hidden.replace(part, "***")
    return hidden


def _unanswered(error: Exception, host: str) -> IngestError:
    import requests

    if isinstance(error, ValueError):  # InvalidURL, InvalidHeader and their like
        return ConfigError(f"{host} cannot be reached: {type(error).__name__}", fix=_COPY_AGAIN)
    if isinstance(error, requests.exceptions.ReadTimeout):
        return remote.RetryLater(f"{host} did not respond in time")
    return remote.unreachable(error, host)

"""Calls of one API: signed, within its rate, repeated while that may help, with answers of bounded size."""

from __future__ import annotations

import threading

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

from shared import remote
from shared.azure import urls
from shared.errors import ConfigError, DataError, IngestError, TransientError
from shared.model import Json
from shared.rest import failures
from shared.rest.auth import Auth, NoAuth, SignedAuth
from shared.rest.clock import SYSTEM, Clock
from shared.rest.failures import Response
from shared.rest.instants import server_time
from shared.rest.limits import Limiter, suspended
from shared.traffic import Traffic

if TYPE_CHECKING:
    import requests

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
"""How long an open connection may stay silent."""
WHOLE_SECONDS = 300.0
"""How long one answer may take in all."""
MOST_BYTES = 64 << 20
"""Of one response, unpacked."""
LONGEST_WAIT = 120.0
"""Seconds that a call waits at the API's wish; a longer one ends the sync, and the next goes on."""
POLICY = remote.RetryPolicy(attempts=8, seconds=600.0, first_wait=0.5, longest_wait=20.0)
_FIRST_TRIES = 2
"""Of a call, while no server has answered any."""
_CHUNK = 1 << 16
_PLAIN_IN_QUERIES = "$'(),:"
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call, as it is repeated."""

    path: str
    """Below the base URL, or a whole URL on its host."""
    parameters: Mapping[str, str | int] = field(default_factory=dict)
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json = None
    """Sent as JSON, unless it is None."""
    in_body: bool = False
    """Whether the parameters belong into the body."""
    form: Mapping[str, str] | None = field(default=None, repr=False)
    """Sent as a form instead."""
    accept: str = "application/json"
    bucket: str = ""
    """Which of the API's rates it is counted in, see ``Rate``."""
    allowed: frozenset[int] = frozenset()
    """Statuses beside 2xx that are answers like others."""

    @property
    def content(self) -> Json:
        """What is sent as JSON."""
        return {**(self.body or {}), **self.parameters} if self.in_body else self.body


@dataclass(kw_only=True)
class Client:
    """One API, for any number of threads."""

    base: str
    """Its URL; paths of calls are below it, and no call leaves its host."""
    setting: str
    """The setting, or place, that the URL is from, for errors."""
    limiter: Limiter
    auth: Auth = field(default_factory=NoAuth)
    clock: Clock = SYSTEM
    policy: remote.RetryPolicy = POLICY
    timezone: str = "UTC"
    """In which the API's days begin."""
    most_bytes: int = MOST_BYTES
    keep: Callable[[Call, Response], None] | None = None
    """Gets every answer that is a success."""
    retries: int = 0
    sent: int = 0
    """Calls, repeated ones included."""
    last: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers of the last answer that had any of a rate."""

    def __post_init__(self) -> None:
        parts = _parts(self.base, self.setting)
        self.host = parts.hostname or ""
        self._address = parts.netloc.lower()
        self._tries_without_any_answer: int | None = 0
        self._origin = _origin(self.base)
        self._base = self.base.partition("?")[0].rstrip("/") + "/"
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._since, self._calls_before = self.clock.timer(), self.limiter.calls

    def traffic(self) -> Traffic:
        """What was called so far."""
        allowed = self.limiter.allowed(self.clock.timer() - self._since)
        share = None if allowed is None else (self.limiter.calls - self._calls_before) / allowed
        return Traffic(self.sent, self.retries, share)

    def close(self) -> None:
        while self._sessions:
            self._sessions.pop().close()
        self._local = threading.local()

    def url(self, path: str) -> str:
        """The URL of *path*. DataError if it leads elsewhere: nothing that signs in is sent to another host.

        A service behind a proxy that ends TLS may write its links with http: they are followed with https.
        """
        found = path if "://" in path else urljoin(self._base, path.lstrip("/")) if path else self._base.rstrip("/")
        if found.startswith("http://") and _origin(secured := f"https{found[4:]}") == self._origin:
            found = secured
        if path.startswith("//") or _origin(found) != self._origin:
            raise DataError(
                f"{self.host} names a page on another host, {urlsplit(found).hostname}",
                fix="Correct the base URL to the host that its pages are on",
            )
        return found

    def call(self, call: Call) -> Response:
        """The answer to *call*, once it is a success or *allowed*.

        ConfigError or DataError if it is refused, TransientError if it may work later.
        """
        tries = [0]
        return self.policy.call(lambda: self._try(call, tries), on=self._wait)

    def json(self, call: Call) -> Any:
        """The JSON that answers *call*; numbers with a fraction as Decimal. A page of HTML is no response."""
        return self.decoded(call)[1]

    def decoded(self, call: Call) -> tuple[Response, Any]:
        """The answer to *call* and its JSON."""
        from shared.rest.rows import read_json

        def parse(response: Response) -> Any:
            success = 200 <= response.status < 300
            return read_json(response.body) if success else failures.parsed(response.body)

        return self.parsed(call, parse, "JSON")

    def parsed(self, call: Call, parse: Callable[[Response], T], form: str) -> tuple[Response, T]:
        """The answer to *call* and what *parse* makes of it, by the name of its *form*.

        A ValueError of *parse* means that the answer is broken: it is called for again, like one that was cut off.
        """
        tries = [0]
        return self.policy.call(lambda: self._readable(call, tries, parse, form), on=self._wait)

    # -- one try

    def _readable(
        self, call: Call, tries: list[int], parse: Callable[[Response], T], form: str
    ) -> tuple[Response, T]:  # fmt: skip
        try:
            response = self._try(call, tries)
            return response, parse(response)
        except ValueError as error:
            what = f"{self._place(call)} answers with something else than {form}"
            failure = remote.RetryLater(what, fix="Correct the base URL, or sync again once the API is up")
            failure.__cause__ = remote.RedactedCause(str(error))
        raise failure

    def _wait(self, error: Exception) -> bool | float:
        waits = remote.retry_wait(error, LONGEST_WAIT)
        self.retries += bool(waits is True or waits)
        return waits

    def _try(self, call: Call, tries: list[int]) -> Response:
        tries[0] += 1
        response, used = self._signed(call)
        if response.status == 401 and self.auth.renew(used):
            response, _ = self._signed(call)
        if 200 <= response.status < 300 or response.status in call.allowed:
            self.limiter.succeeded(call.bucket)
            if self.keep is not None:
                self.keep(call, response)
            return response
        refusal = failures.refusal_of(response, tuple(self.auth.secrets))
        if failures.is_daily(response, refusal):
            until, reason = (
                failures.next_midnight(self.clock.now(), self.timezone),
                f"{self.host} allows no more calls today",
            )
            self.limiter.suspend(until, reason)
            raise suspended(until, reason)
        if response.status == 429:
            self.limiter.push_back(call.bucket, min(failures.wait(429, refusal, tries[0]) or 1.0, LONGEST_WAIT))
        raise failures.failure(response, self._place(call), refusal, tries[0], clock=self._clock_is_off(response))

    def _clock_is_off(self, response: Response) -> float | None:
        """Seconds that this machine's clock is ahead of the API's, if the sign-in depends on that."""
        theirs = server_time(response.headers) if isinstance(self.auth, SignedAuth) else None
        return None if theirs is None else (self.clock.now().replace(tzinfo=None) - theirs).total_seconds()

    def _signed(self, call: Call) -> tuple[Response, str | None]:
        headers = {"Accept": call.accept, "User-Agent": "sluice", **call.headers}
        parameters = {} if call.in_body else {name: str(value) for name, value in call.parameters.items()}
        url = self.url(call.path)
        self.limiter.wait(call.bucket)
        self.sent += 1  # of several threads at once one may be lost: it is for people
        used = self.auth.sign(headers, parameters)  # after the wait: a sign-in may have a time in it
        return self._send(call, url, headers, parameters), used

    def _send(self, call: Call, url: str, headers: Mapping[str, str], parameters: Mapping[str, str]) -> Response:
        import requests

        from urllib3.exceptions import HTTPError

        try:
            with self._session().request(
                call.method, url, params=_query(parameters), json=call.content, data=call.form, headers=headers,
                timeout=(CONNECT_SECONDS, READ_SECONDS), allow_redirects=False, stream=True, auth=_as_it_is,
            ) as received:  # fmt: skip
                found = Response(received.status_code, received.headers, self._body(received, call))
        except (requests.RequestException, HTTPError, OSError) as error:
            failure = self._unanswered(error)
        else:
            self._tries_without_any_answer = None
            if any("ratelimit" in name.lower() for name in found.headers):
                self.last = found.headers
            return found
        raise failure  # out here, as the library's own error, whose text holds the URL, would be its context in there

    def _unanswered(self, error: Exception) -> IngestError:
        """A client that has never been answered may have a wrong address, which is said after few tries."""
        failure = _unanswered(error, self._address)
        if self._tries_without_any_answer is not None and remote.is_no_answer(error):
            self._tries_without_any_answer += 1
            if self._tries_without_any_answer >= _FIRST_TRIES:
                return TransientError(failure.problem, fix=failure.fix)
        return failure

    def _body(self, received: requests.Response, call: Call) -> bytes:
        since, parts, size = self.clock.timer(), [], 0
        for part in received.iter_content(_CHUNK):
            size += len(part)
            if size > self.most_bytes:
                raise DataError(
                    f"{self._place(call)} answers with more than {self.most_bytes >> 20} MB",
                    fix="Choose smaller pages in the catalog",
                )
            if self.clock.timer() - since > WHOLE_SECONDS:
                raise remote.RetryLater(f"{self._place(call)} did not respond in time")
            parts.append(part)
        return b"".join(parts)

    def _session(self) -> requests.Session:
        """One of this thread: a session may not be shared."""
        import requests

        found: requests.Session | None = getattr(self._local, "session", None)
        if found is None:
            found = self._local.session = requests.Session()
            self._sessions.append(found)
        return found

    def _place(self, call: Call) -> str:
        return f"{self.host}{urlsplit(self.url(call.path)).path}"


_PLAIN = "Write it as https://host/path, without user and password"


def _parts(url: str, setting: str) -> Any:
    try:
        parts = urlsplit(url)
        found = parts.scheme in ("https", "http") and parts.hostname and parts.port != 0 and parts.username is None
    except ValueError:
        found = False
    if not found:
        raise ConfigError(f"{setting} is no URL of an API", fix=_PLAIN)
    if parts.scheme == "http" and not urls.is_loopback(parts.hostname or ""):
        raise ConfigError(f"{setting} is not encrypted", fix="Start it with https://")
    return parts


def _origin(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return "", None, None
    return parts.scheme, parts.hostname, port


def _query(parameters: Mapping[str, str]) -> str:
    """A blank as %20, which all servers read: some take + as it is."""
    return urlencode(parameters, quote_via=quote, safe=_PLAIN_IN_QUERIES)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Signs in with nothing: requests would take a sign-in from a netrc file, over the header that was given."""
    return request


def _unanswered(error: Exception, host: str) -> IngestError:
    import requests

    if isinstance(error, ValueError):  # InvalidURL, InvalidHeader and their like
        return ConfigError(f"{host} cannot be called: {type(error).__name__}", fix=_PLAIN)
    if isinstance(error, requests.exceptions.ReadTimeout):
        return remote.RetryLater(f"{host} did not respond in time")
    return remote.unreachable(error, host)

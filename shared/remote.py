"""Calls to another machine: repeated while that may help, with failures in words that hold no secret."""

from __future__ import annotations

import logging
import socket
import ssl

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias, TypeVar

import stamina

from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from shared.errors import ConfigError, IngestError, TransientError
from shared.redaction import redact
from shared.text import SHOW_WAITING, one_line

_log = logging.getLogger("sluice")

T = TypeVar("T")
Kinds: TypeAlias = tuple[type[Exception], ...]

CONNECT_SECONDS = 15.0
READ_SECONDS = 60.0
"""How long an open connection may stay silent."""
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that may pass."""
_LONGEST_WAIT = 120.0
_SHORTEST = 0.001
"""Seconds; stamina warns of 0."""


LATER = "Several tries have failed: load again later, and if it lasts, ask whoever runs that server"


class RetryLater(TransientError):  # noqa: N818 - it is one by its base
    """A failure that may pass; ``after`` is how many seconds the other side wants to be left alone."""

    def __init__(self, problem: str, *, fix: str = LATER, after: float | None = None) -> None:
        super().__init__(problem, fix=fix)
        self.after = after


class Busy(TransientError):  # noqa: N818 - it is one by its base
    """Another process has what a call needs. To wait for it is progress, no failure."""


class RedactedCause(Exception):  # noqa: N818 - it is not raised
    """What a library said of a failure, without the secrets: the cause that our errors show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a call is repeated, and how long in all. The waits double, each with some chance in it.

    The one way to repeat a call; stamina does it, so that its switch for tests holds for all of them.
    """

    attempts: int | None
    """At most so many calls; None: as many as the time allows."""
    seconds: float | None
    """No repetition begins later than this after the first call; None: whenever."""
    first_wait: float = 0.1
    longest_wait: float = 5.0
    jitter: float = 1.0
    """At most so much is added to each wait. All of these are seconds."""

    def call(self, call: Callable[[], T], *, on: Callable[[Exception], bool | float] | type[Exception]) -> T:
        """What *call* returns, repeated after errors of type *on*, or those for which *on* is true.

        *on* may also say how many seconds to wait. The last error comes out as it is.
        """
        caller = stamina.RetryingCaller(
            attempts=self.attempts, timeout=None if self.seconds is None else max(self.seconds, _SHORTEST),
            wait_initial=self.first_wait, wait_max=self.longest_wait, wait_jitter=self.jitter,
        )  # fmt: skip
        return caller(on, call)


def log_retries(on_retry: Callable[[str], None] = lambda reason: None) -> None:
    """Log each repetition with its reason, instead of stamina's own lines. For a host to call once.

    *on_retry* gets the type of the error.
    """

    def log(details: RetryDetails) -> None:
        reason = one_line(str(details.caused_by))
        if isinstance(details.caused_by, Busy):
            _log.info("waiting for %s", details.caused_by.problem, extra=SHOW_WAITING)
        else:
            _log.info("repeated in %.1f s, for the %d. time: %s", details.wait_for, details.retry_num, reason)
            on_retry(type(details.caused_by).__name__)

    set_on_retry_hooks([log])


_POLICY = RetryPolicy(attempts=6, seconds=300.0, longest_wait=20.0)
"""Of calls to storage."""


def call_with_retry(
    call: Callable[[], T], kinds: tuple[type[Exception], ...], explained: Callable[[Exception], IngestError]
) -> T:
    """What *call* returns. Its failures of *kinds* are *explained*; the call is repeated if they may pass."""
    return _POLICY.call(lambda: _once(call, kinds, explained), on=retry_wait)


def single_attempt() -> dict[str, Any]:
    """Options of one call of an Azure client: ``call_with_retry`` repeats it."""
    return {"retry_total": 0, "connection_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}


def _once(
    call: Callable[[], T], kinds: tuple[type[Exception], ...], explained: Callable[[Exception], IngestError]
) -> T:
    try:
        return call()
    except IngestError:
        raise
    except kinds as error:
        failure = explained(error)
        failure.__cause__ = RedactedCause(f"{type(error).__name__}: {redact(str(error))}")
    raise failure  # out here, as the library's own error, which repeats URLs, would be its context in there


def retry_wait(error: Exception, longest: float = _LONGEST_WAIT) -> bool | float:
    """Whether to repeat a call that ended in *error*: after the wait that the other side asks for, up to *longest*."""
    if not isinstance(error, RetryLater):
        return False
    if error.after is None:
        return True
    return error.after if error.after <= longest else False


def retry_after(text: str | None, date: str | None) -> float | None:
    """Seconds that a Retry-After header asks for; a moment in it is set against the Date of the same response.

    >>> retry_after("7", None), retry_after("soon", None)
    (7.0, None)
    >>> retry_after("Tue, 24 Feb 2026 12:00:30 GMT", "Tue, 24 Feb 2026 12:00:00 GMT")
    30.0
    """
    if not text:
        return None
    try:
        if text.strip().isdigit():
            return float(text)
        return max(0.0, (parsedate_to_datetime(text) - parsedate_to_datetime(date or "")).total_seconds())
    except (ValueError, TypeError):
        return None


def unreachable(error: BaseException, host: str, *, authority: str = "REQUESTS_CA_BUNDLE") -> IngestError:
    """Why there is no answer from *host*, by what lies at the bottom of *error*.

    *authority* is the setting that names whom to trust: requests, and with it Azure's libraries, do not read
    SSL_CERT_FILE.
    """
    reasons = list(_causes(error))
    for reason in reasons:
        # EAI_AGAIN and the like are a resolver's trouble, which passes; these say that there is no such name.
        if isinstance(reason, socket.gaierror) and reason.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
            return ConfigError(f"there is no host {host}", fix="Correct its name, or this machine's DNS")
        if isinstance(reason, ssl.SSLCertVerificationError):
            return ConfigError(
                f"the certificate of {host} is not trusted here: {reason.verify_message}",
                fix=f"Correct the host, set this machine's clock, or name its authority's file in {authority}",
            )
    if any(isinstance(reason, ConnectionRefusedError) for reason in reasons):
        return RetryLater(f"{host} refuses connections", fix="Start it, or correct the port, and load again")
    if any(isinstance(reason, TimeoutError) or "timed out" in str(reason).lower() for reason in reasons):
        return RetryLater(
            f"{host} did not respond in time",
            fix="Correct the host and port, or let this machine through firewalls on the way, and load again",
        )
    return RetryLater(
        f"the connection to {host} was lost", fix="Load again; if it lasts, check the network and proxies on the way"
    )


def is_no_answer(error: BaseException) -> bool:
    """Whether no server has answered at all: nothing listens at the address, or nothing comes from there."""
    return any(isinstance(reason, ConnectionRefusedError | TimeoutError) for reason in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """*error* and everything behind it; libraries wrap one exception as another's argument or ``reason``, too."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = [getattr(one, name, None) for name in ("__cause__", "__context__", "reason", "inner_exception")]
        waiting += [*inner, *one.args]
        if isinstance(errors := getattr(one, "errors", None), dict):  # paramiko's, one for each address
            waiting += errors.values()

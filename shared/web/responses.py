"""What the API answers with, before it is HTTP: jobs that were started, and errors."""

from __future__ import annotations

import logging

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.errors import ConfigError, ConflictError, IngestError, RequestRefused, TransientError
from shared.jobs.reports import job_link
from shared.jobs.request import Start
from shared.redaction import redact
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.web.webhooks.receive import Accepted

_log = logging.getLogger("sluice")
_RETRY_SECONDS = 30


class Response(NamedTuple):
    """Status, body and headers."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = {}


def accepted_response(job: str, settings: Settings) -> Response:
    """The job is started, or was running already: its URL says how it stands."""
    url = job_link(settings, job)
    return Response(202, {"job": job, "url": url}, {"Location": url, "Retry-After": str(_RETRY_SECONDS)})


def events_response(accepted: Accepted) -> Response:
    """The events of a request are kept; how many of them will be read, and how many not."""
    counts = {name: getattr(accepted, name) for name in ("events", "kept", "ignored", "unknown")}
    return Response(202, counts)


def started_response(feed: str, starts: Sequence[Start], settings: Settings) -> Response:
    """The jobs that an action on a feed started, or found running already."""
    jobs = [{"job": start.job, "url": job_link(settings, start.job)} for start in starts]
    return Response(202, {"feed": feed, "jobs": jobs})


def retried_response(job: str, starts: Sequence[Start], settings: Settings) -> Response:
    """The jobs that take up again what failed in a job."""
    jobs = [{"job": start.job, "url": job_link(settings, start.job)} for start in starts]
    return Response(202, {"retried": job, "jobs": jobs})


def uploaded_response(upload: str, starts: Sequence[Start], settings: Settings) -> Response:
    """The job that loads an upload, started or found running already."""
    jobs = [{"job": start.job, "url": job_link(settings, start.job)} for start in starts]
    return Response(202, {"upload": upload, "jobs": jobs})


def system_response(system: str, start: Start, settings: Settings) -> Response:
    """The job of a system that was started, or found running already."""
    return Response(202, {"system": system, "jobs": [{"job": start.job, "url": job_link(settings, start.job)}]})


def error_response(error: Exception) -> Response:
    """The answer to an error, never a traceback: what is no error of ours is logged, and the answer says only that."""
    if isinstance(error, RequestRefused):
        _log.warning("refused with %s: %s", error.status, error.reason)
        return Response(error.status, {"error": error.reason})
    if isinstance(error, TransientError):
        return Response(503, {"error": redact(str(error))}, {"Retry-After": str(_RETRY_SECONDS)})
    if isinstance(error, IngestError):
        statuses = {ConfigError: 503, ConflictError: 409}
        return Response(statuses.get(type(error), 500), {"error": redact(str(error))})
    _log.error("a request failed with an unexpected error", exc_info=error)
    return Response(500, {"error": "internal error; see the log"})

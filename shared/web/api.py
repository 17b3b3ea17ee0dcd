"""The operations API but for HTTP itself: what a request asks for, and how an error is answered."""

from __future__ import annotations

import datetime as dt
import json
import logging
import re

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.errors import ConfigError, ConflictError, IngestError, RequestRefused, TransientError
from shared.jobs import summaries, triggers
from shared.jobs.triggers import Start
from shared.model import Json, to_text
from shared.pipeline.checks import health as health_checks
from shared.pipeline.feeds import backfill, declared, known_feed
from shared.redaction import redact

if TYPE_CHECKING:
    from shared.app import App

_log = logging.getLogger("sluice")
_AGAIN_SECONDS = 30


class Response(NamedTuple):
    """What to answer, before it is HTTP."""

    status: int
    body: Json
    headers: Mapping[str, str] = {}


def accepted_response(app: App, job: str, **more: Json) -> Response:
    """The job is started, or runs already: where to look at it."""
    link = app.job_link(job)
    return Response(202, {"job": job, "url": link, **more}, {"Location": link, "Retry-After": str(_AGAIN_SECONDS)})


def error_response(error: Exception) -> Response:
    """What an error is answered with. Never a traceback: what nobody foresaw is logged, and that alone is said."""
    if isinstance(error, RequestRefused):
        _log.warning("refused with %s: %s", error.status, error.reason)
        return Response(error.status, {"error": error.reason})
    if isinstance(error, TransientError):
        return Response(503, {"error": redact(str(error))}, {"Retry-After": str(_AGAIN_SECONDS)})
    if isinstance(error, IngestError):
        kinds = {ConfigError: 503, ConflictError: 409}
        return Response(kinds.get(type(error), 500), {"error": redact(str(error))})
    _log.error("a request failed in a way that nobody foresaw", exc_info=error)
    return Response(500, {"error": "something went wrong that nobody foresaw; the log has it"})


def started_response(app: App, feed: str, starts: Sequence[Start]) -> Response:
    """Which jobs an action on a feed started, or found running already."""
    return Response(202, {"feed": feed, "jobs": [{"job": s.job, "url": app.job_link(s.job)} for s in starts]})


def job_id(text: str) -> str:
    """*text* if a job may have that id."""
    if not re.fullmatch(r"(blob|folder|export|sync):[A-Za-z0-9_.-]{1,80}(~[0-9]{1,3})?", text):
        raise RequestRefused(404, "there is no such job")
    return text


def job(app: App, id: str, host: Json | None) -> Response:
    """How a job stands; *host* is what the host says of its orchestration."""
    told = summaries.view(app, id, host)
    if told is None:
        raise RequestRefused(404, "there is no such job")
    return Response(200, told)


def health(app: App, *, deep: str | None) -> Response:
    """That the app is up; *deep*, if not empty or false, asks all it needs: 503 if something does not answer."""
    if deep is None or deep.lower() in ("", "0", "false"):
        return Response(200, {"status": "ok", "feeds": len(declared(app.systems))})
    checks = health_checks(settings=app.settings, documents=app.documents, ledger=app.ledger, warehouse=app.warehouse)
    found = [replace(one, told=redact(one.told), fix=redact(one.fix)) for one in checks]
    failed = any(one.status == "failed" for one in found)
    return Response(
        503 if failed else 200, {"status": "failed" if failed else "ok", "checks": list(map(asdict, found))}
    )


def run_action(app: App, feed: str, action: str, body: bytes) -> list[Start]:
    """Do something to a feed: run, backfill, pause or resume it. The jobs to start for it."""
    return _ACTIONS[action.lower()](app, feed, body)  # the host's routes know no case


def _run(app: App, feed: str, body: bytes) -> list[Start]:
    """Read a pull feed now, or take what the exports container has of a push feed, work that failed before too."""
    told = _fields(body, {"max_delete_share": _share})
    _known(app, feed)
    told["by_hand"] = feed
    if _is_pulled(app, feed):
        return [triggers.sync_job(feed, **told)]
    again = triggers.open_notifications(app, feed=feed, failed=True, **told)
    return [*again, *triggers.missed_files(app, feed, failed=True, **told)]


def _backfill(app: App, feed: str, body: bytes) -> list[Start]:
    """Forget what was exported, or read, since ``to``, and take it again."""
    told = _fields(body, {"to": _instant})
    if "to" not in told:
        raise RequestRefused(
            400, "to is missing: the time since which to take everything again, such as 2026-02-24T00:00:00Z"
        )
    _known(app, feed)
    try:
        backfill(feed, told["to"], systems=app.systems, history=app.warehouse, ledger=app.ledger)
    except ConfigError as error:
        raise RequestRefused(400, str(error)) from error
    return _run(app, feed, b"")


def _pause(app: App, feed: str, body: bytes) -> list[Start]:
    """Take nothing of the feed until it is resumed. What runs goes on."""
    _fields(body, {})
    app.feed_states.pause(_known(app, feed), to_text(app.now()))
    return []


def _resume(app: App, feed: str, body: bytes) -> list[Start]:
    """Take the feed up again, with what came meanwhile."""
    _fields(body, {})
    app.feed_states.resume(_known(app, feed))
    if _is_pulled(app, feed):
        return [triggers.sync_job(feed)]
    return [
        *triggers.open_notifications(app, feed=feed, failed=True, by_hand=feed),
        *triggers.missed_files(app, feed, by_hand=feed),
    ]


_ACTIONS: Mapping[str, Callable[[App, str, bytes], list[Start]]] = {
    "run": _run, "backfill": _backfill, "pause": _pause, "resume": _resume,
}  # fmt: skip


def _known(app: App, feed: str) -> str:
    if "\0" in feed:  # which not every database can even be asked for
        raise RequestRefused(404, "there is no such feed")
    try:
        return known_feed(feed, app.systems, app.warehouse)
    except ConfigError as error:
        raise RequestRefused(404, str(error)) from error


def _is_pulled(app: App, feed: str) -> bool:
    system = app.systems.get(feed.partition(".")[0])
    return system is not None and system.pulled


def _fields(body: bytes, known: Mapping[str, Callable[[str, Any], Json]]) -> dict[str, Json]:
    """The fields of a JSON object, each checked; no body is an empty one."""
    try:
        told = json.loads(body.decode()) if body.strip() else {}
    except (ValueError, RecursionError) as error:
        raise RequestRefused(400, "the body is not JSON") from error
    if not isinstance(told, dict):
        raise RequestRefused(400, "the body is not a JSON object")
    for name in told:
        if name not in known:
            raise RequestRefused(400, f"{name[:50]!r} is not known here; known are {', '.join(known) or 'no fields'}")
    return {name: known[name](name, value) for name, value in told.items()}


def _share(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise RequestRefused(400, f"{name} must be a number from 0 to 1")
    return float(value)


def _instant(name: str, value: Any) -> str:
    try:
        return to_text(dt.datetime.fromisoformat(value))
    except (TypeError, ValueError, OverflowError) as error:
        raise RequestRefused(400, f"{name} must be a time such as 2026-02-24T00:00:00Z") from error

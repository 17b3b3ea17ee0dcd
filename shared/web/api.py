"""The operations API but for HTTP itself: how a job stands, what may be done to a feed, whether the app is up."""

from __future__ import annotations

import datetime as dt
import re

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from shared.errors import ConfigError, RequestRefused
from shared.jobs import triggers
from shared.jobs.actions import Action, record_action
from shared.jobs.event_jobs import open_events
from shared.jobs.feed_state import FeedStates
from shared.jobs.request import Start
from shared.jobs.run_log import DocumentedRuns
from shared.jobs.triggers import Wanted
from shared.jobs.view import job_loading, read_record, view
from shared.model import FeedName, to_text
from shared.pipeline.backfill import BackfillRequest, backfill_each, under_way
from shared.pipeline.checks import health as health_checks
from shared.pipeline.feeds import declared, known_feed
from shared.pipeline.spans import Span, span_of
from shared.pipeline.status import FeedStatus, Filter, overview
from shared.pipeline.sync import feeds_to_sync
from shared.redaction import redact
from shared.web.responses import Response

if TYPE_CHECKING:
    from shared.app import App

T = TypeVar("T", bound=BaseModel)
_CALLER = "the API"
"""Who acts, if the caller does not say it."""


def job_id(text: str) -> str:
    """*text* if a job may have that id."""
    if not re.fullmatch(r"(blob|folder|export|sync|keys|search|events):[A-Za-z0-9_.-]{1,80}(~[0-9]{1,3})?", text):
        raise RequestRefused(404, "there is no such job")
    return text


def job(app: App, id: str, host: Mapping[str, Any] | None) -> Response:
    """How a job stands; *host* is what the host says of its orchestration."""
    found = view(app.documents, id, host)
    if found is None:
        raise RequestRefused(404, "there is no such job")
    return Response(200, found)


def feeds(app: App, query: Mapping[str, str]) -> Response:
    """Every feed as it stands, as the status page has it: those that a filter takes."""
    chosen = chosen_filter(query, app.now())
    found = overview(declared(app.systems), DocumentedRuns(app.documents, app.now), app.now(), chosen)
    return Response(200, {"feeds": [_feed(one) for one in found.feeds]})


def chosen_filter(query: Mapping[str, str], now: dt.datetime) -> Filter:
    """The feeds of a ``system``, in a ``state``, with a ``text``, with a run in a time. RequestRefused (400)."""
    return Filter(
        system=query.get("system", ""), state=query.get("state", ""), text=query.get("text", ""),
        span=chosen_span(query, now),
    )  # fmt: skip


def chosen_span(query: Mapping[str, str], now: dt.datetime) -> Span:
    """The time that ``when``, or ``from`` and ``to``, name. RequestRefused (400) if they name none."""
    try:
        return span_of(query, now)
    except ValueError as error:
        raise RequestRefused(400, str(error)) from error


def _feed(feed: FeedStatus) -> dict[str, Any]:
    last = feed.runs.last
    run = None if last is None else {
        "status": last.status, "started": last.started, "finished": last.finished, "run": last.run, "job": last.job,
        "error": last.error, "note": last.note, "counts": dict(last.counts),
    }  # fmt: skip
    return {"feed": feed.name, "state": feed.state, "age": feed.age, "limit": feed.limit, "last_run": run}


def health(app: App, *, deep: str | None) -> Response:
    """That the app is up; *deep*, if not empty or false, queries all it needs: 503 if something does not answer."""
    if deep is None or deep.lower() in ("", "0", "false"):
        return Response(200, {"status": "ok", "feeds": len(declared(app.systems))})
    checks = health_checks(
        settings=app.settings, documents=app.documents, ledger=app.ledger, warehouse=app.warehouse, others=app.others,
        systems=app.systems,
    )  # fmt: skip
    found = [replace(one, message=redact(one.message), fix=redact(one.fix)) for one in checks]
    failed = any(one.status == "failed" for one in found)
    body = {"status": "failed" if failed else "ok", "checks": [asdict(one) for one in found]}
    return Response(503 if failed else 200, body)


def run_action(app: App, feed: str, action: str, body: bytes, by: str | None = None) -> list[Start]:
    """Run, backfill, pause or resume a feed. The jobs to start for it. It is kept that *by* did so."""
    name = action.lower()  # the host's routes ignore case
    chosen = _ACTIONS[name]
    resolved = app.resolved_where_possible([FeedName.parse(feed).system])
    request = _parse(chosen.body, body)
    starts = chosen.run(resolved, feed, request)
    keep_action(app, feed, name, by or str(getattr(request, "by", _CALLER)), _detail(request))
    return starts


def retry_job(app: App, id: str, by: str | None = None) -> list[Start]:
    """Take up again what failed in a job that has ended: the jobs to start for its feeds."""
    record = read_record(app.documents, id)
    if record is None:
        raise RequestRefused(404, "there is no such job, or it has not ended")
    failed = dict.fromkeys(one.feed for one in record.outcomes if one.status == "failed" and one.feed)
    if not failed:
        raise RequestRefused(409, "nothing of a known feed failed in this job")
    starts: dict[str, Start] = {}
    for feed in failed:
        resolved = app.resolved_where_possible([FeedName.parse(feed).system])
        starts |= {start.job: start for start in _run(resolved, feed, RunBody())}
        keep_action(app, feed, "retry", by or _CALLER, id)
    return list(starts.values())


def keep_action(app: App, feed: str, action: str, by: str, detail: str = "") -> None:
    """Keep who did what to a feed."""
    record_action(app.documents, Action(at=to_text(app.now()), feed=feed, action=action, by=by, detail=detail))


def _detail(request: BaseModel) -> str:
    given = request.model_dump(exclude_defaults=True, exclude={"by"})
    return ", ".join(f"{name} {value}" for name, value in given.items())


def run_system(app: App, system: str, tables: str | None, body: bytes) -> Start:
    """The job that syncs pull feeds of a system now: those named in *tables*, with commas, or all of them."""
    _parse(NoBody, body)
    named = [name.strip().removeprefix(f"{system}.") for name in (tables or "").split(",") if name.strip()]
    systems = app.resolved(system).systems
    try:
        feeds = feeds_to_sync(systems, system, named)
    except ConfigError as error:
        raise RequestRefused(404, str(error)) from error
    chosen = [feed.table for feed in feeds] if named else []
    return replace(triggers.system_job(system, chosen), requested_by=system)


# -- bodies of requests


def _not_null(value: object) -> object:
    if value is None:
        raise ValueError("a field without a value is left out")
    return value


class NoBody(BaseModel, extra="forbid", strict=True):
    """Nothing, or an empty object."""


class RunBody(NoBody):
    """How to run a feed."""

    max_delete_share: Annotated[float | None, Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(_not_null)] = None
    all_again: bool = False


class BackfillBody(NoBody):
    """From where on to load or read again, and who wants it."""

    to: Annotated[str | None, BeforeValidator(_not_null)] = None
    reset: bool = False
    by: Annotated[str, Field(min_length=1, max_length=200)] = _CALLER


_EXPECTED = {
    "max_delete_share": "a number from 0 to 1",
    "all_again": "true or false",
    "to": "a text: a time such as 2026-02-24T00:00:00Z, or a number if the feed is read by one",
    "reset": "true or false",
    "by": "a name of 1 to 200 characters",
}


def _parse(kind: type[T], body: bytes) -> T:
    """The body of a request; no body is an empty object. RequestRefused (400) names the field that is wrong."""
    try:
        return kind.model_validate_json(body if body.strip() else b"{}")
    except ValidationError as error:
        raise RequestRefused(400, _problem(error, kind)) from error


def _problem(error: ValidationError, kind: type[BaseModel]) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    if not first["loc"]:
        return "the body is not a JSON object" if first["type"] == "model_type" else "the body is not JSON"
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        known = ", ".join(kind.model_fields) or "no fields"
        return f"{name[:50]!r} is unknown; known are {known}"
    return f"{name} must be {_EXPECTED[name]}"


# -- actions


def _run(app: App, feed: str, body: RunBody) -> list[Start]:
    """Read a pull feed now, or load what the exports container has of a push feed, work that failed before too."""
    known(app, feed)
    wanted = Wanted(
        feed=feed, failed=True, requested_by=feed, max_delete_share=body.max_delete_share, all_again=body.all_again
    )
    return _starts(app, wanted, feed)


def _backfill(app: App, feed: str, body: BackfillBody) -> list[Start]:
    """Forget what was exported, or read, since ``to``, and load it again."""
    known(app, feed)
    if (body.to is None) != body.reset:
        raise RequestRefused(400, f"write either reset, as true, or to, as {_EXPECTED['to']}")
    if job_loading(app.documents, feed, app.now().timestamp() - app.settings.stuck_after):
        raise under_way(feed)
    request = BackfillRequest(feed=feed, to=body.to, requested_by=body.by, now=to_text(app.now()))
    try:
        backfill_each(request, app.resolved(FeedName.parse(feed).system).runner)
    except ConfigError as error:
        raise RequestRefused(400, str(error)) from error
    return _run(app, feed, RunBody())


def _pause(app: App, feed: str, _body: NoBody) -> list[Start]:
    """Load nothing of the feed until it is resumed. Jobs that are running go on."""
    FeedStates(app.documents).pause(known(app, feed), to_text(app.now()))
    return []


def _resume(app: App, feed: str, _body: NoBody) -> list[Start]:
    """Resume the feed, and load what came meanwhile."""
    FeedStates(app.documents).resume(known(app, feed))
    if _is_pulled(app, feed):
        return [triggers.sync_job(feed), *open_events(app, Wanted(feed=feed, failed=True))]
    wanted = Wanted(feed=feed, requested_by=feed)
    return _push_jobs(app, wanted, notified=replace(wanted, failed=True))


def _starts(app: App, wanted: Wanted, feed: str) -> list[Start]:
    if _is_pulled(app, feed):
        return [wanted.start(triggers.sync_job(feed)), *open_events(app, wanted)]
    return _push_jobs(app, wanted, notified=wanted)


def _push_jobs(app: App, wanted: Wanted, *, notified: Wanted) -> list[Start]:
    """The jobs of kept notifications, and one that looks for files: to list a large container takes minutes."""
    search = [triggers.search_job(wanted)] if app.settings.exports_url else []
    return [*triggers.open_notifications(app, notified), *search]


class _Action(NamedTuple):
    body: type[BaseModel]
    run: Callable[[App, str, Any], list[Start]]


_ACTIONS: Mapping[str, _Action] = {
    "run": _Action(RunBody, _run), "backfill": _Action(BackfillBody, _backfill), "pause": _Action(NoBody, _pause),
    "resume": _Action(NoBody, _resume),
}  # fmt: skip


def known(app: App, feed: str) -> str:
    """*feed* if it is one. RequestRefused (404) if not."""
    if "\0" in feed:  # some databases cannot even be queried for it
        raise RequestRefused(404, "there is no such feed")
    try:
        return known_feed(feed, app.systems, app.warehouse)
    except ConfigError as error:
        raise RequestRefused(404, str(error)) from error


def _is_pulled(app: App, feed: str) -> bool:
    name = FeedName.parse(feed)
    return name.system in app.systems and app.systems[name.system].is_pulled(name.table)

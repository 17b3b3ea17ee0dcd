"""The end of a job: its units in one summary, the alert about it, its follow-ups."""

from __future__ import annotations

import json

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from shared.alerts.decide import Summary, alert_for_summary, alert_key, summarize
from shared.documents import Documents, to_json
from shared.jobs import documents, followups
from shared.jobs.documents import TableDocuments
from shared.jobs.events import Events
from shared.jobs.notifications import Notifications
from shared.jobs.reports import alerts_of, job_link
from shared.jobs.request import (
    FinishRequest,
    JobRequest,
    NotifiedFiles,
    ObjectEvents,
    PullFeed,
    PullSystem,
    UnitOutcome,
)
from shared.model import MAIN, Watermark, from_json, from_text, to_text
from shared.pipeline.destinations import destinations_of

if TYPE_CHECKING:
    from shared.app import App


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """How a job ended the last time. Kept until it is older than KEEP_JOBS."""

    started: str
    """Text of records, as ``finished``."""
    finished: str
    summary: Summary
    outcomes: tuple[UnitOutcome, ...]
    retryable: bool = False
    """Whether some of the units may succeed later without anybody's help."""


def finish(app: App, request: FinishRequest) -> dict[str, Any]:
    """Summarize the units of the job, alert, call what follows it, and remove its documents."""
    record = _keep(app.documents, request, _record(app, request))
    summary, work = record.summary, request.work
    _alert(app, request, summary)
    if isinstance(work, NotifiedFiles):
        followups.follow_notification(app, work.id, summary, started=record.started, retryable=record.retryable)
        if not record.retryable and not summary.failed:
            Notifications(app.documents).remove(work.id)
    elif isinstance(work, ObjectEvents):
        if not record.retryable and not summary.failed:
            Events(app.documents).remove(work)
    elif not isinstance(work, PullFeed | PullSystem) and summary.done:
        followups.follow_later(app, summary)
    only_unit = request.units == 1 and request.outcome is not None and request.outcome.status in ("done", "no news")
    documents.remove(app.documents, request, only_unit=only_unit)
    return {"status": summary.status, "files": summary.files, "done": summary.done, "failed": summary.failed}


def read_record(store: Documents, job: str) -> JobRecord | None:
    """How the job ended the last time; None if it never did."""
    content = store.get(_name(job))
    return None if content is None else from_json(JobRecord, _upgraded(json.loads(content)))


def has_ended(app: App, request: JobRequest) -> bool:
    """Whether the step was delivered once more after the job of its feed, or system, had ended."""
    if request.table is not None:
        return not TableDocuments(app.documents, request).is_taken(request.table)
    record = read_record(app.documents, request.job)
    return record is not None and record.started >= request.started


def _keep(store: Documents, request: FinishRequest, record: JobRecord) -> JobRecord:
    """Keep *record*, and return what the execution of the job is summarized as: the first record wins."""
    if store.add(_name(request.job), to_json(asdict(record))):
        return record
    before = read_record(store, request.job)
    if before is not None and before.started >= request.started:
        return before
    # A job that found all its work loaded has nothing to add to what an earlier one of this id did.
    is_news = before is None or record.retryable or record.summary.skipped < record.summary.files
    kept = record if is_news or before is None else replace(before, started=request.started)
    store.put(_name(request.job), to_json(asdict(kept)))
    return record


def _record(app: App, request: FinishRequest) -> JobRecord:
    outcomes = unit_outcomes(app, request)
    if isinstance(request.work, PullFeed):
        outcomes = [
            one for windows in by_destination(outcomes) for one in _with_behind(app, request.work.feed, windows)
        ]
    began, now = from_text(request.started), to_text(app.now())
    ended = from_text(now)
    assert began is not None  # noqa: S101 - both are times
    assert ended is not None  # noqa: S101
    summary = summarize(
        request.job, request.what or request.work.title, [outcome.to_json() for outcome in outcomes],
        max(0.0, (ended - began).total_seconds()), job_link(app.settings, request.job),
    )  # fmt: skip
    retryable = any(outcome.retryable for outcome in outcomes)
    return JobRecord(
        started=request.started, finished=now, summary=summary, outcomes=tuple(outcomes), retryable=retryable
    )  # fmt: skip


def _with_behind(app: App, feed: str, windows: Sequence[UnitOutcome]) -> list[UnitOutcome]:
    return [*windows[:-1], replace(windows[-1], behind=seconds_behind(app, feed, windows))]


def by_destination(outcomes: Sequence[UnitOutcome]) -> list[list[UnitOutcome]]:
    """Those of each destination, the first of the feed first."""
    names = dict.fromkeys((None, *(one.destination for one in outcomes)))
    found = [[one for one in outcomes if one.destination == name] for name in names]
    return [windows for windows in found if windows]


def unit_outcomes(app: App, request: FinishRequest) -> list[UnitOutcome]:
    """What became of the units of a job, or of the windows of a table, by number and destination."""
    last = {request.units - 1: request.outcome} if request.outcome else {}
    known = {**documents.outcomes(app.documents, request, range(request.units - len(last))), **last}
    several = any(len(system.all_destinations()) > 1 for system in app.systems.values())
    if len(known) == request.units and not several:
        return [known[number] for number in range(request.units)]
    others = documents.outcomes_of_others(app.documents, request) if several else {}
    firsts = {**_lost(app, request, {number for number, _ in others}), **known}
    missing = {
        (number, name): replace(_LOST, feed=one.feed, place=one.place, destination=name)
        for number, one in firsts.items()
        for name in _expected(app, request, one)
    }
    found = {**{(number, ""): one for number, one in firsts.items()}, **missing, **others}
    return [found[place] for place in sorted(found)]


_LOST = UnitOutcome(status="failed", place="", error="its orchestration ended without an outcome", retryable=True)


def _expected(app: App, request: FinishRequest, first: UnitOutcome) -> Sequence[str]:
    """The destinations that a unit must have beside the first. Of windows, each may have its own number."""
    if first.feed is None or first.error == _LOST.error or isinstance(request.work, PullFeed):
        return ()
    return destinations_of(app.runner, first.feed)[1:]


def _lost(app: App, request: FinishRequest, known: Collection[int]) -> dict[int, UnitOutcome]:
    """The outcomes of units that nothing is *known* of in any destination."""
    is_system = isinstance(request.work, PullSystem)
    feeds = TableDocuments(app.documents, request).read() if is_system else []
    places = dict(enumerate(feeds))
    return {
        number: replace(_LOST, place=places.get(number, f"unit {number}"), feed=places.get(number))
        for number in range(request.units)
        if number not in known
    }


def seconds_behind(app: App, feed: str, windows: Sequence[UnitOutcome]) -> float | None:
    """Seconds of the source's time that a pull feed has not read: 0 once it has caught up; None if not known."""
    if all(window.status in ("done", "no news") for window in windows) and not windows[-1].more:
        return 0.0
    runner = app.runner
    name = windows[-1].destination or destinations_of(runner, feed)[0]
    mark = runner.of(name).ledger.watermark(feed) if name == MAIN or name in runner.others else Watermark()
    seen = from_text(mark.value) if mark.type == "timestamp" else None
    return max(0.0, (app.now().replace(tzinfo=None) - seen).total_seconds()) if seen else None


def _alert(app: App, request: FinishRequest, summary: Summary) -> None:
    """Exports and syncs are reported when they end; a file that arrived by itself only if there is something to do."""
    if not summary.done and not summary.no_news and not summary.failed:
        return
    alert = alert_for_summary(summary)
    if alert.severity == "info" and not request.work.always_reported:
        return
    # Each success is reported. A repeated job that fails in the same way as before is not.
    what = request.started if summary.status == "done" else "\n".join(summary.failures)
    alerts_of(app).send(replace(alert, key=alert_key("summary", f"{summary.job} {summary.status} {what}")))


def _name(job: str) -> str:
    return f"jobs/{job}/summary"


def _upgraded(content: Mapping[str, Any]) -> dict[str, Any]:
    """A record as it is written now: in earlier versions ``retryable`` was ``again``, and ``passing`` of an outcome."""
    outcomes = [
        {**outcome, "retryable": outcome.get("retryable", outcome.get("passing", False))}
        for outcome in content["outcomes"]
    ]
    return {**content, "outcomes": outcomes, "retryable": content.get("retryable", content.get("again", False))}

"""The end of a job: its units in one summary, the alert about it, its follow-ups."""

from __future__ import annotations

import json

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from shared.alerts.decide import Summary, alert_for_summary, alert_key, summarize
from shared.documents import Documents, to_json
from shared.jobs import documents, followups
from shared.jobs.documents import TableDocuments
from shared.jobs.notifications import Notifications
from shared.jobs.reports import alerts_of, job_link
from shared.jobs.request import FinishRequest, NotifiedFiles, PullFeed, PullSystem, UnitOutcome, UnitRequest
from shared.model import from_json, from_text, to_text

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
    elif not isinstance(work, PullFeed | PullSystem) and summary.done:
        followups.follow_later(app, summary)
    only_unit = request.units == 1 and request.outcome is not None and request.outcome.status in ("done", "no news")
    documents.remove(app.documents, request, only_unit=only_unit)
    return {"status": summary.status, "files": summary.files, "done": summary.done, "failed": summary.failed}


def read_record(store: Documents, job: str) -> JobRecord | None:
    """How the job ended the last time; None if it never did."""
    content = store.get(_name(job))
    return None if content is None else from_json(JobRecord, _upgraded(json.loads(content)))


def has_ended(app: App, request: UnitRequest) -> bool:
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
    outcomes = unit_outcomes(app.documents, request)
    if isinstance(request.work, PullFeed):
        outcomes[-1] = replace(outcomes[-1], behind=seconds_behind(app, request.work.feed, outcomes))
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


def unit_outcomes(store: Documents, request: FinishRequest) -> list[UnitOutcome]:
    """What became of the units of a job, or of the windows of a table, by number."""
    last = {request.units - 1: request.outcome} if request.outcome else {}
    known = {**documents.outcomes(store, request, range(request.units - len(last))), **last}
    lost = UnitOutcome(status="failed", place="", error="its orchestration ended without an outcome", retryable=True)
    if len(known) == request.units:
        return [known[number] for number in range(request.units)]
    feeds = TableDocuments(store, request).read() if isinstance(request.work, PullSystem) else []
    named = dict(enumerate(replace(lost, place=feed, feed=feed) for feed in feeds))
    unnamed = {number: replace(lost, place=f"unit {number}") for number in range(request.units)}
    return list({**unnamed, **named, **known}.values())


def seconds_behind(app: App, feed: str, windows: Sequence[UnitOutcome]) -> float | None:
    """Seconds of the source's time that a pull feed has not read: 0 once it has caught up; None if not known."""
    if all(window.status in ("done", "no news") for window in windows) and not windows[-1].more:
        return 0.0
    mark = app.ledger.watermark(feed)
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

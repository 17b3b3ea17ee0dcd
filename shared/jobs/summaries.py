"""Whole jobs: what they ask for, how they are summed up and told of, and what can be seen of them meanwhile."""

from __future__ import annotations

import datetime as dt

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from shared import alerts
from shared.alerts import Summary
from shared.documents import read_json, to_json
from shared.errors import ConfigError
from shared.jobs import activities, followups, job_documents, work_items
from shared.model import Json, from_json, from_text, to_text
from shared.pipeline.runner import log_job

if TYPE_CHECKING:
    from shared.app import App
    from shared.web.webhooks.coolr import Notification

PENDING = "downstream/pending"
"""Since when files have come one by one, and the summary of the last, until those who wait have been told of it."""
_QUIET_SECONDS, _LONGEST_SECONDS = 900.0, 3_600.0


def do(app: App, step: str, ask: Json) -> Json:
    """Do one of ``shared.jobs.orchestrations.STEPS``; what is logged meanwhile names the job."""
    with log_job(ask["job"]):
        return _STEPS[step](app, ask)


def open_notice(app: App, ask: Json) -> Json:
    """How many ``units`` the notification asks for, and ``what`` it is about."""
    try:
        noticed = work_items.notification(app, ask["work"]["notice"])
    except ConfigError as error:  # delivered once more after the job had ended
        return {"status": "over", "error": str(error)}
    return {"units": len(work_items.tables(noticed)), "what": describe_notification(noticed)}


def finish(app: App, ask: Json) -> Json:
    """Sum up the ``units`` of the job, tell of it, call those who wait for it, and clear its documents away."""
    kept = _sum_up(app, ask)
    summary = from_json(Summary, kept["summary"])
    _tell(app, ask, summary)
    if "notice" in ask["work"]:
        _follow_once(app, ask, kept)
        if not kept["again"] and not summary.failed:
            app.documents.delete(f"notices/{ask['work']['notice']}")
    elif "feed" not in ask["work"] and summary.done and (app.settings.downstream_url or app.settings.powerbi_dataset):
        _await_quiet(app, kept["summary"])
    job_documents.remove(app.documents, job_documents.folder(ask))
    return {"status": summary.status, "files": summary.files, "done": summary.done, "failed": summary.failed}


def _sum_up(app: App, ask: Json) -> Json:
    """What became of the job: computed once, however often this is asked."""
    before = read_json(app.documents, _summary(ask["job"]))
    if before is not None and before["started"] >= ask["started"]:
        return dict(before)
    kept = _concluded(app, ask)
    # A job that found all its work done says nothing new of what an earlier one of this id did.
    is_news = before is None or kept["again"] or kept["summary"]["skipped"] < kept["summary"]["files"]
    app.documents.put(_summary(ask["job"]), to_json(kept if is_news else {**before, "started": ask["started"]}))
    return kept


def view(app: App, job: str, host: Json | None) -> Json | None:
    """A job as it is: how its orchestration stands, and what became of its units, each with its counts.

    *host* is what the host says of the orchestration, if it knows it still. None if nobody knows the job.
    """
    kept = read_json(app.documents, _summary(job))
    if host is None and kept is None:
        return None
    told = {"job": job, **(host or {"state": "completed"})}
    if kept is not None and told["state"] == "completed":
        summary = kept["summary"]
        return {
            **told,
            "state": summary["status"],
            "again": kept["again"],
            "summary": summary,
            "units": kept["outcomes"],
        }
    folder = f"jobs/{job}/"
    # What an earlier job of this id left behind, which was ended before it could clear up, is older.
    times = {entry.name[len(folder) :].partition("/")[0] for entry in app.documents.entries(folder)} - {"summary"}
    units = (
        sorted(job_documents.outcomes(app.documents, f"{folder}{max(times)}/"), key=lambda one: one[0]) if times else []
    )
    return {**told, "again": False, "summary": None, "units": [outcome for _, outcome in units]}


def run_followups(app: App) -> None:
    """Tell those who wait for exports of files that came one by one: once none has come for a while, or in any case
    after an hour."""
    waiting = read_json(app.documents, PENDING)
    if waiting is None:
        return
    quiet = to_text(app.now() - dt.timedelta(seconds=_QUIET_SECONDS))
    longest = to_text(app.now() - dt.timedelta(seconds=_LONGEST_SECONDS))
    if waiting["last"] <= quiet or waiting["since"] <= longest:
        followups.run_followups(app.settings, from_json(Summary, waiting["summary"]), app.token)
        if read_json(app.documents, PENDING) == waiting:  # else another file has come meanwhile
            app.documents.delete(PENDING)


def _await_quiet(app: App, summary: Json) -> None:
    now, waiting = to_text(app.now()), read_json(app.documents, PENDING)
    since = waiting["since"] if waiting else now
    app.documents.put(PENDING, to_json({"since": since, "last": now, "summary": summary}))


def _follow_once(app: App, ask: Json, kept: Json) -> None:
    """Call those who wait for the export once it is loaded, by this job or by one that died before it came here."""
    summary, name = from_json(Summary, kept["summary"]), f"followed/{ask['work']['notice']}"
    followed, now = app.documents.get(name), str(kept["started"]).encode()
    if summary.status != "done" or kept["again"] or followed == now:
        return
    if summary.done or followed is None:
        followups.run_followups(app.settings, summary, app.token)
        app.documents.put(name, now)


def _concluded(app: App, ask: Json) -> Json:
    known = dict(job_documents.outcomes(app.documents, job_documents.folder(ask)))
    lost: Json = {"status": "failed", "error": "its orchestration ended without an outcome", "passing": True}
    outcomes = [known.get(number, {**lost, "place": f"unit {number}"}) for number in range(int(ask["units"]))]
    began = from_text(ask["started"])
    assert began is not None  # noqa: S101 - every job has begun
    seconds = (app.now().replace(tzinfo=None) - began).total_seconds()
    summary = alerts.summarize(ask["job"], _what(ask), outcomes, max(0.0, seconds), app.job_link(ask["job"]))
    again = any(outcome.get("passing") for outcome in outcomes)
    at = {"started": ask["started"], "finished": to_text(app.now())}
    return {**at, "summary": asdict(summary), "outcomes": outcomes, "again": again}


def describe_notification(noticed: Notification) -> str:
    """The export that a notification is about, for people."""
    return f"export {noticed.kind.capitalize()} of {noticed.client}, {noticed.exported_at[:16].replace('T', ' ')}"


def _what(ask: Json) -> str:
    work = ask["work"]
    if "feed" in work:
        return f"sync {work['feed']}"
    return str(ask.get("what") or f"file {work.get('file') or work.get('folder')}")


def _tell(app: App, ask: Json, summary: Summary) -> None:
    """Exports and syncs are summed up; a file that came by itself is told of only if it is worth it."""
    if not summary.done and not summary.failed:
        return
    alert = alerts.alert_for_summary(summary)
    if alert.severity == "info" and not {"feed", "notice"} & ask["work"].keys():
        return
    # Each that went well is told of; one that fails again in the same way, as a job that is repeated may, is not.
    which = ask["started"] if summary.status == "done" else "\n".join(summary.failures)
    app.alerts.tell(replace(alert, key=alerts.alert_key("summary", f"{summary.job} {summary.status} {which}")))


_STEPS: Mapping[str, Callable[[App, Json], Json]] = {
    "open_notice": open_notice, "plan": activities.plan, "stage": activities.stage, "miss": activities.record_failure,
    "publish": activities.publish, "tidy": activities.tidy, "give_up": activities.fail, "conclude": finish,
}  # fmt: skip


def concluded(app: App, job: str) -> Json | None:
    """How the job ended the last time: ``finished``, ``summary``, ``outcomes``, and ``again`` if some may pass."""
    return read_json(app.documents, _summary(job))


def _summary(job: str) -> str:
    return f"jobs/{job}/summary"

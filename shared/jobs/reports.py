"""How jobs report: alerts, which are kept as ``alerts/<time>-<key>``, and links to the page of a job."""

from __future__ import annotations

import json

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from shared.alerts.decide import Alert, alert_for_failure, alert_for_run
from shared.alerts.send import Alerts
from shared.azure import urls
from shared.documents import Documents, to_json
from shared.documents.throttle import AlertThrottle
from shared.jobs.request import JobRequest, UnitOutcome
from shared.model import Run, from_json, to_text
from shared.text import one_line, plain

if TYPE_CHECKING:
    from shared.app import App
    from shared.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class SentAlert:
    """An alert as it is kept: without what signs in."""

    at: str
    """Text of records."""
    kind: str
    severity: str
    title: str
    text: str


def alerts_of(app: App) -> Alerts:
    """The alerts of the app, each sent once in a while whichever process has it to send."""

    def keep(alert: Alert) -> None:
        at, key = to_text(app.now()), alert.key
        sent = {
            "kind": alert.kind,
            "severity": alert.severity,
            "title": one_line(alert.title),
            "text": plain(alert.text),
        }
        app.documents.put(f"alerts/{at}-{key}", to_json({"at": at, **sent}))

    return Alerts(app.settings, AlertThrottle(app.documents, app.now), on_sent=keep)


def sent_alerts(documents: Documents, limit: int = 100) -> list[SentAlert]:
    """The last alerts that were sent and are kept, newest first."""
    names = [one.name for one in documents.entries("alerts/")][-limit:]
    found = (documents.get(name) for name in reversed(names))
    return [from_json(SentAlert, json.loads(content)) for content in found if content is not None]


def job_link(settings: Settings, job: str) -> str:
    """The URL of a job in the operations API."""
    host = settings.website_hostname
    scheme = "http" if urls.is_loopback(host.partition(":")[0]) else "https"
    return f"{scheme}://{host}/api/jobs/{quote(job)}"


def alert_of_unit(app: App, request: JobRequest, outcome: UnitOutcome, run: Run | None) -> None:
    """Alert that a unit failed, at once. A table of a system is reported by the summary: a server may fail them all."""
    if request.table is not None:
        return
    link = job_link(app.settings, request.job)
    run = replace(run, error=outcome.error) if run and outcome.destination else run
    alert = alert_for_run(run, outcome.place, link) if run else alert_for_failure(outcome.to_json(), link)
    if alert is not None:
        alerts_of(app).send(alert)

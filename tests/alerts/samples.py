"""Runs, summaries and a pretend HTTP session that tests of alerts and follow-ups share."""

from __future__ import annotations

import io
import json

import requests

from shared.alerts.decide import Alert, alert_key
from shared.model import Run
from shared.settings import Settings

SECRET = "https://hooks.example.test/services/T0123456/B0123456/canary7890canary7890?sig=canary"
RUN = Run(id="r1", feed="coolr.location", kind="delta", started="2026-02-24T12:00:00.000000", read=1204)
DONE = {"feed": "coolr.location", "place": "Full/Acme/20260224120000/location.parquet", "status": "done"}
FAILED = {"feed": "coolr.asset", "place": "Full/Acme/20260224120000/asset.parquet", "status": "failed"}
NO_NEWS = {"feed": "coolr.order", "place": "coolr.order", "status": "no news"}
SKIPPED = {"feed": "coolr.visit", "place": "Full/Acme/20260224120000/visit.parquet", "status": "skipped"}
ALERT = Alert(
    kind="stale",
    title="coolr.location is late",
    text="Nothing came since 2026-02-24 12:00:00 UTC.\nIt is <expected> & due.",
    facts=(("Feed", "coolr.location"), ("Last", "a [b](http://c)")),
    link="https://sluice.example.test/api/jobs/j1?code=canary",
    severity="warning",
    key=alert_key("stale", "coolr.location"),
)


class Pretend(requests.adapters.BaseAdapter):
    """A server: a function from a request to status, headers and body, or to an error of the connection."""

    def __init__(self, answer):
        super().__init__()
        self._answer, self.seen = answer, []

    def send(self, request, **_options):
        self.seen.append(request)
        status, headers, body = self._answer(request)
        response = requests.Response()
        response.status_code, response.request, response.url = status, request, request.url
        response.headers.update(headers)
        response.raw = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        return response

    def close(self):
        pass


def session_with(answer):
    """A session that asks *answer*, and the requests it has seen."""
    pretend, session = Pretend(answer), requests.Session()
    session.mount("https://", pretend)
    session.mount("http://", pretend)
    return session, pretend.seen


def fails(error):
    """What a pretend server does that breaks the connection."""

    def answer(_request):
        raise error

    return answer


class Memory:
    """What has been sent, until its clock has moved on."""

    def __init__(self):
        self.now, self.known = 0.0, {}

    def first(self, key, within_seconds):
        if key in self.known and self.now - self.known[key] < within_seconds:
            return False
        self.known[key] = self.now
        return True

    def forget(self, key):
        self.known.pop(key, None)


def settings(**given):
    return Settings(**{"alert_url": SECRET, "alert_format": "json", **given})

"""Requests for pages over an app whose warehouse must not be queried, and feeds with hostile names and values."""

from __future__ import annotations

import base64
import html
import json
import re

from dataclasses import asdict, replace
from urllib.parse import urlencode

from shared.alerts.decide import summarize
from shared.app import App
from shared.documents import to_json
from shared.jobs.request import UnitOutcome
from shared.jobs.run_log import DocumentedRuns
from shared.jobs.summary import JobRecord
from shared.model import to_text
from shared.pipeline.status import RunReport, SliceReport
from shared.web.pages.sign_in import OPERATOR, READER, Principal
from shared.web.pages.site import Request, respond
from tests.exports import Clock, open_test_app

READS = Principal("1", "Rea", frozenset({READER}))
OPERATES = Principal("2", "Opal <b>", frozenset({OPERATOR}))
HOSTILE = "x.<script>alert(1)</script>\u202e\"'&" + "a" * 10_000
SCRIPT = "<script>alert(1)</script>"


class Forbidden:
    """A part of the app that must not be used."""

    def __getattr__(self, name):
        raise AssertionError(f"{name} was called")


def open_pages(tmp_path, clock=None, **env) -> App:
    """An app whose pages are read: its warehouse stays asleep."""
    app = open_test_app(tmp_path, clock or Clock(), STATE_URL=str(tmp_path / "state"), **env)
    return replace(app, warehouse=Forbidden())


def get(app, path="", principal=READS, **query):
    return respond(app, Request(method="GET", path=path, query=query, principal=principal))


def post(app, path, principal=OPERATES, fetched_from="", **form):
    body = urlencode(form).encode()
    return respond(
        app,
        Request(method="POST", path=path, query={}, principal=principal, body=body, fetched_from=fetched_from),
    )


def token(app, principal=OPERATES) -> str:
    """What the forms of a page have."""
    found = re.search(r'name="token" value="(\w+)"', text(get(app, "feed", principal, name="coolr.location")))
    return found[1] if found else ""


def text(page) -> str:
    return page.body.decode()


def words(page) -> str:
    """What a reader sees of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text(page))).split())


def report(app, feed="coolr.location", number=1, **more) -> RunReport:
    """A run of *feed*, kept as jobs keep it."""
    now = to_text(app.now())
    known = {
        "key": f"2026-02-24T{number:02}", "feed": feed, "status": "done", "started": now, "finished": now, "run": "r1",
        "job": "blob:1", "kind": "full", "place": "Full/Acme/location.parquet",
        "files": ("Full/Acme/location.parquet",),
        "counts": {"read": 1_000 * number, "inserted": 990 * number, "rejected": 10 * number},
        "reasons": {"wrong_type Amount": 10}, "seconds": 3.0, "size": 6_000_000, "log_rate": 50_000_000,
        "slices": (SliceReport(number=0, origin="location.parquet", rows=990, rejected=10, seconds=3.0),),
    }  # fmt: skip
    made = RunReport(**{**known, **more})
    DocumentedRuns(app.documents, app.now).add(made)
    return made


def ended_job(app, id="blob:1"):
    """A job one of whose files failed, kept as jobs keep it."""
    outcomes = (
        UnitOutcome(status="done", place="location.parquet", feed="coolr.location", read=10),
        UnitOutcome(status="failed", place="asset.parquet", feed="coolr.asset", error="it is damaged"),
    )
    now, summary = to_text(app.now()), summarize(id, "an export", [one.to_json() for one in outcomes], 4.0)
    record = JobRecord(started=now, finished=now, summary=summary, outcomes=outcomes)
    app.documents.put(f"jobs/{id}/summary", to_json(asdict(record)))


def principal_header(roles, name="Ada", id="7") -> str:
    """What App Service authentication sends of somebody with these roles."""
    claims = [{"typ": "oid", "val": id}, {"typ": "name", "val": name}, *({"typ": "roles", "val": one} for one in roles)]
    return base64.b64encode(json.dumps({"auth_typ": "aad", "claims": claims, "role_typ": "roles"}).encode()).decode()

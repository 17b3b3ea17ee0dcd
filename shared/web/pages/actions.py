"""What may be done on the pages: the same calls as the API's, and a download."""

from __future__ import annotations

import io
import json
import shlex

from typing import Any

from shared.errors import RequestRefused
from shared.model import MAIN
from shared.pipeline.feeds import known_feed
from shared.pipeline.replay import write_rejects
from shared.web import api
from shared.web.pages.render import HEADERS, Page, link, redirect
from shared.web.pages.views import Visit

_MOST_BYTES = 50_000_000
"""Of a download: an answer of Azure Functions is in memory as a whole."""


def act_on_feed(visit: Visit) -> Page:
    """Run, backfill, pause or resume a feed, or let a full through that deletes many rows."""
    feed, action = visit.form.get("name", ""), visit.form.get("action", "")
    bodies: dict[str, dict[str, Any]] = {
        "run": {}, "allow": {"max_delete_share": 1}, "pause": {}, "resume": {},
        "backfill": _backfill(visit),
    }  # fmt: skip
    if action not in bodies:
        raise RequestRefused(400, "there is no such action")
    if action == "allow" and visit.form.get("sure") != "yes":
        raise RequestRefused(400, "nothing was done: tick the box to allow deletions")
    name = "run" if action == "allow" else action
    starts = api.run_action(visit.app, feed, name, json.dumps(bodies[action]).encode(), by=visit.principal.name)
    return redirect(link("feed", name=feed, done=action), starts)


def _backfill(visit: Visit) -> dict[str, Any]:
    since = visit.form.get("to", "").strip()
    start = {"to": since} if since else {"reset": True} if visit.form.get("reset") == "yes" else {}
    return {**start, "by": visit.principal.name[:200] or "somebody"}


def retry_job(visit: Visit) -> Page:
    """Take up again what failed in a job."""
    id = api.job_id(visit.form.get("id", ""))
    starts = api.retry_job(visit.app, id, by=visit.principal.name)
    return redirect(link("job", id=id, done="retry"), starts)


def download_rejects(visit: Visit) -> Page:
    """The rejects of a feed, or of one run, as CSV. Only this page queries the warehouse, which may have to resume."""
    feed, run = visit.query.get("feed", ""), visit.query.get("run") or None
    history = visit.app.runner.of(visit.query.get("destination") or MAIN).warehouse
    known_feed(feed, visit.app.systems, history)
    content = _Download(feed)
    write_rejects(history, feed, run, content)
    api.keep_action(visit.app, feed, "rejects", visit.principal.name, f"run {run}" if run else "")
    headers = {**HEADERS, "Content-Disposition": 'attachment; filename="rejects.csv"'}
    return Page(200, content.getvalue(), "text/csv; charset=utf-8", headers)


class _Download(io.BytesIO):
    """A file in memory. RequestRefused (413) once it is too large for an answer."""

    def __init__(self, feed: str) -> None:
        super().__init__()
        self._feed = feed

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > _MOST_BYTES:
            command = f"sluice rejects {shlex.quote(self._feed)} --csv"
            raise RequestRefused(413, f"more than 50 MB were rejected: write them with `{command}`")
        return super().write(data)

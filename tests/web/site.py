"""The functions over an app with settings of its own, and files to load, for tests of the API."""

from __future__ import annotations

import datetime as dt
import json

import pyarrow as pa
import pyarrow.parquet as pq

from shared.jobs import activities
from tests.exports import Clock, open_test_app
from tests.standins.functions_host import functions_host
from tests.web.hostile_webhooks import HEADER, signature

FEED, PULLED, CLIENT, SECRET = "coolr.location", "shop.item", "Acme", "a secret of both sides"
ACTIONS = ("run", "backfill", "pause", "resume")
NOBODY = f"export:{'0' * 32}"


class Site:
    """The functions over an app with settings of its own; what they answer is kept."""

    def __init__(self, tmp_path, monkeypatch, stack):
        self._tmp_path, self._monkeypatch, self._stack = tmp_path, monkeypatch, stack
        self.answers, self.held, self.host = [], None, None
        # Of documents in a local folder it is the machine that says when they were written.
        self.clock = Clock(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))

    def opens(self, instead=None, **env):
        self.app = open_test_app(
            self._tmp_path, self.clock, instead=instead, STATE_URL=f"{self._tmp_path}/state", COOLR_CLIENT=CLIENT, **env
        )
        overrides = {"publish": self._held} if self.held else {}
        self.host = self._stack.enter_context(functions_host(self.app, self._monkeypatch, overrides=overrides))
        return self

    def _held(self, request):
        self.held.wait()
        return activities.run_activity(self.app, "publish", request)

    def sends(self, method, path, body=None, headers=None):
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        answer = self.host.request(method, path, content, headers)
        self.answers.append(answer)
        return answer

    def acts(self, action, feed=FEED, body=None):
        """The jobs that an action names, once they have ended."""
        answer = self.sends("POST", f"feeds/{feed}/{action}", body)
        assert answer.status == 202, answer
        return [self.ended(job) for one in answer.body["jobs"] for job in self.found(one["job"])]

    def found(self, job):
        """The jobs that a search has started, or the job itself."""
        return self.ended(job)["progress"]["jobs"] if job.startswith("search:") else [job]

    def ended(self, job):
        self.host.durable.wait(job)
        return self.sends("GET", f"jobs/{job}").body

    def notified(self, server, *names):
        reported = {
            "clientName": CLIENT, "exportType": "Delta", "exportDateTime": self.clock().isoformat(),
            "files": [{"fileName": name, "downloadUrl": f"{server.url}/{name}"} for name in names],
        }  # fmt: skip
        body = json.dumps(reported).encode()
        answer = self.sends("POST", "webhooks/coolr", body, {HEADER: signature(body, SECRET)})
        assert answer.status == 202, answer
        return answer.body["job"]


class Away:
    """A part of the app that must not be asked."""

    def __init__(self, error):
        self._error = error

    def __getattr__(self, name):
        raise self._error


def day(number):
    return dt.datetime(2026, 2, number)  # noqa: DTZ001 - naive UTC, as columns are


def parquet(*ids, key="LocationId", changed=20, groups=None):
    rows = [{key: n, "ModifiedOn": day(changed), "IsDeleted": False} for n in ids]
    content = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), content, row_group_size=groups)
    return content.getvalue().to_pybytes()


def blob(number, table="location", kind="Full"):
    return f"{kind}/{CLIENT}/202602{number:02}000000/{table}.parquet"


def outcomes(reported):
    """What became of the units of jobs: status, rows read, and why they were skipped."""
    return [(unit["status"], unit.get("read"), unit.get("skipped")) for job in reported for unit in job["units"]]

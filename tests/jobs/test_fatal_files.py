"""A file that kills the process which reads it is given up after three starts, whatever the way it kills."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from pathlib import Path

import psutil
import pytest

from shared.jobs.activities import run_activity
from shared.jobs.documents import UnitDocuments
from shared.jobs.request import SliceRequest
from shared.model import from_json, to_text
from shared.pipeline.starts import Starts
from tests.advice import advises
from tests.exports import Clock, open_test_app
from tests.jobs.job_steps import STARTED
from tests.quick import quick_if
from tests.servers.source_table import at, item

ROOT = Path(__file__).parents[2]
MEMORY = 600 << 20
"""Bytes of a process, above which its host kills it."""

READER = """
import json, os, signal, sys
from shared.app import open_app
from shared.jobs.activities import run_activity
from shared.sources.exports.parquet import ExportsSource
from shared.sources.sql.source import SqlSource

def abort(): os.abort()
def hang():
    print("reading", flush=True)
    signal.pause()
def eat():
    print("reading", flush=True)
    eaten = []
    while True: eaten.append(b"x" * (16 << 20))

env, step, kind = json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
ExportsSource.read = SqlSource.read = lambda self, part: {"abort": abort, "hang": hang, "eat": eat}[kind]()
run_activity(open_app(env), "stage", step)
"""
"""Stages a slice in a process of its own, with a reader that kills it or has to be killed."""


def request(work, **more):
    return {"job": "blob:1", "started": STARTED, "unit": 0, "work": work, **more}


def stage_in_a_process(app, step, kind, **more):
    """Let a process stage a slice, and kill it as a host does that runs out of patience or of memory."""
    env = {
        "WAREHOUSE_URL": app.settings.warehouse_url, "LEDGER_URL": app.settings.ledger_url,
        "STATE_URL": app.settings.state_url, "SLICE_ROWS": "5", **more,
    }  # fmt: skip
    arguments = [sys.executable, "-c", READER, json.dumps(env), json.dumps(step), kind]
    with subprocess.Popen(
        arguments, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    ) as process:
        if kind != "abort":
            assert "reading\n" == process.stdout.readline()
            while kind == "eat" and psutil.Process(process.pid).memory_info().rss < MEMORY:
                pass
            process.kill()
    return process.returncode


@pytest.mark.parametrize("kind", [quick_if(kind == "abort", kind) for kind in ("abort", "hang", "eat")])
def test_a_file_that_kills_its_process_is_given_up_after_three_starts(kind, loadable):
    """As wrong data, which nobody repeats by itself; the error says what to do."""
    app, work = loadable
    run_activity(app, "plan", request(work))
    step = request(work, slice=0)
    codes = [stage_in_a_process(app, step, kind) for _ in range(3)]

    given_up = run_activity(app, "stage", step)
    run_activity(app, "stage", request(work, slice=1))
    outcome = run_activity(app, "publish", request(work))

    assert all(code < 0 for code in codes), codes
    assert {"status": "fault"} == given_up
    assert ("failed", False) == (outcome["status"], outcome.get("retryable", False))
    assert "location.parquet ended the process 3 times while it was read" in outcome["error"]
    assert ["failed"] == [run.status for run in app.warehouse.runs()]


@pytest.fixture
def pulling(source_table, tmp_path):
    """An app with a feed that is pulled, and the settings of a process over it."""
    source_table.create(item(), {"Id": 1, "At": at(1)})
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "shop.toml").write_text(
        '[system]\nname = "shop"\nsource = "sql"\n[tables]\nitem = { keys = ["Id"], cursor = "At" }\n'
    )
    env = {"CATALOG_PATH": str(tmp_path / "catalog"), "SHOP_DATABASE_URL": source_table.url}
    clock = Clock()
    return open_test_app(tmp_path, clock, STATE_URL=str(tmp_path / "state"), **env), clock, env


def test_a_window_that_kills_its_process_is_not_begun_again_by_the_next_job(pulling):
    """Until a day has passed, or a person runs the feed, as the error says."""
    app, clock, env = pulling
    work = {"kind": "feed", "feed": "shop.item"}

    def plan(job, **more):
        started = to_text(clock.forward(minutes=15))
        step = {**request(work), "job": job, "started": started, **more}
        return step, run_activity(app, "plan", step)

    step, _ = plan("sync:1")
    codes = [stage_in_a_process(app, {**step, "slice": 0}, "abort", **env) for _ in range(3)]
    given_up = run_activity(app, "stage", {**step, "slice": 0})
    first = run_activity(app, "publish", step)
    run_activity(app, "tidy", step)
    _, second = plan("sync:2")

    assert ([-6] * 3, {"status": "fault"}) == (codes, given_up)
    assert ("failed", "failed") == (first["status"], second["status"])
    assert first["error"] == second["error"]
    advises(
        "Correct the rows at the source, or give the process more memory;"
        " then sync the table with --again, or run its feed",
        first["error"],
    )
    clock.forward(hours=24)
    step, later = plan("sync:3")
    assert {"slices": 1} == later
    run_activity(app, "tidy", step)
    Starts(app.ledger, "shop.item", "window from the beginning", "", "").give_up(clock())
    step, requested = plan("sync:4", requested_by="shop.item")
    assert {"slices": 1} == requested
    assert {"status": "staged"} == run_activity(app, "stage", {**step, "slice": 0})
    assert ("done", 1) == tuple(run_activity(app, "publish", step)[name] for name in ("status", "inserted"))


def test_starts_of_earlier_attempts_count(loadable):
    """A slice that hangs is ended with its job by the watchdog, before it has begun three times in any one job."""
    app, work = loadable
    for job in ("blob:1", "blob:1~2"):
        run_activity(app, "plan", request(work, job=job))
        begin(app, work, job)
    run_activity(app, "plan", request(work, job="blob:1~3"))
    last = begin(app, work, "blob:1~3")

    assert 3 == last.starts
    assert {"status": "fault"} == run_activity(app, "stage", request(work, job="blob:1~3", slice=0))
    assert {"status": "staged"} == run_activity(app, "stage", request(work, job="blob:1~3", slice=1))


def begin(app, work, job):
    """What a process does that dies while it reads the first slice."""
    return UnitDocuments(app.documents, from_json(SliceRequest, request(work, job=job, slice=0))).begin(0)

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
from shared.model import from_json
from tests.jobs.job_steps import STARTED

ROOT = Path(__file__).parents[2]
MEMORY = 600 << 20
"""Bytes of a process, above which its host kills it."""

READER = """
import json, os, signal, sys
from shared.app import open_app
from shared.jobs.activities import run_activity
from shared.sources.exports.parquet import ExportsSource

def abort(): os.abort()
def hang():
    print("reading", flush=True)
    signal.pause()
def eat():
    print("reading", flush=True)
    eaten = []
    while True: eaten.append(b"x" * (16 << 20))

env, step, kind = json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
ExportsSource.read = lambda self, part: {"abort": abort, "hang": hang, "eat": eat}[kind]()
run_activity(open_app(env), "stage", step)
"""
"""Stages a slice in a process of its own, with a reader that kills it or has to be killed."""


def request(work, **more):
    return {"job": "blob:1", "started": STARTED, "unit": 0, "work": work, **more}


def stage_in_a_process(app, step, kind):
    """Let a process stage a slice, and kill it as a host does that runs out of patience or of memory."""
    env = {
        "WAREHOUSE_URL": app.settings.warehouse_url, "LEDGER_URL": app.settings.ledger_url,
        "STATE_URL": app.settings.state_url, "SLICE_ROWS": "5",
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


@pytest.mark.parametrize("kind", ["abort", "hang", pytest.param("eat", marks=pytest.mark.slow)])
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

"""Steps of jobs over the real App: late, twice, in any order, and with any one call of any port lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.errors import TransientError
from shared.jobs import activities
from shared.jobs.activities import run_activity
from shared.jobs.request import JobRequest, NotifiedFiles
from shared.jobs.summary import read_record
from tests.exports import Clock, export_path, open_test_app, write_parquet
from tests.jobs.job_steps import STARTED, everything, row


def request(work: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"job": "blob:1", "started": STARTED, "unit": 0, "work": work, **more}


def run_job(app: Any, work: dict[str, str], **more: Any) -> None:
    for step, its in STEPS:
        run_activity(app, step, request(work, **its, **more))


STEPS = [
    ("plan", {}), ("stage", {"slice": 0}), ("stage", {"slice": 1}), ("publish", {}), ("tidy", {}),
    ("finish", {"units": 1}),
]  # fmt: skip


def test_steps_in_order_are_a_load(loadable):
    """Rows are in the table, the reject is kept, the outcome adds up, and only summary and report are left."""
    app, work = loadable
    run_job(app, work)
    reported = everything(app)

    assert (9, 1, 1) == tuple(len(reported[name]) for name in ("coolr.location", "ingest.run", "ingest.rejected"))
    assert [] == reported["staged"]
    assert [
        "feeds/coolr.location/done",
        "feeds/coolr.location/runs",
        "jobs/blob:1/summary",
        f"runs/coolr.location/{STARTED}-0000-0000-main",
    ] == [name for name in reported["state"] if not name.startswith("clients/")]


@pytest.mark.parametrize(("step", "more"), STEPS, ids=str)
def test_a_step_that_comes_twice_changes_nothing(step, more, loadable, tmp_path):
    """Each at once again, as a queue may deliver it."""
    app, work = loadable
    for one, its in STEPS:
        answers = [run_activity(app, one, request(work, **its)) for _ in range(2 if one == step else 1)]

        assert answers[0] == answers[-1]
    calm = open_test_app(tmp_path / "calm", Clock(), SLICE_ROWS="5", STATE_URL=str(tmp_path / "calm" / "state"))
    run_job(calm, work)

    assert everything(calm) == everything(app)


@pytest.mark.parametrize(("step", "more"), STEPS, ids=str)
def test_a_step_that_comes_after_its_job_has_ended_changes_nothing(step, more, loadable):
    """Nothing is staged, merged or sent once more; a plan that comes late is cleaned up by age."""
    app, work = loadable
    run_job(app, work)
    before = everything(app)

    run_activity(app, step, request(work, **more))
    after = everything(app)
    left = set(after["state"]) - set(before["state"])

    assert {**before, "state": None} == {**after, "state": None}
    assert left <= {f"jobs/blob:1/{STARTED}/0/unit"}
    assert before["state"]["jobs/blob:1/summary"] == after["state"]["jobs/blob:1/summary"]


def test_a_plan_that_was_made_is_the_plan(loadable, tmp_path):
    """The file changes between two deliveries of the step: both give the first answer."""
    app, work = loadable
    first = run_activity(app, "plan", request(work))
    write_parquet(export_path(tmp_path / "exports", "full", "20260224110000", "location"), [row(1)], 1)

    assert first == run_activity(app, "plan", request(work)) == {"slices": 2}


def test_a_transient_failure_is_for_the_host_to_repeat(loadable, monkeypatch):
    """Nothing is written down; the same step works later."""
    app, work = loadable

    def away(*_args, **_kwargs):
        raise TransientError("the warehouse is away", fix="Try again")

    with monkeypatch.context() as patch:
        patch.setattr(type(app.warehouse), "stage", away)
        run_activity(app, "plan", request(work))
        with pytest.raises(TransientError):
            run_activity(app, "stage", request(work, slice=0))

    assert {"status": "staged"} == run_activity(app, "stage", request(work, slice=0))


def test_a_failure_that_nobody_foresaw_fails_the_run_with_its_traceback_in_the_log(loadable, monkeypatch, caplog):
    """It is data for the orchestration: a bug does not go away by repeating."""
    app, work = loadable
    run_activity(app, "plan", request(work))
    monkeypatch.setattr(type(app.warehouse), "stage", lambda *_, **__: 1 / 0)
    staged = [run_activity(app, "stage", request(work, slice=n)) for n in range(2)]
    outcome = run_activity(app, "publish", request(work))

    assert [{"status": "fault"}] * 2 == staged
    assert ("failed", "ZeroDivisionError: division by zero") == (outcome["status"], outcome["error"])
    assert "Traceback" in caplog.text
    assert ["failed"] == [run.status for run in app.warehouse.runs()]


def test_slices_that_could_not_be_staged_leave_the_work_to_be_done(loadable):
    """No run is recorded: what was away is taken up by whoever comes next."""
    app, work = loadable
    run_activity(app, "plan", request(work))
    run_activity(app, "stage", request(work, slice=0))
    outcome = run_activity(app, "publish", request(work))
    run_activity(app, "tidy", request(work))
    again = {**request(work), "started": "2026-02-24T13:00:00.000000"}
    for step, more in STEPS:
        run_activity(app, step, {**again, **more})

    assert ("failed", True) == (outcome["status"], outcome["retryable"])
    assert "1 of its slices could not be staged" in outcome["error"]
    assert ["done"] == [run.status for run in app.warehouse.runs()]


def test_every_step_logs_its_job(loadable, caplog):
    """One line a step, to be found by the id of the orchestration."""
    app, work = loadable
    with caplog.at_level("INFO", "sluice"):
        run_job(app, work)
    lines = [record.getMessage() for record in caplog.records if " seconds=" in record.getMessage()]

    assert ["plan", "stage", "stage", "publish", "tidy"] == [line.partition(" ")[0] for line in lines]
    assert all("job=blob:1" in line and "feed=coolr.location" in line for line in lines)


# -- one run in two jobs


def test_steps_of_a_job_that_has_lost_its_run_do_nothing(loadable):
    """Its last attempt works on the same staging tables."""
    app, work = loadable
    run_activity(app, "plan", request(work))
    run_activity(app, "plan", request(work, job="blob:1~2"))
    for one in (0, 1):
        run_activity(app, "stage", request(work, job="blob:1~2", slice=one))

    late = [run_activity(app, step, request(work, **more)) for step, more in STEPS[1:5]]
    outcome = run_activity(app, "publish", request(work, job="blob:1~2"))

    assert [{"status": "ended"}] * 3 + [{}] == late
    assert ("done", 9) == (outcome["status"], outcome["inserted"])


def test_a_slice_that_is_staged_is_not_staged_again(loadable, monkeypatch):
    """A message that comes once more would drop its table, perhaps while it is merged."""
    app, work = loadable
    run_activity(app, "plan", request(work))
    run_activity(app, "stage", request(work, slice=0))
    monkeypatch.setattr(type(app.warehouse), "stage", lambda *_, **__: 1 / 0)

    assert {"status": "staged"} == run_activity(app, "stage", request(work, slice=0))


def test_why_a_slice_could_not_be_staged_is_reported(loadable):
    """Not only that it could not."""
    app, work = loadable
    run_activity(app, "plan", request(work))
    run_activity(app, "stage", request(work, slice=0))
    run_activity(app, "record_failure", request(work, slice=1, error="the host is away: https://x/y?sig=hush"))
    outcome = run_activity(app, "publish", request(work))

    assert "1 of its slices could not be staged: the host is away: https://x/y" == outcome["error"]


def test_a_repeated_job_that_is_concluded_twice_reports_no_failure(loadable):
    """It found all done, so the summary of the first stays."""
    app, work = loadable
    run_job(app, work)
    first = read_record(app.documents, "blob:1")
    again = {"started": "2026-02-24T13:00:00.000000"}
    run_activity(app, "plan", request(work) | again)
    reported = [run_activity(app, "finish", request(work, units=1) | again) for _ in range(2)]

    assert ["done", "done"] == [one["status"] for one in reported]
    assert first.summary == read_record(app.documents, "blob:1").summary


def test_a_limit_that_a_person_lifts_is_lifted_for_one_feed():
    """A notification may have another feed whose full would delete too much."""
    job = JobRequest(job="export:1", started=STARTED, work=NotifiedFiles(id="1"))
    lifted = replace(job, max_delete_share=1.0, requested_by="coolr.asset")

    assert (1.0, None) == tuple(
        activities._options(lifted, f"coolr.{t}").max_delete_share for t in ("asset", "location")
    )
    assert activities._options(job, "coolr.asset").max_delete_share is None

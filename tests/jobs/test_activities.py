"""Steps of jobs over the real App: late, twice, in any order, and with any one call of any port lost."""

from __future__ import annotations

import datetime as dt

from dataclasses import replace
from typing import Any

import pytest
import stamina

import function_app

from shared.documents import open_documents
from shared.errors import TransientError
from shared.jobs import activities, summaries, work_items
from shared.jobs.job_documents import Lease
from shared.pipeline.folder import exports_source
from tests.exports import START, Clock, export_path, open_test_app, write_parquet
from tests.standins.durable_host import DurableHost
from tests.standins.fakes import Calls, Watched

EPOCH = START.replace(tzinfo=None)
STARTED = "2026-02-24T12:00:00.000000"


def row(key: int | None, minutes: int = 0) -> dict[str, Any]:
    return {
        "LocationId": key,
        "ModifiedOn": EPOCH + dt.timedelta(minutes=minutes),
        "IsDeleted": False,
        "Name": str(key),
    }


@pytest.fixture
def app_and_work(tmp_path, monkeypatch):
    """An app whose exports are files of this machine: only where they are found differs from Azure."""
    file = write_parquet(export_path(tmp_path / "exports", "full", "20260224110000", "location"), [
        *(row(key) for key in range(9)), row(None),
    ], 5)  # fmt: skip
    app = open_test_app(tmp_path, Clock(), SLICE_ROWS="5", STATE_URL=str(tmp_path / "state"))
    monkeypatch.setattr(work_items, "_store", lambda app, location: _local(location))
    monkeypatch.setattr(work_items, "_file", _as_folder)
    return app, {"file": str(file), "etag": "1"}


def _local(location):
    from shared.stores import open_store

    return open_store(location)


def _as_folder(app, work):
    from shared.pipeline.folder import exporting_system
    from shared.sources.exports import listing
    from shared.sources.exports.listing import FindOptions

    store = work_items._store(app, work["file"])
    (offer,), _ = listing.find_exports(store, FindOptions(), app.now())
    system = exporting_system(app.systems, None, offer.client)
    return work_items.Found(
        f"{system.name}.{offer.table}", listing.export_unit(offer, store), exports_source(store, app.settings), "here"
    )


def everything(app: Any) -> dict[str, Any]:
    """Tables, history, rejects, ledger, staging and state, but for what tells how long something took."""
    with app.warehouse._session() as session:
        found = {
            name: sorted(session.connection.execute(f"SELECT {what} FROM {name}").fetchall(), key=repr)
            for name, what in (
                ("coolr.location", "*"), ("ingest.run", "* EXCLUDE (seconds)"), ("ingest.rejected", "*")
            )
        }  # fmt: skip
        tables = session.connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    staged = [name for (name,) in tables if name.startswith("s_")]
    ledger = app.ledger.watermark("coolr.location").value, sorted(run.id for run in app.warehouse.runs())
    state = {
        entry.name: app.documents.get(entry.name) for entry in app.documents.entries("") if "told/" not in entry.name
    }
    return {**found, "staged": staged, "ledger": ledger, "state": state}


def ask(work: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"job": "blob:1", "started": STARTED, "unit": 0, "work": work, **more}


def whole_job(app: Any, work: dict[str, str]) -> None:
    for step, more in STEPS:
        summaries.do(app, step, ask(work, **more))


STEPS = [
    ("plan", {}), ("stage", {"slice": 0}), ("stage", {"slice": 1}), ("publish", {}), ("tidy", {}),
    ("conclude", {"units": 1}),
]  # fmt: skip


def test_steps_in_order_are_a_load(app_and_work):
    """Rows are in the table, the reject is kept, the outcome adds up, and nothing is left behind but the summary."""
    app, work = app_and_work
    whole_job(app, work)
    told = everything(app)

    assert (9, 1, 1) == tuple(len(told[name]) for name in ("coolr.location", "ingest.run", "ingest.rejected"))
    assert [] == told["staged"]
    assert ["feeds/coolr.location/done", "jobs/blob:1/summary"] == [
        name for name in told["state"] if not name.startswith("clients/")
    ]


@pytest.mark.parametrize(("step", "more"), STEPS, ids=str)
def test_a_step_that_comes_twice_changes_nothing(step, more, app_and_work, tmp_path):
    """Each at once again, as a queue may deliver it."""
    app, work = app_and_work
    for one, its in STEPS:
        answers = [summaries.do(app, one, ask(work, **its)) for _ in range(2 if one == step else 1)]

        assert answers[0] == answers[-1]
    calm = open_test_app(tmp_path / "calm", Clock(), SLICE_ROWS="5", STATE_URL=str(tmp_path / "calm" / "state"))
    whole_job(calm, work)

    assert everything(calm) == everything(app)


@pytest.mark.parametrize(("step", "more"), STEPS, ids=str)
def test_a_step_that_comes_after_its_job_has_ended_changes_nothing(step, more, app_and_work):
    """Nothing is staged, merged or told once more; a plan that comes late is swept by age."""
    app, work = app_and_work
    whole_job(app, work)
    before = everything(app)

    summaries.do(app, step, ask(work, **more))
    after = everything(app)
    left = set(after["state"]) - set(before["state"])

    assert {**before, "state": None} == {**after, "state": None}
    assert left <= {f"jobs/blob:1/{STARTED}/0/outcome"}
    assert before["state"]["jobs/blob:1/summary"] == after["state"]["jobs/blob:1/summary"]


def test_a_plan_that_was_made_is_the_plan(app_and_work, tmp_path):
    """The file changes between two deliveries of the step: both give the first answer."""
    app, work = app_and_work
    first = summaries.do(app, "plan", ask(work))
    write_parquet(export_path(tmp_path / "exports", "full", "20260224110000", "location"), [row(1)], 1)

    assert first == summaries.do(app, "plan", ask(work)) == {"slices": 2}


def test_a_transient_failure_is_for_the_host_to_repeat(app_and_work, monkeypatch):
    """Nothing is written down; the same step works later."""
    app, work = app_and_work

    def away(*_args, **_kwargs):
        raise TransientError("the warehouse is away", fix="Try again")

    with monkeypatch.context() as patch:
        patch.setattr(type(app.warehouse), "stage", away)
        summaries.do(app, "plan", ask(work))
        with pytest.raises(TransientError):
            summaries.do(app, "stage", ask(work, slice=0))

    assert {"status": "staged"} == summaries.do(app, "stage", ask(work, slice=0))


def test_a_failure_that_nobody_foresaw_fails_the_run_with_its_traceback_in_the_log(app_and_work, monkeypatch, caplog):
    """It is data for the orchestration: a bug does not go away by repeating."""
    app, work = app_and_work
    summaries.do(app, "plan", ask(work))
    monkeypatch.setattr(type(app.warehouse), "stage", lambda *_, **__: 1 / 0)
    staged = [summaries.do(app, "stage", ask(work, slice=n)) for n in range(2)]
    outcome = summaries.do(app, "publish", ask(work))

    assert [{"status": "fault"}] * 2 == staged
    assert ("failed", "ZeroDivisionError: division by zero") == (outcome["status"], outcome["error"])
    assert "Traceback" in caplog.text
    assert ["failed"] == [run.status for run in app.warehouse.runs()]


def test_slices_that_could_not_be_staged_leave_the_work_to_be_done(app_and_work):
    """No run is recorded: what was away is taken up by whoever comes next."""
    app, work = app_and_work
    summaries.do(app, "plan", ask(work))
    summaries.do(app, "stage", ask(work, slice=0))
    outcome = summaries.do(app, "publish", ask(work))
    summaries.do(app, "tidy", ask(work))
    again = {**ask(work), "started": "2026-02-24T13:00:00.000000"}
    for step, more in STEPS:
        summaries.do(app, step, {**again, **more})

    assert ("failed", True) == (outcome["status"], outcome["passing"])
    assert "1 of its slices could not be staged" in outcome["error"]
    assert ["done"] == [run.status for run in app.warehouse.runs()]


def test_every_step_logs_its_job(app_and_work, caplog):
    """One line a step, to be found by the id of the orchestration."""
    app, work = app_and_work
    with caplog.at_level("INFO", "sluice"):
        whole_job(app, work)
    lines = [record.getMessage() for record in caplog.records if " seconds=" in record.getMessage()]

    assert ["plan", "stage", "stage", "publish", "tidy"] == [line.partition(" ")[0] for line in lines]
    assert all("job=blob:1" in line and "feed=coolr.location" in line for line in lines)


# -- one run in two jobs


@pytest.fixture
def state(tmp_path):
    return open_documents(open_test_app(tmp_path, STATE_URL=str(tmp_path / "state")).settings)


def hands(state, job, started=STARTED):
    return Lease(state, {"job": job, "started": started})


def test_a_run_is_in_one_hand_at_a_time(state):
    """The second job is told who has it; the first may ask again; nobody puts down what is not his."""
    one, other = hands(state, "blob:1"), hands(state, "export:1")

    assert one.take("r", 0.0, 60.0) is None
    assert "blob:1" == other.take("r", 30.0, 60.0)
    assert one.take("r", 30.0, 60.0) is None
    other.release("r")
    assert (True, False) == (one.have("r"), other.have("r"))
    one.release("r")
    assert other.take("r", 31.0, 60.0) is None


def test_a_hand_that_died_is_passed_over(state):
    """After as long as a job may take."""
    one, other = hands(state, "blob:1"), hands(state, "export:1")
    one.take("r", 0.0, 60.0)

    assert other.take("r", 60.0, 60.0) is None
    assert (False, True) == (one.have("r"), other.have("r"))


def test_of_several_attempts_the_last_has_it(state):
    """Also while an earlier one does not know yet that it was ended; that one cannot take it back."""
    first, second, again = hands(state, "blob:1"), hands(state, "blob:1~2"), hands(state, "blob:1~2", "2027")
    first.take("r", 0.0, 60.0)

    assert second.take("r", 1.0, 60.0) is None
    assert "blob:1" == first.take("r", 2.0, 60.0)
    assert (False, True) == (first.have("r"), second.have("r"))
    assert again.take("r", 3.0, 60.0) is None


def test_steps_of_a_job_that_has_lost_its_run_do_nothing(app_and_work):
    """Its last attempt works on the same staging tables."""
    app, work = app_and_work
    summaries.do(app, "plan", ask(work))
    summaries.do(app, "plan", ask(work, job="blob:1~2"))
    for one in (0, 1):
        summaries.do(app, "stage", ask(work, job="blob:1~2", slice=one))

    late = [summaries.do(app, step, ask(work, **more)) for step, more in STEPS[1:5]]
    outcome = summaries.do(app, "publish", ask(work, job="blob:1~2"))

    assert [{"status": "over"}] * 3 + [{}] == late
    assert ("done", 9) == (outcome["status"], outcome["inserted"])


def test_a_slice_that_is_staged_is_not_staged_again(app_and_work, monkeypatch):
    """A message that comes once more would drop its table, perhaps while it is merged."""
    app, work = app_and_work
    summaries.do(app, "plan", ask(work))
    summaries.do(app, "stage", ask(work, slice=0))
    monkeypatch.setattr(type(app.warehouse), "stage", lambda *_, **__: 1 / 0)

    assert {"status": "staged"} == summaries.do(app, "stage", ask(work, slice=0))


def test_why_a_slice_could_not_be_staged_is_told(app_and_work):
    """Not only that it could not."""
    app, work = app_and_work
    summaries.do(app, "plan", ask(work))
    summaries.do(app, "stage", ask(work, slice=0))
    summaries.do(app, "miss", ask(work, slice=1, error="the host is away: https://x/y?sig=hush"))
    outcome = summaries.do(app, "publish", ask(work))

    assert "1 of its slices could not be staged: the host is away: https://x/y" == outcome["error"]


def test_a_repeated_job_that_is_concluded_twice_reports_no_failure(app_and_work):
    """It found all done, so the summary of the first stays."""
    app, work = app_and_work
    whole_job(app, work)
    first = summaries.concluded(app, "blob:1")
    again = {"started": "2026-02-24T13:00:00.000000"}
    summaries.do(app, "plan", ask(work) | again)
    told = [summaries.do(app, "conclude", ask(work, units=1) | again) for _ in range(2)]

    assert ["done", "done"] == [one["status"] for one in told]
    assert first["summary"] == summaries.concluded(app, "blob:1")["summary"]


def test_a_brake_is_let_go_for_the_one_feed_that_was_asked_for():
    """A notification may have another that would delete too much."""
    asked = {"max_delete_share": 1.0, "by_hand": "coolr.asset"}

    assert (1.0, None) == tuple(
        activities._options(asked, f"coolr.{t}").max_delete_share for t in ("asset", "location")
    )
    assert activities._options({}, "coolr.asset").max_delete_share is None


# -- losing any one call


class LosingHost:
    """Runs a job by the protocol of Durable; steps meet a call that is lost."""

    def __init__(self, app: Any, calls: Calls) -> None:
        self.app = replace(
            app, warehouse=Watched(app.warehouse, calls), ledger=Watched(app.ledger, calls),
            documents=Watched(app.documents, calls),
        )  # fmt: skip

    def run(self, work: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setattr("shared.app.current", lambda: self.app)
        with DurableHost(function_app.app, check_determinism=False, start=START) as durable:
            return durable.run("file_job", {"work": work}, "blob:1")


def count_calls(app_and_work: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    app, work = app_and_work
    calls = Calls()
    job = LosingHost(app, calls).run(work, monkeypatch)

    assert "done" == job.output["status"]
    return len(calls.names)


CALLS = 60
"""At most so many calls does a job of two slices make; the test above all of them holds the number."""
SOME = range(1, CALLS, 12)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "lost", [pytest.param(n, marks=() if n in SOME else pytest.mark.slow) for n in range(1, CALLS + 1)]
)
def test_losing_any_one_call_of_a_job_changes_nothing(lost, after, app_and_work, tmp_path, monkeypatch):
    """Whichever call of warehouse, ledger or state it is, before or after it took effect."""
    app, work = app_and_work
    calls = Calls(lost, after=after)
    with stamina.set_testing(True, attempts=1):
        job = LosingHost(app, calls).run(work, monkeypatch)
    calm = open_test_app(tmp_path / "calm", Clock(), SLICE_ROWS="5", STATE_URL=str(tmp_path / "calm" / "state"))
    LosingHost(calm, Calls()).run(work, monkeypatch)

    assert "done" == job.output["status"], calls.lost
    assert _lasting(everything(calm)) == _lasting(everything(app)), calls.lost


def _lasting(told: dict[str, Any]) -> dict[str, Any]:
    """What has to be the same: a lost call may cost time, and a step that clears away may be repeated by age."""
    summary = {name for name in told["state"] if name.endswith("/summary")}
    return {**told, "state": summary}


def test_a_job_makes_no_more_calls_than_the_test_above_loses(app_and_work, monkeypatch):
    """Else some would never be lost."""
    assert CALLS - 25 < count_calls(app_and_work, monkeypatch) <= CALLS

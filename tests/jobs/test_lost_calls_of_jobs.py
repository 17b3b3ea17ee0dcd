"""A job that loses any one call to a port ends as one that loses none; and how few calls a job makes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import stamina

import function_app

from tests.exports import START, Clock, export_path, open_test_app, write_parquet
from tests.jobs.job_steps import everything, file_work, row
from tests.quick import quick_if
from tests.standins.durable_host import DurableHost
from tests.standins.fakes import Calls, Watched


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


def count_calls(loadable: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    app, work = loadable
    calls = Calls()
    job = LosingHost(app, calls).run(work, monkeypatch)

    assert "done" == job.output["status"]
    return len(calls.names)


CALLS = 32
"""At most so many calls does a job of two slices make; the test above all of them holds the number."""
SOME = range(1, CALLS, 7)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("lost", [quick_if(n in SOME, n) for n in range(1, CALLS + 1)])
def test_losing_any_one_call_of_a_job_changes_nothing(lost, after, loadable, tmp_path, monkeypatch):
    """Whichever call of warehouse, ledger or state it is, before or after it took effect."""
    app, work = loadable
    calls = Calls(lost, after=after)
    with stamina.set_testing(True, attempts=1):
        job = LosingHost(app, calls).run(work, monkeypatch)
    calm = open_test_app(tmp_path / "calm", Clock(), SLICE_ROWS="5", STATE_URL=str(tmp_path / "calm" / "state"))
    LosingHost(calm, Calls()).run(work, monkeypatch)

    assert "done" == job.output["status"], calls.lost
    assert _lasting(everything(calm)) == _lasting(everything(app)), calls.lost


def _lasting(reported: dict[str, Any]) -> dict[str, Any]:
    """What has to be the same: a lost call may cost time, and a step that clears away may be repeated by age."""
    summary = {name for name in reported["state"] if name.endswith("/summary")}
    return {**reported, "state": summary}


def test_a_job_makes_no_more_calls_than_the_test_above_loses(loadable, monkeypatch):
    """Else some would never be lost."""
    assert CALLS - 8 < count_calls(loadable, monkeypatch) <= CALLS


# -- how many


def test_a_job_of_one_file_makes_at_most_eighteen_calls_for_documents(tmp_path, monkeypatch):
    """One file, one slice, from the first step to the last; documents are what a job costs beside the load itself."""
    file = write_parquet(export_path(tmp_path / "exports", "full", "20260224110000", "location"), [row(1), row(2)])
    app = open_test_app(tmp_path, Clock(), STATE_URL=str(tmp_path / "state"))
    calls = Calls()

    job = LosingHost(app, calls).run(file_work(file), monkeypatch)
    made = Counter(name for name in calls.names if name.startswith(type(app.documents).__name__))

    assert "done" == job.output["status"]
    assert made.total() <= 18, made

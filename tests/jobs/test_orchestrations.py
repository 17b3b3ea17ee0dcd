"""The course of jobs under many schedules: messages in any order, activities that fail, late or twice, crashes."""

from __future__ import annotations

import random

from collections import Counter
from typing import Any

import pytest

import function_app

from shared.jobs import orchestrations
from tests.jobs.flaky import PAYLOAD_LIMIT, Flaky
from tests.quick import quick_if
from tests.standins.durable_host import DurableHost

SCHEDULES = [quick_if(seed < 10, seed) for seed in range(100)]
"""Seeds of which messages come late or twice, which steps fail, and when a process dies."""


class Steps(Flaky):
    """Activities that keep what they are given in a dictionary, as the real ones do in documents."""

    def __init__(
        self,
        *,
        slices: int = 3,
        units: int = 4,
        windows: int = 1,
        pieces: int = 1,
        fails: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.kept: dict[Any, Any] = {}
        self.wrong: list[str] = []
        self._slices, self._units, self._windows, self._pieces = slices, units, windows, pieces
        super().__init__(fails=fails, seed=seed)

    def open_units(self, request: Any) -> Any:
        return {"units": self._units}

    def plan(self, request: Any) -> Any:
        if ("outcome", request["unit"]) in self.kept:
            return self.kept["outcome", request["unit"]]
        self.kept["plan", request["unit"]] = self._slices
        return {"slices": self._slices}

    def stage(self, request: Any) -> Any:
        if ("plan", request["unit"]) not in self.kept:
            self.wrong.append(f"slice {request['slice']} of unit {request['unit']} before its plan")
        if request["slice"] >= self._slices and ("slice", request["unit"], request["slice"] - 1) not in self.kept:
            self.wrong.append(f"piece {request['slice']} of unit {request['unit']} before the one that hands it on")
        self.kept["slice", request["unit"], request["slice"]] = True
        rest = {"next": request["slice"] + 1} if request["slice"] + 1 < self._pieces else {}
        return {"status": "staged", **rest}

    def publish(self, request: Any) -> Any:
        missing = [n for n in range(max(self._slices, self._pieces)) if ("slice", request["unit"], n) not in self.kept]
        outcome = {"status": "failed" if missing else "done", "more": request["unit"] + 1 < self._windows}
        return self.kept.setdefault(("outcome", request["unit"]), outcome)

    def tidy(self, request: Any) -> Any:
        if ("outcome", request["unit"]) not in self.kept:
            self.wrong.append(f"unit {request['unit']} was tidied before it had an outcome")
        return {}

    def record_failure(self, request: Any) -> Any:
        return {}

    def fail(self, request: Any) -> Any:
        return self.kept.setdefault(("outcome", request["unit"]), {"status": "failed", "error": request["error"]})

    def finish(self, request: Any) -> Any:
        missing = [n for n in range(request["units"]) if ("outcome", n) not in self.kept]
        if missing:
            self.wrong.append(f"finished without units {missing}")
        return {"files": request["units"]}


def host(steps: Steps, **options: Any) -> DurableHost:
    return DurableHost(function_app.app, overrides=steps.overrides(), payload_limit=PAYLOAD_LIMIT, **options)


WORK = {
    "file_job": {"kind": "file", "url": "https://acme.test/exports/a.parquet", "etag": "1"},
    "export_job": {"kind": "notification", "id": "0" * 32},
}


@pytest.mark.parametrize("orchestrator", WORK)
@pytest.mark.parametrize("seed", SCHEDULES)
def test_a_job_comes_to_its_end_under_any_schedule(orchestrator, seed):
    """Shuffled, with duplicates and crashes, and with steps that fail in every second one."""
    steps = Steps(units=3, slices=2, windows=1, fails=0.3 if seed % 2 else 0.0, seed=seed)
    with host(steps, seed=seed, duplicates=0.3, crash=0.03) as durable:
        job = durable.run(orchestrator, {"work": WORK[orchestrator]}, "blob:1")
    units = 3 if orchestrator == "export_job" else 1

    assert "Completed" == job.status
    assert [] == [wrong for wrong in steps.wrong if "before its plan" in wrong]
    if not seed % 2:
        assert {"files": units} == job.output
        assert [] == steps.wrong
        assert ["done"] * units == [steps.kept["outcome", n]["status"] for n in range(units)]
        assert units * 2 == sum(key[0] == "slice" for key in steps.kept)


@pytest.mark.parametrize("seed", SCHEDULES)
def test_a_pull_feed_is_read_window_by_window_until_it_has_caught_up(seed):
    """In order, each once."""
    steps = Steps(slices=1, windows=1 + seed % 2)
    with host(steps, seed=seed, duplicates=0.3, crash=0.03) as durable:
        job = durable.run("file_job", {"work": {"kind": "feed", "feed": "genius.prospect"}}, "sync:genius.prospect")

    assert ("Completed", {"files": 1 + seed % 2}) == (job.status, job.output)
    assert [] == steps.wrong
    assert 1 + seed % 2 == sum(key[0] == "outcome" for key in steps.kept)


@pytest.mark.parametrize("seed", SCHEDULES)
def test_a_long_read_is_done_piece_by_piece(seed):
    """Each after the one before, in every window, whatever comes late or twice and whenever a process dies."""
    steps = Steps(slices=1, windows=2, pieces=2 + seed % 5, seed=seed)
    with host(steps, seed=seed, duplicates=0.3, crash=0.03) as durable:
        job = durable.run("file_job", {"work": {"kind": "feed", "feed": "crm.contact"}}, "sync:crm.contact")

    assert ("Completed", {"files": 2}) == (job.status, job.output)
    assert [] == steps.wrong
    assert 2 * (2 + seed % 5) == sum(key[0] == "slice" for key in steps.kept)


def test_a_read_may_take_more_pieces_than_one_history_holds():
    steps = Steps(slices=1, pieces=2 * orchestrations.CHILDREN + 3)
    with host(steps) as durable:
        job = durable.run("file_job", {"work": {"kind": "feed", "feed": "crm.contact"}}, "sync:crm.contact")

    assert ("Completed", {"files": 1}) == (job.status, job.output)
    assert [] == steps.wrong


def test_a_pull_feed_may_take_more_windows_than_one_history_holds():
    """The job goes on as a new execution of the same id, and sums up all of them."""
    windows = 2 * orchestrations._WINDOWS + 1
    steps = Steps(slices=1, windows=windows)
    with host(steps) as durable:
        job = durable.run("file_job", {"work": {"kind": "feed", "feed": "genius.prospect"}}, "sync:genius.prospect")

    assert ("Completed", {"files": windows}) == (job.status, job.output)
    assert [] == steps.wrong
    assert {"2026-11-02T08:00:00.000000"} == {request["started"] for _, request in durable.calls}


def test_one_unit_that_fails_for_good_never_stops_the_others():
    """Its slices cannot be staged; the rest is done."""
    steps = Steps(units=5, slices=2)
    overrides = steps.overrides()

    def stage(request):
        if request["unit"] == 2:
            raise MemoryError("poison")
        return steps.stage(request)

    with DurableHost(function_app.app, overrides={**overrides, "stage": stage}, payload_limit=PAYLOAD_LIMIT) as durable:
        job = durable.run("export_job", {"work": WORK["export_job"]}, "export:1")

    assert {"files": 5} == job.output
    assert ["done", "done", "failed", "done", "done"] == [steps.kept["outcome", n]["status"] for n in range(5)]


def test_the_pauses_between_tries_grow():
    """Half a minute, then twice as long each time; five tries in all."""
    steps = Steps(slices=1)
    overrides = {**steps.overrides(), "plan": lambda _: 1 / 0}
    with DurableHost(function_app.app, overrides=overrides) as durable:
        job = durable.run("file_job", {"work": WORK["file_job"]}, "blob:1")
        seconds = (durable.now - job.created).total_seconds()

    assert 30 + 60 + 120 + 240 == seconds
    assert "division by zero" in steps.kept["outcome", 0]["error"]


def test_every_activity_is_given_the_start_of_its_job():
    """The same moment in all of them, however long it takes: it is part of where their documents lie."""
    steps = Steps(units=3, slices=2, fails=0.3, seed=1)
    with host(steps, seed=1) as durable:
        durable.run("export_job", {"work": WORK["export_job"]}, "export:1")
        began = {request["started"] for _, request in durable.calls}
        jobs = {request["job"] for _, request in durable.calls}

    assert {"2026-11-02T08:00:00.000000"} == began
    assert {"export:1"} == jobs


@pytest.mark.parametrize("units", [1, 50, 51])
def test_a_fan_out_has_at_most_fifty_children_each(units):
    """Every child exists once, below batches that are orchestrations of their own."""
    steps = Steps(units=units, slices=1)
    with host(steps, check_determinism=False) as durable:
        durable.run("export_job", {"work": WORK["export_job"]}, "export:1")
        children = Counter(id.rpartition(":")[0] for id in durable.instances if id.count(":") > 1)
        names = Counter(instance.name for instance in durable.instances.values())

    assert max(children.values()) <= orchestrations.CHILDREN
    assert {"export_job": 1, "batch": -(-units // 50), "unit": units} == names


def test_batches_of_batches_reach_every_child():
    """More than fifty times fifty, without an activity behind them."""
    spans = list(orchestrations._spans(0, 2_501))
    below = [span for start, end in spans for span in orchestrations._spans(start, end)]

    assert list(range(2_501)) == [n for start, end in below for n in range(start, end)]
    assert max(len(spans), *(len(list(orchestrations._spans(*span))) for span in spans)) <= 50


@pytest.mark.slow
@pytest.mark.parametrize("units", [100, 1_000])
def test_payloads_do_not_grow_with_the_number_of_files(units):
    """What travels stays as small as for one file."""
    steps = Steps(units=units, slices=1)
    with host(steps, check_determinism=False) as durable:
        job = durable.run("export_job", {"work": WORK["export_job"]}, "export:1")
        largest, what = durable.largest_payload()

    assert {"files": units} == job.output
    assert largest < 1_000, what


def test_a_slice_is_handed_its_own_number_and_not_the_plan():
    """So payloads stay flat as files grow."""
    steps = Steps(slices=60)
    with host(steps) as durable:
        durable.run("file_job", {"work": WORK["file_job"]}, "blob:1")
        given = [request for name, request in durable.calls if name == "stage"]
        largest, what = durable.largest_payload()

    assert set(range(60)) == {request["slice"] for request in given}
    assert largest < 1_000, what


@pytest.mark.parametrize("seed", range(20))
def test_a_search_ends_with_the_jobs_that_it_started(seed):
    """Under any schedule; a search that fails too often fails."""
    chance = random.Random(seed)

    def start_found(request):
        if chance.random() < 0.3:
            raise ConnectionError("the container cannot be reached")
        return {"units": 1, "jobs": ["blob:1"]}

    work = {"kind": "missed", "feed": "coolr.location", "failed": True}
    with DurableHost(
        function_app.app, overrides={"start_found": start_found}, seed=seed, duplicates=0.3, crash=0.03
    ) as durable:  # fmt: skip
        job = durable.run("search_job", {"work": work}, "search:1")

    assert ("Completed", {"units": 1, "jobs": ["blob:1"]}) == (job.status, job.output)
    assert job.output == job.custom_status

"""The job of a system under many schedules: its tables side by side, each window by window, at most so many at once."""

from __future__ import annotations

import json

from collections import Counter
from typing import Any

import pytest

import function_app

from shared.jobs import orchestrations
from tests.jobs.flaky import PAYLOAD_LIMIT, Flaky
from tests.quick import quick_if
from tests.standins.durable_host import DurableHost

SCHEDULES = [quick_if(seed < 5, seed) for seed in range(80)]


class Tables(Flaky):
    """Activities that keep what they are given in a dictionary, as the real ones do in documents."""

    def __init__(
        self, tables: int, lanes: int, *, windows: int = 2, slices: int = 1, fails: float = 0.0, seed: int = 0
    ) -> None:
        self.kept: dict[Any, Any] = {}
        self.wrong: list[str] = []
        self.most = 0
        """Tables that were read at the same time."""
        self._tables, self._lanes, self._windows, self._slices = tables, lanes, windows, slices
        self._open: set[int] = set()
        super().__init__(fails=fails, seed=seed)

    def open_tables(self, request: Any) -> Any:
        return {"units": self._tables, "lanes": self._lanes}

    def take_table(self, request: Any) -> Any:
        for number in range(request["after"] + 1, self._tables):
            if self.kept.setdefault(("lane", number), request["lane"]) == request["lane"]:
                return {"table": number, "feed": f"shop.t{number}"}
        return {}

    def plan(self, request: Any) -> Any:
        table, unit = request["table"], request["unit"]
        if {"kind": "feed", "feed": f"shop.t{table}"} != request["work"]:
            self.wrong.append(f"table {table} was given {request['work']}")
        if unit and ("outcome", table, unit - 1) not in self.kept:
            self.wrong.append(f"window {unit} of table {table} began before the one before it had ended")
        if ("table", table) not in self.kept:
            self._open.add(table)
            self.most = max(self.most, len(self._open))
        return self.kept.get(("outcome", table, unit), {"slices": self._slices})

    def stage(self, request: Any) -> Any:
        return {"status": "staged"}

    def record_failure(self, request: Any) -> Any:
        return {}

    def publish(self, request: Any) -> Any:
        outcome = {"status": "done", "place": "a window", "more": request["unit"] + 1 < self._windows}
        return self.kept.setdefault(("outcome", request["table"], request["unit"]), outcome)

    def fail(self, request: Any) -> Any:
        outcome = {"status": "failed", "place": "a window", "error": request["error"]}
        return self.kept.setdefault(("outcome", request["table"], request["unit"]), outcome)

    def tidy(self, request: Any) -> Any:
        return {}

    def finish_table(self, request: Any) -> Any:
        table = request["table"]
        statuses = {self.kept["outcome", table, unit]["status"] for unit in range(request["units"])}
        self.kept.setdefault(("table", table), statuses)
        self._open.discard(table)
        return {"status": "done"}

    def finish(self, request: Any) -> Any:
        if missing := [n for n in range(self._tables) if ("table", n) not in self.kept]:
            self.wrong.append(f"finished without tables {missing}")
        return {"files": request["units"]}


def run(steps: Tables, feeds: list[str] | None = None, **options: Any) -> tuple[Any, DurableHost]:
    work = {"kind": "system", "system": "shop", "feeds": feeds or []}
    with DurableHost(function_app.app, overrides=steps.overrides(), payload_limit=PAYLOAD_LIMIT, **options) as durable:
        return durable.run("system_job", {"work": work}, "sync:shop"), durable


@pytest.mark.parametrize("seed", SCHEDULES)
def test_every_table_is_read_once_under_any_schedule(seed):
    """Shuffled, with duplicates and crashes, and with steps that fail in every second one; at most two at once."""
    steps = Tables(5, 2, slices=1 + seed % 3, fails=0.2 if seed % 2 else 0.0, seed=seed)

    job, _ = run(steps, seed=seed, duplicates=0.3, crash=0.03)

    assert "Completed" == job.status
    assert [] == [wrong for wrong in steps.wrong if "finished without" not in wrong]
    if not seed % 2:
        assert ({"files": 5}, []) == (job.output, steps.wrong)
        assert [{"done"}] * 5 == [steps.kept["table", n] for n in range(5)]
        assert 2 == steps.most


def test_a_hundred_tables_are_read_in_small_payloads_and_short_histories():
    """Names travel once; each lane has its own tables below it, and no parent has more than fifty children at once."""
    names = [f"a_table_of_the_shop_with_a_rather_long_name_{n:04}" for n in range(100)]
    steps = Tables(100, 4, windows=1)

    job, durable = run(steps, names, check_determinism=False)
    children = Counter(id.rpartition(":")[0] for id in durable.instances if id.count(":") > 1)
    sizes = {name: size for name, size in durable.payloads.items() if size > 1_000}

    assert ({"files": 100}, [], 4) == (job.output, steps.wrong, steps.most)
    assert (4, 100) == (children.pop("sync:shop"), sum(children.values()))
    assert {"input of activity open_tables", "input of orchestration system_job"} >= sizes.keys(), sizes
    assert all(size < 3 * len(json.dumps(names)) for size in sizes.values())


def test_a_lane_may_have_more_tables_than_one_history_holds():
    """It goes on as a new execution after the table that it took last."""
    steps = Tables(2 * orchestrations.CHILDREN + 1, 1, windows=1)

    job, _ = run(steps, check_determinism=False)

    assert ({"files": 101}, [], 1) == (job.output, steps.wrong, steps.most)


def test_a_table_may_have_more_windows_than_one_history_holds():
    """Its orchestration goes on as a new execution, below the same lane."""
    windows = 2 * orchestrations._WINDOWS + 1
    steps = Tables(2, 2, windows=windows)

    job, _ = run(steps)

    assert ({"files": 2}, []) == (job.output, steps.wrong)
    assert windows == sum(key[:2] == ("outcome", 1) for key in steps.kept)


def test_one_table_that_fails_never_stops_the_others():
    """Its slices cannot be staged, and its step fails five times; its lane goes on with the next table."""
    steps = Tables(6, 2, windows=1)
    overrides = steps.overrides()

    def plan(request):
        if request["table"] == 1:
            raise MemoryError("poison")
        return steps.plan(request)

    work = {"kind": "system", "system": "shop"}
    with DurableHost(function_app.app, overrides={**overrides, "plan": plan}, payload_limit=PAYLOAD_LIMIT) as durable:
        job = durable.run("system_job", {"work": work}, "sync:shop")

    assert ({"files": 6}, []) == (job.output, steps.wrong)
    assert [{"failed"} if n == 1 else {"done"} for n in range(6)] == [steps.kept["table", n] for n in range(6)]


def test_a_large_table_keeps_no_other_waiting():
    """Its lane is busy; the other one reads all the rest meanwhile."""
    steps = Tables(7, 2, windows=1)
    publish = steps.publish
    steps.publish = lambda request: {  # the first table has many windows
        **publish(request), "more": request["table"] == 0 and request["unit"] < 12
    }  # fmt: skip

    run(steps)

    assert [steps.kept["lane", 0]] != [steps.kept["lane", n] for n in range(1, 7)]
    assert 1 == len({steps.kept["lane", n] for n in range(1, 7)})


@pytest.mark.parametrize("opened", [{}, {"units": 0, "lanes": 0}, {"error": "there is no such system any more"}])
def test_a_system_without_tables_has_nothing_to_do(opened):
    """The list of tables is what the first step finds, and it may have become empty since the job was started."""
    steps = Tables(0, 0)
    steps.open_tables = lambda _: opened

    job, durable = run(steps)

    assert ("Completed", opened) == (job.status, job.output)
    assert ["open_tables"] == [name for name, _ in durable.calls]

"""Activities are delivered at least once: twice, late, and again after a crash."""

from __future__ import annotations

import datetime as dt

from collections import Counter

import pytest

from tests.standins.durable_host import DurableHost
from tests.standins.durable_host.samples import FILES, ORDERS, app_of, batch_app


@pytest.mark.parametrize("seed", range(1, 9))
def test_activity_delivered_twice_counts_once(seed):
    """Every activity runs twice; the second results mean nothing to the orchestrator."""
    host = DurableHost(batch_app(failures={}), seed=seed, duplicates=1.0, outlive=True)

    done = host.run("batch", {"files": FILES}, "batch-0")

    assert {"published": "20 rows", "failed": []} == done.output
    assert {"load_file": 6, "publish": 2} == Counter(name for name, _ in host.calls)


def late_app():
    def main(context):
        for n in range(4):
            yield context.call_activity("work", n)
            yield context.create_timer(context.current_utc_datetime + dt.timedelta(hours=1))
        return "done"

    return app_of(main, work=lambda value: value)


def test_second_delivery_may_be_late():
    """It comes when its first result was used long ago, and other activities have run."""
    orders = set()
    for seed in range(8):
        host = DurableHost(late_app(), seed=seed, duplicates=1.0)
        assert "done" == host.run("main").output
        orders.add(tuple(value for _, value in host.calls))

    assert any(order.index(1) < len(order) - 1 - order[::-1].index(0) for order in orders)
    assert all(set(range(4)) == set(order) for order in orders)


def test_second_delivery_outlives_its_instance_if_requested_to():
    """Without, what is still to be repeated when an instance ends is dropped."""
    counts = set()
    for seed in range(8):
        host = DurableHost(late_app(), seed=seed, duplicates=1.0)
        host.run("main")
        counts.add(len(host.calls))
    outliving = DurableHost(late_app(), seed=1, duplicates=1.0, outlive=True)
    outliving.run("main")

    assert min(counts) < 8
    assert 8 == len(outliving.calls)


def test_second_result_is_in_the_history():
    """The real host writes it down too; the orchestrator is woken by it for nothing."""
    host = DurableHost(late_app(), duplicates=1.0, seed=1)

    done = host.run("main")

    results = Counter(event["TaskScheduledId"] for event in done.history if event["EventType"] == 5)
    assert 2 in results.values()


@pytest.mark.parametrize("seed", range(1, 9))
def test_dying_at_random_changes_nothing_but_repetitions(seed):
    """Activities whose result was lost run again; what comes of it all is the same."""
    host = DurableHost(batch_app(), seed=seed, duplicates=0.3, crash=0.2)

    done = host.run("batch", {"files": FILES}, "batch-0")

    assert host.crashes > 0
    assert "Completed" == done.status
    assert ["poison.csv"] == done.output["failed"]


def test_result_lost_in_a_crash_is_computed_again():
    """Among enough crashes, some lie between an activity's end and its record."""
    calls = 0
    for seed in range(10):
        host = DurableHost(batch_app(failures={}), seed=seed, crash=0.3)
        assert {"published": "20 rows", "failed": []} == host.run("batch", {"files": FILES}, "batch-0").output
        calls += len(host.calls)

    assert calls > 10 * 4


@pytest.mark.parametrize("seed", ORDERS)
def test_another_process_goes_on_from_a_snapshot_of_any_moment(seed):
    """After every single step the hub goes through text, and a new host finishes the work."""
    app = batch_app(failures={"b.csv": 1})
    host = DurableHost(app, seed=seed)
    host.start("batch", {"files": ["a.csv", "b.csv"]}, "batch-0")
    steps = 0
    while host.step():
        host = DurableHost.resume(app, host.snapshot(), seed=steps)
        steps += 1

    assert steps > 10
    assert {"published": "10 rows", "failed": []} == host.instances["batch-0"].output
    assert dt.timedelta(hours=1, seconds=30) == host.now - host.instances["batch-0"].created


def test_activity_that_was_out_is_delivered_again_after_a_kill():
    """A process that dies in an activity leaves it to the next one."""

    class Killed(BaseException):
        pass

    def die(_):
        raise Killed

    def main(context):
        return (yield context.call_activity("work", "x"))

    app = app_of(main, work=lambda value: value)
    first = DurableHost(app, overrides={"work": die})
    with pytest.raises(Killed):
        first.run("main", instance_id="m")
    second = DurableHost.resume(app, first.snapshot())
    second.run_until_idle()

    assert ("Completed", "x") == (second.instances["m"].status, second.instances["m"].output)


def test_crash_that_never_ends_is_refused():
    """A process that always dies gets nowhere."""
    with pytest.raises(ValueError, match="crash is 1"):
        DurableHost([], crash=1)

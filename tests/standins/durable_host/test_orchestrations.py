"""Orchestrations run as on the Durable Functions host, and what that refuses is refused."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt

from collections import Counter

import azure.durable_functions as df
import azure.functions as func
import pytest

from tests.standins.durable_host import DurableHost, NonDeterministic, PayloadTooLarge, Refused
from tests.standins.durable_host.samples import FILES, ORDERS, app_of, batch_app

# -- orchestrations


@pytest.mark.parametrize("seed", ORDERS)
def test_files_are_loaded_in_any_order_and_retried(seed):
    """A child per file retries on its own; one that keeps failing comes back as a record."""
    host = DurableHost(batch_app(), seed=seed)

    done = host.run("batch", {"files": FILES}, "batch-0")

    assert ("Completed", {"published": "10 rows", "failed": ["poison.csv"]}) == (done.status, done.output)
    assert {"a.csv": 1, "b.csv": 3, "poison.csv": 3} == Counter(
        value["file"] for name, value in host.calls if name == "load_file"
    )
    assert {"files": FILES} == done.input
    assert {"files": 3} == done.custom_status


def test_waiting_takes_virtual_time_only():
    """Two retries of 30 seconds and a timer of an hour: the clock says so, and nobody has waited."""
    host = DurableHost(batch_app())

    done = host.run("batch", {"files": FILES}, "batch-0")

    assert dt.timedelta(hours=1, minutes=1) == host.now - done.created
    assert 6 == done.episodes


def test_orders_differ_between_seeds():
    """A seed is worth something only if it changes what happens when."""
    orders = set()
    for seed in ORDERS:
        host = DurableHost(batch_app(failures={}), seed=seed)
        host.run("batch", {"files": [f"{n}.csv" for n in range(6)]})
        orders.add(tuple(value["file"] for name, value in host.calls if name == "load_file"))

    assert len(orders) > 3


def test_same_seed_same_order():
    """What a seed has shown can be seen again."""
    first, second = (DurableHost(batch_app(), seed=9, duplicates=0.5, crash=0.05) for _ in range(2))

    for host in (first, second):
        host.run("batch", {"files": FILES}, "batch-0")

    assert first.calls == second.calls
    assert first.crashes == second.crashes > 0


@pytest.mark.parametrize("seed", ORDERS)
def test_messages_may_come_in_batches(seed):
    """An episode takes all that is waiting, and comes to the same."""
    done = DurableHost(batch_app(), seed=seed, batch=None).run("batch", {"files": FILES}, "batch-0")

    assert {"published": "10 rows", "failed": ["poison.csv"]} == done.output


def test_episode_takes_a_message_at_a_time_or_all_that_wait():
    """Six results come one by one, or together in one episode after the first."""

    def main(context):
        return (yield context.task_all([context.call_activity("work", n) for n in range(6)]))

    app = app_of(main, work=lambda value: value)

    assert [7, 2] == [DurableHost(app, batch=batch).run("main").episodes for batch in (1, None)]


def test_activity_may_be_replaced_by_a_fake():
    """The fake gets what the activity would have got; it may be async."""

    async def fake(spec):
        return {"file": spec["file"].upper(), "rows": 100}

    host = DurableHost(batch_app(), overrides={"load_file": fake})

    assert {"published": "300 rows", "failed": []} == host.run("batch", {"files": FILES}).output


def test_async_activity_runs_inside_an_event_loop_too():
    """A test that sits in a loop itself may pump the hub."""

    async def inside():
        return DurableHost(batch_app(failures={})).run("batch", {"files": ["a"]})

    assert {"published": "1 rows", "failed": []} == asyncio.run(inside()).output


def test_timer_longer_than_the_host_allows_is_split():
    """The SDK takes steps of three days; twenty days pass on the clock."""

    def main(context):
        yield context.create_timer(context.current_utc_datetime + dt.timedelta(days=20))
        return context.current_utc_datetime.isoformat()

    host = DurableHost(app_of(main))

    assert "2026-11-22T08:00:00+00:00" == host.run("main").output
    assert 6 == sum(event["EventType"] == 11 for event in next(iter(host.instances.values())).history)


def test_first_of_two_wins_and_its_rival_is_cancelled():
    """An activity beats a timer, as it takes no virtual time; the timer that nobody awaits leaves the clock alone."""

    def main(context):
        timer = context.create_timer(context.current_utc_datetime + dt.timedelta(hours=1))
        call = context.call_activity("quick", 1)
        winner = yield context.task_any([timer, call])
        if winner == call:
            timer.cancel()
        return call.result

    host = DurableHost(app_of(main, quick=lambda value: value + 1))

    done = host.run("main")

    assert (2, done.created) == (done.output, host.now)


def test_rival_that_never_comes_is_not_waited_for():
    """The host goes on with the first, too, and ends the instance while the other is still awaited."""

    def main(context):
        call = context.call_activity("quick", 1)
        yield context.task_any([context.wait_for_external_event("never"), call])
        return (yield context.call_activity("quick", call.result))

    host = DurableHost(app_of(main, quick=lambda value: value + 1))

    assert ("Completed", 3) == (host.run("main").status, host.instances.popitem()[1].output)


def test_event_that_nobody_waits_for_yet_is_kept():
    """It comes before the activity's result, and is there when it is asked for."""

    def main(context):
        yield context.call_activity("work")
        return (yield context.wait_for_external_event("go"))

    host = DurableHost(app_of(main, work=lambda _: 1))
    host.start("main", instance_id="m")
    host.raise_event("m", "go", "early")
    host.run_until_idle()

    assert ("Completed", '"early"') == (host.instances["m"].status, host.instances["m"].output)


@pytest.mark.parametrize("seed", range(1, 7))
def test_endless_orchestration_begins_anew(seed):
    """Each round is a new execution with a history of its own; results of the last one are not mixed up with it."""

    def main(context):
        rounds = context.get_input()
        if rounds == 5:
            return "enough"
        if rounds != (yield context.call_activity("work", rounds)):
            return "the result of another round"
        yield context.create_timer(context.current_utc_datetime + dt.timedelta(hours=1))
        context.continue_as_new(rounds + 1)
        return None

    host = DurableHost(app_of(main, work=lambda value: value), duplicates=1.0, outlive=True, seed=seed)

    done = host.run("main", 0)

    assert ("Completed", "enough") == (done.status, done.output)
    assert set(range(5)) == {value for _, value in host.calls}
    assert len(done.history) < 8


def test_loop_without_end_is_noticed():
    """An orchestration that never waits for anything new would keep a test for ever."""

    def main(context):
        yield context.create_timer(context.current_utc_datetime + dt.timedelta(days=1))
        context.continue_as_new(None)

    host = DurableHost(app_of(main))
    host.start("main")

    with pytest.raises(RuntimeError, match="not idle after 50 steps"):
        host.run_until_idle(50)


def test_timers_may_be_held_back():
    """A test can look at what waits before time goes on."""
    host = DurableHost(batch_app(failures={}))
    host.start("batch", {"files": ["a"]}, "b")

    host.run_until_idle(fire_timers=False)
    assert "Running" == host.instances["b"].status
    host.run_until_idle()

    assert "Completed" == host.instances["b"].status


def test_failure_of_an_orchestrator_reaches_its_parent():
    """A child that raises fails; its parent sees the text, fails too, and both say who."""
    app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)

    @app.orchestration_trigger(context_name="context")
    def child(context):
        raise ValueError("no such feed")
        yield

    @app.orchestration_trigger(context_name="context")
    def parent(context):
        yield context.call_sub_orchestrator("child")

    done = DurableHost(app).run("parent")

    assert "Failed" == done.status
    assert done.output.startswith(
        "Orchestrator function 'parent' failed: Orchestrator function 'child' failed: no such"
    )


def test_child_without_an_id_is_named_after_the_execution():
    """As the host names it: execution of the parent, colon, id of the call."""
    app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)

    @app.orchestration_trigger(context_name="context")
    def child(context):
        return context.parent_instance_id

    @app.orchestration_trigger(context_name="context")
    def parent(context):
        return (yield context.call_sub_orchestrator("child"))

    host = DurableHost(app)
    done = host.run("parent", instance_id="p")

    assert "p" == done.output
    assert {"p", f"{done.execution}:0"} == host.instances.keys()


def test_retries_inside_task_all_mix_up_results():
    """Why no function may do so: on durable 1.7, ``cleanup`` is handed the failure of a sibling (issue 603)."""
    left = {"x": 99, "y": 2}

    def flaky(key):
        if left.get(key, 0):
            left[key] -= 1
            raise RuntimeError(key)
        return key

    def main(context):
        fast, slow = df.RetryOptions(1_000, 1), df.RetryOptions(60_000, 5)
        calls = [
            context.call_activity_with_retry("flaky", fast, "x"),
            context.call_activity_with_retry("flaky", slow, "y"),
        ]
        with contextlib.suppress(Exception):
            yield context.task_all(calls)
        return (yield context.call_activity("cleanup", "z"))

    host = DurableHost(app_of(main, flaky=flaky, cleanup=lambda _: "clean"))
    done = host.run("main")

    assert ("cleanup", "z") in host.calls
    assert "Failed" == done.status
    assert "RuntimeError: y" in done.output


# -- what is refused


def test_orchestrator_that_rolls_dice_is_found_out():
    """Two runs over one history have to give one answer."""
    flips = iter(range(1_000))

    def main(context):
        yield context.call_activity("work", next(flips))

    app = app_of(main, work=lambda value: value)

    with pytest.raises(NonDeterministic, match="two answers over one history"):
        DurableHost(app).run("main")
    assert "Completed" == DurableHost(app, check_determinism=False).run("main").status


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("new", r"history has TaskScheduled 'old' under id 0, this replay has TaskScheduled 'new'"),
        (None, r"history has TaskScheduled 'old' under id 0, which this replay did not schedule"),
    ],
)
def test_orchestrator_that_changed_under_a_running_instance_is_found_out(name, found):
    """Another name under an id that history knows is what the real host calls non-deterministic, as is none."""
    versions = {"name": "old"}

    def main(context):
        if versions["name"]:
            yield context.call_activity(versions["name"])
        yield context.wait_for_external_event("go")

    app = app_of(main, old=lambda _: 1, new=lambda _: 2)
    host = DurableHost(app)
    host.run("main", instance_id="m")
    versions["name"] = name
    host.raise_event("m", "go")

    with pytest.raises(NonDeterministic, match=found):
        host.run_until_idle()


def test_second_start_of_a_running_instance_is_refused(gates):
    """A finished one is replaced."""
    gates.run("main", instance_id="one")

    with pytest.raises(Refused, match="status Running already exists"):
        gates.start("main", instance_id="one")
    gates.raise_event("one", "go", 1)
    gates.run_until_idle()
    gates.run("main", instance_id="one")

    assert ("Running", 1) == (gates.instances["one"].status, gates.instances["one"].episodes)


def test_unknown_names_are_refused():
    """An app that calls what it does not have is broken: no test should pass over it."""

    def main(context):
        yield context.call_activity("nothing")

    host = DurableHost(app_of(main))

    with pytest.raises(LookupError, match="'other' doesn't exist"):
        host.start("other")
    with pytest.raises(LookupError, match="'nothing' doesn't exist"):
        host.run("main")


@pytest.mark.parametrize("bad", ["", "@x", "a/b", "a\\b", "a#b", "a?b", "a\nb", "x" * 101])
def test_instance_id_follows_the_rules(gates, bad):
    """The host takes no other."""
    with pytest.raises(ValueError, match="instance id"):
        gates.start("main", instance_id=bad)


def test_payload_above_the_limit_is_refused():
    """Named, with its size: inputs and results are stored with the history, and rows do not belong there."""
    host = DurableHost(batch_app(failures={}), payload_limit=500)
    assert "Completed" == host.run("batch", {"files": FILES}).status

    with pytest.raises(PayloadTooLarge, match=r"input of orchestration batch has .* bytes: at most 500"):
        host.run("batch", {"files": ["x" * 500]})


def test_every_payload_is_measured():
    """Inputs, results, status, output and events, each at its largest, in bytes as they are stored."""

    def main(context):
        context.set_custom_status("s" * 10)
        yield context.wait_for_external_event("go")
        got = yield context.call_activity("work", "i" * 20)
        return got + "o" * 30

    host = DurableHost(app_of(main, work=lambda _: "ä" * 2))
    host.run("main", "m" * 5, "m")
    host.raise_event("m", "go", "e" * 7)
    host.run_until_idle()

    assert {
        "input of orchestration main": 11,
        "custom status of main": 12,
        "event go for main": 13,
        "input of activity work": 22,
        "result of activity work": 14,
        "output of orchestration main": 44,
    } == host.payloads
    assert (44, "output of orchestration main") == host.largest_payload()


def test_failure_is_measured_in_bytes():
    """What an activity raises is stored as well, and its text is not escaped."""

    def fail(_):
        raise ValueError("ä")

    def main(context):
        yield context.call_activity("work")

    host = DurableHost(app_of(main, work=fail))
    host.run("main")

    assert len("Activity function 'work' failed:  ValueError: ä") + 1 == host.payloads["failure of activity work"]

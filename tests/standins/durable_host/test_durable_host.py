"""The stand-in for the Durable Functions host: what orchestrations, clients and crashes meet on the real one."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import threading

from collections import Counter

import azure.durable_functions as df
import azure.functions as func
import pytest

from tests.standins.durable_host import DurableHost, NonDeterministic, PayloadTooLarge, Refused, call_async

ORDERS = [None, 1, 2, 3, 4, 5]
FILES = ["a.csv", "b.csv", "poison.csv"]
RUNNING = [df.OrchestrationRuntimeStatus.Running]
COMPLETED = [df.OrchestrationRuntimeStatus.Completed]
BEFORE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def batch_app(failures=None):
    """Loads files in children of their own, each retried; waits an hour; publishes. *failures*: tries that go wrong."""
    app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)
    left = {"b.csv": 2, "poison.csv": 1_000} if failures is None else failures

    @app.activity_trigger(input_name="spec")
    def load_file(spec):
        if left.get(spec["file"], 0):
            left[spec["file"]] -= 1
            raise ConnectionError(f"{spec['file']} is out of reach")
        return {"file": spec["file"], "rows": len(spec["file"])}

    @app.activity_trigger(input_name="totals")
    async def publish(totals):
        await asyncio.sleep(0)
        return f"{totals['rows']} rows"

    @app.orchestration_trigger(context_name="context")
    def one_file(context):
        spec = context.get_input()
        retry = df.RetryOptions(first_retry_interval_in_milliseconds=30_000, max_number_of_attempts=3)
        try:
            loaded = yield context.call_activity_with_retry("load_file", retry, spec)
        except Exception as error:  # noqa: BLE001 - the SDK raises nothing finer
            return {"ok": False, "file": spec["file"], "error": str(error)}
        return {"ok": True, **loaded}

    @app.orchestration_trigger(context_name="context")
    def batch(context):
        files = context.get_input()["files"]
        context.set_custom_status({"files": len(files)})
        results = yield context.task_all(
            [
                context.call_sub_orchestrator("one_file", {"file": file}, instance_id=f"{context.instance_id}:{n}")
                for n, file in enumerate(files)
            ]
        )
        yield context.create_timer(context.current_utc_datetime + dt.timedelta(hours=1))
        rows = sum(result["rows"] for result in results if result["ok"])
        text = yield context.call_activity("publish", {"rows": rows})
        return {"published": text, "failed": [result["file"] for result in results if not result["ok"]]}

    @app.route(route="start", methods=["POST"])
    @app.durable_client_input(client_name="client")
    async def starter(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
        started = await client.start_new("batch", "batch-1", req.get_json())
        return client.create_check_status_response(req, started)

    return app


def app_of(orchestrator, **activities):
    """An app of one orchestrator, ``main``, and *activities*."""
    app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)
    app.orchestration_trigger(context_name="context", orchestration="main")(orchestrator)
    for name, activity in activities.items():
        app.activity_trigger(input_name="value", activity=name)(lambda value, call=activity: call(value))
        # Functions of one name are refused.
        app._function_builders[-1]._function._name = name
    return app


def gate(context):
    return (yield context.wait_for_external_event("go"))


def clients(host):
    return df.DurableOrchestrationClient(host.client_binding())


@pytest.fixture
def gates():
    """A host whose instances wait for an event, and answer with what it brings."""
    with DurableHost(app_of(gate)) as host:
        yield host


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


# -- at least once


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


def test_second_delivery_outlives_its_instance_if_asked_to():
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


# -- clients


def test_client_starts_asks_and_is_refused():
    """start_new, the refusal of a second one, and the status, through the SDK's own client."""

    async def talk(host):
        client = clients(host)
        assert not await client.get_status("batch-1")
        started = await client.start_new("batch", "batch-1", {"files": ["a.csv"]})
        with pytest.raises(Exception, match="status Pending already exists"):
            await client.start_new("batch", "batch-1", {"files": []})
        with pytest.raises(Exception, match="'other' doesn't exist"):
            await client.start_new("other")
        with pytest.raises(Exception, match="starts with @"):
            await client.start_new("batch", "@x")
        host.run_until_idle()
        return started, await client.get_status(started, show_input=True, show_history=True)

    with DurableHost(batch_app()) as host:
        started, status = call_async(talk(host))

    assert "batch-1" == started
    assert df.OrchestrationRuntimeStatus.Completed == status.runtime_status
    assert {"published": "5 rows", "failed": []} == status.output
    assert '{"files": ["a.csv"]}' == status.input_
    assert "OrchestratorStarted" == status.historyEvents[0]["EventType"]


def test_function_with_a_client_binding_starts_an_orchestration():
    """The binding is the JSON text that the worker hands to a function."""
    app = batch_app()
    starter = next(each for each in app.get_functions() if each.get_function_name() == "starter").get_user_function()
    request = func.HttpRequest(method="POST", url="http://x/api/start", body=json.dumps({"files": ["a"]}).encode())

    with DurableHost(app) as host:
        answer = call_async(starter(req=request, client=host.client_binding()))
        host.run_until_idle()

    assert 202 == answer.status_code
    assert "Completed" == host.instances["batch-1"].status


def test_event_arrives_as_text(gates):
    """The SDK encodes it twice and decodes it once; before it is waited for it is kept."""

    async def talk():
        client = clients(gates)
        started = await client.start_new("main", "early")
        await client.raise_event(started, "go", {"n": 1})
        gates.run_until_idle()
        with pytest.raises(Exception, match="is gone"):
            await client.raise_event(started, "go", 2)
        with pytest.raises(Exception, match="No instance with ID"):
            await client.raise_event("nobody", "go", 2)

    call_async(talk())

    assert '{"n": 1}' == gates.instances["early"].output


def test_instance_is_suspended_resumed_and_terminated(gates):
    """Messages wait while it is suspended; what has ended is gone."""

    async def talk():
        client = clients(gates)
        await client.start_new("main", "one")
        gates.run_until_idle()
        await client.suspend("one", "maintenance")
        await client.raise_event("one", "go", 1)
        gates.run_until_idle()
        suspended = (await client.get_status("one")).runtime_status
        await client.resume("one", "done")
        gates.run_until_idle()
        await client.start_new("main", "two")
        await client.terminate("two", "no longer wanted")
        await client.terminate("two", "again")
        with pytest.raises(Exception, match="No instance"):
            await client.terminate("nobody", "x")
        return suspended

    assert df.OrchestrationRuntimeStatus.Suspended == call_async(talk())
    assert ("Completed", "1") == (gates.instances["one"].status, gates.instances["one"].output)
    assert ("Terminated", "no longer wanted") == (gates.instances["two"].status, gates.instances["two"].output)


def test_instance_is_restarted_with_its_input():
    """Under its own id or a new one; not while it is running."""

    def main(context):
        yield context.wait_for_external_event("go")
        return context.get_input()

    async def talk(host):
        client = clients(host)
        await client.start_new("main", "one", [1])
        host.run_until_idle()
        with pytest.raises(Exception, match="status code 500"):
            await client.restart("one", restart_with_new_instance_id=False)
        other = (await client.restart("one"))["id"]
        host.terminate("one")
        same = (await client.restart("one", restart_with_new_instance_id=False))["id"]
        return other, same

    with DurableHost(app_of(main)) as host:
        other, same = call_async(talk(host))

        assert "one" == same != other
        assert [[1], [1]] == [host.instances[each].input for each in (other, same)]


def test_history_is_purged_when_its_instance_has_ended(gates):
    """One or many; what runs is left alone."""

    async def talk():
        client = clients(gates)
        for n in range(4):
            await client.start_new("main", f"i{n}")
        gates.run_until_idle()
        for n in range(3):
            await client.raise_event(f"i{n}", "go")
        gates.run_until_idle()
        one = await client.purge_instance_history("i0")
        running = await client.purge_instance_history("i3")
        many = await client.purge_instance_history_by(created_time_from=BEFORE, runtime_status=COMPLETED)
        none = await client.purge_instance_history_by(created_time_from=BEFORE)
        return [each.instances_deleted for each in (one, running, many, none)]

    assert [1, 0, 2, 0] == call_async(talk())
    assert ["i3"] == list(gates.instances)


def test_purge_without_lower_bound_is_refused(gates):
    """The client asks for one itself, the host insists."""

    async def talk():
        session = await df.models.utils.http_utils._get_session()
        url = json.loads(gates.client_binding())["rpcBaseUrl"]
        async with session.delete(f"{url}instances/") as answer:
            return answer.status

    assert 400 == call_async(talk())


def test_list_holds_a_hundred_and_the_client_does_not_ask_for_more(gates):
    """The trap: a token comes with the page, and the SDK's client leaves it."""
    for n in range(130):
        gates.start("main", instance_id=f"i{n:03}")
    gates.run_until_idle()

    async def talk():
        client = clients(gates)
        every = await client.get_status_all()
        some = await client.get_status_by(instance_id_prefix="i12", runtime_status=RUNNING)
        none = await client.get_status_by(created_time_to=BEFORE)
        none += await client.get_status_by(runtime_status=COMPLETED)
        session = await df.models.utils.http_utils._get_session()
        url = f"{json.loads(gates.client_binding())['rpcBaseUrl']}instances/?runtimeStatus=Running"
        async with session.get(url) as answer:
            token = answer.headers["x-ms-continuation-token"]
        async with session.get(url, headers={"x-ms-continuation-token": token}) as answer:
            rest = await answer.json()
            last = "x-ms-continuation-token" not in answer.headers
        return len(every), len(some), len(none), len(rest), last

    assert (100, 10, 0, 30, True) == call_async(talk())


def test_many_clients_at_once_start_each_instance_once(gates):
    """Requests come from other threads than the pump's, over many connections."""

    async def talk():
        client = clients(gates)
        starts = (client.start_new("main", f"i{n % 20}") for n in range(100))
        return await asyncio.gather(*starts, return_exceptions=True)

    answers = call_async(talk())

    assert 20 == len(gates.instances)
    assert 80 == sum(isinstance(answer, Exception) for answer in answers)


# -- in the background


def test_hub_runs_by_itself_until_it_is_left():
    """It wakes when something is asked of it, and timers fire when nothing else can happen."""
    with DurableHost(batch_app(), seed=3) as host, host.running():
        host.start("batch", {"files": FILES}, "batch-0")
        first = host.wait("batch-0")
        call_async(clients(host).start_new("batch", "batch-1", {"files": ["a"]}))
        second = host.wait("batch-1")

    assert ["10 rows", "1 rows"] == [done.output["published"] for done in (first, second)]


def test_activities_run_side_by_side():
    """With two workers two activities meet, which one alone never could."""
    meeting = threading.Barrier(2, timeout=30)

    def main(context):
        return (yield context.task_all([context.call_activity("meet", n) for n in range(2)]))

    app = app_of(main, meet=lambda _: meeting.wait() in (0, 1))
    with DurableHost(app) as host, host.running(workers=2):
        host.start("main", instance_id="m")

        assert [True, True] == host.wait("m").output


def test_workers_survive_duplicates_and_crashes():
    """Results of a life that is over are not recorded, and their activities run again."""
    host = DurableHost(batch_app(failures={}), seed=5, duplicates=0.5, crash=0.1)
    with host.running(workers=4):
        host.start("batch", {"files": [f"{n}" for n in range(20)]}, "b")

        assert {"published": "30 rows", "failed": []} == host.wait("b").output
    assert host.crashes > 0


def test_what_goes_wrong_in_the_hub_is_raised_to_who_waits():
    """In the background it would otherwise be lost."""
    flips = iter(range(1_000))

    def main(context):
        yield context.call_activity("work", next(flips))

    host = DurableHost(app_of(main, work=lambda value: value))
    host.start("main", instance_id="m")

    with pytest.raises(NonDeterministic), host.running(), pytest.raises(NonDeterministic):
        host.wait("m")


def test_payload_that_a_client_sends_is_refused_to_it_and_raised():
    """The client gets an error, and the test hears of it even if the app swallows that."""
    with DurableHost(app_of(gate), payload_limit=100) as host:
        with pytest.raises(Exception, match="input of orchestration main has"):
            call_async(clients(host).start_new("main", None, "x" * 200))
        with pytest.raises(PayloadTooLarge):
            host.run_until_idle()


def test_waiting_for_what_does_not_end_ends(gates):
    """With the state that the instance is in."""
    gates.run("main", instance_id="m")

    with pytest.raises(TimeoutError, match="'m' is Running after 0 seconds"):
        gates.wait("m", timeout=0)
    with pytest.raises(TimeoutError, match="'n' is unknown"):
        gates.wait("n", timeout=0)


def test_one_pump_at_a_time(gates):
    """Steps by hand and in the background would race."""
    with gates.running(), pytest.raises(RuntimeError, match="in the background already"):
        gates.step()

"""The hub runs in the background, with several workers, until it is left."""

from __future__ import annotations

import threading

import pytest

from tests.standins.durable_host import DurableHost, NonDeterministic, PayloadTooLarge, call_async
from tests.standins.durable_host.samples import FILES, app_of, batch_app, clients, gate


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

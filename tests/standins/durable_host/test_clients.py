"""Clients start, ask, signal, suspend, terminate, restart and purge instances."""

from __future__ import annotations

import asyncio
import json

import azure.durable_functions as df
import azure.functions as func
import pytest

from tests.standins.durable_host import DurableHost, call_async
from tests.standins.durable_host.samples import BEFORE, COMPLETED, RUNNING, app_of, batch_app, clients


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

"""Small apps that tests of the host run, and what they compare with."""

from __future__ import annotations

import asyncio
import datetime as dt

import azure.durable_functions as df
import azure.functions as func

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

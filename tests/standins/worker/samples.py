"""Small apps to ask the worker about: one that it takes, with all kinds of functions there are, and many it refuses."""

from __future__ import annotations

from textwrap import dedent

GOOD = '''
"""One function of each kind."""

from __future__ import annotations

import os

import azure.durable_functions as df
import azure.functions as func
import azurefunctions.extensions.bindings.blob as blob

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)


@app.blob_trigger(
    arg_name="export",
    path="exports/{name}",
    connection="ExportsStorage",
    source=os.environ.get("BLOB_TRIGGER_SOURCE", "EventGrid"),
)
@app.durable_client_input(client_name="client")
async def on_export(export: blob.BlobClient, client: df.DurableOrchestrationClient) -> None:
    await client.start_new("export", None, {"blob": export.blob_name})


@app.route(route="webhooks/{source}", methods=["POST"])
def webhook(req: func.HttpRequest) -> func.HttpResponse:
    print("this is no answer")
    told = [req.method, req.route_params["source"], req.params["page"], req.headers["X-Id"], req.get_body().decode()]
    return func.HttpResponse(" ".join(told), status_code=202)


@app.timer_trigger(schedule="%SYNC_SCHEDULE%", arg_name="timer", run_on_startup=False, use_monitor=True)
def sync_due(timer: func.TimerRequest) -> None:
    raise RuntimeError("nothing to sync")


@app.orchestration_trigger(context_name="context")
def export(context: df.DurableOrchestrationContext):
    return (yield context.call_activity("load", context.get_input()))


@app.activity_trigger(input_name="request")
def load(request: dict) -> dict:
    return {"got": request}
'''

_START = """
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import azure.durable_functions as df
import azure.functions as func

if TYPE_CHECKING:
    from decimal import Decimal

app = df.DFApp()
"""


def _app(functions: str) -> str:
    return _START + dedent(functions)


REFUSED = {
    "an import that fails": ("import no_such_module", "No module named 'no_such_module'"),
    "no app": ("import azure.functions as func", "Could not find top level function app instances"),
    "two apps": (_app("other = func.FunctionApp()"), "More than one"),
    "a parameter that nothing binds": (
        _app("""
        @app.route(route="a")
        def a(req: func.HttpRequest, extra: int = 1) -> func.HttpResponse: ...
        """),
        "{'extra'}",
    ),
    "two functions with one name": (
        _app("""
        @app.route(route="a")
        def a(req: func.HttpRequest) -> func.HttpResponse: ...
        @app.route(route="b")
        def a(req: func.HttpRequest) -> func.HttpResponse: ...
        """),
        "Function a does not have a unique function name",
    ),
    "a generic as annotation": (
        _app("""
        @app.activity_trigger(input_name="request")
        def load(request: dict[str, Any]) -> dict: ...
        """),
        "invalid non-type annotation dict[str, typing.Any]",
    ),
    "a union as annotation": (
        _app("""
        @app.activity_trigger(input_name="request")
        def load(request: dict | None) -> dict: ...
        """),
        "invalid non-type annotation dict | None",
    ),
    "a union as what HTTP answers": (
        _app("""
        @app.route(route="a")
        def a(req: func.HttpRequest) -> func.HttpResponse | str: ...
        """),
        "invalid non-type return annotation",
    ),
    "an annotation that only type checkers see": (
        _app("""
        @app.activity_trigger(input_name="request")
        def load(request: Decimal) -> dict: ...
        """),
        "name 'Decimal' is not defined",
    ),
}
"""What the worker refuses, and what it says about it."""

FAILING = {
    "an answer that nothing takes": (
        _app("""
        @app.timer_trigger(schedule="%SCHEDULE%", arg_name="given")
        def asked(given: func.TimerRequest) -> int:
            return 1
        """),
        {"given": {"json": {}}},
        "without a $return binding",
    ),
    "a plain function with a durable client": (
        _app("""
        @app.route(route="asked", trigger_arg_name="given")
        @app.durable_client_input(client_name="client")
        def asked(given: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
            return func.HttpResponse("done")
        """),
        {"given": {"http": {}}, "client": {"string": '{"taskHubName": "", "creationUrls": {}, "managementUrls": {}}'}},
        "can't be used in 'await' expression",
    ),
}
"""What the worker takes but cannot run: functions called asked, what they are given, and what the worker says."""

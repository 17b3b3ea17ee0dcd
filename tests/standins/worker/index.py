"""Index an app as the Python worker of Azure Functions does, load its functions, invoke one if asked; tell it as JSON.

    python index.py APP
    python index.py APP --invoke NAME --inputs '{"request": {"json": {"feed": "coolr.location"}}}'

Needs azure-functions-runtime and what the app needs. The library knows no protobuf of its own: whoever hosts it hands
the messages over. Here they are plain attribute holders, which is enough to index, to load and to hear of errors.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys

from pathlib import Path
from types import SimpleNamespace
from typing import Any

MESSAGES = (
    "FunctionLoadResponse",
    "FunctionMetadataResponse",
    "RpcException",
    "RpcFunctionMetadata",
    "RpcRetryOptions",
    "WorkerInitResponse",
    "WorkerMetadata",
)


class StatusResult(SimpleNamespace):
    Failure, Success, Cancelled = range(3)


class BindingInfo(SimpleNamespace):
    """Its enums Direction and DataType, as FunctionRpc.proto numbers them."""

    out, inout = 1, 2
    undefined, string, binary, stream = range(4)


setattr(BindingInfo, "in", 0)
PROTOS = SimpleNamespace(StatusResult=StatusResult, BindingInfo=BindingInfo, **dict.fromkeys(MESSAGES, SimpleNamespace))


async def reported(app: Path, invoke: str | None, inputs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """``{ok, error, worker, functions, modules}``; with a function to invoke, its ``answer`` too.

    A function is ``{name, bindings, properties}``; modules are those that indexing has imported.
    """
    import azure_functions_runtime as runtime

    runtime.start_threadpool_executor()
    begun = await runtime.worker_init_request(
        _request(worker_init_request=SimpleNamespace(capabilities={}, function_app_directory=str(app)))
    )
    worker = begun.worker_metadata.worker_version
    if begun.result.status != StatusResult.Success:
        return {"ok": False, "error": begun.result.exception.message, "worker": worker, "functions": []}
    found = await runtime.functions_metadata_request(_request(functions_metadata_request=None))
    functions = found.function_metadata_results
    if functions is None:
        return {"ok": False, "error": "there is no function_app.py", "worker": worker, "functions": []}
    modules = sorted(sys.modules)
    for function in functions:
        await _load(runtime, function.function_id)
    result = {
        "ok": True,
        "error": None,
        "worker": worker,
        "functions": [_described(function) for function in functions],
        "modules": modules,
    }
    if invoke is not None:
        ids = {function.name: function.function_id for function in functions}
        result["answer"] = await _answer(ids[invoke], inputs)
    return result


def _request(**body: Any) -> SimpleNamespace:
    return SimpleNamespace(request=SimpleNamespace(**body), properties={"host": "127.0.0.1", "protos": PROTOS})


async def _load(runtime: Any, function_id: str) -> None:
    requested = _request(function_load_request=SimpleNamespace(function_id=function_id))
    loaded = await runtime.function_load_request(requested)
    assert loaded.result.status == StatusResult.Success, loaded.result.exception.message


def _described(function: Any) -> dict[str, Any]:
    bindings = [json.loads(binding) for binding in function.raw_bindings]
    return {"name": function.name, "bindings": bindings, "properties": dict(function.properties)}


async def _answer(function_id: str, inputs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """``{ok, error, value}``: an HTTP answer as ``{status, headers, body}``, any other as what its JSON says."""
    from azure_functions_runtime.native_invocation import invocation_request_native

    given = [(name, _datum(**data)) for name, data in inputs.items()]
    ok, returned, _, error, _ = await invocation_request_native("invocation", function_id, given, {})
    return {"ok": ok, "error": error, "value": _plain(returned) if ok else None}


def _datum(**data: Any) -> Any:
    """What travels between host and worker, of ``http={...}``, ``json=anything`` or ``string="text"``."""
    from azure.functions.meta import Datum

    ((kind, value),) = data.items()
    if kind == "json":
        return Datum(json.dumps(value), "json")
    if kind == "string":
        return Datum(value, "string")
    request = {name: Datum(value.get(name, default), "string") for name, default in (("method", "GET"), ("url", ""))}
    for name in ("headers", "params", "query"):
        request[name] = {key: Datum(text, "string") for key, text in value.get(name, {}).items()}
    return Datum(request | {"body": Datum(value.get("body", "").encode(), "bytes")}, "http")


def _plain(returned: Any) -> Any:
    if returned is None or returned.value is None:
        return None
    if returned.type == "json":
        return json.loads(returned.value)
    if returned.type != "http":
        return returned.value
    return {
        "status": int(returned.value["status_code"].value),
        "headers": {name: text.value for name, text in returned.value["headers"].items()},
        "body": returned.value["body"].value.decode(),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("app", type=Path)
    parser.add_argument("--invoke")
    parser.add_argument("--inputs", type=json.loads, default={})
    requested = parser.parse_args()
    app = requested.app.resolve()
    sys.path.insert(0, str(app))
    os.chdir(app)
    with contextlib.redirect_stdout(sys.stderr):  # what the app prints is not the answer
        result = asyncio.run(reported(app, requested.invoke, requested.inputs))
    print(json.dumps(result))


if __name__ == "__main__":
    main()

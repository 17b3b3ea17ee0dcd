"""What the requests of the SDK's client mean, after HttpApiHandler.cs of the host extension."""

from __future__ import annotations

import json

from typing import Any

from tests.standins.durable_host.hub import Refused, TaskHub
from tests.standins.durable_host.records import Instance
from tests.standins.durable_host.rpc import Reply, Request
from tests.standins.durable_host.wire import Event, Kind, parse

PAGE = 100
"""Instances in one answer to a list, unless the request asks for fewer."""
TOKEN = "x-ms-continuation-token"
NOT_FOUND = Reply(404)
GONE = Reply(410)


def reply(hub: TaskHub, request: Request) -> Reply:  # noqa: PLR0911 - a table, one line per route
    """Do what *request* asks for; the caller holds the hub's lock."""
    try:
        match request.method, *request.path:
            case ["POST", "orchestrators", name, *rest] if len(rest) <= 1:
                return _start(hub, request, name, rest[0] if rest and rest[0] else None)
            case [method, "instances"] | [method, "instances", ""]:
                return _many(hub, request) if method in _MANY else NOT_FOUND
            case ["GET", "instances", instance_id]:
                return _status(hub, request, instance_id)
            case ["DELETE", "instances", instance_id]:
                return _purge(hub, instance_id)
            case ["POST", "instances", instance_id, operation, *rest]:
                return _manage(hub, request, instance_id, operation, rest)
            case [_, "entities", *_]:
                return Reply(501, _error("entities are not played here"))
            case _:
                return NOT_FOUND
    except (LookupError, ValueError) as error:
        return Reply(400, _error(error))
    except Refused as error:
        return Reply(500, _error(error, "Something went wrong while processing your request"))


def binding(rpc_url: str) -> str:
    """The JSON text of a durableClient binding whose client calls *rpc_url*."""
    web = "http://localhost:7071/runtime/webhooks/durabletask"
    query = "taskHub=TestHub&connection=Storage&code=KEY"
    one = f"{web}/instances/INSTANCEID"
    create = f"{web}/orchestrators/{{functionName}}[/{{instanceId}}]"
    reasoned = ("terminate", "rewind", "suspend", "resume")
    return json.dumps(
        {
            "taskHubName": "TestHub",
            "connectionName": None,
            "creationUrls": {
                "createNewInstancePostUri": f"{create}?code=KEY",
                "createAndWaitOnNewInstancePostUri": (
                    f"{create}?timeout={{timeoutInSeconds}}&pollingInterval={{intervalInSeconds}}&code=KEY"
                ),
            },
            "managementUrls": {
                "id": "INSTANCEID",
                "statusQueryGetUri": f"{one}?{query}",
                "sendEventPostUri": f"{one}/raiseEvent/{{eventName}}?{query}",
                **{f"{verb}PostUri": f"{one}/{verb}?reason={{text}}&{query}" for verb in reasoned},
                "purgeHistoryDeleteUri": f"{one}?{query}",
                "restartPostUri": f"{one}/restart?{query}",
            },
            "baseUrl": web,
            "requiredQueryStringParameters": "code=KEY",
            "rpcBaseUrl": rpc_url,
            "httpBaseUrl": None,
        }
    )


def _start(hub: TaskHub, request: Request, name: str, instance_id: str | None) -> Reply:
    raw = _json(request.body)
    version = request.query.get("version")
    return Reply(202, {"id": hub.start(name, raw, instance_id=instance_id, version=version)})


def _status(hub: TaskHub, request: Request, instance_id: str) -> Reply:
    row = hub.instances.get(instance_id)
    if row is None:
        return NOT_FOUND
    document = _describe(row, show_input=request.flag("showInput", default=True))
    if request.flag("showHistory", default=False):
        outputs = request.flag("showHistoryOutput", default=False)
        document["historyEvents"] = [_tell(event, outputs=outputs) for event in row.history]
    return Reply(200 if row.ended else 202, document)


def _purge(hub: TaskHub, instance_id: str) -> Reply:
    row = hub.instances.get(instance_id)
    if row is None:
        return NOT_FOUND
    if not row.ended:
        return Reply(200, {"instancesDeleted": 0})
    del hub.instances[instance_id]
    return Reply(200, {"instancesDeleted": 1})


def _manage(hub: TaskHub, request: Request, instance_id: str, operation: str, rest: list[str]) -> Reply:
    row = hub.instances.get(instance_id)
    if row is None:
        return NOT_FOUND
    match operation, rest:
        case "restart", []:
            new_id = request.flag("restartWithNewInstanceId", default=True)
            return Reply(202, {"id": hub.restart(row, new_id=new_id)})
        case "rewind", []:
            return Reply(501, _error("rewind is not played here"))
        case _:
            return GONE if row.ended else _change(hub, request, row, (operation, *rest))


def _change(hub: TaskHub, request: Request, row: Instance, operation: tuple[str, ...]) -> Reply:
    match operation:
        case "raiseEvent", name:
            if not request.headers.get("content-type", "").startswith("application/json"):
                return Reply(400, _error("Only application/json request content is supported"))
            hub.raise_event(row, name, _json(request.body) or "null")
        case ("terminate",):
            hub.terminate(row, request.query.get("reason", ""))
        case ("suspend",):
            hub.suspend(row)
        case ("resume",):
            hub.resume(row)
        case _:
            return NOT_FOUND
    return Reply(202)


def _many(hub: TaskHub, request: Request) -> Reply:
    return _MANY[request.method](hub, request)


def _list(hub: TaskHub, request: Request) -> Reply:
    after = request.headers.get(TOKEN, "")
    found = [row for row in _matching(hub, request) if row.id > after]
    page = found[: min(PAGE, int(request.query.get("top", PAGE)))]
    headers = {TOKEN: page[-1].id} if len(page) < len(found) else {}
    show_input = request.flag("showInput", default=True)
    return Reply(200, [_describe(row, show_input=show_input) for row in page], headers)


def _purge_many(hub: TaskHub, request: Request) -> Reply:
    if "createdTimeFrom" not in request.query:
        return Reply(400, "Please provide value for 'createdTimeFrom' parameter.")
    gone = [row.id for row in _matching(hub, request) if row.ended]
    for instance_id in gone:
        del hub.instances[instance_id]
    return Reply(200, {"instancesDeleted": len(gone)}) if gone else NOT_FOUND


_MANY = {"GET": _list, "DELETE": _purge_many}


def _matching(hub: TaskHub, request: Request) -> list[Instance]:
    """What the filters of a list or purge leave, by id."""
    query = request.query
    earliest = parse(query["createdTimeFrom"]) if "createdTimeFrom" in query else None
    latest = parse(query["createdTimeTo"]) if "createdTimeTo" in query else None
    statuses = query["runtimeStatus"].split(",") if "runtimeStatus" in query else None
    found = (
        row
        for row in hub.instances.values()
        if (earliest is None or row.created >= earliest)
        and (latest is None or row.created <= latest)
        and (statuses is None or row.status in statuses)
        and row.id.startswith(query.get("instanceIdPrefix", ""))
    )
    return sorted(found, key=lambda row: row.id)


def _describe(row: Instance, *, show_input: bool) -> dict[str, Any]:
    return {
        "name": row.name,
        "instanceId": row.id,
        "runtimeStatus": row.status,
        "input": json.loads(row.raw_input) if row.raw_input and show_input else None,
        "customStatus": row.custom_status,
        "output": row.output,
        "createdTime": row.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lastUpdatedTime": row.updated.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _tell(event: Event, *, outputs: bool) -> dict[str, Any]:
    """A history event as a status shows it: by the name of its type, and without payloads unless they are wanted."""
    hidden = {"EventId", "IsPlayed"} if outputs else {"EventId", "IsPlayed", "Input", "Result"}
    shown = {name: value for name, value in event.items() if name not in hidden}
    return shown | {"EventType": Kind(event["EventType"]).title}


def _json(body: str) -> str | None:
    """*body*, which has to be JSON; None for nothing and for null."""
    if not body or json.loads(body) is None:
        return None
    return body


def _error(error: object, message: str = "One or more of the arguments submitted is incorrect") -> dict[str, str]:
    return {"Message": message, "ExceptionMessage": _text(error), "ExceptionType": type(error).__name__}


def _text(error: object) -> str:
    """A LookupError's own text is quoted by Python."""
    return str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error)

"""Measure the webhooks of CoolR and HubSpot side by side: python -m bench.functions_events [seconds] [rounds].

As `python -m bench functions` measures CoolR's: the function is called as the worker calls it, over a fresh Azurite and
a fresh endpoint of the Durable host. HubSpot's requests have ten events each, of other objects each time.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import hmac
import json
import logging
import os
import sys
import tempfile
import warnings

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import azure.functions as func

import function_app

from bench import functions
from bench.functions_deliveries import SECRET
from bench.functions_load import Call, Guard, Load
from bench.functions_report import percentile

_URL, _ACCOUNT, _EVENTS = "https://sluice.test/api/webhooks/hubspot", 62515, 10
_RATE, _AT_ONCE = 200, 16


class Events(Load):
    """HubSpot's webhook under load."""

    _sent = 0

    async def _deliver(self, delivery: object) -> int:
        self._sent += 1
        stamp = str(int(dt.datetime.now(dt.UTC).timestamp() * 1000))
        body = json.dumps([_event(_EVENTS * self._sent + n, int(stamp)) for n in range(_EVENTS)]).encode()
        signature = hmac.digest(SECRET.encode(), b"POST" + _URL.encode() + body + stamp.encode(), "sha256")
        headers = {
            "x-hubspot-signature-v3": base64.b64encode(signature).decode(), "x-hubspot-request-timestamp": stamp
        }  # fmt: skip
        request = func.HttpRequest(method="POST", url=_URL, body=body, headers=headers)
        response = await self._call(req=request, client=self._binding)
        return response.status_code


def _event(number: int, at: int) -> dict[str, Any]:
    return {
        "eventId": number, "subscriptionId": 1, "portalId": _ACCOUNT, "appId": 1, "occurredAt": at, "attemptNumber": 0,
        "subscriptionType": "contact.propertyChange", "objectId": number, "propertyName": "email",
        "propertyValue": "someone@example.com", "changeSource": "CRM",
    }  # fmt: skip


def _function(name: str) -> Call:
    built = [builder.build(function_app.app.auth_level) for builder in function_app.app._function_builders]
    (found,) = [one.get_user_function() for one in built if one.get_function_name() == name]
    return found


async def _load(request: dict[str, Any]) -> dict[str, Any]:
    guard = Guard({urlsplit(url).port or 0: name for name, url in request["servers"].items()})
    route = request["route"]
    load = (Events if route == "hubspot" else Load)(_function(f"{route}_webhook"), request)
    sys.addaudithook(guard)
    await load.warm_up(request["warm_up"])
    at_once, seconds = request["at_once"], request["seconds"]
    phase = await (load.closed(at_once, seconds) if at_once else load.open(_RATE, seconds))
    return {**phase._asdict(), "refused": sorted(guard.refused)}


def _stretch(route: str, at_once: int, seconds: int) -> dict[str, Any]:
    with (
        functions._azurite() as place, functions._hub() as (binding, hub), tempfile.TemporaryDirectory() as folder,
        contextlib.closing(functions.Links()) as links,
    ):  # fmt: skip
        request = {
            "binding": binding, "pids": {"storage": place.process, "host": hub}, "route": route,
            "servers": {"storage": place.url, "host": json.loads(binding)["rpcBaseUrl"]}, "links": links.address,
            "warm_up": 100, "rate": _RATE, "seconds": seconds, "at_once": at_once,
        }  # fmt: skip
        env = {
            **functions._settings(Path(folder), links), **place.settings, "HUBSPOT_WEBHOOK_SECRET": SECRET,
            "HUBSPOT_WEBHOOK_ACCOUNT": str(_ACCOUNT),
        }  # fmt: skip
        return functions._output(["bench.functions_events", json.dumps(request)], env)


def main(seconds: int = 4, rounds: int = 2) -> None:
    for _ in range(rounds):
        for route in ("coolr", "hubspot"):
            most, given = _stretch(route, _AT_ONCE, seconds), _stretch(route, 0, seconds)
            answered = sum(most["other"].values()) + most["accepted"]
            print(
                f"{route:8} at most {most['accepted'] / most['seconds']:4.0f}/s"
                f" ({1000 * most['cpu']['app'] / answered:.1f} ms CPU of the app each);"
                f" of {_RATE}/s {given['accepted'] / given['seconds']:4.0f}/s accepted,"
                f" p50 {percentile(given['latencies'], 50):.0f} ms, p99 {percentile(given['latencies'], 99):.0f} ms;"
                f" not accepted {most['other']} {given['other']}; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].startswith("{"):
        logging.basicConfig(level=logging.INFO, stream=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        warnings.simplefilter("ignore", DeprecationWarning)
        print(json.dumps(asyncio.run(_load(json.loads(sys.argv[1])))))
    else:
        main(*map(int, sys.argv[1:]))

"""Deliver notifications to the webhook in this process, as the worker calls it, and say how long each took.

One event loop; the function is called with the request and the client binding, and does what blocks in the loop's own
threads. Reads what to do as JSON from its argument, and its settings from the environment; prints what came of it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import os
import sys
import time
import warnings

from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import azure.functions as func
import psutil

import function_app

from bench.functions_deliveries import Delivery, deliveries

Call = Callable[..., Coroutine[Any, Any, func.HttpResponse]]
_MOST_A_SECOND = 900
"""Deliveries prepared for each second of a closed loop; the loop ends early if they are used up."""
_SLOWEST = 5.0
"""Seconds that what is still under way at the end of an open loop may take."""


class Guard:
    """Lets this process connect to the servers it may, counts that, and refuses every other connection."""

    def __init__(self, known: Mapping[int, str]) -> None:
        self.connections = dict.fromkeys(known.values(), 0)
        self.refused: set[str] = set()
        self._known = known

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect":
            place = arguments[1]
            name = self._known.get(place[1]) if place[0] == "127.0.0.1" else None
            if name is None:
                self.refused.add(str(place))
                raise ConnectionRefusedError(f"{place} is none of the servers of this benchmark")
            self.connections[name] += 1
        elif event == "socket.getaddrinfo" and arguments[0] not in ("127.0.0.1", b"127.0.0.1"):
            self.refused.add(str(arguments[0]))
            raise ConnectionRefusedError(f"{arguments[0]} is none of the servers of this benchmark")


class Phase(NamedTuple):
    """What one stretch of load came to."""

    seconds: float
    """Of an open loop, those in which deliveries came."""
    accepted: int
    """Of an open loop, within those."""
    other: dict[str, int]
    """Deliveries that were not answered with 202, by status; ``late`` without a response in time."""
    latencies: list[float]
    """Milliseconds, sorted."""
    cpu: dict[str, float]
    """Seconds of the processor, by process."""


class Load:
    """The webhook under load. *request* is what the benchmark asks for, see ``bench.functions``."""

    def __init__(self, call: Call, request: Mapping[str, Any]) -> None:
        self._call, self._binding = call, request["binding"]
        self._processes = {name: psutil.Process(pid) for name, pid in {"app": os.getpid(), **request["pids"]}.items()}
        seconds = request["seconds"]
        count = 2 + request["warm_up"] + seconds * (_MOST_A_SECOND if request["at_once"] else request["rate"])
        self._waiting: Iterator[Delivery] = iter(list(deliveries(count, request["links"], dt.datetime.now(dt.UTC))))
        self.jobs: set[str] = set()

    async def one(self) -> float:
        """Milliseconds of the next delivery alone."""
        return float((await self._measured(self._closed(1, count=1))).latencies[0])

    async def warm_up(self, count: int) -> None:
        await self._closed(8, count=count)([])

    async def open(self, rate: int, seconds: int) -> Phase:
        """Deliveries at fixed times, whatever became of those before; latency counts from the time."""

        first, in_time = time.perf_counter() + 0.05, 0

        async def phase(ended: list[tuple[int, float]]) -> None:
            async def deliver(due: float) -> None:
                nonlocal in_time
                status, now = await self._deliver(next(self._waiting)), time.perf_counter()
                ended.append((status, now - due))
                in_time += status == 202 and now <= first + seconds

            under_way = []
            for number in range(rate * seconds):
                due = first + number / rate
                if (wait := due - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
                under_way.append(asyncio.create_task(deliver(due)))
            done, late = await asyncio.wait(under_way, timeout=_SLOWEST)
            for task in late:
                task.cancel()
                ended.append((0, _SLOWEST))
            for task in done:
                task.result()

        return (await self._measured(phase))._replace(accepted=in_time, seconds=seconds)

    async def closed(self, at_once: int, seconds: int) -> Phase:
        """So many callers, each of whom delivers again as soon as it is answered."""
        return await self._measured(self._closed(at_once, seconds=seconds))

    def _closed(self, at_once: int, *, seconds: float = 3600.0, count: int | None = None) -> Any:
        async def phase(ended: list[tuple[int, float]]) -> None:
            until = time.perf_counter() + seconds
            left = iter(range(sys.maxsize if count is None else count))

            async def caller() -> None:
                while time.perf_counter() < until and next(left, None) is not None:
                    with suppress(StopIteration):
                        delivery = next(self._waiting)
                        since = time.perf_counter()
                        ended.append((await self._deliver(delivery), time.perf_counter() - since))
                        continue
                    return

            await asyncio.gather(*(caller() for _ in range(at_once)))

        return phase

    async def _measured(self, phase: Callable[[list[tuple[int, float]]], Coroutine[Any, Any, None]]) -> Phase:
        ended: list[tuple[int, float]] = []
        before, since = self._cpu(), time.perf_counter()
        await phase(ended)
        seconds, after = time.perf_counter() - since, self._cpu()
        other: dict[str, int] = {}
        for status, _ in ended:
            if status != 202:
                name = str(status or "late")
                other[name] = other.get(name, 0) + 1
        return Phase(
            seconds, len(ended) - sum(other.values()), other, sorted(1000 * took for _, took in ended),
            {name: after[name] - before[name] for name in after},
        )  # fmt: skip

    async def _deliver(self, delivery: Delivery) -> int:
        request = func.HttpRequest(
            method="POST", url="https://sluice.test/api/webhooks/coolr", body=delivery.body,
            headers={"x-coolr-signature": delivery.signature, "content-type": "application/json"},
        )  # fmt: skip
        response = await self._call(req=request, client=self._binding)
        if response.status_code == 202:
            self.jobs.add(json.loads(response.get_body())["job"])
        return response.status_code

    def _cpu(self) -> dict[str, float]:
        times = {name: process.cpu_times() for name, process in self._processes.items()}
        return {name: spent.user + spent.system for name, spent in times.items()}


def _webhook() -> Call:
    built = [builder.build(function_app.app.auth_level) for builder in function_app.app._function_builders]
    (found,) = [one.get_user_function() for one in built if one.get_function_name() == "coolr_webhook"]
    return found


async def _run(request: Mapping[str, Any]) -> dict[str, Any]:
    guard = Guard({urlsplit(url).port or 0: name for name, url in request["servers"].items()})
    load = Load(_webhook(), request)
    sys.addaudithook(guard)
    first, second = await load.one(), await load.one()
    await load.warm_up(request["warm_up"])
    if request["at_once"]:
        phase = await load.closed(request["at_once"], request["seconds"])
    else:
        phase = await load.open(request["rate"], request["seconds"])
    return {
        **phase._asdict(), "first": first, "second": second, "jobs": len(load.jobs),
        "connections": guard.connections, "refused": sorted(guard.refused),
    }  # fmt: skip


def main() -> None:
    # As in the worker, what is logged is formatted; here it goes nowhere.
    logging.basicConfig(level=logging.INFO, stream=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
    warnings.simplefilter("ignore", DeprecationWarning)  # of an option that the SDK gives to aiohttp
    print(json.dumps(asyncio.run(_run(json.loads(sys.argv[1])))))


if __name__ == "__main__":
    main()

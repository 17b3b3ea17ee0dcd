"""The host as tests see it: an app goes in, orchestrations are run, and what became of them can be looked at."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import random

from collections.abc import Iterator, Mapping
from typing import Any

from tests.standins.durable_host.background import Background, wait_for
from tests.standins.durable_host.functions import Fake, Functions
from tests.standins.durable_host.hub import TaskHub
from tests.standins.durable_host.payloads import Payloads, PayloadTooLarge
from tests.standins.durable_host.pump import Options, Pump
from tests.standins.durable_host.records import Instance, Job
from tests.standins.durable_host.routes import binding, reply
from tests.standins.durable_host.rpc import Endpoint, Reply, Request

START = dt.datetime(2026, 11, 2, 8, tzinfo=dt.UTC)


class DurableHost:
    """One task hub in memory for an app, driven only by the protocol of azure-functions-durable 1.x.

    *app* is a DFApp or a list of its functions. The clock is virtual: it stands still but for timers, which fire when
    nothing else can happen.

    - *seed*: order of activities, episodes and messages is drawn from it; without, everything comes in turn.
    - *duplicates*: probability that an activity is delivered twice, the second time at any moment until its instance
      ends; with *outlive*, also after that, as a queue may do.
    - *crash*: probability, at each of several points of a step, that the process dies and another goes on from what was
      persisted. A result that was not recorded yet is lost, and its activity executed again.
    - *batch*: how many messages an episode takes (with a seed: at most); None is all there are.
    - *overrides*: functions of one argument in place of activities, by name.
    - *payload_limit*: bytes; PayloadTooLarge for any payload above it.
    - *check_determinism*: run each episode twice and compare.
    """

    def __init__(
        self,
        app: Any,
        *,
        seed: int | None = None,
        duplicates: float = 0.0,
        outlive: bool = False,
        crash: float = 0.0,
        batch: int | None = 1,
        overrides: Mapping[str, Fake] | None = None,
        start: dt.datetime = START,
        payload_limit: int | None = None,
        check_determinism: bool = True,
    ) -> None:
        options = Options(
            seed=seed,
            duplicates=duplicates,
            outlive=outlive,
            crash=crash,
            batch=batch,
            check_determinism=check_determinism,
        )
        chance = random.Random(seed or 0)
        self._functions = Functions(app, overrides, self.client_binding)
        self._payloads = Payloads(payload_limit)
        self._hub = TaskHub(self._functions, self._payloads, now=start, tie=None if seed is None else chance.random)
        self._pump = Pump(self._hub, self._functions, options, chance)
        self._background: Background | None = None
        self._endpoint: Endpoint | None = None

    @classmethod
    def resume(cls, app: Any, snapshot: str, **options: Any) -> DurableHost:
        """Another process takes over what ``snapshot`` wrote; options as of ``DurableHost``."""
        host = cls(app, **options)
        host._hub.load(snapshot)
        return host

    def __enter__(self) -> DurableHost:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening for clients, if that was ever begun."""
        with self._pump.changed:
            endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            endpoint.close()

    # -- what can be seen

    @property
    def now(self) -> dt.datetime:
        """The virtual clock."""
        return self._hub.now

    @property
    def instances(self) -> dict[str, Instance]:
        """By id; a crash replaces the objects, so look them up again."""
        return self._hub.instances

    @property
    def calls(self) -> list[tuple[str, Any]]:
        """Each execution of an activity: name, decoded input. The test's, not the hub's: a crash leaves it alone."""
        return self._functions.calls

    @property
    def crashes(self) -> int:
        """How often the process has died."""
        return self._pump.crashes

    @property
    def payloads(self) -> dict[str, int]:
        """Bytes of the largest payload of each sort, such as ``result of activity stage``."""
        return self._payloads.sizes

    def largest_payload(self) -> tuple[int, str]:
        """Bytes of the largest payload so far, and what it was."""
        return self._payloads.largest()

    def snapshot(self) -> str:
        """All that is persisted, as JSON text: what is being executed at the moment is still to be done."""
        with self._pump.changed:
            return self._hub.dump()

    def forward(self, **span: float) -> None:
        """Move the clock on by a ``timedelta`` of *span*; timers that are due by then still fire in their turn."""
        with self._pump.change():
            self._hub.now += dt.timedelta(**span)

    # -- what clients do

    def start(self, name: str, input_: Any = None, instance_id: str | None = None) -> str:
        """Start as the SDK's client does; *input_* is encoded twice, None not at all. Gives the instance's id."""
        raw = None if input_ is None else json.dumps(json.dumps(input_))
        with self._pump.change():
            return self._hub.start(name, raw, instance_id=instance_id)

    def raise_event(self, instance_id: str, name: str, data: Any = None) -> None:
        """Raise as the SDK's client does; *data* is encoded twice."""
        with self._pump.change():
            self._hub.raise_event(self._hub.instances[instance_id], name, json.dumps(json.dumps(data)))

    def terminate(self, instance_id: str, reason: str = "") -> None:
        """End the instance, if it has not ended; its activities and children go on."""
        with self._pump.change():
            self._hub.terminate(self._hub.instances[instance_id], reason)

    def run(self, name: str, input_: Any = None, instance_id: str | None = None) -> Instance:
        """Start an orchestration, let everything happen, and give what became of it."""
        started = self.start(name, input_, instance_id)
        self.run_until_idle()
        return self._hub.instances[started]

    def client_binding(self) -> str:
        """The JSON text that the host passes to a durableClient parameter; listens on loopback from now on."""
        with self._pump.changed:
            if self._endpoint is None:
                self._endpoint = Endpoint(self._answer)
            return binding(self._endpoint.url)

    # -- in the foreground

    def step(self, *, fire_timers: bool = True) -> bool:
        """One activity, episode or timer; False if there is none."""
        with self._pump.changed:
            self._check_alone()
            if self._pump.failure is not None:
                raise self._pump.failure
            done = self._pump.advance(timers=fire_timers)
        if isinstance(done, Job):
            self._pump.perform(done)
        return bool(done)

    def run_until_idle(self, max_steps: int = 1_000_000, *, fire_timers: bool = True) -> None:
        """Go on until nothing can happen any more; what waits for an event is left waiting."""
        for _ in range(max_steps):
            if not self.step(fire_timers=fire_timers):
                return
        raise RuntimeError(f"not idle after {max_steps} steps: an orchestration seems to run for ever")

    # -- in the background

    @contextlib.contextmanager
    def running(self, *, workers: int = 1) -> Iterator[DurableHost]:
        """Pump in a thread until the block ends. More than one worker: activities run in as many threads.

        What goes wrong in the hub (an orchestrator that is not deterministic, a payload that is too large) is raised by
        ``wait``, and at the end of the block.
        """
        with self._pump.changed:
            self._check_alone()
            self._background = Background(self._pump, workers)
        try:
            with self._background:
                yield self
        finally:
            self._background = None

    def wait(self, instance_id: str, timeout: float = 300) -> Instance:
        """Block until the instance has ended, also if it is not started yet; TimeoutError after *timeout* seconds."""
        return wait_for(self._pump, instance_id, timeout)

    def _check_alone(self) -> None:
        if self._background is not None:
            raise RuntimeError("the hub is pumped in the background already")

    def _answer(self, request: Request) -> Reply:
        """From a thread of the endpoint: what a request of the SDK's client comes to."""
        try:
            with self._pump.change():
                return reply(self._hub, request)
        except PayloadTooLarge as error:
            self._pump.fail(error)
            return Reply(500, {"ExceptionMessage": str(error), "ExceptionType": type(error).__name__})

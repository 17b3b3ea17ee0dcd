"""What happens next in a hub, by turns or by chance, one step at a time."""

from __future__ import annotations

import contextlib
import json
import random
import threading

from collections.abc import Iterator
from dataclasses import dataclass

from tests.standins.durable_host.functions import Functions, OrchestrationResult
from tests.standins.durable_host.hub import TaskHub
from tests.standins.durable_host.records import Instance, Job
from tests.standins.durable_host.shim import NonDeterministic
from tests.standins.durable_host.wire import Event, Kind

LATENESS = 0.2
"""How likely a second delivery is considered at all while anything else can be done without a timer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the pump treats an app; DurableHost says what each means."""

    seed: int | None = None
    duplicates: float = 0.0
    outlive: bool = False
    crash: float = 0.0
    batch: int | None = 1
    check_determinism: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.crash < 1:
            raise ValueError(f"crash is {self.crash}: at 1 nothing would ever be done")


class Pump:
    """Takes steps in *hub*. ``changed`` guards the hub; activities are executed outside of it."""

    def __init__(self, hub: TaskHub, functions: Functions, options: Options, chance: random.Random) -> None:
        self.hub = hub
        self.changed = threading.Condition(threading.RLock())
        self.failure: BaseException | None = None
        """What went wrong in a thread that is not the test's."""
        self.crashes = 0
        self._functions = functions
        self._options = options
        self._chance = chance
        self._dice = None if options.seed is None else chance

    @contextlib.contextmanager
    def change(self) -> Iterator[None]:
        """Hold the hub, and tell everybody who waits for a change of it."""
        with self.changed:
            yield
            self.changed.notify_all()

    def fail(self, error: BaseException) -> None:
        with self.change():
            self.failure = self.failure or error

    def advance(self, *, timers: bool = True, room: bool = True) -> Job | bool:
        """Do an episode or fire a timer: True. Or give an activity for the caller to perform, if it has *room* for one.

        False if there is nothing to do. The caller holds ``changed``.
        """
        hub = self.hub
        while True:
            bags = self._bags(room=room)
            if not bags and timers and hub.fire():
                return True
            if not bags and room and hub.late:
                bags = ["late"]
            if not bags:
                return False
            if self._dies():
                return True
            bag = bags[0] if self._dice is None else self._dice.choice(bags)
            done = self._run_episode() if bag == "ready" else self._take_job(bag)
            if done:
                return done

    def perform(self, job: Job) -> None:
        """Execute an activity, and record its result unless the process dies before."""
        try:
            outcome = self._functions.execute(job.name, job.input)
        except BaseException:
            # Whoever stops the process in this way finds the activity undone.
            with self.change():
                if self._is_mine(job):
                    (self.hub.late if job.copy else self.hub.due).add(job.number)
            raise
        with self.change():
            if self._is_mine(job) and not self._dies():
                self.hub.record(job, outcome)

    def _bags(self, *, room: bool) -> list[str]:
        """Names of the hub's bags that something may be taken from."""
        hub = self.hub
        bags = ["due"] if room and hub.due else []
        if hub.ready:
            bags.append("ready")
        if room and hub.late and self._chance.random() < (LATENESS if bags else 0.5):
            bags.append("late")
        return bags

    def _is_mine(self, job: Job) -> bool:
        """Whether the process that took *job* still lives: the next one has objects of its own."""
        return self.hub.jobs.get(job.number) is job

    def _take_job(self, bag: str) -> Job | None:
        job = self.hub.jobs[getattr(self.hub, bag).take(self._dice)]
        if job.copy and not self._options.outlive and not self.hub.awaiting(job.instance, job.execution):
            del self.hub.jobs[job.number]
            return None
        return job

    def _run_episode(self) -> bool:
        hub = self.hub
        row = hub.instances.get(hub.ready.take(self._dice))
        if row is None or row.ended or row.status == "Suspended" or not row.inbox:
            return False
        messages = self._choose_messages(row.inbox)
        context = _context(row, hub.episode(row, messages))
        answer = self._functions.orchestrate(row.name, context)
        if self._options.check_determinism:
            _compare(row, answer, self._functions.orchestrate(row.name, context))
        if self._dies():
            return True
        for job in hub.commit(row, messages, answer):
            if self._chance.random() < self._options.duplicates:
                hub.repeat(job)
        return True

    def _choose_messages(self, inbox: list[Event]) -> list[Event]:
        most = min(len(inbox), self._options.batch or len(inbox))
        if self._dice is None:
            return inbox[:most]
        count = self._dice.randint(1, most)
        first = [inbox[0]] if inbox[0]["EventType"] == Kind.EXECUTION_STARTED else []
        return first + self._dice.sample(inbox[len(first) :], count - len(first))

    def _dies(self) -> bool:
        """Perhaps lose everything that is not persisted."""
        if self._chance.random() >= self._options.crash:
            return False
        self.hub.load(self.hub.dump())
        self.crashes += 1
        return True


def _compare(row: Instance, first: OrchestrationResult, second: OrchestrationResult) -> None:
    if first != second:
        raise NonDeterministic(f"{row.name} gives two answers over one history:\n{first}\n{second}")


def _context(row: Instance, history: list[Event]) -> str:
    """What the host hands to an orchestrator: the JSON text of an orchestrationTrigger."""
    return json.dumps(
        {
            "history": history,
            "input": None if row.raw_input is None else json.loads(row.raw_input),
            "instanceId": row.id,
            "isReplaying": history[1]["IsPlayed"],
            "parentInstanceId": row.parent.instance if row.parent else None,
            "upperSchemaVersion": 1,
            "upperSchemaVersionNew": 2,
            "longRunningTimerIntervalDuration": "3.00:00:00",
            "maximumShortTimerDuration": "6.00:00:00",
            # The misspelling is the host's.
            "defaultHttpAsyncRequestSleepTimeMillseconds": 30000,
        }
    )

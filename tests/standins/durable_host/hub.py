"""The task hub: what is persisted about orchestrations, and every change that is made to it."""

from __future__ import annotations

import datetime as dt
import heapq
import itertools
import json
import uuid

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.standins.durable_host.functions import Functions, OrchestrationResult, Outcome
from tests.standins.durable_host.payloads import Payloads
from tests.standins.durable_host.records import Bag, Instance, Job, Parent, Timer, plain
from tests.standins.durable_host.shim import Replay, Scheduled
from tests.standins.durable_host.wire import Event, Kind, check_instance_id, event, iso, parse


class Refused(Exception):  # noqa: N818 - said as the host says it
    """The hub does not do this, as things stand."""


class TaskHub:
    """Rows in memory, each change whole or not at all. Knows no threads and no chance: its owner does."""

    def __init__(
        self, functions: Functions, payloads: Payloads, *, now: dt.datetime, tie: Callable[[], float] | None = None
    ) -> None:
        self.now = now
        self.instances: dict[str, Instance] = {}
        self.jobs: dict[int, Job] = {}
        """Activities whose result is not recorded, also those that are being executed."""
        self.timers: list[Timer] = []
        self.ready: Bag[str] = Bag()
        """Ids of instances with messages; those that cannot go on meanwhile are known when taken."""
        self.due: Bag[int] = Bag()
        """Numbers of jobs to be delivered."""
        self.late: Bag[int] = Bag()
        """Numbers of second deliveries."""
        self._functions = functions
        self._payloads = payloads
        self._tie = tie or itertools.count().__next__
        self._numbers = 0

    # -- to text and back

    def dump(self) -> str:
        """Everything that outlives the process, as JSON text."""
        kept = {
            "now": self.now,
            "numbers": self._numbers,
            "instances": list(self.instances.values()),
            "jobs": list(self.jobs.values()),
            "timers": self.timers,
        }
        return json.dumps(kept, default=plain)

    def load(self, text: str) -> None:
        """Become what ``dump`` wrote; activities without a recorded result are delivered (again)."""
        kept = json.loads(text)
        self.now = parse(kept["now"])
        self._numbers = kept["numbers"]
        self.instances = {row["id"]: Instance.load(row) for row in kept["instances"]}
        self.jobs = {row["number"]: Job(**row) for row in kept["jobs"]}
        self.timers = [Timer(parse(at), *rest) for at, *rest in kept["timers"]]
        self.ready = Bag(row.id for row in self.instances.values() if row.inbox)
        self.due = Bag(job.number for job in self.jobs.values() if not job.copy)
        self.late = Bag(job.number for job in self.jobs.values() if job.copy)

    # -- what clients ask for

    def start(
        self,
        name: str,
        raw_input: str | None = None,
        *,
        instance_id: str | None = None,
        version: str | None = None,
        parent: Parent | None = None,
        replace: bool = False,
    ) -> str:
        """A new instance. Refused while one of that id is running, unless it may *replace* it as an ended one."""
        self._functions.check_orchestrator(name)
        execution = uuid.uuid4().hex
        chosen = execution if instance_id is None else instance_id
        check_instance_id(chosen)
        known = self.instances.get(chosen)
        if known is not None and not known.ended and not replace:
            raise Refused(f"An Orchestration instance with the status {known.status} already exists.")
        self._payloads.note(f"input of orchestration {name}", raw_input)
        row = Instance(
            id=chosen,
            name=name,
            raw_input=raw_input,
            execution=execution,
            created=self.now,
            updated=self.now,
            parent=parent,
            version=version,
        )
        self.instances[chosen] = row
        self._post(row, self._started(row))
        return chosen

    def raise_event(self, row: Instance, name: str, raw: str) -> None:
        if row.ended:
            raise Refused(f"instance {row.id!r} is {row.status}")
        self._payloads.note(f"event {name} for {row.name}", raw)
        self._post(row, event(Kind.EVENT_RAISED, self.now, Name=name, Input=raw))

    def terminate(self, row: Instance, reason: str) -> None:
        """End it, unless it has ended; neither its activities nor its children hear of it."""
        if not row.ended:
            self._end(row, "Terminated", reason)

    def suspend(self, row: Instance) -> None:
        row.status, row.updated = "Suspended", self.now

    def resume(self, row: Instance) -> None:
        row.status, row.updated = "Running" if row.episodes else "Pending", self.now
        if row.inbox:
            self.ready.add(row.id)

    def restart(self, row: Instance, *, new_id: bool) -> str:
        return self.start(row.name, row.raw_input, instance_id=None if new_id else row.id, version=row.version)

    # -- episodes

    def episode(self, row: Instance, messages: list[Event]) -> list[Event]:
        """The history that the orchestrator gets to see when it is woken by *messages*."""
        return [*row.history, event(Kind.ORCHESTRATOR_STARTED, self.now), *messages]

    def commit(self, row: Instance, messages: list[Event], answer: OrchestrationResult) -> list[Job]:
        """Record an episode with all that comes of it; gives the activities that it scheduled."""
        history = self.episode(row, messages)
        replay = _replay(answer, history)
        taken = {id(message) for message in messages}
        row.inbox = [message for message in row.inbox if id(message) not in taken]
        row.history = history
        row.status, row.updated, row.episodes = "Running", self.now, row.episodes + 1
        for message in history[-1 - len(messages) :]:
            message["IsPlayed"] = True
        if row.inbox:
            self.ready.add(row.id)
        state = answer.state or {}
        if "customStatus" in state:
            self._payloads.note(f"custom status of {row.name}", json.dumps(state["customStatus"]))
            row.custom_status = state["customStatus"]
        if replay is None:
            self._end(row, "Failed", f"Orchestrator function '{row.name}' failed: {answer.failure}")
            return []
        if replay.continued is not None and state["isDone"]:
            self._begin_anew(row, replay.continued)
            return []
        jobs = [job for scheduled in replay.new.values() if (job := self._schedule(row, scheduled))]
        row.history.append(event(Kind.ORCHESTRATOR_COMPLETED, self.now) | {"IsPlayed": True})
        if replay.finished and state.get("error"):
            self._end(row, "Failed", f"Orchestrator function '{row.name}' failed: {state['error']}")
        elif replay.finished and state["isDone"]:
            self._end(row, "Completed", state.get("output"))
        return jobs

    def repeat(self, job: Job) -> None:
        """Have *job* delivered a second time."""
        copy = replace(job, number=self._number(), copy=True)
        self.jobs[copy.number] = copy
        self.late.add(copy.number)

    def record(self, job: Job, outcome: Outcome) -> None:
        """Record the result of an activity, for whom it may still concern."""
        if outcome.failure is not None:
            self._payloads.note(f"failure of activity {job.name}", outcome.failure)
            said: dict[str, Any] = {"Reason": outcome.failure, "Details": ""}
        else:
            self._payloads.note(f"result of activity {job.name}", outcome.result)
            said = {"Result": outcome.result}
        kind = Kind.TASK_COMPLETED if outcome.failure is None else Kind.TASK_FAILED
        del self.jobs[job.number]
        if row := self.awaiting(job.instance, job.execution):
            self._post(row, event(kind, self.now, TaskScheduledId=job.task_id, **said))

    def fire(self) -> bool:
        """Move the clock to the next timer that anybody waits for."""
        while self.timers:
            timer = heapq.heappop(self.timers)
            if row := self.awaiting(timer.instance, timer.execution):
                self.now = max(self.now, timer.at)
                self._post(row, event(Kind.TIMER_FIRED, self.now, TimerId=timer.timer_id, FireAt=iso(timer.at)))
                return True
        return False

    def awaiting(self, instance: str, execution: str) -> Instance | None:
        """The instance, if it is still at that execution and has not ended."""
        row = self.instances.get(instance)
        return row if row is not None and row.execution == execution and not row.ended else None

    # -- steps of a commit

    def _schedule(self, row: Instance, scheduled: Scheduled) -> Job | None:
        if scheduled.kind is Kind.TASK_SCHEDULED:
            return self._call_activity(row, scheduled)
        if scheduled.kind is Kind.TIMER_CREATED:
            self._create_timer(row, scheduled)
        else:
            self._call_child(row, scheduled)
        return None

    def _call_activity(self, row: Instance, call: Scheduled) -> Job:
        self._functions.check_activity(call.name)
        self._payloads.note(f"input of activity {call.name}", call.input)
        self._note(row, call, Name=call.name, Version="", Input=None)
        job = Job(
            number=self._number(),
            instance=row.id,
            execution=row.execution,
            task_id=call.id,
            name=call.name,
            input=call.input,
        )
        self.jobs[job.number] = job
        self.due.add(job.number)
        return job

    def _create_timer(self, row: Instance, timer: Scheduled) -> None:
        assert timer.fire_at is not None
        self._note(row, timer, FireAt=iso(timer.fire_at))
        heapq.heappush(self.timers, Timer(timer.fire_at, self._tie(), row.id, row.execution, timer.id))

    def _call_child(self, row: Instance, call: Scheduled) -> None:
        child = call.instance or f"{row.execution}:{call.id}"
        raw = json.dumps(call.input)
        self._note(row, call, Name=call.name, Version=call.version or "", InstanceId=child, Input=raw)
        # The host does not look whether one of that id runs still: it is replaced, and its results concern nobody.
        self.start(
            call.name,
            raw,
            instance_id=child,
            version=call.version,
            parent=Parent(row.id, row.execution, call.id),
            replace=True,
        )

    def _begin_anew(self, row: Instance, text: str) -> None:
        row.raw_input = json.dumps(text)
        self._payloads.note(f"input of orchestration {row.name}", row.raw_input)
        row.execution, row.history = uuid.uuid4().hex, []
        # Results of the old execution concern nobody; events that nobody has seen yet are kept.
        raised = [message for message in row.inbox if message["EventType"] == Kind.EVENT_RAISED]
        row.inbox = []
        for message in (self._started(row), *raised):
            self._post(row, message)

    def _end(self, row: Instance, status: str, output: Any) -> None:
        raw = None if output is None else json.dumps(output)
        self._payloads.note(f"output of orchestration {row.name}", raw)
        row.status, row.output, row.updated, row.inbox = status, output, self.now, []
        parent = row.parent and self.awaiting(row.parent.instance, row.parent.execution)
        if row.parent is None or parent is None:
            return
        said: dict[str, Any] = {"Result": raw}
        kind = Kind.SUB_ORCHESTRATION_INSTANCE_COMPLETED
        if status != "Completed":
            said = {"Reason": output, "Details": ""}
            kind = Kind.SUB_ORCHESTRATION_INSTANCE_FAILED
        self._post(parent, event(kind, self.now, TaskScheduledId=row.parent.task_id, **said))

    def _started(self, row: Instance) -> Event:
        return event(
            Kind.EXECUTION_STARTED,
            self.now,
            Name=row.name,
            Input=row.raw_input,
            Version=row.version,
            Tags=None,
            OrchestrationInstance={"InstanceId": row.id, "ExecutionId": row.execution},
        )

    def _note(self, row: Instance, scheduled: Scheduled, **fields: Any) -> None:
        row.history.append(event(scheduled.kind, self.now, scheduled.id, **fields) | {"IsPlayed": True})

    def _post(self, row: Instance, message: Event) -> None:
        row.inbox.append(message)
        if len(row.inbox) == 1:
            self.ready.add(row.id)

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers


def _replay(answer: OrchestrationResult, history: list[Event]) -> Replay | None:
    """The host's walk along the answer; None if the orchestrator gave none."""
    if answer.state is None:
        return None
    actions = answer.state["actions"]
    if answer.state.get("schemaVersion", 0) < 1 or len(actions) != 1:
        raise NotImplementedError("only the schema with one list of actions is played here")
    return Replay(actions[0], history)

"""The host's own replay of an orchestrator's actions: what is new, what is awaited, whether all is done.

Top-level actions are started one at a time, each awaited before the next. Ids are handed out in the order in which the
host schedules. A retried call is a loop on the host's side: after each failed attempt it adds a timer and then another
call, under new ids; after the last one it adds a timer once more, which fires at once (RetryInterceptor.cs of
DurableTask.Core keeps it for the sake of older histories). WhenAll waits for every child, even after one has failed.
"""

from __future__ import annotations

import datetime as dt

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.standins.durable_host.wire import Action, Event, Kind, parse

SCHEDULING = {Kind.TASK_SCHEDULED, Kind.SUB_ORCHESTRATION_INSTANCE_CREATED, Kind.TIMER_CREATED}
SUCCESS = {Kind.TASK_COMPLETED, Kind.SUB_ORCHESTRATION_INSTANCE_COMPLETED}
FAILURE = {Kind.TASK_FAILED, Kind.SUB_ORCHESTRATION_INSTANCE_FAILED}


class NonDeterministic(RuntimeError):  # noqa: N818 - the finding itself
    """An orchestrator disagrees with its own recorded history, or with its answer a moment ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """A call or timer that the orchestrator asks for."""

    kind: Kind
    id: int
    name: str = ""
    input: str = ""
    instance: str | None = None
    version: str | None = None
    fire_at: dt.datetime | None = None


class Task:
    """Something awaited, whose continuations run at once when it ends."""

    __slots__ = ("_waiting", "done", "error")

    def __init__(self) -> None:
        self.done = False
        self.error: str | None = None
        self._waiting: list[Callable[[], None]] = []

    def then(self, follow: Callable[[], None]) -> None:
        if self.done:
            follow()
        else:
            self._waiting.append(follow)

    def settle(self, error: str | None = None) -> None:
        if self.done:
            return
        self.done, self.error = True, error
        waiting, self._waiting = self._waiting, []
        for follow in waiting:
            follow()


class Replay:
    """*actions* walked along *history*, in time that grows with their lengths alone."""

    def __init__(self, actions: list[dict[str, Any]], history: list[Event]) -> None:
        self.new: dict[int, Scheduled] = {}
        """What is scheduled and not yet in the history, by id."""
        self.finished = False
        """Every action has been awaited: only then does the host look for an error or a result."""
        self.continued: str | None = None
        """JSON text of the input that the orchestration asks to begin anew with."""
        self._actions = actions
        self._position = 0
        self._next_id = 0
        self._open: dict[int, Task] = {}
        self._waiting: dict[str, list[Task]] = {}
        self._early: dict[str, int] = {}
        self._now = dt.datetime.min.replace(tzinfo=dt.UTC)
        for event in history:
            self._follow(Kind(event["EventType"]), event)

    def _follow(self, kind: Kind, event: Event) -> None:
        if kind is Kind.ORCHESTRATOR_STARTED:
            self._now = max(self._now, parse(event["Timestamp"]))
        elif kind is Kind.EXECUTION_STARTED:
            self._advance()
        elif kind in SCHEDULING:
            self._match(kind, event)
        elif kind in SUCCESS:
            self._end(event["TaskScheduledId"])
        elif kind in FAILURE:
            self._end(event["TaskScheduledId"], event["Reason"] or "failed")
        elif kind is Kind.TIMER_FIRED:
            self._end(event["TimerId"])
        elif kind is Kind.EVENT_RAISED:
            self._raised(event["Name"])

    def _match(self, kind: Kind, event: Event) -> None:
        """Compare what history says was scheduled with what this replay schedules under that id."""
        here = self.new.pop(event["EventId"], None)
        there = f"{kind.title} {event.get('Name', '')!r} under id {event['EventId']}"
        if here is None:
            raise NonDeterministic(f"history has {there}, which this replay did not schedule")
        if here.kind is not kind or here.name.lower() != event.get("Name", "").lower():
            raise NonDeterministic(f"history has {there}, this replay has {here.kind.title} {here.name!r}")

    def _end(self, task_id: int, error: str | None = None) -> None:
        """End the task; a second result for it, or one for a timer that was cancelled, means nothing."""
        task = self._open.pop(task_id, None)
        if task is not None:
            task.settle(error)

    def _raised(self, name: str) -> None:
        waiting = self._waiting.get(name)
        if waiting:
            waiting.pop().settle()
        else:
            self._early[name] = self._early.get(name, 0) + 1

    def _advance(self) -> None:
        while self._position < len(self._actions):
            task = self._start(self._actions[self._position])
            self._position += 1
            if not task.done:
                task.then(self._advance)
                return
        self.finished = True

    def _start(self, action: dict[str, Any]) -> Task:
        kind = Action(action["actionType"])
        start = {
            Action.CALL_ACTIVITY: self._call,
            Action.CALL_SUB_ORCHESTRATOR: self._call,
            Action.CALL_ACTIVITY_WITH_RETRY: self._call_with_retry,
            Action.CALL_SUB_ORCHESTRATOR_WITH_RETRY: self._call_with_retry,
            Action.CREATE_TIMER: self._timer,
            Action.WAIT_FOR_EXTERNAL_EVENT: self._wait,
            Action.WHEN_ALL: self._compound,
            Action.WHEN_ANY: self._compound,
            Action.CONTINUE_AS_NEW: self._continue,
        }.get(kind)
        if start is None:
            raise NotImplementedError(f"{kind.name} is not played here")
        return start(action)

    def _schedule(self, kind: Kind, **fields: Any) -> Task:
        task_id = self._next_id
        self._next_id += 1
        self.new[task_id] = Scheduled(kind=kind, id=task_id, **fields)
        task = self._open[task_id] = Task()
        return task

    def _call(self, action: dict[str, Any]) -> Task:
        if action["actionType"] in (Action.CALL_ACTIVITY, Action.CALL_ACTIVITY_WITH_RETRY):
            return self._schedule(Kind.TASK_SCHEDULED, name=action["functionName"], input=action["input"])
        return self._schedule(
            Kind.SUB_ORCHESTRATION_INSTANCE_CREATED,
            name=action["functionName"],
            input=action["input"],
            instance=action.get("instanceId"),
            version=action.get("version"),
        )

    def _call_with_retry(self, action: dict[str, Any]) -> Task:
        options = action["retryOptions"]
        delay = dt.timedelta(milliseconds=options["firstRetryIntervalInMilliseconds"])
        attempts = options["maxNumberOfAttempts"]
        whole = Task()

        def attempt(number: int) -> None:
            call = self._call(action)
            call.then(lambda: conclude(number, call))

        def conclude(number: int, call: Task) -> None:
            if call.error is None:
                whole.settle()
                return
            last = number >= attempts
            timer = self._schedule(Kind.TIMER_CREATED, fire_at=self._now if last else self._now + delay)
            timer.then(lambda: whole.settle(call.error) if last else attempt(number + 1))

        attempt(1)
        return whole

    def _timer(self, action: dict[str, Any]) -> Task:
        task = self._schedule(Kind.TIMER_CREATED, fire_at=parse(action["fireAt"]))
        if action.get("isCanceled"):
            self._end(self._next_id - 1, "cancelled")
        return task

    def _wait(self, action: dict[str, Any]) -> Task:
        name, task = action["externalEventName"], Task()
        if self._early.get(name):
            self._early[name] -= 1
            task.settle()
        else:
            self._waiting.setdefault(name, []).append(task)
        return task

    def _compound(self, action: dict[str, Any]) -> Task:
        children = [self._start(child) for child in action["compoundActions"]]
        wanted = min(1, len(children)) if action["actionType"] == Action.WHEN_ANY else len(children)
        whole, ended = Task(), 0

        def count() -> None:
            nonlocal ended
            ended += 1
            if ended >= wanted:
                whole.settle()

        if not children:
            whole.settle()
        for child in children:
            child.then(count)
        return whole

    def _continue(self, action: dict[str, Any]) -> Task:
        self.continued = action["input"]
        task = Task()
        task.settle()
        return task

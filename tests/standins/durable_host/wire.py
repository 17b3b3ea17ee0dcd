"""What the Durable Functions host and a Python app say to each other: numbers, times, identifiers."""

from __future__ import annotations

import datetime as dt
import re

from enum import IntEnum
from typing import Any, TypeAlias

Event: TypeAlias = dict[str, Any]
"""One entry of an instance's history, as the host writes it into JSON."""

STATE_MARK = "\n\n$OutOfProcData$:"
"""In the message of the exception that an orchestrator ends in, its answer stands behind this."""


class Kind(IntEnum):
    """Numbers of the history events (EventType of DurableTask.Core)."""

    EXECUTION_STARTED = 0
    TASK_SCHEDULED = 4
    TASK_COMPLETED = 5
    TASK_FAILED = 6
    SUB_ORCHESTRATION_INSTANCE_CREATED = 7
    SUB_ORCHESTRATION_INSTANCE_COMPLETED = 8
    SUB_ORCHESTRATION_INSTANCE_FAILED = 9
    TIMER_CREATED = 10
    TIMER_FIRED = 11
    ORCHESTRATOR_STARTED = 12
    ORCHESTRATOR_COMPLETED = 13
    EVENT_RAISED = 15

    @property
    def title(self) -> str:
        """The name as .NET spells it."""
        return self.name.title().replace("_", "")


class Action(IntEnum):
    """Numbers of the actions that an orchestrator answers with."""

    CALL_ACTIVITY = 0
    CALL_ACTIVITY_WITH_RETRY = 1
    CALL_SUB_ORCHESTRATOR = 2
    CALL_SUB_ORCHESTRATOR_WITH_RETRY = 3
    CONTINUE_AS_NEW = 4
    CREATE_TIMER = 5
    WAIT_FOR_EXTERNAL_EVENT = 6
    CALL_ENTITY = 7
    CALL_HTTP = 8
    SIGNAL_ENTITY = 9
    WHEN_ANY = 11
    WHEN_ALL = 12


def event(kind: Kind, at: dt.datetime, event_id: int = -1, **fields: Any) -> Event:
    """A history event of the instant *at*; only what the orchestrator scheduled has an id of its own."""
    return {"EventType": int(kind), "EventId": event_id, "IsPlayed": False, "Timestamp": iso(at), **fields}


def iso(at: dt.datetime) -> str:
    """*at* in UTC with seven decimals, as .NET writes it."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def parse(text: str) -> dt.datetime:
    """An instant with any number of decimals; without a zone it is UTC."""
    found = re.fullmatch(r"([^.Z]+)(?:\.(\d{1,6})\d*)?Z?", text)
    if found is None:
        raise ValueError(f"{text!r} is no instant")
    decimals = (found[2] or "0").ljust(6, "0")
    return dt.datetime.fromisoformat(f"{found[1]}.{decimals}").replace(tzinfo=dt.UTC)


def check_instance_id(instance_id: str) -> None:
    """ValueError for what DurableClient.cs refuses to take for an instance id."""
    if not 0 < len(instance_id) <= 100:
        raise ValueError(f"instance id {instance_id!r} has {len(instance_id)} characters: 1 to 100 are allowed")
    if instance_id.startswith("@"):
        raise ValueError(f"instance id {instance_id!r} starts with @, which is kept for entities")
    if bad := re.search(r"[/\\#?\x00-\x1f\x7f-\x9f]", instance_id):
        raise ValueError(f"instance id {instance_id!r} contains {bad[0]!r}")

"""What the hub keeps: instances, calls that are out, timers. Data, to JSON and back."""

from __future__ import annotations

import datetime as dt
import json
import random

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from tests.standins.durable_host.wire import Event, iso, parse

ENDED = frozenset({"Completed", "Failed", "Terminated", "Canceled"})
T = TypeVar("T")


class Parent(NamedTuple):
    """Who waits for a sub-orchestration: an execution of an instance, under the id of its call."""

    instance: str
    execution: str
    task_id: int


# Not frozen: this is the row that the hub rewrites, and tests look at.
@dataclass(slots=True, kw_only=True)
class Instance:
    """One orchestration and all that is recorded about it."""

    id: str
    name: str
    raw_input: str | None
    """JSON text as stored: the SDK encodes an input twice, so mostly the JSON of a string that holds JSON."""
    execution: str
    created: dt.datetime
    updated: dt.datetime
    parent: Parent | None = None
    version: str | None = None
    status: str = "Pending"
    output: Any = None
    """The result; of what failed or was terminated, the reason."""
    custom_status: Any = None
    history: list[Event] = field(default_factory=list)
    inbox: list[Event] = field(default_factory=list)
    episodes: int = 0

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def input(self) -> Any:
        """The input as ``context.get_input()`` gives it."""
        value = json.loads(self.raw_input) if self.raw_input else None
        return json.loads(value) if isinstance(value, str) else value

    @classmethod
    def load(cls, row: dict[str, Any]) -> Instance:
        times = {name: parse(row[name]) for name in ("created", "updated")}
        return cls(**{**row, **times, "parent": Parent(*row["parent"]) if row["parent"] else None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An activity that has to be executed, until a result of it is recorded."""

    number: int
    instance: str
    execution: str
    task_id: int
    name: str
    input: str
    copy: bool = False
    """A second delivery of one that is, or was, delivered already."""


class Timer(NamedTuple):
    """Fires at *at*; *tie* says which of those at one instant comes first."""

    at: dt.datetime
    tie: float
    instance: str
    execution: str
    timer_id: int


class Bag(Generic[T]):
    """Things waiting to be taken: in their order, or in any."""

    def __init__(self, things: Iterable[T] = ()) -> None:
        self._things = list(things)

    def __len__(self) -> int:
        return len(self._things)

    def add(self, thing: T) -> None:
        self._things.append(thing)

    def take(self, dice: random.Random | None = None) -> T:
        if dice is None:
            return self._things.pop(0)
        chosen = dice.randrange(len(self._things))
        self._things[chosen], self._things[-1] = self._things[-1], self._things[chosen]
        return self._things.pop()


def plain(thing: object) -> Any:
    """For ``json.dumps(default=...)``: instants as text, records as objects."""
    if isinstance(thing, dt.datetime):
        return iso(thing)
    if is_dataclass(thing):
        return {each.name: getattr(thing, each.name) for each in fields(thing)}
    raise TypeError(f"{type(thing).__name__} is not kept in a hub")

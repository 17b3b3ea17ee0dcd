"""How a job goes: plan, stage, publish, tidy as retried steps, fanned out over files and slices. Pure generators.

For Durable Functions, whose rules shape all of it: no I/O, clock or chance in here; a step that fails is repeated by a
loop of our own with growing pauses (the SDK's retries mix up results inside a fan-out); a fan-out is over children that
each await one call at a time and answer with data instead of raising; at most 50 children share a parent; and what
travels is small, for plans, slices and outcomes lie in the app's state. See docs/decisions/0011.

    one      a file, or the windows of a pull feed       export   the files of a notification
      plan, stage | batches, publish, tidy                 batches of up to 50 units
    conclude                                             conclude
"""

from __future__ import annotations

import datetime as dt

from collections.abc import Generator, Iterator, Mapping
from typing import Any, Protocol, TypeAlias

Json: TypeAlias = dict[str, Any]
Steps: TypeAlias = Generator[Any, Any, Json]

CHILDREN = 50
"""How many children one orchestration has at most: its replay costs grow with their square."""
ATTEMPTS = 5
_FIRST_PAUSE = dt.timedelta(seconds=30)
_LONGEST_PAUSE = dt.timedelta(minutes=10)
_WINDOWS = 10
"""How many windows of a pull feed one history holds."""


class Context(Protocol):
    """What is used of Durable's context; the same in its 1.x and 2.x lines."""

    @property
    def instance_id(self) -> str: ...
    @property
    def current_utc_datetime(self) -> dt.datetime: ...
    def get_input(self) -> Any: ...
    def call_activity(self, name: str, input_: Any) -> Any: ...
    def call_sub_orchestrator(self, name: str, input_: Any, instance_id: str) -> Any: ...
    def create_timer(self, fire_at: dt.datetime) -> Any: ...
    def task_all(self, activities: list[Any]) -> Any: ...
    def continue_as_new(self, input_: Any) -> None: ...
    def set_custom_status(self, status: Any) -> None: ...


def file_job(context: Context) -> Steps:
    """A job of one unit of work: a file, or a pull feed window by window until it has caught up."""
    ask = _asked(context)
    unit = ask.get("unit", 0)
    for number in range(unit, unit + _WINDOWS):
        context.set_custom_status({"units": number + 1})
        outcome = yield from _unit(context, {**ask, "unit": number})
        if not outcome.get("more"):
            return (yield from _call(context, "conclude", {**ask, "units": number + 1}))
    context.continue_as_new({**ask, "unit": unit + _WINDOWS})
    return {}


def export_job(context: Context) -> Steps:
    """A job for all files that a notification lists, as many at once as the host takes."""
    ask = _asked(context)
    opened = yield from _call(context, "open_notice", ask)
    if "units" not in opened:  # it was done before, or there is nothing to open
        return opened
    context.set_custom_status({"units": opened["units"]})
    yield from _fan_out(context, "unit", ask, 0, opened["units"])
    return (yield from _call(context, "conclude", {**ask, **opened}))


def unit(context: Context) -> Steps:
    """One of the units of an export."""
    return (yield from _unit(context, context.get_input()))


def stage_slice(context: Context) -> Steps:
    """One of the slices of a unit, on whichever worker is free."""
    return (yield from _stage(context, context.get_input()))


def batch(context: Context) -> Steps:
    """Some children of a fan-out; batches of them in turn, where they are too many for one parent."""
    ask = context.get_input()
    child, start, end = ask["child"], ask["from"], ask["to"]
    if end - start > CHILDREN:
        return (yield from _fan_out(context, child, ask["ask"], start, end))
    number = _NUMBERS[child]
    return (yield from _together(context, child, {str(n): {**ask["ask"], number: n} for n in range(start, end)}))


ALL = (file_job, export_job, unit, stage_slice, batch)
"""What a host has to know by name, and of the activities:"""
STEPS = ("open_notice", "plan", "stage", "miss", "publish", "tidy", "give_up", "conclude")


def _asked(context: Context) -> Json:
    """What the job was asked to do, with its id and when it began: the same on every replay and in every step."""
    started = context.current_utc_datetime.replace(tzinfo=None).isoformat(timespec="microseconds")
    return {"job": context.instance_id, "started": started, **context.get_input()}


def _unit(context: Context, ask: Json) -> Steps:
    """The four verbs in order; ``publish`` decides what failed slices mean."""
    planned = yield from _call(context, "plan", ask)
    if "failed" in planned:
        return (yield from _call(context, "give_up", {**ask, "error": planned["failed"]}))
    if "slices" not in planned:  # skipped, or failed for good
        return planned
    if planned["slices"] == 1:
        yield from _stage(context, {**ask, "slice": 0})
    else:
        yield from _fan_out(context, "stage_slice", ask, 0, planned["slices"], under=f"{ask['unit']}.")
    outcome = yield from _call(context, "publish", ask)
    if "failed" in outcome:
        outcome = yield from _call(context, "give_up", {**ask, "error": outcome["failed"]})
    yield from _call(context, "tidy", ask)
    return outcome


def _stage(context: Context, ask: Json) -> Steps:
    staged = yield from _call(context, "stage", ask)
    if "failed" in staged:
        yield from _call(context, "miss", {**ask, "error": staged["failed"]})
    return staged


def _fan_out(context: Context, child: str, ask: Json, start: int, end: int, *, under: str = "") -> Steps:
    """Children with the numbers from *start* to *end*, in batches, so that no history grows with their number.

    *under* keeps the ids of several fan-outs of one parent apart.
    """
    spans = {f"{under}{a}": {"child": child, "ask": ask, "from": a, "to": b} for a, b in _spans(start, end)}
    return (yield from _together(context, "batch", spans))


_NUMBERS: Mapping[str, str] = {"unit": "unit", "stage_slice": "slice"}
"""What its number is called in what a child is asked."""


def _spans(start: int, end: int) -> Iterator[tuple[int, int]]:
    """At most ``CHILDREN`` parts of the range.

    >>> list(_spans(0, 120)), len(list(_spans(0, 2501))), next(_spans(0, 2501))
    ([(0, 50), (50, 100), (100, 120)], 2, (0, 2500))
    """
    size = CHILDREN
    while end - start > size * CHILDREN:
        size *= CHILDREN
    for first in range(start, end, size):
        yield first, min(first + size, end)


def _together(context: Context, child: str, asks: Mapping[str, Json]) -> Steps:
    """One child for each of *asks*, named by its key below its parent, all at the same time."""
    tasks = [
        context.call_sub_orchestrator(child, ask, instance_id=f"{context.instance_id}:{name}")
        for name, ask in asks.items()
    ]
    try:
        yield context.task_all(tasks)
    except Exception as error:  # noqa: BLE001 - a child ended abnormally: what it left undone is seen by who sums up
        return {"broken": _told(error)}
    return {}


def _call(context: Context, step: str, ask: Json) -> Steps:
    """What *step* answers; ``failed`` with the last error once it has failed too often."""
    error = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            yield context.create_timer(context.current_utc_datetime + _pause(attempt))
        try:
            answer: Json = yield context.call_activity(step, ask)
        except Exception as failure:  # noqa: BLE001 - the SDK raises a plain Exception, whatever the step raised
            error = _told(failure)
        else:
            return answer
    return {"failed": error}


def _pause(attempt: int) -> dt.timedelta:
    """
    >>> [int(_pause(attempt).total_seconds()) for attempt in range(1, 7)]
    [30, 60, 120, 240, 480, 600]
    """
    pause: dt.timedelta = min(_FIRST_PAUSE * 2 ** (attempt - 1), _LONGEST_PAUSE)
    return pause


def _told(error: Exception) -> str:
    return " ".join(str(error).split())[:500]

"""The course of a job: plan, stage and publish as retried steps, fanned out over files and slices. Pure generators.

Durable Functions requires most of it: no I/O, clock or chance in here; a failed step is repeated by a loop of our own
with growing pauses (the SDK's retries mix up results inside a fan-out); a fan-out starts children that each await one
call at a time and return data instead of raising; at most 50 children share a parent. What travels is small: plans,
slices and outcomes are documents of the app. See docs/decisions/0011.

    file_job   a file, or the windows of a pull feed     export_job   the files of a notification
      plan, stage | batches, publish (tidy)                open_units, batches of up to 50 units
      finish                                               finish

    A slice that takes long is staged in pieces, one after the other, each a step of a few minutes (decision 0043).

    system_job   the tables of a system                  lane         one table after the other
      open_tables, as many lanes as SYNC_TABLES allows     take_table, table (its windows, then finish_table)
      finish

Requests are dictionaries here, so that the host can index the app without importing anything else; activities read
them as the types of shared.jobs.request.
"""

from __future__ import annotations

import datetime as dt

from collections.abc import Generator, Iterator, Mapping
from typing import Any, Protocol, TypeAlias

Json: TypeAlias = dict[str, Any]
Steps: TypeAlias = Generator[Any, Any, Json]

CHILDREN = 50
"""At most so many children of one orchestration: its replay cost grows with their square."""
ATTEMPTS = 5
_OTHERS_ATTEMPTS = 2
"""In all but the first destination of a feed: one that is down must not hold up the tables that follow."""
_FIRST_PAUSE = dt.timedelta(seconds=30)
_LONGEST_PAUSE = dt.timedelta(minutes=10)
_WINDOWS = 10
"""Windows of a pull feed in one history."""


class Context(Protocol):
    """What is used of Durable's context. It is the same in versions 1.x and 2.x."""

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
    return (yield from _windows(context, _request(context), "finish"))


def system_job(context: Context) -> Steps:
    """A job for tables of a system, each window by window, as many at once as SYNC_TABLES allows.

    The list of tables becomes a document with the first step, so it travels no further.
    """
    request = _request(context)
    opened = yield from _call(context, "open_tables", request)
    if not opened.get("lanes"):
        return opened
    context.set_custom_status({"units": opened["units"]})
    request["work"] = {**request["work"], "feeds": []}
    lanes = {str(number): {**request, "lane": number} for number in range(opened["lanes"])}
    yield from _together(context, "lane", lanes)
    return (yield from _call(context, "finish", {**request, "units": opened["units"]}))


def export_job(context: Context) -> Steps:
    """A job for all files that a notification lists, as many at once as the host takes; or for what events name.

    Events are waited for, so that those of a short time are one job.
    """
    request = _request(context)
    if wait := request["work"].get("wait"):
        yield context.create_timer(context.current_utc_datetime + dt.timedelta(seconds=wait))
    opened = yield from _call(context, "open_units", request)
    if "units" not in opened:  # it was done before, or there is nothing to open
        return opened
    context.set_custom_status({"units": opened["units"]})
    yield from _fan_out(context, "unit", request, 0, opened["units"])
    return (yield from _call(context, "finish", {**request, **opened}))


def search_job(context: Context) -> Steps:
    """A job that looks for files which are not loaded, and starts a job for each."""
    found = yield from _call(context, "start_found", _request(context))
    if "failed" in found:
        raise RuntimeError(found["failed"])
    context.set_custom_status(found)
    return found


def unit(context: Context) -> Steps:
    """One of the units of an export."""
    return (yield from _unit(context, context.get_input()))


def stage_slice(context: Context) -> Steps:
    """One of the slices of a unit, on whichever worker is free."""
    return (yield from _stage(context, context.get_input()))


def pieces(context: Context) -> Steps:
    """What is left of the only slice of a unit, piece by piece: each says whether there is another one."""
    request = context.get_input()
    for _ in range(CHILDREN):
        staged = yield from _stage(context, request)
        if "next" not in staged:
            return {}
        request = {**request, "slice": staged["next"]}
    context.continue_as_new(request)
    return {}


def lane(context: Context) -> Steps:
    """Tables of a system one after the other: each time the next one that no lane has taken."""
    request = context.get_input()
    after = request.pop("after", -1)
    common = {name: value for name, value in request.items() if name != "lane"}
    for _ in range(CHILDREN):
        taken = yield from _call(context, "take_table", {**request, "after": after})
        if "table" not in taken:  # none is left, or the documents cannot be reached
            return {}
        after = taken["table"]
        work = {"kind": "feed", "feed": taken["feed"]}
        yield from _together(context, "table", {str(after): {**common, "work": work, "table": after}})
    context.continue_as_new({**request, "after": after})
    return {}


def table(context: Context) -> Steps:
    """One of the tables of a system, window by window until it has caught up."""
    return (yield from _windows(context, context.get_input(), "finish_table"))


def batch(context: Context) -> Steps:
    """Some children of a fan-out; batches of batches, where they are too many for one parent."""
    span = context.get_input()
    child, request, start, end = span["child"], span["request"], span["from"], span["to"]
    if end - start > CHILDREN:
        return (yield from _fan_out(context, child, request, start, end))
    number = _NUMBERS[child]
    return (yield from _together(context, child, {str(n): {**request, number: n} for n in range(start, end)}))


ORCHESTRATORS = (file_job, export_job, search_job, system_job, unit, stage_slice, pieces, lane, table, batch)
ACTIVITIES = (
    "open_units", "open_tables", "take_table", "plan", "stage", "record_failure", "publish", "fail", "tidy",
    "finish_table", "finish",
)  # fmt: skip
"""What a host has to know by name, see shared.jobs.activities. ``start_found`` needs a client: it is the host's own."""


def _request(context: Context) -> Json:
    """The input of the job, with its id and when it began: the same on every replay and in every step."""
    started = context.current_utc_datetime.replace(tzinfo=None).isoformat(timespec="microseconds")
    return {"job": context.instance_id, "started": started, **context.get_input()}


def _windows(context: Context, request: Json, ending: str) -> Steps:
    """Units of work one after the other, until there is no more of it; then the activity *ending*."""
    common = {name: value for name, value in request.items() if name not in ("unit", "only")}
    first, only = request.get("unit", 0), request.get("only")
    for number in range(first, first + _WINDOWS):
        context.set_custom_status({"units": number + 1})
        outcome = yield from _unit(context, {**common, "unit": number, **({"only": only} if only else {})})
        others = outcome.get("others", {})
        more = [*([None] if outcome.get("more") else []), *(name for name in others if others[name].get("more"))]
        only = more if only or others else None
        # One that is behind the first goes on for a while; then it is the turn of the next job, for both of them.
        if not more or (None not in more and number == first + _WINDOWS - 1):
            known = {"outcome": outcome} if "place" in outcome and not others else {}
            return (yield from _call(context, ending, {**common, **known, "units": number + 1}))
    context.continue_as_new({**common, "unit": first + _WINDOWS, **({"only": only} if only else {})})
    return {}


def _unit(context: Context, request: Json) -> Steps:
    """One unit in each destination of its feed. The first to plan says which others there are.

    Those that plan the same are staged with it, and published after it. They are tried less often: nothing waits long
    for one that is down, and the next job takes for it what it lacks.
    """
    only = request.get("only")
    request = {name: value for name, value in request.items() if name != "only"}
    planned: Json = {} if only and None not in only else (yield from _call(context, "plan", request))
    others = [name for name in only if name] if only else planned.get("others", [])
    first = {name: value for name, value in planned.items() if name != "others"}
    own = {name: {**request, "destination": name} for name in others}
    plans: dict[str, Json] = {}
    for name in others:
        plans[name] = yield from _call(context, "plan", own[name], _OTHERS_ATTEMPTS)
    beside = [name for name in others if plans[name].get("same")]
    outcome: Json = {}
    if first:
        outcome = yield from _planned(context, {**request, **({"beside": beside} if beside else {})}, first)
    results: dict[str, Json] = {}
    for name in others:
        results[name] = yield from _planned(context, own[name], plans[name], _OTHERS_ATTEMPTS)
    return {**outcome, "others": results} if others else outcome


def _planned(context: Context, request: Json, planned: Json, attempts: int = ATTEMPTS) -> Steps:
    """The verbs after the first, in order; ``publish`` decides what failed slices mean, and cleans up if it can."""
    plain = {name: value for name, value in request.items() if name != "beside"}
    if "failed" in planned:
        return (yield from _call(context, "fail", {**plain, "error": planned["failed"]}))
    if "slices" not in planned:  # skipped, or failed for good
        return planned
    under = ".".join(str(request[name]) for name in ("unit", "destination") if name in request)
    if planned["slices"] == 1:
        staged = yield from _stage(context, {**request, "slice": 0})
        if "next" in staged:
            yield from _together(context, "pieces", {f"{under}.rest": {**request, "slice": staged["next"]}})
    else:
        yield from _fan_out(context, "stage_slice", request, 0, planned["slices"], under=f"{under}.")
    outcome = yield from _call(context, "publish", plain, attempts)
    if "failed" in outcome:
        outcome = yield from _call(context, "fail", {**plain, "error": outcome["failed"]})
    if not outcome.get("tidied"):
        yield from _call(context, "tidy", plain, attempts)
    return outcome


def _stage(context: Context, request: Json) -> Steps:
    attempts = _OTHERS_ATTEMPTS if "destination" in request else ATTEMPTS
    staged = yield from _call(context, "stage", request, attempts)
    if "failed" in staged:
        yield from _call(context, "record_failure", {**request, "beside": [], "error": staged["failed"]})
    return staged


def _fan_out(context: Context, child: str, request: Json, start: int, end: int, *, under: str = "") -> Steps:
    """Children with the numbers from *start* to *end*, in batches, so that no history grows with their number.

    *under* keeps the ids of several fan-outs of one parent apart.
    """
    spans = {f"{under}{a}": {"child": child, "request": request, "from": a, "to": b} for a, b in _spans(start, end)}
    return (yield from _together(context, "batch", spans))


_NUMBERS: Mapping[str, str] = {"unit": "unit", "stage_slice": "slice"}
"""The field of its number in a child's request."""


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


def _together(context: Context, child: str, requests: Mapping[str, Json]) -> Steps:
    """One child for each of *requests*, named by its key below its parent, all at the same time."""
    tasks = [
        context.call_sub_orchestrator(child, request, instance_id=f"{context.instance_id}:{name}")
        for name, request in requests.items()
    ]
    try:
        yield context.task_all(tasks)
    except Exception as error:  # noqa: BLE001 - a child ended abnormally: `publish` and `finish` see what is missing
        return {"broken": _text(error)}
    return {}


def _call(context: Context, activity: str, request: Json, attempts: int = ATTEMPTS) -> Steps:
    """What *activity* returns; ``failed`` with the last error once it has failed too often."""
    error = ""
    for attempt in range(attempts):
        if attempt:
            yield context.create_timer(context.current_utc_datetime + _pause(attempt))
        try:
            result: Json = yield context.call_activity(activity, request)
        except Exception as failure:  # noqa: BLE001 - the SDK raises a plain Exception, whatever the activity raised
            error = _text(failure)
        else:
            return result
    return {"failed": error}


def _pause(attempt: int) -> dt.timedelta:
    """
    >>> [int(_pause(attempt).total_seconds()) for attempt in range(1, 7)]
    [30, 60, 120, 240, 480, 600]
    """
    pause: dt.timedelta = min(_FIRST_PAUSE * 2 ** (attempt - 1), _LONGEST_PAUSE)
    return pause


def _text(error: Exception) -> str:
    return " ".join(str(error).split())[:500]

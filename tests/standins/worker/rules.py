"""What holds for every function of the app and only the host in Azure would notice, after the deployment.

A rule takes the functions, bindings by name, and gives what breaks it. It reads bindings as the worker hands them to
the host; what the host does with them is in its ScriptHost.cs.
"""

from __future__ import annotations

import re

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, TypeAlias

Binding: TypeAlias = Mapping[str, Any]
Functions: TypeAlias = Mapping[str, Sequence[Binding]]

TRIGGERS = {"activityTrigger", "blobTrigger", "httpTrigger", "orchestrationTrigger", "timerTrigger"}
NAMES = {"month": "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC", "weekday": "SUN MON TUE WED THU FRI SAT"}
FIELDS = {
    "second": (0, 59), "minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 6),
}  # fmt: skip


def unknown_triggers(functions: Functions) -> list[str]:
    """Functions that start in a way which nothing here has a rule for, or in none or two."""
    known = {
        name: [b["type"] for b in bindings if b["type"].endswith("Trigger")] for name, bindings in functions.items()
    }
    return [f"{name}: {types}" for name, types in known.items() if len(types) != 1 or not TRIGGERS.issuperset(types)]


def timers_at_start(functions: Functions) -> list[str]:
    """Timers that fire whenever an instance starts: with each deployment, restart and step of scaling."""
    return [name for name, timer in _each("timerTrigger", functions) if timer.get("runOnStartup") is not False]


def forgetful_timers(functions: Functions) -> list[str]:
    """Timers that do not make up for a run which was missed while no instance was there."""
    return [name for name, timer in _each("timerTrigger", functions) if timer.get("useMonitor") is not True]


def wrong_schedules(functions: Functions, settings: Mapping[str, str]) -> list[str]:
    """Timers whose schedule is no setting, or one whose value is no schedule: the host then leaves the function out."""
    found = {name: _schedule_problem(timer["schedule"], settings) for name, timer in _each("timerTrigger", functions)}
    return [f"{name}: {problem}" for name, problem in found.items() if problem]


PAGES = "status/{*path}"


def open_routes(functions: Functions) -> list[str]:
    """Routes that answer a caller without a key, or ask for the app's master key. People sign in to the pages."""
    https = _each("httpTrigger", functions)
    return [name for name, http in https if http.get("authLevel") != "FUNCTION" and _route(name, http) != PAGES]


def reserved_routes(functions: Functions) -> list[str]:
    """Routes that begin like the host's own, which it keeps for itself."""
    routes = [(name, _route(name, http)) for name, http in _each("httpTrigger", functions)]
    return [f"{name}: {route}" for name, route in routes if route.startswith(("admin", "runtime"))]


def shared_routes(functions: Functions) -> list[str]:
    """Functions that would answer the same call: one route, whatever its parameters are called, and one method."""
    https = [(name, _route(name, http), _methods(http)) for name, http in _each("httpTrigger", functions)]
    return [
        f"{one[0]} and {other[0]}: {one[1]}"
        for one, other in combinations(https, 2)
        if _shape(one[1]) == _shape(other[1]) and (not one[2] or not other[2] or one[2] & other[2])
    ]


def polled_blobs(functions: Functions) -> list[str]:
    """Blob triggers that wait for the host to look into the container: Flex Consumption refuses the whole app."""
    return [name for name, blob in _each("blobTrigger", functions) if blob.get("source") != "EventGrid"]


def ncrontab_problem(text: str) -> str | None:
    """What is wrong with a schedule of six fields, of which the first, the second, is one number.

    >>> ncrontab_problem("0 */15 * * * *"), ncrontab_problem("30 5 2 1 JAN,jul MON-FRI")
    (None, None)
    >>> ncrontab_problem("*/15 * * * *")
    'it has 5 fields, not 6'
    >>> ncrontab_problem("* */15 * * * *")
    "its second is '*', not one number"
    >>> ncrontab_problem("0 0 24 * * *")
    "its hour is '24'"
    """
    parts = text.split()
    if len(parts) != len(FIELDS):
        return f"it has {len(parts)} fields, not {len(FIELDS)}"
    if not parts[0].isdigit():
        return f"its second is {parts[0]!r}, not one number"
    wrong = [f"its {field} is {part!r}" for field, part in zip(FIELDS, parts, strict=True) if not _fits(field, part)]
    return "; ".join(wrong) or None


def _each(kind: str, functions: Functions) -> Iterator[tuple[str, Binding]]:
    return ((name, b) for name, bindings in functions.items() for b in bindings if b["type"] == kind)


def _route(name: str, http: Binding) -> str:
    return str(http.get("route", name)).strip("/").lower()


def _methods(http: Binding) -> set[str]:
    """Those it answers; none given are all."""
    return {method.upper() for method in http.get("methods", [])}


def _shape(route: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", route)


def _schedule_problem(schedule: str, settings: Mapping[str, str]) -> str | None:
    setting = re.fullmatch(r"%(\w+)%", schedule)
    if setting is None:
        return f"{schedule!r} is not %SETTING%"
    if setting[1] not in settings:
        return f"{setting[1]} has no sample"
    problem = ncrontab_problem(settings[setting[1]])
    return problem and f"{setting[1]}={settings[setting[1]]!r}: {problem}"


def _fits(field: str, part: str) -> bool:
    low, high = FIELDS[field]
    names = {name: low + n for n, name in enumerate(NAMES.get(field, "").split())}
    for piece in part.upper().split(","):
        span, _, step = piece.partition("/")
        ends = [names.get(end, int(end) if end.isdigit() else None) for end in span.split("-", 1)]
        if span != "*" and not (None not in ends and low <= ends[0] <= ends[-1] <= high):
            return False
        if "/" in piece and not (step.isdigit() and int(step) > 0):
            return False
    return True

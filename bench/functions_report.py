"""The results of ``bench.functions`` as Markdown: figures to reach, what was measured, and what limits it."""

from __future__ import annotations

import os
import platform
import textwrap

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from json import loads
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.contestants import ROOT
from bench.report import _processor, _spread, _table

if TYPE_CHECKING:
    from bench.functions import Size

_GROWTH, _LAST_MS, _IMPORT_SECONDS = 1.3, 50.0, 1.0
_SUSTAINED = 0.99
"""Of the rate asked for: what arrived in the last moment is under way when time is up."""
_HEAVY = ("duckdb", "paramiko", "psycopg", "pyarrow", "pymysql", "pyodbc", "shared.app", "sqlalchemy")
_PACKAGES = (
    "azure-functions", "azure-functions-durable", "azurefunctions-extensions-bindings-blob", "azure-storage-blob",
    "azure-core", "requests", "aiohttp",
)  # fmt: skip
_WIDTH = 118
_STORAGES = {"azurite": "Azurite", "at once": "answers at once"}


class Round(NamedTuple):
    """One run of everything but the starts."""

    load: float
    """Of the machine before it."""
    replay: Mapping[int, Mapping[str, Any]]
    """By files of a job."""
    webhook: Mapping[str, Mapping[str, Any]]
    """By storage."""
    bare: Mapping[str, Mapping[str, Any]]


class Starts(NamedTuple):
    """Seconds in fresh processes."""

    whole: list[float]
    inside: list[float]
    bare: list[float]
    """The interpreter alone."""
    opened: list[float]
    modules: list[str]
    costly: Mapping[str, float]


def text(rounds: Sequence[Round], starts: Starts, size: Size) -> str:
    """The whole page."""
    parts = [
        _head(rounds, len(starts.whole)),
        _environment(),
        "## Figures to reach",
        _targets(rounds, starts, size),
        "## Replay",
        _replay(rounds),
        "## Webhook",
        _webhook(rounds, size),
        "## Import and first call",
        _start(rounds, starts),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def percentile(values: Sequence[float], share: int) -> float:
    """Of sorted *values* the smallest that *share* percent of them do not exceed."""
    return values[max(0, -(-len(values) * share // 100) - 1)]


def most(found: Mapping[str, Mapping[str, Any]]) -> float:
    """The highest rate among the stretches of a closed loop."""
    return max(_rate(phase) for phase in found.values())


def _phases(one: Round) -> Iterator[Mapping[str, Any]]:
    for found in one.webhook.values():
        yield found["open"]
        yield from found["closed"].values()


def _rate(phase: Mapping[str, Any]) -> float:
    return float(phase["rate"] if "rate" in phase else phase["accepted"] / phase["seconds"])


def _head(rounds: Sequence[Round], starts: int) -> str:
    loads_ = [one.load for one in rounds]
    runs = f"medians of {len(rounds)} runs" if len(rounds) > 1 else "of one run"
    return f"""
# Benchmark of the Functions app

What the app costs around the loading itself: replaying its orchestrations, answering the webhook, starting. Written by
`python -m bench functions`; how it measures stands in `bench/functions.py`. Figures are {runs}
(lowest to highest), for starts of {starts} processes; ratios are taken within a run, and then their median.

Load of the machine before each run: {min(loads_):.1f} to {max(loads_):.1f}. Where it is above 1, others were at work:
then rates and latencies say little, and ratios and seconds of the processor more.
"""


def _environment() -> str:
    pinned = loads((ROOT / "tests" / "servers" / "package.json").read_text(encoding="utf-8"))["dependencies"]
    packages = [f"{name} {metadata.version(name)}" for name in _PACKAGES]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GB, {platform.system()}"
    versions = f"Versions: Python {platform.python_version()}, Azurite {pinned['azurite']}, {', '.join(packages)}."
    return f"{textwrap.fill(versions, _WIDTH, break_on_hyphens=False)}\nMachine: {machine}."


def _targets(rounds: Sequence[Round], starts: Starts, size: Size) -> str:
    lines = []

    def line(what: str, aim: str, measured: str, reached: bool) -> None:
        lines.append([what, aim, measured, "yes" if reached else "**no**"])

    for name, part in (("inside the orchestrators", "inside"), ("with the stand-in's own", "total")):
        found = _growth(rounds, part)
        what = f"Replay, CPU a file at {max(size.jobs):,} files to {min(size.jobs):,}, {name}"
        line(what, f"at most {_GROWTH} x", f"{found:.2f} x", round(found, 2) <= _GROWTH)
    for storage, label in _STORAGES.items():
        rate = _median(rounds, lambda one, storage=storage: _rate(one.webhook[storage]["open"]))
        last = _median(rounds, lambda one, storage=storage: percentile(one.webhook[storage]["open"]["latencies"], 99))
        where = f"storage: {label}"
        line(f"Webhook, {where}, sustained", f"{size.rate}/s", f"{rate:.0f}/s", rate >= _SUSTAINED * size.rate)
        line(
            f"Webhook, {where}, p99 at {size.rate}/s", f"below {_LAST_MS:.0f} ms", f"{last:.1f} ms", last < _LAST_MS
        )  # fmt: skip
    elsewhere = sum(len(phase["refused"]) for one in rounds for phase in _phases(one))
    line("Webhook, connections to where links lead, or elsewhere", "none", str(elsewhere or "none"), not elsewhere)
    whole = median(starts.whole)
    line("`python -c 'import function_app'`", f"below {_IMPORT_SECONDS:g} s", f"{whole:.2f} s", whole < _IMPORT_SECONDS)
    heavy = [name for name in _HEAVY if name in starts.modules]
    line("Heavy modules that it imports", "none", ", ".join(heavy) or "none", not heavy)
    return _table(("", "aim", "measured", "reached"), lines)


def _replay(rounds: Sequence[Round]) -> str:
    lines = []
    for files in rounds[0].replay:
        replays = [one.replay[files] for one in rounds]
        inside = [1000 * one["inside"] / one["files"] for one in replays]
        total = [1000 * one["total"] / one["files"] for one in replays]
        size, what = max(one["largest"] for one in replays)
        lines.append([
            f"{files:,}", _spread(inside), _spread(total),
            f"{median(one['episodes'] / one['files'] for one in replays):.2f}",
            f"{median(one['events'] / one['files'] for one in replays):.1f}", f"{size} bytes ({what})",
        ])  # fmt: skip
    head = (
        "files of a job",
        "in orchestrators, CPU ms",
        "total, CPU ms",
        "episodes",
        "history events",
        "largest payload",
    )
    return f"""
An `export` job with steps that do nothing, one slice a file, in the stand-in of the Durable host, all in one process,
after a small job to warm up; as many files in all for both sizes, so several jobs of the smaller. Each episode takes
any number of the messages that wait, and order is drawn by chance, the same in each run. "In orchestrators" is what the
SDK takes to decode the history, replay it and say what is next; the total has the stand-in's own work as well.
Milliseconds, episodes and events are per file.

{_table(head, lines)}

The cost of a file stays the same because no history grows with the number of files: fan-outs of more than fifty are
batches in orchestrations of their own (docs/decisions/0011).
"""


def _webhook(rounds: Sequence[Round], size: Size) -> str:
    lines = []
    for storage, label in _STORAGES.items():
        lines.append(_stretch(rounds, f"{label}, {size.rate}/s", lambda one, s=storage: one.webhook[s]["open"]))
        for number in rounds[0].webhook[storage]["closed"]:
            phase = lambda one, s=storage, n=number: one.webhook[s]["closed"][n]  # noqa: E731
            lines.append(_stretch(rounds, f"{label}, {number} at once", phase))
    bare = []
    for kind, label in (("put", "a blob"), ("both", "a blob, then a job")):
        for number in rounds[0].bare[kind]:
            phases = [one.bare[kind][number] for one in rounds]
            bare.append([
                f"{label}, {number} at once", _spread([_rate(phase) for phase in phases], 0),
                *(f"{median(percentile(phase['latencies'], p) for phase in phases):.1f}" for p in (50, 95, 99)),
            ])  # fmt: skip
    to_bare = _median(rounds, lambda one: most(one.webhook["azurite"]["closed"]) / most(one.bare["both"]))
    late = sum(phase["other"].get("late", 0) for one in rounds for phase in _phases(one))
    return f"""
Signed notifications of five files, each of another export. `coolr_webhook` is called as the worker calls it, with the
request and the client binding: in one process with one event loop, real settings, the SDK's own clients. Azurite (with
all in memory), or a storage that answers at once and keeps nothing, is a process of its own, and so is the endpoint of
the Durable host's stand-in; all of them share the cores. At {size.rate}/s deliveries arrive on a fixed schedule for
{size.seconds} s, whatever became of those before, and latency counts from the moment on the schedule; "n at once" are
callers who deliver again as soon as they are answered. Every delivery was answered with 202, but for {late} that had no
answer within five seconds of the last; each of the others is a job and, in Azurite, a notification that is kept. Links
lead to a port that counts who comes, and the process may connect to its storage and the endpoint alone: nobody came,
and nothing else was tried.

{_table(("storage, load", "answered/s", "p50 ms", "p95 ms", "p99 ms", "CPU ms: app", "storage", "host"), lines)}

What Azurite and the endpoint take from a client that does nothing but send prepared requests, no job or a job for each
blob. Azurite looks through all blobs of an account at each write, so each line above and below has a fresh one; real
storage does not slow down as blobs grow in number.

{_table(("bare client", "calls/s", "p50 ms", "p95 ms", "p99 ms"), bare)}

With Azurite the webhook takes {to_bare:.2f} times as many deliveries as the bare client, each at its best.
{_limits(rounds)}
"""


def _stretch(rounds: Sequence[Round], name: str, phase: Callable[[Round], Mapping[str, Any]]) -> list[str]:
    found = [phase(one) for one in rounds]
    return [
        name,
        _spread([_rate(one) for one in found], 0),
        *(f"{median(percentile(one['latencies'], share) for one in found):.1f}" for share in (50, 95, 99)),
        *(f"{median(_cpu(one, process) for one in found):.2f}" for process in ("app", "storage", "host")),
    ]


def _cpu(phase: Mapping[str, Any], process: str) -> float:
    """Milliseconds of the processor for each delivery."""
    return 1000 * float(phase["cpu"][process]) / max(1, len(phase["latencies"]))


def _limits(rounds: Sequence[Round]) -> str:
    """Rates that processors allow, by what each delivery takes of them."""
    cores = os.cpu_count() or 1
    app, azurite, host = (
        _median(rounds, lambda one, p=process: _cpu(one.webhook["azurite"]["closed"][4], p))
        for process in ("app", "storage", "host")
    )
    alone = _median(rounds, lambda one: _cpu(one.webhook["at once"]["closed"][4], "app"))
    whole = app + azurite + host
    by_cores, by_azurite, by_app = (
        f"{1000 * n / took:.0f}/s" for n, took in ((cores, whole), (1, azurite), (1, alone))
    )
    return f"""
What limits it is the processor. With four at once and Azurite a delivery takes {whole:.1f} ms of it: {app:.1f} in the
app, {azurite:.1f} in Azurite, {host:.1f} in the stand-in. At that, {cores} cores that do nothing else take at most
{by_cores}; Azurite, which computes in one thread, at most {by_azurite}; and the app, as Python computes in one thread
at a time, at most {by_app} with a storage that answers at once. How long Blob Storage takes over a network is not in
here; a delivery waits for it in one of the loop's {min(32, cores + 4)} threads.
"""


def _start(rounds: Sequence[Round], starts: Starts) -> str:
    fresh = [
        phase
        for one in rounds
        for phase in (one.webhook["azurite"]["open"], *one.webhook["azurite"]["closed"].values())
    ]
    first, second = ([phase[name] / 1000 for phase in fresh] for name in ("first", "second"))
    lines = [
        ["`python -c 'import function_app'`, the whole process", _spread(starts.whole)],
        ["the interpreter alone", _spread(starts.bare)],
        ["the import itself", _spread(starts.inside)],
        ["after it: import `shared.app` and open the app", _spread(starts.opened)],
        ["the first delivery in a fresh process, all of that and the container made", _spread(first)],
        ["the second", _spread(second, 3)],
    ]
    costly = sorted(starts.costly.items(), key=lambda one: -one[1])[:8]
    shares = ", ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in costly)
    present = [name for name in _HEAVY if name in starts.modules]
    absent = [name for name in _HEAVY if name not in starts.modules]
    summary = (
        f"{len(starts.modules)} modules are imported; most of the time goes to {shares} (measured once, without what"
        " each imports in turn, and slowed down by the measuring)."
    )
    heavy = f"Imported, and heavy: {', '.join(present)}. " if present else ""
    return f"""
{_table((f"fresh processes, {len(starts.whole)} of each; deliveries {len(fresh)}", "s"), lines)}

{heavy}Not imported: {", ".join(absent)}.

{textwrap.fill(summary, _WIDTH, break_on_hyphens=False)}
"""


def _growth(rounds: Sequence[Round], part: str) -> float:
    """Cost of a file at the most files to that at the fewest."""
    few, many = min(rounds[0].replay), max(rounds[0].replay)

    def cost(one: Round, files: int) -> float:
        return float(one.replay[files][part] / one.replay[files]["files"])

    return _median(rounds, lambda one: cost(one, many) / cost(one, few))


def _median(rounds: Sequence[Round], value: Callable[[Round], float]) -> float:
    return median(value(one) for one in rounds)

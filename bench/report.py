"""The results as Markdown: tables, and beside each figure to reach whether it is."""

from __future__ import annotations

import os
import platform
import subprocess

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from statistics import median
from typing import NamedTuple

from bench import data
from bench.contestants import Contestant
from bench.measure import Cost


class Turn(NamedTuple):
    """One step of one contestant."""

    cost: Cost
    database: float
    """MB of the database file afterwards."""
    verdict: str


Round = Mapping[tuple[str, str], Turn]
"""The turns of one run by step and contestant."""
_TITLES = {
    "first": "First full into an empty database",
    "second": "Second full over the first: 1 % changed, 0.1 % gone",
    "delta": "Delta over the first: 80 % updates, 15 % inserts, 5 % deletions",
}
_RATIOS = {"first": 1.25, "second": 1.8, "delta": 1.6}
"""How many times plain SQL's time each step may take, on the clock and of the processor."""
_PEAK_MB = 500
_GROWTH = 1.15
_IMPORT_SECONDS, _HELP_SECONDS = 0.3, 0.5
_PEERS = ("dlt", "dlt-replace")
_PACKAGES = ("sluice", "duckdb", "pyarrow", "sqlalchemy")


def text(
    rows: int, wanted: Sequence[Contestant], rounds: Sequence[Round], start_up: Mapping[str, list[float]] | None
) -> str:
    """The whole page."""
    parts = [_head(rows, len(rounds)), _environment(wanted)]
    parts += [_step(step, rows, wanted, rounds) for step in _TITLES]
    if start_up:
        parts += [_targets(rounds, start_up), _memory(rows, rounds), _dry(rounds), _start(start_up)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _head(rows: int, runs: int) -> str:
    medians = f"medians of {runs} runs, (lowest to highest)" if runs > 1 else "one run"
    return f"""
# Benchmark

Order items of 20 columns (int64, decimal, string, bool, timestamp, some nulls) from snappy Parquet into DuckDB,
{rows:,} rows in the full. Written by `make bench`; how it measures stands in `bench/__main__.py`, what plain SQL
does and leaves out in `bench/plain.py`, how the peer is set up in `bench/dlt_peer.py`. Figures are {medians};
a ratio (x) is to plain SQL in the same run; both forms of plain SQL do the very same first full, so that their
difference there is noise. Memory is the most the process had resident. "right" means that the
active rows are, column by column, what the exports say, with as many dead and changed rows as there must be.
"""


def _environment(wanted: Iterable[Contestant]) -> str:
    versions = [f"Python {platform.python_version()}", *(f"{name} {metadata.version(name)}" for name in _PACKAGES)]
    peers = [who for who in wanted if who.name in _PEERS and who.installed]
    versions += [f"dlt {_peer_version(who)}" for who in peers[:1]]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GB, {platform.system()}"
    return f"Versions: {', '.join(versions)}.\nMachine: {machine}."


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:  # noqa: PTH123 - not a file of ours
            return next(line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def _peer_version(who: Contestant) -> str:
    command = [str(who.python), "-c", "from importlib.metadata import version; print(version('dlt'))"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _step(step: str, rows: int, wanted: Sequence[Contestant], rounds: Sequence[Round]) -> str:
    counts = data.expected(rows)[step]
    lines = [
        f"## {_TITLES[step]}",
        f"{counts['rows']:,} rows afterwards, {counts['dead']:,} of them dead.",
        _table(
            ("", "wall s", "x", "CPU s", "x", "peak MB", "database MB", "result"),
            [_contestant(step, who, rounds) for who in wanted],
        ),
    ]
    return "\n\n".join(lines)


def _contestant(step: str, who: Contestant, rounds: Sequence[Round]) -> list[str]:
    if not who.installed:
        return [who.label, *[""] * 6, "not installed: `make bench-peers`"]
    turns = [turns[step, who.name] for turns in rounds]
    verdicts = sorted({turn.verdict for turn in turns}, key=lambda verdict: verdict.startswith("right"))
    return [
        who.label,
        _spread([turn.cost.wall for turn in turns]),
        _times(_ratio(rounds, step, who.name, "plain", lambda turn: turn.cost.wall)),
        f"{median(turn.cost.cpu for turn in turns):.2f}",
        _times(_ratio(rounds, step, who.name, "plain", lambda turn: turn.cost.cpu)),
        _spread([turn.cost.peak for turn in turns], digits=0),
        f"{median(turn.database for turn in turns):.0f}",
        verdicts[0],
    ]


def _targets(rounds: Sequence[Round], start_up: Mapping[str, list[float]]) -> str:
    lines: list[list[str]] = []

    def line(what: str, most: float, measured: float | None, unit: str, digits: int = 2) -> None:
        if measured is None:
            lines.append([what, f"at most {most:g}{unit}", "not measured", ""])
            return
        reached = "yes" if round(measured, digits) <= most else "**no**"
        lines.append([what, f"at most {most:g}{unit}", f"{measured:.{digits}f}{unit}", reached])

    for step, name in (("first", "First full"), ("second", "Second full"), ("delta", "Delta")):
        line(f"{name}, wall, to plain SQL", _RATIOS[step], _ratio(rounds, step, "sluice", "plain", _wall), " x")
        line(f"{name}, CPU, to plain SQL", _RATIOS[step], _ratio(rounds, step, "sluice", "plain", _cpu), " x")
        line(f"{name}, wall, to dlt's best", 1, _to_best(rounds, step), " x")
    for step, name in (("first", "First full"), ("second", "Second full"), ("delta", "Delta")):
        line(f"{name}, peak memory", _PEAK_MB, _median(rounds, step, _peak), " MB", 0)
    line("First full, memory for three times the rows", _GROWTH, _growth(rounds, "first", "triple"), " x")
    line("Second full, memory for three times the rows", _GROWTH, _growth(rounds, "second", "triple again"), " x")
    for step, name in (("second", "second full"), ("delta", "delta")):
        line(f"Dry run of the {name}, wall, to its merge", 1, _against_merge(rounds, step, _wall), " x")
    line("Import of the package", _IMPORT_SECONDS, median(start_up["import"]), " s")
    line("`sluice --help`", _HELP_SECONDS, median(start_up["help"]), " s")
    return "## Figures to reach\n\n" + _table(("Sluice", "aim", "measured", "reached"), lines)


def _memory(rows: int, rounds: Sequence[Round]) -> str:
    lines = []
    for what, once, thrice in (
        ("Into an empty database", "first", "triple"),
        ("Over the rows stored before (three times: the same again)", "second", "triple again"),
    ):
        lines.append(
            [
                what,
                *(f"{_median(rounds, step, _peak):.0f}" for step in (once, thrice)),
                _times(_growth(rounds, once, thrice)),
                *(f"{_median(rounds, step, _wall):.2f}" for step in (once, thrice)),
                _verdicts(rounds, thrice),
            ]
        )
    head = ("Sluice", f"peak MB, {rows:,}", f"peak MB, {3 * rows:,}", "x", "wall s", "wall s, three times", "result")
    once = "Three times the rows were loaded in the first run only, as were the dry runs below.\n\n"
    return "## Memory and the size of the file\n\n" + once + _table(head, lines)


def _dry(rounds: Sequence[Round]) -> str:
    lines = []
    for step in ("second", "delta"):
        dry = f"{step} dry run"
        lines.append(
            [
                _TITLES[step].split(":", maxsplit=1)[0],
                *(f"{_median(rounds, s, part):.2f}" for part in (_wall, _cpu) for s in (step, dry)),
                _times(_against_merge(rounds, step, _wall)),
                _verdicts(rounds, dry),
            ]
        )
    head = ("Sluice", "merge, wall s", "dry run, wall s", "merge, CPU s", "dry run, CPU s", "x wall", "table unchanged")
    return "## Dry run\n\n" + _table(head, lines)


def _start(start_up: Mapping[str, list[float]]) -> str:
    lines = [
        ["`import shared.app`, all but the interpreter's own start", _spread(start_up["import"])],
        ["`sluice --help`, the whole process", _spread(start_up["help"])],
    ]
    return "## Start\n\n" + _table((f"median of {len(start_up['import'])}", "s"), lines)


def _wall(turn: Turn) -> float:
    return turn.cost.wall


def _cpu(turn: Turn) -> float:
    return turn.cost.cpu


def _peak(turn: Turn) -> float:
    return turn.cost.peak


def _median(rounds: Sequence[Round], step: str, part: Callable[[Turn], float]) -> float:
    return median(part(turns[step, "sluice"]) for turns in rounds)


def _growth(rounds: Sequence[Round], once: str, thrice: str) -> float:
    return median(_peak(turns[thrice, "sluice"]) / _peak(turns[once, "sluice"]) for turns in rounds)


def _against_merge(rounds: Sequence[Round], step: str, part: Callable[[Turn], float]) -> float:
    return median(part(turns[f"{step} dry run", "sluice"]) / part(turns[step, "sluice"]) for turns in rounds)


def _ratio(rounds: Sequence[Round], step: str, who: str, to: str, part: Callable[[Turn], float]) -> float | None:
    both = [(turns.get((step, who)), turns.get((step, to))) for turns in rounds]
    ratios = [part(one) / part(other) for one, other in both if one and other]
    return median(ratios) if ratios else None


def _to_best(rounds: Sequence[Round], step: str) -> float | None:
    """Of the peer's configurations the one that is faster at this step counts."""
    ratios = [ratio for peer in _PEERS if (ratio := _ratio(rounds, step, "sluice", peer, _wall)) is not None]
    return max(ratios, default=None)


def _verdicts(rounds: Sequence[Round], step: str) -> str:
    return "; ".join(sorted({turns[step, "sluice"].verdict for turns in rounds}))


def _spread(values: Sequence[float], digits: int = 2) -> str:
    middle = f"{median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ["---" if number == 0 else "---:" for number in range(len(head))]
    if head[-1] not in ("s",):
        rule[-1] = "---"
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))

"""Measure a lake beside DuckDB's own Parquet, delta-rs's MERGE and dlt: bench/RESULTS_LAKE.md is written from it.

    python -m bench lake                          5,000,000 rows of 20 columns, three rounds
    python -m bench lake --rows 100000 --rounds 1    a quick look

Everybody takes the same files (bench/data.py), each step a process of its own, in turns; ratios are taken within a
round. After each step the table's current files are read: rows, dead and changed ones, and the sum of the hashes of the
active rows must be what the exports say. dlt is there where ``make bench-peers`` installed it.

    append     a first full, its rows as they came, to DuckDB writing them as one file of zstd Parquet
    first      the same into a table of current rows, to the same file
    delta      rows / 10 newer ones over that, to MERGE over a table of the same rows

``python -m bench.lake_runs`` measures 1,000 small runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys

from pathlib import Path
from statistics import median
from typing import Any

from bench import data
from bench.contestants import PEERS, ROOT, quiet
from bench.measure import Cost, run

LIMITS = {"append": 1.3, "first": 1.5, "delta": 2.0}
YARDSTICK = {"append": "copy", "first": "copy", "delta": "merge"}
_TABLE = Path("coolr") / "orderitem"
_MODE = '[defaults]\nlake = "append"\n'


class Bench:
    """The steps over *files* (``first`` and ``delta``), in folders of *work*."""

    def __init__(self, files: dict[str, Path], work: Path, rows: int) -> None:
        self._files, self._work, self._rows = files, work, rows

    def commands(self, step: str) -> dict[str, tuple[list[str], dict[str, str]]]:
        """Command and settings of each who takes part in *step*, by name; the yardstick first."""
        file = self._files["delta" if step == "delta" else "first"]
        mode = "append" if step == "append" else "current"
        plain, peer = (str(self._state(who, mode)) for who in ("plain", "dlt"))
        found = {
            YARDSTICK[step]: ([sys.executable, "-m", "bench.lake_plain", YARDSTICK[step], str(file), plain], quiet()),
            "sluice": ([sys.executable, "-m", "shared", "load", str(_root(file)), "--json"], self._settings(mode)),
        }
        if PEERS.exists():
            how = "append" if mode == "append" else "merge"
            found["dlt"] = ([str(PEERS), "-m", "bench.lake_peer", how, str(file), peer], quiet())
        return found

    def step(self, step: str) -> dict[str, Cost]:
        costs = {}
        for name, (command, env) in self.commands(step).items():
            cost, _ = run(command, env, ROOT)
            costs[name] = cost
            verdict = self._verdict(name, step)
            print(
                f"  {step:7} {name:7} {cost.wall:7.2f} s {cost.cpu:7.2f} s CPU {cost.peak:6.0f} MB  {verdict}",
                flush=True,
            )
        return costs

    def prepare(self) -> None:
        """Empty folders, and the table that MERGE merges into."""
        shutil.rmtree(self._work, ignore_errors=True)
        for mode in ("append", "current"):
            for who in ("plain", "sluice", "dlt"):
                self._state(who, mode).mkdir(parents=True)
        target = str(self._state("plain", "current"))
        run([sys.executable, "-m", "bench.lake_plain", "table", str(self._files["first"]), target], quiet(), ROOT)

    def _state(self, who: str, mode: str) -> Path:
        return self._work / f"{who}-{mode}"

    def _settings(self, mode: str) -> dict[str, str]:
        state = self._state("sluice", mode)
        catalog = state / "catalog"
        if not catalog.exists():
            shutil.copytree(ROOT / "shared" / "catalog" / "systems", catalog)
            if mode == "append":
                system = catalog / "coolr.toml"
                text = system.read_text(encoding="utf-8").replace("[defaults]\n", _MODE)
                system.write_text(text, encoding="utf-8")
        return quiet({
            "WAREHOUSE_URL": f"lake:///{state}/lake", "LEDGER_URL": f"sqlite:///{state}/ledger.db",
            "CATALOG_PATH": str(catalog),
        })  # fmt: skip

    def _verdict(self, who: str, step: str) -> str:
        mode = "append" if step == "append" else "current"
        state = self._state("plain" if who in YARDSTICK.values() else who, mode)
        if who == "copy":
            return ""
        table = state / ("table" if who == "merge" else Path("lake") / _TABLE)
        _, seen = run([sys.executable, "-m", "bench.lake_plain", "found", str(table)], quiet(), ROOT)
        _, wanted = run(
            [sys.executable, "-m", "bench.lake_plain", "wanted", *map(str, self._wanted(step))], quiet(), ROOT
        )
        return _compared(
            json.loads(seen), json.loads(wanted), data.expected(self._rows)["delta" if step == "delta" else "first"]
        )

    def _wanted(self, step: str) -> list[Path]:
        return [self._files["first"], *([self._files["delta"]] if step == "delta" else [])]


def _compared(seen: dict[str, Any], wanted: dict[str, Any], expected: dict[str, int]) -> str:
    if seen["alive"] != wanted["alive"]:
        return f"wrong: {seen} where {wanted} belongs"
    counts = {name: seen[name] for name in ("rows", "dead")}
    if counts != {name: expected[name] for name in counts}:
        return f"wrong: {counts} where {expected} belongs"
    return "right" if seen["touched"] in (expected["touched"], 0) else f"wrong: {seen['touched']} touched"


def main(given: list[str]) -> None:
    options = _arguments(given)
    exports, work = options.work / f"{options.rows}", options.work / "lake"
    files = {name: exports.resolve() / data.FILES[name] for name in ("first", "delta")}
    if options.make:
        _make(files, options.rows)
        return
    made = ["--make", "--rows", str(options.rows), "--work", str(options.work)]
    run([sys.executable, "-m", "bench", "lake", *made], quiet(), ROOT)
    bench = Bench(files, work.resolve(), options.rows)
    rounds: list[dict[str, dict[str, Cost]]] = []
    for number in range(options.rounds):
        print(f"Round {number + 1} of {options.rounds}, load of the machine {os.getloadavg()[0]:.1f}", flush=True)
        bench.prepare()
        rounds.append({step: bench.step(step) for step in LIMITS})
    shutil.rmtree(work, ignore_errors=True)
    if rounds:
        print(_table(rounds))


def _make(files: dict[str, Path], rows: int) -> None:
    """In a process of its own: the peak of the one that measures would be that of all it starts."""
    for name, keys, count in (("first", data._FIRST, rows), ("delta", data._DELTA, rows // 10)):
        if not files[name].exists():
            data._write(files[name], keys, count, rows)


def _root(file: Path) -> Path:
    return file.parents[3]


def _table(rounds: list[dict[str, dict[str, Cost]]]) -> str:
    lines = ["", "| step | | wall s | CPU s | x by CPU | peak MB | at most |", "|---|---|---:|---:|---:|---:|---:|"]
    for step, limit in LIMITS.items():
        for name in rounds[0][step]:
            costs = [one[step][name] for one in rounds]
            base = [one[step][YARDSTICK[step]] for one in rounds]
            ratio = median(a.cpu / b.cpu for a, b in zip(costs, base, strict=True))
            wall, cpu, peak = (median(getattr(cost, field) for cost in costs) for field in Cost._fields)
            aim = f"{limit} x" if name == "sluice" else ""
            lines.append(f"| {step} | {name} | {wall:.1f} | {cpu:.1f} | {ratio:.2f} | {peak:.0f} | {aim} |")
    return "\n".join(lines)


def _arguments(given: list[str]) -> argparse.Namespace:
    arguments = argparse.ArgumentParser("python -m bench lake", description=str(__doc__).partition("\n")[0])
    arguments.add_argument("--rows", type=int, default=5_000_000, help="of the first full (%(default)s)")
    arguments.add_argument("--rounds", type=int, default=3, help="of everything (%(default)s)")
    arguments.add_argument("--make", action="store_true", help="only make the exports")
    arguments.add_argument("--work", type=Path, default=ROOT / ".bench", help="folder for what is made")
    return arguments.parse_args(given)

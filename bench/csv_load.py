"""Measure the import of a CSV file of leads into DuckDB: Sluice, DuckDB's own read_csv, and dlt where it is installed.

    python -m bench.csv_load                     1,000,000 rows, three rounds
    python -m bench.csv_load --rows 100000       a quick look

Each is a process of its own, on one core, and they take turns: what else runs on the machine is the same for all.
Sluice cleans every column, keeps history and rejects; the others store the text. The counts of Sluice are checked.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench import csv_data, sluice
from bench.contestants import PEERS, ROOT, quiet
from bench.measure import Cost, run

_PLAIN = (
    "import duckdb, sys; duckdb.connect(sys.argv[1]).execute("
    "'CREATE TABLE leads AS SELECT * FROM read_csv(?)', [sys.argv[2]])"
)


class Contestant(NamedTuple):
    label: str
    command: Callable[[Path, Path], list[str]]
    """Of a folder to keep the state in, and the file."""
    installed: bool = True


CONTESTANTS = (
    Contestant(
        "`sluice csv leadconduit leads`",
        lambda state, file: [sys.executable, "-m", "shared", "csv", "leadconduit", "leads", str(file), "--json"],
    ),
    Contestant(
        "DuckDB, `CREATE TABLE AS SELECT * FROM read_csv`",
        lambda state, file: [sys.executable, "-c", _PLAIN, str(state / "plain.duckdb"), str(file)],
    ),
    *(
        Contestant(
            f"dlt, {how}",
            lambda state, file, how=how: [str(PEERS), "-m", "bench.csv_dlt", how, str(state), str(file)],
            PEERS.exists(),
        )
        for how in ("append", "merge")
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--home", type=Path, help="Where to keep the file; a temporary folder by default.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        file = (options.home or Path(folder)) / f"leads-{options.rows}.csv"
        if not file.exists():
            csv_data.make(file, options.rows)
        costs = measure(file, Path(folder), options.rounds, options.rows)
    print("\n".join(table(costs, options.rows)))


def measure(file: Path, folder: Path, rounds: int, rows: int) -> dict[str, list[Cost]]:
    """What each took, by its label. The first round of all is for the caches."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    costs: dict[str, list[Cost]] = {one.label: [] for one in CONTESTANTS if one.installed}
    for number in range(rounds):
        for one in CONTESTANTS:
            if one.installed:
                costs[one.label].append(_once(one, folder / "state", file, rows))
                print(f"round {number + 1}: {one.label}: {costs[one.label][-1]}", file=sys.stderr)
    return costs


def _once(one: Contestant, state: Path, file: Path, rows: int) -> Cost:
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir()
    cost, printed = run(one.command(state, file), quiet(sluice.settings(state)), ROOT)
    if one is CONTESTANTS[0]:
        _check(json.loads(printed), rows)
    return cost


def _check(results: Sequence[dict[str, dict[str, int]]], rows: int) -> None:
    (result,) = results
    found = {"loaded": result["run"]["inserted"], "rejected": result["run"]["rejected"]}
    if found != csv_data.expected(rows):
        raise SystemExit(f"found {found} instead of {csv_data.expected(rows)}")


def table(costs: dict[str, list[Cost]], rows: int) -> list[str]:
    """Medians, and the least processor time: on a machine that others use it says more."""
    lines = [
        "| | wall | processor time | least | rows/s of least | peak memory |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for label, found in costs.items():
        wall, cpu, peak = (median(values) for values in zip(*found, strict=True))
        least = min(cost.cpu for cost in found)
        lines.append(f"| {label} | {wall:.1f} s | {cpu:.1f} s | {least:.1f} s | {rows / least:,.0f} | {peak:,.0f} MB |")
    lines += [
        f"| {one.label} | not installed: `make bench-peers` | | | | |" for one in CONTESTANTS if not one.installed
    ]
    return lines


if __name__ == "__main__":
    main()

"""Measure Sluice beside plain SQL and a peer, and write bench/RESULTS.md.

    make bench                                   the full size: some minutes, and 6 GB in .bench/
    make bench-peers bench                       with dlt, installed into .venv-peers first
    make bench ARGS="--rows 100000 --runs 1"     a quick look
    make bench ARGS="--only plain,sluice"        without the peer
    make bench ARGS=postgres                     on PostgreSQL instead (bench/postgres.py)
    make bench ARGS=staging                      CSV for Azure SQL instead, see bench/staging.py
    make bench ARGS=sql                          a sync of a database's table instead (bench/sql.py)
    make bench ARGS=lake                         a lake beside DuckDB's Parquet, MERGE and dlt (bench/lake.py)
    make bench ARGS=scaling                      how costs grow with files, tables and rows (bench/scaling.py)
    make bench ARGS=crm                          a sync of HubSpot's contacts instead (bench/crm.py)
    make bench ARGS=atom                         how fast feeds of Atom become columns (bench/atom.py)
    make bench ARGS=pages                        the status page with 100,000 runs (bench/pages.py)
    make bench ARGS=functions                    the Functions app instead: replay, webhook, start (bench/functions.py)

Three steps: a first full into an empty database, a second full over it, a delta over the first full; the last two
start from a copy of what the same contestant made of the first. Every step is a process of its own, measured from
its start to its end; contestants take turns (A B C, A B C), and after each turn what is in the database is compared
with what the exports say must be there (bench/check.py). Figures are medians of the runs; ratios are taken within a
run, between neighbours in time, and then their median. In the first run only, Sluice also does dry runs, and a full
three times as large: into an empty database, and again over what that left.

Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys

from pathlib import Path
from typing import Any

from bench import check, data, report, staging
from bench.contestants import CONTESTANTS, ROOT, Contestant, quiet
from bench.measure import run

STEPS = ("first", "second", "delta")
EXTRA = ("second dry run", "delta dry run", "triple", "triple again")
_STARTS = 7
_BEFORE = {
    "second": "first", "delta": "first", "second dry run": "first", "delta dry run": "first", "triple again": "triple",
}  # fmt: skip
_IMPORT = "import time; t = time.perf_counter(); import shared.app; print(time.perf_counter() - t)"


class Bench:
    """One pass over everything; *exports* and *states* are folders."""

    def __init__(self, exports: Path, states: Path, rows: int, alive: dict[str, Any]) -> None:
        self._exports, self._states = exports, states
        self._expected, self._alive = data.expected(rows), alive

    def step(self, who: Contestant, step: str) -> report.Turn:
        """Do one step from a fresh copy of the state before it, and look at what came of it."""
        state = self._states / who.name / step.replace(" ", "-")
        shutil.rmtree(state, ignore_errors=True)
        before = _BEFORE.get(step)
        if before:
            shutil.copytree(self._states / who.name / before, state)
        else:
            state.mkdir(parents=True)
        source = step.split(maxsplit=1)[0]
        command, env = who.command(step, state, self._exports / source)
        cost, _ = run(command, env, ROOT)
        size = (state / who.database).stat().st_size / 2**20
        after = before if step.endswith("dry run") else source
        turn = report.Turn(cost, size, self._verdict(who, state, after or source))
        if step not in _BEFORE.values():
            shutil.rmtree(state)
        print(
            f"  {step:14} {who.name:12} {cost.wall:7.2f} s  {cost.cpu:7.2f} s CPU {cost.peak:6.0f} MB  {turn.verdict}"
        )
        return turn

    def _verdict(self, who: Contestant, state: Path, after: str) -> str:
        seen = _run_module("bench.check", "found", str(state / who.database), who.schema, who.kind)
        return check.verdict(after, self._expected[after], self._alive, seen)


def main() -> None:
    if sys.argv[1:2] == ["staging"]:
        staging.main(sys.argv[2:])
        return
    options = _arguments()
    names = options.only.split(",") if options.only else list(CONTESTANTS)
    wanted = [CONTESTANTS[name] for name in names]
    exports, states = options.work / f"{options.rows}", options.work / "states"
    print(f"Making the exports in {options.work} (once) ...", flush=True)
    alive = _made(exports, options.rows)
    bench = Bench(exports.resolve(), states.resolve(), options.rows, alive)
    rounds: list[report.Round] = []
    for number in range(1, options.runs + 1):
        print(f"Run {number} of {options.runs}", flush=True)
        turns = {(step, who.name): bench.step(who, step) for step in STEPS for who in wanted if who.installed}
        if "sluice" in names:
            # Dry runs and three times the rows take long and are for themselves: measured once, and marked so.
            for step in EXTRA:
                first = rounds[0][step, "sluice"] if rounds else bench.step(CONTESTANTS["sluice"], step)
                turns[step, "sluice"] = first
        rounds.append(turns)
    shutil.rmtree(states, ignore_errors=True)
    text = report.text(options.rows, wanted, rounds, _start_up() if "sluice" in names else None)
    options.results.write_text(text, encoding="utf-8")
    print(f"Written: {options.results}")
    if any(turn.verdict.startswith("wrong") for turns in rounds for turn in turns.values()):
        raise SystemExit("a table is not what it should be: see above")


def _made(exports: Path, rows: int) -> dict[str, Any]:
    """The exports, and what is alive after each step; made in other processes, so that this one stays small."""
    run([sys.executable, "-m", "bench.data", str(exports.resolve()), "--rows", str(rows)], quiet(), ROOT)
    known = exports / "expected.json"
    if not known.exists() or known.stat().st_mtime < (exports / data.DONE).stat().st_mtime:
        known.write_text(json.dumps(_run_module("bench.check", "expect", str(exports.resolve()))), encoding="utf-8")
    return dict(json.loads(known.read_text(encoding="utf-8")))


def _start_up() -> dict[str, list[float]]:
    """Seconds that ``import shared.app`` and ``sluice --help`` take."""
    imports, helps = [], []
    for _ in range(_STARTS):
        imports.append(float(run([sys.executable, "-c", _IMPORT], quiet(), ROOT)[1]))
        helps.append(run([sys.executable, "-m", "shared", "--help"], quiet(), ROOT)[0].wall)
    return {"import": imports, "help": helps}


def _run_module(module: str, *arguments: str) -> dict[str, Any]:
    return dict(json.loads(run([sys.executable, "-m", module, *arguments], quiet(), ROOT)[1]))


def _arguments() -> argparse.Namespace:
    summary, _, rest = str(__doc__).partition("\n")
    arguments = argparse.ArgumentParser(
        "python -m bench", description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--rows", type=int, default=5_000_000, help="of the first full (%(default)s)")
    arguments.add_argument("--runs", type=int, default=3, help="of everything (%(default)s)")
    arguments.add_argument("--only", metavar="A,B", help=f"of {', '.join(CONTESTANTS)}")
    arguments.add_argument("--work", type=Path, default=ROOT / ".bench", help="folder for exports and databases")
    arguments.add_argument("--results", type=Path, default=ROOT / "bench" / "RESULTS.md", help="file to write")
    options = arguments.parse_args()
    unknown = set(options.only.split(",")) - set(CONTESTANTS) if options.only else set()
    if unknown:
        arguments.error(f"nobody is called {', '.join(sorted(unknown))}")
    return options


OTHERS = ("postgres", "staging", "sql", "lake", "scaling", "functions", "crm", "atom", "pages")
"""Modules beside this one that measure something else."""

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in OTHERS:
        importlib.import_module(f"bench.{sys.argv[1]}").main(sys.argv[2:])
    else:
        main()

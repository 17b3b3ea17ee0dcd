"""Measure Sluice on PostgreSQL beside COPY and the same merge by hand, and write bench/RESULTS_POSTGRES.md.

    python -m bench postgres                          the full size
    python -m bench postgres --rows 500000 --runs 3   a quick look

A first full into an empty database, then a delta over a copy of it. Both contestants use one server, started for this
with fsync on, and take turns. Server time is that of all of its processes. After each step the rows are compared.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys

from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil

from bench import data
from bench.contestants import ROOT, quiet
from bench.measure import run

SETTINGS = ("shared_buffers=1GB", "work_mem=64MB", "maintenance_work_mem=256MB", "max_wal_size=8GB")
STEPS = ("first", "delta")
WHO = {"plain": "COPY and upsert by hand", "sluice": "Sluice"}


class Turn(NamedTuple):
    wall: float
    client: float
    """CPU seconds."""
    server: float
    peak: float
    """MB of the client."""


class Bench:
    def __init__(self, server: Any, exports: Path, states: Path, rows: int) -> None:
        self._server, self._exports, self._states, self._rows = server, exports, states, rows

    def step(self, who: str, step: str) -> Turn:
        """One step on a database of its own, which is left for the next one."""
        name, before = f"{who}_{step}", f"{who}_first"
        with self._server.connect() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name}")
            template = "" if step == "first" else f" TEMPLATE {before} STRATEGY FILE_COPY"
            connection.execute(f"CREATE DATABASE {name}{template}".encode())
            connection.execute("CHECKPOINT")
        ledger = self._ledger(who, step)
        url, exports = self._server.url(name), str(self._exports / step)
        command = {
            "plain": ["-m", "bench.plain_postgres", step, exports],
            "sluice": ["-m", "shared", "load", exports, "--tables", "orderitem", "--json"],
        }[who]
        env = quiet({"URL": url, "WAREHOUSE_URL": url, "LEDGER_URL": f"sqlite:///{ledger}"})
        since = server_time(self._server)
        cost, _ = run([sys.executable, *command], env, ROOT)
        turn = Turn(cost.wall, cost.cpu, server_time(self._server) - since, cost.peak)
        print(f"  {step:6} {who:7} {turn.wall:7.2f} s  {turn.client:6.2f} + {turn.server:6.2f} s CPU", flush=True)
        return turn

    def contents(self, who: str, step: str) -> tuple[Any, ...]:
        """Number and sum of hashes of the active rows, number of dead and of changed ones."""
        alive = '"DeletedAt" IS NULL'
        with self._server.connect(f"{who}_{step}") as connection:
            names = connection.execute(
                "SELECT string_agg(format('%I', attname), ', ' ORDER BY attname) FROM pg_attribute WHERE attnum > 0"
                " AND attrelid = 'coolr.orderitem'::regclass AND NOT attisdropped AND attname !~ 'Sync|DeletedAt'"
            ).fetchone()[0]
            return connection.execute(
                f"""SELECT count(*) FILTER (WHERE {alive}),
                sum(hash_record_extended(ROW({names}), 0)) FILTER (WHERE {alive}),
                count("DeletedAt"), count(*) FILTER (WHERE "SyncedAt" > "FirstSyncAt") FROM coolr.orderitem""".encode()
            ).fetchone()

    def right(self, step: str) -> bool:
        """Whether both have the same active rows, and as many dead and touched ones as the formula says."""
        wanted = data.expected(self._rows)[step]
        plain, sluice = (self.contents(who, step) for who in WHO)
        return plain == sluice and (wanted["dead"], wanted["touched"]) == tuple(sluice[2:])

    def _ledger(self, who: str, step: str) -> Path:
        path = self._states / f"{who}_{step}.db"
        path.unlink(missing_ok=True)
        if who == "sluice" and step != "first":
            shutil.copy(self._states / f"{who}_first.db", path)
        return path


def server_time(server: Any) -> float:
    """CPU seconds of a server: its processes that are there, and those that were."""
    (main,) = [p for p in psutil.process_iter(["cmdline"]) if _is_main(server, p.info["cmdline"] or [])]
    times = main.cpu_times()
    alive = [child.cpu_times() for child in main.children()]
    ended = float(times.children_user + times.children_system)
    return ended + sum(one.user + one.system for one in (times, *alive))


def _is_main(server: Any, command: list[str]) -> bool:
    return str(server.folder / "data") in command and command[0].endswith("postgres")


def main(given: list[str]) -> None:
    options = _arguments(given)
    from tests.servers.postgres import Postgres, postgres_programs

    exports, states = options.work / f"{options.rows}", options.work / "postgres"
    shutil.rmtree(states, ignore_errors=True)
    states.mkdir(parents=True)
    run([sys.executable, "-m", "bench.data", str(exports.resolve()), "--rows", str(options.rows)], quiet(), ROOT)
    turns: dict[tuple[str, str], list[Turn]] = {}
    loads: list[float] = []
    with Postgres(postgres_programs(), SETTINGS) as server:
        version = server.connect().execute("SHOW server_version").fetchone()[0]
        bench = Bench(server, exports.resolve(), states.resolve(), options.rows)
        for number in range(options.runs):
            print(f"Run {number + 1} of {options.runs}", flush=True)
            for step in STEPS:
                for who in list(WHO)[:: 1 if number % 2 == 0 else -1]:
                    loads.append(os.getloadavg()[0])
                    turns.setdefault((step, who), []).append(bench.step(who, step))
                if not bench.right(step):
                    raise SystemExit(f"the tables differ after {step}: {[bench.contents(who, step) for who in WHO]}")
    shutil.rmtree(states)
    options.results.write_text(_text(options.rows, turns, version, loads), encoding="utf-8")
    print(f"Written: {options.results}")


def _text(rows: int, turns: dict[tuple[str, str], list[Turn]], version: str, loads: list[float]) -> str:
    runs = len(next(iter(turns.values())))
    lines = [
        "# Benchmark on PostgreSQL",
        "",
        f"A first full of {rows:,} order items and a delta of {rows // 10:,}, 20 columns each (bench/data.py), into",
        f"PostgreSQL {version.partition(' ')[0]} on the same machine ({os.cpu_count()} cores; fsync on;",
        f"{', '.join(SETTINGS)}).",
        f"Medians of {runs} runs; ratios are taken within a run, and then their median. Both end with the same rows",
        "and indexes, compared after each turn. `python -m bench postgres` makes this page.",
        "",
        f"Load of the machine before each turn: {min(loads):.1f} to {max(loads):.1f}. Where it is above 1, others were",
        "at work, and processor seconds say more than those on the clock.",
        "",
        "| step | | seconds | CPU, client | CPU, server | peak MB | times by hand, clock | times by hand, CPU |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for step in STEPS:
        for who, label in WHO.items():
            mine, plain = turns[step, who], turns[step, "plain"]
            values = [median(getattr(turn, name) for turn in mine) for name in Turn._fields]
            clock = median(a.wall / b.wall for a, b in zip(mine, plain, strict=True))
            cpu = median((a.client + a.server) / (b.client + b.server) for a, b in zip(mine, plain, strict=True))
            cells = [f"{value:.2f}" for value in (*values[:3], clock, cpu)]
            cells.insert(3, f"{values[3]:.0f}")
            lines.append(f"| {step} | {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _arguments(given: list[str]) -> argparse.Namespace:
    arguments = argparse.ArgumentParser("python -m bench postgres", description=str(__doc__).partition("\n")[0])
    arguments.add_argument("--rows", type=int, default=5_000_000, help="of the first full (%(default)s)")
    arguments.add_argument("--runs", type=int, default=3, help="of everything (%(default)s)")
    arguments.add_argument("--work", type=Path, default=ROOT / ".bench", help="folder for exports")
    arguments.add_argument("--results", type=Path, default=ROOT / "bench" / "RESULTS_POSTGRES.md", help="file to write")
    return arguments.parse_args(given)

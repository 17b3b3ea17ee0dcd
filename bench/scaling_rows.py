"""What a delta of one size costs when its target grows: in DuckDB, PostgreSQL and a lake.

    python -m bench.scaling_rows duckdb 500000 2000000 8000000

For each number a first full of so many rows of 20 columns (bench/data.py), and over copies of it two deltas of 10,000
newer rows: with keys from all over the table, and with its last keys. Processor seconds are those of Sluice, with
PostgreSQL also those of the server; `start` is `sluice feeds`, what any command takes before it does anything.
"""

from __future__ import annotations

import shutil
import sys

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import data
from bench.contestants import ROOT, quiet
from bench.measure import run
from bench.scaling import scratch
from bench.scaling_files import said

DELTA = 10_000
_SPREAD = "SELECT j * ({rows} // {delta}) + 1 AS k, 1 AS version, false AS gone FROM range({{low}}, {{high}}) AS t(j)"
_LAST = "SELECT {rows} - j AS k, 1 AS version, false AS gone FROM range({{low}}, {{high}}) AS t(j)"
_FILES = {
    "first": ("first/Full/acme/20260301000000/orderitem.parquet", data._FIRST),
    "delta, all over": ("spread/Delta/acme/20260310000000/orderitem.parquet", _SPREAD),
    "delta, last keys": ("last/Delta/acme/20260310000000/orderitem.parquet", _LAST),
}


def main(engine: str, counts: list[int]) -> None:
    home = scratch(engine)
    with ENGINES[engine](home) as (url_of, server_seconds):
        for rows in counts:
            _measure(engine, rows, home / str(rows), url_of, server_seconds)
            shutil.rmtree(home / str(rows))


def _measure(
    engine: str, rows: int, home: Path, url_of: Callable[[Path, Path | None], str], server: Callable[[], float]
) -> None:
    _make(home / "exports", rows)
    for step, (file, _) in _FILES.items():
        state, before = home / step.replace(" ", "_").replace(",", ""), None if step == "first" else home / "first"
        if before:
            shutil.copytree(before, state)
        else:
            state.mkdir()
        env = quiet({"WAREHOUSE_URL": url_of(state, before), "LEDGER_URL": f"sqlite:///{state}/ledger.db"})
        start, _ = run([sys.executable, "-m", "shared", "feeds", "--json"], env, ROOT)
        since = server()
        command = [sys.executable, "-m", "shared", "load", str(home / "exports" / file.partition("/")[0]), "--json"]
        cost, _ = run(command, env, ROOT)
        taken = server() - since
        count = rows if step == "first" else min(DELTA, rows)
        said(
            engine=engine, target_rows=rows, step=step, rows=count, cpu_s=cost.cpu, start_cpu_s=start.cpu,
            server_cpu_s=taken, rows_a_cpu_s=count / max(cost.cpu - start.cpu + taken, 1e-3), wall_s=cost.wall,
            peak_mb=cost.peak, disk_mb=_size(state),
        )  # fmt: skip
        if before:
            shutil.rmtree(state)


def _make(exports: Path, rows: int) -> None:
    for step, (file, keys) in _FILES.items():
        count = rows if step == "first" else min(DELTA, rows)
        text = keys if step == "first" else keys.format(rows=rows, delta=count)
        data._write(exports / file, text, count, rows)


def _size(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


@contextmanager
def _duckdb(home: Path) -> Iterator[Any]:
    yield lambda state, before: f"duckdb:///{state}/warehouse.duckdb", lambda: 0.0


@contextmanager
def _lake(home: Path) -> Iterator[Any]:
    yield lambda state, before: f"lake:///{state}/lake", lambda: 0.0


@contextmanager
def _postgresql(home: Path) -> Iterator[Any]:
    """Databases are copied by their server."""
    from bench.postgres import SETTINGS, server_time
    from tests.servers.postgres import Postgres, postgres_programs

    with Postgres(postgres_programs(), SETTINGS) as server:

        def url_of(state: Path, before: Path | None) -> str:
            name, template = _name(state), f" TEMPLATE {_name(before)} STRATEGY FILE_COPY" if before else ""
            with server.connect() as connection:
                connection.execute(f"CREATE DATABASE {name}{template}".encode())
                connection.execute("CHECKPOINT")
            return str(server.url(name))

        yield url_of, lambda: server_time(server)


def _name(state: Path) -> str:
    return f"s{state.parent.name}_{state.name}"


ENGINES: dict[str, Callable[[Path], Any]] = {"duckdb": _duckdb, "postgresql": _postgresql, "lake": _lake}

if __name__ == "__main__":
    main(sys.argv[1], [int(one) for one in sys.argv[2:]])

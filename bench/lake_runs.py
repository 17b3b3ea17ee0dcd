"""Measure many small runs into one lake: does the thousandth take longer than the first ones?

    python -m bench.lake_runs                   1,000 runs of 100 rows each, upkeep after every 100
    python -m bench.lake_runs --every 0         without upkeep
    python -m bench.lake_runs --mode append     a table that keeps the rows of every run

Seconds of the processor of this process and its threads, medians of the first and last tenth of the runs: of a whole
run, from the search of its file to the end of its cleanup, and of its merge, from the table's version to the
commits of rows and history. Upkeep is counted apart.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import shutil
import tempfile
import time

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 100
LIMIT = 1.5
_CATALOG = """
[system]
name = "bench"
source = "exports"
[defaults]
cursor = "ModifiedOn"
lake = "{mode}"
[tables]
item = {{ keys = ["ItemId"] }}
"""
_START = dt.datetime(2026, 3, 1)  # noqa: DTZ001 - as files have it


class Meter:
    """Seconds of the processor in each call."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    @contextmanager
    def counted(self) -> Iterator[None]:
        since = time.process_time()
        yield
        self.seconds.append(time.process_time() - since)

    def ends(self) -> tuple[float, float]:
        """Medians of the first and of the last tenth."""
        tenth = max(1, len(self.seconds) // 10)
        return median(self.seconds[:tenth]), median(self.seconds[-tenth:])


def measure(work: Path, runs: int, every: int, mode: str) -> tuple[Meter, Meter, Meter]:
    """Costs of runs, of their merges, and of upkeep after *every* so many."""
    from shared.app import open_app
    from shared.pipeline import folder
    from shared.pipeline.folder import LoadOptions
    from shared.pipeline.upkeep import Upkeep, upkeep

    (work / "catalog").mkdir(parents=True)
    (work / "catalog" / "bench.toml").write_text(_CATALOG.format(mode=mode), encoding="utf-8")
    app = open_app({
        "WAREHOUSE_URL": f"lake:///{work}/lake", "LEDGER_URL": f"sqlite:///{work}/ledger.db",
        "CATALOG_PATH": str(work / "catalog"),
    })  # fmt: skip
    whole, merges, tended = Meter(), Meter(), Meter()
    _count(app.warehouse, merges)
    for number in range(runs):
        options = LoadOptions(system="bench", kind="delta", tables=("item",))
        place = _export(work, number)
        with whole.counted():
            (result,) = folder.load(app.runner, app.settings, str(place), options, None)
        if result.run is None or result.run.inserted != ROWS:
            raise SystemExit(f"run {number} ended as {result.run}")
        if every and (number + 1) % every == 0:
            with tended.counted():
                found = list(upkeep(app.runner, [], Upkeep(keep=dt.timedelta(days=7))))
            if errors := [one.error for one in found if one.error]:
                raise SystemExit(f"upkeep after {number + 1} runs: {errors}")
    _check(work, runs)
    return whole, merges, tended


def _count(warehouse: Any, meter: Meter) -> None:
    merge = warehouse.merge

    def counted(*given: Any) -> Any:
        with meter.counted():
            return merge(*given)

    warehouse.merge = counted


def _export(work: Path, number: int) -> Path:
    """A folder of one export with keys of its own."""
    moment = _START + dt.timedelta(minutes=number)
    place = work / "exports" / str(number)
    file = place / "Delta" / "acme" / f"{moment:%Y%m%d%H%M%S}" / "item.parquet"
    file.parent.mkdir(parents=True)
    keys = range(ROWS * number, ROWS * (number + 1))
    table = {"ItemId": keys, "Name": [f"item {key}" for key in keys], "ModifiedOn": [moment] * ROWS}
    pq.write_table(pa.table(table), file)
    return place


def _check(work: Path, runs: int) -> None:
    from deltalake import DeltaTable

    stored = DeltaTable(work / "lake" / "bench" / "item").to_pyarrow_table(columns=["ItemId"])["ItemId"]
    if sorted(stored.to_pylist()) != list(range(ROWS * runs)):
        raise SystemExit("wrong: the table has not every key once")


def _table(whole: Meter, merges: Meter, tended: Meter) -> Iterator[str]:
    yield "| CPU ms | first tenth | last tenth | x | at most |"
    yield "|---|---:|---:|---:|---:|"
    for name, meter in (("a run", whole), ("its merge and commits", merges)):
        first, last = meter.ends()
        yield f"| {name} | {first * 1000:.0f} | {last * 1000:.0f} | {last / first:.2f} | {LIMIT} |"
    if tended.seconds:
        yield f"| an upkeep, all tables | {tended.seconds[0] * 1000:.0f} | {tended.seconds[-1] * 1000:.0f} | | |"


def main() -> None:
    arguments = argparse.ArgumentParser("python -m bench.lake_runs", description=str(__doc__).partition("\n")[0])
    arguments.add_argument("--runs", type=int, default=1_000, help="(%(default)s)")
    arguments.add_argument("--every", type=int, default=100, help="runs between upkeep; 0 for none (%(default)s)")
    arguments.add_argument("--mode", choices=("current", "append"), default="current")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        before = os.getloadavg()[0]
        found = measure(Path(folder), options.runs, options.every, options.mode)
        shutil.rmtree(Path(folder) / "exports")
    print(f"{options.runs} runs, mode {options.mode}, load of the machine {before:.1f} to {os.getloadavg()[0]:.1f}")
    print("\n".join(_table(*found)))


if __name__ == "__main__":
    main()

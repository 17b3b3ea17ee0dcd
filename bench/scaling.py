"""Where one app and one database end: what a file, a table and a row cost, and how that grows.

    python -m bench scaling                        all parts: about a quarter of an hour on two busy cores
    python -m bench scaling --only files,tables    some of them
    python -m bench scaling --quick                small samples, to see whether it runs

Each part is a process of its own and prints what it measured as JSON; docs/scaling.md is written by hand from that.
Figures are seconds of the processor, which a busy machine changes least, of the process alone: servers (Azurite,
MariaDB, PostgreSQL) have theirs on a machine of their own. What is reckoned from a sample names the sample.

    files     jobs for files that arrive in blob storage (bench/scaling_files.py)
    folder    `sluice load` of a folder of which all is loaded, and the ledger as it fills
    tables    a system of many tables: catalog, feeds, timer, a sync that finds nothing new (bench/scaling_tables.py)
    rows      first fulls and deltas of one size into targets that grow (bench/scaling_rows.py)
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from pathlib import Path
from typing import Any

from bench.contestants import ROOT, quiet
from bench.measure import run

PARTS = {
    # name: (module, arguments, arguments of a quick look)
    "files": ("bench.scaling_files", ["jobs", "200"], ["jobs", "5"]),
    "container": ("bench.scaling_files", ["container", "2000"], ["container", "50"]),
    "folder": ("bench.scaling_files", ["folder", "1000"], ["folder", "50"]),
    "ledger": ("bench.scaling_files", ["ledger", "1000000"], ["ledger", "1000"]),
    "tables": ("bench.scaling_tables", ["100", "500", "2000"], ["5", "10"]),
    "duckdb": ("bench.scaling_rows", ["duckdb", "500000", "2000000", "8000000"], ["duckdb", "2000", "4000"]),
    "postgresql": ("bench.scaling_rows", ["postgresql", "250000", "1000000", "4000000"], ["postgresql", "2000"]),
    "lake": ("bench.scaling_rows", ["lake", "500000", "2000000", "8000000"], ["lake", "2000", "4000"]),
}


def main(given: list[str]) -> None:
    options = _arguments(given)
    for name in options.only.split(","):
        module, full, few = PARTS[name]
        found, busy = _measured(module, few if options.quick else full)
        print(f"## {name} (load of the machine {busy:.1f})\n", flush=True)
        for row in found:
            print("  ".join(f"{key} {_shown(value)}" for key, value in row.items()), flush=True)
        print(flush=True)


def _measured(module: str, arguments: list[str]) -> tuple[list[dict[str, Any]], float]:
    """What a part printed, one JSON object a line, and the load of the machine at its end."""
    env = quiet({"PYTHONWARNINGS": "ignore"})
    _, printed = run([sys.executable, "-m", module, *arguments], env, ROOT)
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")], os.getloadavg()[0]


def _shown(value: Any) -> str:
    return (
        f"{value:,.4g}"
        if isinstance(value, float) and abs(value) < 1_000
        else f"{value:,}"
        if isinstance(value, int | float)
        else str(value)
    )


def _arguments(given: list[str]) -> argparse.Namespace:
    arguments = argparse.ArgumentParser("python -m bench scaling", description=str(__doc__).partition("\n")[0])
    arguments.add_argument("--only", default=",".join(PARTS), help="parts (%(default)s)")
    arguments.add_argument("--quick", action="store_true", help="small samples")
    options = arguments.parse_args(given)
    if unknown := set(options.only.split(",")) - PARTS.keys():
        arguments.error(f"there is no part {', '.join(sorted(unknown))}")
    return options


def scratch(name: str) -> Path:
    """An empty folder for one part, made anew."""
    import shutil

    folder = ROOT / ".bench" / "scaling" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder

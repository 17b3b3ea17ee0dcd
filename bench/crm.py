"""Measure a first sync of HubSpot's contacts into DuckDB, and print it.

    python -m bench crm                            200,000 contacts of 100 properties, without a limit
    python -m bench crm --requests 190             at 190 requests in 10 seconds: two minutes
    python -m bench crm --memory 150MB             with less memory for the warehouse
    python -m bench crm --rows 50000 --dlt         and dlt's REST source after each run (make bench-peers)

The server (bench/crm_server.py) is a process of its own. bench/RESULTS_CRM.md is written by hand from what this prints.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import urllib.request

from pathlib import Path

from bench.contestants import PEERS, ROOT, quiet
from bench.measure import Cost, run

SYSTEM = """[system]
name = "crm"
source = "hubspot"

[tables.contact]
keys = ["id"]
cursor = "lastmodifieddate"
deleted = "archived"

[tables.contact.api]
object = "contacts"
auth = [{{ kind = "bearer", token = "access_token" }}]
{rate}
"""


def main(given: list[str]) -> None:
    options = _arguments(given)
    for number in range(options.runs):
        cost, counts = _measured(options)
        print(_line(f"run {number + 1}", cost, counts, options.rows), flush=True)
        if options.dlt:
            print(_line("  dlt", *_measured(options, dlt=True), options.rows), flush=True)
        if options.requests:
            used = counts["requests"] / cost.wall / (options.requests / 10)
            print(f"  {100 * used:.0f} % of what is allowed was used")


def _line(name: str, cost: Cost, counts: dict[str, int], rows: int) -> str:
    return (
        f"{name}: {cost.wall:.2f} s, {cost.cpu:.2f} s CPU, {cost.peak:.0f} MB; "
        f"{rows / cost.wall:,.0f} records/s on the clock, {rows / cost.cpu:,.0f} by CPU; "
        f"{counts['requests']:,} requests, at most {counts['most']:,} in 10 s"
    )


def _measured(options: argparse.Namespace, *, dlt: bool = False) -> tuple[Cost, dict[str, int]]:
    rows, requests, work = options.rows, options.requests, options.work
    shutil.rmtree(work, ignore_errors=True)
    (work / "catalog").mkdir(parents=True)
    rate = f"rate = {{ requests = {requests}, seconds = 10 }}" if requests else ""
    (work / "catalog" / "crm.toml").write_text(SYSTEM.format(rate=rate))
    command = [sys.executable, "-m", "bench.crm_server", f"--rows={rows}", f"--properties={options.properties}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        url = (server.stdout or sys.stdin).readline().strip()
        folder = work.resolve()
        settings = {
            "CRM_BASE_URL": url, "CRM_ACCESS_TOKEN": "none", "CATALOG_PATH": str(folder / "catalog"),
            "WAREHOUSE_URL": f"duckdb:///{folder}/warehouse.duckdb", "LEDGER_URL": f"sqlite:///{folder}/ledger.db",
            **({"WAREHOUSE_MEMORY": options.memory} if options.memory else {}),
        }  # fmt: skip
        sync = [sys.executable, "-m", "shared", "sync", "crm", "--json"]
        peer = [str(PEERS), "-m", "bench.crm_dlt_peer", url, str(folder)]
        try:
            cost, said = run(peer if dlt else sync, quiet(settings), ROOT)
            with urllib.request.urlopen(f"{url}/counts") as response:  # noqa: S310 - our own server
                counts: dict[str, int] = json.load(response)
        finally:
            server.kill()
    if f'"inserted": {rows}' not in said:
        raise SystemExit(f"not all contacts are there: {said[-2000:]}")
    shutil.rmtree(work)
    return cost, counts


def _arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--properties", type=int, default=100)
    parser.add_argument("--requests", type=int, default=0, help="in 10 seconds; 0: without a limit")
    parser.add_argument("--dlt", action="store_true", help="measure dlt's REST source, too")
    parser.add_argument("--memory", help="of the warehouse, in the place of WAREHOUSE_MEMORY's default")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--work", type=Path, default=ROOT / ".bench" / "crm")
    return parser.parse_args(given)


if __name__ == "__main__":
    main(sys.argv[1:])

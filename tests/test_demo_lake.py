"""`make demo-lake` shows what it promises."""

from __future__ import annotations

import re
import subprocess
import sys

from pathlib import Path

import pytest

from tests.demo_lake import CUSTOMERS, INVOICES, KILLED, ORDERS

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.usefixtures("mariadb_installed", "postgres_installed")
def test_the_demo_brings_databases_into_a_lake_dies_and_repairs_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.demo_lake", "--folder", str(tmp_path / "demo")]

    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    parts = re.split(r"^[1-9]\. .*$", shown, flags=re.MULTILINE)
    _, first, quiet, killed, repaired, backfill, upkeep, travel, history, query = parts
    assert _versions(first) == {
        "shop/customer": (0, CUSTOMERS),
        "shop/orders": (0, ORDERS),
        "billing/invoice": (0, INVOICES),
    }
    assert _versions(quiet) == _versions(first)
    assert f"The process ended with {KILLED}." in killed
    assert (1, ORDERS + 1) == _versions(killed)["shop/orders"]
    assert re.search(r"^shop.orders +done +caught up +\S+ +5 +1 +3 +1 *$", repaired, re.MULTILINE)
    assert _versions(repaired) == _versions(killed)
    assert re.search(r"^shop.orders +no news +caught up +\S+ +2,\d\d\d +2,\d\d\d", backfill, re.MULTILINE)
    assert re.search(r"^shop.customer +no news +caught up +\S+ *$", backfill, re.MULTILINE)
    assert _versions(backfill) == _versions(killed)
    assert re.search(r"^shop.orders +main +\d+ > \d+", upkeep, re.MULTILINE)
    assert [f"{ORDERS:,}", f"{ORDERS + 1:,}"] == re.findall(r"^\d +(\S+) ", travel, re.MULTILINE)
    assert 5 <= len(re.findall(r"^\w{16} +(?:shop|billing)\.", history, re.MULTILINE))
    assert 3 == len(re.findall(r"^(?:Boston|Köln|São Paulo) +1,\d\d\d ", query, re.MULTILINE))


def _versions(text: str) -> dict[str, tuple[int, int]]:
    """Version and rows of each table."""
    found = re.findall(r"^(\w+/\w+) +(\d+) +\d+ +([\d,]+) *$", text, re.MULTILINE)
    return {name: (int(version), int(rows.replace(",", ""))) for name, version, rows in found}

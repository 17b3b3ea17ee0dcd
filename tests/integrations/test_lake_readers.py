"""Tables of a lake as other programs read them: every cell is that of the same feed in a DuckDB warehouse."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import os
import shutil
import subprocess

from pathlib import Path

import duckdb
import pytest

from shared.pipeline.upkeep import Upkeep, upkeep
from tests.exports import START, Clock, export_path, load_exports, open_test_app, write_parquet
from tests.integrations.read_lake import plain

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-readers" / "bin" / "python"
READERS = ("pandas", "polars", "DuckDB", "DuckDB without an extension", "Spark without Delta Lake")
EPOCH = START.replace(tzinfo=None)
_LOW, _HIGH = dt.datetime.fromisoformat("1900-01-01"), dt.datetime.fromisoformat("2262-04-11T23:47:16")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON.exists(), reason="pyspark and other readers are not here: make readers installs them"
    ),
]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The folder of a table that was loaded in full and then changed, and its rows as a DuckDB warehouse has them."""
    home = tmp_path_factory.mktemp("readers")
    for name, stamp in (("full", "20260222110000"), ("delta", "20260223110000")):
        write_parquet(export_path(home / "exports", name, stamp, "location"), _rows(late=name == "delta"))
    apps = {
        kind: open_test_app(home / kind, Clock(), WAREHOUSE_URL=url)
        for kind, url in (
            ("lake", f"lake:///{home}/lake"), ("duckdb", f"duckdb:///{home}/warehouse.duckdb"),
        )
        if not (home / kind).mkdir(exist_ok=True)
    }  # fmt: skip
    for app in apps.values():
        assert all(result.loaded for result in load_exports(app, home / "exports"))
    list(upkeep(apps["lake"].runner, [], Upkeep(keep=dt.timedelta(days=7), manifest=True)))
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        rows = connection.execute("SELECT * FROM coolr.location").to_arrow_table().to_pylist()
    return home / "lake" / "coolr" / "location", rows


def _rows(*, late: bool):
    """Values that readers have been known to change; the late ones are newer, and one is deleted."""
    moment = EPOCH - dt.timedelta(days=2 - late)
    return [
        {
            "LocationId": 2**53 + n, "ModifiedOn": moment + dt.timedelta(microseconds=n), "IsDeleted": late and n == 3,
            "Name": ["", "é \"quoted\" \n line", None, "🦉 O'Neil\\", "null"][n],
            "Amount": [decimal.Decimal("0.10"), None, decimal.Decimal("-99999999999999.99"), decimal.Decimal("1.00"),
                       decimal.Decimal("0.00")][n],
            "Opened": [dt.date(1, 1, 1), None, dt.date(9999, 12, 31), dt.date(1900, 1, 1), dt.date(2026, 2, 24)][n],
            "Ratio": [0.1, None, -1e300, 5e-324, 1 / 3][n], "IsOpen": [True, None, False, True, None][n],
            "Seen": [_LOW, None, _HIGH, EPOCH, EPOCH][n],
        }
        for n in range(2 if late else 0, 5)
    ]  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
def test_every_cell_is_that_of_the_warehouse(reader, stored, tmp_path):
    """As the page shows it. Who did it and when differ, since the two were loaded by runs of their own."""
    if reader.startswith("Spark") and shutil.which("java") is None:
        pytest.skip("Spark needs Java, which is not here")
    table, wanted = stored
    command = [str(PYTHON), "tests/integrations/read_lake.py", reader, str(table), "docs/lake.md"]

    done = subprocess.run(
        command, check=False, cwd=ROOT, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True
    )

    assert 0 == done.returncode, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert _comparable(wanted) == _comparable(found)
    assert 5 == len(found)


def _comparable(rows):
    ours = ("SyncedBy", "SyncedAt", "FirstSyncAt")
    kept = [{name: plain(value) for name, value in row.items() if name not in ours} for row in rows]
    return sorted(kept, key=lambda row: str(row["LocationId"]))

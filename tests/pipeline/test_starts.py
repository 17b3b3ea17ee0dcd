"""A file that ends the process which loads it is refused after three starts, until somebody says otherwise."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.advice import advises
from tests.exports import load_exports, open_test_app, write_parquet
from tests.servers.source_table import SourceTable, at, item

ROOT = Path(__file__).parents[2]
COMMAND = """
import os, sys
from shared.cli.main import main
from shared.sources.csv.source import CsvSource
from shared.sources.exports.parquet import ExportsSource
from shared.sources.sql.source import SqlSource
if sys.argv.pop(1) == "abort":
    for source in (ExportsSource, CsvSource):
        source.read = lambda self, part: os.abort()
    read = SqlSource.read
    SqlSource.read = lambda self, part: os.abort() if part.origin.endswith("item") else read(self, part)
main()
"""
LEADS = '[system]\nname = "crm"\nsource = "csv"\n[tables.leads]\nkeys = ["id"]\ncursor = false\ncolumns = { id = {} }\n'


def sluice(folder: Path, *words: str, reader: str = "sound", **more: str) -> tuple[int, Any]:
    """Exit code and what is printed of a command in a process of its own, whose *reader* may abort."""
    env = {
        **os.environ, "PYTHONPATH": str(ROOT), "WAREHOUSE_URL": f"duckdb:///{folder}/w.duckdb",
        "LEDGER_URL": f"sqlite:///{folder}/l.db", **more,
    }  # fmt: skip
    if (folder / "catalog").exists():
        env["CATALOG_PATH"] = str(folder / "catalog")
    arguments = [sys.executable, "-c", COMMAND, reader, *words, "--json"]
    done = subprocess.run(arguments, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout) if done.returncode >= 0 else None


def exports(folder: Path) -> list[str]:
    rows = [{"LocationId": 1, "ModifiedOn": dt.datetime(2026, 2, 24), "IsDeleted": False}]  # noqa: DTZ001
    return ["load", str(write_parquet(folder / "Full/Acme/20260224000000/location.parquet", rows).parent)]


def leads(folder: Path) -> list[str]:
    (folder / "catalog").mkdir()
    (folder / "catalog" / "crm.toml").write_text(LEADS)
    (folder / "leads.csv").write_text("id\n1\n")
    return ["csv", "crm", "leads", str(folder / "leads.csv")]


@pytest.mark.parametrize("prepare", [exports, pytest.param(leads, marks=pytest.mark.slow)])
def test_a_file_that_kills_its_process_is_refused_after_three_starts(tmp_path, prepare):
    command = prepare(tmp_path)

    codes = [sluice(tmp_path, *command, reader="abort")[0] for _ in range(3)]
    refused, printed = sluice(tmp_path, *command, reader="abort")

    assert ([-6] * 3, 1) == (codes, refused)
    error = printed[0]["run"]["error"]
    assert "ended the process 3 times while it was loaded" in error
    advises("Ask for the file again; if it is sound, give the process more memory, and load it with --again", error)
    code, printed = sluice(tmp_path, *command, "--again")
    assert (0, 1) == (code, printed[0]["run"]["inserted"])


SHOP = '[system]\nname = "shop"\nsource = "sql"\n[tables]\n'


@pytest.mark.parametrize(
    ("declared", "full"),
    [
        ('cursor = "At"', ()),
        pytest.param('cursor = "At"', ("--full",), marks=pytest.mark.slow),
        pytest.param("cursor = false", (), marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_a_window_that_kills_its_process_is_refused_after_three_starts(tmp_path, mariadb, declared, full):
    """And nothing else is: another table, which is under way at each crash, is loaded."""
    database = mariadb.create_database()
    source = SourceTable(mariadb, database)
    for name in ("item", "other"):
        source.create(item().to_metadata(sa.MetaData(), name=name), {"Id": 1, "At": at(1)})
    (tmp_path / "catalog").mkdir()
    tables = "".join(f'{name} = {{ keys = ["Id"], {declared} }}\n' for name in ("item", "other"))
    (tmp_path / "catalog" / "shop.toml").write_text(SHOP + tables)

    def sync(*words: str, reader: str = "abort") -> tuple[int, Any]:
        return sluice(tmp_path, "sync", "shop", *full, *words, reader=reader, SHOP_DATABASE_URL=source.url)

    codes = [sync()[0] for _ in range(3)]
    refused, printed = sync()

    outcomes = {one["feed"]: one for one in printed}
    assert ([-6] * 3, 1) == (codes, refused)
    assert "failed" == outcomes["shop.item"]["outcome"]
    assert "shop.item (" in outcomes["shop.item"]["reason"]
    assert "ended the process 3 times while it was loaded" in outcomes["shop.item"]["reason"]
    assert outcomes["shop.other"]["outcome"] in ("done", "no news")
    advises(
        "Correct the rows at the source, or give the process more memory;"
        " then sync the table with --again, or run its feed",
        outcomes["shop.item"]["reason"],
    )
    code, printed = sync("item", "--again", reader="sound")
    assert (0, 1) == (code, printed[0]["inserted"])
    mariadb.drop_database(database)


def test_a_start_that_ends_is_forgotten(tmp_path):
    """Whether it was loaded or failed: only what never ends counts."""
    app = open_test_app(tmp_path)
    broken = tmp_path / "Full/Acme/20260224000000/location.parquet"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"PAR1")

    errors = [result.run.error for _ in range(5) for result in load_exports(app, broken.parent) if result.run]

    assert 5 == len(errors)
    assert all("is damaged" in str(error) for error in errors)
    assert "{}" == app.ledger.watermark("coolr.location starts").value


@pytest.mark.slow
def test_another_version_of_the_file_is_another_work(tmp_path):
    """Whoever got a new file need not say anything."""
    command = exports(tmp_path)
    for _ in range(3):
        sluice(tmp_path, *command, reader="abort")
    rows = [{"LocationId": 2, "ModifiedOn": dt.datetime(2026, 2, 24), "IsDeleted": False}]  # noqa: DTZ001
    write_parquet(tmp_path / "Full/Acme/20260224000000/location.parquet", rows)

    code, printed = sluice(tmp_path, *command)

    assert (0, 1) == (code, printed[0]["run"]["inserted"])

"""Measure how long it takes to find what is gone from a database by its keys alone (`sluice sync --keys`).

    python -m bench.sql_keys                   2,000,000 rows of 20 columns, both servers
    python -m bench.sql_keys --rows 200000     a quick look

After a first sync, the keys are compared as they are, and again after one row in a hundred was deleted.
"""

from __future__ import annotations

import argparse
import shutil
import sys

from pathlib import Path

import sqlalchemy as sa

from bench import sql, sql_data
from bench.contestants import ROOT, quiet
from bench.measure import run

_DRIVERS = {"mysql": "mysql+pymysql", "postgresql": "postgresql+psycopg"}


def main() -> None:
    options = _arguments()
    for dialect in options.only.split(","):
        with sql.server(dialect, options.rows) as url:
            folder = options.work / dialect
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "catalog").mkdir(parents=True)
            (folder / "catalog" / "shop.toml").write_text(sql.SYSTEM)
            _sync(dialect, "first sync", url, folder)
            _sync(dialect, "same keys", url, folder, "--keys")
            with sa.create_engine(sa.make_url(url).set(drivername=_DRIVERS[dialect])).begin() as connection:
                connection.execute(sa.text(f"DELETE FROM {sql_data.TABLE} WHERE id % 100 = 7"))
            _sync(dialect, "1 % gone", url, folder, "--keys")


def _sync(dialect: str, label: str, url: str, folder: Path, *options: str) -> None:
    home = folder.resolve()
    settings = {
        "SHOP_DATABASE_URL": url, "CATALOG_PATH": str(home / "catalog"),
        "WAREHOUSE_URL": f"duckdb:///{home}/warehouse.duckdb", "LEDGER_URL": f"sqlite:///{home}/ledger.db",
    }  # fmt: skip
    cost, _ = run([sys.executable, "-m", "shared", "sync", "shop", *options, "--json"], quiet(settings), ROOT)
    print(f"{dialect:10} {label:10} {cost.wall:6.2f} s {cost.cpu:6.2f} s CPU {cost.peak:5.0f} MB", flush=True)


def _arguments() -> argparse.Namespace:
    arguments = argparse.ArgumentParser("python -m bench.sql_keys", description=str(__doc__).partition("\n")[0])
    arguments.add_argument("--rows", type=int, default=2_000_000, help="of the table (%(default)s)")
    arguments.add_argument("--only", default="mysql,postgresql", help="servers (%(default)s)")
    arguments.add_argument("--work", type=Path, default=ROOT / ".bench" / "keys", help="folder for what is made")
    return arguments.parse_args()


if __name__ == "__main__":
    main()

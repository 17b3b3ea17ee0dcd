"""What is measured beside Sluice: each is one process. ``python -m bench.sql_peers NAME URL FOLDER``, in .venv-peers.

connectorx stops at Arrow, so it does less than the others, which leave a table in DuckDB. All but it and dlt's own
reader read the rows in the order of the key.
"""

from __future__ import annotations

import sys

from pathlib import Path

TABLE = "prospect"


def connectorx(url: str, _folder: Path) -> None:
    """The whole table in memory."""
    import connectorx as cx

    rows = cx.read_sql(url, f"SELECT * FROM {TABLE} ORDER BY id", return_type="arrow").num_rows
    print(rows)


def dlt(url: str, folder: Path, backend: str) -> None:
    """Into DuckDB: the rows are appended to a new table, with no merge and no history."""
    import os

    os.environ.update({"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"})
    import dlt as it

    from dlt.sources.sql_database import sql_table

    scheme = {"mysql": "mysql+pymysql", "postgresql": "postgresql+psycopg2"}[url.partition(":")[0]]
    place = f"{scheme}:{url.partition(':')[2]}"
    more = {"backend_kwargs": {"conn": url, "return_type": "arrow"}} if backend == "connectorx" else {}
    table = sql_table(
        place, TABLE, backend=backend, chunk_size=65_536, reflection_level="full_with_precision", **more
    )  # fmt: skip
    pipeline = it.pipeline(
        "bench", pipelines_dir=str(folder / "pipelines"), dataset_name="bench",
        destination=it.destinations.duckdb(str(folder / "dlt.duckdb")),
    )  # fmt: skip
    pipeline.run(table, write_disposition="append").raise_on_failed_jobs()


if __name__ == "__main__":
    _, _name, _url, _place = sys.argv
    _who, _, _backend = _name.partition("-")
    if _who == "connectorx":
        connectorx(_url, Path(_place))
    else:
        dlt(_url, Path(_place), _backend)

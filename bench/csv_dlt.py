"""dlt loading a CSV file into DuckDB as fast as it can, found by trying. It cleans and rejects nothing.

    append    the rows are added
    merge     the newest row of each key is kept (delete-insert), the nearest it has to what Sluice does

Arrow reads the file, all as text, and dlt writes Parquet, which DuckDB takes in. dlt's own reader of CSV
(``read_csv_duckdb`` with ``use_pyarrow``) takes as long. DuckDB has its own default for memory.

It runs with the Python of .venv-peers, which ``make bench-peers`` makes.
Alone: ``.venv-peers/bin/python -m bench.csv_dlt append|merge STATE FILE``, STATE a folder for the database.
"""

from __future__ import annotations

import os
import sys

from collections.abc import Iterator
from pathlib import Path

DATABASE = "dlt.duckdb"
_CONFIG = {"SCHEMA__NAMING": "direct", "RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
_BLOCK = 8 * 2**20


def main(how: str, state: Path, file: Path) -> None:
    os.environ.update(_CONFIG)
    import dlt
    import pyarrow as pa

    from pyarrow import csv

    with file.open(encoding="utf-8") as opened:
        names = opened.readline().strip().split(",")
    options = (
        csv.ReadOptions(block_size=_BLOCK),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True),
    )
    columns = {"Lead ID": {"name": "Lead ID", "primary_key": True, "nullable": True}} if how == "merge" else {}
    disposition = {"disposition": "merge", "strategy": "delete-insert"} if how == "merge" else "append"

    @dlt.resource(name="leads", write_disposition=disposition, columns=columns)
    def leads() -> Iterator[pa.Table]:
        for batch in csv.open_csv(file, *options):
            yield pa.Table.from_batches([batch])

    pipeline = dlt.pipeline(
        pipeline_name="bench",
        pipelines_dir=str(state / "pipelines"),
        destination=dlt.destinations.duckdb(str(state / DATABASE)),
        dataset_name="leadconduit",
    )
    pipeline.run(leads(), loader_file_format="parquet").raise_on_failed_jobs()


if __name__ == "__main__":
    _, _how, _state, _file = sys.argv
    main(_how, Path(_state), Path(_file))

"""dlt in its best configuration for this job, found by trying: the Parquet file handed over unchanged.

``with_file_import`` spares it the rewriting of every row, naming ``direct`` the renaming of columns, and
delete-insert is the faster of its merge strategies here. Told the key, the deletion flag (``hard_delete``) and which
of two rows with a key to keep (``dedup_sort``), it does the nearest it can to the same job; it has no guard against
older rows, no FirstSyncAt and no tombstones, rows that a full lacks stay, and it has no memory limit of its own.

It runs with the Python of .venv-peers, which ``make bench-peers`` makes.
Alone: ``.venv-peers/bin/python -m bench.dlt_peer first|second|delta STATE EXPORTS``, STATE a folder for the database.
"""

from __future__ import annotations

import os
import sys

from pathlib import Path

DATABASE = "dlt.duckdb"
SCHEMA = "coolr"
_CONFIG = {"SCHEMA__NAMING": "direct", "RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}


def main(state: Path, file: Path) -> None:
    os.environ.update(_CONFIG)
    import dlt
    import pyarrow.parquet as pq

    from dlt.common.libs.pyarrow import py_arrow_to_table_schema_columns

    parquet = pq.ParquetFile(file)
    # In the file's order and as nullable as there, or dlt writes the file anew.
    columns = py_arrow_to_table_schema_columns(parquet.schema_arrow)
    columns["OrderItemId"].update(primary_key=True, nullable=True)
    columns["IsDeleted"].update(hard_delete=True)
    columns["ModifiedOn"].update(dedup_sort="desc")
    merge = {"disposition": "merge", "strategy": "delete-insert"}

    @dlt.resource(name="orderitem", write_disposition=merge, columns=columns)
    def orderitem():
        yield dlt.mark.with_file_import(
            str(file), "parquet", parquet.metadata.num_rows, hints=parquet.schema_arrow.empty_table()
        )

    pipeline = dlt.pipeline(
        pipeline_name="bench",
        pipelines_dir=str(state / "pipelines"),
        destination=dlt.destinations.duckdb(str(state / DATABASE)),
        dataset_name=SCHEMA,
    )
    pipeline.run(orderitem(), loader_file_format="parquet").raise_on_failed_jobs()


if __name__ == "__main__":
    _, _step, _state, _exports = sys.argv  # every step is the same to dlt
    main(Path(_state), next(Path(_exports).rglob("*.parquet")))

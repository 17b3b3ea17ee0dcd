"""dlt into a lake: its filesystem destination with Delta tables, the Parquet file handed over unchanged.

It runs with the Python of .venv-peers, which ``make bench-peers`` makes.
Alone: ``.venv-peers/bin/python -m bench.lake_peer append|merge FILE STATE``.
"""

from __future__ import annotations

import os
import sys

from pathlib import Path

SCHEMA, TABLE = "coolr", "orderitem"
_CONFIG = {"SCHEMA__NAMING": "direct", "RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}


def main(how: str, file: Path, state: Path) -> None:
    os.environ.update(_CONFIG)
    import dlt
    import pyarrow.parquet as pq

    from dlt.common.libs.pyarrow import py_arrow_to_table_schema_columns

    parquet = pq.ParquetFile(file)
    columns = py_arrow_to_table_schema_columns(parquet.schema_arrow)
    if how == "merge":
        columns["OrderItemId"].update(primary_key=True, nullable=True)
    disposition = "append" if how == "append" else {"disposition": "merge", "strategy": "upsert"}

    @dlt.resource(name=TABLE, write_disposition=disposition, columns=columns, table_format="delta")
    def orderitem():
        yield dlt.mark.with_file_import(
            str(file), "parquet", parquet.metadata.num_rows, hints=parquet.schema_arrow.empty_table()
        )

    pipeline = dlt.pipeline(
        pipeline_name="lake",
        pipelines_dir=str(state / "pipelines"),
        destination=dlt.destinations.filesystem(f"file://{state / 'lake'}"),
        dataset_name=SCHEMA,
    )
    pipeline.run(orderitem(), loader_file_format="parquet").raise_on_failed_jobs()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))

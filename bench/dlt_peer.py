"""dlt in its best configurations for this job, found by trying: the Parquet file handed over unchanged.

``with_file_import`` spares it the rewriting of every row, naming ``direct`` the renaming of columns, and
delete-insert is the fastest of its merge strategies here (upsert, with ``skip_unchanged_rows`` or without, takes twice
as long for the delta). Given key, deletion flag (``hard_delete``) and which of two rows with a key to keep
(``dedup_sort``), it does the nearest it can to the same job; it has no guard against older rows, no FirstSyncAt and no
tombstones, and DuckDB has its own default for memory, not the limit that the others keep to.

No one configuration is best at everything, so there are two:

    merge      everything is merged; rows that a full lacks stay
    replace    fulls replace the table, deltas are merged. Fulls are faster and right, but the table comes out in row
               groups that are not full, and DuckDB rewrites all of it when the delta's changes are written to disk

It runs with the Python of .venv-peers, which ``make bench-peers`` makes.
Alone: ``.venv-peers/bin/python -m bench.dlt_peer merge|replace first|second|delta STATE EXPORTS``, STATE a folder for
the database.
"""

from __future__ import annotations

import os
import sys

from pathlib import Path

DATABASE = "dlt.duckdb"
SCHEMA = "coolr"
_CONFIG = {"SCHEMA__NAMING": "direct", "RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}


def main(state: Path, file: Path, *, replace: bool) -> None:
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
    disposition = "replace" if replace else {"disposition": "merge", "strategy": "delete-insert"}

    @dlt.resource(name="orderitem", write_disposition=disposition, columns=columns)
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
    _, _how, _step, _state, _exports = sys.argv
    main(Path(_state), next(Path(_exports).rglob("*.parquet")), replace=_how == "replace" and _step != "delta")

"""dlt's REST source with the same server, page by page, into DuckDB. It runs with the Python of .venv-peers.

A first load: ``append`` is its cheapest way to write, and Parquet what it loads fastest. It makes a column of each
property, all texts as they come, and neither types them nor lists what is archived.
Alone: ``.venv-peers/bin/python -m bench.crm_dlt_peer URL STATE``, STATE a folder for the database.
"""

from __future__ import annotations

import os
import sys

from pathlib import Path

_CONFIG = {"SCHEMA__NAMING": "direct", "RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}


def main(url: str, state: Path) -> None:
    os.environ.update(_CONFIG)
    import dlt

    from dlt.sources.rest_api import rest_api_source

    paginator = {"type": "cursor", "cursor_path": "paging.next.after", "cursor_param": "after"}
    endpoint = {"path": "crm/objects/2026-03/contacts", "data_selector": "results", "params": {"limit": 100}}
    source = rest_api_source({
        "client": {"base_url": url, "paginator": paginator},
        "resources": [{"name": "contact", "primary_key": "id", "endpoint": endpoint}],
    })  # fmt: skip
    pipeline = dlt.pipeline(
        pipeline_name="bench", pipelines_dir=str(state / "pipelines"),
        destination=dlt.destinations.duckdb(str(state / "dlt.duckdb")), dataset_name="crm",
    )  # fmt: skip
    pipeline.run(source, write_disposition="append", loader_file_format="parquet").raise_on_failed_jobs()
    counts = pipeline.last_trace.last_normalize_info.row_counts
    print(f'"inserted": {counts["contact"]}')


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))

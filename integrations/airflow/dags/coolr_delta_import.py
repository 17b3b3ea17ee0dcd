"""CoolR's example DAG on Sluice: every six hours load the deltas that have arrived.

Which export is the newest is decided by the time in its path. ``sluice load`` then takes every delta that is not loaded
yet, in time order, so that none is skipped when two have arrived since the last run. Set the environment variables
SLUICE_COMMAND (the command, default ``sluice``) and COOLR_DELTAS (a folder or URL, such as
``https://<account>.blob.core.windows.net/exports/Delta/<client>``). The environment also has the settings of Sluice.
"""

from __future__ import annotations

import datetime as dt
import os

from pathlib import Path
from urllib.parse import urlsplit

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowSkipException
from sluice_airflow.exports import newest_export
from sluice_airflow.operators import SluiceCommandOperator

DELTAS = os.environ.get("COOLR_DELTAS", "exports/Delta")
CONNECTION = "azure_coolr"


def listed(deltas: str) -> list[str]:
    """The paths of all files below a folder, or below a container's URL."""
    if "://" not in deltas:
        return [path.relative_to(deltas).as_posix() for path in Path(deltas).rglob("*") if path.is_file()]
    from airflow.providers.microsoft.azure.hooks.wasb import WasbHook

    container, _, prefix = urlsplit(deltas).path.strip("/").partition("/")
    return WasbHook(wasb_conn_id=CONNECTION).get_blobs_list_recursive(container, prefix=f"{prefix}/")


@dag(
    dag_id="coolr_delta_import",
    schedule="0 */6 * * *",
    start_date=dt.datetime(2026, 2, 24, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "data-team", "retries": 2, "retry_delay": dt.timedelta(minutes=5)},
)
def coolr_delta_import():
    @task
    def newest() -> str:
        """The folder of the newest export; the run is skipped if there is none."""
        found = newest_export(listed(DELTAS))
        if found is None:
            raise AirflowSkipException(f"there is no export below {DELTAS}")
        return found

    load = SluiceCommandOperator(
        task_id="load", words=["load", DELTAS], sluice=os.environ.get("SLUICE_COMMAND", "sluice")
    )
    newest() >> load


coolr_delta_import()

"""An example: sync a system over the API of the app in Azure, without occupying a worker while it runs."""

from __future__ import annotations

import datetime as dt

from airflow.sdk import dag
from sluice_airflow.operators import SluiceRunOperator


@dag(
    dag_id="sluice_over_the_api",
    schedule="0 5 * * *",
    start_date=dt.datetime(2026, 2, 24, tzinfo=dt.UTC),
    catchup=False,
    default_args={"owner": "data-team", "retries": 2, "retry_delay": dt.timedelta(minutes=5)},
)
def sluice_over_the_api():
    SluiceRunOperator(task_id="genius", system="genius", execution_timeout=dt.timedelta(hours=4))


sluice_over_the_api()

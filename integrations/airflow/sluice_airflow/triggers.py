"""Wait for jobs of Sluice in the triggerer, so that no worker is occupied meanwhile."""

from __future__ import annotations

import asyncio

from collections.abc import AsyncIterator, Sequence
from typing import Any

from airflow.sdk import BaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent

from sluice_airflow.client import Progress
from sluice_airflow.connection import client_of
from sluice_airflow.errors import SluiceError


class SluiceJobTrigger(BaseTrigger):
    """Fires once all jobs, and those that they found, have ended."""

    def __init__(self, *, jobs: Sequence[str], conn_id: str, poll_seconds: float) -> None:
        super().__init__()
        self.jobs, self.conn_id, self.poll_seconds = list(jobs), conn_id, poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What the database keeps: the name of the connection, never its key."""
        values = {"jobs": self.jobs, "conn_id": self.conn_id, "poll_seconds": self.poll_seconds}
        return "sluice_airflow.triggers.SluiceJobTrigger", values

    async def run(self) -> AsyncIterator[TriggerEvent]:
        try:
            client = client_of(await BaseHook.aget_connection(self.conn_id))
            while (progress := await asyncio.to_thread(client.progress, self.jobs)).running:
                await asyncio.sleep(self.poll_seconds)
        except SluiceError as error:
            yield TriggerEvent({"error": str(error), "retryable": error.retryable, "summaries": []})
            return
        yield TriggerEvent(event_of(progress))


def event_of(progress: Progress) -> dict[str, Any]:
    """How the jobs ended, as values that JSON can carry."""
    error = progress.error
    return {
        "error": str(error) if error else None,
        "retryable": bool(error and error.retryable),
        "summaries": [dict(summary) for summary in progress.summaries],
    }

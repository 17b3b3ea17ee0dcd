"""Wait for jobs of Sluice that something else started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseHook, BaseSensorOperator, PokeReturnValue

from sluice_airflow.connection import DEFAULT, client_of
from sluice_airflow.errors import SluiceError
from sluice_airflow.operators import failed, summaries_of
from sluice_airflow.triggers import SluiceJobTrigger, event_of


class SluiceJobSensor(BaseSensorOperator):
    """Wait until *jobs*, and those that they found, have ended. Returns their summaries; fails if one of them has."""

    template_fields = ("jobs",)

    def __init__(
        self, *, jobs: str | Sequence[str], conn_id: str = DEFAULT, deferrable: bool = True, **rest: Any
    ) -> None:
        super().__init__(**rest)
        self.jobs, self.conn_id, self.deferrable = jobs, conn_id, deferrable

    def execute(self, context: Any) -> Any:
        if not self.deferrable:
            return super().execute(context)
        trigger = SluiceJobTrigger(jobs=self._ids(), conn_id=self.conn_id, poll_seconds=self.poke_interval)
        self.defer(trigger=trigger, method_name="execute_complete")
        return None  # never reached: defer raises

    def poke(self, context: Any) -> PokeReturnValue:
        try:
            progress = client_of(BaseHook.get_connection(self.conn_id)).progress(self._ids())
        except SluiceError as error:
            raise failed(str(error), retryable=error.retryable) from error
        if progress.running:
            return PokeReturnValue(False)
        return PokeReturnValue(True, summaries_of(event_of(progress)))

    def execute_complete(self, context: Any, event: dict[str, Any]) -> list[dict[str, Any]]:
        """The summaries of the jobs; fails if one of them has."""
        return summaries_of(event)

    def _ids(self) -> list[str]:
        return [self.jobs] if isinstance(self.jobs, str) else list(self.jobs)

"""Run a feed, a system or a command of Sluice as a task, and fail with the reason that Sluice gives."""

from __future__ import annotations

import time

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseHook, BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from sluice_airflow.command import Command
from sluice_airflow.connection import DEFAULT, client_of
from sluice_airflow.errors import SluiceError
from sluice_airflow.triggers import SluiceJobTrigger, event_of


class SluiceRunOperator(BaseOperator):
    """Run a feed, or a system, over the API of the app, and wait until its jobs have ended.

    Give *feed* (``coolr.location``) or *system* (``genius``), and with the latter *feeds* to sync only some. If such a
    job runs already, that one is waited for. Returns the summaries of the jobs.
    """

    template_fields = ("feed", "system", "feeds", "body")

    def __init__(
        self, *, feed: str | None = None, system: str | None = None, feeds: Sequence[str] = (),
        body: Mapping[str, Any] | None = None, conn_id: str = DEFAULT, poll_seconds: float = 30.0,
        deferrable: bool = True, **rest: Any,
    ) -> None:  # fmt: skip
        super().__init__(**rest)
        if (feed is None) == (system is None):
            raise ValueError("give either feed or system")
        if (feeds and system is None) or (body and feed is None):
            raise ValueError("feeds belongs to a system, and body to a feed")
        self.feed, self.system, self.feeds, self.body = feed, system, list(feeds), dict(body or {})
        self.conn_id, self.poll_seconds, self.deferrable = conn_id, poll_seconds, deferrable

    def execute(self, context: Any) -> list[dict[str, Any]]:
        try:
            client = client_of(BaseHook.get_connection(self.conn_id))
            jobs = client.run_feed(self.feed, self.body) if self.feed else self._run_system(client)
            self.log.info("waiting for %s", ", ".join(jobs))
            if not self.deferrable:
                while (progress := client.progress(jobs)).running:
                    time.sleep(self.poll_seconds)
                return self.execute_complete(context, event_of(progress))
        except SluiceError as error:
            raise failed(str(error), retryable=error.retryable) from error
        trigger = SluiceJobTrigger(jobs=jobs, conn_id=self.conn_id, poll_seconds=self.poll_seconds)
        self.defer(trigger=trigger, method_name="execute_complete")
        return []  # never reached: defer raises

    def execute_complete(self, context: Any, event: dict[str, Any]) -> list[dict[str, Any]]:
        """The summaries of the jobs; fails if one of them has."""
        return summaries_of(event)

    def _run_system(self, client: Any) -> list[str]:
        jobs: list[str] = client.run_system(self.system, self.feeds)
        return jobs


class SluiceCommandOperator(BaseOperator):
    """Run ``sluice`` on the worker: ``SluiceCommandOperator(words=["load", "{{ params.url }}"])``.

    *sluice* is the command, of an environment of its own; *env* has its settings. Returns what it prints as JSON.
    """

    template_fields = ("words", "env")

    def __init__(
        self, *, words: Sequence[str], sluice: str = "sluice", env: Mapping[str, str] | None = None, **rest: Any
    ) -> None:
        super().__init__(**rest)
        self.words, self.sluice, self.env = list(words), sluice, dict(env or {})
        self._command: Command | None = None

    def execute(self, context: Any) -> Any:
        self._command = Command([self.sluice, *self.words], self.env)
        try:
            return self._command.run(self.log.info)
        except SluiceError as error:
            raise failed(str(error), retryable=error.retryable) from error

    def on_kill(self) -> None:
        if self._command is not None:
            self._command.stop()


def summaries_of(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The summaries in an event of the trigger; raises its error."""
    if event["error"]:
        raise failed(event["error"], retryable=event["retryable"])
    summaries: list[dict[str, Any]] = event["summaries"]
    return summaries


def failed(reason: str, *, retryable: bool) -> AirflowException:
    """The exception for it: what would fail again is not retried."""
    return AirflowException(reason) if retryable else AirflowFailException(reason)

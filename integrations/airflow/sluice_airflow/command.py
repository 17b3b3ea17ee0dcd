"""The command ``sluice``, run as a process of its own. No Airflow in here.

A process rather than an import: Airflow and Sluice need different versions of the same libraries, so Sluice has an
environment of its own.
"""

from __future__ import annotations

import json
import os
import subprocess

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sluice_airflow.errors import SluiceError

_WRONG_USE = 2


class Command:
    """One call of ``sluice``; ``stop`` ends it from another thread or a signal handler."""

    def __init__(self, words: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self._words, self._env = [*words, "--json"], {**os.environ, **(env or {})}
        self._process: subprocess.Popen[str] | None = None

    def run(self, log: Callable[[str], object]) -> Any:
        """What the command prints as JSON; *log* gets other lines. SluiceError with the reason if it fails."""
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the words come from the author of the DAG
                self._words, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        except OSError as error:
            raise SluiceError(f"{self._words[0]} cannot be started: {error.strerror}", retryable=False) from error
        output, remarks = self._process.communicate()
        for line in remarks.splitlines():
            log(line)
        code = self._process.returncode
        if code:
            raise SluiceError(_reason(code, output, remarks), retryable=code != _WRONG_USE)
        return json.loads(output)

    def stop(self) -> None:
        """End it as Ctrl-C would: a run that has begun is continued by the next."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()


def errors(reported: Any) -> Iterator[str]:
    """The errors in what ``sluice`` printed as JSON, wherever they are, each with its feed."""
    if isinstance(reported, list):
        for one in reported:
            yield from errors(one)
    if isinstance(reported, dict):
        if isinstance(reported.get("error"), str):
            parts = (reported.get("feed"), reported["error"], reported.get("fix"))
            yield ": ".join(part for part in parts if part)
        for value in reported.values():
            yield from errors(value)


def _reason(code: int, output: str, remarks: str) -> str:
    try:
        found = list(dict.fromkeys(errors(json.loads(output))))
    except ValueError:
        found = []
    last = [line for line in remarks.splitlines() if line.strip()][-1:]
    return "; ".join(found or last) or f"sluice ended with {code}"

"""Activities of a job that fail by chance, before they did anything or after."""

from __future__ import annotations

import random

from collections import Counter
from typing import Any

from shared.jobs import orchestrations

PAYLOAD_LIMIT = 45 << 10
"""Bytes up to which Durable keeps a payload in a table."""


class Flaky:
    """Its methods that are named like activities, each of which fails with a chance of *fails*, twice."""

    def __init__(self, *, fails: float, seed: int) -> None:
        self.tried: Counter[str] = Counter()
        self._chance, self._fails = random.Random(seed), fails

    def overrides(self) -> dict[str, Any]:
        """By their names, for a stand-in of the host."""
        return {name: self._flaky(name) for name in orchestrations.ACTIVITIES if hasattr(self, name)}

    def _flaky(self, name: str) -> Any:
        def activity(request: Any) -> Any:
            self.tried[name] += 1
            if self._chance.random() < self._fails:
                raise ConnectionError(f"{name} cannot reach anything")
            result = getattr(self, name)(request)
            if self._chance.random() < self._fails:  # done, and the result is lost
                raise ConnectionError(f"{name} lost its connection")
            return result

        return activity

"""Which of several callers, anywhere, is the first within a span of time."""

from __future__ import annotations

import datetime as dt

from collections.abc import Callable

from shared.documents import Documents


class AlertThrottle:
    """Remembers keys as documents of a state store."""

    def __init__(self, state: Documents, now: Callable[[], dt.datetime]) -> None:
        self._state, self._now = state, now

    def first(self, key: str, within_seconds: float) -> bool:
        """True for the first caller with *key* within so many seconds.

        Two who come at the very moment at which the span ends may both be first.
        """
        name, now = f"told/{key}", self._now().timestamp()
        if self._state.add(name, repr(now).encode()):
            return True
        since = float(self._state.get(name) or b"-inf")
        if now - since < within_seconds:
            return False
        self._state.put(name, repr(now).encode())
        return True

    def forget(self, key: str) -> None:
        """Whoever asks next for *key* is the first again."""
        self._state.delete(f"told/{key}")

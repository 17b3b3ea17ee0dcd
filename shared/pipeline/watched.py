"""Show how far one window of a sync is: rows, rows a second, and calls of the API that it is read from."""

from __future__ import annotations

from collections.abc import Callable

from shared.pipeline.progress import Progress
from shared.traffic import Traffic


class Watched(Progress):
    """Shows rows and rows a second of one window, and lets it be stopped between batches."""

    def __init__(
        self, shown: Progress, timer: Callable[[], float], check: Callable[[], None],
        traffic: Callable[[], Traffic | None] = lambda: None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._shown, self._timer, self._check, self._traffic = shown, timer, check, traffic
        self._since, self._rows = 0.0, 0

    def start(self, label: str, rows: int) -> None:
        self._since, self._rows = self._timer(), 0
        self._shown.start(label, rows)

    def rows(self, count: int) -> None:
        self._check()
        self._rows += count
        self._shown.rows(count)
        rate, called = self._rows / max(self._timer() - self._since, 1e-3), self._traffic()
        self._shown.detail(f"{rate:,.0f} rows/s" + (f", {called.text}" if called else ""))

    def phase(self, label: str) -> None:
        self._check()
        self._shown.phase(label)

    def wait(self, text: str) -> None:
        self._shown.wait(text)

    def warn(self, text: str) -> None:
        self._shown.warn(text)

"""A bar for what is being loaded, and a line below it for what that waits for."""

from __future__ import annotations

from collections.abc import Callable

from rich import progress as rich_progress

from shared.pipeline.progress import Progress, Result


class Bar(Progress):
    """Progress on a terminal. *bars* is open as long as this is used."""

    def __init__(self, bars: rich_progress.Progress, on_warning: Callable[[str], None]) -> None:
        super().__init__(on_warning)
        self._bars = bars
        self._task: rich_progress.TaskID | None = None
        self._waiting: rich_progress.TaskID | None = None
        self._label = ""

    def table(self) -> Bar:
        """A bar of its own below the others."""
        return Bar(self._bars, self._on_warning)

    def start(self, label: str, rows: int) -> None:
        self._show(label, rows)

    def rows(self, count: int) -> None:
        self._continue()
        if self._task is not None:
            self._bars.advance(self._task, count)

    def detail(self, text: str) -> None:
        if self._task is not None:
            self._bars.update(self._task, description=f"{self._label}: {text}")

    def phase(self, label: str) -> None:
        self._show(label, None)

    def wait(self, text: str) -> None:
        if self._waiting is None:
            self._waiting = self._bars.add_task(text, total=None)

    def end(self, result: Result) -> None:
        self._remove()

    def _show(self, label: str, total: int | None) -> None:
        self._remove()
        self._label = label
        self._task = self._bars.add_task(label, total=total)

    def _remove(self) -> None:
        self._continue()
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = None

    def _continue(self) -> None:
        if self._waiting is not None:
            self._bars.remove_task(self._waiting)
        self._waiting = None

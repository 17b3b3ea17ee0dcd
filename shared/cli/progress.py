"""Show how far the work is: a bar on a terminal, warnings alone elsewhere."""

from __future__ import annotations

import contextlib
import sys

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich import progress as rich_progress

    from shared.pipeline.runner import Progress


@contextlib.contextmanager
def shown(*, quiet: bool) -> Iterator[Progress]:
    """What to inform of the progress. No bar if *quiet*."""
    from shared.pipeline.runner import Progress

    if quiet or not sys.stderr.isatty():
        yield Progress(_warn)
        return
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _bar(bars)


def _warn(text: str) -> None:
    click.echo(f"Warning: {text}.", err=True)


def _bar(bars: rich_progress.Progress) -> Progress:
    from shared.pipeline.runner import Progress, Result

    class Bar(Progress):
        task: rich_progress.TaskID | None = None

        def start(self, label: str, rows: int) -> None:
            self._show(label, rows)

        def rows(self, count: int) -> None:
            if self.task is not None:
                bars.advance(self.task, count)

        def phase(self, label: str) -> None:
            self._show(label, None)

        def end(self, result: Result) -> None:
            self._remove()

        def _show(self, label: str, total: int | None) -> None:
            self._remove()
            self.task = bars.add_task(label, total=total)

        def _remove(self) -> None:
            if self.task is not None:
                bars.remove_task(self.task)
            self.task = None

    return Bar(_warn)

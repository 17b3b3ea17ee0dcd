"""Show how far the work is: a bar on a terminal, warnings alone elsewhere."""

from __future__ import annotations

import logging
import sys

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import click

from shared.text import one_line

if TYPE_CHECKING:
    from shared.pipeline.progress import Progress

_log = logging.getLogger("sluice")
_HANDLER = "shared.cli.progress"


class _Shown(logging.Handler):
    """Shows a person the records of the log that are meant for one (shared.text.SHOW_WARNING, SHOW_WAITING)."""

    def __init__(self) -> None:
        super().__init__()
        self.progress: Progress | None = None
        """Of the work that is being done."""
        self._seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        kind, text = getattr(record, "shown", None), one_line(record.getMessage())
        if kind == "waiting" and self.progress is not None:
            self.progress.wait(text)
        elif kind is not None and text not in self._seen and (kind == "warning" or sys.stderr.isatty()):
            self._seen.add(text)
            if self.progress is not None:
                self.progress.warn(text)
            else:
                _show(text, kind)


@contextmanager
def messages() -> Iterator[None]:
    """Within it, what the log has for people is shown, whatever else is logged."""
    handler, level = _Shown(), _log.level
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    click.get_current_context().meta[_HANDLER] = handler
    try:
        yield
    finally:
        _log.setLevel(level)
        _log.removeHandler(handler)


@contextmanager
def shown(*, quiet: bool, unit: Literal["rows", "bytes"] = "rows") -> Iterator[Progress]:
    """What to inform of the progress, which is counted in *unit*. No bar if *quiet*."""
    handler: _Shown = click.get_current_context().meta[_HANDLER]
    with _opened(quiet=quiet, unit=unit) as progress:
        handler.progress = progress
        try:
            yield progress
        finally:
            handler.progress = None


@contextmanager
def _opened(*, quiet: bool, unit: str) -> Iterator[Progress]:
    from shared.pipeline.progress import Progress

    if quiet or not sys.stderr.isatty():
        yield Progress(lambda text: _show(text, "warning"))
        return
    from rich import progress as rich_progress
    from rich.console import Console

    from shared.cli.bar import Bar

    columns = (
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(),
        *(
            (rich_progress.DownloadColumn(), rich_progress.TransferSpeedColumn())
            if unit == "bytes"
            else (rich_progress.MofNCompleteColumn(),)
        ),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield Bar(bars, lambda text: _show(text, "warning"))


def _show(text: str, kind: str) -> None:
    click.echo(f"{text[:1].upper()}{text[1:]} ..." if kind == "waiting" else f"Warning: {text}.", err=True)

"""What a run reports while it works, and when it is over."""

from __future__ import annotations

import logging

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from shared.model import MAIN, Change, Run
from shared.pipeline.forecast import Forecast

_log = logging.getLogger("sluice")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one table of one export: a run, or the reason why there was none."""

    table: str
    place: str
    destination: str = MAIN
    run: Run | None = None
    skipped: str | None = None
    changes: Sequence[Change] = ()
    reasons: Mapping[str, int] = field(default_factory=dict)
    """The commonest reasons for rejects (code and column), and how often each was found."""
    forecast: Forecast | None = None
    """How long the load takes, on a dry run."""

    @property
    def failed(self) -> bool:
        return self.run is not None and self.run.status == "failed"

    @property
    def loaded(self) -> bool:
        return self.run is not None and self.run.status == "done"


class Progress:
    """Is informed how far the work is. This one ignores everything but warnings."""

    def __init__(self, on_warning: Callable[[str], None] | None = None) -> None:
        """Warnings go to *on_warning*, or to the log."""
        self._on_warning = on_warning or (lambda text: _log.warning("%s", text))

    def table(self) -> Progress:
        """What to inform of one of several tables that are loaded at the same time."""
        return self

    def start(self, label: str, rows: int) -> None:
        """A run begins that will read so many rows."""

    def rows(self, count: int) -> None:
        """So many more rows have been staged."""

    def detail(self, text: str) -> None:
        """More about the run that was started, in place of what was known of it before."""

    def phase(self, label: str) -> None:
        """A step of unknown length begins, such as hashing files or merging."""

    def wait(self, text: str) -> None:
        """The work waits for something, until the next call of another method."""

    def end(self, result: Result) -> None:
        """The run is over, or was skipped."""

    def warn(self, text: str) -> None:
        """The operator should know this now, not when the work is done."""
        self._on_warning(text)

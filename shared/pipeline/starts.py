"""How often the loading of something has begun without an end: what ended the process so often would end it again.

A crash of native code, a lack of memory or a host's patience end a process without a word. The ledger keeps, for each
feed, what has begun and not ended, in a watermark of its own: of files the run; of a table that is pulled the place
where its window begins, as the end of a window is another one each time.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from shared.errors import DataError, IngestError
from shared.ledger import Ledger
from shared.model import Run, Unit, Watermark, from_text, to_text

MAX_STARTS = 3
REST = dt.timedelta(days=1)
"""How long jobs leave a window alone that ended processes: the next try may be another table's fault no longer."""
_MOST_RUNS = 100
"""Of one feed that are remembered, the last ones."""
_FIXES = {
    "file": "Ask for the file again; if it is sound, give the process more memory, and load it with --again",
    "window": "Correct the rows at the source, or give the process more memory;"
    " then sync the table with --again, or run its feed",
}


class Starts(NamedTuple):
    """The starts of one piece of work, in the ledger."""

    ledger: Ledger
    feed: str
    key: str
    place: str
    """For people."""
    fix: str

    @classmethod
    def of_file(cls, ledger: Ledger, run: Run, place: str) -> Starts:
        return cls(ledger, run.feed, run.id, place, _FIXES["file"])

    @classmethod
    def of_window(cls, ledger: Ledger, feed: str, unit: Unit) -> Starts:
        begin = unit.window.floor if unit.window else None
        place = f"{feed} ({unit.work_items[0].name})"
        return cls(ledger, feed, f"{unit.kind} from {begin or 'the beginning'}", place, _FIXES["window"])

    @contextlib.contextmanager
    def counted(self, *, anew: bool) -> Iterator[None]:
        """Note that the work begins, and that it ended, with whatever outcome; *anew* forgets its earlier starts.

        DataError if it has begun three times and never ended.
        """
        known = self._known()
        starts = 0 if anew else known.get(self.key, 0)
        if starts >= MAX_STARTS:
            raise self._fatal()
        others = {key: count for key, count in known.items() if key != self.key}
        self._keep({self.key: starts + 1, **others})
        try:
            yield
        finally:
            with contextlib.suppress(IngestError):  # it counts as one that did not end, until the next that does
                self._keep(others)

    def give_up(self, now: dt.datetime) -> DataError:
        """Note that the work ended the process three times, which a job has counted by itself. The error to raise."""
        self._keep({**self._known(), self.key: MAX_STARTS}, note=to_text(now))
        return self._fatal()

    def refuse_fatal(self, now: dt.datetime, *, anew: bool) -> None:
        """DataError if the work ended the process three times, less than a day before; *anew* forgets that."""
        mark = self.ledger.watermark(_name(self.feed))
        known = _counts(mark)
        if known.get(self.key, 0) < MAX_STARTS:
            return
        since = from_text(mark.note)
        if not anew and (since is None or now.replace(tzinfo=None) - since < REST):
            raise self._fatal()
        self._keep({key: count for key, count in known.items() if key != self.key})

    def _fatal(self) -> DataError:
        problem = f"{self.place} ended the process {MAX_STARTS} times while it was loaded"
        return DataError(f"{problem}: by a crash, or for memory or time", fix=self.fix)

    def _known(self) -> dict[str, int]:
        return _counts(self.ledger.watermark(_name(self.feed)))

    def _keep(self, starts: Mapping[str, int], note: str | None = None) -> None:
        kept = dict(itertools.islice(starts.items(), _MOST_RUNS))
        self.ledger.rewind(_name(self.feed), Watermark(json.dumps(kept), "starts", note=note))


def begun(ledger: Ledger, feed: str) -> int:
    """How often something of *feed* has begun, at most, that did not end: the process that loaded it was ended."""
    return max(_counts(ledger.watermark(_name(feed))).values(), default=0)


def _name(feed: str) -> str:
    return f"{feed} starts"


def _counts(mark: Watermark) -> dict[str, int]:
    known: dict[str, int] = json.loads(mark.value or "{}")
    return known

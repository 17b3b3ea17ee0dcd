"""Which job does a run, or reads a pull feed: one at a time."""

from __future__ import annotations

import contextlib
import json

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from shared.documents import Documents, to_json
from shared.jobs.request import PullFeed, UnitRequest
from shared.model import from_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The execution of a job that does a run."""

    job: str
    """Without the number of the attempt."""
    attempt: int
    started: str
    """When the execution began (text of records)."""
    document: str
    """Its state of the unit. A job that takes the run over removes it, which ends what the former holder still does."""
    former: str = ""
    """That document of the holder that it was taken over from, if it was."""
    since: float = 0.0
    """Seconds since 1970."""
    renewed: float = 0.0
    """When it was last seen to get on, if it was: likewise."""
    number: int = 1
    """Of its document in the chain, see Lease."""
    window: int = 0
    """Of a pull feed, by number: the job reads them one after the other."""

    @classmethod
    def of(cls, request: UnitRequest, document: str) -> Holder:
        job, _, attempt = request.job.partition("~")
        window = request.unit if isinstance(request.work, PullFeed) else 0
        return cls(job=job, attempt=int(attempt or 1), started=request.started, document=document, window=window)

    def is_same(self, other: Holder) -> bool:
        return (
            replace(self, former=other.former, since=other.since, renewed=other.renewed, number=other.number) == other
        )

    def supersedes(self, other: Holder) -> bool:
        """Whether this is a later attempt at the same job, whose earlier one the watchdog has ended; or the next window
        of the same attempt, which the earlier one did not release."""
        if self.continues(other):
            return self.window > other.window
        return self.job == other.job and (self.attempt, self.started) > (other.attempt, other.started)

    def continues(self, other: Holder) -> bool:
        """Whether both are of the same execution of a job."""
        return (self.job, self.attempt, self.started) == (other.job, other.attempt, other.started)


class Lease:
    """The right to do one run, for one job at a time: an event and a notification of one file come to the same run.

    A pull feed has one lease for all its windows: two jobs that read it would overtake each other, and one would fail.
    A chain of documents, ``leases/<run>/1`` and so on: whoever adds the next one has the lease, so of several jobs that
    take over an expired lease at the same moment one wins. The first document then names the new holder, too.
    """

    def __init__(self, documents: Documents, run: str) -> None:
        self._documents, self._folder = documents, f"leases/{run}/"

    def is_same(self, other: Lease) -> bool:
        return self._folder == other._folder

    def acquire(self, holder: Holder, now: float, expires_after: float) -> Holder:
        """Acquire the lease and return who has it now: another job if that has had it for less than *expires_after*
        seconds. *now* is in seconds since 1970. Acquiring it again changes nothing."""
        mine = replace(holder, since=now)
        while not self._documents.add(self._name(mine.number), to_json(asdict(mine))):
            known = self._latest()
            if known is None:  # released meanwhile
                mine = replace(mine, number=1)
            elif known.is_same(mine):
                mine = known
                break
            elif not mine.supersedes(known) and max(known.since, known.renewed) + expires_after > now:
                return known
            elif mine.continues(known):  # its outcome stays
                mine = replace(mine, number=known.number + 1)
            else:
                self._documents.delete(known.document)
                mine = replace(mine, number=known.number + 1, former=known.document)
        if mine.number > 1:
            self._documents.put(self._name(1), to_json(asdict(mine)))
        return mine

    def renew(self, holder: Holder, now: float) -> None:
        """Let the lease last as if it were acquired *now*, if *holder* has it still."""
        if self.is_held(holder):
            self._documents.put(self._name(holder.number), to_json(asdict(replace(holder, renewed=now))))

    @contextlib.contextmanager
    def ending(self, holder: Holder) -> Iterator[bool]:
        """Whether *holder*, as ``acquire`` returned it, has the lease still; if so it is released after the block."""
        is_held = self.is_held(holder)
        yield is_held
        for number in range(1, holder.number + 1) if is_held else ():
            self._documents.delete(self._name(number))

    def release(self, holder: Holder) -> None:
        """Give the lease back; nothing happens if *holder* has lost it."""
        with self.ending(holder):
            pass

    def is_held(self, holder: Holder) -> bool:
        """Whether *holder*, as ``acquire`` returned it, has the lease still."""
        known = self._read(holder.number)
        return known is not None and known.is_same(holder)

    def _latest(self) -> Holder | None:
        names = [entry.name for entry in self._documents.entries(self._folder)]
        return self._read(max((int(name.removeprefix(self._folder)) for name in names), default=1))

    def _read(self, number: int) -> Holder | None:
        content = self._documents.get(self._name(number))
        return None if content is None else from_json(Holder, json.loads(content))

    def _name(self, number: int) -> str:
        return f"{self._folder}{number}"

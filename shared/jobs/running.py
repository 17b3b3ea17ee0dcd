"""The runs in progress, and how far each is: what their leases and the documents of their slices say."""

from __future__ import annotations

import json

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from shared.documents import Documents
from shared.jobs.documents import UnitState
from shared.jobs.leases import Holder
from shared.jobs.request import SliceResult, files_of
from shared.model import from_json
from shared.traffic import Traffic, summed

_MOST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInProgress:
    """A run that a job does now."""

    job: str
    """With the number of its attempt, if that is not the first."""
    feed: str
    place: str
    since: float
    """Seconds since 1970."""
    slices: int
    staged: int
    """Slices that have been staged."""
    rows: int
    """What the plan expects; 0 if the source did not say."""
    rows_staged: int
    bytes_sent: int
    rows_per_second: float | None = None
    """Of the last slice that was staged."""
    calls: Traffic | None = None
    """Of the API that is read, for the slices that were staged."""


def runs_in_progress(documents: Documents, job: str | None = None) -> list[RunInProgress]:
    """The first hundred runs that hold a lease, those of *job* if it is given, the longest running first."""
    holders = (one for one in _holders(documents) if job is None or _name(one) == job)
    found = (_progress(documents, holder) for holder in islice(holders, _MOST))
    return sorted((one for one in found if one is not None), key=lambda one: (one.since, one.feed))


def _holders(documents: Documents) -> Iterator[Holder]:
    for entry in documents.entries("leases/"):
        if entry.name.endswith("/1") and (content := documents.get(entry.name)) is not None:
            yield from_json(Holder, json.loads(content))


def _name(holder: Holder) -> str:
    return holder.job if holder.attempt == 1 else f"{holder.job}~{holder.attempt}"


def _progress(documents: Documents, holder: Holder) -> RunInProgress | None:
    """How far the run of a holder is; None if it is not planned yet, or has ended."""
    content = documents.get(holder.document)
    state = from_json(UnitState, json.loads(content)) if content else None
    if state is None or state.plan is None or state.outcome is not None:
        return None
    folder = f"{holder.document.removesuffix('/unit')}/slice/"
    names = sorted((entry.name for entry in documents.entries(folder)), key=_number)
    contents = (documents.get(name) for name in names)
    results = (from_json(SliceResult, json.loads(one)) for one in contents if one)
    staged = [one.staged for one in results if one.staged is not None]
    return RunInProgress(
        job=_name(holder), feed=state.plan.feed.name, place=files_of(state.plan.run), since=holder.since,
        slices=len(state.plan.slices) + sum(one.next is not None for one in staged), staged=len(staged),
        rows=sum(part.rows for part in state.plan.slices),
        rows_staged=sum(one.rows for one in staged), bytes_sent=sum(one.size for one in staged),
        rows_per_second=staged[-1].rows / staged[-1].seconds if staged and staged[-1].seconds else None,
        calls=summed(one.calls for one in staged),
    )  # fmt: skip


def _number(name: str) -> int:
    """Of the slice that a document is about: ``.../slice/<number>/<try>``."""
    return int(name.split("/")[-2])

"""What a record does to what is kept of its work, the same in every ledger. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from shared.model import Record

_RUNS = 8


class Kept(NamedTuple):
    """What is kept of a work."""

    record: Record
    done_by: tuple[str, ...] = ()
    """The last runs that recorded it done: a commit whose answer was lost is known even after another run's."""


def is_recorded(before: Kept | None, record: Record) -> bool:
    """Whether the very run has recorded this of the work before, or has done it: a failure reported later is stale."""
    if before is None:
        return False
    return record.run in before.done_by or (before.record.run == record.run and before.record.status == record.status)


def after(before: Kept | None, record: Record) -> Kept:
    """What is kept of the work once *record* is recorded over *before*; ``times`` is counted here."""
    if before is not None and is_recorded(before, record):
        return before
    done = record.status == "done"
    times = (before.record.times if before else 0) + done
    runs = (*(before.done_by if before else ()), *([record.run] if done else []))
    return Kept(replace(record, times=times), runs[-_RUNS:])


def forgotten(before: Record) -> Record:
    """A work that failed is to be taken again anyway, and has no success that a late call could report."""
    return replace(before, status="forgotten") if before.status == "done" else before


def known_done_by(record: Record) -> tuple[str, ...]:
    """Who recorded a work done, by a layout that did not keep that: the last one did, unless it failed."""
    return () if record.status == "failed" else (record.run,)

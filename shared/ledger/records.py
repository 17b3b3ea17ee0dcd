"""What a record does to the one before it, the same in every ledger. Pure."""

from __future__ import annotations

from dataclasses import replace

from shared.model import Record


def is_recorded(before: Record | None, record: Record) -> bool:
    """Whether the very run has recorded this of the work before, or has done it: a failure told later is stale."""
    return before is not None and before.run == record.run and before.status in ("done", "forgotten", record.status)


def after(before: Record | None, record: Record) -> Record:
    """What is kept of the work once *record* is recorded over *before*; ``times`` is counted here."""
    if before is not None and is_recorded(before, record):
        return before
    return replace(record, times=(before.times if before else 0) + (record.status == "done"))


def forgotten(before: Record) -> Record:
    """A work that failed is to be taken again anyway, and has no success that a late call could report."""
    return replace(before, status="forgotten") if before.status == "done" else before

"""The keys of a pull feed as a unit of work, to find what is gone from its source (docs/decisions/0025)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shared.errors import ConflictError
from shared.ids import work_id
from shared.ledger import Ledger
from shared.model import Feed, Record, Run, Unit, WorkItem


def keys_unit(feed: Feed, *, now: str) -> Unit:
    """All keys that the source of a pull feed has from *now* (text of records) on, and nothing else of its rows.

    What is active in the warehouse and not among them is deleted, unless a run has written it since *now*.
    """
    name = f"keys at {now}"
    return Unit(kind="keys", work_items=(WorkItem(work_id(feed.name, name), name),), exported_at=now, complete=True)


def contracted(feed: Feed, unit: Unit) -> Feed:
    """The feed as the contract of *unit* knows it: that of keys has neither cursor, deletion flag nor checks."""
    return replace(feed, cursor=None, deleted=None, checks=()) if unit.kind == "keys" else feed


def commit_keys(run: Run, records: Sequence[Record], ledger: Ledger) -> None:
    """Record the works of *run*, which has compared keys. The watermark stays, and so do runs that started from it.

    Only if rows were deleted, its fingerprint goes: should they come back as they were, that would be news.
    """
    while True:  # ends: each conflict means that another run got its commit through
        mark = ledger.watermark(run.feed)
        forgotten = replace(mark, fingerprint=None) if run.absent and mark.fingerprint is not None else None
        try:
            ledger.commit(run.feed, records, forgotten)
        except ConflictError:
            continue
        return

"""What a pull feed reads next: a window of cursor values, or its whole table; and whether that is news."""

from __future__ import annotations

import datetime as dt

from dataclasses import replace
from typing import TypeAlias
from zoneinfo import ZoneInfo

from shared.contract import cursor, types
from shared.ids import work_id
from shared.ledger import Ledger
from shared.model import Feed, Plan, Run, Unit, Watermark, Window, WorkItem, with_note
from shared.pipeline.fingerprint import FEW, Fingerprint, Rows
from shared.sources import PullSource

Place: TypeAlias = tuple[str | None, str | None]
"""Value and type of a watermark."""


def window(
    feed: Feed, source: PullSource, ledger: Ledger, *, now: str, after: str | None = None
) -> Unit | None:  # fmt: skip
    """What a pull feed should read next: from its watermark, less the overlap, to what is there now.

    *now* is text of records. With *after*, it begins at that cursor instead. None while the source is empty. A feed
    without cursor is read whole, and so is one whose source does not know what is new.
    """
    if feed.cursor is None:
        return whole(feed, source, now=now)
    seen = ledger.watermark(feed.name)
    top = source.ceiling(seen.value if after is None else after)
    if top is None:
        return None
    if top.whole:
        return whole(feed, source, now=now)
    span = Window(_floor(feed, seen) if after is None else after, top.value)
    note = seen.note if top.note is None else with_note(seen.note, top.note)
    return _of_window(feed.name, span, now, Unit(kind="window", seen=seen, more=top.more, note=note))


def up_to(feed: str, unit: Unit, last: Watermark) -> Unit:
    """The window of *unit* without what is beyond *last*: there the other destinations of the feed have ended."""
    span, kind = unit.window, last.type
    if span is None or last.value is None or kind is None or cursor.later(kind, span.ceiling, last.value) == last.value:
        return unit
    return _of_window(feed, Window(span.floor, last.value), unit.exported_at, replace(unit, more=False))


def _of_window(feed: str, span: Window, now: str | None, like: Unit) -> Unit:
    name = f"{span.floor or 'the beginning'} to {span.ceiling}"
    return replace(like, work_items=(WorkItem(work_id(feed, name), name),), exported_at=now, window=span)


def place_of(mark: Watermark) -> Place:
    """Where a watermark is: of two with the same place the same rows come next."""
    return (None, None) if mark.value is None else (mark.value, mark.type)


def compared(one: Place, other: Place) -> int:
    """Which of two places is ahead; 0 if neither is, or if their values cannot be compared.

    >>> compared(("9", "bigint"), ("10", "bigint")), compared(("9", "bigint"), ("9", "integer"))
    (-1, 0)
    >>> compared(("9", "bigint"), (None, None)), compared(("9", "bigint"), ("2026-02-24", "date"))
    (1, 0)
    """
    (value, kind), (second, other_kind) = one, other
    if value is None or second is None or kind is None or other_kind is None:
        return (value is not None) - (second is not None)
    if cursor.family(kind) != cursor.family(other_kind):
        return 0
    if cursor.typed(kind, value) == cursor.typed(kind, second):
        return 0
    return 1 if cursor.later(kind, value, second) == value else -1


def whole(feed: Feed, source: PullSource, *, now: str) -> Unit:
    """All rows of a pull feed, as a complete full of *now* (text of records): what it lacks is gone from the source.

    It is not complete if the source forgets rows, as nobody knows then whether what it lacks was deleted there.

    Its window ends at the newest cursor of now, and so does the watermark: a row that changes while it is read may be
    missed at a lower cursor than one that is seen.
    """
    newest = source.newest() if feed.cursor is not None else None
    name = f"everything at {now}"
    days = feed.api.get("retention_days")
    note = f"{feed.system} forgets its rows after {days} days: nothing counts as deleted" if forgets(feed) else None
    return Unit(
        kind="full", work_items=(WorkItem(work_id(feed.name, name), name),), exported_at=now,
        complete=not forgets(feed), window=None if newest is None else Window(None, newest),
        note=note,
    )  # fmt: skip


def forgets(feed: Feed) -> bool:
    """Whether its API has rows for some days only. Those that it lacks then are not deleted here."""
    return "retention_days" in feed.api


def is_unchanged(feed: Feed, unit: Unit, source: PullSource, mark: Watermark) -> bool:
    """Whether a pull feed's *unit* is known to have the same rows as the last run had, so that it need not be run.

    *mark* is the watermark that it starts from.

    That is known of few rows only. It takes one query of the source, and none where it cannot be.
    """
    if mark.fingerprint is None or (unit.window is not None and unit.window.ceiling != mark.value):
        return False
    rows = source.peek(unit, FEW)
    if rows is None:
        return False
    found = Fingerprint(feed, unit)
    for batch in rows:
        found.add(batch)
    return found.text == mark.fingerprint


def fingerprint(plan: Plan) -> Fingerprint | None:
    """To be taken of what a run reads: of the rows that the next sync reads again if nothing happens meanwhile.

    Those of a window are the ones of the overlap, which the run has read too: what it has not read cannot be in it.
    Where that is all that the run reads, or nothing else is known, of all of it. None if those are many, or if several
    workers read them.
    """
    feed, unit = plan.feed, plan.unit
    if unit.files or unit.kind == "keys" or len(plan.slices) != 1:
        return None
    counted = [column for name in (feed.cursor, feed.cursor_fallback) for column in plan.columns if column.name == name]
    if unit.window is not None and counted and counted[0].name == feed.cursor and counted[0].type != types.NULL:
        kind, ceiling = counted[0].type, unit.window.ceiling
        floor = _floor(feed, Watermark(ceiling, kind))
        if floor and (not unit.window.floor or cursor.typed(kind, floor) > cursor.typed(kind, unit.window.floor)):
            following = replace(unit, kind="window", window=Window(floor, ceiling))
            return Fingerprint(feed, following, Rows(tuple(counted), floor, ceiling, feed.timezone))
    return Fingerprint(feed, unit) if plan.slices[0].rows <= FEW else None


def _floor(feed: Feed, seen: Watermark) -> str | None:
    if seen.value is None or seen.type is None:
        return seen.value
    since = cursor.typed(seen.type, seen.value)
    if seen.type == "timestamp":
        return cursor.text(since - dt.timedelta(seconds=feed.overlap_seconds) - _repeated(since, feed.timezone))
    if cursor.family(seen.type) == "number" and feed.overlap_numbers:
        return cursor.text(since - feed.overlap_numbers)
    return seen.value


def _repeated(moment: dt.datetime, timezone: str) -> dt.timedelta:
    """How far clocks in *timezone* are set back at *moment* (UTC): a column without zone has those times twice.

    >>> _repeated(dt.datetime(2026, 11, 1, 5, 30), "America/New_York"), _repeated(dt.datetime(2026, 11, 1, 5), "UTC")
    (datetime.timedelta(seconds=3600), datetime.timedelta(0))
    """
    local = moment.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(timezone))
    first, second = (local.replace(fold=fold).utcoffset() or dt.timedelta() for fold in (0, 1))
    return max(first - second, dt.timedelta())


def has_news(run: Run) -> bool:
    """Whether a run of a pull feed changed or rejected anything. What is read again for the overlap is no news."""
    return any(getattr(run, name) for name in ("inserted", "updated", "deleted", "undeleted", "absent", "rejected"))

"""Let a feed be read or loaded again: what an operator asks for, what it changes, and who asked."""

from __future__ import annotations

import contextlib
import hashlib

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from shared.catalog import System
from shared.contract import cursor
from shared.errors import ConfigError, ConflictError
from shared.ledger import Ledger
from shared.model import FeedName, Record, Watermark
from shared.pipeline.destinations import targets
from shared.pipeline.feeds import known_feed
from shared.pipeline.folder import parse_time
from shared.pipeline.runner import Runner
from shared.warehouses import Backfill, WarehouseWithHistory

LISTED = "exports listed"
"""A watermark of the ledger: what searches remember of folders holds while it stays as they set it."""
_WHOLE = ("smallint", "integer", "bigint")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillRequest:
    """What is to be read or loaded again, and who wants it."""

    feed: str
    to: str | None
    """From this value of the cursor on (of files: export time), as an operator writes it. None: from the beginning."""
    requested_by: str
    now: str
    """Text of records."""


class BackfillResult(NamedTuple):
    """What a backfill has changed."""

    recorded: Backfill | None
    """As history has it; None if there was nothing to change."""
    forgotten: Sequence[Record]
    """Work items that will be loaded again."""
    reason: str | None = None
    """Why there was nothing to change."""


def backfill(
    request: BackfillRequest, *, systems: Mapping[str, System], warehouse: WarehouseWithHistory, ledger: Ledger
) -> BackfillResult:
    """Set the watermark of a pull feed back, or forget that files are loaded; the next run starts from there.

    Repeating a backfill changes nothing, or does the rest of one that broke off, and history has it once. ConfigError
    if the feed is unknown or ``to`` is no value of its cursor; ConflictError while a run of it is under way.
    """
    known_feed(request.feed, systems, warehouse)
    return _backfill(request, systems, warehouse, ledger)


def _backfill(
    request: BackfillRequest, systems: Mapping[str, System], warehouse: WarehouseWithHistory, ledger: Ledger
) -> BackfillResult:
    name = FeedName.parse(request.feed)
    pulled = name.system in systems and systems[name.system].is_pulled(name.table)
    mark = ledger.watermark(request.feed)
    to = _parsed(request, mark.type if pulled else "timestamp")
    declared = systems[name.system].tables.get(name.table) if pulled else None
    if declared is not None and declared.get("cursor") is None:
        return BackfillResult(None, (), "it has no cursor: each run reads all of it anyway")
    if warehouse.is_loading(request.feed):
        raise under_way(request.feed)
    if pulled:
        return _rewind(request, mark, to, warehouse, ledger)
    return _forget(request, mark, to, warehouse, ledger)


def backfill_each(
    request: BackfillRequest, runner: Runner, destination: str | None = None
) -> list[tuple[str, BackfillResult]]:
    """A backfill of each destination of the feed, or of one, by name. One that fails leaves those before it done.

    A destination that has nothing of the feed has nothing to change. ConfigError if it is unknown, and as above.
    """
    runners = [target.runner for target in targets(runner, request.feed, destination)]
    if not any(one.warehouse.runs(request.feed, limit=1) for one in runners):
        known_feed(request.feed, runner.systems, runner.warehouse)
    return [(one.destination, _backfill(request, one.systems, one.warehouse, one.ledger)) for one in runners]


def under_way(feed: str) -> ConflictError:
    """The refusal of a backfill during a run, which would record what it has read as done."""
    return ConflictError(f"a run of {feed} is under way", fix="Try again when it has ended")


def _parsed(request: BackfillRequest, kind: str | None) -> str | None:
    """``to`` as cursor text of column type *kind*; before that is known, of a time or a number."""
    if request.to is None:
        return None
    kinds = (kind,) if kind else ("timestamp", "decimal")
    for one in kinds:
        with contextlib.suppress(ValueError, ArithmeticError):
            return _READ[cursor.family(one)](request.to, one)
    families = [cursor.family(one) for one in kinds]
    wanted, examples = (
        " or ".join(map(_CALLED.__getitem__, families)),
        ", or ".join(map(_EXAMPLE.__getitem__, families)),
    )
    raise ConfigError(
        f"{request.feed} cannot be set back to {request.to[:60]!r}: that is no {wanted}", fix=f"Write {examples}"
    )


def _number(text: str, kind: str) -> str:
    value = Decimal(text)
    if not value.is_finite() or (kind in _WHOLE and value != value.to_integral_value()):
        raise ValueError(text)
    return cursor.text(value.to_integral_value() if kind in _WHOLE else value)


_READ: Mapping[str, Callable[[str, str], str]] = {
    "number": _number,
    "timestamp": lambda text, _: parse_time(text),
    "date": lambda text, _: parse_time(text)[:10],
    "text": lambda text, _: text,
}
_CALLED = {"number": "number as its cursor is", "timestamp": "time", "date": "date", "text": "text"}
_EXAMPLE = {
    "number": "a number such as 120000",
    "timestamp": "a time such as 2026-02-24T12:00:00Z, or 20260224120000 (UTC)",
    "date": "a date such as 2026-02-24",
    "text": "a text",
}


def _rewind(
    request: BackfillRequest, mark: Watermark, to: str | None, warehouse: WarehouseWithHistory, ledger: Ledger
) -> BackfillResult:
    if mark.value is None or mark.type is None:
        return BackfillResult(None, (), "no row of it has been read yet, so the next run begins at the beginning")
    if to is not None and cursor.typed(mark.type, to) >= cursor.typed(mark.type, mark.value):
        return BackfillResult(None, (), f"its watermark is {mark.value}: the next run reads all that follows")
    done = _record(request, mark, to, warehouse)
    note = f"reread from {to or 'the beginning'} after a backfill by {request.requested_by}"
    ledger.rewind(request.feed, Watermark(to, mark.type, mark.etag, note=note))
    return BackfillResult(done, ())


def _forget(
    request: BackfillRequest, mark: Watermark, to: str | None, warehouse: WarehouseWithHistory, ledger: Ledger
) -> BackfillResult:
    ledger.rewind(LISTED, Watermark(f"backfill of {request.feed} at {request.now}", "text"))
    forgotten = ledger.forget(request.feed, to or "")
    if not forgotten:
        return BackfillResult(None, (), "nothing was loaded since then")
    done = _record(request, mark, to, warehouse, forgotten=len(forgotten))
    return BackfillResult(done, forgotten)


def _record(
    request: BackfillRequest, mark: Watermark, to: str | None, warehouse: WarehouseWithHistory, *, forgotten: int = 0
) -> Backfill:
    parts = (request.feed, mark.etag or "", to or "")
    done = Backfill(
        id=hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16], feed=request.feed, at=request.now,
        requested_by=request.requested_by, type=mark.type, before=mark.value, after=to, forgotten=forgotten,
    )  # fmt: skip
    warehouse.record_backfill(done)
    return done

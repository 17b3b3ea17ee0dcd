"""Plan, stage, publish, tidy: the four verbs that move data.

Each verb can be repeated: run twice, it leaves warehouse and ledger as if it had run once. So every host may retry it.
"""

from __future__ import annotations

import datetime as dt
import tempfile

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

from shared.catalog import System
from shared.contract import cursor, direct
from shared.contract.checks import has_row_checks, row_failures, settled
from shared.contract.conform import Contract
from shared.contract.hidden import NO_SECRETS, Privacy
from shared.errors import ConflictError, DataError, IngestError, overtaken
from shared.ids import run_id, staging_name
from shared.ledger import Ledger
from shared.ledger.of_destination import name_in_ledger
from shared.model import (
    MAIN,
    Column,
    FeedName,
    Plan,
    Record,
    Run,
    Slice,
    Staged,
    Unit,
    Watermark,
    WorkItem,
    from_text,
    with_note,
)
from shared.pipeline import pull
from shared.pipeline.columns import columns_of
from shared.pipeline.keys import commit_keys, contracted
from shared.pipeline.pieces import generated, slice_of, traffic_of
from shared.pipeline.tally import REJECTS_SCHEMA, Spool, StageCounter
from shared.redaction import redact
from shared.sources import Source
from shared.warehouses import Limits, LoadedFile, Merged, Warehouse

_SPOOL_BYTES = 4 << 20
_INLINE = 12_000
"""Characters: a quarter of the 45 KB up to which Durable Functions keeps what activities pass on in a table."""


class Recorded(NamedTuple):
    """What the ledger says of some works together."""

    done: bool
    """All were loaded."""
    failed: bool
    """All failed for good: none was loaded."""
    settled: bool
    """Each was loaded or failed for good. None is new, or to be taken again."""


def recorded(work_items: Sequence[WorkItem], known: Mapping[str, Record]) -> Recorded:
    """Whether *works* are loaded, by what a ledger has of them (``Ledger.known``)."""
    statuses = {known[work.id].status if work.id in known else None for work in work_items}
    return Recorded(statuses <= {"done"}, statuses == {"failed"}, statuses <= {"done", "failed"})


def run_for(
    feed: str,
    unit: Unit,
    ledger: Ledger,
    started: str,
    *,
    again: bool = False,
    dry: bool = False,
    destination: str = MAIN,
) -> Run | None:
    """The run that would load *unit*, or None if all of it is recorded done and it is not to be done *again*.

    *ledger* is that of the *destination*.

    A window is never done: what was committed late, at a cursor already read, is in it the next time.
    """
    known = ledger.known(feed, [work.id for work in unit.work_items])
    if not again and unit.window is None and recorded(unit.work_items, known).done:
        return None
    forgotten = any(record.status == "forgotten" for record in known.values())
    return Run(
        id=run_id(
            name_in_ledger(feed, destination),
            [(w.id, known[w.id].times if w.id in known else 0) for w in unit.work_items],
            dry=dry,
        ),
        feed=feed,
        kind=unit.kind,
        started=started,
        files=tuple(work.name for work in unit.work_items),
        client=unit.client,
        exported_at=unit.exported_at,
        complete=unit.complete,
        note=with_note(unit.note, "loaded again after a backfill") if forgotten else unit.note,
    )


def plan(run: Run, unit: Unit, source: Source, system: System, stored: Mapping[str, str] | None = None) -> Plan:
    """Decide what *run* will read: feed, columns, slices. Writes nothing.

    Columns whose types the source infers from their values are read as they are *stored*, where that holds them; a new
    column is left out, or refused, as the feed says. DataError or ConfigError if nothing of the unit can be read.
    """
    table = FeedName.parse(run.feed).table
    described = source.describe(unit)
    feed = system.feed(
        table, list(dict.fromkeys(name for schema in described.schemas.values() for name in schema.names))
    )
    columns, notes = columns_of(described.schemas, feed, unit, stored or {})
    for note in notes:
        run = replace(run, note=with_note(run.note, note))
    return Plan(
        feed=feed, run=run, unit=unit, columns=columns, slices=tuple(described.slices), faulty=described.faulty
    )  # fmt: skip


def latest_cursor(exported_at: str | None, cursor_ahead: float) -> dt.datetime | None:
    """The last cursor to accept of an export at that time (text of records), *cursor_ahead* seconds after it."""
    known = from_text(exported_at)
    return known + dt.timedelta(seconds=cursor_ahead) if known else None


def stage(
    plan: Plan,
    part: Slice,
    source: Source,
    warehouse: Warehouse,
    *,
    cursor_ahead: float,
    privacy: Privacy = NO_SECRETS,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> Staged:
    """Read one slice into its own staging table, and keep what was rejected of it. Replaces any earlier try.

    A cursor more than *cursor_ahead* seconds after the export is rejected.
    *on_rows* gets the rows of each batch.
    """
    latest = latest_cursor(plan.run.exported_at or plan.run.started, cursor_ahead)
    feed = contracted(plan.feed, plan.unit)
    contract = Contract(feed, plan.columns, latest_cursor=latest, privacy=privacy)
    table = staging_name(plan.run.id, part.number)
    stored = [column for column in plan.columns if column.name in contract.schema.names]
    untouched = (
        None if privacy.kept_out or has_row_checks(feed) else _stage_file(plan, part, source, warehouse, stored, latest)
    )
    if untouched is not None:
        warehouse.reject(plan, part.number, [])
        on_rows(untouched.rows)
        return untouched
    called = traffic_of(source)
    with (
        closing(generated(source.read(part))) as read,  # what reads ahead ends with an interrupt, and not later
        tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as rejects,
        tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as keys,
    ):
        counter = StageCounter(contract, part, feed, Spool(rejects, REJECTS_SCHEMA), Spool(keys, contract.keys_schema))
        fingerprint = pull.fingerprint(plan)
        accepted = counter.accepted(fingerprint.watch(read) if fingerprint else read, on_rows)
        loaded = warehouse.stage(plan.feed, table, stored, accepted, _inline_limit(plan))
        counter.refuse(loaded.refused)
        # A row of keys alone is no row to correct: the sync that brought the rest of it has rejected it.
        warehouse.reject(plan, part.number, counter.rejects if plan.unit.kind != "keys" else [])
        if counter.next is not None and counter.next.anew:
            warehouse.reject(plan, 0, [])  # of all pieces, as they will be read and rejected once more
        present = _stage_keys(plan, table, stored, counter.keys, warehouse)
    return replace(
        counter.staged(table, loaded), present=present, fingerprint=fingerprint.text if fingerprint else None,
        calls=traffic.since(called) if called and (traffic := traffic_of(source)) else None,
        left_out={kind: count for kind, count in getattr(source, "left_out", {}).items() if count},
    )  # fmt: skip


def _stage_keys(
    plan: Plan, table: str, stored: Sequence[Column], keys: Spool, warehouse: Warehouse
) -> str | None:  # fmt: skip
    """Stage the keys of rejected rows beside *table*, if there are any; the name of their table."""
    if not keys.rows:
        return None
    keyed = [column for column in stored if column.name in plan.feed.keys]
    warehouse.stage(plan.feed, f"{table}_keys", keyed, keys.numbered())
    return f"{table}_keys"


def _stage_file(
    plan: Plan, part: Slice, source: Source, warehouse: Warehouse, stored: Sequence[Column], latest: dt.datetime | None
) -> Staged | None:
    """Let the engine read the file of *part* by itself, where it can, and where no row needs to be changed."""
    find, stage_file = getattr(source, "plain_file", None), getattr(warehouse, "stage_file", None)
    found = find(part) if find and stage_file else None
    wanted = direct.checks(plan.feed, plan.columns, found[1], latest) if found else None
    if found is None or stage_file is None or wanted is None:
        return None
    table = staging_name(plan.run.id, part.number)
    loaded: LoadedFile | None = stage_file(plan.feed, table, stored, found[0], wanted)
    if loaded is None:
        return None
    high = None if loaded.high is None else cursor.text(loaded.high)
    return Staged(table=table, rows=loaded.rows, high=high)


def _inline_limit(plan: Plan) -> int:
    """Characters of rows that a slice may return inline: few, as all slices of a run are passed to publish together.

    None of a complete full, or of a feed with history, whose merges need all rows in staging.
    """
    return 0 if plan.unit.complete or plan.feed.history else _INLINE // max(1, len(plan.slices))


def without_faulty_parts(
    plan: Plan, staged: Mapping[int, Staged], faults: Mapping[int, DataError]
) -> tuple[list[Staged], dict[str, str]]:
    """What was staged of sound part files, and what is wrong with the others. Both are given by slice number.

    The first fault is raised if it leaves no part file.
    """
    faulty = {slice_of(plan, number).origin: str(error) for number, error in sorted(faults.items())}
    if faults and len(faulty) + len(plan.faulty) >= len(plan.unit.work_items):
        raise faults[min(faults)]
    return [staged[n] for n in sorted(staged) if slice_of(plan, n).origin not in faulty], faulty


def publish(
    plan: Plan,
    staged: Sequence[Staged],
    warehouse: Warehouse,
    ledger: Ledger,
    *,
    limits: Limits,
    finished: str,
    faulty: Mapping[str, str] | None = None,
) -> Merged:
    """Merge what was staged, then move the watermark. The order is the guarantee.

    *faulty* are part files that could not be staged, with the reason: the rest is merged without them.
    """
    run = _summed(plan, staged, {**plan.faulty, **(faulty or {})}, finished)
    if plan.unit.seen is not None and ledger.watermark(run.feed).etag != plan.unit.seen.etag:
        _recognise(run, plan, ledger)
    _check_reject_share(run, limits, sum(part.kept_out for part in staged))
    run = _checked(plan, staged, run)
    merged = warehouse.merge(plan, staged, run, limits)
    if limits.dry_run:
        return merged._replace(run=replace(merged.run, status="dry"))
    fingerprint = staged[0].fingerprint if len(staged) == 1 else None
    commit(merged.run, plan, ledger, {**plan.faulty, **(faulty or {})}, fingerprint)
    return merged


def commit(
    run: Run, plan: Plan, ledger: Ledger, faulty: Mapping[str, str], fingerprint: str | None = None
) -> None:  # fmt: skip
    """Record the works of *run* and raise the watermark, in one transaction of the ledger.

    The watermark of a pull feed must be as it was when the run was planned, and stays untouched if no row is
    beyond it and none of the last is another. That of a push feed is only ever raised.
    Keys alone leave it where it is, and so do single objects of a pull feed.
    """
    records = [
        Record(
            work=work.id, name=work.name, run=run.id, status="failed" if work.name in faulty else "done", times=0,
            exported_at=run.exported_at,
        )
        for work in plan.unit.work_items
    ]  # fmt: skip
    if plan.unit.kind == "keys":
        commit_keys(run, records, ledger)
        return
    if not plan.unit.moves_watermark:
        ledger.commit(run.feed, records)
        return
    if plan.unit.seen is not None:
        mark = replace(_raised(plan, run, plan.unit.seen), fingerprint=fingerprint)
        ledger.commit(run.feed, records, None if mark == plan.unit.seen else mark)
        return
    while True:  # ends: each conflict means that another run got its commit through
        try:
            mark = _raised(plan, run, ledger.watermark(run.feed))
            ledger.commit(run.feed, records, replace(mark, fingerprint=fingerprint))
        except ConflictError:
            continue
        return


def fail(run: Run, unit: Unit, error: IngestError | str, warehouse: Warehouse, ledger: Ledger, finished: str) -> Run:
    """Record that *run* failed, and why. Its works remain to be done.

    *run* should have its columns if they are known: corrected rejects are read by them.
    """
    failed = replace(run, status="failed", error=redact(str(error)), finished=finished, complete=False)
    warehouse.record(failed)
    records = [
        Record(work=w.id, name=w.name, run=run.id, status="failed", times=0, exported_at=run.exported_at)
        for w in unit.work_items
    ]
    ledger.commit(run.feed, records)
    return failed


def tidy(plan: Plan, warehouse: Warehouse, *, dry_run: bool = False) -> None:
    """Drop the staging tables, after success and after failure."""
    warehouse.tidy(plan, rejects=dry_run)


def _summed(plan: Plan, staged: Sequence[Staged], faulty: Mapping[str, str], finished: str) -> Run:
    kind = _cursor_type(plan)
    high = cursor.later(kind, *(part.high for part in staged)) if kind else None
    keyless = sum(part.keyless for part in staged)
    note = plan.run.note
    if plan.unit.complete and keyless:
        only = "nothing counts as deleted" if plan.unit.kind == "keys" else "merged as a delta"
        note = with_note(note, f"{only}: {keyless} rejected rows have no readable key")
    for problem in faulty.values():
        note = with_note(note, f"left out: {problem}")
    left_out = sum((Counter(part.left_out) for part in staged), Counter[str]())
    if left_out:
        note = with_note(note, f"left out {', '.join(f'{count:,} {kind}' for kind, count in left_out.items())}")
    rejected = sum(part.rejected for part in staged)
    return replace(
        plan.run,
        finished=finished,
        exported_at=plan.unit.exported_at or (high if kind == "timestamp" else None),
        complete=plan.unit.complete and not keyless and not faulty,
        read=sum(part.rows for part in staged) + rejected,
        rejected=rejected,
        values_rejected=sum(part.values_rejected for part in staged),
        size=sum(part.size for part in staged),
        seconds=round(sum(part.seconds for part in staged), 3),
        columns=plan.columns,
        high=high,
        note=note,
    )


def _recognise(run: Run, plan: Plan, ledger: Ledger) -> None:
    """The watermark of a pull feed has moved. ConflictError unless this very run moved it, at an earlier try."""
    known = ledger.known(run.feed, [work.id for work in plan.unit.work_items])
    if not all(work.id in known and known[work.id].run == run.id for work in plan.unit.work_items):
        raise overtaken(run.feed)


def _check_reject_share(run: Run, limits: Limits, kept_out: int) -> None:
    if run.rejected - kept_out <= limits.max_reject_share * run.read:
        return
    look = f"Look at them with `sluice rejects {run.feed}`"
    if limits.dry_run:
        look = "Load it without --dry-run, which keeps them to be looked at"
    raise DataError(
        f"{run.rejected:,} of {run.read:,} rows were rejected, more than the share of {limits.max_reject_share:g}",
        fix=f"{look}, or allow more with --max-reject-share or max_reject_share in the catalog",
    )


def _checked(plan: Plan, staged: Sequence[Staged], run: Run) -> Run:
    """*run*, with a note of the checks of single rows that failed. DataError if one stops it."""
    counts: Counter[str] = sum((Counter(part.checks) for part in staged), Counter())
    failures = row_failures(contracted(plan.feed, plan.unit), plan.columns, counts)
    note = settled(run.feed, failures)
    return replace(run, note=with_note(run.note, note)) if note else run


def _raised(plan: Plan, run: Run, seen: Watermark) -> Watermark:
    kind = _cursor_type(plan)
    if kind is None or run.high is None:
        return seen
    high = run.high
    if plan.unit.window is not None:
        high = min(high, plan.unit.window.ceiling, key=lambda text: cursor.typed(kind, text))
    if seen.type is not None and cursor.family(seen.type) != cursor.family(kind):
        return Watermark(high, kind, seen.etag)  # the cursor is another column now, so its old value means nothing
    return Watermark(cursor.later(kind, seen.value, high), kind, seen.etag)


def _cursor_type(plan: Plan) -> str | None:
    if plan.unit.kind == "keys":
        return None
    return next((c.type for c in plan.columns if c.name == plan.feed.cursor and c.type != "null"), None)

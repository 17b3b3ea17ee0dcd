"""Plan, stage, publish, tidy: the one way data moves through this app.

Each verb can be repeated. A verb that runs twice leaves warehouse and ledger as if it had run once, so every
host may retry it without asking.
"""

from __future__ import annotations

import datetime as dt
import tempfile

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from shared.arrow import arange, pc
from shared.catalog import System
from shared.contract import cursor
from shared.contract.conform import ROW, Contract, Reject, fit, raw_row
from shared.errors import ConflictError, DataError, IngestError
from shared.ids import run_id, staging_name, work_id
from shared.ledger import Ledger
from shared.model import (
    Feed,
    FeedName,
    Plan,
    Record,
    Run,
    Slice,
    Staged,
    Unit,
    Watermark,
    Window,
    WorkItem,
    from_text,
    with_note,
)
from shared.redaction import redact
from shared.sources import PullSource, Source
from shared.warehouses import REJECT_COLUMNS, Limits, Merged, RefusedRow, Warehouse

_REJECTS = pa.schema([(name, pa.string()) for name in REJECT_COLUMNS])
_SPOOL_BYTES = 4 << 20
_INLINE = 12_000
"""Characters: a good quarter of the 45 KB up to which a Durable Functions app keeps what it hands on in a table."""


def window(feed: Feed, source: PullSource, ledger: Ledger, *, now: str) -> Unit | None:
    """What a pull feed should read next: from its watermark, less the overlap, to what is there now.

    None while the source is empty. A feed without cursor is read whole, as a complete full of *now* (text of records).
    """
    if feed.cursor is None:
        name = f"everything at {now}"
        return Unit(kind="full", works=(WorkItem(work_id(feed.name, name), name),), exported_at=now, complete=True)
    seen = ledger.watermark(feed.name)
    top = source.ceiling(seen.value)
    if top is None:
        return None
    span = Window(_floor(feed, seen), top.value)
    name = f"{span.floor or 'the beginning'} to {span.ceiling}"
    return Unit(
        kind="window", works=(WorkItem(work_id(feed.name, name), name),), window=span, seen=seen, more=top.more
    )  # fmt: skip


def _floor(feed: Feed, seen: Watermark) -> str | None:
    if seen.value is None or seen.type != "timestamp":
        return seen.value
    since = from_text(seen.value)
    assert since is not None  # noqa: S101 - there is a value
    return cursor.text(since - dt.timedelta(seconds=feed.overlap_seconds))


def run_for(
    feed: str, unit: Unit, ledger: Ledger, started: str, *, again: bool = False, dry: bool = False
) -> Run | None:
    """The run that would do *unit*, or None if all of it is recorded done and it is not wished *again*.

    A window is never done: what was committed late, at a cursor already read, is in it the next time.
    """
    known = ledger.known(feed, [work.id for work in unit.works])
    if not again and unit.window is None and all(w.id in known and known[w.id].status == "done" for w in unit.works):
        return None
    return Run(
        id=run_id(feed, [(w.id, known[w.id].times if w.id in known else 0) for w in unit.works], dry=dry),
        feed=feed,
        kind=unit.kind,
        started=started,
        files=tuple(work.name for work in unit.works),
        client=unit.client,
        exported_at=unit.exported_at,
        complete=unit.complete,
        note=unit.note,
    )


def plan(run: Run, unit: Unit, source: Source, system: System) -> Plan:
    """Decide what *run* will read: feed, columns, slices. Writes nothing.

    DataError or ConfigError if nothing of the unit can be taken.
    """
    table = FeedName.parse(run.feed).table
    described = source.describe(unit)
    feed = system.feed(
        table, list(dict.fromkeys(name for schema in described.schemas.values() for name in schema.names))
    )
    columns = fit(described.schemas, feed)
    return Plan(
        feed=feed, run=run, unit=unit, columns=columns, slices=tuple(described.slices), faulty=described.faulty
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Allowance:
    """How far ahead of its export a cursor may be."""

    cursor_ahead_seconds: float

    def latest(self, exported_at: str | None) -> dt.datetime | None:
        """The last acceptable cursor of an export at that time (text of records)."""
        known = from_text(exported_at)
        return known + dt.timedelta(seconds=self.cursor_ahead_seconds) if known else None


def stage(
    plan: Plan,
    part: Slice,
    source: Source,
    warehouse: Warehouse,
    *,
    allowance: Allowance,
    progress: Callable[[int], None] = lambda rows: None,
) -> Staged:
    """Read one slice into its own staging table, and keep what was rejected of it; replaces any earlier try.

    *progress* hears of the rows of each batch.
    """
    contract = Contract(
        plan.feed, plan.columns, latest_cursor=allowance.latest(plan.run.exported_at or plan.run.started)
    )
    table = staging_name(plan.run.id, part.number)
    stored = [column for column in plan.columns if column.name in contract.schema.names]
    with (
        tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as rejects,
        tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as keys,
    ):
        tally = _Tally(contract, part, plan.feed, _Spool(rejects, _REJECTS), _Spool(keys, contract.keys_schema))
        loaded = warehouse.stage(plan.feed, table, stored, tally.accepted(source.read(part), progress), _room(plan))
        tally.refuse(loaded.refused)
        warehouse.reject(plan, part.number, tally.rejects)
        present = None
        if tally.keys.rows:
            present = f"{table}_keys"
            warehouse.stage(plan.feed, present, [c for c in stored if c.name in plan.feed.keys], _numbered(tally.keys))
    return Staged(
        table=table, rows=loaded.rows, size=loaded.size, long=tuple(loaded.long),
        rejected=tally.rejected, values_rejected=tally.values_rejected,
        keyless=tally.rejected - tally.keys.rows, present=present, high=tally.high, inline=loaded.inline,
    )  # fmt: skip


def _room(plan: Plan) -> int:
    """Characters of rows that a slice may hand on: little, for all of a run's slices travel to publish together.

    None of a complete full, whose merge needs to see all rows at once.
    """
    return 0 if plan.unit.complete else _INLINE // max(1, len(plan.slices))


def without_faulty_parts(
    plan: Plan, staged: Mapping[int, Staged], faults: Mapping[int, DataError]
) -> tuple[list[Staged], dict[str, str]]:
    """What was staged of part files without fault, and what is wrong with the others; both come by number of slice.

    The first fault is raised if it leaves no part file.
    """
    faulty = {plan.slices[number].origin: str(error) for number, error in sorted(faults.items())}
    if faults and len(faulty) + len(plan.faulty) >= len(plan.unit.works):
        raise faults[min(faults)]
    return [staged[n] for n in sorted(staged) if plan.slices[n].origin not in faulty], faulty


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

    *faulty* are part files that failed while they were staged: the rest is merged without them.
    """
    run = _summed(plan, staged, {**plan.faulty, **(faulty or {})}, finished)
    if plan.unit.seen is not None and ledger.watermark(run.feed).etag != plan.unit.seen.etag:
        _recognise(run, plan, ledger)
    _brake(run, plan.feed)
    merged = warehouse.merge(plan, staged, run, limits)
    if limits.dry_run:
        return merged._replace(run=replace(merged.run, status="dry"))
    commit(merged.run, plan, ledger, {**plan.faulty, **(faulty or {})})
    return merged


def commit(run: Run, plan: Plan, ledger: Ledger, faulty: Mapping[str, str]) -> None:
    """Record the works of *run* and raise the watermark, in one transaction of the ledger.

    A pull feed's mark must be as it was when the run was planned. A push feed's is raised over whatever it is.
    """
    records = [
        Record(
            work=work.id, name=work.name, run=run.id, status="failed" if work.name in faulty else "done", times=0,
            exported_at=run.exported_at,
        )
        for work in plan.unit.works
    ]  # fmt: skip
    if plan.unit.seen is not None:
        ledger.commit(run.feed, records, _raised(plan, run, plan.unit.seen))
        return
    while True:  # ends: each conflict means that another run got its commit through
        try:
            ledger.commit(run.feed, records, _raised(plan, run, ledger.watermark(run.feed)))
        except ConflictError:
            continue
        return


def fail(run: Run, unit: Unit, error: IngestError | str, warehouse: Warehouse, ledger: Ledger, finished: str) -> Run:
    """Write down that *run* came to nothing, and why: its works stay to be done.

    *run* should have its columns if they are known: what it rejected can be mended by them.
    """
    failed = replace(run, status="failed", error=redact(str(error)), finished=finished, complete=False)
    warehouse.record(failed)
    records = [
        Record(work=w.id, name=w.name, run=run.id, status="failed", times=0, exported_at=run.exported_at)
        for w in unit.works
    ]
    ledger.commit(run.feed, records)
    return failed


def tidy(plan: Plan, warehouse: Warehouse, *, dry_run: bool = False) -> None:
    """Drop the staging tables, whether or not the run came to anything."""
    warehouse.tidy(plan, rejects=dry_run)


def _summed(plan: Plan, staged: Sequence[Staged], faulty: Mapping[str, str], finished: str) -> Run:
    kind = _cursor_type(plan)
    high = cursor.later(kind, *(part.high for part in staged)) if kind else None
    keyless = sum(part.keyless for part in staged)
    note = plan.run.note
    if plan.unit.complete and keyless:
        note = with_note(note, f"merged as a delta: {keyless} rejected rows have no readable key")
    for problem in faulty.values():
        note = with_note(note, f"left out: {problem}")
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
    """The watermark of a pull feed has moved. By this very run, then all is well; by another, then give up."""
    known = ledger.known(run.feed, [work.id for work in plan.unit.works])
    if not all(work.id in known and known[work.id].run == run.id for work in plan.unit.works):
        raise ConflictError(
            f"feed {run.feed} was advanced by another run since this one began",
            fix="Nothing to do; the next run goes on",
        )


def _brake(run: Run, feed: Feed) -> None:
    if run.rejected > feed.max_reject_share * run.read:
        raise DataError(
            f"{run.rejected:,} of {run.read:,} rows were rejected, more than the share of {feed.max_reject_share:g}",
            fix=f"Look at them with `sluice rejects {feed.name}`, or raise max_reject_share in the catalog",
        )


def _raised(plan: Plan, run: Run, seen: Watermark) -> Watermark:
    kind = _cursor_type(plan)
    if kind is None or run.high is None:
        return seen
    high = run.high
    if plan.unit.window is not None:
        high = min(high, plan.unit.window.ceiling, key=lambda text: cursor.typed(kind, text))
    if seen.type is not None and cursor.family(seen.type) != cursor.family(kind):
        return Watermark(high, kind, seen.etag)  # the cursor became another column: its old value says nothing
    return Watermark(cursor.later(kind, seen.value, high), kind, seen.etag)


def _cursor_type(plan: Plan) -> str | None:
    return next((c.type for c in plan.columns if c.name == plan.feed.cursor and c.type != "null"), None)


class _Tally:
    """Conforms batches on their way through and remembers what it saw."""

    def __init__(self, contract: Contract, part: Slice, feed: Feed, rejects: _Spool, keys: _Spool) -> None:
        self._contract, self._part, self._feed = contract, part, feed
        self.rejects, self.keys = rejects, keys
        self.rejected = self.values_rejected = 0
        self.high: str | None = None

    def accepted(self, batches: Iterable[pa.RecordBatch], progress: Callable[[int], None]) -> Iterator[pa.RecordBatch]:
        before = 0
        for batch in batches:
            conformed = self._contract.conform(batch, self._part.first_row + before)
            self._keep(conformed.rejects, before)
            self.keys.add(conformed.present)
            self.rejected += conformed.rejected
            self._rise(conformed.accepted)
            before += batch.num_rows
            progress(batch.num_rows)
            yield conformed.accepted

    def refuse(self, refused: Sequence[RefusedRow]) -> None:
        """Set aside what the contract let pass, but the warehouse does not hold."""
        for one in refused:
            number = one.row.column(ROW)[0].as_py() - self._part.first_row
            content = one.row.drop_columns([ROW])
            self._keep([Reject(number, "row", one.column, one.code, one.reason, raw_row(content, 0))], 0)
            self.keys.add(content.select(self.keys.schema.names))
            self.rejected += 1

    def _keep(self, rejects: Sequence[Reject], before: int) -> None:
        if not rejects:
            return
        first = self._part.origin_row + before + 1
        self.values_rejected += sum(reject.scope == "value" for reject in rejects)
        rows = [
            (f"{self._part.origin} row {first + r.row}", r.scope, r.column, r.code, r.reason, r.raw) for r in rejects
        ]
        columns: list[pa.Array[Any]] = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
        self.rejects.add(pa.RecordBatch.from_arrays(columns, schema=_REJECTS))

    def _rise(self, batch: pa.RecordBatch) -> None:
        name = self._feed.cursor
        if name is None or name not in batch.schema.names or not batch.num_rows:
            return
        top = pc.max(batch.column(batch.schema.get_field_index(name))).as_py()
        if top is not None:
            kind = next(c for c in self._contract.columns if c.name == name).type
            self.high = cursor.later(kind, self.high, cursor.text(top))


class _Spool:
    """Batches kept aside in bounded memory: beyond it they wait on disk."""

    def __init__(self, file: Any, schema: pa.Schema) -> None:
        self._file, self.schema = file, schema
        self._writer = pa.ipc.new_stream(file, schema) if len(schema) else None
        self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        if self._writer is not None and batch.num_rows:
            self._writer.write_batch(batch)
            self.rows += batch.num_rows

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if self._writer is not None:
            self._writer.close()
            self._file.seek(0)
            yield from pa.ipc.open_stream(self._file)


def _numbered(keys: _Spool) -> Iterator[pa.RecordBatch]:
    rows = 0
    for batch in keys:
        numbers = arange(rows, rows + batch.num_rows)
        yield pa.RecordBatch.from_arrays([numbers, *batch.columns], names=[ROW, *batch.schema.names])
        rows += batch.num_rows

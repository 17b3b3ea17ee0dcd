"""A warehouse behind a database server: what all such engines do alike, over the few things each does its own way."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeAlias, TypeVar

import pyarrow as pa
import sqlalchemy as sa

from shared.contract.checks import has_checks_of_runs
from shared.errors import DataError
from shared.ids import run_of_staging, staging_name
from shared.model import Column, Feed, Finding, Orphans, Plan, Run, Staged
from shared.text import SHOW_WAITING
from shared.warehouses import NAMED, Backfill, EraseRequest, Erasure, Limits, Loaded, Merged, NamedView, Profile
from shared.warehouses.merge import ddl, ingest, shape
from shared.warehouses.merge import erase as erasing
from shared.warehouses.merge.merge import Merge
from shared.warehouses.merge.named import renew
from shared.warehouses.merge.orphans import orphans
from shared.warehouses.merge.profile import profile, table_rows
from shared.warehouses.merge.session import STAGING, Session
from shared.warehouses.server import inline
from shared.warehouses.server.owners import Lock, RunOwners, loading
from shared.warehouses.server.unit import Rollback, UnitsOfWork

_log = logging.getLogger("sluice")

T = TypeVar("T")
Claim: TypeAlias = Callable[[], AbstractContextManager[None]]
"""Within it a staging table belongs to the caller."""


class Engine(Protocol):
    """One database server."""

    @property
    def units(self) -> UnitsOfWork[Any]:
        """Transactions on this server."""
        ...

    def lock(self, session: Any, name: str, *, shared: bool = False) -> None:
        """Keep all others out of *name* until the session's transaction ends; TransientError if that takes too long.

        Those whose lock is *shared* as well are not kept out.
        """
        ...

    def try_lock(self, session: Any, name: str, *, shared: bool) -> bool:
        """As ``lock``, but without waiting: whether it was granted."""
        ...

    def append(self, session: Any, table: sa.Table, batch: pa.RecordBatch) -> None:
        """Insert *batch*, whose columns are named as some of *table*'s, within the session's transaction."""
        ...

    def load(
        self, feed: Feed, table: sa.Table, batches: Iterable[pa.RecordBatch], claim: Claim, inline_limit: int = 0
    ) -> Loaded:
        """Create *table* anew and fill it, in as many transactions as it takes, all within *claim*.

        Few rows may be handed back inline instead, in at most *inline_limit* characters, without any claim.
        """
        ...

    def direct(self, plan: Plan, staged: Sequence[Staged], run: Run) -> Merged | None:
        """Merge rows that were all handed back inline; None, and nothing done, if that takes staging tables.

        Never asked for a complete full or a dry run.
        """
        ...

    def reading(self, table: sa.Table) -> sa.FromClause:
        """A staging table as the merge is to read it."""
        ...

    def rehearse(self, session: Any, feed: Feed) -> None:
        """A merge of *feed* is about to be made that will be rolled back: let no DDL of it stay."""
        ...

    def staged(self) -> Mapping[str, float]:
        """Staging tables there are, with their age in seconds."""
        ...

    def drop(self, tables: Sequence[str]) -> None:
        """Drop staging tables, those that are there."""
        ...

    def clean_up(self, tables: Iterable[str]) -> None:
        """Remove what is kept outside the database for these staging tables, and for those of runs long dead."""
        ...

    def log_rate(self) -> int | None:
        """Bytes a second by which the server lets its log grow, if it says so."""
        ...

    def examine(self) -> Iterator[Finding]:
        """Driver, sign-in, rights, and what else a load needs, step by step."""
        ...


DEAD = 86_400.0
"""Seconds after which a staging table of another run is a leftover of one that died."""


class ServerWarehouse:
    """A warehouse on the server of *engine*."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._prepared = False
        self._owners = RunOwners(self._hold)

    def log_rate(self) -> int | None:
        """See LimitsLog."""
        return self._engine.log_rate()

    def owned(self, run: Run, on_wait: Callable[[], None]) -> AbstractContextManager[None]:
        return self._owners.owned(run.id, run.feed, on_wait)

    def stage(
        self, feed: Feed, name: str, columns: Sequence[Column], batches: Iterable[pa.RecordBatch], inline_limit: int = 0
    ) -> Loaded:
        self._prepare()
        table = shape.staging(feed, columns, name, STAGING)
        return self._engine.load(
            feed, table, batches, lambda: self._owners.working(_run_of(name), feed.name, name), inline_limit
        )

    def reject(self, plan: Plan, part: int, batches: Iterable[pa.RecordBatch]) -> None:
        earlier, known = ingest.deleting_rejects(plan, part), ingest.of_rejects(plan, part)

        def unit(session: Session) -> None:
            session.change(earlier)
            for batch in batches:
                self._engine.append(session, ingest.REJECTED, _with(batch, known, ingest.REJECTED))

        self._prepare()
        if next(iter(batches), None) is None:
            self._engine.units.run_single(earlier)
        else:
            self._engine.units.run(unit)

    def merge(self, plan: Plan, staged: Sequence[Staged], run: Run, limits: Limits) -> Merged:
        tables = {
            name: self._engine.reading(shape.staging(plan.feed, columns, name, STAGING))
            for part in staged
            for name, columns in shape.staged_columns(plan, part).items()
        }

        def unit(session: Session) -> Merged:
            self._engine.lock(session, run.feed)
            if limits.dry_run:
                self._engine.rehearse(session, plan.feed)
            merged = Merge(session, plan, limited, limits, tables)(staged)
            if limits.dry_run:
                raise Rollback(merged)
            return merged

        self._prepare()
        needs_sql = run.complete or limits.dry_run or has_checks_of_runs(plan.feed)
        if staged and all(part.inline is not None for part in staged) and not needs_sql:
            merged = self._engine.direct(plan, staged, run)
            if merged is not None:
                return merged
        limited = dataclasses.replace(run, log_rate=self._engine.log_rate())
        with self._owners.working(run.id, run.feed):
            self._spill(plan, staged)
            return self._engine.units.run(unit)

    def _spill(self, plan: Plan, staged: Sequence[Staged]) -> None:
        """Give the rows that were handed on inline the staging tables they were spared."""
        for part in staged:
            if part.inline is None:
                continue
            columns = shape.staged_columns(plan, part)[part.table]
            table = shape.staging(plan.feed, columns, part.table, STAGING)
            for refused in self._engine.load(plan.feed, table, inline.read(part.inline), nullcontext).refused:
                raise DataError(
                    f"the server refuses a row of {plan.feed.name}: {refused.reason}",
                    fix="Load it with WAREHOUSE_LOADER=array, which rejects such rows one by one",
                )

    def record(self, run: Run) -> None:
        self._prepare()
        self._engine.units.run(lambda session: ingest.record(session, run))
        self._engine.units.close_idle()

    def annotate(self, run: str, note: str) -> None:
        self._engine.units.run(lambda session: ingest.annotate(session, run, note))

    def renew_view(self, view: NamedView) -> list[str]:
        def unit(session: Session) -> list[str]:
            self._engine.lock(session, f"{view.feed.name}{NAMED}")
            return renew(session, view)

        try:
            return self._engine.units.run(unit)
        finally:
            self._engine.units.close_idle()

    def record_backfill(self, backfill: Backfill) -> None:
        self._prepare()
        self._engine.units.run(lambda session: ingest.record_backfill(session, backfill))
        self._engine.units.close_idle()

    def tidy(self, plan: Plan, *, rejects: bool = False) -> None:
        own = {staging_name(plan.run.id, part.number) for part in plan.slices}
        try:
            there = {
                name: run_of_staging(name) == plan.run.id or age >= DEAD for name, age in self._engine.staged().items()
            }
            gone = sorted(name for name, is_over in there.items() if is_over and run_of_staging(name))
            if gone:
                with self._owners.working(plan.run.id, plan.run.feed):
                    self._engine.drop(gone)
            if rejects and self._engine.units.run_alone(_has_history):
                self._engine.units.run_single(ingest.deleting_rejects(plan))
            self._engine.clean_up(sorted(own.union(gone)))
        finally:
            self._engine.units.close_idle()

    def erase(self, request: EraseRequest) -> Erasure:
        def unit(session: Session) -> Erasure:
            self._engine.lock(session, request.feed.name)
            traces = erasing.erase(session, request, len(leftovers), erasing.delete_rows)
            if request.dry_run:
                raise Rollback(traces.erasure)
            return traces.erasure

        none: list[str] = []
        leftovers = self._query(lambda session: self._may_be_staged(session, request.feed), none)
        if leftovers and not request.dry_run:
            self._engine.drop(leftovers)
            self._engine.clean_up(leftovers)
        if request.kept_out and not request.dry_run:
            self._prepare()
        return self._query(unit, Erasure.of(request))

    def _may_be_staged(self, session: Session, feed: Feed) -> list[str]:
        """Staging tables that may have rows of *feed*, of runs that never ended."""
        stored, staged = session.columns(feed.system, feed.table), sorted(self._engine.staged())
        return [name for name in staged if erasing.may_be_of(feed, session.columns(STAGING, name), stored)]

    # -- looking

    def erasures(self, feed: str | None, limit: int | None = 20) -> list[Erasure]:
        return self._query(lambda session: erasing.erasures(session, feed, limit), [])

    def examine(self) -> Iterator[Finding]:
        try:
            yield from self._engine.examine()
        finally:
            self._engine.units.close_idle()

    def runs(self, feed: str | None = None, limit: int | None = 20) -> list[Run]:
        return self._query(lambda session: ingest.runs(session, feed, limit), [])

    def recent(self, limit: int) -> list[Run]:
        return self._query(lambda session: ingest.recent(session, limit), [])

    def run(self, id: str) -> Run | None:
        return self._query(lambda session: ingest.find(session, id), None)

    def backfills(self, feed: str, limit: int = 20) -> list[Backfill]:
        return self._query(lambda session: ingest.backfills(session, feed, limit), [])

    def is_loading(self, feed: str) -> bool:
        lock = loading(feed)
        return self._query(lambda session: not self._engine.try_lock(session, lock.name, shared=False), False)

    def rejects(self, feed: str, run: str | None = None) -> Iterator[Mapping[str, Any]]:
        if self._query(_has_history, False):
            yield from self._engine.units.stream(lambda session: ingest.rejects(session, feed, run))
            self._engine.units.close_idle()

    def profile(self, feed: Feed) -> Profile:
        return self._query(lambda session: profile(session, feed), Profile(columns={}))

    def columns(self, feed: Feed) -> Mapping[str, str]:
        return self._query(lambda session: session.columns(feed.system, feed.table), {})

    def _hold(self, locks: Sequence[Lock]) -> AbstractContextManager[bool]:
        """Hold all of *locks*; whether one had to be waited for."""

        def take(session: Any) -> bool:
            taken = [one for one in locks if self._engine.try_lock(session, one.name, shared=one.shared)]
            for one in locks:
                if one not in taken:
                    _log.info("waiting for another process, which loads the same work item", extra=SHOW_WAITING)
                    self._engine.lock(session, one.name, shared=one.shared)
            return len(taken) < len(locks)

        return self._engine.units.lasting(take)

    def table_rows(self, schema: str, table: str) -> tuple[list[str], list[Sequence[Any]]]:
        nothing: tuple[list[str], list[Sequence[Any]]] = ([], [])
        return self._query(lambda session: table_rows(session, schema, table), nothing)

    def orphans(self, feed: Feed, run: str | None = None) -> list[Orphans]:
        return self._query(lambda session: list(orphans(session, feed, run)), [])

    def _query(self, question: Callable[[Session], T], nothing: T) -> T:
        """Looking creates nothing: where there is no history yet, the answer is *nothing*."""

        try:
            if not self._prepared and not self._engine.units.run(_has_history):
                return nothing
            self._prepare()
            result: T = self._engine.units.run(question)
            return result
        finally:
            self._engine.units.close_idle()

    def _prepare(self) -> None:
        """Make our schemas and tables, or bring them up to date, once a process; one process at a time."""
        if self._prepared:
            return

        def unit(session: Session) -> None:
            self._engine.lock(session, ingest.SCHEMA)
            ddl.create_schema(session, STAGING)
            ingest.prepare(session)

        if not self._engine.units.run_alone(_is_current):
            self._engine.units.run(unit)
        self._prepared = True


def _run_of(table: str) -> str:
    """The run that a staging table belongs to."""
    return run_of_staging(table) or table


def _is_current(session: Session) -> bool:
    return _has_history(session) and ingest.is_current(session)


def _has_history(session: Session) -> bool:
    return bool(session.columns(ingest.SCHEMA, "version"))


def _with(batch: pa.RecordBatch, known: Mapping[str, Any], table: sa.Table) -> pa.RecordBatch:
    """*batch* with the same values in each row for some more columns."""
    kinds = {str: pa.string(), int: pa.int32(), dt.datetime: pa.timestamp("us")}
    more = [pa.array([value] * batch.num_rows, kinds[table.c[name].type.python_type]) for name, value in known.items()]
    return pa.RecordBatch.from_arrays([*more, *batch.columns], names=[*known, *batch.schema.names])

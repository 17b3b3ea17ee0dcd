"""Do one unit of work with the four verbs, log each step, and record what failed: the same for every host.

There is one policy for failures. A TransientError leaves the verb that raised it: a host that can repeat the verb does
so. After the last attempt the run has failed but is not recorded, because what is unreachable cannot be written to
either. Every other error fails the run, which is recorded in history and ledger; its work remains to be done. An
exception that is not an IngestError is a bug: it is logged with its traceback and fails the run like the others.
"""

from __future__ import annotations

import datetime as dt
import logging

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from shared.catalog import System
from shared.contract.hidden import Privacy, missing_key
from shared.errors import DataError, IngestError, TransientError
from shared.ledger import Ledger
from shared.model import MAIN, Feed, FeedName, Plan, Run, Slice, Staged, Unit, to_text, with_note
from shared.pipeline import relations, verbs
from shared.pipeline.columns import stored_if_needed
from shared.pipeline.forecast import of_dry_run
from shared.pipeline.keep_out import kept_out
from shared.pipeline.pieces import since_last_start
from shared.pipeline.progress import Progress, Result
from shared.pipeline.shared_read import leaving
from shared.pipeline.staging import stage_all
from shared.pipeline.starts import Starts
from shared.pipeline.tally import MOST_REASONS
from shared.settings import naming_setting, no_destination
from shared.sources import Source
from shared.telemetry import Step, Telemetry
from shared.warehouses import NAMED, Limits, Merged, WarehouseWithHistory

_log = logging.getLogger("sluice")
_JOB: ContextVar[str | None] = ContextVar("job", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What an operator may ask of a run."""

    again: bool = False
    """Take work that is recorded done, too."""
    dry_run: bool = False
    """Do everything, then take it back. Nothing is recorded."""
    max_delete_share: float | None = None
    """Share of the active rows that a full may delete, instead of the feed's own limit."""
    max_reject_share: float | None = None
    """Share of the rows that may be rejected, instead of the feed's own limit."""


class Bug(Exception):  # noqa: N818 - not an error of its own: it carries one that has been logged
    """An exception that was not one of ours, as text. Its traceback was logged where it was raised."""


class _LoadedMeanwhile(Exception):  # noqa: N818 - no error: there is nothing left to do
    """Another process has loaded the work that this one has waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """The verbs over one set of ports. Each method may be repeated; each logs one line with feed, run and seconds."""

    systems: Mapping[str, System]
    warehouse: WarehouseWithHistory
    ledger: Ledger
    cursor_ahead: float
    """Seconds that a cursor may be ahead of its export; rows beyond are rejected."""
    now: Callable[[], dt.datetime]
    """The time, aware."""
    timer: Callable[[], float]
    """Seconds from a clock that never goes back, to measure steps with."""
    keep_out_key: str | None = field(default=None, repr=False)
    """The secret that erased keys are hashed with which are not to come back; None if there are none."""
    hash_key: str | None = field(default=None, repr=False)
    """The secret that columns are hashed with; None if no feed has such columns."""
    telemetry: Telemetry = field(default_factory=Telemetry, repr=False)
    destination: str = MAIN
    """Which one it loads into: that of ``warehouse`` and ``ledger``."""
    others: Mapping[str, Runner] = field(default_factory=dict, repr=False)
    """Runners of all other destinations, by name."""

    def of(self, destination: str) -> Runner:
        """The runner of a destination. ConfigError if it is not set up."""
        if destination == self.destination:
            return self
        if destination not in self.others:
            raise no_destination(destination, (self.destination, *self.others))
        return self.others[destination]

    def with_system(self, system: System) -> Runner:
        """This runner, and those of the other destinations, with *system* in place of what it was."""
        others = {name: other.with_system(system) for name, other in self.others.items()}
        return replace(self, systems={**self.systems, system.name: system}, others=others)

    def run_for(self, feed: str, unit: Unit, options: RunOptions, *, verify_history: bool = True) -> Run | None:
        """The run that would load *unit*, or None if it is loaded: recorded done, by runs that history knows.

        A run that history does not know was lost with its database: its work is taken again, and the run's note says
        so. Without *verify_history* the ledger alone decides, which does not wake a database that is paused.
        """
        started = to_text(self.now())
        run = self._run_for(feed, unit, started, again=options.again, dry=options.dry_run)
        if run is not None or not verify_history:
            return run
        known = self.ledger.known(feed, [work.id for work in unit.work_items])
        lost = sorted({record.run for record in known.values() if self.warehouse.run(record.run) is None})
        if not lost:
            return None
        run = self._run_for(feed, unit, started, again=True, dry=options.dry_run)
        note = f"loaded again: the ledger says that run {', '.join(lost)} loaded it, but the warehouse has no such run"
        return replace(run, note=with_note(run.note, note)) if run else None

    def _run_for(self, feed: str, unit: Unit, started: str, *, again: bool, dry: bool) -> Run | None:
        return verbs.run_for(
            feed, unit, self.ledger, started, again=again, dry=dry, destination=self.destination
        )  # fmt: skip

    # -- the verbs

    def plan(self, run: Run, unit: Unit, source: Source) -> Plan:
        """Decide what *run* will read. Writes nothing. DataError or ConfigError if nothing of *unit* can be read."""
        system = self.systems[FeedName.parse(run.feed).system]
        with self._logged("plan", run) as step:
            stored = stored_if_needed(system, FeedName.parse(run.feed).table, self.warehouse)
            plan = verbs.plan(run, unit, source, system, stored)
            if plan.feed.hash and self.hash_key is None:
                raise missing_key(plan.feed)
            step.details.update(slices=len(plan.slices), rows=sum(part.rows for part in plan.slices))
        return plan

    def stage(
        self, plan: Plan, part: Slice, source: Source, on_rows: Callable[[int], None] = lambda rows: None
    ) -> Staged:
        """Read one slice into its staging table, replacing any earlier try. *on_rows* gets the rows of each batch."""
        since = self.timer()
        with self._logged("stage", plan.run) as step, leaving(source, part):
            privacy = Privacy(kept_out(self.keep_out_key, plan.feed.name, self.warehouse), self.hash_key)
            staged = verbs.stage(
                plan, part, source, self.warehouse, cursor_ahead=self.cursor_ahead, privacy=privacy, on_rows=on_rows
            )
            step.details.update(slice=part.number, rows=staged.rows, rejected=staged.rejected)
        return replace(staged, seconds=self.timer() - since)

    def merge(
        self, plan: Plan, staged: Mapping[int, Staged], faults: Mapping[int, Exception], options: RunOptions
    ) -> Merged:  # fmt: skip
        """Merge and publish what was staged, by slice number. *faults* are the slices that could not be staged.

        A part file with a DataError is left out, and the rest is merged as a delta. Any other fault is raised, and so
        is the first DataError if it leaves no part file.
        """
        wrong = {number: error for number, error in faults.items() if isinstance(error, DataError)}
        for number in sorted(faults.keys() - wrong.keys()):
            raise faults[number]
        plan, counting = since_last_start(plan, staged)
        kept, faulty = verbs.without_faulty_parts(plan, counting, wrong)
        share = plan.feed.max_delete_share if options.max_delete_share is None else options.max_delete_share
        rejects = plan.feed.max_reject_share if options.max_reject_share is None else options.max_reject_share
        limits = Limits(max_delete_share=share, max_reject_share=rejects, dry_run=options.dry_run)
        finished = to_text(self.now())
        with self._logged("publish", plan.run) as step:
            merged = verbs.publish(
                plan, kept, self.warehouse, self.ledger, limits=limits, finished=finished, faulty=faulty
            )
            step.run = merged.run
            step.details.update(rows=merged.run.read, inserted=merged.run.inserted, updated=merged.run.updated)
        return merged if options.dry_run else merged._replace(run=self._related(merged.run, plan.feed))

    def _related(self, run: Run, feed: Feed) -> Run:
        """*run*, with a note on references to keys that are not there, and on names that views lack, in history too."""
        texts = [] if run.kind == "keys" else list(self._renewed_views(feed))
        if feed.references and run.inserted + run.updated + run.undeleted:
            texts += [one.text for one in self.warehouse.orphans(feed, run.id)]
        new = [text for text in texts if text not in (run.note or "")]
        if not new:
            return run
        note = with_note(run.note, "; ".join(new))
        self.warehouse.annotate(run.id, note)
        return replace(run, note=note)

    def _renewed_views(self, feed: Feed) -> Iterator[str]:
        """Let the views that join names in follow the columns; what is lacking. Whatever goes wrong fails no load."""
        if not feed.references and not feed.display:
            return
        feeds = {one.name: one for system in self.systems.values() for one in system.feeds()}
        for view in relations.named_views(feed, feeds):
            try:
                lacking = self.warehouse.renew_view(view)
                yield from lacking if view.feed.name == feed.name else ()
            except Exception as error:  # noqa: BLE001 - the rows are loaded, and the next run tries again
                yield f"view {view.feed.name}{NAMED} could not be renewed: {error_text(error)}"

    def tidy(self, plan: Plan, *, dry_run: bool = False) -> None:
        """Drop the run's staging tables, and what a dry run rejected. Always the last step, after failures too."""
        with self._logged("tidy", plan.run):
            verbs.tidy(plan, self.warehouse, dry_run=dry_run)

    # -- failures

    def fail(
        self, run: Run, unit: Unit, error: Exception, *, plan: Plan | None = None, dry_run: bool = False
    ) -> Run:  # fmt: skip
        """The failed *run*, recorded as the module says. *plan*, once there is one, gives it its columns.

        A dry run is not recorded.
        """
        text = naming_setting(error_text(error), self.destination)
        _log.error("%s: run %s failed: %s", run.feed, run.id, text)
        known = replace(run, columns=plan.columns) if plan else run
        finished = to_text(self.now())
        if dry_run or isinstance(error, TransientError):
            return replace(known, status="failed", error=text, finished=finished)
        return verbs.fail(known, unit, text, self.warehouse, self.ledger, finished)

    def refuse(self, feed: str, unit: Unit, error: IngestError, *, dry_run: bool = False) -> Run:
        """The failed run of a unit that cannot be looked at: its files changed, or went, while they were named."""
        run = self._run_for(feed, unit, to_text(self.now()), again=True, dry=dry_run)
        assert run is not None  # noqa: S101 - again=True always gives a run
        return self.fail(run, unit, error, dry_run=dry_run)

    # -- all of it, in this process

    def run_unit(
        self, feed: str, unit: Unit, source: Source, options: RunOptions, *, place: str, progress: Progress
    ) -> Result:  # fmt: skip
        """Do one unit of work with all four verbs, none of them repeated. *place* is where it lies, for people."""
        table = FeedName.parse(feed).table
        run = self.run_for(feed, unit, options)
        if run is None:
            return self._result(table, place, skipped="already loaded (--again repeats it)")
        try:
            with self.warehouse.owned(run, lambda: self._stop_if_loaded(feed, unit, options)):
                return self._load(run, unit, source, options, place=place, progress=progress)
        except _LoadedMeanwhile:
            return self._result(table, place, skipped="loaded meanwhile by another process")

    def _stop_if_loaded(self, feed: str, unit: Unit, options: RunOptions) -> None:
        """What another process had begun may be done now. A repetition that was wished for finds its run done."""
        if not options.again and self.run_for(feed, unit, options, verify_history=False) is None:
            raise _LoadedMeanwhile

    def _load(
        self, run: Run, unit: Unit, source: Source, options: RunOptions, *, place: str, progress: Progress
    ) -> Result:  # fmt: skip
        table, since = FeedName.parse(run.feed).table, self.timer()
        plan: Plan | None = None
        staged: dict[int, Staged] = {}
        try:
            with self._counted(run, unit, place, options):
                plan = self.plan(run, unit, source)
                merged = self._stage_and_merge(plan, source, staged, options, progress)
        except _LoadedMeanwhile:
            raise
        except IngestError as error:
            failed = self.fail(run, unit, error, plan=plan, dry_run=options.dry_run)
            return self._result(table, place, run=failed, reasons=_reasons(staged))
        except Exception as error:
            self.fail(run, unit, error, plan=plan, dry_run=options.dry_run)
            raise
        finally:
            if plan is not None:
                self._tidy_if_possible(plan, options)
        expected = of_dry_run(self.timer() - since) if options.dry_run else None
        return self._result(
            table, place, run=merged.run, changes=merged.changes, reasons=_reasons(staged), forecast=expected
        )

    def _result(self, table: str, place: str, **outcome: Any) -> Result:
        return Result(table=table, place=place, destination=self.destination, **outcome)

    def _counted(self, run: Run, unit: Unit, place: str, options: RunOptions) -> AbstractContextManager[None]:
        if options.dry_run:
            return nullcontext()
        name = FeedName.parse(run.feed)
        if self.systems[name.system].is_pulled(name.table):
            return Starts.of_window(self.ledger, run.feed, unit).counted(anew=options.again)
        return Starts.of_file(self.ledger, run, place).counted(anew=options.again)

    def _stage_and_merge(
        self, plan: Plan, source: Source, staged: dict[int, Staged], options: RunOptions, progress: Progress
    ) -> Merged:
        """*staged* is filled with what became of each slice."""
        progress.start(plan.run.feed, sum(part.rows for part in plan.slices))
        faults = stage_all(plan, staged, lambda part: self.stage(plan, part, source, progress.rows))
        progress.phase(f"{plan.run.feed}: merging")
        return self.merge(plan, staged, faults, options)

    def _tidy_if_possible(self, plan: Plan, options: RunOptions) -> None:
        """A failure does not change the result: the next run of the feed cleans up."""
        try:
            self.tidy(plan, dry_run=options.dry_run)
        except IngestError as error:
            _log.warning("%s: run %s left its staging tables behind: %s", plan.run.feed, plan.run.id, error)

    @contextmanager
    def _logged(self, verb: str, run: Run) -> Iterator[Step]:
        """Log one line for a step, with its details, and count it."""
        step = Step(verb=verb, run=run, destination=self.destination, job=_JOB.get())
        since = self.timer()
        try:
            yield step
        except BaseException as error:
            step.error = type(error).__name__
            raise
        finally:
            step.seconds, step.finished = self.timer() - since, self.now()
            _log.info("%s", _line(step))
            self.telemetry.record(step)


def _line(step: Step) -> str:
    """What the log says of a step that is over."""
    details: dict[str, Any] = {"job": step.job} if step.job else {}
    if step.destination != MAIN:
        details["destination"] = step.destination
    text = " ".join(f"{name}={value}" for name, value in (details | step.details).items())
    outcome = f" {step.error}" if step.error else ""
    return f"{step.verb} feed={step.run.feed} run={step.run.id} {text} seconds={step.seconds:.2f}{outcome}"


@contextmanager
def log_job(job: str) -> Iterator[None]:
    """Name *job* in the lines that runners log in here."""
    token = _JOB.set(job)
    try:
        yield
    finally:
        _JOB.reset(token)


def _reasons(staged: Mapping[int, Staged]) -> dict[str, int]:
    """The commonest reasons for rejects of all slices."""
    counts: Counter[str] = Counter()
    for part in staged.values():
        counts.update(part.reasons)
    return dict(counts.most_common(MOST_REASONS))


def error_text(error: Exception) -> str:
    """*error* in one line. A bug is logged with its traceback, once."""
    if isinstance(error, (IngestError, Bug)):
        return str(error)
    _log.error("a step failed with an unexpected error", exc_info=error)
    return f"{type(error).__name__}: {error}"

"""The steps of a job over the Runner: each may run on another machine, late, and twice.

Each takes a request of shared.jobs.request as JSON and returns small JSON; what it leaves for the next step is in the
job's documents. A TransientError is for the host to repeat. What any other error means is for the Runner to say; it
becomes the outcome of the unit.
"""

from __future__ import annotations

import logging

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from shared.errors import ConfigError, IngestError, TransientError
from shared.ids import plain_name
from shared.jobs import destinations, fatal, summary, tables
from shared.jobs.documents import SliceResults, UnitDocuments, UnitState
from shared.jobs.erasures import erase_named
from shared.jobs.events import collect_units
from shared.jobs.faults import as_error, as_fault
from shared.jobs.feed_state import FeedStates
from shared.jobs.leases import Holder, Lease
from shared.jobs.reports import alert_of_unit
from shared.jobs.request import (
    ArchivedFiles,
    FailedSlice,
    FailedUnit,
    FinishRequest,
    JobRequest,
    NotifiedFiles,
    ObjectEvents,
    PullFeed,
    PullSystem,
    SliceRequest,
    SliceResult,
    TakeTable,
    UnitOutcome,
    UnitRequest,
    files_of,
    short,
)
from shared.jobs.run_log import record_unit
from shared.jobs.work import FoundUnit, Skipped, Unreadable
from shared.model import FeedName, Plan, Run, Staged, from_json
from shared.pipeline import pull
from shared.pipeline.pieces import rests
from shared.pipeline.runner import Runner, RunOptions, error_text, log_job
from shared.sources import KINDS, Source

if TYPE_CHECKING:
    from shared.app import App

_log = logging.getLogger("sluice")

ActivityResult: TypeAlias = dict[str, Any]
"""What an orchestration sees of a step: JSON, small."""
_ENDED: ActivityResult = {"status": "ended"}
"""For a step that was delivered once more after its job had ended, or had lost its lease."""


def run_activity(app: App, name: str, request: Mapping[str, Any]) -> ActivityResult:
    """Do one of ``shared.jobs.orchestrations.ACTIVITIES``. What is logged meanwhile names the job."""
    activity = _ACTIVITIES[name]
    with log_job(request["job"]):
        known = from_json(activity.takes, request)
        return activity.run(app.resolved_where_possible(_systems(known)), known)


def _systems(request: JobRequest) -> list[str]:
    """The system whose tables have to be known. Planning says why they are not, if they cannot be looked up."""
    if isinstance(request.work, PullSystem):
        return [request.work.system]
    return [FeedName.parse(request.work.feed).system] if isinstance(request.work, PullFeed) else []


def open_units(app: App, request: JobRequest) -> ActivityResult:
    """How many units a notification, an archive or what events named has, and what it is about."""
    if isinstance(request.work, ObjectEvents):
        return {} if summary.has_ended(app, request) else collect_units(app.documents, request)
    assert isinstance(request.work, NotifiedFiles | ArchivedFiles)  # noqa: S101 - no other work has this step
    try:
        units, what = destinations.opener(app, request).count(request.work)
    except ConfigError as error:  # delivered once more after the job had ended
        return {**_ENDED, "error": str(error)}
    return {"units": units, "what": what}


def plan(app: App, request: UnitRequest) -> ActivityResult:
    """Decide what the unit reads: the number of its slices; or its outcome, if there is nothing to read."""
    documents = UnitDocuments(app.documents, request)
    try:
        state = _plan(app, request, documents)
    except Skipped as skipped:
        state = documents.add(UnitState(outcome=destinations.in_destination(request, UnitOutcome(
            status=skipped.status, skipped=str(skipped), feed=skipped.feed, place=short(skipped.place),
            retryable=skipped.retryable,
        ))))  # fmt: skip
    if state.plan is not None:
        same = {"same": True} if destinations.is_alike(app, request, state.plan) else {}
        return {"slices": len(state.plan.slices), **same, **destinations.others(app, request, state.plan.run.feed)}
    return (
        {**state.outcome.to_json(), **destinations.others(app, request, state.outcome.feed)}
        if state.outcome
        else _ENDED
    )


def stage(app: App, request: SliceRequest) -> ActivityResult:
    """Stage one slice of the unit. What became of it is for ``publish`` to read; ``next`` is the number of its rest."""
    begun = destinations.begun(app, request)
    if begun is None:
        return _ENDED
    result = None
    if begun.tries:
        source = destinations.source_of(app, request, begun.plan)
        result = destinations.stage_together(request, begun.tries, source, lambda one, reader: _try(app, one, reader))
    if result is None and KINDS[begun.plan.feed.source].in_pieces:  # it was staged before
        result = UnitDocuments(app.documents, request).result(request.slice)
    rest = result.staged.next if result and result.staged else None
    return {"status": "fault" if result and result.fault else "staged", **({"next": rest.number} if rest else {})}


def _try(app: App, one: destinations.Try, source: Source) -> SliceResult:
    try:
        result = SliceResult(staged=_stage(app, one, source))
    except TransientError:
        one.documents.forget(one.start)
        raise
    except Exception as error:  # noqa: BLE001 - what it means for the unit is for `publish` to say
        result = SliceResult(fault=as_fault(error))
    one.documents.end(one.start, result)
    return result


def record_failure(app: App, request: FailedSlice) -> ActivityResult:
    """Keep, for ``publish`` to report, why a slice could not be staged."""
    UnitDocuments(app.documents, request).miss(request.slice, short(request.error))
    return {}


def publish(app: App, request: UnitRequest) -> ActivityResult:
    """Merge what was staged, or say why that cannot be: the outcome of the unit.

    Cleans up at once; ``tidied`` says whether that succeeded.
    """
    documents = UnitDocuments(app.documents, request)
    state = documents.read()
    if state is None:
        return _ENDED
    if state.outcome is not None:
        names = documents.slice_names()
        return {**state.outcome.to_json(), "tidied": _is_tidied(app, request, documents, state, names)}
    assert state.plan is not None  # noqa: S101 - a unit without an outcome has a plan
    slices = documents.results(state.plan)
    outcome, run = _merge(app, request, state.plan, slices)
    outcome = destinations.in_destination(request, outcome)
    record_unit(app, request, outcome, plan=state.plan, run=run, slices=slices.by_number)
    documents.put(replace(state, outcome=outcome))
    if outcome.status == "failed":
        alert_of_unit(app, request, outcome, run)
    return {**outcome.to_json(), "tidied": _is_tidied(app, request, documents, state, slices.names)}


def fail(app: App, request: FailedUnit) -> ActivityResult:
    """The outcome of a unit one of whose steps failed too often. Its work remains to be done."""
    documents = UnitDocuments(app.documents, request)
    state = documents.read() or UnitState()
    if state.outcome is not None:
        return state.outcome.to_json()
    run = state.plan.run if state.plan else None
    feed, place = (run.feed, files_of(run)) if run else destinations.open_work(app, request).describe(request.unit)
    outcome = destinations.in_destination(request, UnitOutcome(
        status="failed", feed=feed, place=short(place), error=short(request.error), retryable=True,
    ))  # fmt: skip
    record_unit(app, request, outcome, plan=state.plan)
    documents.put(replace(state, outcome=outcome))
    alert_of_unit(app, request, outcome, None)
    return outcome.to_json()


def tidy(app: App, request: UnitRequest) -> ActivityResult:
    """Drop the unit's staging tables, give its lease back, and remove the documents of its slices."""
    documents = UnitDocuments(app.documents, request)
    state = documents.read()
    if state is not None:
        _tidy(app, request, state)
        documents.remove(documents.slice_names())
    return {}


# -- plan


def _plan(app: App, request: UnitRequest, documents: UnitDocuments) -> UnitState:
    if isinstance(request.work, PullFeed):
        if summary.has_ended(app, request):  # a lease that is acquired now would never be released
            return UnitState()
        _begin_sync(app, request, request.work)
    try:
        erase_named(app, request)
        alike = destinations.plan_of_first(app, request)
        found = destinations.find(app, request) if alike is None else destinations.found_by_first(alike)
        run = _run_for(app, request, found)
    except (TransientError, Skipped):
        raise
    except Exception as error:  # noqa: BLE001 - whatever failed it, the unit has failed
        # What another delivery of this step decided before stands: the source may have changed meanwhile.
        return documents.read() or _refuse(app, request, documents, error)
    holder = _acquire(app, documents, request, run, found)
    if holder.former:
        documents.inherit(holder.former)
    lease = _lease(app, request, run)
    run = replace(run, started=request.started)
    try:
        fatal.refuse_window(app, request, run.feed, found.unit)
        planned = replace(alike, run=run) if alike else _runner(app, request, run).plan(run, found.unit, found.source)
    except TransientError:
        lease.release(holder)
        raise
    except Exception as error:  # noqa: BLE001 - whatever failed it, the run has failed
        state = documents.read() or _fail_run(app, request, documents, found, run, error)
    else:
        state = documents.add(UnitState(plan=planned, holder=holder))
    if state.plan is None or state.outcome is not None or not lease.is_same(_lease(app, request, state.plan.run)):
        lease.release(holder)
    return state


def _runner(app: App, request: UnitRequest, run: Run) -> Runner:
    return destinations.runner_of(app, request, run.feed)


def _begin_sync(app: App, request: UnitRequest, work: PullFeed) -> None:
    if work.keys or request.destination:  # keys: once they have their lease, as they are skipped during a sync
        return
    FeedStates(app.documents).record_sync(work.feed, request.started)
    if request.unit == 0:
        name = FeedName.parse(work.feed)
        app.apply_last_values(name.system, [name.table])


def _run_for(app: App, request: UnitRequest, found: FoundUnit) -> Run:
    """The run that loads what was found. Skipped if its feed is paused, or if all of it is loaded."""
    if FeedStates(app.documents).paused(found.feed):
        raise Skipped(found.feed, found.place, "its feed is paused", retryable=True)
    # Only for a person's request is the warehouse queried: a query resumes a paused database, which costs.
    run = destinations.run_for(app, request, found)
    if run is None:
        raise Skipped(found.feed, found.place, "already loaded")
    return run


def _acquire(app: App, documents: UnitDocuments, request: UnitRequest, run: Run, found: FoundUnit) -> Holder:
    mine = Holder.of(request, documents.name)
    holder = _lease(app, request, run).acquire(mine, app.now().timestamp(), app.settings.stuck_after)
    if not holder.is_same(mine):
        raise Skipped(found.feed, found.place, f"job {holder.job} is already running it", retryable=True)
    if isinstance(request.work, PullFeed) and request.work.keys:
        FeedStates(app.documents).record_comparison(request.work.feed, request.started)
    return holder


def _lease(app: App, request: UnitRequest, run: Run) -> Lease:
    """The lease of the run, or of its feed if that is pulled."""
    if not isinstance(request.work, PullFeed):
        return Lease(app.documents, run.id)
    return Lease(app.documents, plain_name(destinations.name_of_lease(app, request, run.feed)))


def _refuse(app: App, request: UnitRequest, documents: UnitDocuments, error: Exception) -> UnitState:
    """The state of a unit that could not be found out about."""
    if isinstance(error, Unreadable):
        run = destinations.runner_of(app, request, error.feed).refuse(error.feed, error.unit, error.error)
        return _keep_failure(app, request, documents, UnitOutcome.of_run(run), run)
    feed, place = destinations.open_work(app, request).describe(request.unit)
    outcome = UnitOutcome(status="failed", feed=feed, place=short(place), error=short(error_text(error)))
    return _keep_failure(app, request, documents, outcome, None)


def _fail_run(
    app: App, request: UnitRequest, documents: UnitDocuments, found: FoundUnit, run: Run, error: Exception
) -> UnitState:  # fmt: skip
    failed = _runner(app, request, run).fail(run, found.unit, error)
    return _keep_failure(app, request, documents, UnitOutcome.of_run(failed), failed)


def _keep_failure(
    app: App, request: UnitRequest, documents: UnitDocuments, outcome: UnitOutcome, run: Run | None
) -> UnitState:  # fmt: skip
    named = destinations.in_destination(request, outcome)
    state = documents.add(UnitState(outcome=named))
    if state.outcome == named:
        record_unit(app, request, named, run=run)
        alert_of_unit(app, request, named, run)
    return state


# -- stage


def _stage(app: App, one: destinations.Try, source: Source) -> Staged:
    fatal.refuse_slice(app, one.request, one.plan, one.part, one.start.starts)
    staged = destinations.runner_of(app, one.request, one.plan.run.feed).stage(one.plan, one.part, source)
    if staged.next is not None and (state := one.documents.read()) and state.holder:
        _lease(app, one.request, one.plan.run).renew(state.holder, app.now().timestamp())
    return staged


# -- publish and tidy


def _merge(
    app: App, request: UnitRequest, plan: Plan, slices: SliceResults
) -> tuple[UnitOutcome, Run | None]:  # fmt: skip
    """The outcome of merging, and the run unless some slices are missing."""
    known = slices.by_number
    staged = {number: one.staged for number, one in known.items() if one.staged is not None}
    faults = {number: as_error(one.fault) for number, one in known.items() if one.fault is not None}
    if missing := len(plan.slices) + len(rests(staged)) - len(staged) - len(faults):
        reason = next((one.missed for one in known.values() if one.missed is not None), "no error was recorded")
        error = f"{missing} of its slices could not be staged: {reason}"
        return _unfinished(plan.run, error), None
    try:
        run = _runner(app, request, plan.run).merge(plan, staged, faults, _options(request, plan.run.feed)).run
    except TransientError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever failed it, the run has failed
        failed = _runner(app, request, plan.run).fail(plan.run, plan.unit, error, plan=plan)
        return UnitOutcome.of_run(failed), failed
    idle = isinstance(request.work, PullFeed | ObjectEvents) and not pull.has_news(run)
    if not idle or isinstance(request.work, PullFeed):
        FeedStates(app.documents).record_data(run)
    return UnitOutcome.of_run(run, more=_has_more(app, request, plan), done="no news" if idle else "done"), run


def _unfinished(run: Run, error: str) -> UnitOutcome:
    return UnitOutcome(status="failed", feed=run.feed, place=files_of(run), error=error, retryable=True)


def _has_more(app: App, request: UnitRequest, plan: Plan) -> bool:
    """Whether the next window is to be read. One all of whose rows were rejected would be read again for ever."""
    seen = plan.unit.seen
    if not plan.unit.more or seen is None:
        return False
    now = _runner(app, request, plan.run).ledger.watermark(plan.run.feed)
    return (seen.value, seen.type) != (now.value, now.type)


def _options(request: JobRequest, feed: str) -> RunOptions:
    """A person's limit holds for the one feed that it was given for."""
    return RunOptions(max_delete_share=request.max_delete_share if request.requested_by == feed else None)


def _is_tidied(
    app: App, request: UnitRequest, documents: UnitDocuments, state: UnitState, slice_names: Iterable[str]
) -> bool:
    """Clean up, and say whether that succeeded: if not, there is a step for it that is repeated."""
    try:
        _tidy(app, request, state)
        documents.remove(slice_names)
    except IngestError as error:
        _log.warning("the unit is not cleaned up yet: %s", error)
        return False
    return True


def _tidy(app: App, request: UnitRequest, state: UnitState) -> None:
    if state.plan is None or state.holder is None:
        return
    with _lease(app, request, state.plan.run).ending(state.holder) as is_held:
        if is_held:
            _runner(app, request, state.plan.run).tidy(state.plan)


# -- all of them


class _Activity(NamedTuple):
    takes: type[JobRequest]
    run: Callable[[App, Any], ActivityResult]


_ACTIVITIES: Mapping[str, _Activity] = {
    "open_units": _Activity(JobRequest, open_units),
    "plan": _Activity(UnitRequest, plan),
    "stage": _Activity(SliceRequest, stage),
    "record_failure": _Activity(FailedSlice, record_failure),
    "publish": _Activity(UnitRequest, publish),
    "fail": _Activity(FailedUnit, fail),
    "tidy": _Activity(UnitRequest, tidy),
    "open_tables": _Activity(JobRequest, tables.open_tables),
    "take_table": _Activity(TakeTable, tables.take_table),
    "finish_table": _Activity(FinishRequest, tables.finish_table),
    "finish": _Activity(FinishRequest, summary.finish),
}

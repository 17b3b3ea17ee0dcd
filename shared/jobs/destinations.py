"""The destinations of a unit of a job: which one a request is about, and what several of them do together."""

from __future__ import annotations

import contextvars
import logging

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from shared.errors import ConfigError, TransientError
from shared.jobs.documents import DocumentedCuts, SliceStart, UnitDocuments
from shared.jobs.request import (
    JobRequest,
    PullFeed,
    SliceRequest,
    SliceResult,
    UnitOutcome,
    UnitRequest,
    files_of,
    short,
)
from shared.jobs.work import FoundUnit, OpenWork, WorkOpener
from shared.ledger import Ledger
from shared.ledger.of_destination import name_in_ledger
from shared.model import MAIN, Plan, Run, Slice, Unit
from shared.pipeline import pull
from shared.pipeline.destinations import destinations_of
from shared.pipeline.pieces import InPieces
from shared.pipeline.runner import Runner, RunOptions
from shared.pipeline.shared_read import SharedSource
from shared.sources import KINDS, Described, Source

if TYPE_CHECKING:
    from shared.app import App

_log = logging.getLogger("sluice")


def runner_of(app: App, request: UnitRequest, feed: str) -> Runner:
    """The runner of the destination that *request* is about. ConfigError if it is not set up."""
    runner = app.runner
    return runner.of(request.destination or destinations_of(runner, feed)[0])


def _ledger_to_read(app: App, request: JobRequest) -> Ledger:
    """Where the watermark of a pull feed is. That a destination is not set up is for ``run_for`` to say."""
    if not isinstance(request.work, PullFeed) or not isinstance(request, UnitRequest):
        return app.ledger
    try:
        return runner_of(app, request, request.work.feed).ledger
    except ConfigError:
        return app.ledger


def others(app: App, request: UnitRequest, feed: str | None) -> dict[str, list[str]]:
    """The destinations of the feed but the first, as ``others``, for the step that plans the first; or nothing."""
    if feed is None or request.destination is not None:
        return {}
    found = list(destinations_of(app.runner, feed)[1:])
    return {"others": found} if found else {}


def run_for(app: App, request: UnitRequest, found: FoundUnit) -> Run | None:
    """The run that would load what was found; None if it is loaded.

    Only for a person's request is the warehouse queried: a query resumes a paused database, which costs.
    """
    runner = runner_of(app, request, found.feed)
    try:
        return runner.run_for(found.feed, found.unit, RunOptions(), verify_history=request.requested_by is not None)
    except TransientError:
        if not others(app, replace(request, destination=None), found.feed):
            raise
        # A destination that is down does not keep the others from being planned.
        return runner.run_for(found.feed, found.unit, RunOptions(), verify_history=False)


# -- what it reads


def opener(app: App, request: JobRequest) -> WorkOpener:
    return WorkOpener(
        settings=app.settings, systems=app.systems, documents=app.documents, now=app.now,
        ledger=_ledger_to_read(app, request), resolve=lambda name: app.resolved(name).systems[name],
    )  # fmt: skip


def open_work(app: App, request: JobRequest) -> OpenWork:
    return opener(app, request).open(request.work)


def find(app: App, request: UnitRequest) -> FoundUnit:
    """What the unit is now, see OpenWork."""
    found = open_work(app, request).find(request.unit, request.started)
    return found._replace(unit=_not_beyond_others(app, request, found.unit))


def found_by_first(plan: Plan) -> FoundUnit:
    """What the first destination has found: its slices are known, so that the source is not read to plan it."""
    return FoundUnit(plan.run.feed, plan.unit, _Closed(NotImplementedError()), files_of(plan.run))


def source_of(app: App, request: UnitRequest, plan: Plan) -> Source:
    """Where the slices of the unit are read. If it cannot be opened, the error comes from reading it."""
    try:
        source = open_work(app, request).source(request.unit)
        if not KINDS[plan.feed.source].in_pieces or plan.unit.files:  # objects that events named are few
            return source
        cuts = DocumentedCuts(app.documents, request)
        return InPieces(source, app.settings.sync_step, app.runner.timer, cuts)
    except Exception as error:  # noqa: BLE001 - what it means is decided for each slice
        return _Closed(error)


class _Closed:
    """In place of a source that cannot be read, or need not be."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def describe(self, unit: Unit) -> Described:
        raise self._error

    def read(self, part: Slice) -> Iterator[Any]:
        raise self._error


def name_of_lease(app: App, request: UnitRequest, feed: str) -> str:
    """What a pull feed is called by leases: each destination has one of its own."""
    return name_in_ledger(feed, request.destination or destinations_of(app.runner, feed)[0])


def in_destination(request: UnitRequest, outcome: UnitOutcome) -> UnitOutcome:
    """*outcome*, naming the destination that it is about unless that is the first of its feed."""
    if request.destination is None or outcome.destination is not None:
        return outcome
    error = None if outcome.error is None else short(f"in {request.destination}: {outcome.error}")
    return replace(outcome, destination=request.destination, error=error)


# -- planning the same


def plan_of_first(app: App, request: UnitRequest) -> Plan | None:
    """What the first destination has planned of the unit, if *request* is about another one that can do the same.

    Of a pull feed: if both are at the same watermark.
    """
    if request.destination is None:
        return None
    state = UnitDocuments(app.documents, replace(request, destination=None)).read()
    if state is None or state.plan is None:
        return None
    seen = state.plan.unit.seen
    if seen is None:
        return state.plan
    mark = runner_of(app, request, state.plan.run.feed).ledger.watermark(state.plan.run.feed)
    if pull.place_of(mark) != pull.place_of(seen):
        return None
    return replace(state.plan, unit=replace(state.plan.unit, seen=mark, note=mark.note))


def is_alike(app: App, request: UnitRequest, plan: Plan) -> bool:
    """Whether the first destination reads the same as *plan*, which is of another one."""
    if request.destination is None:
        return False
    state = UnitDocuments(app.documents, replace(request, destination=None)).read()
    if state is None or state.plan is None:
        return False
    first = state.plan
    return (first.unit.work_items, first.slices, first.columns) == (plan.unit.work_items, plan.slices, plan.columns)


def _not_beyond_others(app: App, request: UnitRequest, unit: Unit) -> Unit:
    """A window of a pull feed, which ends where the destinations that are ahead have ended.

    So they meet there, and read together from then on.
    """
    if not isinstance(request.work, PullFeed) or unit.window is None or unit.seen is None:
        return unit
    runner, feed = app.runner, request.work.feed
    if len(destinations_of(runner, feed)) < 2:
        return unit
    mine = pull.place_of(unit.seen)
    own = runner_of(app, request, feed)
    for name in destinations_of(runner, feed):
        if name != own.destination and (name == MAIN or name in runner.others):
            mark = runner.of(name).ledger.watermark(feed)
            if pull.compared(pull.place_of(mark), mine) > 0:
                return pull.up_to(feed, unit, mark)
    return unit


# -- staging together


class Try(NamedTuple):
    """A try at a slice in one destination, which has begun."""

    request: SliceRequest
    documents: UnitDocuments
    plan: Plan
    part: Slice
    start: SliceStart


class Begun(NamedTuple):
    """The tries at a slice that begin."""

    plan: Plan
    """Of the destination that the request is about."""
    tries: Sequence[Try]
    """In each destination of the request that wants the slice."""


def begun(app: App, request: SliceRequest) -> Begun | None:
    """The tries that begin; None if the unit of the destination that *request* is about has ended."""
    tries: list[Try] = []
    own: tuple[Plan, Slice] | None = None
    for name in (request.destination, *request.beside):
        one = replace(request, destination=name, beside=())
        documents = UnitDocuments(app.documents, one)
        state = documents.read()
        plan = state.plan if state is not None and state.outcome is None else None
        part = documents.slice(plan, request.slice) if plan is not None else None
        if plan is not None and part is not None and name == request.destination:
            own = plan, part
        if own is None:
            return None
        if plan is None or part != own[1]:  # one whose slice was cut elsewhere stages it by itself
            continue
        # To stage a slice again that is staged would drop its table, perhaps while it is merged.
        start = documents.begin(request.slice)
        if start is not None:
            tries.append(Try(one, documents, plan, own[1], start))
    return Begun(own[0], tries) if own else None


def stage_together(
    request: SliceRequest, tries: Sequence[Try], source: Source, stage: Callable[[Try, Source], SliceResult]
) -> SliceResult | None:
    """*stage* each try, and what it returned for the destination that *request* is about; what it raised, is raised.

    None if there is no try for that one. What it raises for another one is left to a step of that one's own.
    """
    if len(tries) == 1:
        results = [_result_of(lambda: stage(tries[0], source))]
    else:
        shared = SharedSource(source)
        readers = [shared.reader() for _ in tries]

        def run(number: int) -> SliceResult:
            try:
                return stage(tries[number], readers[number])
            finally:
                readers[number].close()

        with ThreadPoolExecutor(len(tries) or 1, thread_name_prefix="destination") as pool:
            running = [pool.submit(contextvars.copy_context().run, run, number) for number in range(len(tries))]
        results = [_result_of(one.result) for one in running]
    own: SliceResult | None = None
    for one, result in zip(tries, results, strict=True):
        if one.request.destination == request.destination:
            if isinstance(result, Exception):
                raise result
            own = result
        elif isinstance(result, Exception):
            _log.warning("a slice is not staged in %s yet: %s", one.request.destination, result)
    return own


def _result_of(call: Callable[[], SliceResult]) -> SliceResult | Exception:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - whose it is decides what it means
        return error

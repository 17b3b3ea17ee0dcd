"""The documents of one unit of a job: what it reads, what became of each slice, its outcome."""

from __future__ import annotations

import dataclasses
import json

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import NamedTuple, TypeVar

from shared.documents import Documents, to_json
from shared.jobs.leases import Holder
from shared.jobs.request import FinishRequest, JobRequest, SliceResult, UnitOutcome, UnitRequest
from shared.model import Plan, Slice, from_json
from shared.sources import KINDS

T = TypeVar("T")
R = TypeVar("R")
_AT_ONCE = 8
_UNIT = "/unit"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitState:
    """What is decided of a unit."""

    plan: Plan | None = None
    holder: Holder | None = None
    """Who has the lease of the plan's run."""
    outcome: UnitOutcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Where a slice was cut."""

    at: Slice | str


class SliceStart(NamedTuple):
    """A try at a slice that has begun."""

    name: str
    """Of the document that is empty until the try ends."""
    starts: int
    """How many tries have begun without an end, this one included."""


class SliceResults(NamedTuple):
    """What is known of the slices of a unit."""

    by_number: Mapping[int, SliceResult]
    """Without those of which nothing is known."""
    names: list[str]
    """Of the documents that say so."""


class UnitDocuments:
    """Of several writers of a document the first one wins, so a step that runs twice leaves what it left at first.

    ``jobs/<job>/<started>/<unit>/unit``, or ``<table>/<unit>/unit`` of a system, with ``<unit>@<destination>`` for all
    but the first destination of a feed, is removed from under a job that loses
    its lease: whatever step of it comes later finds nothing and does nothing. ``.../slice/<number>/<try>`` is empty
    from the start of a try until its end.
    """

    def __init__(self, documents: Documents, request: UnitRequest) -> None:
        self._documents, self._folder = documents, f"{folder_of(request)}{_numbered(request)}"

    @property
    def name(self) -> str:
        """Of the document with the unit's state."""
        return f"{self._folder}{_UNIT}"

    @classmethod
    def of_table(
        cls, documents: Documents, request: FinishRequest, destination: str | None = None
    ) -> UnitDocuments:  # fmt: skip
        """Those of a table of a system, which is a unit of the job, as its windows are units of the table."""
        assert request.table is not None  # noqa: S101 - it is about a table
        fields = {one.name: getattr(request, one.name) for one in dataclasses.fields(JobRequest)}
        return cls(documents, UnitRequest(**{**fields, "table": None}, unit=request.table, destination=destination))

    def read(self) -> UnitState | None:
        """What is decided; None before the unit is planned, once its job is over, and if the job lost its lease."""
        return _read(self._documents, self.name, UnitState)

    def add(self, state: UnitState) -> UnitState:
        """Keep *state* unless something was decided before, and return what is kept."""
        if self._documents.add(self.name, to_json(asdict(state))):
            return state
        return self.read() or state

    def put(self, state: UnitState) -> None:
        """Keep *state*, which adds an outcome to what was decided before."""
        self._documents.put(self.name, to_json(asdict(state)))

    def begin(self, number: int) -> SliceStart | None:
        """Note that a try at a slice begins; None if it is known what became of the slice."""
        start = SliceStart(self._try(number, 1), 1)
        while not self._documents.add(start.name, b""):
            names = self._names(number)
            if any(self._result(name) for name in names):
                return None
            last = max((int(name.rpartition("/")[2]) for name in names), default=0)
            start = SliceStart(self._try(number, last + 1), len(names) + 1)
        return start

    def end(self, start: SliceStart, result: SliceResult) -> None:
        """Keep what became of a try."""
        self._documents.put(start.name, to_json(asdict(result)))

    def forget(self, start: SliceStart) -> None:
        """Forget a try that ended in nothing, for another one to follow."""
        self._documents.delete(start.name)

    def inherit(self, former: str) -> None:
        """Count the tries that have no end in the documents of a *former* holder of the lease, by name of its state."""
        former_folder = former.removesuffix(_UNIT)
        for entry in self._documents.entries(f"{former_folder}/slice/"):
            if not self._documents.get(entry.name):
                self._documents.add(f"{self._folder}{entry.name.removeprefix(former_folder)}", b"")

    def miss(self, number: int, error: str) -> None:
        """Keep why a slice could not be staged, however often it was tried."""
        self._documents.add(f"{self._slice(number)}missed", to_json(asdict(SliceResult(missed=error))))

    def result(self, number: int) -> SliceResult | None:
        """What became of a slice; None if that is not known."""
        return self._outcome_of(number)[0]

    def slice(self, plan: Plan, number: int) -> Slice | None:
        """A slice of *plan*, or what is left of the one before *number*; None if nothing is."""
        if number < len(plan.slices):
            return plan.slices[number]
        before = self.result(number - 1)
        return before.staged.next if before and before.staged else None

    def results(self, plan: Plan) -> SliceResults:
        """What became of the slices of *plan*, and of the pieces that they were cut into."""
        found = _together(self._outcome_of, range(len(plan.slices)))
        while (last := found[-1][0] if found else None) and last.staged and last.staged.next:
            found.append(self._outcome_of(last.staged.next.number))
        by_number = {number: result for number, (result, _) in enumerate(found) if result is not None}
        cuts = (
            [self.cut(number) for number in range(len(found))]
            if KINDS[plan.feed.source].in_pieces and not plan.unit.files
            else []
        )
        return SliceResults(by_number, [*(name for _, names in found for name in names), *cuts])

    def remove(self, names: Iterable[str]) -> None:
        """Remove documents of slices."""
        _together(self._documents.delete, list(names))

    def slice_names(self) -> Iterator[str]:
        """The documents of all slices, and those that say where they were cut."""
        for folder in ("slice", "cut"):
            yield from (entry.name for entry in self._documents.entries(f"{self._folder}/{folder}/"))

    def cut(self, number: int) -> str:
        """Name of the document that says where a slice was cut."""
        return f"{self._folder}/cut/{number}"

    def _outcome_of(self, number: int) -> tuple[SliceResult | None, list[str]]:
        first = self._try(number, 1)
        if (result := self._result(first)) is not None:
            return result, [first]
        names = self._names(number)
        known = [one for one in map(self._result, names) if one is not None]
        ended = [one for one in known if one.missed is None]
        return next(iter([*ended, *known]), None), names

    def _names(self, number: int) -> list[str]:
        return [entry.name for entry in self._documents.entries(self._slice(number))]

    def _result(self, name: str) -> SliceResult | None:
        content = self._documents.get(name)
        return from_json(SliceResult, json.loads(content)) if content else None

    def _slice(self, number: int) -> str:
        return f"{self._folder}/slice/{number}/"

    def _try(self, number: int, count: int) -> str:
        return f"{self._slice(number)}{count}"


class DocumentedCuts:
    """Where the slices of a unit were cut (shared.pipeline.pieces.Cuts): ``.../cut/<number>``, the first one wins."""

    def __init__(self, documents: Documents, request: UnitRequest) -> None:
        self._documents, self._unit = documents, UnitDocuments(documents, request)

    def known(self, part: Slice) -> Slice | str | None:
        content = self._documents.get(self._unit.cut(part.number))
        return None if content is None else from_json(Cut, json.loads(content)).at

    def decide(self, part: Slice, rest: Slice | str) -> Slice | str:
        self._documents.add(self._unit.cut(part.number), to_json(asdict(Cut(at=rest))))
        return self.known(part) or rest


class TableDocuments:
    """The tables of a system in one job, and which lane has taken which. In both the first writer wins."""

    def __init__(self, documents: Documents, request: JobRequest) -> None:
        self._documents, self._folder = documents, _job_folder(request)

    def add(self, feeds: Sequence[str]) -> list[str]:
        """Keep the feeds of the job, by number of their tables, and return those that are kept."""
        self._documents.add(f"{self._folder}tables", to_json(list(feeds)))
        return self.read()

    def read(self) -> list[str]:
        """The feeds, by number of their tables; none once the job has ended."""
        content = self._documents.get(f"{self._folder}tables")
        return [] if content is None else from_json(list[str], json.loads(content))

    def take(self, number: int, lane: int) -> bool:
        """Whether a table is the lane's: it takes the table, or has taken it before."""
        name, mine = self._taken(number), str(lane).encode()
        return self._documents.add(name, mine) or self._documents.get(name) == mine

    def is_taken(self, number: int) -> bool:
        """Whether a lane has taken the table, and the job has not ended."""
        return self._documents.get(self._taken(number)) is not None

    def _taken(self, number: int) -> str:
        return f"{self._folder}taken/{number}"


def folder_of(request: JobRequest) -> str:
    """Where the documents of one execution of a job are; those of a table have a folder of their own below it."""
    return _job_folder(request) if request.table is None else f"{_job_folder(request)}{request.table}/"


def _job_folder(request: JobRequest) -> str:
    return f"jobs/{request.job}/{request.started}/"


def outcomes(documents: Documents, request: JobRequest, units: Iterable[int]) -> dict[int, UnitOutcome]:
    """The outcomes of those *units* of a job that are decided, by number."""
    numbers = list(units)
    names = [f"{folder_of(request)}{number}{_UNIT}" for number in numbers]
    found = zip(numbers, _together(lambda name: _read(documents, name, UnitState), names), strict=True)
    return {number: state.outcome for number, state in found if state is not None and state.outcome is not None}


def outcomes_of_others(documents: Documents, request: JobRequest) -> dict[tuple[int, str], UnitOutcome]:
    """The outcomes of units in all but the first destinations of their feeds, by number and destination."""
    folder = folder_of(request)
    names = {entry.name: entry.name.removeprefix(folder).split("/") for entry in documents.entries(folder)}
    wanted = {name: _place(parts[0]) for name, parts in names.items() if len(parts) == 2 and "@" in parts[0]}
    states = _together(lambda name: _read(documents, name, UnitState), wanted)
    found = zip(wanted.values(), states, strict=True)
    return {place: state.outcome for place, state in sorted(found) if state is not None and state.outcome is not None}


def _numbered(request: UnitRequest) -> str:
    return f"{request.unit}" if request.destination is None else f"{request.unit}@{request.destination}"


def _place(name: str) -> tuple[int, str]:
    """
    >>> _place("3"), _place("3@lake")
    ((3, ''), (3, 'lake'))
    """
    number, _, destination = name.partition("@")
    return int(number), destination


def latest_outcomes(documents: Documents, job: str) -> list[UnitOutcome]:
    """The outcomes that are decided so far of the latest execution of a job, by number of their units.

    Of a table of a system that is still read: those of its windows.
    """
    folder = f"jobs/{job}/"
    names = [entry.name for entry in documents.entries(folder) if entry.name.endswith(_UNIT)]
    executions: dict[str, dict[tuple[tuple[int, str], ...], str]] = {}
    for name in names:
        started, *numbers, _ = name.removeprefix(folder).split("/")
        executions.setdefault(started, {})[tuple(map(_place, numbers))] = name
    # What an earlier execution left behind, which was terminated before it could clean up, is older.
    latest = executions[max(executions)] if executions else {}
    shown = [latest[key] for key in sorted(latest) if len(key) == 1 or key[:1] not in latest]
    states = _together(lambda name: _read(documents, name, UnitState), shown)
    return [state.outcome for state in states if state is not None and state.outcome is not None]


def job_loading(documents: Documents, feed: str, since: float) -> str | None:
    """A job that does a run of *feed*, and got the lease for that later than *since* (seconds since 1970)."""
    for entry in documents.entries("leases/"):
        holder = _read(documents, entry.name, Holder)
        state = _read(documents, holder.document, UnitState) if holder and holder.since > since else None
        if holder and state and state.plan and state.plan.feed.name == feed and state.outcome is None:
            return holder.job
    return None


def remove(documents: Documents, request: JobRequest, *, only_unit: bool) -> None:
    """Remove the documents of a job; those of slices are gone already if its *only_unit* was done."""
    folder = _job_folder(request)
    names = [f"{folder}0{_UNIT}"] if only_unit else [entry.name for entry in documents.entries(folder)]
    _together(documents.delete, names)


def _read(documents: Documents, name: str, kind: type[T]) -> T | None:
    content = documents.get(name)
    return None if content is None else from_json(kind, json.loads(content))


def _together(call: Callable[[T], R], values: Iterable[T]) -> list[R]:
    """What *call* returns for each of *values*, several at a time."""
    given = list(values)
    if len(given) < 2:
        return [call(value) for value in given]
    with ThreadPoolExecutor(min(_AT_ONCE, len(given))) as threads:
        return list(threads.map(call, given))

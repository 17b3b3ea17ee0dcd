"""The documents of one unit of a job, in the app's state: its plan, what became of each slice, its outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from shared.documents import Documents, read_json, to_json
from shared.model import Json, Plan, from_json

_AT_ONCE = 8


def folder(ask: Mapping[str, Json]) -> str:
    """Where the documents of a job lie, of this time that it runs."""
    return f"jobs/{ask['job']}/{ask['started']}/"


class Lease:
    """Which job has a run in hand: one at a time.

    An event and a notification of one file come to the very same run, whose staging tables have the same names: the
    second leaves it to the first. Of several attempts at one job the last has it, though the others may not know yet
    that they were ended. Times are in seconds since 1970.
    """

    def __init__(self, state: Documents, ask: Mapping[str, Json]) -> None:
        self._state = state
        job, _, attempt = str(ask["job"]).partition("~")
        self._mine = {"job": job, "attempt": int(attempt or 1), "started": ask["started"]}

    def take(self, run: str, now: float, longest: float) -> str | None:
        """Take it; or the job that has it already, if it has had it for less than *longest*."""
        name, mine = f"hands/{run}", to_json({**self._mine, "since": now})
        if self._state.add(name, mine):
            return None
        known = read_json(self._state, name)
        if known is not None and not self._may_take_from(known) and known["since"] + longest > now:
            return str(known["job"])
        self._state.put(name, mine)
        return None

    def have(self, run: str) -> bool:
        """Whether it is in our hand still."""
        known = read_json(self._state, f"hands/{run}") or {}
        return all(known.get(key) == value for key, value in self._mine.items())

    def release(self, run: str) -> None:
        """Whoever asks next may take it, if it was ours."""
        if self.have(run):
            self._state.delete(f"hands/{run}")

    def _may_take_from(self, known: Json) -> bool:
        ours = (self._mine["attempt"], self._mine["started"])
        return bool(known["job"] == self._mine["job"] and ours >= (known["attempt"], known["started"]))


class JobDocuments:
    """Of several writers of a document the first wins, so a step that runs twice leaves what it left at first."""

    def __init__(self, state: Documents, ask: Mapping[str, Json]) -> None:
        self._state = state
        self._folder = f"{folder(ask)}{ask['unit']}/"

    def plan(self) -> Plan | None:
        """What the unit reads; None before it is planned, and once it is tidied."""
        content = read_json(self._state, f"{self._folder}plan")
        return None if content is None else from_json(Plan, content)

    def keep(self, plan: Plan) -> Plan:
        """Keep the plan, and say which one is kept."""
        self._state.add(f"{self._folder}plan", to_json(asdict(plan)))
        return self.plan() or plan

    def note(self, number: int, told: Json) -> None:
        """Keep what became of slice *number*."""
        self._state.add(f"{self._folder}slice/{number}", to_json(told))

    def is_noted(self, number: int) -> bool:
        """Whether it is known what became of slice *number*."""
        return self._state.get(f"{self._folder}slice/{number}") is not None

    def miss(self, number: int, error: str) -> None:
        """Keep why slice *number* could not be staged, however often it was tried."""
        self._state.put(f"{self._folder}missed/{number}", error.encode())

    def missed(self) -> str | None:
        """Why one of the slices could not be staged, if that is known."""
        for entry in self._state.entries(f"{self._folder}missed/"):
            return (self._state.get(entry.name) or b"").decode() or None
        return None

    def slices(self, count: int) -> dict[int, Json]:
        """What became of the first *count* slices, without those of which nothing is kept."""
        with ThreadPoolExecutor(min(_AT_ONCE, max(1, count))) as threads:
            told = threads.map(lambda number: read_json(self._state, f"{self._folder}slice/{number}"), range(count))
            return {number: one for number, one in enumerate(told) if one is not None}

    def outcome(self) -> Json | None:
        """What became of the unit, once that is decided."""
        return read_json(self._state, f"{self._folder}outcome")

    def close(self, outcome: Json) -> Json:
        """Keep the outcome, and say which one is kept."""
        self._state.add(f"{self._folder}outcome", to_json(outcome))
        return self.outcome() or outcome

    def clear(self) -> None:
        """Remove all but the outcome."""
        for entry in list(self._state.entries(self._folder)):
            if not entry.name.endswith("/outcome"):
                self._state.delete(entry.name)


def outcomes(state: Documents, under: str) -> Iterator[tuple[int, Any]]:
    """The outcomes of the units of a job that are decided, by number; *under* is its ``folder``, or the one above."""
    names = [entry.name for entry in state.entries(under) if entry.name.endswith("/outcome")]
    with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(names)))) as threads:
        for name, content in zip(names, threads.map(lambda name: read_json(state, name), names), strict=True):
            if content is not None:
                yield int(name.rsplit("/", 2)[1]), content


def remove(state: Documents, under: str) -> None:
    """Remove all documents of a job."""
    names = [entry.name for entry in state.entries(under)]
    with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(names)))) as threads:
        list(threads.map(state.delete, names))

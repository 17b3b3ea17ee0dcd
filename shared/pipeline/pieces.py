"""A long read in pieces: each ends after some minutes, and the next one goes on where it ended."""

from __future__ import annotations

import contextlib

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from shared.errors import TransientError
from shared.model import Plan, Slice, Staged, Unit, with_note
from shared.sources import Described, Read, Source
from shared.traffic import Traffic


class Cuts(Protocol):
    """Where slices were cut, for all tries at them: two that run at the same time have to end at the same place."""

    def known(self, part: Slice) -> Slice | str | None:
        """Where the slice was cut, or ``END``; None if that is open."""
        ...

    def decide(self, part: Slice, rest: Slice | str) -> Slice | str:
        """Cut the slice at *rest*, unless that is decided. What is decided."""
        ...


END = "end"
"""In place of the rest of a slice that was read to its end."""


class InPieces:
    """A source whose slices are cut, where it allows that, once their read has taken some time."""

    def __init__(
        self, source: Source, seconds: float, timer: Callable[[], float], cuts: Cuts | None = None
    ) -> None:  # fmt: skip
        """*timer* gives seconds. Without *cuts*, nobody else reads the slices at the same time."""
        self._source, self._seconds, self._timer, self._cuts = source, seconds, timer, cuts

    def describe(self, unit: Unit) -> Described:
        return self._source.describe(unit)

    def read(self, part: Slice) -> Iterator[Read]:
        since = self._timer()
        known = self._cuts.known(part) if self._cuts is not None else None
        has_places = False
        with contextlib.closing(_generated(self._source.read(part))) as read:
            for found in read:
                if not isinstance(found, Slice):
                    yield found
                    continue
                has_places = True
                if known is None and self._timer() - since >= self._seconds:
                    known = self._decided(part, found)
                if found == known or found.anew:
                    yield found
                    return
        if has_places:
            self._check_end(part, known)

    def _decided(self, part: Slice, rest: Slice | str) -> Slice | str:
        return rest if self._cuts is None else self._cuts.decide(part, rest)

    def _check_end(self, part: Slice, known: Slice | str | None) -> None:
        """TransientError if another try has cut the slice at a place that this one has passed."""
        if (known if known is not None else self._decided(part, END)) != END:
            raise TransientError(
                f"{part.origin} was read by two processes, which ended at different places",
                fix="Nothing to do: the next try ends where the other one has",
            )

    def __getattr__(self, name: str) -> Any:
        """What a source has beside the port, such as ``plain_file``."""
        return getattr(self._source, name)


def _generated(read: Iterator[Read]) -> Any:
    """*read* as something that can be closed."""
    return read if hasattr(read, "close") else (found for found in read)


def traffic_of(source: Source) -> Traffic | None:
    """How much the API of *source* was called so far; None if it is none."""
    traffic = getattr(source, "traffic", None)
    return None if traffic is None else traffic()


def slice_of(plan: Plan, number: int) -> Slice:
    """The slice of *plan* with that number, or that a piece with that number is of."""
    return plan.slices[min(number, len(plan.slices) - 1)]


def rests(staged: Mapping[int, Staged]) -> list[Slice]:
    """The pieces that staged slices have left, in their order."""
    return [rest for number in sorted(staged) if (rest := staged[number].next) is not None]


def since_last_start(plan: Plan, staged: Mapping[int, Staged]) -> tuple[Plan, dict[int, Staged]]:
    """What counts of what was staged: nothing from before the source began anew. The note of the run says so."""
    starts = [rest for rest in rests(staged) if rest.anew]
    for rest in starts:
        plan = replace(plan, run=replace(plan.run, note=with_note(plan.run.note, f"read anew: {rest.anew}")))
    first = starts[-1].number if starts else 0
    return plan, {number: one for number, one in staged.items() if number >= first}

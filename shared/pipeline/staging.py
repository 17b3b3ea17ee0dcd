"""Stage all slices of a plan in this process, each piece of a slice that was cut after the one before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from shared.errors import DataError
from shared.model import Plan, Slice, Staged
from shared.pipeline import verbs
from shared.pipeline.pieces import slice_of


def stage_all(plan: Plan, staged: dict[int, Staged], stage: Callable[[Slice], Staged]) -> dict[int, DataError]:
    """What is wrong with part files that cannot be staged. *staged* is filled with what became of each slice.

    The first DataError is raised if no part file is left.
    """
    faults: dict[int, DataError] = {}
    waiting = deque(plan.slices)
    while waiting:
        part = waiting.popleft()
        if part.origin in {slice_of(plan, number).origin for number in faults}:
            continue
        try:
            done = staged[part.number] = stage(part)
        except DataError as error:
            faults[part.number] = error
            verbs.without_faulty_parts(plan, staged, faults)  # raises if no part file is left
        else:
            waiting.extendleft([done.next] if done.next else [])
    return faults

"""Read a list stretch by stretch: batches of rows, and between them the places where the read may be cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar

import pyarrow as pa

from shared.errors import TransientError
from shared.model import Slice
from shared.rest.pages import Place, PlaceRefused

T = TypeVar("T")
_MOST_STRETCHES = 20
"""Without a place to cut between them, if they have hardly any rows."""
_MOST_STARTS = 3
"""How often one read may begin anew."""
_STARTS = "starts"


class Stretch(NamedTuple, Generic[T]):
    """Some rows."""

    rows: Sequence[T]
    place: Place | None
    """Where the list goes on after them; None where it cannot be cut, or has ended."""


def batches(
    part: Slice,
    read: Callable[[Place | None], Iterator[Stretch[T]]],
    batches_of: Callable[[list[T]], Iterable[pa.RecordBatch]],
    size: int,
    count_of: Callable[[Sequence[T]], int] = len,
) -> Iterator[pa.RecordBatch | Slice]:
    """What *read* gives from the place of *part* on, see ``sources.Source.read``: *batches_of* about *size* rows.

    *count_of* says how many rows some of its elements are.

    If the API refuses the place, the rest is the whole list once more. TransientError if that happens again and again.
    """
    waiting: list[T] = []
    rows = count = 0
    try:
        for stretch in read(part.detail.get("place")):
            waiting += stretch.rows
            rows, count = rows + count_of(stretch.rows), count + 1
            if rows < size and count < _MOST_STRETCHES:
                continue
            yield from batches_of(waiting)
            waiting, rows, count = [], 0, 0
            if stretch.place is not None:
                yield replace(part, detail={**part.detail, "place": stretch.place}, anew=None)
    except PlaceRefused as refused:
        yield _anew(part, str(refused))
        return
    yield from batches_of(waiting)


def rows_of(stretches: Iterator[Stretch[T]]) -> Iterator[T]:
    """The rows alone."""
    return chain.from_iterable(stretch.rows for stretch in stretches)


def by_size(
    rows: Sequence[T], batch_of: Callable[[Sequence[T]], pa.RecordBatch], size: int
) -> Iterator[pa.RecordBatch]:  # fmt: skip
    """*rows* in batches of at most twice *size*: what is just above it makes no small batch of its own."""
    for start in range(0, len(rows), 2 * size):
        yield batch_of(rows[start : start + 2 * size])


def _anew(part: Slice, reason: str) -> Slice:
    starts = int(part.detail.get(_STARTS, 0)) + 1
    if starts > _MOST_STARTS:
        raise TransientError(
            f"{reason}, however often it is read from its beginning",
            fix="Set SYNC_STEP to more seconds, so that the list is read in fewer steps",
        )
    detail: Mapping[str, Any] = {name: value for name, value in part.detail.items() if name != "place"}
    return replace(part, detail={**detail, _STARTS: starts}, anew=reason)

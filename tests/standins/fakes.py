"""Stand-ins for the outside world, in memory. Each passes the behaviour suite of the port it stands in for."""

from __future__ import annotations

import io
import os
import signal
import threading

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NoReturn, TypeVar

import pyarrow as pa

from shared.contract import cursor
from shared.contract.conform import Contract
from shared.errors import ConflictError, IngestError, TransientError
from shared.ledger.records import Kept, after, forgotten
from shared.model import Record, Slice, Unit, Watermark
from shared.sources import Ceiling, Described
from shared.warehouses.merge import ingest

T = TypeVar("T")


class MemoryLedger:
    """A ledger that lasts as long as the object."""

    def __init__(self) -> None:
        self._marks: dict[str, Watermark] = {}
        self._work: dict[tuple[str, str], Kept] = {}
        self._lock = threading.Lock()

    def watermark(self, feed: str) -> Watermark:
        return self._marks.get(feed, Watermark())

    def known(self, feed: str, work_ids: Sequence[str]) -> Mapping[str, Record]:
        return {work: self._work[feed, work].record for work in work_ids if (feed, work) in self._work}

    def commit(self, feed: str, records: Sequence[Record], mark: Watermark | None = None) -> None:
        with self._lock:
            now = {(feed, record.work): after(self._work.get((feed, record.work)), record) for record in records}
            if mark is not None and any(self._work.get(key) != kept for key, kept in now.items()):
                self._move(feed, mark)
            self._work |= now

    def forget(self, feed: str, since: str) -> list[Record]:
        with self._lock:
            found = {
                key: kept._replace(record=forgotten(kept.record))
                for key, kept in self._work.items()
                if key[0] == feed and (kept.record.exported_at is None or kept.record.exported_at >= since)
            }
            self._work |= found
        return [kept.record for kept in found.values()]

    def rewind(self, feed: str, mark: Watermark) -> None:
        with self._lock:
            self._move(feed, replace(mark, etag=self.watermark(feed).etag))

    def _move(self, feed: str, mark: Watermark) -> None:
        seen = self.watermark(feed).etag
        if seen != mark.etag:
            raise ConflictError(f"feed {feed} was advanced by another run", fix="Nothing to do: the next run continues")
        self._marks[feed] = replace(mark, etag=str(int(seen or 0) + 1))


class MemoryPullSource:
    """A source that is asked for spans of cursor values, over rows that a test may add to and change."""

    def __init__(
        self, schema: pa.Schema, rows: list[dict[str, Any]], by: str, kind: str, *, slice_rows: int = 2,
        sync_rows: int = 1_000,
    ) -> None:  # fmt: skip
        """*by* is the cursor column and *kind* its column type."""
        self.rows = rows
        self._sync_rows = sync_rows
        self._schema, self._by, self._kind, self._slice_rows = schema, by, kind, slice_rows

    def ceiling(self, after: str | None) -> Ceiling | None:
        there = sorted(cursor.typed(self._kind, cursor.text(row[self._by])) for row in self.rows)
        above = [value for value in there if after is None or value > cursor.typed(self._kind, after)]
        top = (above[: self._sync_rows] or there or [None])[-1]
        return None if top is None else Ceiling(cursor.text(top), more=any(value > top for value in above))

    def newest(self) -> str | None:
        found = self.ceiling(None)
        while found is not None and found.more:
            found = self.ceiling(found.value)
        return None if found is None else found.value

    def describe(self, unit: Unit) -> Described:
        window = unit.window if unit.kind == "window" else None
        span = asdict(window) if window else {"floor": None, "ceiling": None}
        found = len(self._within(**span))
        starts = range(0, max(1, found), self._slice_rows)
        slices = [
            Slice(n, start, min(self._slice_rows, found - start), "memory", start, span)
            for n, start in enumerate(starts)
        ]
        return Described({"memory": self._schema}, slices, {})

    def close(self) -> None:
        pass

    def peek(self, unit: Unit, most: int) -> list[pa.RecordBatch] | None:
        slices = self.describe(unit).slices
        return None if sum(part.rows for part in slices) > most else [one for part in slices for one in self.read(part)]

    def read(self, part: Slice) -> Iterator[pa.RecordBatch]:
        rows = self._within(**part.detail)[part.first_row : part.first_row + part.rows]
        for row in rows:
            yield pa.RecordBatch.from_pylist([row], schema=self._schema)

    def _within(self, floor: str | None, ceiling: str | None) -> list[dict[str, Any]]:
        low, high = (cursor.typed(self._kind, text) if text else None for text in (floor, ceiling))
        found = [
            row
            for row in self.rows
            if (high is None or row[self._by] <= high) and (low is None or low <= row[self._by])
        ]
        return sorted(found, key=lambda row: row[self._by])


class Calls:
    """Counts calls to ports, and loses one of them: before it takes effect, or its answer after."""

    def __init__(self, lose: int | None = None, *, after: bool = False) -> None:
        self.names: list[str] = []
        """Of the calls made so far."""
        self.lost: str | None = None
        self._lose, self._after = lose, after

    def __repr__(self) -> str:
        return f"Calls({self._lose}, after={self._after})"

    def done(self, ending: str) -> bool:
        """Whether a call of that method has taken effect before one was lost, or is the one whose answer was lost."""
        until = self.names[: (self._lose or 0) - (not self._after)] if self._lose else self.names
        return any(name.endswith(f".{ending}") for name in until)

    def through(self, name: str, call: Callable[[], T]) -> T:
        self.names.append(name)
        chosen = len(self.names) == self._lose
        if chosen and not self._after:
            self._strike(name)
        try:
            answer = call()
        except IngestError:
            if chosen and self._after:
                self._strike(name)
            raise
        if chosen and self._after:
            if isinstance(answer, io.IOBase):
                answer.close()  # whoever asked never got it
            self._strike(name)
        return answer

    def _strike(self, name: str) -> NoReturn:
        self.lost = f"call {self._lose}, {name}, {'after' if self._after else 'before'} it took effect"
        self.strike()

    def strike(self) -> NoReturn:
        """What losing a call means."""
        raise TransientError(f"lost {self.lost}", fix="Try again")


class Fatal(Calls):
    """Kills this very process at a call of some name: ``before``, ``after`` or ``within`` it (merge and stage)."""

    def __init__(self, moment: str, place: str) -> None:
        super().__init__()
        self._at = (moment, place)
        if self._at == ("merge", "within"):  # all is written, and nothing is committed
            ingest.write = lambda *_: _die()
        if self._at == ("stage", "within"):  # some batches are on their way
            judged, conform = iter(range(4)), Contract.conform
            Contract.conform = lambda *given: conform(*given) if next(judged, None) is not None else _die()

    def through(self, name: str, call: Callable[[], T]) -> T:
        ending = name.rpartition(".")[2]
        if self._at == (ending, "before"):
            _die()
        answer = call()
        if self._at == (ending, "after"):
            _die()
        return answer


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


class Watched:
    """An implementation of a port whose calls go through ``Calls``: methods, each batch read, each read of a file."""

    def __init__(self, port: Any, calls: Calls, name: str = "") -> None:
        self._port, self._calls, self._name = port, calls, name or type(port).__name__

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        idle = self._name == "file" and not name.startswith("read")  # seek, tell, close: nothing goes over a wire
        if name.startswith("_") or idle or not callable(found):
            return found
        return lambda *args, **kwargs: self._answer(name, lambda: found(*args, **kwargs))

    def _answer(self, name: str, call: Callable[[], Any]) -> Any:
        said = f"{self._name}.{name}"
        answer = self._calls.through(said, call)
        if isinstance(answer, Iterator) and not isinstance(answer, io.IOBase):
            return self._each(said, answer)
        return Watched(answer, self._calls, "file") if isinstance(answer, io.IOBase) else answer

    def _each(self, said: str, answers: Iterator[Any]) -> Iterator[Any]:
        nothing = object()
        while (answer := self._calls.through(f"next of {said}", lambda: next(answers, nothing))) is not nothing:
            yield answer

    def __enter__(self) -> Watched:
        self._port.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._port.__exit__(*raised)

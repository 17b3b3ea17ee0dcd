"""Stand-ins for the outside world, in memory. Each passes the behaviour suite of the port it stands in for."""

from __future__ import annotations

import threading

from collections.abc import Mapping, Sequence
from dataclasses import replace

from shared.errors import ConflictError
from shared.model import Record, Watermark


class MemoryLedger:
    """A ledger that lasts as long as the object."""

    def __init__(self) -> None:
        self._marks: dict[str, Watermark] = {}
        self._works: dict[tuple[str, str], Record] = {}
        self._lock = threading.Lock()

    def watermark(self, feed: str) -> Watermark:
        return self._marks.get(feed, Watermark())

    def known(self, feed: str, works: Sequence[str]) -> Mapping[str, Record]:
        return {work: self._works[feed, work] for work in works if (feed, work) in self._works}

    def commit(self, feed: str, records: Sequence[Record], mark: Watermark | None = None) -> None:
        with self._lock:
            after = {(feed, record.work): self._after(feed, record) for record in records}
            if mark is not None and any(self._works.get(key) != record for key, record in after.items()):
                self._move(feed, mark)
            self._works |= after

    def forget(self, feed: str, since: str) -> list[Record]:
        with self._lock:
            found = {
                key: replace(record, status="forgotten") if record.status == "done" else record
                for key, record in self._works.items()
                if key[0] == feed and (record.exported_at is None or record.exported_at >= since)
            }
            self._works |= found
        return list(found.values())

    def rewind(self, feed: str, mark: Watermark) -> None:
        with self._lock:
            self._move(feed, replace(mark, etag=self.watermark(feed).etag))

    def _after(self, feed: str, record: Record) -> Record:
        before = self._works.get((feed, record.work))
        if before is not None and before.run == record.run and before.status in ("done", "forgotten"):
            return before
        times = (before.times if before else 0) + (record.status == "done")
        return replace(record, times=times)

    def _move(self, feed: str, mark: Watermark) -> None:
        seen = self.watermark(feed).etag
        if seen != mark.etag:
            raise ConflictError(f"feed {feed} was advanced by another run", fix="Nothing to do; the next run goes on")
        self._marks[feed] = replace(mark, etag=str(int(seen or 0) + 1))

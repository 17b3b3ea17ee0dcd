"""Objects that events named, read by their ids as they are now."""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from shared.parallel import in_order
from shared.rest.rows import Record
from shared.sources.hubspot import records
from shared.sources.hubspot.calls import LIST, Calls

_WORKERS = 4
_SKEW = 60_000
"""Milliseconds: an erasure counts as so much later than its event, so that it is later than the last change, too."""


class NamedReader(NamedTuple):
    """Reads objects of one kind."""

    calls: Calls
    kind: str
    cursor: str
    names: Sequence[str]
    """The properties to read."""

    def read(self, objects: Sequence[tuple[int, int, bool]], latest: int) -> Iterator[Record]:
        """The records of *objects*: id, when its event occurred (milliseconds since 1970), whether it is to be erased.

        An archived object is flagged. What cannot be read any more, or is to be erased, becomes a record without
        properties, deleted when its event occurred, or at *latest* if that is earlier; and so does what was merged
        into an object that is read.
        """
        wanted = [str(id) for id, _, erased in objects if not erased]
        found, merged = set[str](), set[str]()
        for one in self._records(wanted, archived=False):
            found.add(str(one["id"]))
            yield one
            for loser in records.losers(one, self.cursor):
                merged.add(str(loser["id"]))
                yield loser
        found |= merged
        for one in self._records([id for id in wanted if id not in found], archived=True):
            found.add(str(one["id"]))
            yield one
        for id, at, erased in objects:
            if str(id) not in found:
                yield _gone(id, self.cursor, min(at, latest) + (_SKEW if erased else 0))

    def _records(self, ids: Sequence[str], *, archived: bool) -> Iterator[Record]:
        waiting = iter(ids)
        groups = iter(lambda: list(islice(waiting, LIST)), [])
        for some in in_order(
            lambda few: self.calls.batch(self.kind, few, self.names, archived=archived), groups, workers=_WORKERS
        ):
            yield from some


def _gone(id: int, cursor: str, at: int) -> Record:
    moment = records.from_milliseconds(at).replace(tzinfo=dt.UTC)
    properties: Mapping[str, Any] = {cursor: moment.isoformat(timespec="milliseconds")}
    return {"id": str(id), "archived": True, "properties": properties}

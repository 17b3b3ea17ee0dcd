"""Associations between two types of objects of HubSpot: they have no time of change, so they are read whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from shared.model import Feed, Slice, Unit
from shared.parallel import in_order
from shared.rest.pages import Place
from shared.rest.rows import Record, batch_of, schema_of
from shared.rest.stretches import Stretch, batches, by_size
from shared.sources import Ceiling, Described
from shared.sources.hubspot.calls import ASSOCIATED, LIST, Calls
from shared.traffic import Traffic

COLUMNS = {"from_id": "bigint", "to_id": "bigint", "category": "text", "type_id": "bigint", "label": "text"}
_BATCH = 10_000
_WORKERS = 4


class AssociationSource:
    """One row for each pair of objects and each way in which they are associated."""

    def __init__(self, feed: Feed, calls: Calls) -> None:
        self._feed, self._calls = feed, calls
        self._kind, self._other = str(feed.api["object"]), str(feed.api["associated"])

    def traffic(self) -> Traffic:
        """What was called so far."""
        return self._calls.client.traffic()

    def close(self) -> None:
        self._calls.client.close()

    def ceiling(self, after: str | None) -> Ceiling | None:
        """See PullSource. It has no cursor."""
        return None

    def newest(self) -> str | None:
        """See PullSource."""
        return None

    def describe(self, unit: Unit) -> Described:
        """See Source."""
        place = f"{self._calls.client.host} {self._kind} to {self._other}"
        schema = schema_of({name: COLUMNS[name] for name in COLUMNS if unit.kind != "keys" or name in self._feed.keys})
        return Described({place: schema}, [Slice(0, 0, 0, place, 0, {"columns": schema.names})], {})

    def peek(self, unit: Unit, most: int) -> None:
        """See PullSource. A table that is read whole costs too many calls to read it twice."""

    def read(self, part: Slice) -> Iterator[pa.RecordBatch | Slice]:
        """See Source."""
        schema = schema_of({name: COLUMNS[name] for name in part.detail["columns"]})
        yield from batches(
            part, self._stretches, lambda rows: by_size(rows, lambda some: batch_of(some, schema), _BATCH), _BATCH
        )

    def _stretches(self, start: Place | None) -> Iterator[Stretch[Record]]:
        return in_order(lambda group: Stretch(self._of(group.rows), group.place), self._ids(start), workers=_WORKERS)

    def _ids(self, start: Place | None) -> Iterator[Stretch[str]]:
        waiting: list[str] = []
        for page in self._calls.listed(self._kind, [LISTED], start=start):
            waiting += [str(one["id"]) for one in page.records]
            if len(waiting) > ASSOCIATED - LIST:
                yield Stretch(waiting, page.following)
                waiting = []
        if waiting:
            yield Stretch(waiting, None)

    def _of(self, ids: Sequence[str]) -> list[Record]:
        found: dict[tuple[object, ...], Record] = {}
        for one, target in self._calls.associations(self._kind, self._other, ids):
            for way in target.get("associationTypes", ()):
                row = {
                    "from_id": int(one), "to_id": int(target["toObjectId"]), "category": way.get("category"),
                    "type_id": way.get("typeId"), "label": way.get("label"),
                }  # fmt: skip
                found[one, row["to_id"], row["category"], row["type_id"]] = row  # a pair may come once for each label
        return list(found.values())


LISTED = "hs_object_id"
"""The one property that lists of ids are read with."""

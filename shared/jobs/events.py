"""Events that name changed objects of a pulled system: kept until a job has read the objects again.

A webhook keeps the events of each request as a document. The first request of a window of WEBHOOK_GROUP seconds starts
a job, which waits that long and then collects all events that are there as one batch, also a document. So an event is
in a document from the answer to its request until its objects are merged.
"""

from __future__ import annotations

import hashlib
import json

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import NamedTuple, TypeVar

from shared.documents import DocumentEntry, Documents, to_json
from shared.errors import ConfigError
from shared.ids import work_id
from shared.jobs.request import JobRequest, ObjectEvents
from shared.model import Unit, WorkItem, from_json
from shared.text import counted

T = TypeVar("T")
R = TypeVar("R")
EVENTS, BATCHES = "events/", "event-batches/"
"""Prefixes of documents."""
_AT_ONCE = 8
_MOST_DOCUMENTS = 2_000
"""Documents in one batch. A later job takes the others."""
_MOST_OBJECTS = 5_000
"""Objects in one unit."""


class ChangedObject(NamedTuple):
    """An object that an event named."""

    id: int
    at: int
    """When the last of the events about it occurred, in milliseconds since 1970."""
    erased: bool
    """Whether an event requests that what is known of it is erased."""

    def with_other(self, other: ChangedObject | None) -> ChangedObject:
        """What this and another event say of one object.

        >>> ChangedObject(7, 1000, False).with_other(ChangedObject(7, 900, True))
        ChangedObject(id=7, at=1000, erased=True)
        """
        return self if other is None else ChangedObject(self.id, max(self.at, other.at), self.erased or other.erased)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedObjects:
    """Objects of one feed, each once."""

    feed: str
    objects: tuple[ChangedObject, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one job reads."""

    documents: tuple[str, ...]
    """Those with its events, which are removed once the batch is kept."""
    units: tuple[ChangedObjects, ...]


class Events:
    """The events that are kept, by system, and the batches that jobs made of them."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def keep(self, system: str, id: str, objects: Mapping[str, Sequence[ChangedObject]]) -> None:
        """Keep the objects that the events of one request named, by feed. *id* is the same for the same events."""
        content = [asdict(ChangedObjects(feed=feed, objects=tuple(some))) for feed, some in objects.items()]
        self._documents.put(f"{EVENTS}{system}/{id}", to_json(content))

    def oldest(self, system: str) -> float | None:
        """When the first of the events was kept that no job has collected (seconds since 1970)."""
        return min((entry.modified for entry in self._documents.entries(f"{EVENTS}{system}/")), default=None)

    def collect(self, work: ObjectEvents) -> Batch | None:
        """All events of the system as the batch of this job; None if there are none. Repeating it changes nothing."""
        batch = self.batch(work)
        if batch is None:
            entries = self._documents.entries(f"{EVENTS}{work.system}/")
            names = [entry.name for entry, _ in zip(entries, range(_MOST_DOCUMENTS), strict=False)]
            batch = self._batch_of(names)
            if not batch.units:
                return None
            if not self._documents.add(_name(work), to_json(asdict(batch))):
                batch = self.batch(work) or batch
        _together(self._documents.delete, batch.documents)
        return batch

    def batch(self, work: ObjectEvents) -> Batch | None:
        """What the job reads; None before it has collected anything, and once all of it is merged."""
        content = self._documents.get(_name(work))
        return None if content is None else from_json(Batch, json.loads(content))

    def batches(self) -> Iterator[tuple[str, int, DocumentEntry]]:
        """System and window of all batches that are kept, each with its document."""
        for entry in self._documents.entries(BATCHES):
            system, _, window = entry.name.removeprefix(BATCHES).partition("/")
            yield system, int(window), entry

    def remove(self, work: ObjectEvents) -> None:
        """Forget the batch: its objects are merged."""
        self._documents.delete(_name(work))

    def _batch_of(self, names: Sequence[str]) -> Batch:
        contents = _together(self._documents.get, names)
        known: dict[str, dict[int, ChangedObject]] = {}
        for content in contents:
            for some in from_json(list[ChangedObjects], json.loads(content)) if content else ():
                objects = known.setdefault(some.feed, {})
                objects.update((one.id, one.with_other(objects.get(one.id))) for one in some.objects)
        units = [
            ChangedObjects(feed=feed, objects=tuple(part))
            for feed, objects in sorted(known.items())
            for part in _parts(sorted(objects.values()))
        ]
        return Batch(documents=tuple(names), units=tuple(units))


def events_id(keys: Iterable[str]) -> str:
    """The id under which events are kept: 32 hex digits, the same for the same *keys* of events in any order."""
    return hashlib.sha256("\n".join(sorted(set(keys))).encode()).hexdigest()[:32]


def collect_units(documents: Documents, request: JobRequest) -> dict[str, object]:
    """How many units a job of events has; without ``units`` if there is none."""
    work = request.work
    assert isinstance(work, ObjectEvents)  # noqa: S101 - no other work is collected
    batch = Events(documents).collect(work)
    if batch is None:
        return {"status": "done", "files": 0}
    number = sum(len(unit.objects) for unit in batch.units)
    return {"units": len(batch.units), "what": f"{counted(number, 'object')} named by events of {work.system}"}


class FoundObjects(NamedTuple):
    """Some objects of a feed as a unit of work."""

    feed: str
    unit: Unit


def unit_of(documents: Documents, work: ObjectEvents, number: int, started: str) -> FoundObjects:
    """One of the units of a job that *started* then (text of records). ConfigError once its batch is gone."""
    batch = Events(documents).batch(work)
    if batch is None or number >= len(batch.units):
        raise ConfigError(f"the {work.title} are no longer kept", fix=f"Sync {work.system} to read what has changed")
    found = batch.units[number]
    objects = [[one.id, one.at, one.erased] for one in found.objects]
    version = hashlib.sha256(json.dumps(objects).encode()).hexdigest()[:32]
    name = f"{counted(len(objects), 'object')} named by events"
    return FoundObjects(found.feed, Unit(
        kind="delta", work_items=(WorkItem(work_id(found.feed, version), name),), files=({"objects": objects},),
        exported_at=started, moves_watermark=False,
    ))  # fmt: skip


def _name(work: ObjectEvents) -> str:
    return f"{BATCHES}{work.system}/{work.window}"


def _parts(objects: Sequence[ChangedObject]) -> Iterator[Sequence[ChangedObject]]:
    return (objects[start : start + _MOST_OBJECTS] for start in range(0, len(objects), _MOST_OBJECTS))


def _together(call: Callable[[T], R], values: Sequence[T]) -> list[R]:
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(call, values))

"""The nouns: what a feed is, what a run is asked to do, what it did. Data only, no I/O.

Every record here is small and made of what JSON can carry, for it travels between verbs, which may run on
different machines. Times are therefore text: UTC, ISO 8601 without zone, always with six decimals, so that
they also compare as text. ``from_json`` reads back what ``dataclasses.asdict`` wrote.
"""

from __future__ import annotations

import datetime as dt

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Json: TypeAlias = Any
"""Anything the json module writes and reads back unchanged."""

Kind: TypeAlias = Literal["full", "delta", "window"]
"""What a unit of work claims to be: all rows of the source, some changes, or a span of cursor values."""

Outcome: TypeAlias = Literal[
    "rejected", "superseded", "stale", "unchanged", "inserted", "deleted", "undeleted", "updated"
]
"""What became of one row that was read. Exactly one holds, the first that fits."""

OUTCOMES: tuple[Outcome, ...] = (
    "rejected", "superseded", "stale", "unchanged", "inserted", "deleted", "undeleted", "updated",
)  # fmt: skip

SYSTEM_COLUMNS = ("FirstSyncAt", "SyncedAt", "SyncedBy", "DeletedAt")
"""The four columns every merged table has beside the feed's own."""

T = TypeVar("T")


class FeedName(NamedTuple):
    """The two parts of a feed's name, ``<system>.<table>``.

    >>> FeedName.parse("coolr.location"), str(FeedName("coolr", "location"))
    (FeedName(system='coolr', table='location'), 'coolr.location')
    """

    system: str
    table: str
    """Empty if the name has no dot."""

    @classmethod
    def parse(cls, name: str) -> FeedName:
        system, _, table = name.partition(".")
        return cls(system, table)

    def __str__(self) -> str:
        return f"{self.system}.{self.table}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One source object kept in step with one warehouse table, named ``<system>.<table>``."""

    system: str
    table: str
    source: str
    """Module in shared.sources that reads it, e.g. ``exports``."""
    keys: tuple[str, ...]
    cursor: str | None = None
    """Column whose value grows with every change of a row. Without one, all rows are equally new."""
    deleted: str | None = None
    """Column that flags a deleted row."""
    types: Mapping[str, str] = field(default_factory=dict)
    """Column types that differ from what the files say, see shared.contract.types."""
    timezone: str = "UTC"
    """What timestamps without zone are in."""
    deletes: Literal["soft", "hard"] = "soft"
    max_reject_share: float = 0.1
    max_delete_share: float = 0.3
    overlap_seconds: int = 0
    """How far below the watermark a pull feed reads again."""
    schedule: str | None = None
    """When a pull feed is read: a cron expression of five fields, in UTC."""
    max_age_hours: float | None = None
    """How long ago the last data may have come before the watchdog calls the feed stale."""

    @property
    def name(self) -> str:
        return str(FeedName(self.system, self.table))


@dataclass(frozen=True, slots=True)
class Window:
    """Span of cursor values a pull feed reads: ``floor <= cursor <= ceiling``, both as cursor text."""

    floor: str | None
    ceiling: str


@dataclass(frozen=True, slots=True)
class Watermark:
    """The highest cursor merged, as cursor text of the given column type; ``etag`` guards its change."""

    value: str | None = None
    type: str | None = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class WorkItem:
    """Something to be taken once: a file in one version of its content."""

    id: str
    name: str
    """Where it lies, for people. Never holds a query string."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One unit of work of a feed: a window, a file, or all part files of one table of one export."""

    kind: Kind
    works: tuple[WorkItem, ...] = ()
    files: tuple[Mapping[str, Json], ...] = ()
    """The source's own notes on the files behind ``works``; nobody else reads them."""
    exported_at: str | None = None
    complete: bool = False
    """Whether a key that is missing here is missing at the source."""
    client: str | None = None
    window: Window | None = None
    seen: Watermark | None = None
    """The watermark a window starts from; nobody else may have moved it when the window is published."""
    more: bool = False
    """Whether the source had more than this window takes."""
    note: str | None = None
    """What an operator should know about how this unit was understood."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a contract: as the source names it, as we store it, and its type (shared.contract.types)."""

    source: str
    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a unit that one worker reads alone, in bounded memory."""

    number: int
    first_row: int
    """How many rows of the unit come before it, so that row numbers are unique within a run."""
    rows: int
    origin: str
    """The file (or query) it is part of, for people and for the place of rejects."""
    origin_row: int
    """How many rows of the origin come before it."""
    detail: Mapping[str, Json]
    """The source's own note to itself; nobody else reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """What ``stage`` made of one slice."""

    table: str
    rows: int
    size: int = 0
    """Bytes that went to the warehouse, 0 where nothing travels."""
    seconds: float = 0.0
    """How long that took."""
    rejected: int = 0
    values_rejected: int = 0
    keyless: int = 0
    """Rejected rows whose key could not be read either."""
    present: str | None = None
    """Staging table with the keys of rejected rows: they are not absent."""
    high: str | None = None
    """Highest cursor of the accepted rows, as cursor text."""
    long: tuple[str, ...] = ()
    """Text columns with a value that is too long for an ordinary column of the engine."""
    inline: str | None = field(default=None, repr=False)
    """Rows of a slice that are too few for a staging table: an Arrow IPC stream, deflated, as base64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One line of history: what was asked, and what became of every row."""

    id: str
    feed: str
    kind: Kind
    started: str
    files: tuple[str, ...] = ()
    client: str | None = None
    exported_at: str | None = None
    complete: bool = False
    status: Literal["done", "failed", "dry"] = "done"
    finished: str | None = None
    read: int = 0
    rejected: int = 0
    superseded: int = 0
    stale: int = 0
    unchanged: int = 0
    inserted: int = 0
    deleted: int = 0
    undeleted: int = 0
    updated: int = 0
    absent: int = 0
    """Active rows a complete full lacked. Counted apart: they were not read."""
    values_rejected: int = 0
    """Values set aside from rows that went on without them. Counted apart as well."""
    size: int = 0
    """Bytes that were staged; 0 where nothing travels."""
    seconds: float = 0.0
    """How long all slices together took to stage them."""
    log_rate: int | None = None
    """Bytes a second that the database's tier lets its log grow by, if it has such a limit."""
    columns: tuple[Column, ...] = ()
    high: str | None = None
    note: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one run will read, decided before anything is read."""

    feed: Feed
    run: Run
    """As it is asked for: no counts yet."""
    unit: Unit
    columns: tuple[Column, ...]
    slices: tuple[Slice, ...]
    faulty: Mapping[str, str] = field(default_factory=dict)
    """Part files left out already, with what is wrong with them."""


@dataclass(frozen=True, slots=True)
class Change:
    """One row a merge changed, for a dry run to show."""

    outcome: str
    before: Mapping[str, Json] | None
    after: Mapping[str, Json] | None


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check of the doctor says."""

    check: str
    status: Literal["ok", "warning", "failed", "skipped"]
    message: str
    fix: str = ""
    """What to do, where there is something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the ledger knows of one work: the last run that took it and what came of that."""

    work: str
    name: str
    run: str
    status: Literal["done", "failed", "forgotten"]
    times: int
    """How often it has been recorded done, forgotten or not."""
    exported_at: str | None = None


def to_text(moment: dt.datetime) -> str:
    """*moment* (aware, or naive in UTC) as the text that records carry.

    >>> to_text(dt.datetime(2026, 2, 24, 12, tzinfo=dt.timezone.utc))
    '2026-02-24T12:00:00.000000'
    """
    naive = moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment
    return naive.isoformat(timespec="microseconds")


def from_text(text: str | None) -> dt.datetime | None:
    """What ``instant`` wrote, as a datetime without zone, in UTC."""
    return dt.datetime.fromisoformat(text) if text else None


def with_note(text: str | None, more: str) -> str:
    return f"{text}; {more}" if text else more


def from_json(kind: type[T], data: Json) -> T:
    """Read back a record from what JSON made of it (lists for tuples). pydantic.ValidationError if it is none."""
    record: T = _adapter(kind).validate_python(data)  # type: ignore[arg-type]  # a class is hashable
    return record


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter  # 60 ms, which only hosts of jobs need to pay

    return TypeAdapter(kind)

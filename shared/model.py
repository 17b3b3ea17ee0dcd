"""The nouns: feeds, the work that runs are to do, and what became of it. Data only, no I/O.

Every record is small and made of JSON's types, because verbs that run on different machines pass them on. Times are
therefore text: UTC, ISO 8601 without zone, always with six decimals, so that they compare as text. ``from_json`` reads
back what ``dataclasses.asdict`` wrote.
"""

from __future__ import annotations

import datetime as dt

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar, get_args

from shared.declared import Check, Layout, Mask
from shared.traffic import Traffic

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Json: TypeAlias = Any
"""Anything the json module writes and reads back unchanged."""

Kind: TypeAlias = Literal["full", "delta", "window", "keys"]
"""What a unit of work claims to be: all rows of the source, changes, a span of cursor values, or all keys alone."""

Outcome: TypeAlias = Literal[
    "rejected", "superseded", "stale", "unchanged", "inserted", "deleted", "undeleted", "updated"
]
"""What became of one row that was read. Exactly one holds, the first that fits."""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
SYSTEM_COLUMNS = ("FirstSyncAt", "SyncedAt", "SyncedBy", "DeletedAt")
"""The four columns that every merged table has in addition to the feed's own."""

APPENDED_COLUMNS = ("SyncedAt", "SyncedBy", "SyncedKind", "SyncedOn")
"""What a table has instead that keeps the rows of all runs: time, id, kind and day (UTC) of the run."""

MAIN = "main"
"""The destination that WAREHOUSE_URL names. The others are named by WAREHOUSE_URL_<NAME>."""

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
    """One source object synchronised with one warehouse table, named ``<system>.<table>``."""

    system: str
    table: str
    source: str
    """Module in shared.sources that reads it, e.g. ``exports``."""
    keys: tuple[str, ...]
    cursor: str | None = None
    """Column whose value grows with every change of a row. Without one, all rows are equally new."""
    cursor_fallback: str | None = None
    """Column that a pull feed counts by where the cursor is NULL."""
    deleted: str | None = None
    """Column that flags a deleted row."""
    change_tracking: bool = False
    """Whether a pull feed is read by SQL Server's change tracking, whose columns are its cursor and its flag then."""
    types: Mapping[str, str] = field(default_factory=dict)
    """Column types that differ from what the files say, see shared.contract.types."""
    undeclared_types: tuple[str, ...] = ()
    """Columns of ``types`` that the catalog does not declare: values are cast to them, no stored column is changed."""
    references: Mapping[str, str] = field(default_factory=dict)
    """The key that a column refers to, as ``<system>.<table>.<column>``, by column."""
    exclude: tuple[str, ...] = ()
    """Columns of the source that are not stored, anywhere."""
    on_new_column: Literal["add", "ignore", "stop"] = "add"
    """What becomes of a column that the table does not have yet."""
    on_type_change: Literal["stop", "text"] = "stop"
    """What becomes of a column whose type in a file the table's does not widen to."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """What columns are stored as, by their names at the source."""
    hash: tuple[str, ...] = ()
    """Columns of which only a keyed hash is stored, see shared.contract.hidden."""
    mask: Mapping[str, Mask] = field(default_factory=dict)
    """Columns of which only a part is stored, or none."""
    display: tuple[str, ...] = ()
    """Columns that tell people which row it is: what views of feeds that refer to it show."""
    timezone: str = "UTC"
    """What timestamps without zone are in."""
    deletes: Literal["soft", "hard"] = "soft"
    history: bool = False
    """Whether every version of a row is kept, in ``<table>_versions``."""
    lake: Literal["current", "append"] = "current"
    """In a data lake: the rows as they are now, or the rows of every run as they came."""
    max_reject_share: float = 0.1
    max_delete_share: float = 0.3
    overlap_seconds: int = 0
    """How far below the watermark a pull feed reads again, where its cursor is an instant."""
    overlap_numbers: int = 0
    """The same where its cursor is a number."""
    schedule: str | None = None
    """When a pull feed is read: a cron expression of five fields, in UTC."""
    reconcile: str | None = None
    """When the keys of a pull feed are compared, to find deleted rows: as ``schedule``."""
    source_table: str | None = None
    """The table of the database that is read, if it has another name there: ``<table>`` or ``<schema>.<table>``."""
    max_age_hours: float | None = None
    """How old the last data may be before the watchdog reports the feed as stale."""
    destinations: tuple[str, ...] = (MAIN,)
    """The warehouses that it goes to, by name."""
    layout: Layout | None = None
    """Of a feed that is read from text files."""
    checks: tuple[Check, ...] = ()
    api: Mapping[str, Json] = field(default_factory=dict)
    """What the catalog says of the API that it is read from; only its kind of source knows what it means."""

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
    fingerprint: str | None = None
    """Of the rows that the last run of a pull feed read, see shared.pipeline.fingerprint; None if they were many."""
    note: str | None = None
    """What the run that starts from it is to note: that it was set back, and by whom."""


@dataclass(frozen=True, slots=True)
class WorkItem:
    """Something to be loaded once: a file in one version of its content, or a window."""

    id: str
    name: str
    """Where it is, for people. Never contains a query string."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One unit of work of a feed: a window, a file, or all part files of one table of one export."""

    kind: Kind
    work_items: tuple[WorkItem, ...] = ()
    files: tuple[Mapping[str, Json], ...] = ()
    """The source's private data about the files of ``works``."""
    exported_at: str | None = None
    complete: bool = False
    """Whether a key that is missing here is missing at the source."""
    client: str | None = None
    window: Window | None = None
    seen: Watermark | None = None
    """The watermark that a window starts from. Publishing fails if another run has moved it since."""
    more: bool = False
    """Whether the source had more than this window takes."""
    note: str | None = None
    """What an operator should know about how the unit is loaded."""
    moves_watermark: bool = True
    """Whether all rows up to its highest cursor are loaded with it. Not if it is some objects of a pull feed."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a contract: as the source names it, as we store it, and its type (shared.contract.types)."""

    source: str
    """Empty for Extra, the column that keeps what no other column takes."""
    name: str
    type: str
    more: tuple[str, ...] = ()
    """Further columns of the source that are combined with it, see ``LayoutColumn``."""
    day_first: bool | None = None
    """What the file's dates show of the order of day and month; None if they do not."""


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
    """The source's private data about the slice."""
    anew: str | None = None
    """Why the source reads the whole of it once more: what was staged of the slices before it does not count."""


@dataclass(frozen=True, slots=True)
class PlainFile:
    """A Parquet file on this machine that an engine may read by itself: it reads what the source would."""

    path: str
    version: str
    """As shared.ids.file_version: once it is another, the file is not the one that was listed."""
    rows: int
    first_row: int
    """How many rows of the unit come before it."""
    known: Mapping[str, tuple[Any, Any, Any]]
    """By its column: how many NULLs it has, its lowest and its highest value. None where the file does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """The result of staging one slice."""

    table: str
    rows: int
    size: int = 0
    """Bytes sent to the warehouse; 0 for an embedded one."""
    seconds: float = 0.0
    """How long that took."""
    rejected: int = 0
    values_rejected: int = 0
    keyless: int = 0
    """Rejected rows whose key could not be read either."""
    kept_out: int = 0
    """Rejected rows whose key was erased and is to stay out: they are no fault of the source."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """The commonest reasons for rejects (code and column), and how often each was found."""
    checks: Mapping[str, int] = field(default_factory=dict)
    """How many accepted rows fail a check of the feed, by its number there."""
    calls: Traffic | None = None
    """Of the API that it was read from."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """What the source has beside rows, by kind, such as blank lines; not part of the counts of rows."""
    present: str | None = None
    """Staging table with the keys of rejected rows, which do not count as absent."""
    high: str | None = None
    """Highest cursor of the accepted rows, as cursor text."""
    fingerprint: str | None = None
    """Of the rows as they were read, if a pull feed read few."""
    long: tuple[str, ...] = ()
    """Text columns with a value that is too long for an ordinary column of the engine."""
    next: Slice | None = None
    """What is left of the slice, if its read was cut: a slice of its own, with the next number."""
    inline: str | None = field(default=None, repr=False)
    """The rows, if they are too few for a staging table: an Arrow IPC stream, deflated, as base64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One line of history: what was to be loaded, and what became of every row."""

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
    """Active rows that a complete full lacked. Not part of the rows read."""
    values_rejected: int = 0
    """Values rejected from rows that were loaded without them. Not part of the counts of rows."""
    size: int = 0
    """Bytes sent to the warehouse; 0 for an embedded one."""
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
    """Without counts yet."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphans:
    """Active rows of a feed whose column refers to a key that is not there."""

    column: str
    references: str
    """``<system>.<table>.<column>``."""
    rows: int
    values: tuple[str, ...]
    """The commonest of the values."""

    @property
    def text(self) -> str:
        number = "1 row refers" if self.rows == 1 else f"{self.rows:,} rows refer"
        return f"{number} by {self.column} to a key that {self.references} does not have"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    check: str
    status: Literal["ok", "warning", "failed", "skipped"]
    message: str
    fix: str = ""
    """What to do, where there is something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the ledger has of one work item: the last run that took it, and its status."""

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
    """What ``to_text`` wrote, as a datetime without zone, in UTC."""
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

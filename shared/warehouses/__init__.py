"""Where data goes. One module per engine; the merge itself is written once, in ``merge``."""

from __future__ import annotations

import datetime as dt
import importlib

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, cast, runtime_checkable

from shared.contract.codes import Code
from shared.errors import ConfigError
from shared.model import MAIN, Change, Column, Feed, Finding, Json, Orphans, Plan, Run, Staged
from shared.settings import Settings, naming_setting, url_kind, warehouse_setting

if TYPE_CHECKING:
    import pyarrow as pa

_MODULES: Mapping[str, str] = {
    "duckdb": "duckdb.engine",
    "lake": "lake.engine",
    "lake+https": "lake.engine",
    "lake+http": "lake.engine",
    "postgresql": "postgres.engine",
    "mssql": "azure_sql.engine",
    "snowflake": "snowflake.engine",
}

REJECT_COLUMNS = ("place", "scope", "column", "code", "reason", "raw")
"""Columns of the batches ``reject`` takes, all text."""


class RefusedRow(NamedTuple):
    """A row that fits its contract, but not the engine: text too long for a key, a value the server rejects."""

    row: pa.RecordBatch
    """The one row, as it was to be staged."""
    column: str | None
    code: Code
    reason: str


class Loaded(NamedTuple):
    rows: int
    """In the staging table."""
    refused: Sequence[RefusedRow] = ()
    """Not in it; each was in the batches."""
    size: int = 0
    """Bytes that went to the server, or 0 where there is none."""
    long: Collection[str] = ()
    """Columns with a text too long for an ordinary column of the engine."""
    inline: str | None = None
    """The rows themselves, where they are too few for a staging table: then there is none (see ``Staged``)."""


class LoadedFile(NamedTuple):
    """A file that the engine reads by itself."""

    rows: int
    high: Any
    """Its highest cursor, if there is one."""


class Merged(NamedTuple):
    run: Run
    """The run as history keeps it, with what became of every row."""
    changes: Sequence[Change]
    """A few rows of each outcome before and after, on a dry run; else empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a merge may do at most, and whether it is for real."""

    max_delete_share: float
    max_reject_share: float = 1.0
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What the warehouse holds of a feed."""

    columns: Mapping[str, str]
    """Column type by name; empty if there is no table."""
    rows: int = 0
    active: int = 0
    deleted: int = 0
    lowest: str | None = None
    """Cursor of the oldest and newest row, as cursor text."""
    highest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """One line of history: what an operator let be read or loaded again."""

    id: str
    feed: str
    at: str
    """Text of records."""
    requested_by: str
    type: str | None = None
    """Of the cursor, where the watermark of a pull feed was set back."""
    before: str | None = None
    """The watermark until then, as cursor text."""
    after: str | None = None
    """The watermark since then, or for files the export time from which they are loaded again. None: the beginning."""
    forgotten: int = 0
    """Work items to be loaded again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseRequest:
    """Whose rows are to be removed, and who wants it."""

    id: str
    """The same at every try of one call, and of no other: it must not tell which keys they are."""
    feed: Feed
    keys: Sequence[tuple[str, ...]]
    """A value for each key column, as an operator writes it."""
    at: str
    """Text of records."""
    requested_by: str
    kept_out: tuple[str, ...] = ()
    """Keyed hashes of the keys that are not to come back."""
    dry_run: bool = False

    @property
    def history(self) -> Feed:
        """What keeps the versions of the feed's rows, as a feed whose table that is."""
        return replace(self.feed, table=f"{self.feed.table}{VERSIONS}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """One line of history: that rows were removed for good, without anything that was in them."""

    id: str
    feed: str
    at: str
    """Text of records."""
    requested_by: str
    rows: int = 0
    """Removed from the feed's table."""
    history: int = 0
    """Removed versions of rows."""
    rejects: int = 0
    """Removed rejected rows."""
    staging: int = 0
    """Dropped staging tables, or files, that may have had such rows."""
    kept_out: tuple[str, ...] = ()
    """Keyed hashes of the keys that are not to come back, see ``shared.contract.kept_out``."""

    @classmethod
    def of(cls, request: EraseRequest) -> Erasure:
        """The outcome of *request* where there is nothing."""
        return cls(id=request.id, feed=request.feed.name, at=request.at, requested_by=request.requested_by)

    @property
    def is_something(self) -> bool:
        """Whether anything was removed, or is to stay out from now on."""
        return bool(self.rows or self.history or self.rejects or self.staging or self.kept_out)


VERSIONS = "_versions"
"""What the name of a table ends with that has all versions of a feed's rows."""
NAMED = "_named"
"""What the name of a view that joins names in ends with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedReference:
    """A column that refers to the key of a table, and what to show of the row it refers to."""

    column: str
    system: str
    table: str
    key: str
    display: tuple[str, ...]
    """Columns of that table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedView:
    """The view ``<table>_named`` of a feed: its active rows, with names of the rows that they refer to."""

    feed: Feed
    references: tuple[NamedReference, ...]
    """Empty if there is to be no such view."""


class Warehouse(Protocol):
    """Takes rows in two steps: staged slice by slice, then merged at once. Each call may be repeated.

    The same run may be worked on by several processes: its slices by some at once, if each call is made once at a time.
    Whoever does all of it does so within ``owned``.
    """

    def owned(self, run: Run, on_wait: Callable[[], None]) -> AbstractContextManager[None]:
        """Within it no other process works on the staging tables of *run*, from the first one on.

        *on_wait* is called, by the call that needed the lock, once another process has given it back: it may raise.
        TransientError, by that call, if the other has held it for WAREHOUSE_LOCK_TIMEOUT.
        """
        ...

    def stage(
        self, feed: Feed, name: str, columns: Sequence[Column], batches: Iterable[pa.RecordBatch], inline_limit: int = 0
    ) -> Loaded:
        """Replace staging table *name* by the rows of *batches*.

        Batches have ``_sluice_row`` (int64) first, then *columns* as shared.contract.types.to_arrow types. Few rows may
        come back inline instead, in at most *inline_limit* characters.
        """
        ...

    def reject(self, plan: Plan, part: int, batches: Iterable[pa.RecordBatch]) -> None:
        """Replace what is kept as rejected of slice *part* of the run, in a transaction of its own.

        *batches* may be iterated again, should the transaction have to be repeated.
        """
        ...

    def merge(self, plan: Plan, staged: Sequence[Staged], run: Run, limits: Limits) -> Merged:
        """Bring the staged rows into the feed's table and write *run* into history, in one transaction.

        A run that history knows as done merges nothing and gets its counts again. DataError if the columns do
        not go together, if too many rows would be deleted, or if the outcomes do not add up.
        """
        ...

    def record(self, run: Run) -> None:
        """Write a failed run into history, unless it is there as done."""
        ...

    def annotate(self, run: str, note: str) -> None:
        """Replace the note of a run that history has."""
        ...

    def renew_view(self, view: NamedView) -> list[str]:
        """Make, replace or drop *view*, as the columns that are there need it; what it lacks, for people.

        It changes nothing where it is right already. What is not a view of ours is left alone.
        """
        ...

    def record_backfill(self, backfill: Backfill) -> None:
        """Write *backfill* into history, over an earlier try of it."""
        ...

    def erase(self, request: EraseRequest) -> Erasure:
        """Remove all that is stored of some keys of a feed, and record it without the data; a dry run only counts.

        Repeating it changes nothing. A call that finds nothing is not recorded. Nothing may load the feed meanwhile.
        ConfigError if a value is none of its column's type.
        """
        ...

    def tidy(self, plan: Plan, *, rejects: bool = False) -> None:
        """Drop all staging tables of the run, and what it rejected if asked (a dry run leaves nothing)."""
        ...


class History(Protocol):
    """What can be asked of a warehouse afterwards."""

    def runs(self, feed: str | None = None, limit: int | None = 20) -> list[Run]:
        """The last runs, newest first."""
        ...

    def recent(self, limit: int) -> list[Run]:
        """The last runs of each feed, without their columns, of all feeds together newest first."""
        ...

    def run(self, id: str) -> Run | None:
        """One run as history has it."""
        ...

    def backfills(self, feed: str, limit: int = 20) -> list[Backfill]:
        """The last backfills of a feed, newest first."""
        ...

    def erasures(self, feed: str | None, limit: int | None = 20) -> list[Erasure]:
        """The last erasures of a feed, or of all, newest first."""
        ...

    def is_loading(self, feed: str) -> bool:
        """Whether a process stages or merges rows of *feed* just now. Few rows do not show: they take no time."""
        ...

    def rejects(self, feed: str, run: str | None = None) -> Iterable[Mapping[str, Json]]:
        """Rejected rows and values, newest run first: REJECT_COLUMNS with run, status, exported_at and files."""
        ...

    def profile(self, feed: Feed) -> Profile:
        """Columns, counts and span of a feed's table."""
        ...

    def columns(self, feed: Feed) -> Mapping[str, str]:
        """Column type by name of a feed's table, without counting anything; empty if there is no table."""
        ...

    def orphans(self, feed: Feed, run: str | None = None) -> list[Orphans]:
        """Rows that refer to keys that are not there, by column; of those that *run* wrote, if it is given."""
        ...

    def table_rows(self, schema: str, table: str) -> tuple[list[str], list[Sequence[Any]]]:
        """The columns and all rows of a small table that need not be a feed's; no columns if there is none."""
        ...

    def examine(self) -> Iterator[Finding]:
        """Whether it can be reached and used, step by step. Errors come out as they are."""
        ...


class WarehouseWithHistory(Warehouse, History, Protocol):
    """What every engine here is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """What upkeep does beside putting small files together."""

    keep: dt.timedelta
    """How long replaced files stay, for readers and for earlier versions."""
    cluster: bool = False
    """Whether to sort tables by their key whose files overlap in it."""
    manifest: bool = False
    """Whether to write a manifest of current files; one that is there is kept current in any case."""
    dry_run: bool = False
    """Only say what would be done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableUpkeep:
    """What became of one table, or on a dry run would."""

    table: str
    """The feed it belongs to."""
    files_before: int = 0
    files_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    """Of the current version."""
    rewrites: int = 0
    """Groups of files that were written anew, each in a commit of its own."""
    deleted_files: int = 0
    deleted_bytes: int = 0
    """Of what no version within the retention has."""
    note: str | None = None


KeysOf: TypeAlias = Callable[[str, Collection[str]], Sequence[str]]
"""The key columns of a feed whose table has these columns; none if they are unknown."""


@runtime_checkable
class NeedsUpkeep(Protocol):
    """A warehouse whose tables are files, which become many."""

    def upkeep(self, feed: str, keys_of: KeysOf, options: Upkeep) -> TableUpkeep | None:
        """Do the upkeep of the table of *feed* while loads go on; None if there is no table."""
        ...


@runtime_checkable
class LimitsLog(Protocol):
    """A warehouse whose service tier may limit how fast it can be written to."""

    def log_rate(self) -> int | None:
        """Bytes a second by which the log may grow; None if that is not known."""
        ...


def open_warehouse(settings: Settings) -> WarehouseWithHistory:
    """The warehouse WAREHOUSE_URL names."""
    return open_destination(settings, MAIN)


def open_destination(settings: Settings, name: str) -> WarehouseWithHistory:
    """The warehouse that WAREHOUSE_URL_<NAME> names. ConfigError if the setting is missing or wrong."""
    own = settings.of_destination(name)
    kind, _ = url_kind(warehouse_setting(name), own.warehouse_url, _MODULES)
    module = importlib.import_module(f"{__name__}.{_MODULES[kind]}")
    try:
        return cast("WarehouseWithHistory", module.open_warehouse(own))
    except ConfigError as error:
        if name == MAIN:
            raise
        raise ConfigError(naming_setting(error.problem, name), fix=naming_setting(error.fix, name)) from error

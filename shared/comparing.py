"""What a warehouse is asked, and answers, when a feed's table is compared with rows that were staged."""

from __future__ import annotations

import datetime as dt

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from shared.model import Plan, Run, Staged

RANGE_ROWS = 50_000
MOST_RANGES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """How to compare."""

    began: dt.datetime
    """When the reading of the source began (UTC, without zone): what a run has written since is no difference."""
    loaded_to: Any = None
    """The watermark of a pull feed, as a value of its cursor: rows beyond it are not loaded yet."""
    most: int = 20
    """Differences that are listed."""
    range_rows: int = RANGE_ROWS
    """Rows of one range of keys, or more if that were more than MOST_RANGES."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One row that is not the same on both sides."""

    kind: Literal["missing", "extra", "differing"]
    """In the table: it is missing, it is there though the source lacks it, or it has other values."""
    key: Mapping[str, Any]
    columns: tuple[str, ...] = ()
    """Those whose values differ."""
    deleted: bool = False
    """Whether a missing row is in the table as deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How a feed's table differs from what was staged."""

    rows: int
    """Active rows of the table."""
    source_rows: int
    """Rows of the source that are not deleted there, each key once."""
    ranges: int
    ranges_read: int = 0
    """Ranges of keys whose counts or checksums differed, and which were read row by row."""
    missing: int = 0
    extra: int = 0
    differing: int = 0
    later: int = 0
    """Rows that differ because the table's are from a later time, or the source's are not loaded yet."""
    rejected: int = 0
    """Rows of the table whose row in the source is rejected, so that they cannot be compared."""
    columns: Mapping[str, int] = field(default_factory=dict)
    """How many rows differ in a column, by its name."""
    lacking: Mapping[str, str] = field(default_factory=dict)
    """Types of columns of the source that the table does not have."""
    unlike: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Columns that have a type in the table that the other, that of the source, does not go into."""
    uncompared: tuple[str, ...] = ()
    """Columns of the table that the source does not have: loads leave their values as they are."""
    differences: Sequence[Difference] = ()
    """Some of them, in the order of their keys."""

    @property
    def equal(self) -> bool:
        return not (self.missing or self.extra or self.differing or self.lacking or self.unlike)


@runtime_checkable
class Compares(Protocol):
    """A warehouse that can compare."""

    def compare(self, plan: Plan, staged: Sequence[Staged], run: Run, options: CompareOptions) -> Comparison:
        """Compare the table of the plan's feed with what was staged of all its rows. Changes nothing that stays.

        *run* has the time of the export. ConfigError if there is no such table, or if its keys cannot be compared.
        """
        ...

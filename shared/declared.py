"""What the catalog declares of a feed's rows: what must be true of them, and how text is understood. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Mask: TypeAlias = Literal["all", "last4", "email"]
"""What is left of a masked value: nothing, its last four characters, or the domain of an e-mail address."""

CHECK = "check "
"""What the part of a note begins with that says which check failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What must be true of the rows of a feed before they are published."""

    kind: str
    """See shared.catalog.checks."""
    then: Literal["warn", "reject", "stop"]
    """Note it, reject the rows that fail, or publish nothing."""
    columns: tuple[str, ...] = ()
    low: str | None = None
    """The lowest value allowed, as text; of ``row_count`` a share of the usual number."""
    high: str | None = None
    values: tuple[str, ...] = ()
    """All values that are allowed, as text."""
    pattern: str | None = None
    """A regular expression that all of a value must match."""
    references: str | None = None
    """The key a value must be, as ``<system>.<table>.<column>``."""
    hours: float | None = None
    """How old the newest row may be."""
    condition: str | None = None
    """In SQL of the warehouse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutColumn:
    """A column of a feed that is read from text: which headers mean it, and how its values are cleaned."""

    name: str
    type: str = "text"
    aliases: tuple[str, ...] = ()
    """Other headers that mean it, in order of preference. Its name is the first."""
    cleaner: str | None = None
    """Name in shared.contract.types.CLEANERS. Without one, blanks become NULL and the rest is cast to the type."""
    required: bool = False
    """Whether a row without a valid value is rejected. Keys and the cursor are always required."""
    parts: tuple[str, ...] = ()
    """Headers whose values follow this one's, after a blank: a date, its time, its zone."""
    several: Literal["first", "coalesce"] = "first"
    """If several of its headers are there: take the first alias and keep the others in Extra, or the first value."""
    true: tuple[str, ...] = ()
    """Words that mean true beside the usual ones, in any case."""
    false: tuple[str, ...] = ()
    references: str | None = None
    """The key it refers to, as ``<system>.<table>.<column>``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the text files of a feed are understood."""

    columns: tuple[LayoutColumn, ...]
    """In the order in which they take headers."""
    region: str = "US"
    """Country whose phone numbers have no country code, as two letters (ISO 3166)."""
    decimal_mark: Literal[".", ","] = "."
    day_first: bool = False
    """What 03/04/2026 means if no other date of its file shows it: 3 April, or else March 4."""
    encoding: str | None = None
    """Of the files; like the following it is detected if it is not declared."""
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    header: bool | None = None
    """False: the files have no header, and the columns are in the order of the catalog."""
    choices: Mapping[str, str] = field(default_factory=dict)
    """The column that an operator chose for a header; it goes before all aliases."""

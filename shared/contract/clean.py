"""Placeholder."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from shared.contract.cast import Cast, cast


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanOptions:
    region: str = "US"
    decimal_mark: str = "."
    day_first: bool = False
    timezone: str = "UTC"
    true: tuple[str, ...] = ()
    false: tuple[str, ...] = ()


CLEANERS: Mapping[str, Collection[str]] = {}


def clean(array: pa.Array[Any], cleaner: str, kind: str, options: CleanOptions) -> Cast:
    return cast(array, kind, options.timezone)


class DayMonth(NamedTuple):
    day_first: int
    month_first: int
    either: int


def day_month(array: pa.Array[Any]) -> DayMonth:
    return DayMonth(0, 0, 0)

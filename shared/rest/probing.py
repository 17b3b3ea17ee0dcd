"""What a page of an API shows of the columns that a table would have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from shared.contract.cast import cast
from shared.contract.conform import folded
from shared.rest.rows import Record, as_text, texts
from shared.text import one_line

_LONGEST = 60


def declared_types(found: Mapping[str, str], declared: Mapping[str, str]) -> dict[str, str]:
    """The types of the columns of a table: those *found*, but where the catalog has declared another one."""
    known = {folded(name): kind for name, kind in declared.items()}
    return {name: known.get(folded(name), kind) for name, kind in found.items()}


def filled(name: str, rows: Sequence[Record]) -> list[Any]:
    """The values that *rows* have of a column."""
    return [row[name] for row in rows if row.get(name) is not None]


def example(values: Sequence[Any]) -> str:
    """The first value, as people read it."""
    if not values:
        return ""
    first = values[0]
    return one_line(str(first) if hasattr(first, "isoformat") else as_text(first))[:_LONGEST]


def misfits(name: str, kind: str, values: Sequence[Any], timezone: str) -> Iterator[str]:
    """How many of *values* do not fit the type that the catalog declares."""
    if kind == "text":
        return
    array = pa.array(values) if values and hasattr(values[0], "isoformat") else texts(values)
    for fault in cast(array, kind, timezone).faults:
        if count := fault.where.true_count:
            bad = next(value for value, wrong in zip(values, fault.where.to_pylist(), strict=True) if wrong)
            shown = as_text(bad)[:_LONGEST]
            yield f"{count} of {len(values)} values of {name} are no {kind}, as the catalog declares: {shown}"

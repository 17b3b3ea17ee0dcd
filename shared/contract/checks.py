"""Checks that the catalog declares for the rows of a feed: which rows fail them, and what follows from that. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa

from shared.arrow import pc
from shared.contract import types
from shared.contract.cast import Fault, cast
from shared.contract.codes import Code
from shared.declared import CHECK, Check
from shared.errors import ConfigError, DataError
from shared.model import Column, Feed

OF_ROWS = ("not_null", "in_range", "in_set", "matches")
"""Kinds that look at one value alone. The others look at a run as a whole."""


def label(check: Check) -> str:
    """A check in a few words.

    >>> label(Check(kind="in_range", then="warn", columns=("Age",), low="0", high="150"))
    'Age in_range 0 to 150'
    """
    span = f"{check.low if check.low is not None else '...'} to {check.high if check.high is not None else '...'}"
    details = {
        "in_range": span, "in_set": ", ".join(check.values[:5]), "matches": repr(check.pattern), "row_count": span,
        "refers_to": check.references, "freshness": f"{check.hours:g} hours" if check.hours else "",
        "sql": repr(check.condition),
    }  # fmt: skip
    return " ".join(part for part in (", ".join(check.columns), check.kind, details.get(check.kind)) if part)


class Failure(NamedTuple):
    """A check that failed."""

    check: Check
    what: str
    """How many rows, or what else, in words."""


def settled(feed: str, failures: Sequence[Failure]) -> str | None:
    """What a run is to note of them; DataError if one of them stops it."""
    texts = {one: f"{CHECK}{label(one.check)}: {one.what}" for one in failures}
    stopping = [text for one, text in texts.items() if one.check.then == "stop"]
    if stopping:
        raise DataError(
            f"nothing of {feed} is published: {'; '.join(stopping)}",
            fix="Correct the data at the source, or the check in the catalog",
        )
    return "; ".join(texts.values()) or None


def rows(number: int) -> str:
    """
    >>> rows(1), rows(2_000)
    ('1 row fails it', '2,000 rows fail it')
    """
    return "1 row fails it" if number == 1 else f"{number:,} rows fail it"


def has_row_checks(feed: Feed) -> bool:
    """Whether rows have to be looked at one by one."""
    return any(check.kind in OF_ROWS for check in feed.checks)


def has_checks_of_runs(feed: Feed) -> bool:
    """Whether the warehouse has to look at a run before it is merged."""
    return any(check.kind not in OF_ROWS for check in feed.checks)


def row_failures(feed: Feed, columns: Sequence[Column], counts: Mapping[str, int]) -> list[Failure]:
    """Checks of single values that failed, by *counts* of RowChecks; and those whose columns a run does not have."""
    there = {column.name for column in columns if column.type != types.NULL}
    failures = []
    for number, check in enumerate(feed.checks):
        lacking = [name for name in check.columns if name not in there] if check.kind in OF_ROWS else []
        if lacking:
            failures.append(Failure(replace(check, then="warn"), f"there is no column {lacking[0]!r}"))
        if counts.get(str(number)):
            failures.append(Failure(check, rows(counts[str(number)])))
    return failures


class RowChecks:
    """The checks of single values, for batches of a feed."""

    def __init__(self, feed: Feed, kinds: Mapping[str, str]) -> None:
        """*kinds* are the types of the columns by name. ConfigError if a bound is no value of its column's type."""
        self._tests: list[tuple[int, Check, str, Callable[[pa.Array[Any]], pa.BooleanArray]]] = [
            (number, check, name, _test(check, name, kinds[name]))
            for number, check in enumerate(feed.checks)
            if check.kind in OF_ROWS
            for name in check.columns
            if name in kinds
        ]

    def faults(self, arrays: Mapping[str, pa.Array[Any]]) -> list[tuple[str | None, Fault]]:
        """The rows that are to be rejected, by column."""
        found = ((name, check, test(arrays[name])) for _, check, name, test in self._tests if check.then == "reject")
        return [
            (name, Fault(Code.CHECK_FAILED, f"it fails the check {label(check)}", where))
            for name, check, where in found
            if where.true_count
        ]

    def count(self, accepted: pa.RecordBatch) -> dict[str, int]:
        """How many accepted rows fail each of the other checks, by its number in the feed."""
        counts: dict[str, int] = {}
        for number, check, name, test in self._tests:
            failed = test(accepted.column(name)).true_count if check.then != "reject" else 0
            if failed:
                counts[str(number)] = counts.get(str(number), 0) + failed
        return counts


def _test(check: Check, name: str, kind: str) -> Callable[[pa.Array[Any]], pa.BooleanArray]:
    """Which values of a column fail. NULL fails ``not_null`` alone."""
    if check.kind == "not_null":
        return lambda values: values.is_null()
    if check.kind == "matches":
        pattern = rf"\A(?:{check.pattern})\z"
        return lambda values: _no(pc.match_substring_regex(values.cast(pa.string()), pattern=pattern))
    if check.kind == "in_set":
        allowed = _typed(check, name, kind, check.values)
        return lambda values: pc.and_not(values.is_valid(), pc.is_in(values, value_set=allowed))
    low, high = (None if end is None else _typed(check, name, kind, [end])[0] for end in (check.low, check.high))

    def outside(values: pa.Array[Any]) -> pa.BooleanArray:
        below = pc.less(values, low) if low is not None else pa.array([False] * len(values))
        above = pc.greater(values, high) if high is not None else pa.array([False] * len(values))
        failed: pa.BooleanArray = pc.fill_null(pc.or_kleene(below, above), False)
        return failed

    return outside


def _no(passed: Any) -> Any:
    return pc.fill_null(pc.invert(passed), False)


def _typed(check: Check, name: str, kind: str, texts: Sequence[str]) -> pa.Array[Any]:
    values = cast(pa.array(texts, pa.string()), kind).values
    if values.null_count:
        raise ConfigError(
            f"check {label(check)}: {texts[values.is_null().index(True).as_py()]!r} is no {kind}, the type of {name!r}",
            fix="Write values of that type in the check in the catalog",
        )
    return values

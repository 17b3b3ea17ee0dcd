"""Checks of single values: which rows fail them."""

from __future__ import annotations

import datetime as dt

from decimal import Decimal

import pyarrow as pa
import pytest

from shared.contract.checks import RowChecks
from shared.declared import Check
from shared.model import Feed
from tests.advice import advised


def failing(check: Check, kind: str, values: pa.Array) -> list[int]:
    """The places of the values that fail."""
    feed = Feed(system="shop", table="item", source="exports", keys=("Id",), checks=(check,))
    faults = RowChecks(feed, {"A": kind}).faults({"A": values})
    return [place for _, fault in faults for place, failed in enumerate(fault.where.to_pylist()) if failed]


def check(kind: str, **options) -> Check:
    return Check(kind=kind, then="reject", columns=("A",), **options)


CASES = {
    "not null": (check("not_null"), "text", pa.array(["", None, "x"]), [1]),
    "in range": (check("in_range", low="0", high="10"), "bigint", pa.array([-1, 0, 10, 11, None]), [0, 3]),
    "from": (check("in_range", low="0.5"), "double", pa.array([0.4, 0.5, float("inf")]), [0]),
    "up to": (check("in_range", high="2026-02-01"), "date",
              pa.array([dt.date(2026, 2, 1), dt.date(2026, 2, 2)]), [1]),
    "decimals": (check("in_range", low="1.50", high="2"), "decimal(9,2)",
                 pa.array([Decimal("1.49"), Decimal("1.50"), Decimal("2.01")], pa.decimal128(9, 2)), [0, 2]),
    "texts in order": (check("in_range", low="b"), "text", pa.array(["a", "b", None]), [0]),
    "in set": (check("in_set", values=("a", "b")), "text", pa.array(["a", "A", None, "b", ""]), [1, 4]),
    "in set of numbers": (check("in_set", values=("1", "2")), "smallint", pa.array([1, 3], pa.int16()), [1]),
    "matches as a whole": (check("matches", pattern=r"\d{2}|x"), "text",
                           pa.array(["12", "123", "x", "x\n", None, ""]), [1, 3, 5]),
    "matches a number": (check("matches", pattern="7.*"), "bigint", pa.array([7, 70, 17]), [2]),
}  # fmt: skip


@pytest.mark.parametrize(("check", "kind", "values", "expected"), CASES.values(), ids=CASES)
def test_values_that_fail(check, kind, values, expected):
    """NULL fails `not_null` alone: a check says what values must be, not that there is one."""
    assert expected == failing(check, kind, values)


def test_bound_that_is_no_value_of_the_column_is_refused():
    """The type may be known only from the data."""
    feed = Feed(system="shop", table="item", source="exports", keys=("Id",), checks=(check("in_range", low="x"),))
    with advised("Write values of that type in the check in the catalog"):
        RowChecks(feed, {"A": "bigint"})

    assert RowChecks(feed, {"A": "text"})

"""Odd values and what has to come back of them: whether a bulk load into this very database can be trusted.

What BULK INSERT makes of '' beside NULL, of line ends inside quotes or of the extremes of a type is partly written
nowhere. So a few rows with all of it go the whole way, by the app's own writer, and are read back.
"""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa

from shared.arrow import arange
from shared.contract import types
from shared.contract.conform import ROW
from shared.model import Column, Feed

FEED = Feed(system="staging", table="canary", source="doctor", keys=())

COLUMNS = tuple(
    Column(name, name, kind)
    for name, kind in (
        ("First", "text"), ("Text", "text"), ("Flag", "boolean"), ("Small", "smallint"), ("Whole", "integer"),
        ("Big", "bigint"), ("Exact", "decimal(38,10)"), ("Real", "real"), ("Double", "double"), ("Day", "date"),
        ("Time", "time"), ("Moment", "timestamp"), ("Bytes", "binary"), ("Last", "text"),
    )
)  # fmt: skip


class Case(NamedTuple):
    """One row, and what it proves."""

    proves: str
    values: dict[str, Any]


CASES = (
    Case("a row of NULLs stays one", {}),
    Case("NULL stays NULL beside text", {"Text": "beside"}),
    Case("empty text is not NULL, at the start, within and at the end of a row", {"First": "", "Text": "", "Last": ""}),
    Case("commas and quotes are text", {"Text": 'a, "b", ""c""', "Last": '"'}),
    Case("LF, CR LF and a lone CR are text", {"Text": "a\nb\r\nc\rd", "Last": "\n"}),
    Case("tabs and blanks at both ends are text", {"Text": " \ta \t", "First": " ", "Last": " "}),
    Case("characters beyond the first 65,536, and combining ones", {"Text": "🔑 e\u0301 ẞ \u2028 中"}),
    Case("text of 4,000 units", {"Text": "x" * 3_998 + "🔑"}),
    Case("text beyond 8,000 bytes", {"Last": "ü" * 9_000}),
    Case("both booleans", {"Flag": True}),
    Case("both booleans", {"Flag": False}),
    Case(
        "the largest numbers",
        {
            "Small": 2**15 - 1,
            "Whole": 2**31 - 1,
            "Big": 2**63 - 1,
            "Exact": Decimal("9999999999999999999999999999.9999999999"),
            "Real": 3.4028234663852886e38,
            "Double": 1.7976931348623157e308,
        },
    ),
    Case(
        "the smallest numbers",
        {
            "Small": -(2**15),
            "Whole": -(2**31),
            "Big": -(2**63),
            "Exact": Decimal("-9999999999999999999999999999.9999999999"),
            "Real": -3.4028234663852886e38,
            "Double": -1.7976931348623157e308,
        },
    ),
    Case("numbers near zero", {"Exact": Decimal("0.0000000001"), "Real": 1.17549435e-38, "Double": 1e-300}),
    Case("the first moment", {"Day": dt.date.min, "Time": dt.time.min, "Moment": dt.datetime(1, 1, 1)}),  # noqa: DTZ001 - columns have no zone
    Case("the last moment", {"Day": dt.date.max, "Time": dt.time.max, "Moment": dt.datetime.max}),  # noqa: DTZ901 - columns have no zone
    Case("no bytes, and a zero byte", {"Bytes": b""}),
    Case("no bytes, and a zero byte", {"Bytes": b"\0"}),
    Case("more than 8,000 bytes", {"Bytes": bytes(range(256)) * 40}),
)


def batch() -> pa.RecordBatch:
    """All cases as one batch, the way batches come to a warehouse."""
    schema = pa.schema([(column.name, types.to_arrow(column.type)) for column in COLUMNS])
    rows = pa.RecordBatch.from_pylist([case.values for case in CASES], schema=schema)
    return pa.RecordBatch.from_arrays([arange(0, len(CASES)), *rows.columns], names=[ROW, *schema.names])


def failures(found: Sequence[Sequence[Any]]) -> Iterator[str]:
    """What did not come back as it went, of rows read back in order with the row number first."""
    by_number = {row[0]: row[1:] for row in found}
    sent = batch().drop_columns([ROW]).to_pylist()
    for number, (case, values) in enumerate(zip(CASES, sent, strict=True)):
        row = by_number.get(number)
        if row is None:
            yield f"{case.proves}: the row is missing"
            continue
        for (name, value), back in zip(values.items(), row, strict=True):
            if not _same(value, back):
                yield f"{case.proves}: column {name} has {_short(back)} for {_short(value)}"
    if len(found) != len(CASES):
        yield f"{len(found)} rows came back for {len(CASES)}"


def _same(sent: Any, back: Any) -> bool:
    if sent is None or back is None:
        return sent is back
    return bool(type(sent)(back) == sent) if isinstance(sent, bytes | float) else bool(back == sent)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."

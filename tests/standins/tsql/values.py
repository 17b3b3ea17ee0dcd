"""Python values as DuckDB text."""

from __future__ import annotations

import datetime as dt
import math
import uuid

from decimal import Decimal

from tests.standins.tsql import catalog, errors


def constant(value: object) -> str:  # noqa: C901, PLR0911 - one case a type
    """A Python value as DuckDB text, with the type ODBC would send."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            if not math.isfinite(value):
                raise errors.raised(
                    8023,
                    "The incoming tabular data stream (TDS) remote procedure call (RPC) protocol stream is incorrect. "
                    "Parameter 3: The supplied value is not a valid instance of data type float. Check the source "
                    "data for invalid values. An example of an invalid value is data of numeric type with scale "
                    "greater than precision.",
                )
            return f"CAST('{value!r}' AS DOUBLE)"
        case Decimal():
            return _decimal(value)
        case str():
            pieces = (catalog.literal(piece) for piece in value.split("\0"))
            return "(" + " || chr(0) || ".join(pieces) + ")" if "\0" in value else catalog.literal(value)
        case bytes() | bytearray():
            return f"unhex('{value.hex()}')"
        case dt.datetime():
            return f"TIMESTAMP '{value.replace(tzinfo=None).isoformat(' ')}'"  # pyodbc drops the zone
        case dt.date():
            return f"DATE '{value.isoformat()}'"
        case dt.time():
            return f"TIME '{value.replace(tzinfo=None).isoformat()}'"
        case uuid.UUID():
            return f"CAST('{value}' AS UUID)"
    raise errors.of_driver(
        "HY105", f"Invalid parameter type.  param-type={type(value).__name__} (0) (SQLBindParameter)"
    )


def _decimal(value: Decimal) -> str:
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    scale = max(0, -exponent)
    precision = max(len(digits) + max(0, exponent), scale, 1)
    if precision > 38:
        raise errors.raised(8114, "Error converting data type numeric to numeric.")
    return f"CAST('{value:f}' AS DECIMAL({precision},{scale}))"

"""Columns of a database: the types they are read as, how they are compared, and how values become Arrow arrays.

| MySQL, MariaDB           | PostgreSQL             | SQL Server, Azure SQL  | read as                           |
|--------------------------|------------------------|------------------------|-----------------------------------|
| BIT(1)                   | boolean                | bit                    | bool                              |
| TINYINT, TINYINT(1) too  |                        |                        | int8; unsigned uint8              |
|                          |                        | tinyint                | uint8                             |
| SMALLINT to BIGINT, YEAR | smallint to bigint     | smallint to bigint     | int16 to int64; unsigned uint16.. |
| BIT(n)                   |                        |                        | uint64                            |
|                          |                        | rowversion (timestamp) | int64                             |
| DECIMAL(p,s)             | numeric(p,s)           | decimal(p,s)           | decimal128(p,s); p above 38: text |
|                          | numeric                |                        | text                              |
|                          |                        | money, smallmoney      | decimal128(19,4), (10,4)          |
| FLOAT, DOUBLE            | real, double precision | real, float            | float32, float64                  |
| DATE, TIME               | date, time             | date, time             | date32, time64[us]                |
| DATETIME                 | timestamp              | datetime, datetime2    | timestamp[us], finer cut off      |
| TIMESTAMP                | timestamptz            | datetimeoffset         | timestamp[us] in UTC              |
| BINARY, BLOB, VECTOR     | bytea                  | binary, image          | binary                            |
| CHAR, TEXT, ENUM, SET    | char, text, enum       | char, nchar, text      | text                              |
| JSON                     | json                   | json, xml              | text as the server writes it      |
| UUID                     | uuid                   | uniqueidentifier       | text in lower case                |
|                          | arrays, jsonb          |                        | JSON text                         |
| GEOMETRY, POINT ...      |                        | geometry, geography    | WKT                               |
|                          |                        | sql_variant            | text, with all digits             |
| all others               | intervals, ranges ...  | hierarchyid ...        | text as the server writes it      |

Values that the type cannot hold make their page text, so that the contract rejects each of them and keeps its row:
dates of zeros, days and times beyond those of a calendar, infinity, NaN in a numeric, text that is not UTF-8. A domain
of PostgreSQL is its type; a domain over a domain is text.
"""

from __future__ import annotations

import re

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

import pyarrow as pa
import sqlalchemy as sa

from shared.arrow import pc
from shared.contract.cast import json_text

Expression: TypeAlias = "sa.ColumnElement[Any]"

INSTANT = pa.timestamp("us", "UTC")
NAIVE = pa.timestamp("us")
ANY_NUMBER = pa.decimal256(76, 0)
"""Compared with numbers that are read as text, because they are too long."""
_MOST_DIGITS = 38
_MICROSECONDS = len("2026-02-24 12:00:00.123456")


class AsItIs(sa.types.UserDefinedType[Any]):
    """A type whose values go to the driver unchanged: the server takes the type of what they are compared with."""

    cache_ok = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceColumn:
    """One column: its type, and the expressions that select and order it."""

    name: str
    type: pa.DataType
    nullable: bool
    selected: Expression
    ordered: Expression
    """What rows are compared and ordered by."""
    compared: pa.DataType
    """The type of the values it is compared with: numbers, too, where ``type`` is text because they are too long."""
    converted: Callable[[Expression], Expression] | None = None
    """Makes of a parameter what ``ordered`` is compared with, where the server would not do so by itself."""
    is_finer: bool = False
    """Whether it has instants between two microseconds, which cursor text cuts off."""

    def bound(self, value: Any) -> Expression:
        """*value* as a parameter to compare ``ordered`` with."""
        parameter = sa.bindparam(None, value, type_=AsItIs(), unique=True)
        return self.converted(parameter) if self.converted else parameter


def decimal(precision: int | None, scale: int | None) -> pa.DataType:
    """The type of a number with so many digits: text where no decimal holds it."""
    if precision is None or precision > _MOST_DIGITS or not 0 <= (scale or 0) <= precision:
        return pa.string()
    return pa.decimal128(precision, scale or 0)


def quoted_table(table: str, schema: str | None, names: Sequence[str]) -> sa.TableClause:
    """A table and its columns, always quoted. They are always qualified by their table.

    ORDER BY "At" would mean the selected expression "At".
    """
    quoted = [sa.quoted_name(name, quote=True) for name in (table, schema) if name]
    columns: list[Any] = [sa.column(sa.quoted_name(name, quote=True)) for name in names]
    return sa.table(quoted[0], *columns, schema=quoted[1] if schema else None)


# -- values


def array(values: Sequence[Any], kind: pa.DataType) -> pa.Array[Any]:
    """*values* of a column of type *kind*; all as text if the type cannot hold one of them."""
    try:
        if not pa.types.is_temporal(kind):
            return pa.array(_plain(values, kind), kind)
        return temporal_array(pa.array(values, pa.string()), kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        zoned = kind.equals(INSTANT)
        return _texts([None if value is None else _as_text(value, zoned=zoned) for value in values])


def temporal_array(texts: pa.Array[Any], kind: pa.DataType) -> pa.Array[Any]:
    """*texts* as the server writes dates and times; ArrowException if the type cannot hold one of them."""
    if pa.types.is_time(kind):
        return texts  # Arrow reads no times of day from text
    if pa.types.is_timestamp(kind):
        plain = pc.replace_substring_regex(texts, r"\+00$", "") if kind.equals(INSTANT) else texts
        cut = pc.utf8_slice_codeunits(plain, 0, _MICROSECONDS) if _are_finer(texts) else plain
        return cut.cast(NAIVE).view(pa.int64()).view(kind)
    return texts.cast(kind)


def _are_finer(texts: pa.Array[Any]) -> bool:
    """Whether one of them has a seventh digit of its second, as SQL Server's have."""
    if (pc.max(pc.binary_length(texts)).as_py() or 0) <= _MICROSECONDS:
        return False
    found = pc.any(pc.match_substring_regex(texts, r"\.\d{7}"))
    return bool(found.as_py())


def _plain(values: Sequence[Any], kind: pa.DataType) -> Sequence[Any]:
    if pa.types.is_boolean(kind):  # a bit comes as a number
        return [None if value is None else bool(value) for value in values]
    return values


def _as_text(value: Any, *, zoned: bool) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, list | dict):
        return json_text(value, lenient=True)
    text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    return f"{text.removesuffix('+00')}+00:00" if zoned else text


def _texts(values: Sequence[str | None]) -> pa.Array[Any]:
    """*values* as text, bytes that were no UTF-8 as they came: the contract finds them."""
    raw = [None if value is None else value.encode(errors="surrogateescape") for value in values]
    return pa.array(raw, pa.binary()).view(pa.string())


def value_to_text(value: Any) -> str | None:
    """A value of a key or cursor as a slice carries it; ``value_from_text`` reads it back.

    >>> value_to_text(Decimal("1.50")), value_to_text(b"\\x00a"), value_to_text(None)
    ('1.50', '0061', None)
    """
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.hex()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def value_from_text(text: str | None, kind: pa.DataType) -> Any:
    """What ``value_to_text`` was given. Dates and times stay text, which the server parses as it printed them."""
    if text is None:
        return None
    return next((read(text) for test, read in _READERS if test(kind)), text)


def _number(text: str) -> int | Decimal:
    """A whole number stays an int: an index on integers is not used for a decimal."""
    return int(text) if re.fullmatch(r"-?\d+", text) else Decimal(text)


_READERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[str], Any]], ...] = (
    (pa.types.is_boolean, lambda text: text in ("True", "1")),
    (pa.types.is_integer, _number),
    (pa.types.is_decimal, Decimal),
    (pa.types.is_floating, float),
    (pa.types.is_binary, bytes.fromhex),
)

"""Columns of a database: the types they are read as, how they are compared, and how values become Arrow arrays.

| MariaDB, MySQL               | PostgreSQL                      | read as                                     |
|------------------------------|---------------------------------|---------------------------------------------|
| BIT(1)                       | boolean                         | bool                                        |
| TINYINT to BIGINT, YEAR      | smallint, integer, bigint       | int8 to int64; unsigned ones uint8 to uint64|
| BIT(n)                       |                                 | uint64                                      |
| DECIMAL(p,s), p up to 38     | numeric(p,s), p up to 38        | decimal128(p,s)                             |
| DECIMAL(p,s) beyond          | numeric without (p,s) or beyond | text: there is no decimal that holds it all |
| FLOAT, DOUBLE                | real, double precision          | float32, float64                            |
| DATE, DATETIME, TIME         | date, timestamp, time           | date32, timestamp[us], time64[us]           |
| TIMESTAMP                    | timestamptz                     | timestamp[us] in UTC                        |
| BINARY, VARBINARY, BLOB      | bytea                           | binary                                      |
| CHAR, TEXT, ENUM, SET, JSON  | char, varchar, text, enum, json | text                                        |
|                              | arrays, jsonb                   | JSON text                                   |
| GEOMETRY                     |                                 | binary                                      |
| all others                   | all others                      | text as the server writes it                |

A numeric behind a domain counts as one without (p,s): SQLAlchemy does not find them there. Declare its type under
``types`` in the catalog, such as decimal(38,9).
"""

from __future__ import annotations

import re

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

import pyarrow as pa
import sqlalchemy as sa

from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.sql import sqltypes

from shared.arrow import pc
from shared.contract.cast import json_text

Expression: TypeAlias = "sa.ColumnElement[Any]"

_WIDTHS = {"TINYINT": 8, "SMALLINT": 16, "MEDIUMINT": 32, "INTEGER": 32, "BIGINT": 64}
_MOST_DIGITS = 38
_ANY_NUMBER = pa.decimal256(76, 0)
INSTANT = pa.timestamp("us", "UTC")
_BY_CLASS: tuple[tuple[type[Any], pa.DataType], ...] = (
    (sa.Boolean, pa.bool_()),
    (mysql.YEAR, pa.int16()),
    (sa.Double, pa.float64()),
    (sa.Float, pa.float32()),
    (sa.Date, pa.date32()),
    (sqltypes._Binary, pa.binary()),
)


@dataclass(frozen=True, slots=True)
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


def quoted_table(table: str, schema: str | None, names: Sequence[str]) -> sa.TableClause:
    """A table and its columns, always quoted."""
    quoted = [sa.quoted_name(name, quote=True) for name in (table, schema) if name]
    columns: list[Any] = [sa.column(sa.quoted_name(name, quote=True)) for name in names]
    return sa.table(quoted[0], *columns, schema=quoted[1] if schema else None)


def of_table(
    clause: sa.TableClause, types: Mapping[str, Any], dialect: str, *, nullable: Collection[str], cursor: str | None
) -> dict[str, SourceColumn]:
    """The columns of *clause* by name; *types* are as SQLAlchemy reflected them. A text *cursor* is ordered by bytes.

    They are always qualified by their table: ORDER BY "At" would mean the selected expression "At".
    """
    found = {}
    for name, reflected in types.items():
        kind, column = _base_type(reflected), clause.c[name]
        arrow = _arrow(kind, dialect)
        selected = _selected(column, kind, arrow, dialect)
        compared = _ANY_NUMBER if isinstance(kind, sa.Numeric) and pa.types.is_string(arrow) else arrow
        by_bytes = name == cursor and pa.types.is_string(compared)
        ordered = _by_bytes(column, dialect) if by_bytes else _ordered(column, selected, kind, arrow)
        found[name] = SourceColumn(name, arrow, name in nullable, selected, ordered, compared)
    return found


def _base_type(kind: Any) -> Any:
    return _base_type(kind.data_type) if isinstance(kind, postgresql.DOMAIN) else kind


def _arrow(kind: Any, dialect: str) -> pa.DataType:
    if isinstance(kind, sa.Integer):
        bits = _WIDTHS.get(type(kind).__name__, 64)
        return getattr(pa, f"{'uint' if getattr(kind, 'unsigned', False) else 'int'}{bits}")()  # type: ignore[no-any-return]
    if isinstance(kind, mysql.BIT):
        return pa.bool_() if kind.length in (None, 1) else pa.uint64()
    if isinstance(kind, sa.DateTime | sa.Time):
        return _temporal(kind)
    for known, arrow in _BY_CLASS:
        if isinstance(kind, known):
            return arrow
    if isinstance(kind, sqltypes.NullType) and dialect == "mysql":
        return pa.binary()  # geometry; PostgreSQL casts all its types to text
    return _decimal(kind) if isinstance(kind, sa.Numeric) else pa.string()


def _temporal(kind: sa.DateTime | sa.Time) -> pa.DataType:
    if isinstance(kind, sa.Time):
        return pa.string() if kind.timezone else pa.time64("us")
    return INSTANT if isinstance(kind, mysql.TIMESTAMP) or kind.timezone else pa.timestamp("us")


def _decimal(kind: Any) -> pa.DataType:
    precision, scale = kind.precision, kind.scale or 0
    if precision is None or precision > _MOST_DIGITS or not 0 <= scale <= precision:
        return pa.string()
    return pa.decimal128(precision, scale)


def _selected(column: Expression, kind: Any, arrow: pa.DataType, dialect: str) -> Expression:
    if pa.types.is_float32(arrow):
        # As a double: MariaDB prints six digits of a float, and neither server finds it equal to what it printed.
        return column * sa.literal_column("1e0")
    if isinstance(kind, mysql.BIT):
        return column + sa.literal_column("0")
    if dialect == "mysql" or _is_plain(kind, arrow):
        return column
    return sa.cast(sa.func.to_jsonb(column) if isinstance(kind, postgresql.ARRAY) else column, sa.Text)


def _is_plain(kind: Any, arrow: pa.DataType) -> bool:
    """Whether psycopg returns its values as plain Python values, not as classes of its own."""
    return not _is_temporal(arrow) and (not pa.types.is_string(arrow) or isinstance(kind, sa.String))


def _ordered(column: Expression, selected: Expression, kind: Any, arrow: pa.DataType) -> Expression:
    if isinstance(kind, mysql.ENUM | mysql.SET):
        return sa.cast(column, mysql.CHAR)  # otherwise ordered by number, but compared as text
    return selected if pa.types.is_float32(arrow) or isinstance(kind, mysql.BIT) else column


def _by_bytes(column: Expression, dialect: str) -> Expression:
    """In the order of code points, as watermarks are compared. No index serves it."""
    if dialect == "mysql":
        return sa.cast(sa.cast(column, mysql.CHAR(charset="utf8mb4")), sa.BINARY)
    return sa.cast(column, sa.Text).collate("C")


def _is_temporal(kind: pa.DataType) -> bool:
    return pa.types.is_temporal(kind)


# -- values


def array(values: Sequence[Any], kind: pa.DataType) -> pa.Array[Any]:
    """*values* of a column of type *kind*; all as text if the type cannot hold one of them."""
    try:
        return (
            temporal_array(pa.array(values, pa.string()), kind)
            if _is_temporal(kind)
            else pa.array(_plain(values, kind), kind)
        )
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        zoned = kind.equals(INSTANT)
        return pa.array([None if value is None else _as_text(value, zoned=zoned) for value in values], pa.string())


def temporal_array(texts: pa.Array[Any], kind: pa.DataType) -> pa.Array[Any]:
    """*texts* as the server writes dates and times; ArrowException if the type cannot hold one of them."""
    if pa.types.is_time(kind):
        return texts  # Arrow reads no times of day from text
    if kind.equals(INSTANT):
        plain = pc.replace_substring_regex(texts, r"\+00$", "")
        return plain.cast(pa.timestamp("us")).view(pa.int64()).view(kind)  # type: ignore[no-any-return]
    return texts.cast(kind)


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

"""Column types in SQLAlchemy's words, and back from INFORMATION_SCHEMA's."""

from __future__ import annotations

import datetime as dt
import re

from collections.abc import Mapping
from typing import Any, TypeAlias

import sqlalchemy as sa

from sqlalchemy.dialects import mssql

from shared.contract import types

SqlType: TypeAlias = "sa.types.TypeEngine[Any]"

EXACT = "Latin1_General_100_BIN2"
"""SQL Server's collation that tells every character from every other; its usual ones do not tell a from A."""


def text(length: int | None = 4000, *, exact: bool = False) -> SqlType:
    """Text; on SQL Server of at most *length* UTF-16 units (None: 2 GB), elsewhere of any length.

    *exact* text is compared, and sorts, by its characters alone: elsewhere that is the collation called C.
    """
    return sa.Text(collation="C" if exact else None).with_variant(
        mssql.NVARCHAR(length, collation=EXACT if exact else None), "mssql"
    )


def binary(length: int | str) -> SqlType:
    """Bytes; on SQL Server at most *length* of them (``max``: 2 GB)."""
    return sa.LargeBinary().with_variant(mssql.VARBINARY(length), "mssql")  # type: ignore[no-untyped-call]


DATETIME: SqlType = sa.DateTime().with_variant(mssql.DATETIME2(6), "mssql")  # type: ignore[no-untyped-call]
TEXT = text()
LONG_TEXT = text(None)


def whole(value: Any, kind: sa.types.TypeEngine[Any]) -> Any:
    """*value* as a parameter of that type: pyodbc drops the fraction of a second of a time of day, but not of text."""
    if not isinstance(value, dt.time):
        return value
    return sa.cast(sa.literal(value.isoformat("microseconds"), TEXT), kind)


_SQL: dict[str, SqlType] = {
    "boolean": sa.Boolean(),
    "smallint": sa.SmallInteger(),
    "integer": sa.Integer(),
    "bigint": sa.BigInteger(),
    "real": sa.REAL(),
    "double": sa.Double(),
    "text": TEXT,
    "binary": binary("max"),
    "date": sa.Date(),
    "time": sa.Time().with_variant(mssql.TIME(6), "mssql"),  # type: ignore[no-untyped-call]
    "timestamp": DATETIME,
}

_KEY_BYTES = 900
"""What the key of a clustered index may have on SQL Server."""

_NAMES = {
    "int": "integer",
    "varchar": "text",
    "character varying": "text",
    "float": "real",
    "double precision": "double",
    "blob": "binary",
    "bytea": "binary",
    "timestamp without time zone": "timestamp",
    "time without time zone": "time",
}


def sql_type(kind: str) -> SqlType:
    """The SQLAlchemy type of a column type."""
    if kind.startswith("decimal"):
        return sa.Numeric(*types.decimal_of(kind))
    return _SQL[kind]


def key_types(kinds: Mapping[str, str]) -> dict[str, SqlType]:
    """The types of key columns, by name: on SQL Server text that is told apart exactly and fits an index together."""
    longest = key_length(kinds)
    bounded = {"text": text(longest, exact=True), "binary": binary(2 * longest)}
    return {name: bounded.get(kind) or sql_type(kind) for name, kind in kinds.items()}


def key_length(kinds: Mapping[str, str]) -> int:
    """UTF-16 units a text column may have that is part of a key with these column types, on SQL Server.

    A binary column may have twice as many bytes.

    >>> key_length({"Id": "text"}), key_length({"Id": "text", "Line": "integer"})
    (450, 441)
    """
    texts = sum(kind in ("text", "binary") for kind in kinds.values())
    others = len(kinds) - texts
    return (_KEY_BYTES - 17 * others) // (2 * max(1, texts))  # 17 bytes is the widest of the other types


def column_type(name: str) -> str | None:
    """The column type a database's own name for a type means; None for one we do not use.

    >>> column_type("DECIMAL(18,4)"), column_type("VARCHAR"), column_type("HUGEINT")
    ('decimal(18,4)', 'text', None)
    """
    plain = re.sub(r"^numeric", "decimal", name.lower())
    known = _NAMES.get(plain, plain)
    return known if known in _SQL or re.fullmatch(r"decimal\(\d+,\d+\)", known) else None

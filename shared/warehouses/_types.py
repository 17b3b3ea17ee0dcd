"""Column types in SQLAlchemy's words, and back from INFORMATION_SCHEMA's."""

from __future__ import annotations

import re

from typing import Any, TypeAlias

import sqlalchemy as sa

from shared import columns

SqlType: TypeAlias = "sa.types.TypeEngine[Any]"

_SQL: dict[str, SqlType] = {
    "boolean": sa.Boolean(),
    "smallint": sa.SmallInteger(),
    "integer": sa.Integer(),
    "bigint": sa.BigInteger(),
    "real": sa.REAL(),
    "double": sa.Double(),
    "text": sa.Text(),
    "binary": sa.LargeBinary(),
    "date": sa.Date(),
    "time": sa.Time(),
    "timestamp": sa.DateTime(),
}

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
        return sa.Numeric(*columns.decimal_of(kind))
    return _SQL[kind]


def column_type(name: str) -> str | None:
    """The column type a database's own name for a type means; None for one we do not use.

    >>> column_type("DECIMAL(18,4)"), column_type("VARCHAR"), column_type("HUGEINT")
    ('decimal(18,4)', 'text', None)
    """
    plain = re.sub(r"^numeric", "decimal", name.lower())
    known = _NAMES.get(plain, plain)
    return known if known in _SQL or re.fullmatch(r"decimal\(\d+,\d+\)", known) else None

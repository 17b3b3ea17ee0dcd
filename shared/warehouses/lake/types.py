"""Column types in Delta's words and back, and as DuckDB reads and writes them in data files. Pure."""

from __future__ import annotations

import re

from collections.abc import Mapping
from typing import Any

from deltalake import Field, Schema
from deltalake.schema import PrimitiveType

from shared.contract import types
from shared.warehouses.merge.session import foreign

_DELTA = {
    "boolean": "boolean",
    "smallint": "short",
    "integer": "integer",
    "bigint": "long",
    "real": "float",
    "double": "double",
    "text": "string",
    "binary": "binary",
    "date": "date",
    "time": "string",  # Delta has none: HH:MM:SS.ffffff, which sorts as time does
    "timestamp": "timestamp",  # an instant; ours are UTC. The one without zone is a feature that many readers lack
}
_OURS = {**{delta: ours for ours, delta in _DELTA.items() if ours != "time"}, "byte": "smallint"}
_OURS["timestamp_ntz"] = "timestamp"
_MARK = "sluice.type"
"""Metadata of a column whose type Delta does not have."""


def field(name: str, kind: str) -> Field:
    """A nullable column of Delta."""
    precise = "decimal({},{})".format(*types.decimal_of(kind)) if kind.startswith("decimal") else _DELTA[kind]
    return Field(name, PrimitiveType(precise), nullable=True, metadata={_MARK: kind} if kind == "time" else {})


def schema(columns: Mapping[str, str]) -> Schema:
    return Schema([field(name, kind) for name, kind in columns.items()])


def columns(found: Schema, where: tuple[str, str]) -> dict[str, str]:
    """Column types by name; DataError for a type that Sluice does not write, in the table *where*."""
    return {one.name: _column(one, where) for one in found.fields}


def _column(found: Field, where: tuple[str, str]) -> str:
    delta = str(getattr(found.type, "type", found.type))
    marked = (found.metadata or {}).get(_MARK)
    if marked == "time":
        return "time"
    if re.fullmatch(r"decimal\(\d+,\d+\)", delta):
        return delta
    return _OURS.get(delta) or foreign(*where, found.name, delta)


def reading(quoted: str, kind: str, sql: str) -> str:
    """A column of a data file as a value of column type *kind*, which is *sql* in DuckDB."""
    return f"CAST({quoted} AS {sql})"


def writing(quoted: str, kind: str, sql: str) -> str:
    """A value of column type *kind* as it goes into a data file."""
    if kind == "timestamp":
        return f"CAST(CAST({quoted} AS TIMESTAMP) AS TIMESTAMPTZ)"
    if kind == "time":
        return f"strftime(DATE '1970-01-01' + CAST({quoted} AS TIME), '%H:%M:%S.%f')"
    return f"CAST({quoted} AS {sql})"


def statistic(text: str | None, kind: str) -> Any:
    """A lowest or highest value, as DuckDB says it, for the log; None if it may not be used there."""
    if text is None or kind in ("binary", "time"):
        return None
    if kind in ("smallint", "integer", "bigint"):
        return int(text)
    if kind == "boolean":
        return text in ("1", "true")
    if kind in ("real", "double") or kind.startswith("decimal"):
        return float(text) if kind in ("real", "double") and abs(float(text)) < float("inf") else None
    if kind == "timestamp":
        return f"{text.replace(' ', 'T').removesuffix('+00')}{'' if '.' in text else '.000000'}Z"
    return text if kind == "date" or len(text) <= _LONGEST else None


_LONGEST = 128
"""Characters of text in the log: longer ones are left out, as a cut one would not be the highest."""

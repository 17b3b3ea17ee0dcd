"""SQL as Snowflake takes it: every name in quotes, parameters as question marks, its names of types."""

from __future__ import annotations

import re

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from sqlalchemy.dialects.postgresql.base import PGCompiler, PGDialect, PGIdentifierPreparer, PGTypeCompiler
from sqlalchemy.engine import Dialect

from shared.warehouses.merge.names import MaskedNames, QuotedNames
from shared.warehouses.merge.numbered import quoted

_INTEGERS = {5: "smallint", 10: "integer", 19: "bigint"}
"""Column types by the digits of the NUMBER they are stored as: to Snowflake all integers are one type."""
_PLAIN = {
    "TEXT": "text", "BOOLEAN": "boolean", "FLOAT": "double", "DATE": "date", "TIME": "time",
    "TIMESTAMP_NTZ": "timestamp", "BINARY": "binary",
}  # fmt: skip

NAMES = QuotedNames(quoted)


class _Preparer(MaskedNames, PGIdentifierPreparer):
    names = NAMES


class _Types(PGTypeCompiler):
    """Names of types. A collation is never written: text is compared by its bytes unless a column says otherwise."""

    def visit_SMALLINT(self, type_: Any, **kw: Any) -> str:  # noqa: N802 - SQLAlchemy's names
        return "NUMBER(5, 0)"

    def visit_INTEGER(self, type_: Any, **kw: Any) -> str:  # noqa: N802
        return "NUMBER(10, 0)"

    def visit_BIGINT(self, type_: Any, **kw: Any) -> str:  # noqa: N802
        return "NUMBER(19, 0)"

    def visit_NUMERIC(self, type_: Any, **kw: Any) -> str:  # noqa: N802
        digits, decimals = type_.precision, type_.scale or 0
        if decimals == 0 and digits in _INTEGERS:
            digits += 1  # so that it does not come back as an integer
        return f"NUMBER({digits}, {decimals})"

    def visit_REAL(self, type_: Any, **kw: Any) -> str:  # noqa: N802
        return "FLOAT"

    def visit_double(self, type_: Any, **kw: Any) -> str:
        return "FLOAT"

    def visit_text(self, type_: Any, **kw: Any) -> str:
        return "VARCHAR"

    def visit_large_binary(self, type_: Any, **kw: Any) -> str:
        return "BINARY"

    def visit_datetime(self, type_: Any, **kw: Any) -> str:
        return "TIMESTAMP_NTZ(6)"

    def visit_time(self, type_: Any, **kw: Any) -> str:
        return "TIME(6)"


class _Compiler(PGCompiler):
    def limit_clause(self, select: Any, **kw: Any) -> str:
        return f"\n LIMIT {int(select._limit)}"  # Snowflake wants a constant


class _Dialect(PGDialect):
    name = "snowflake"
    preparer = _Preparer
    statement_compiler = _Compiler
    type_compiler_cls = _Types
    supports_statement_cache = False


DIALECT: Dialect = _Dialect(paramstyle="qmark")  # type: ignore[no-untyped-call]


def compiled(statement: sa.ClauseElement) -> tuple[str, list[Any]]:
    """A statement as text whose names are still masked, with its parameters."""
    made: Any = statement.compile(dialect=DIALECT)
    return made.string, [made.params[name] for name in made.positiontup or ()]


def stand_in(text: str, names: Mapping[tuple[str, str], str]) -> str:
    """*text*, whose names are masked, with another table in the place of each that *names* has by schema and name."""
    for (schema, table), other in names.items():
        text = text.replace(f"{NAMES.mask(schema)}.{NAMES.mask(table)}", NAMES.mask(other))
    return text


def column_type(name: str, digits: int | None = None, decimals: int | None = None) -> str | None:
    """The column type of one of Snowflake's, as INFORMATION_SCHEMA has it; None for one we do not use.

    A real is stored with the precision of a double, and so comes back as one.

    >>> column_type("NUMBER", 19, 0), column_type("NUMBER", 18, 4), column_type("TEXT"), column_type("VARIANT")
    ('bigint', 'decimal(18,4)', 'text', None)
    """
    if name != "NUMBER" or digits is None:
        return _PLAIN.get(name)
    return (not decimals and _INTEGERS.get(int(digits))) or f"decimal({digits},{decimals or 0})"


def digits(kind: str) -> tuple[int, int] | None:
    """Digits and decimals that a column type is stored with, if it is a number with such.

    >>> digits("smallint"), digits("decimal(18,4)"), digits("text")
    ((5, 0), (18, 4), None)
    """
    whole = {name: (number, 0) for number, name in _INTEGERS.items()}
    found = re.fullmatch(r"decimal\((\d+),(\d+)\)", kind)
    return whole.get(kind) or ((found and (int(found[1]), int(found[2]))) or None)

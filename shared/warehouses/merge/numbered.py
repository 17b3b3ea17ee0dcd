"""SQL as PostgreSQL and DuckDB take it: every name in quotes, parameters as $1, $2 and so on."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from sqlalchemy.dialects.postgresql.base import PGDialect, PGIdentifierPreparer
from sqlalchemy.engine import Dialect

from shared.warehouses.merge.names import MaskedNames, QuotedNames


def quoted(*names: str) -> str:
    """A name of one or more parts.

    >>> quoted("main", 'an "odd" one')
    '"main"."an ""odd"" one"'
    """
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


_NAMES = QuotedNames(quoted)


class _Preparer(MaskedNames, PGIdentifierPreparer):
    names = _NAMES


class _Dialect(PGDialect):
    preparer = _Preparer


DIALECT: Dialect = _Dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]


def text(statement: str) -> str:
    """What was made of parts that DIALECT compiled, with the names in their places."""
    return _NAMES.unmask(statement)


def compiled(statement: sa.ClauseElement) -> tuple[str, list[Any]]:
    """A statement as text, with its parameters."""
    made: Any = statement.compile(dialect=DIALECT)
    return text(made.string), [made.params[name] for name in made.positiontup or ()]

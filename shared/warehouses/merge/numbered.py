"""SQL as PostgreSQL and DuckDB take it: every name in quotes, parameters as $1, $2 and so on."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from sqlalchemy.dialects.postgresql.base import PGDialect, PGIdentifierPreparer
from sqlalchemy.engine import Dialect

from shared.warehouses.merge.names import QuotedNames


def quoted(*names: str) -> str:
    """A name of one or more parts.

    >>> quoted("main", 'an "odd" one')
    '"main"."an ""odd"" one"'
    """
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


_NAMES = QuotedNames(quoted)


class _Preparer(PGIdentifierPreparer):
    """Quotes every name: there are reserved words that SQLAlchemy does not know."""

    def quote(self, ident: str, force: Any = None) -> str:
        return self.quote_identifier(ident)  # SQLAlchemy would remember every name for as long as the process runs

    def quote_identifier(self, value: str) -> str:
        return _NAMES.mask(value)

    def _requires_quotes(self, _value: str) -> bool:
        return True


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

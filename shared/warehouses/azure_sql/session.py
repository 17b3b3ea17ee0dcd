"""An ODBC connection to SQL Server as a session for the shared SQL."""

from __future__ import annotations

import re

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from sqlalchemy.dialects.mssql.base import MSDialect, MSIdentifierPreparer, MSSQLCompiler
from sqlalchemy.engine import Dialect

from shared.errors import LOAD_AGAIN, TransientError
from shared.mssql.errors import number
from shared.warehouses.azure_sql import tsql
from shared.warehouses.merge import ddl
from shared.warehouses.merge.in_place import ChangesInPlace
from shared.warehouses.merge.names import MaskedNames, QuotedNames
from shared.warehouses.merge.session import GONE, STAGING, VIEW_MARK, ChangesBy, Expression, KeyIndex, Row, T, foreign
from shared.warehouses.merge.types import EXACT, column_type, text

_KINDS = {
    "bit": "boolean", "float": "double", "nvarchar": "text", "varchar": "text", "varbinary": "binary",
    "datetime2": "timestamp",
}  # fmt: skip
MOST_COLUMNS = 1_024
_NO_SUCH_TABLE = 208
IN_ROW = 4_000
"""UTF-16 units of text that a column holds unless it is a ``max`` one."""


_MARK = re.compile(rf"AS /\*({VIEW_MARK}[0-9a-f]+)\*/ ")
_NAMES = QuotedNames(tsql.name)


class _Preparer(MaskedNames, MSIdentifierPreparer):
    names = _NAMES


class _Compiler(MSSQLCompiler):
    def get_select_precolumns(self, select: Any, **_kw: Any) -> str:
        # SQLAlchemy leaves a mark for the number and fills it in later; a column's name may look like that mark.
        return f"TOP ({int(select._limit)}) " if select._limit_clause is not None else ""


class _Dialect(MSDialect):
    preparer = _Preparer
    statement_compiler = _Compiler
    supports_statement_cache = False
    server_version_info = (15, 0)  # type: ignore[assignment]  # SQL Server 2019, the oldest we write for


def dialect() -> Dialect:
    """SQL Server's dialect with question marks for parameters, as ODBC wants them."""
    return _Dialect(paramstyle="qmark")  # type: ignore[no-untyped-call]


class Result(NamedTuple):
    """What one query found."""

    names: list[str]
    rows: list[Row]


class MSSQLSession(ChangesInPlace):
    """SQLAlchemy builds the statements, ODBC runs their text. Whoever makes it begins and ends the transaction."""

    changes_by: ChangesBy = "update"
    indexes = True
    key_index: KeyIndex = "CLUSTERED"  # not unique: it takes 'a' and 'a ' for the same
    has_unique_keys = False
    keeps_versions = True
    indexes_pin = True
    table_options: Mapping[str, Any] = {}
    dialect: Dialect = dialect()

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def rows(self, statement: sa.Select[Any]) -> list[Row]:
        return _all_of(self._run(statement))

    def stream(self, statement: sa.Select[Any]) -> Iterator[Row]:
        found = self._run(statement)
        while rows := found.fetchmany(1_000):
            yield from map(tuple, rows)

    def change(self, statement: sa.Insert | sa.Update | sa.Delete) -> int:
        return int(self._run(statement).rowcount)

    def ddl(self, text: str) -> None:
        self.execute(text)

    def change_type(self, table: sa.Table, column: sa.Column[Any]) -> None:
        ddl.change_type(self, table, column)

    def replace_column(self, table: sa.Table, name: str, other: str) -> None:
        ddl.replace_column(self, table, name, other)

    def execute(self, text: str, *parameters: Any) -> Any:
        """Run one statement of text; the cursor it ran on."""
        cursor = self.connection.cursor()
        cursor.execute(tsql.with_nulls(_NAMES.unmask(text), parameters), *(p for p in parameters if p is not None))
        return cursor

    def fetch(self, text: str, *parameters: Any) -> list[Row]:
        """All rows of a query of text; ask for few."""
        return _all_of(self.execute(text, *parameters))

    def batch(self, text: str, parameters: Sequence[Any]) -> list[Result]:
        """Run several statements at once. What queries among them found; an error of any of them is raised."""
        cursor = self.execute(text, *parameters)
        found = []
        while True:
            if cursor.description is not None:
                names = [column[0] for column in cursor.description]
                found.append(Result(names, [tuple(row) for row in cursor.fetchall()]))
            if not cursor.nextset():  # errors of later statements come out here
                return found

    def first(self, text: str, *parameters: Any) -> Any:
        """The first value of the first row of the first result; a batch may say how many rows it touched before."""
        cursor = self.execute(text, *parameters)
        while cursor.description is None and cursor.nextset():
            pass
        return _all_of(cursor)[0][0]

    def quoted(self, *names: str) -> str:
        return tsql.name(*names)

    def columns(self, schema: str, table: str) -> dict[str, str]:
        return column_types(schema, table, self._described(schema, table))

    def view_mark(self, schema: str, name: str) -> str | None:
        found = self.fetch(
            "SELECT m.definition FROM sys.objects AS o LEFT JOIN sys.sql_modules AS m ON m.object_id = o.object_id"  # noqa: S608 - quoted
            f" WHERE o.object_id = OBJECT_ID({tsql.text(tsql.name(schema, name))})"
        )
        mark = _MARK.search(found[0][0] or "") if found else None
        return None if not found else (mark[1] if mark else "")

    def put_view(self, schema: str, name: str, query: str, mark: str) -> None:
        # Rights stay. The mark is in the text, which SQL Server keeps as it is.
        self.ddl(f"CREATE OR ALTER VIEW {self.quoted(schema, name)} AS /*{mark}*/ {query}")

    def scratch(self, name: str, columns: Sequence[sa.Column[Any]]) -> sa.Table:
        table = sa.Table(f"#{name}", sa.MetaData(), *columns)
        self.ddl(f"DROP TABLE IF EXISTS {self.quoted(table.name)}; {ddl.creating(self.dialect, table)}")
        return table

    def hold(self, _table: sa.Table, _keys: Sequence[str]) -> None:
        """Whoever changes a row in between is found by the numbers of rows that change."""

    def filled(self, _table: sa.Table) -> None:
        """The server makes statistics when it plans a statement."""

    def place(self, _table: sa.FromClause) -> Expression | None:
        return None

    def try_unique(self, work: Callable[[], T]) -> T | None:
        return work()

    def fingerprint(self, _columns: Sequence[Expression]) -> Expression | None:
        return None

    def exact(self, column: Expression) -> Sequence[Expression]:
        # Usual collations do not tell a from A, and no comparison at all tells trailing blanks, or in binary zeros.
        kind = column.type
        if isinstance(kind, sa.LargeBinary):
            return [column, sa.func.datalength(column, type_=sa.BigInteger)]
        if not isinstance(kind, sa.Text):
            return [column]
        own = getattr(kind.dialect_impl(self.dialect), "collation", None)
        return [
            column if own == EXACT else column.collate(EXACT),
            sa.func.datalength(column, type_=sa.BigInteger),
        ]

    def widen_text(self, table: sa.Table, stored: Mapping[str, str], long: Collection[str]) -> bool:
        lengths = {row[0]: row[4] for row in self._described(str(table.schema), table.name)}
        widened = False
        for name, own_name in stored.items():
            column, length = table.c[own_name], lengths.get(own_name, -1)
            if length == -1 or not isinstance(column.type, sa.Text) or self.is_key(column):
                continue
            if name in long or length < IN_ROW:
                ddl.change_type(self, table, sa.Column(own_name, text(None if name in long else IN_ROW)))
                widened = True
        return widened

    def keep(self, tables: Sequence[str]) -> None:
        # HOLDLOCK keeps the table's lock to the end of the transaction, whatever the isolation level reads without.
        names = [tsql.name(STAGING, name) for name in tables]
        try:
            self.batch("; ".join(map(tsql.keep, names)), [])
        except Exception as error:
            if number(error) != _NO_SUCH_TABLE:
                raise
            raise TransientError(GONE, fix=LOAD_AGAIN) from error

    def adopt(self, _staged: sa.FromClause, _schema: str, _table: str) -> bool:
        return False

    @classmethod
    def is_key(cls, column: sa.Column[Any]) -> bool:
        """Whether it is a text or binary column of a key: those are short, and text is told apart exactly."""
        kind = column.type.dialect_impl(cls.dialect)
        return getattr(kind, "collation", None) == EXACT or (
            isinstance(getattr(kind, "length", None), int) and (isinstance(column.type, sa.LargeBinary))
        )

    def _described(self, schema: str, table: str) -> list[Row]:
        """Name, type, precision, scale and length (-1: max) of each column."""
        return self.fetch(describe(schema, table))

    def _run(self, statement: sa.ClauseElement) -> Any:
        text, parameters = said(statement)
        return self.execute(text, *parameters)


def describe(schema: str, table: str) -> str:
    """Asks for a table's columns: name, type, precision, scale and length (-1: max).

    Not of INFORMATION_SCHEMA: that is searched by name, row by row, and so waits for all tables that are being made.
    """
    return (
        "SELECT c.name, y.name, c.precision, c.scale,"  # noqa: S608 - quoted
        " CASE WHEN c.max_length > 0 AND y.name = N'nvarchar' THEN c.max_length / 2 ELSE c.max_length END"
        " FROM sys.columns AS c JOIN sys.types AS y ON y.user_type_id = c.user_type_id"
        f" WHERE c.object_id = OBJECT_ID({tsql.text(tsql.name(schema, table))}) ORDER BY c.column_id"
    )


def said(statement: sa.ClauseElement) -> tuple[str, list[Any]]:
    """A statement as text for ``MSSQLSession.execute``, with its parameters."""
    compiled: Any = statement.compile(dialect=MSSQLSession.dialect)
    return compiled.string, [compiled.params[name] for name in compiled.positiontup or ()]


def column_types(schema: str, table: str, described: Iterable[Row]) -> dict[str, str]:
    """Column types (shared.contract.types) by name, from what ``describe`` found of a table."""
    return {
        name: _kind(kind, precision, scale) or foreign(schema, table, name, kind)
        for name, kind, precision, scale, _ in described
    }


def _kind(name: str, precision: int | None, scale: int | None) -> str | None:
    if name in ("decimal", "numeric"):
        return f"decimal({precision},{scale})"
    known = _KINDS.get(name)
    return known or (column_type(name) if name not in _KINDS.values() and name not in ("text", "timestamp") else None)


def _all_of(cursor: Any) -> list[Row]:
    """All rows; then the cursor is closed, as one that is not keeps the connection busy."""
    rows = [tuple(row) for row in cursor.fetchall()]
    cursor.close()
    return rows

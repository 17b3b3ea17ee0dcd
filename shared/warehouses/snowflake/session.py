"""A Snowflake connection as a session for the shared SQL.

Snowflake commits a transaction at every statement of DDL. So there is none until the first change of a table that
lasts: whatever is created or altered comes before, and by itself.
"""

from __future__ import annotations

import re

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from sqlalchemy.engine import Dialect

from shared.warehouses.merge import ddl
from shared.warehouses.merge.in_place import ChangesInPlace
from shared.warehouses.merge.numbered import quoted
from shared.warehouses.merge.session import ChangesBy, Expression, KeyIndex, Row, T, foreign, own_mark
from shared.warehouses.merge.shape import DELETED
from shared.warehouses.snowflake import sql

_PAGE = 1_000
"""Rows that a streaming query has in memory."""


@dataclass(eq=False)
class Connection:
    """A connection of the driver, and what is open on it."""

    raw: Any
    schema: str
    """Where scratch tables are."""
    in_transaction: bool = False
    leases: list[str] = field(default_factory=list)
    """Names of what it holds, see ``leases``."""
    holder: str = ""
    """Who it is to others that want the same."""
    stand_ins: dict[tuple[str, str], str] = field(default_factory=dict)
    """Scratch tables that a dry run works on, by schema and name of those it leaves alone."""

    def execute(self, text: str, values: Sequence[Any] = ()) -> Any:
        """Run one statement whose names are masked; its cursor."""
        return self.raw.cursor().execute(
            sql.NAMES.unmask(sql.stand_in(text, self.stand_ins)), tuple(values) or None
        )  # fmt: skip

    def begin(self) -> None:
        if not self.in_transaction:
            self.execute("BEGIN")
            self.in_transaction = True

    def commit(self) -> None:
        if self.in_transaction:
            self.execute("COMMIT")
            self.in_transaction = False

    def rollback(self) -> None:
        if self.in_transaction:
            self.execute("ROLLBACK")
            self.in_transaction = False

    def close(self) -> None:
        self.raw.close()


class SnowflakeSession(ChangesInPlace):
    """SQLAlchemy builds the statements, Snowflake's driver runs their text."""

    changes_by: ChangesBy = "update"
    dialect: Dialect = sql.DIALECT
    indexes = False
    key_index: KeyIndex = "UNIQUE"
    has_unique_keys = False
    keeps_versions = True
    indexes_pin = False
    table_options: Mapping[str, Any] = {}

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def rows(self, statement: sa.Select[Any]) -> list[Row]:
        return _plain(statement, self._run(statement).fetchall())

    def stream(self, statement: sa.Select[Any]) -> Iterator[Row]:
        cursor = self._run(statement)
        while found := cursor.fetchmany(_PAGE):
            yield from _plain(statement, found)

    def change(self, statement: sa.Insert | sa.Update | sa.Delete) -> int:
        if not self._is_scratch(statement.table):
            self.connection.begin()
        return int(self._run(statement).fetchall()[0][0])

    def ddl(self, text: str) -> None:
        """Repeated by another process, or after a crash between two, it changes nothing more."""
        assert not self.connection.in_transaction, f"it would commit what is not complete: {text}"  # noqa: S101
        is_schema, is_view = text.startswith("CREATE SCHEMA"), text.startswith("CREATE OR REPLACE VIEW")
        is_rehearsed = bool(self.connection.stand_ins)
        if is_rehearsed and (is_schema or is_view):
            return
        how = "OR REPLACE TEMPORARY TABLE" if is_rehearsed else "TABLE IF NOT EXISTS"
        text = text.replace("CREATE TABLE", f"CREATE {how}", 1).replace(" ADD COLUMN ", " ADD COLUMN IF NOT EXISTS ", 1)
        # Names are still masked: none is taken for a word of the statement.
        self.connection.execute(text.replace(" AS SELECT *", " COPY GRANTS AS SELECT *", 1) if is_view else text)
        if is_schema:  # it has become the session's
            self.connection.execute(f"USE SCHEMA {self.quoted(self.connection.schema)}")

    def change_type(self, table: sa.Table, column: sa.Column[Any]) -> None:
        """In its place if it only gets more digits; else the table is replaced, at once, by a copy of it."""
        self.connection.commit()  # texts rewritten in the same words: what they say is the same without the new type
        name, kind = self.quoted(column.name), column.type.compile(dialect=self.dialect)
        here = ddl.quoted(self.dialect, str(table.schema), table.name)
        stored = self.columns(str(table.schema), table.name)
        if _only_widens(stored[column.name], column.type):
            self.connection.execute(f"ALTER TABLE {here} ALTER COLUMN {name} SET DATA TYPE {kind}")
            return
        self._rewrite(
            table, {one: f"CAST({self.quoted(one)} AS {kind})" if one == column.name else "" for one in stored}
        )

    def replace_column(self, table: sa.Table, name: str, other: str) -> None:
        self.connection.commit()  # of a column that nothing else has
        stored = self.columns(str(table.schema), table.name)
        self._rewrite(table, {one: self.quoted(other) if one == name else "" for one in stored if one != other})

    def _rewrite(self, table: sa.Table, columns: Mapping[str, str]) -> None:
        """Replace *table*, at once, by a copy with these columns, each as an expression or empty for its own value."""
        here = ddl.quoted(self.dialect, str(table.schema), table.name)
        listed = ", ".join(f"{how or self.quoted(one)} AS {self.quoted(one)}" for one, how in columns.items())
        kind = "TEMPORARY TABLE" if self.connection.stand_ins else "TABLE"
        grants = "" if self.connection.stand_ins else " COPY GRANTS"
        self.connection.execute(f"CREATE OR REPLACE {kind} {here}{grants} AS SELECT {listed} FROM {here}")  # noqa: S608 - quoted

    def quoted(self, *names: str) -> str:
        return quoted(*names)

    def columns(self, schema: str, table: str) -> dict[str, str]:
        # Not DESCRIBE, which Snowflake counts as DDL, and which fails where there is no table.
        other = self.connection.stand_ins.get((schema, table))
        found = self.connection.execute(
            "SELECT COLUMN_NAME, DATA_TYPE, NUMERIC_PRECISION, NUMERIC_SCALE FROM INFORMATION_SCHEMA.COLUMNS"
            " WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
            [self.connection.schema, other] if other else [schema, table],
        ).fetchall()
        return {
            name: sql.column_type(kind, digits, decimals) or foreign(schema, table, name, kind)
            for name, kind, digits, decimals in found
        }

    def view_mark(self, schema: str, name: str) -> str | None:
        found = self.connection.execute(
            "SELECT COALESCE(COMMENT, '') FROM INFORMATION_SCHEMA.VIEWS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?"
            " UNION ALL SELECT '' FROM INFORMATION_SCHEMA.TABLES"
            " WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND TABLE_TYPE <> 'VIEW'",
            [schema, name, schema, name],
        ).fetchall()
        return own_mark(found[0][0]) if found else None

    def put_view(self, schema: str, name: str, query: str, mark: str) -> None:
        view = ddl.quoted(self.dialect, schema, name)
        self.ddl(f"CREATE OR REPLACE VIEW {view} COPY GRANTS COMMENT = '{mark}' AS {query}")

    def scratch(self, name: str, columns: Sequence[sa.Column[Any]]) -> sa.Table:
        # Without a schema: it is in the session's own.
        table = sa.Table(f"_sluice_{name}", sa.MetaData(), *columns)
        assert not self.connection.in_transaction, name  # noqa: S101 - it would commit what is not complete
        made = ddl.creating(self.dialect, table).replace("CREATE TABLE", "CREATE OR REPLACE TEMPORARY TABLE", 1)
        self.connection.execute(made)
        return table

    def hold(self, table: sa.Table, _keys: Sequence[str]) -> None:
        """A lease on the feed keeps others out. A merge that was cut off may have left the table without its view."""
        if not self.connection.stand_ins:  # not OR REPLACE: a stream on the view would end
            here, view = (ddl.quoted(self.dialect, str(table.schema), f"{table.name}{end}") for end in ("", "_active"))
            query = f"SELECT * FROM {here} WHERE {self.quoted(DELETED)} IS NULL"  # noqa: S608 - quoted
            self.connection.execute(f"CREATE VIEW IF NOT EXISTS {view} AS {query}")

    def filled(self, _table: sa.Table) -> None:
        """Snowflake knows how many rows its tables have."""

    def place(self, _table: sa.FromClause) -> Expression | None:
        return None

    def try_unique(self, work: Callable[[], T]) -> T | None:
        return work()

    def fingerprint(self, columns: Sequence[Expression]) -> Expression | None:
        return sa.func.hash(*columns, type_=sa.Numeric(20, 0))  # 64 bits, as in DuckDB

    def exact(self, column: Expression) -> Sequence[Expression]:
        return [column]

    def widen_text(self, _table: sa.Table, _stored: Mapping[str, str], _long: Collection[str]) -> bool:
        """Text has the longest limit there is."""
        return False

    def keep(self, _tables: Sequence[str]) -> None:
        """A lease on the run keeps others out."""

    def adopt(self, _staged: sa.FromClause, _schema: str, _table: str) -> bool:
        """It would be committed before the run is."""
        return False

    def rehearse(self, tables: Sequence[tuple[str, str]]) -> None:
        """Work on copies of *tables*, by schema and name, until the session ends: they cost no storage."""
        for number, (schema, table) in enumerate(tables):
            other = f"_sluice_dry_{number}"
            here = ddl.quoted(self.dialect, schema, table)
            if self.columns(schema, table):
                self.connection.execute(f"CREATE OR REPLACE TEMPORARY TABLE {quoted(other)} CLONE {here}")
            else:
                self.connection.execute(f"DROP TABLE IF EXISTS {quoted(other)}")
            self.connection.stand_ins[schema, table] = other

    def end_rehearsal(self) -> None:
        """Drop the copies."""
        while self.connection.stand_ins:
            _, other = self.connection.stand_ins.popitem()
            self.connection.execute(f"DROP TABLE IF EXISTS {quoted(other)}")

    def _is_scratch(self, table: Any) -> bool:
        schema = getattr(table, "schema", None)
        return schema is None or (schema, table.name) in self.connection.stand_ins

    def _run(self, statement: sa.ClauseElement) -> Any:
        return self.connection.execute(*sql.compiled(statement))


def _plain(statement: sa.Select[Any], rows: list[Row]) -> list[Row]:
    """Integers as such: a driver may give a NUMBER as a decimal."""
    whole = {n for n, column in enumerate(statement.selected_columns) if isinstance(column.type, sa.Integer)}
    return [
        tuple(int(one) if n in whole and isinstance(one, Decimal) else one for n, one in enumerate(row)) for row in rows
    ]


def _only_widens(stored: str, kind: sa.types.TypeEngine[Any]) -> bool:
    """Whether a number gets more digits, and as many decimals as before."""
    before, after = sql.digits(stored), re.fullmatch(r"NUMBER\((\d+), (\d+)\)", kind.compile(dialect=sql.DIALECT))
    return before is not None and after is not None and before[1] == int(after[2]) and before[0] <= int(after[1])

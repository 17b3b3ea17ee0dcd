"""A PostgreSQL connection as a session for the shared SQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
import sqlalchemy as sa

from psycopg import errors
from psycopg.raw_cursor import RawServerCursor
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.engine import Dialect

from shared.errors import LOAD_AGAIN, TransientError
from shared.warehouses.merge import ddl, numbered
from shared.warehouses.merge.in_place import ChangesInPlace
from shared.warehouses.merge.session import GONE, STAGING, ChangesBy, Expression, KeyIndex, Row, foreign
from shared.warehouses.merge.shape import DELETED
from shared.warehouses.merge.types import column_type

_HASHES_ROWS = 140_000
"""PostgreSQL 14, the first with hash_record_extended."""
_PAGE = 1_000
"""Rows that a streaming query has in memory."""


class PostgresSession(ChangesInPlace):
    """SQLAlchemy builds the statements, psycopg runs their text. Whoever makes it begins and ends the transaction."""

    changes_by: ChangesBy = "upsert"
    indexes = True
    key_index: KeyIndex = "UNIQUE"
    indexes_pin = False
    dialect: Dialect = numbered.DIALECT

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        """*connection* has raw cursors: its placeholders are $1 and so on, and a % is nothing but that."""
        self.connection = connection

    def rows(self, statement: sa.Select[Any]) -> list[Row]:
        return self._run(statement).fetchall()

    def stream(self, statement: sa.Select[Any]) -> Iterator[Row]:
        text, values = self._compiled(statement)
        with RawServerCursor(self.connection, "sluice") as cursor:
            cursor.itersize = _PAGE
            yield from cursor.execute(text, values)

    def change(self, statement: sa.Insert | sa.Update | sa.Delete) -> int:
        return self._run(statement).rowcount

    def ddl(self, text: str) -> None:
        self.connection.execute(numbered.text(text).encode())

    def change_type(self, table: sa.Table, column: sa.Column[Any]) -> None:
        """The view of active rows gives way meanwhile, and comes again with those who may read it."""
        view = f"{table.name}_active"
        rights = self.execute(
            "SELECT format('GRANT %s ON %I.%I TO %s%s', a.privilege_type, n.nspname, c.relname,"
            " CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,"
            " CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a"
            " WHERE n.nspname = $1 AND c.relname = $2 AND a.grantee <> c.relowner",
            table.schema,
            view,
        )
        self.ddl(f"DROP VIEW IF EXISTS {self.quoted(str(table.schema), view)}")
        ddl.change_type(self, table, column)
        ddl.create_active_view(self, table, DELETED)
        for (grant,) in rights:
            self.ddl(grant)

    def execute(self, text: str, *values: object) -> list[Row]:
        """Run one query given as text; its rows."""
        return self.connection.execute(text.encode(), values).fetchall()

    def quoted(self, *names: str) -> str:
        return numbered.quoted(*names)

    def columns(self, schema: str, table: str) -> dict[str, str]:
        return column_types(schema, table, self.rows(describing(schema, table))[0][0] or ())

    def scratch(self, name: str, columns: Sequence[sa.Column[Any]]) -> sa.Table:
        options: Any = {"prefixes": ["TEMPORARY"], "postgresql_on_commit": "DROP"}
        table = sa.Table(name, sa.MetaData(), *columns, schema="pg_temp", **options)
        ddl.create_table(self, table)
        return table

    def fingerprint(self, columns: Sequence[Expression]) -> Expression | None:
        # 64 bits, as in DuckDB. Comparing every column itself makes the join carry them all, and spill.
        if self.connection.info.server_version < _HASHES_ROWS:
            return None
        return sa.func.hash_record_extended(sa.func.row(*columns), 0, type_=sa.BigInteger)

    def exact(self, column: Expression) -> Sequence[Expression]:
        # Text is compared to the letter anyway, but sorts as in a dictionary. Keys are stored so that this is free.
        return [column.collate("C") if isinstance(column.type, sa.Text) else column]

    def widen_text(self, _table: sa.Table, _stored: Mapping[str, str], _long: Collection[str]) -> bool:
        """Text has any length here."""
        return False

    def keep(self, tables: Sequence[str]) -> None:
        # Without being asked to, PostgreSQL holds a table only from the first statement on that reads it.
        names = ", ".join(self.quoted(STAGING, name) for name in tables)
        try:
            self.ddl(f"LOCK TABLE {names} IN SHARE MODE")
        except errors.UndefinedTable as error:
            raise TransientError(GONE, fix=LOAD_AGAIN) from error

    def adopt(self, staged: sa.FromClause, schema: str, table: str) -> bool:
        if not isinstance(staged, sa.Table) or not self._is_logged(str(staged.schema), staged.name):
            return False
        ddl.create_schema(self, schema)
        self.ddl(f"COMMENT ON TABLE {self.quoted(str(staged.schema), staged.name)} IS NULL")
        self.ddl(f"ALTER TABLE {self.quoted(str(staged.schema), staged.name)} SET SCHEMA {self.quoted(schema)}")
        self.ddl(f"ALTER TABLE {self.quoted(schema, staged.name)} RENAME TO {self.quoted(table)}")
        return True

    def _is_logged(self, schema: str, table: str) -> bool:
        found = self.execute(
            "SELECT c.relpersistence = 'p' FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = $1 AND c.relname = $2",
            schema,
            table,
        )
        return bool(found and found[0][0])

    def _run(self, statement: sa.ClauseElement) -> psycopg.Cursor[Row]:
        text, values = self._compiled(statement)
        return self.connection.execute(text, values)

    def _compiled(self, statement: sa.ClauseElement) -> tuple[bytes, list[Any]]:
        text, values = numbered.compiled(statement)
        return text.encode(), values


_ATTRIBUTE = sa.table("pg_attribute", *map(sa.column, (
    "attname", "attrelid", "atttypid", "atttypmod", "attnum", "attisdropped")), schema="pg_catalog")  # fmt: skip
_CLASS = sa.table("pg_class", *map(sa.column, ("oid", "relname", "relnamespace", "relkind")), schema="pg_catalog")
_NAMESPACE = sa.table("pg_namespace", *map(sa.column, ("oid", "nspname")), schema="pg_catalog")


def describing(schema: str, table: str) -> sa.Select[Any]:
    """Asks for the columns of a table as one value, which ``column_types`` reads.

    Not of INFORMATION_SCHEMA, which is a view of the same: it hides what the user may not touch, and takes far longer.
    """
    a, c, n = _ATTRIBUTE.c, _CLASS.c, _NAMESPACE.c
    one = sa.func.json_build_array(a.attname, sa.func.format_type(a.atttypid, a.atttypmod))
    return sa.select(sa.func.json_agg(aggregate_order_by(one, a.attnum))).where(
        n.nspname == schema, c.relname == table, sa.or_(c.relkind == "r", c.relkind == "p"),
        c.relnamespace == n.oid, a.attrelid == c.oid, a.attnum > 0, sa.not_(a.attisdropped),
    )  # fmt: skip


def column_types(schema: str, table: str, described: Iterable[Sequence[str]]) -> dict[str, str]:
    """Column types (shared.contract.types) by name, from what ``describing`` found."""
    return {name: column_type(kind) or foreign(schema, table, name, kind) for name, kind in described}

"""A PostgreSQL connection as a session for the shared SQL."""

from __future__ import annotations

import logging

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
import sqlalchemy as sa

from psycopg import errors
from psycopg.raw_cursor import RawServerCursor
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.engine import Dialect
from sqlalchemy.types import UserDefinedType

from shared.errors import LOAD_AGAIN, TransientError
from shared.warehouses.merge import ddl, numbered
from shared.warehouses.merge.in_place import ChangesInPlace
from shared.warehouses.merge.session import (
    GONE,
    STAGING,
    VIEW_MARK,
    ChangesBy,
    Expression,
    KeyIndex,
    Row,
    T,
    foreign,
    own_mark,
)
from shared.warehouses.merge.shape import DELETED
from shared.warehouses.merge.types import column_type

_log = logging.getLogger("sluice")

_HASHES_ROWS = 140_000
"""PostgreSQL 14, the first with hash_record_extended."""
_NAMED_VIEWS = (
    "SELECT DISTINCT n.nspname, v.relname, pg_get_viewdef(v.oid), obj_description(v.oid, 'pg_class')"
    " FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid JOIN pg_class v ON v.oid = w.ev_class"
    " JOIN pg_namespace n ON n.oid = v.relnamespace JOIN pg_class t ON t.oid = d.refobjid"
    " JOIN pg_namespace s ON s.oid = t.relnamespace WHERE d.classid = 'pg_rewrite'::regclass"
    " AND d.refclassid = 'pg_class'::regclass AND s.nspname = $1 AND t.relname = $2"
    " AND obj_description(v.oid, 'pg_class') LIKE $3"
)
"""Of a table: the views that join names in, which read it."""
_PAGE = 1_000
"""Rows that a streaming query has in memory."""
TABLE_OPTIONS: Mapping[str, Any] = {"postgresql_with": {"fillfactor": 90}}
"""An update puts a row's new version into the same page, where that has room, and then leaves the indexes alone."""
_CHEAP_LOOKUPS = (
    "SELECT set_config(name, value, true) FROM (VALUES ('random_page_cost', '0.1'), ('cpu_operator_cost', '0.0005'))"
    " AS cost (name, value)"
    " WHERE 2 * pg_table_size($1::regclass) <= pg_size_bytes(current_setting('effective_cache_size'))"
)
"""Lets the planner look rows up by their key, up to about a fifth of a table that fits into memory. By its usual costs,
those of a disk, it reads the whole table, which took twice as long for a tenth (bench/RESULTS_POSTGRES.md)."""


class _Tid(UserDefinedType[str]):
    """Page and number of a row within its table."""

    cache_ok = True

    def get_col_spec(self, **_kw: Any) -> str:
        return "tid"


class PostgresSession(ChangesInPlace):
    """SQLAlchemy builds the statements, psycopg runs their text. Whoever makes it begins and ends the transaction."""

    changes_by: ChangesBy = "update"
    indexes = True
    key_index: KeyIndex = "UNIQUE"
    has_unique_keys = True
    keeps_versions = True
    indexes_pin = False
    table_options = TABLE_OPTIONS
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
        self._without_views(table, lambda: ddl.change_type(self, table, column))

    def replace_column(self, table: sa.Table, name: str, other: str) -> None:
        self._without_views(table, lambda: ddl.replace_column(self, table, name, other))

    def _without_views(self, table: sa.Table, change: Callable[[], None]) -> None:
        """The views of ours on the table give way meanwhile, and come again with those who may read them."""
        schema, active = str(table.schema), f"{table.name}_active"
        named = self.execute(_NAMED_VIEWS, schema, table.name, f"{VIEW_MARK}%")
        rights = {view: self._rights(*view) for view in ((schema, active), *((row[0], row[1]) for row in named))}
        for view in rights:
            self.ddl(f"DROP VIEW IF EXISTS {self.quoted(*view)}")
        change()
        ddl.create_active_view(self, table, DELETED)
        self._grant(rights.pop((schema, active)))
        for (own_schema, view, query, mark), grants in zip(named, rights.values(), strict=True):
            try:
                with self.connection.transaction():
                    self._create_view(own_schema, view, query.rstrip().rstrip(";"), mark, grants)
            except (errors.UndefinedFunction, errors.DatatypeMismatch) as error:
                # What it compares has become different types; it is made anew after the merge.
                _log.warning("view %s.%s is gone until it is made again: %s", own_schema, view, error)

    def view_mark(self, schema: str, name: str) -> str | None:
        found = self.execute(
            "SELECT obj_description(c.oid, 'pg_class') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = $1 AND c.relname = $2",
            schema,
            name,
        )
        return own_mark(found[0][0] or "") if found else None

    def put_view(self, schema: str, name: str, query: str, mark: str) -> None:
        # Columns of a view can neither change nor move, so it is dropped; views of others on it refuse that.
        grants = self._rights(schema, name)
        self.ddl(f"DROP VIEW IF EXISTS {self.quoted(schema, name)}")
        self._create_view(schema, name, query, mark, grants)

    def _create_view(self, schema: str, name: str, query: str, mark: str, grants: Iterable[str]) -> None:
        view = self.quoted(schema, name)
        self.ddl(f"CREATE VIEW {view} AS {query}")
        self.ddl(f"COMMENT ON VIEW {view} IS '{mark}'")
        self._grant(grants)

    def _rights(self, schema: str, view: str) -> list[str]:
        """Statements that grant what others than its owner may do with a view."""
        found = self.execute(
            "SELECT format('GRANT %s ON %I.%I TO %s%s', a.privilege_type, n.nspname, c.relname,"
            " CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,"
            " CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a"
            " WHERE n.nspname = $1 AND c.relname = $2 AND a.grantee <> c.relowner",
            schema,
            view,
        )
        return [row[0] for row in found]

    def _grant(self, grants: Iterable[str]) -> None:
        for grant in grants:
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

    def hold(self, table: sa.Table, keys: Sequence[str]) -> None:
        # If something else has dropped the index, it is made again. If it is there, this still locks out who writes.
        ddl.create_index(self, table, keys, kind="UNIQUE")
        name = self.quoted(str(table.schema), table.name)
        self.execute(_CHEAP_LOOKUPS, name)

    def filled(self, table: sa.Table) -> None:
        # The pages of the feed's table were just read to compute the changes, so going to them by place is cheap.
        self.ddl(f"ANALYZE {self.quoted(str(table.schema), table.name)}; SET LOCAL random_page_cost = 0.1")

    def place(self, table: sa.FromClause) -> Expression | None:
        place: sa.ColumnClause[str] = sa.column("ctid", _Tid())
        place.table = table
        return place

    def try_unique(self, work: Callable[[], T]) -> T | None:
        self.ddl("SAVEPOINT try_unique")
        try:
            return work()
        except errors.UniqueViolation:
            self.ddl("ROLLBACK TO SAVEPOINT try_unique")
            return None

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

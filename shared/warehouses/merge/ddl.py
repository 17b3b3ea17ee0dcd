"""DDL as text, every name and value quoted by SQLAlchemy. SQL Server says a few things in its own way."""

from __future__ import annotations

import hashlib

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sqlalchemy.engine import Dialect

from shared.warehouses.merge.session import Session
from shared.warehouses.merge.types import TEXT, SqlType, sql_type

_LONGEST = 63


def quoted(dialect: Dialect, *names: str) -> str:
    """Identifiers in quotes, always, joined by dots."""
    return ".".join(dialect.identifier_preparer.quote_identifier(name) for name in names)


def create_schema(session: Session, schema: str) -> None:
    name = quoted(session.dialect, schema)
    if not _is_tsql(session.dialect):
        session.ddl(f"CREATE SCHEMA IF NOT EXISTS {name}")
        return
    # It has to be the only statement of its batch, and there is no IF NOT EXISTS.
    text = _literal(session.dialect, TEXT, f"CREATE SCHEMA {name}")
    session.ddl(f"IF SCHEMA_ID({_literal(session.dialect, TEXT, schema)}) IS NULL EXEC({text})")


def create_table(session: Session, table: sa.Table) -> None:
    session.ddl(creating(session.dialect, table))


def creating(dialect: Dialect, table: sa.Table) -> str:
    """The statement that creates *table*."""
    return str(sa.schema.CreateTable(table).compile(dialect=dialect)).strip()


def add_column(session: Session, table: sa.Table, name: str, kind: str, value: Any = None) -> None:
    """Add a nullable column; rows that are there get *value*, later ones do not."""
    column = f"{quoted(session.dialect, name)} {sql_type(kind).compile(dialect=session.dialect)}"
    if _is_tsql(session.dialect):
        _alter(session, table, f"ADD {column} NULL")
        return
    default = "" if value is None else f" DEFAULT {_literal(session.dialect, sql_type(kind), value)}"
    _alter(session, table, f"ADD COLUMN {column}{default}")
    if default:
        _alter(session, table, f"ALTER COLUMN {quoted(session.dialect, name)} DROP DEFAULT")


def drop_column(session: Session, table: sa.Table, name: str) -> None:
    _alter(session, table, f"DROP COLUMN {quoted(session.dialect, name)}")


def change_type(session: Session, table: sa.Table, column: sa.Column[Any]) -> None:
    """Give a column the type *column* has, and cast its values to it."""
    name, kind = quoted(session.dialect, column.name), column.type.compile(dialect=session.dialect)
    if _is_tsql(session.dialect):
        _alter(session, table, f"ALTER COLUMN {name} {kind}")
        return
    plain = kind.partition(" COLLATE ")[0]  # a cast takes none
    _alter(session, table, f"ALTER COLUMN {name} TYPE {kind} USING CAST({name} AS {plain})")


def replace_column(session: Session, table: sa.Table, name: str, other: str) -> None:
    """Drop a column and give its name to the *other* one."""
    drop_column(session, table, name)
    if _is_tsql(session.dialect):
        old = _literal(session.dialect, TEXT, quoted(session.dialect, str(table.schema), table.name, other))
        session.ddl(f"EXEC sp_rename {old}, {_literal(session.dialect, TEXT, name)}, N'COLUMN'")
        return
    _alter(session, table, f"RENAME COLUMN {quoted(session.dialect, other)} TO {quoted(session.dialect, name)}")


def create_key_index(session: Session, table: sa.Table, keys: Sequence[str], first: str, deleted: str) -> None:
    """The keys of active rows with *first*, so that counting them reads no table."""
    session.ddl(
        f"CREATE INDEX {quoted(session.dialect, index_name(table.name))}"
        f" ON {quoted(session.dialect, str(table.schema), table.name)} ({_listed(session, keys)})"
        f" INCLUDE ({quoted(session.dialect, first)}) WHERE {quoted(session.dialect, deleted)} IS NULL"
    )


def create_index(
    session: Session, table: sa.Table, keys: Sequence[str], *, kind: str = "", what: str = "keys",
    covering: Sequence[str] = (),
) -> None:  # fmt: skip
    """An index on all rows, UNIQUE or CLUSTERED if *kind* says so; *what* tells it from others of the table.

    SQL Server's tables are clustered by their keys, but not uniquely: an index takes 'a' and 'a ' for the same.
    """
    known = "" if _is_tsql(session.dialect) else "IF NOT EXISTS "
    include = f" INCLUDE ({_listed(session, covering)})" if covering else ""
    session.ddl(
        f"CREATE {kind} INDEX {known}{quoted(session.dialect, index_name(table.name, what))}"
        f" ON {quoted(session.dialect, str(table.schema), table.name)} ({_listed(session, keys)}){include}"
    )


def drop_indexes(session: Session, table: sa.Table) -> None:
    """Drop what was created on the keys; SQL Server changes the type of no column that an index has."""
    on = quoted(session.dialect, str(table.schema), table.name)
    for what in ("active", "keys"):
        session.ddl(f"DROP INDEX IF EXISTS {quoted(session.dialect, index_name(table.name, what))} ON {on}")


def index_name(table: str, what: str = "active") -> str:
    """Name of an index of a table, mostly the one on its active keys; hashed where it would be cut (63 bytes)."""
    name = f"ix_{table}_{what}"
    return name if len(name.encode()) <= _LONGEST else f"ix_{hashlib.sha256(table.encode()).hexdigest()[:16]}_{what}"


def create_active_view(session: Session, table: sa.Table, deleted: str) -> None:
    """``<table>_active``: the rows that are not deleted, with all columns the table has now."""
    view = quoted(session.dialect, str(table.schema), f"{table.name}_active")
    source = quoted(session.dialect, str(table.schema), table.name)
    condition = f"{quoted(session.dialect, deleted)} IS NULL"
    verb = "CREATE OR ALTER" if _is_tsql(session.dialect) else "CREATE OR REPLACE"
    session.ddl(f"{verb} VIEW {view} AS SELECT * FROM {source} WHERE {condition}")  # noqa: S608 - quoted


def _listed(session: Session, names: Sequence[str]) -> str:
    return ", ".join(quoted(session.dialect, name) for name in names)


def _alter(session: Session, table: sa.Table, change: str) -> None:
    session.ddl(f"ALTER TABLE {quoted(session.dialect, str(table.schema), table.name)} {change}")


def _is_tsql(dialect: Dialect) -> bool:
    return dialect.name == "mssql"


def _literal(dialect: Dialect, kind: SqlType, value: Any) -> str:
    return str(sa.literal(value, kind).compile(dialect=dialect, compile_kwargs={"literal_binds": True}))

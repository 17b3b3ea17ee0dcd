"""DDL as text, every name and value quoted by SQLAlchemy. DuckDB and PostgreSQL share it to the letter."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from sqlalchemy.engine import Dialect

from shared.warehouses._session import Session
from shared.warehouses._types import sql_type


def quoted(dialect: Dialect, *names: str) -> str:
    """Identifiers in quotes, always, joined by dots."""
    return ".".join(dialect.identifier_preparer.quote_identifier(name) for name in names)


def create_schema(session: Session, schema: str) -> None:
    session.ddl(f"CREATE SCHEMA IF NOT EXISTS {quoted(session.dialect, schema)}")


def create_table(session: Session, table: sa.Table) -> None:
    session.ddl(str(sa.schema.CreateTable(table).compile(dialect=session.dialect)))


def add_column(session: Session, table: sa.Table, name: str, kind: str, value: Any = None) -> None:
    """Add a nullable column; rows that are there get *value*, later ones do not."""
    default = "" if value is None else f" DEFAULT {_literal(session.dialect, kind, value)}"
    column = quoted(session.dialect, name)
    _alter(session, table, f"ADD COLUMN {column} {_type(session.dialect, kind)}{default}")
    if default:
        _alter(session, table, f"ALTER COLUMN {column} DROP DEFAULT")


def drop_column(session: Session, table: sa.Table, name: str) -> None:
    _alter(session, table, f"DROP COLUMN {quoted(session.dialect, name)}")


def change_type(session: Session, table: sa.Table, name: str, kind: str) -> None:
    _alter(session, table, f"ALTER COLUMN {quoted(session.dialect, name)} TYPE {_type(session.dialect, kind)}")


def create_active_view(session: Session, table: sa.Table, deleted: str) -> None:
    """``<table>_active``: the rows that are not deleted, with all columns the table has now."""
    view = quoted(session.dialect, str(table.schema), f"{table.name}_active")
    source = quoted(session.dialect, str(table.schema), table.name)
    condition = f"{quoted(session.dialect, deleted)} IS NULL"
    session.ddl(f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM {source} WHERE {condition}")  # noqa: S608 - quoted


def _alter(session: Session, table: sa.Table, change: str) -> None:
    session.ddl(f"ALTER TABLE {quoted(session.dialect, str(table.schema), table.name)} {change}")


def _type(dialect: Dialect, kind: str) -> str:
    return sql_type(kind).compile(dialect=dialect)


def _literal(dialect: Dialect, kind: str, value: Any) -> str:
    return str(sa.literal(value, sql_type(kind)).compile(dialect=dialect, compile_kwargs={"literal_binds": True}))

"""The tables of a database with what may be their keys and cursors, and the rows of a list of feeds in one of them."""

from __future__ import annotations

import fnmatch
import glob
import warnings

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import sqlalchemy as sa

from sqlalchemy.dialects import mssql

from shared.settings import Settings
from shared.sources.sql.columns import quoted_table
from shared.sources.sql.database import Database
from shared.sources.tables import DatabaseColumn, DatabaseTable, Discovery

Facts: TypeAlias = "Mapping[tuple[str | None, str], Any]"
"""What SQLAlchemy reflected, by schema and table."""

_INTERNAL = ("information_schema", "performance_schema", "mysql", "sys", "guest", "pg_*", "db_*")
"""Schemas of the servers themselves."""
_PARTITIONS = sa.text(
    "SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE c.relispartition"
)


def database_tables(system: str, settings: Settings, patterns: Iterable[str]) -> list[DatabaseTable]:
    """The tables that *patterns* name, in the database of *system*. A view is no table.

    A pattern is ``schema.table``, or the name of a table of the default schema.
    """
    wanted = Discovery(include=tuple(patterns))
    database = _database(system, settings)
    return database.do(lambda connection: list(_tables(connection, database.schema, wanted)))


def table_rows(system: str, settings: Settings, table: str) -> tuple[list[str], list[Sequence[Any]]]:
    """The columns and rows of a small *table* (``schema.table``, or of the default schema) of the system's database."""
    schema, dot, name = table.partition(".")
    database = _database(system, settings, schema if dot else None)
    plain = name if dot else table

    def look(connection: sa.Connection) -> tuple[list[str], list[Sequence[Any]]]:
        columns = [str(one["name"]) for one in _quietly(sa.inspect(connection).get_columns, plain, database.schema)]
        clause = quoted_table(plain, database.schema, columns)
        return columns, [tuple(row) for row in connection.execute(sa.select(*clause.c).select_from(clause))]

    try:
        return database.do(look)
    except sa.exc.NoSuchTableError:
        raise database.missing(database.qualified(plain)) from None


def _database(system: str, settings: Settings, schema: str | None = None) -> Database:
    return Database(f"{system.upper()}_DATABASE_URL", settings.system(system).database_url, schema=schema)


def _tables(connection: sa.Connection, schema: str | None, wanted: Discovery) -> Iterator[DatabaseTable]:
    inspector = sa.inspect(connection)
    default = schema or str(inspector.default_schema_name)
    patterns = [(one.partition(".")[0] if "." in one else glob.escape(default)).casefold() for one in wanted.include]
    for name in sorted({default, *inspector.get_schema_names()}):
        is_internal = any(fnmatch.fnmatchcase(name.casefold(), one) for one in _INTERNAL) and name != default
        if not is_internal and any(fnmatch.fnmatchcase(name.casefold(), one) for one in patterns):
            yield from _tables_of(connection, inspector, name, wanted, is_default=name == default)


def _tables_of(
    connection: sa.Connection, inspector: sa.Inspector, schema: str, wanted: Discovery, *, is_default: bool
) -> Iterator[DatabaseTable]:
    parts = _partitions(connection)
    named = [name for name in inspector.get_table_names(schema) if (schema, name) not in parts]
    names = [name for name in named if wanted.takes_name(schema, name, is_default=is_default)]
    if not names:
        return
    columns: Facts = _quietly(inspector.get_multi_columns, schema, filter_names=names)
    primary: Facts = _quietly(inspector.get_multi_pk_constraint, schema, filter_names=names)
    foreign: Facts = _quietly(inspector.get_multi_foreign_keys, schema, filter_names=names)
    indexes: Facts = _quietly(inspector.get_multi_indexes, schema, filter_names=names)
    constraints = _constraints(inspector, schema, names)
    for name in names:
        place = (schema, name)
        if columns.get(place):
            yield DatabaseTable(
                schema=schema, name=name, columns=[_column(one) for one in columns[place]], is_default=is_default,
                primary=tuple(_spelled(one) for one in (primary.get(place) or {}).get("constrained_columns") or ()),
                unique=list(_unique(indexes.get(place) or (), constraints.get(place) or ())),
                references=dict(_references(foreign.get(place) or (), schema)),
            )  # fmt: skip


def _partitions(connection: sa.Connection) -> set[tuple[str, str]]:
    """The parts of partitioned tables of PostgreSQL: their rows are those of the whole."""
    if connection.dialect.name != "postgresql":
        return set()
    return {(row[0], row[1]) for row in connection.execute(_PARTITIONS)}


def _column(reflected: Mapping[str, Any]) -> DatabaseColumn:
    kind = reflected["type"]
    kind = getattr(kind, "data_type", kind)  # of a domain
    return DatabaseColumn(
        name=_spelled(reflected["name"]), nullable=bool(reflected["nullable"]), instant=isinstance(kind, sa.DateTime),
        number=isinstance(kind, sa.Integer),
        rowversion=isinstance(kind, mssql.TIMESTAMP), stamped="on update" in str(reflected.get("default")).lower(),
    )  # fmt: skip


def _constraints(inspector: sa.Inspector, schema: str, tables: Sequence[str]) -> Facts:
    try:
        found: Facts = _quietly(inspector.get_multi_unique_constraints, schema, filter_names=tables)
    except NotImplementedError:  # SQL Server: its indexes say it all
        return {}
    return found


def _unique(
    indexes: Iterable[Mapping[str, Any]], constraints: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, ...]]:
    found = [tuple(map(_spelled, one["column_names"])) for one in constraints]
    for index in indexes:
        is_partial = any(name.endswith("_where") for name in index.get("dialect_options") or {})
        if index["unique"] and not is_partial and all(index["column_names"]):
            found.append(tuple(map(_spelled, index["column_names"])))
    yield from dict.fromkeys(found)


def _references(keys: Iterable[Mapping[str, Any]], schema: str) -> Iterator[tuple[str, tuple[str, str, str]]]:
    for key in keys:
        if len(key["constrained_columns"]) == 1:
            other = (key["referred_schema"] or schema, key["referred_table"], key["referred_columns"][0])
            yield _spelled(key["constrained_columns"][0]), (other[0], _spelled(other[1]), _spelled(other[2]))


def _spelled(name: str) -> str:
    """SQLAlchemy reads MariaDB's names as they are quoted: a backtick in one comes twice."""
    return name.replace("``", "`")


def _quietly(look: Any, *where: Any, **names: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sa.exc.SAWarning)  # of a type it does not know, or an index on an expression
        return look(*where, **names)

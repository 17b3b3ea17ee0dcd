"""PostgreSQL as a source."""

from __future__ import annotations

import re

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import pyarrow as pa
import sqlalchemy as sa

from shared.errors import IngestError
from shared.remote import CONNECT_SECONDS
from shared.sources.sql.columns import ANY_NUMBER, INSTANT, NAIVE, Expression, SourceColumn, decimal
from shared.sources.sql.dialect import QUERY_SECONDS, Catalogued, ErrorKind, Reflected, flat

_PLAIN = ("text", "varchar", "bpchar", "name")
"""Texts that psycopg returns as they are."""
_TYPES: Mapping[str, pa.DataType] = {
    "bool": pa.bool_(), "int2": pa.int16(), "int4": pa.int32(), "int8": pa.int64(), "float4": pa.float32(),
    "float8": pa.float64(), "bytea": pa.binary(), "date": pa.date32(), "timestamp": NAIVE, "timestamptz": INSTANT,
    "time": pa.time64("us"),
}  # fmt: skip

_CONNECT: dict[str, Any] = {
    "client_encoding": "utf8",
    "connect_timeout": int(CONNECT_SECONDS),
    "tcp_user_timeout": 60_000,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "application_name": "sluice",
    "prepare_threshold": None,  # a plan for any value would be a plan without the index
}
_SESSION = (
    "SET TIME ZONE 'UTC'",
    "SET DateStyle = 'ISO, YMD'",
    "SET IntervalStyle = 'postgres'",
    "SET extra_float_digits = 3",  # older servers would round
    f"SET statement_timeout = '{QUERY_SECONDS}s'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
)
_KINDS: Mapping[str, ErrorKind] = {
    "28": "login", "3D": "login", "42501": "rights", "42P01": "missing", "42703": "missing", "3F000": "missing",
    "42883": "unfit", "42804": "unfit",
    "08": "retryable", "40": "retryable", "53": "retryable", "55": "retryable", "57": "retryable", "58": "retryable",
}  # fmt: skip
"""By the beginning of SQLSTATE."""
_REFUSED = re.compile(
    r"FATAL: +(?:password|role|database|no pg_hba|permission|Peer|Ident|\w+ authentication)|no password supplied"
    r"|does not support SSL|SSL was required|invalid \w+ value|certificate",
    re.IGNORECASE,
)

# A domain is its base type: that of a domain over a domain is a domain again, and read as text.
_COLUMNS = sa.text(
    "SELECT c.relname, a.attname, b.typname, CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END,"
    " b.typcategory, a.attnotnull"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
    " JOIN pg_catalog.pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END"
    " WHERE n.nspname = COALESCE(CAST(:schema AS text), current_schema()) AND c.relname IN :tables"
    " AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped"
    " ORDER BY c.relname, a.attnum"
).bindparams(sa.bindparam("tables", expanding=True))
_UNIQUE = sa.text(
    "SELECT c.relname, x.relname, a.attname"
    " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid"
    " AND a.attnum = ANY((CAST(i.indkey AS int2[]))[0\\:i.indnkeyatts - 1])"
    " WHERE n.nspname = COALESCE(CAST(:schema AS text), current_schema()) AND c.relname IN :tables"
    " AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL"
    " ORDER BY c.relname, x.relname"
).bindparams(sa.bindparam("tables", expanding=True))


class PostgreSQL:
    """See Dialect."""

    options = frozenset(("sslmode", "sslrootcert", "sslcert", "sslkey"))
    form = "postgresql://user:password@host:port/database, with special characters percent-encoded"
    errors: tuple[type[Exception], ...] = (psycopg.Error,)
    nulls_first = False
    clock: Expression = sa.cast(sa.func.timezone("UTC", sa.func.clock_timestamp()), sa.Text)

    def engine(self, url: sa.URL, setting: str, pool: Mapping[str, Any]) -> sa.Engine:
        engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), connect_args=_CONNECT, **pool)
        sa.event.listen(engine, "connect", lambda raw, _: prepare(raw))
        return engine

    def error_kind(self, error: BaseException) -> ErrorKind | None:
        if isinstance(error, psycopg.Error) and error.sqlstate:
            starts = (error.sqlstate, error.sqlstate[:2])
            return next((_KINDS[start] for start in starts if start in _KINDS), None)
        if not isinstance(error, psycopg.OperationalError):
            return None
        return "login" if _REFUSED.search(str(error)) else "retryable"

    def error_line(self, error: BaseException) -> str:
        if isinstance(error, psycopg.Error) and error.diag.message_primary:
            return flat(error.diag.message_primary)
        return flat(str(error) or type(error).__name__)

    def other(self, error: BaseException, what: str) -> IngestError | None:
        return None

    def look_up(self, connection: sa.Connection, schema: str | None, tables: Sequence[str]) -> Catalogued:
        wanted = {"schema": schema, "tables": list(tables)}
        columns = [
            Reflected(table, name, kind, *_digits(modifier), unsigned=False, nullable=not required, family=category)
            for table, name, kind, modifier, category, required in connection.execute(_COLUMNS, wanted)
        ]
        return Catalogued(columns, [(one[0], one[1], one[2]) for one in connection.execute(_UNIQUE, wanted)])

    def column(self, column: Expression, reflected: Reflected) -> SourceColumn:
        is_number = reflected.kind == "numeric"
        arrow = decimal(reflected.precision, reflected.scale) if is_number else _TYPES.get(reflected.kind, pa.string())
        selected = _selected(column, reflected, arrow)
        return SourceColumn(
            name=reflected.name, type=arrow, nullable=reflected.nullable, selected=selected,
            ordered=selected if pa.types.is_float32(arrow) else column,
            compared=ANY_NUMBER if is_number and pa.types.is_string(arrow) else arrow,
        )  # fmt: skip

    def by_bytes(self, column: Expression) -> Expression:
        return sa.cast(column, sa.Text).collate("C")

    def settled(self, reflected: Reflected) -> Expression | None:
        return None


def prepare(raw: Any) -> None:
    """Settings of a session: instants in UTC, read only, values in one form whatever the server's default is."""
    raw.autocommit = True  # a rollback would undo the settings
    with raw.cursor() as cursor:
        for statement in _SESSION:
            cursor.execute(statement)


def _digits(modifier: int) -> tuple[int | None, int | None]:
    """Precision and scale in the modifier of a numeric; a scale may be negative."""
    if modifier < 4:
        return None, None
    return (modifier - 4) >> 16 & 0xFFFF, (((modifier - 4) & 0x7FF) ^ 0x400) - 0x400


def _selected(column: Expression, reflected: Reflected, arrow: pa.DataType) -> Expression:
    """Temporal values as text: Python has no infinity, no year before the first, no hour after the last."""
    if pa.types.is_float32(arrow):
        # As a double: the server does not find a float equal to what it printed.
        return column * sa.literal_column("1e0")
    if reflected.kind in _PLAIN:
        return column
    if pa.types.is_string(arrow) or pa.types.is_temporal(arrow):
        if reflected.kind == "numeric":
            return sa.cast(column, sa.Text)
        return sa.cast(sa.func.to_jsonb(column) if reflected.family == "A" else column, sa.Text)
    return column

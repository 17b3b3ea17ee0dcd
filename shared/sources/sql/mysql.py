"""MySQL and MariaDB as a source."""

from __future__ import annotations

import codecs

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pymysql
import sqlalchemy as sa

from pymysql.constants import FIELD_TYPE
from pymysql.converters import conversions
from sqlalchemy.dialects import mysql

from shared.errors import IngestError
from shared.remote import CONNECT_SECONDS
from shared.sources.sql.columns import ANY_NUMBER, INSTANT, NAIVE, Expression, SourceColumn, decimal
from shared.sources.sql.dialect import QUERY_SECONDS, Catalogued, ErrorKind, Reflected, flat

_INTEGERS = {"tinyint": 8, "smallint": 16, "mediumint": 32, "int": 32, "bigint": 64}
_SPATIAL = (
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
    "geometrycollection", "geomcollection",
)  # fmt: skip
_TYPES: Mapping[str, pa.DataType] = {
    "year": pa.int16(), "float": pa.float32(), "double": pa.float64(), "date": pa.date32(), "datetime": NAIVE,
    "timestamp": INSTANT, "time": pa.time64("us"),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector"), pa.binary()),
}  # fmt: skip

# Dates and times come as text: Python has no zero date and no time beyond a day.
_AS_TEXT = (FIELD_TYPE.DATE, FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP, FIELD_TYPE.TIME)
_CONNECT: dict[str, Any] = {
    "charset": "utf8mb4",
    "connect_timeout": int(CONNECT_SECONDS),
    "read_timeout": QUERY_SECONDS,
    "write_timeout": QUERY_SECONDS,
    "conv": {kind: read for kind, read in conversions.items() if kind not in _AS_TEXT},
}
_SESSION = (
    # What stands in the comments is for MariaDB alone, and for MySQL alone.
    f"SET time_zone = '+00:00' /*M!100100 , max_statement_time = {QUERY_SECONDS} */"
    f" /*!50708 , max_execution_time = {QUERY_SECONDS * 1000} */",
    # A strict server refuses to compare with a date of zeros, which pages may begin after.
    "SET sql_mode = REPLACE(REPLACE(@@sql_mode, 'NO_ZERO_IN_DATE', ''), 'NO_ZERO_DATE', '')",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
)
_KINDS: Mapping[int, ErrorKind] = {
    **dict.fromkeys((1044, 1045, 1049, 1130, 1251, 1524, 1698, 1820, 1862, 3118, 3159, 4151), "login"),
    **dict.fromkeys((1142, 1143, 1227, 1345, 1370), "rights"),
    **dict.fromkeys((1054, 1146, 1356), "missing"),
    **dict.fromkeys((1040, 1053, 1077, 1152, 1203, 1205, 1213, 1226, 1317, 1969, 3024), "retryable"),
    **dict.fromkeys((*range(1158, 1162), *range(2000, 3000)), "retryable"),
}
"""By error number: the server's from 1000 on, the client's own from 2000 on."""

_COLUMNS = sa.text(
    "SELECT table_name, column_name, data_type, numeric_precision, numeric_scale, column_type, is_nullable"
    " FROM information_schema.columns WHERE table_schema = COALESCE(:schema, DATABASE()) AND table_name IN :tables"
    " ORDER BY table_name, ordinal_position"
).bindparams(sa.bindparam("tables", expanding=True))
_UNIQUE = sa.text(
    "SELECT table_name, index_name, column_name FROM information_schema.statistics"
    " WHERE table_schema = COALESCE(:schema, DATABASE()) AND table_name IN :tables AND non_unique = 0"
    " AND column_name IS NOT NULL ORDER BY table_name, index_name, seq_in_index"
).bindparams(sa.bindparam("tables", expanding=True))

_CODEC = "sluice_utf8"
"""UTF-8 that keeps bytes which are none, as surrogates: a server passes on what a client stored under a wrong name."""


def _codec(name: str) -> codecs.CodecInfo | None:
    if name != _CODEC:
        return None
    return codecs.CodecInfo(
        lambda text, errors="strict": codecs.utf_8_encode(text, "surrogateescape"),
        lambda raw, errors="strict": codecs.utf_8_decode(raw, "surrogateescape", True),
        name=_CODEC,
    )


codecs.register(_codec)


class MySQL:
    """See Dialect."""

    options = frozenset(("ssl_ca", "ssl_cert", "ssl_key", "ssl_check_hostname"))
    form = "mysql://user:password@host:port/database, with special characters percent-encoded"
    errors: tuple[type[Exception], ...] = (pymysql.Error,)
    nulls_first = True
    clock: Expression = sa.func.utc_timestamp(sa.literal_column("6"))

    def engine(self, url: sa.URL, setting: str, pool: Mapping[str, Any]) -> sa.Engine:
        engine = sa.create_engine(url.set(drivername="mysql+pymysql"), connect_args=_CONNECT, **pool)
        sa.event.listen(engine, "connect", lambda raw, _: prepare(raw))
        return engine

    def error_kind(self, error: BaseException) -> ErrorKind | None:
        if isinstance(error, pymysql.InterfaceError):
            return "retryable"
        return _KINDS.get(error.args[0] if error.args else 0) if isinstance(error, pymysql.Error) else None

    def error_line(self, error: BaseException) -> str:
        if isinstance(error, pymysql.Error) and len(error.args) > 1:
            return flat(str(error.args[1]))
        return flat(str(error) or type(error).__name__)

    def other(self, error: BaseException, what: str) -> IngestError | None:
        return None

    def look_up(self, connection: sa.Connection, schema: str | None, tables: Sequence[str]) -> Catalogued:
        wanted = {"schema": schema, "tables": list(tables)}
        columns = [
            Reflected(
                table, name, kind.lower(), precision, scale,
                unsigned="unsigned" in declared, nullable=nullable == "YES",
            )
            for table, name, kind, precision, scale, declared, nullable in connection.execute(_COLUMNS, wanted)
        ]  # fmt: skip
        return Catalogued(columns, [(one[0], one[1], one[2]) for one in connection.execute(_UNIQUE, wanted)])

    def column(self, column: Expression, reflected: Reflected) -> SourceColumn:
        arrow = _arrow(reflected)
        selected = _selected(column, reflected.kind, arrow)
        ordered = selected if pa.types.is_float32(arrow) or reflected.kind == "bit" else column
        if reflected.kind in ("enum", "set"):
            ordered = sa.cast(column, mysql.CHAR)  # otherwise ordered by number, but compared as text
        too_long = reflected.kind == "decimal" and pa.types.is_string(arrow)
        return SourceColumn(
            name=reflected.name, type=arrow, nullable=reflected.nullable, selected=selected, ordered=ordered,
            compared=ANY_NUMBER if too_long else arrow,
        )  # fmt: skip

    def by_bytes(self, column: Expression) -> Expression:
        return sa.cast(sa.cast(column, mysql.CHAR(charset="utf8mb4")), sa.BINARY)

    def settled(self, reflected: Reflected) -> Expression | None:
        return None


def prepare(raw: Any) -> None:
    """Settings of a session: instants in UTC, read only, text that may be no UTF-8."""
    with raw.cursor() as cursor:
        for statement in _SESSION:
            cursor.execute(statement)
    raw.encoding = _CODEC


def _arrow(reflected: Reflected) -> pa.DataType:
    kind = reflected.kind
    if kind in _INTEGERS:
        return getattr(pa, f"{'uint' if reflected.unsigned else 'int'}{_INTEGERS[kind]}")()  # type: ignore[no-any-return]
    if kind == "bit":
        return pa.bool_() if reflected.precision in (None, 1) else pa.uint64()
    if kind == "decimal":
        return decimal(reflected.precision, reflected.scale)
    return _TYPES.get(kind, pa.string())


def _selected(column: Expression, kind: str, arrow: pa.DataType) -> Expression:
    if pa.types.is_float32(arrow):
        # As a double: MariaDB prints six digits of a float, and does not find it equal to what it printed.
        return column * sa.literal_column("1e0")
    if kind == "bit":
        return column + sa.literal_column("0")
    return sa.func.ST_AsText(column) if kind in _SPATIAL else column

"""SQL Server and Azure SQL as a source, by ODBC, with the sign-ins of the warehouse (shared.mssql.odbc)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from shared.errors import IngestError
from shared.mssql import errors, odbc
from shared.sources.sql.columns import INSTANT, NAIVE, Expression, SourceColumn, decimal
from shared.sources.sql.dialect import QUERY_SECONDS, Catalogued, ErrorKind, Reflected

_ISO = 121
"""The style of CONVERT that writes dates and times as ISO 8601, with all digits, whatever the session's language is."""
_LOCK_SECONDS = 60
_TEXTS = ("char", "varchar", "nchar", "nvarchar", "text", "ntext")
_INSTANTS = ("datetime", "smalldatetime", "datetime2", "datetimeoffset")
_ROW_VERSION = "timestamp"
"""What INFORMATION_SCHEMA calls a rowversion. It is no time."""
_TYPES: Mapping[str, pa.DataType] = {
    "bit": pa.bool_(), "tinyint": pa.uint8(), "smallint": pa.int16(), "int": pa.int32(), "bigint": pa.int64(),
    "money": pa.decimal128(19, 4), "smallmoney": pa.decimal128(10, 4), "real": pa.float32(), "float": pa.float64(),
    "date": pa.date32(), "time": pa.time64("us"), **dict.fromkeys(_INSTANTS, NAIVE), "datetimeoffset": INSTANT,
    _ROW_VERSION: pa.int64(), **dict.fromkeys(("binary", "varbinary", "image"), pa.binary()),
}  # fmt: skip

_SESSION = (
    f"SET NOCOUNT ON; SET LOCK_TIMEOUT {_LOCK_SECONDS * 1000}; SET DEADLOCK_PRIORITY LOW;"
    " SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
)
_KINDS: Mapping[int, ErrorKind] = {
    **dict.fromkeys((4060, 4064, 18452, 18456, 18470, 18486, 18487, 18488, 40615, 40914), "login"),
    **dict.fromkeys((229, 230, 262, 297, 300, 916), "rights"),
    **dict.fromkeys((207, 208), "missing"),
    **dict.fromkeys((206, 305, 306, 402, 403, 421, 529, 8116), "unfit"),
}
_COLUMNS = (
    "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, NUMERIC_PRECISION, NUMERIC_SCALE, IS_NULLABLE"
    " FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME IN :tables"
    " ORDER BY TABLE_NAME, ORDINAL_POSITION"
)
_UNIQUE = (
    "SELECT o.name, i.name, c.name FROM sys.indexes AS i JOIN sys.objects AS o ON o.object_id = i.object_id"
    " JOIN sys.schemas AS s ON s.schema_id = o.schema_id"
    " JOIN sys.index_columns AS k ON k.object_id = i.object_id AND k.index_id = i.index_id"
    " JOIN sys.columns AS c ON c.object_id = k.object_id AND c.column_id = k.column_id"
    " WHERE s.name = {schema} AND o.name IN :tables AND i.is_unique = 1 AND i.has_filter = 0"
    " AND i.is_disabled = 0 AND k.is_included_column = 0 ORDER BY o.name, i.name"
)
_COMPARED_AS: Mapping[str, str] = {
    **dict.fromkeys(("datetime", "smalldatetime", "datetime2"), "datetime2(7)"),
    "datetimeoffset": "datetimeoffset(7)", "date": "date", "time": "time(7)", "uniqueidentifier": "uniqueidentifier",
    "hierarchyid": "hierarchyid",
}  # fmt: skip
"""What a text is converted to before it is compared: else it would be read by the session's language, or not at all."""


class SQLServer:
    """See Dialect."""

    options = None
    form = "mssql://[user:password@]host[:port]/database?authentication=ActiveDirectoryMsi"
    errors: tuple[type[Exception], ...] = ()
    """SQLAlchemy wraps those of pyodbc, which is imported when it is needed."""
    nulls_first = True

    @property
    def clock(self) -> Expression:
        return _to("varchar(26)", sa.func.sysutcdatetime(), _ISO)

    def engine(self, url: sa.URL, setting: str, pool: Mapping[str, Any]) -> sa.Engine:
        where = odbc.address(url.render_as_string(hide_password=False), setting)
        driver = odbc.load_pyodbc()
        engine = sa.create_engine(
            "mssql+pyodbc://", module=driver, creator=lambda: odbc.connect(driver, where), supports_comments=False,
            use_setinputsizes=False, **pool,
        )  # fmt: skip
        sa.event.listen(engine, "connect", lambda raw, _: prepare(raw, driver))
        return engine

    def error_kind(self, error: BaseException) -> ErrorKind | None:
        if not isinstance(error, Exception):
            return None
        return _KINDS.get(errors.number(error)) or ("retryable" if errors.may_pass(error) else None)

    def other(self, error: BaseException, what: str) -> IngestError | None:
        known = isinstance(error, Exception) and any(kind.__name__ == "Error" for kind in type(error).__mro__)
        return errors.in_words(error, what) if isinstance(error, Exception) and known else None

    def error_line(self, error: BaseException) -> str:
        return errors.line(error) if isinstance(error, Exception) else type(error).__name__

    def look_up(self, connection: sa.Connection, schema: str | None, tables: Sequence[str]) -> Catalogued:
        # No parameter for a schema that is not named: pyodbc would ask the server what type NULL has there.
        wanted = {"tables": list(tables)} | ({"schema": schema} if schema else {})
        place = ":schema" if schema else "COALESCE(SCHEMA_NAME(), 'dbo')"

        def query(text: str) -> sa.TextClause:
            return sa.text(text.format(schema=place)).bindparams(sa.bindparam("tables", expanding=True))

        columns = [
            Reflected(table, name, kind.lower(), precision, scale, unsigned=False, nullable=nullable == "YES")
            for table, name, kind, precision, scale, nullable in connection.execute(query(_COLUMNS), wanted)
        ]
        return Catalogued(columns, [(one[0], one[1], one[2]) for one in connection.execute(query(_UNIQUE), wanted)])

    def column(self, column: Expression, reflected: Reflected) -> SourceColumn:
        kind = reflected.kind
        arrow = (
            decimal(reflected.precision, reflected.scale)
            if kind in ("decimal", "numeric")
            else _TYPES.get(kind, pa.string())
        )
        return SourceColumn(
            name=reflected.name, type=arrow, nullable=reflected.nullable, selected=_selected(column, kind, arrow),
            ordered=column, compared=arrow, converted=_conversion(kind), is_finer=kind in _INSTANTS,
        )  # fmt: skip

    def by_bytes(self, column: Expression) -> Expression:
        return _to("nvarchar(4000)", column).collate("Latin1_General_100_BIN2")

    def settled(self, reflected: Reflected) -> Expression | None:
        return sa.func.min_active_rowversion() if reflected.kind == _ROW_VERSION else None


def prepare(raw: Any, driver: Any) -> None:
    """Settings of a session: a time-out, locks that it does not wait for, text in any code page as Unicode."""
    raw.timeout = QUERY_SECONDS
    raw.setdecoding(driver.SQL_CHAR, encoding="utf-16le", ctype=driver.SQL_WCHAR)
    cursor = raw.cursor()
    cursor.execute(_SESSION)
    cursor.close()


def _to(kind: str, value: Any, style: int | None = None) -> Expression:
    """CONVERT(kind, value[, style])."""
    more: list[Any] = [] if style is None else [sa.literal_column(str(style))]
    return sa.func.convert(sa.literal_column(kind), value, *more)


def _conversion(kind: str) -> Callable[[Expression], Expression] | None:
    if kind == _ROW_VERSION:  # a number as its eight bytes, which an index on it serves
        return lambda value: _to("binary(8)", _to("bigint", value))
    if kind not in _COMPARED_AS:
        return None
    return lambda value: _to(_COMPARED_AS[kind], value)


def _selected(column: Expression, kind: str, arrow: pa.DataType) -> Expression:
    if kind in _SELECTED:
        return _SELECTED[kind](column)
    return _to("nvarchar(max)", column) if pa.types.is_string(arrow) and kind not in _TEXTS else column


def _iso(instant: Any) -> Expression:
    """As text, as other databases have it: with a seventh digit, which Python's instants have not."""
    return _to("varchar(27)", _to("datetime2(7)", instant), _ISO)


def _variant(column: Expression) -> Expression:
    """A sql_variant as text, with every digit of what it holds: a plain cast keeps two of money and six of a float."""
    base = _to("nvarchar(128)", sa.func.sql_variant_property(column, sa.literal_column("'BaseType'")))
    forms = (
        (("float", "real"), "float", 3),
        (("money", "smallmoney"), "money", 2),
        (("binary", "varbinary"), "varbinary(8000)", 1),
        (("date", *_INSTANTS), "datetimeoffset(7)", _ISO),
        (("time",), "time(7)", _ISO),
    )
    return sa.case(
        *(
            (
                base.in_([sa.literal_column(f"'{kind}'") for kind in kinds]),
                _to("nvarchar(max)", _to(known, column), style),
            )
            for kinds, known, style in forms
        ),
        else_=_to("nvarchar(max)", _to("nvarchar(4000)", column)),
    )


_SELECTED: Mapping[str, Callable[[Expression], Expression]] = {
    **dict.fromkeys(("datetime", "smalldatetime", "datetime2"), _iso),
    "datetimeoffset": lambda column: _iso(sa.func.switchoffset(column, sa.literal_column("'+00:00'"))),
    **dict.fromkeys(("date", "time"), lambda column: _to("varchar(16)", column, _ISO)),
    _ROW_VERSION: lambda column: _to("bigint", column),
    "uniqueidentifier": lambda column: sa.func.lower(_to("varchar(36)", column)),
    **dict.fromkeys(("geometry", "geography"), lambda column: column.op(".")(sa.func.STAsText())),
    "sql_variant": _variant,
}
"""Of the types that are not read as they are."""

"""What the stand-in remembers of declared T-SQL types: in DuckDB's comments, which roll back with the rest."""

from __future__ import annotations

import atexit
import functools
import json
import re
import shutil
import tempfile

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb

from tests.standins.tsql import errors
from tests.standins.tsql.script import Token

DATABASE = "_db"
SYSTEM = "_tsql"
COLLATION = "SQL_Latin1_General_CP1_CI_AS"
"""Of the database, as Azure SQL has it unless told otherwise."""


@dataclass(frozen=True, kw_only=True)
class Type:
    """A declared type in INFORMATION_SCHEMA's words."""

    name: str
    length: int | None = None
    """Of text in UTF-16 units, of binary in bytes; -1 for max."""
    precision: int | None = None
    scale: int | None = None
    fraction: int | None = None
    """Digits of the seconds."""
    collation: str | None = None

    @property
    def is_text(self) -> bool:
        return self.name in _TEXTS

    @property
    def duckdb(self) -> str:
        if self.is_text:
            return f"VARCHAR COLLATE {'NOCASE' if '_CI_' in str(self.collation) else 'C'}"
        if self.name == "decimal":
            return f"DECIMAL({self.precision},{self.scale})"
        return _DUCKDB[self.name]

    @property
    def key_bytes(self) -> int:
        """What it takes in an index key at most."""
        if self.length is not None:
            return 1 << 31 if self.length < 0 else self.length * (2 if self.name.startswith("n") else 1)
        return {"bit": 1, "tinyint": 1, "smallint": 2, "int": 4, "real": 4, "date": 3, "time": 5}.get(self.name, 8)


_TEXTS = {"nvarchar", "nchar", "varchar", "char"}
_DUCKDB = {
    "bigint": "BIGINT", "int": "INTEGER", "smallint": "SMALLINT", "tinyint": "UTINYINT", "bit": "BOOLEAN",
    "real": "FLOAT", "float": "DOUBLE", "varbinary": "BLOB", "binary": "BLOB", "date": "DATE", "time": "TIME",
    "datetime2": "TIMESTAMP", "datetime": "TIMESTAMP", "datetimeoffset": "TIMESTAMPTZ", "uniqueidentifier": "UUID",
}  # fmt: skip
_DIGITS = {"bigint": (19, 0), "int": (10, 0), "smallint": (5, 0), "tinyint": (3, 0)}


def declared(  # noqa: C901, PLR0911 - one case a family of types
    name: str, arguments: Sequence[Token], collation: str | None
) -> Type:
    """The type a column definition or CAST names."""
    plain = {"integer": "int", "numeric": "decimal", "dec": "decimal", "double precision": "float"}.get(name, name)
    numbers = [-1 if argument.word == "MAX" else int(argument.text) for argument in arguments if argument.text != ","]
    if plain == "sysname":
        return Type(name="nvarchar", length=128, collation=collation or COLLATION)
    if plain in _TEXTS or plain in ("varbinary", "binary"):
        most = 4000 if plain.startswith("n") else 8000
        if not numbers:
            raise errors.raised(8155, f"a length must be given: {plain} without one is {plain}(1)")
        if numbers[0] > most:
            raise errors.raised(
                2717, f"The size ({numbers[0]}) given to the type '{plain}' exceeds the maximum allowed ({most})."
            )
        return Type(name=plain, length=numbers[0], collation=(collation or COLLATION) if plain in _TEXTS else None)
    if plain == "decimal":
        precision, scale = (*numbers, *(18, 0)[len(numbers) :])
        return Type(name=plain, precision=precision, scale=scale)
    if plain == "float":
        return Type(name="real" if numbers and numbers[0] <= 24 else "float", precision=numbers[0] if numbers else 53)
    if plain in ("time", "datetime2", "datetimeoffset"):
        return Type(name=plain, fraction=numbers[0] if numbers else 7)
    if plain in _DIGITS:
        return Type(name=plain, precision=_DIGITS[plain][0], scale=0)
    if plain == "real":
        return Type(name=plain, precision=24)
    if plain in _DUCKDB:
        return Type(name=plain, fraction={"date": 0, "datetime": 3}.get(plain))
    raise errors.raised(2715, f"Column, parameter, or variable #1: Cannot find data type {name}.")


def of_duckdb(kind: str) -> Type:
    """The type a query's result has, where nothing was declared."""
    decimal = re.match(r"DECIMAL\((\d+),(\d+)\)", kind)
    if decimal:
        return Type(name="decimal", precision=int(decimal[1]), scale=int(decimal[2]))
    if kind == "VARCHAR":
        return Type(name="nvarchar", length=-1, collation=COLLATION)
    if kind == "BLOB":
        return Type(name="varbinary", length=-1)
    found = next((name for name, known in _DUCKDB.items() if known == kind), "decimal" if kind == "HUGEINT" else "int")
    if found == "decimal":
        return Type(name="decimal", precision=38, scale=0)
    precision, scale = _DIGITS.get(found, ({"float": 53, "real": 24}.get(found), None))
    return Type(
        name=found, precision=precision, scale=scale, fraction={"date": 0, "time": 6, "datetime2": 6}.get(found)
    )


@dataclass(frozen=True, kw_only=True)
class Column:
    name: str
    type: Type
    nullable: bool = True


@dataclass(frozen=True, kw_only=True)
class Index:
    name: str
    keys: tuple[str, ...]
    include: tuple[str, ...] = ()
    where: str | None = None
    unique: bool = False
    constraint: bool = False
    clustered: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    schema: str
    name: str
    columns: tuple[Column, ...]
    indexes: tuple[Index, ...] = ()
    defaults: dict[str, str] = field(default_factory=dict)
    """Column by name of the constraint that gives its default."""
    created: str = ""
    """When, as ISO text in UTC."""

    @property
    def quoted(self) -> str:
        return quoted(self.name) if self.name.startswith("#") else f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def shown(self) -> str:
        """As error messages name it."""
        return f"tempdb.dbo.{self.name}" if self.name.startswith("#") else f"sluice.{self.schema}.{self.name}"

    def column(self, name: str) -> Column:
        for column in self.columns:
            if column.name.lower() == name.lower():
                return column
        raise errors.raised(207, f"Invalid column name '{name}'.")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def look_up(connection: duckdb.DuckDBPyConnection, schema: str, name: str) -> Table | None:
    """The table as it is now in the connection's transaction; None if there is none."""
    database = "temp" if name.startswith("#") else DATABASE
    where = f"database_name = {literal(database)} AND lower(table_name) = lower({literal(name)})"
    if database == DATABASE:
        where += f" AND lower(schema_name) = lower({literal(schema)})"
    reported = connection.execute(
        f"SELECT schema_name, table_name, comment FROM duckdb_tables() WHERE {where}"
    ).fetchall()
    if not reported:
        return None
    columns = connection.execute(
        f"SELECT column_name, data_type, is_nullable, comment FROM duckdb_columns() WHERE {where} ORDER BY column_index"
    ).fetchall()
    kept: dict[str, Any] = json.loads(reported[0][2] or "{}")
    return Table(
        schema=reported[0][0],
        name=reported[0][1],
        columns=tuple(
            Column(name=name, type=_reported(comment) or of_duckdb(kind), nullable=nullable)
            for name, kind, nullable, comment in columns
        ),
        indexes=tuple(_index(index) for index in kept.get("indexes", ())),
        defaults=kept.get("defaults", {}),
        created=kept.get("created", ""),
    )


def _index(kept: dict[str, Any]) -> Index:
    return Index(**{**kept, "keys": tuple(kept["keys"]), "include": tuple(kept["include"])})


def remember(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Keep indexes and defaults of *table*."""
    kept: dict[str, Any] = {"indexes": [asdict(index) for index in table.indexes], "defaults": table.defaults}
    kept["created"] = table.created
    connection.execute(f"COMMENT ON TABLE {table.quoted} IS {literal(json.dumps(kept))}")


def remember_type(connection: duckdb.DuckDBPyConnection, table: Table, column: Column) -> None:
    kind = column.type
    parts = (kind.name, kind.length, kind.precision, kind.scale, kind.fraction, kind.collation)
    reported = "|".join("" if part is None else str(part) for part in parts)
    connection.execute(f"COMMENT ON COLUMN {table.quoted}.{quoted(column.name)} IS {literal(reported)}")


def _reported(comment: str | None) -> Type | None:
    if not comment:
        return None
    name, *numbers, collation = comment.split("|")
    length, precision, scale, fraction = (int(number) if number else None for number in numbers)
    return Type(
        name=name, length=length, precision=precision, scale=scale, fraction=fraction, collation=collation or None
    )


def without_index(table: Table, name: str) -> Table:
    return replace(table, indexes=tuple(index for index in table.indexes if index.name.lower() != name.lower()))


@functools.cache
def system_file() -> Path:
    """A database file with the functions and system views below, made once a process: that takes a while."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"ATTACH {literal(str(folder / 'system.duckdb'))} AS {SYSTEM}; USE {SYSTEM}; {_SETUP}")
    return folder / "system.duckdb"


_SETUP = f"""
CREATE MACRO _k(x VARCHAR) AS rtrim(x, ' '), (x) AS x;
CREATE MACRO _units(x) AS
    length(x) + CASE WHEN strlen(x) = length(x) THEN 0
                     ELSE length(regexp_replace(x, '[^\\x{{10000}}-\\x{{10FFFF}}]', '', 'g')) END;
CREATE MACRO _left(x, n) AS
    CASE WHEN _units(x) <= n THEN x WHEN _units(x) = length(x) THEN x[1:n]
         ELSE list_aggregate(list_filter(list_transform(range(1, length(x) + 1), lambda i: x[1:i]),
                                         lambda p: _units(p) <= n), 'last') END;
CREATE MACRO _fit(x VARCHAR, n, place) AS
    CASE WHEN _units(x) > n AND _units(rtrim(x, ' ')) > n
         THEN error('{errors.MARK}2628:String or binary data would be truncated in ' || place
                    || '. Truncated value: ''' || _left(x, n) || '''.')
         ELSE _left(x, n) END,
    (x, n, place) AS _left(CAST(x AS VARCHAR), n);
CREATE MACRO _bytes(x VARCHAR) AS CASE WHEN x IS NULL THEN CAST(NULL AS BLOB)
    ELSE CAST(error('{errors.MARK}257:Implicit conversion from data type nvarchar to varbinary(max) is not allowed. '
                    || 'Use the CONVERT function to run this query.') AS BLOB) END, (x) AS x;
CREATE MACRO _fit_bytes(x, n, place) AS
    CASE WHEN octet_length(x) > n
         THEN CAST(error('{errors.MARK}2628:String or binary data would be truncated in ' || place
                   || '. Truncated value: ''''.') AS BLOB)
         ELSE x END;
CREATE MACRO _text(x VARCHAR) AS x, (x BOOLEAN) AS CAST(CAST(x AS INTEGER) AS VARCHAR), (x) AS CAST(x AS VARCHAR);
CREATE MACRO _hex(x VARCHAR) AS x, (x BLOB) AS hex(x);
CREATE MACRO _plus(x VARCHAR, y VARCHAR) AS x || y, (x, y) AS x + y;
CREATE MACRO _len(x) AS _units(rtrim(x, ' '));
CREATE MACRO _datalength(x VARCHAR) AS 2 * _units(x), (x BLOB) AS octet_length(x), (x BIGINT) AS 8, (x INTEGER) AS 4,
    (x SMALLINT) AS 2, (x BOOLEAN) AS 1, (x DOUBLE) AS 8, (x FLOAT) AS 4, (x DATE) AS 3, (x) AS 8;
CREATE MACRO _sha256(x VARCHAR) AS unhex(sha256(x)), (x BLOB) AS unhex(sha256(x));
CREATE MACRO _md5(x VARCHAR) AS unhex(md5(x)), (x BLOB) AS unhex(md5(x));

CREATE MACRO switchoffset(x, zone) AS CASE WHEN zone = '+00:00' THEN timezone('UTC', x) ELSE error('only to UTC') END;
CREATE SCHEMA info;
CREATE SCHEMA sys;
CREATE MACRO _part(told, n) AS nullif(split_part(told, '|', n), '');
CREATE VIEW info.COLUMNS AS
    WITH described AS (
        SELECT *, coalesce(comment, CASE data_type
            WHEN 'VARCHAR' THEN 'nvarchar|-1||||{COLLATION}' WHEN 'BLOB' THEN 'varbinary|-1||||'
            WHEN 'BIGINT' THEN 'bigint||19|0||' WHEN 'INTEGER' THEN 'int||10|0||' WHEN 'SMALLINT' THEN 'smallint||5|0||'
            WHEN 'BOOLEAN' THEN 'bit|||||' WHEN 'DOUBLE' THEN 'float||53|||' WHEN 'FLOAT' THEN 'real||24|||'
            WHEN 'DATE' THEN 'date||||0|' WHEN 'TIME' THEN 'time||||6|' WHEN 'TIMESTAMP' THEN 'datetime2||||6|'
            ELSE 'decimal||' || numeric_precision || '|' || numeric_scale || '||' END) AS told
        FROM duckdb_columns() WHERE database_name = '{DATABASE}')
    SELECT 'sluice' AS TABLE_CATALOG, schema_name COLLATE NOCASE AS TABLE_SCHEMA,
        table_name COLLATE NOCASE AS TABLE_NAME,
        column_name COLLATE NOCASE AS COLUMN_NAME, column_index AS ORDINAL_POSITION, column_default AS COLUMN_DEFAULT,
        CASE WHEN is_nullable THEN 'YES' ELSE 'NO' END AS IS_NULLABLE, _part(told, 1) AS DATA_TYPE,
        CAST(_part(told, 2) AS INTEGER) AS CHARACTER_MAXIMUM_LENGTH, CAST(_part(told, 3) AS INTEGER)
        AS NUMERIC_PRECISION, CAST(_part(told, 4) AS INTEGER) AS NUMERIC_SCALE,
        CAST(_part(told, 5) AS INTEGER) AS DATETIME_PRECISION, _part(told, 6) AS COLLATION_NAME
    FROM described;
CREATE VIEW info.TABLES AS
    SELECT 'sluice' AS TABLE_CATALOG, schema_name COLLATE NOCASE AS TABLE_SCHEMA,
        table_name COLLATE NOCASE AS TABLE_NAME,
        'BASE TABLE' AS TABLE_TYPE FROM duckdb_tables() WHERE database_name = '{DATABASE}'
    UNION ALL SELECT 'sluice', schema_name COLLATE NOCASE, view_name COLLATE NOCASE, 'VIEW' FROM duckdb_views()
        WHERE database_name = '{DATABASE}' AND NOT internal;
CREATE VIEW info.VIEWS AS SELECT * FROM info.TABLES WHERE TABLE_TYPE = 'VIEW';
CREATE VIEW info.SCHEMATA AS SELECT 'sluice' AS CATALOG_NAME, schema_name COLLATE NOCASE AS SCHEMA_NAME
    FROM duckdb_schemas()
    WHERE database_name = '{DATABASE}' AND NOT internal;
CREATE VIEW sys.schemas AS SELECT schema_name COLLATE NOCASE AS name, CAST(oid AS INTEGER) AS schema_id
    FROM duckdb_schemas()
    WHERE database_name = '{DATABASE}' AND NOT internal;
CREATE VIEW sys.tables AS SELECT t.table_name COLLATE NOCASE AS name, CAST(t.table_oid AS INTEGER) AS object_id,
    CAST(t.schema_oid AS INTEGER) AS schema_id, 'U ' AS type, 'USER_TABLE' AS type_desc, t.comment AS _kept,
    CAST(t.comment ->> 'created' AS TIMESTAMP) AS create_date
    FROM duckdb_tables() AS t WHERE t.database_name = '{DATABASE}';
CREATE VIEW sys.views AS SELECT view_name COLLATE NOCASE AS name, CAST(view_oid AS INTEGER) AS object_id,
    CAST(schema_oid AS INTEGER) AS schema_id, 'V ' AS type, 'VIEW' AS type_desc
    FROM duckdb_views() WHERE database_name = '{DATABASE}' AND NOT internal;
CREATE VIEW sys.sql_modules AS SELECT CAST(view_oid AS INTEGER) AS object_id, comment AS definition
    FROM duckdb_views() WHERE database_name = '{DATABASE}' AND NOT internal;
CREATE VIEW sys.objects AS SELECT name, object_id, schema_id, type, type_desc FROM sys.tables
    UNION ALL SELECT name, object_id, schema_id, type, type_desc FROM sys.views;
CREATE VIEW sys.columns AS SELECT CAST(table_oid AS INTEGER) AS object_id, column_name COLLATE NOCASE AS name,
    column_index AS column_id, _part(comment, 1) AS _type, is_nullable,
    CASE WHEN _part(comment, 1) IN ('nvarchar', 'nchar') AND CAST(_part(comment, 2) AS INTEGER) > 0
         THEN 2 * CAST(_part(comment, 2) AS INTEGER) ELSE coalesce(CAST(_part(comment, 2) AS INTEGER), 8) END
    AS max_length, CAST(_part(comment, 3) AS INTEGER) AS precision,
    coalesce(CAST(_part(comment, 4) AS INTEGER), CAST(_part(comment, 5) AS INTEGER)) AS scale,
    _part(comment, 6) AS collation_name, _part(comment, 1) AS system_type_id, _part(comment, 1) AS user_type_id
    FROM duckdb_columns() WHERE database_name = '{DATABASE}';
CREATE VIEW sys.types AS SELECT DISTINCT _type AS name, _type AS system_type_id, _type AS user_type_id FROM sys.columns;
CREATE VIEW sys.indexes AS
    SELECT object_id, CAST(row_number() OVER (PARTITION BY object_id) + 1 AS INTEGER) AS index_id,
        kept ->> 'name' AS name, CAST(kept ->> 'unique' AS BOOLEAN) AS is_unique,
        CAST(kept ->> 'constraint' AS BOOLEAN) AS is_primary_key, kept ->> 'where' AS filter_definition,
        (kept ->> 'where') IS NOT NULL AS has_filter,
        CASE WHEN CAST(kept ->> 'clustered' AS BOOLEAN) THEN 'CLUSTERED' ELSE 'NONCLUSTERED' END AS type_desc,
        FALSE AS is_disabled, CAST(kept -> 'keys' AS VARCHAR[]) AS _keys
    FROM (SELECT object_id, unnest(CAST(_kept -> 'indexes' AS JSON[])) AS kept FROM sys.tables WHERE _kept IS NOT NULL);
CREATE VIEW sys.index_columns AS
    SELECT k.object_id, k.index_id, c.column_id, k.key_ordinal, FALSE AS is_included_column
    FROM (SELECT object_id, index_id, unnest(_keys) AS name, generate_subscripts(_keys, 1) AS key_ordinal
          FROM sys.indexes) AS k
    JOIN sys.columns AS c ON c.object_id = k.object_id AND lower(c.name) = lower(k.name);
"""

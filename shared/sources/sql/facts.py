"""What a database says of itself, for checks: server, clock, sizes by its statistics, indexes, and our rights.

MySQL and MariaDB: information_schema and SHOW GRANTS; PostgreSQL: pg_catalog; SQL Server: sys.partitions and
sys.indexes, which show each user the tables that it may read.
"""

from __future__ import annotations

import re

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from shared.sources.sql.dialect import Dialect
from shared.sources.sql.mysql import MySQL
from shared.sources.sql.postgres import PostgreSQL

_WRITES = re.compile(
    r"ALL PRIVILEGES|SUPER|GRANT OPTION|CREATE ROUTINE"
    r"|\b(?:INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|TRUNCATE|FILE|TRIGGER)\b"
)
_GRANT = re.compile(r"GRANT (?P<rights>.+?) ON (?P<on>.+?) TO ")


class Server(NamedTuple):
    """The server, and who we are there."""

    version: str
    user: str
    zone: str
    """Its time zone, by name or offset."""


class Size(NamedTuple):
    """A table by the server's statistics; None where it has none, as of a view."""

    rows: int | None
    bytes: int | None


class Facts(NamedTuple):
    """All of some tables. Keys are their names as the server spells them."""

    server: Server
    clock: str
    """The server's own time: UTC, as ISO 8601 text without zone."""
    sizes: Mapping[str, Size]
    indexes: Mapping[str, Sequence[Sequence[str | None]]]
    """The columns of each index in its order, None for an expression. Indexes of some rows only are left out."""
    writes: Sequence[str]
    """What the user could change, in words."""


class _Queries(NamedTuple):
    """Server, sizes and indexes with their columns in order; then the tables that we could write to.

    ``{tables}`` is the condition for the tables in question; ``:schema`` and ``:tables`` are bound in it.
    """

    server: str
    sizes: str
    indexes: str
    writes: str | None = None

    def of(self, tables: str) -> _Queries:
        """With *tables* as the condition."""
        return self._replace(
            sizes=self.sizes.replace("{tables}", tables),
            indexes=self.indexes.replace("{tables}", tables),
            writes=self.writes and self.writes.replace("{tables}", tables),
        )


_MYSQL = _Queries(
    "SELECT VERSION(), CURRENT_USER(),"
    " CASE @@global.time_zone WHEN 'SYSTEM' THEN @@system_time_zone ELSE @@global.time_zone END",
    "SELECT table_name, table_rows, data_length FROM information_schema.tables"
    " WHERE table_schema = COALESCE(:schema, DATABASE()) AND table_name IN :tables",
    "SELECT table_name, index_name, column_name FROM information_schema.statistics"
    " WHERE table_schema = COALESCE(:schema, DATABASE()) AND table_name IN :tables"
    " ORDER BY table_name, index_name, seq_in_index",
)
_IN_SCHEMA = (
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = COALESCE(CAST(:schema AS text), current_schema()) AND c.relname IN :tables"
)
_POSTGRES = _Queries(
    "SELECT current_setting('server_version'), current_user,"
    " (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'TimeZone')",
    "SELECT c.relname, CASE WHEN c.reltuples >= 0 AND c.relkind <> 'v' THEN CAST(c.reltuples AS bigint) END,"
    " CASE WHEN c.relkind <> 'v' THEN pg_table_size(c.oid) END FROM pg_catalog.pg_class c {tables}",
    "SELECT c.relname, x.relname, a.attname FROM pg_catalog.pg_index i"
    " JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid"
    " CROSS JOIN LATERAL unnest(CAST(i.indkey AS int2[])) WITH ORDINALITY AS k (number, place)"
    " LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number AND k.number > 0"
    " {tables} AND i.indisvalid AND i.indpred IS NULL AND k.place <= i.indnkeyatts"
    " ORDER BY c.relname, x.relname, k.place",
    "SELECT c.relname FROM pg_catalog.pg_class c {tables} AND (has_table_privilege(c.oid, 'INSERT')"
    " OR has_table_privilege(c.oid, 'UPDATE') OR has_table_privilege(c.oid, 'DELETE')"
    " OR has_table_privilege(c.oid, 'TRUNCATE')) ORDER BY c.relname",
).of(_IN_SCHEMA)
_OF_SCHEMA = (
    "JOIN sys.schemas AS s ON s.schema_id = o.schema_id"
    " WHERE s.name = COALESCE(:schema, SCHEMA_NAME()) AND o.name IN :tables"
)
_SQL_SERVER = _Queries(
    "SELECT CONVERT(nvarchar(128), SERVERPROPERTY(N'ProductVersion')), CONVERT(nvarchar(128), SUSER_SNAME()),"
    " DATENAME(tz, SYSDATETIMEOFFSET())",
    "SELECT o.name, (SELECT SUM(p.rows) FROM sys.partitions AS p WHERE p.object_id = o.object_id"
    " AND p.index_id IN (0, 1)), CAST(NULL AS bigint) FROM sys.objects AS o {tables}",
    "SELECT o.name, i.name, k.name FROM sys.objects AS o JOIN sys.indexes AS i ON i.object_id = o.object_id"
    " JOIN sys.index_columns AS c ON c.object_id = i.object_id AND c.index_id = i.index_id AND c.key_ordinal > 0"
    " JOIN sys.columns AS k ON k.object_id = c.object_id AND k.column_id = c.column_id"
    " {tables} AND i.has_filter = 0 AND i.is_disabled = 0 AND i.is_hypothetical = 0"
    " ORDER BY o.name, i.name, c.key_ordinal",
    "SELECT o.name FROM sys.objects AS o {tables} AND 1 IN (HAS_PERMS_BY_NAME({named}, N'INSERT'),"
    " HAS_PERMS_BY_NAME({named}, N'UPDATE'), HAS_PERMS_BY_NAME({named}, N'DELETE')) ORDER BY o.name".replace(
        "{named}", "QUOTENAME(s.name) + N'.' + QUOTENAME(o.name), N'OBJECT'"
    ),
).of(_OF_SCHEMA)


def queries(dialect: Dialect) -> _Queries:
    """What is sent to a database of *dialect*."""
    if isinstance(dialect, MySQL):
        return _MYSQL
    return _POSTGRES if isinstance(dialect, PostgreSQL) else _SQL_SERVER


def look(connection: sa.Connection, dialect: Dialect, schema: str | None, tables: Sequence[str]) -> Facts:
    """What the server says of *tables* in *schema*, or in the default one."""
    sent, wanted = queries(dialect), {"schema": schema, "tables": list(tables)}

    def rows(query: str) -> Sequence[Any]:
        bound = sa.text(query).bindparams(sa.bindparam("tables", expanding=True))
        return connection.execute(bound, wanted).fetchall()

    clock = str(connection.execute(sa.select(dialect.clock)).scalar_one())
    server = Server(*(str(value) for value in connection.execute(sa.text(sent.server)).one()))
    sizes = {name: Size(*(None if n is None else int(n) for n in numbers)) for name, *numbers in rows(sent.sizes)}
    by_index: dict[tuple[str, str], list[str | None]] = {}
    for table, index, column in rows(sent.indexes):
        by_index.setdefault((table, index), []).append(column)
    indexes: dict[str, list[Sequence[str | None]]] = {}
    for (table, _), columns in by_index.items():
        indexes.setdefault(table, []).append(columns)
    if sent.writes is None:
        granted = [str(row[0]) for row in connection.execute(sa.text("SHOW GRANTS"))]
        return Facts(server, clock, sizes, indexes, [text for one in granted if (text := _write(one))])
    return Facts(server, clock, sizes, indexes, [row[0] for row in rows(sent.writes)])


def _write(grant: str) -> str | None:
    """What a GRANT of MySQL lets one change.

    >>> _write("GRANT SELECT, INSERT, UPDATE ON `crm`.* TO `app`@`%`")
    'INSERT, UPDATE on crm.*'
    >>> _write("GRANT USAGE ON *.* TO `app`@`%`")
    """
    found = _GRANT.match(grant)
    if found is None:
        return None
    rights = _WRITES.findall(found["rights"])
    return f"{', '.join(rights)} on {found['on'].replace('`', '')}" if rights else None

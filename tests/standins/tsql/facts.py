"""What statements learn of the server, the database and their session: functions, and views that DuckDB has not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import duckdb

from tests.standins.tsql import catalog, errors, script, translate
from tests.standins.tsql.catalog import DATABASE, Table, literal
from tests.standins.tsql.values import constant


class Facts:
    """Asked by one connection; *transactions* is its @@TRANCOUNT."""

    def __init__(
        self, server: Any, duck: duckdb.DuckDBPyConnection, *, table: Callable[[str, str], Table | None],
        transactions: Callable[[], int],
    ) -> None:  # fmt: skip
        self._server, self._duck = server, duck
        self._table, self._transactions = table, transactions

    def view(self, name: str) -> str | None:
        """Rows of a system view that are kept outside of DuckDB, as a query; None for the other views."""
        server = self._server
        if name == "dm_user_db_resource_governance":
            if server.log_rate is None:
                raise errors.raised(300, "VIEW DATABASE STATE permission was denied on object 'sluice', database "
                                    "'sluice'.")  # fmt: skip
            return f"SELECT CAST({server.log_rate} AS BIGINT) AS primary_max_log_rate"
        kept = {
            "external_data_sources": (server.external_data_sources, ("name", "location", "type_desc")),
            "database_scoped_credentials": (server.database_scoped_credentials, ("name", "credential_identity")),
            "symmetric_keys": (server.symmetric_keys, ("name",)),
        }.get(name)
        if kept is None:
            return None
        rows, columns = kept
        empty = (
            f"SELECT {', '.join(f'CAST(NULL AS VARCHAR) COLLATE NOCASE AS {column}' for column in columns)} WHERE false"
        )
        reported = (
            f"SELECT {', '.join(f'{constant(row.get(column))} COLLATE NOCASE' for column in columns)}" for row in rows
        )
        return " UNION ALL ".join([empty, *reported])

    def function(self, name: str, given: Sequence[object]) -> str | None:  # noqa: PLR0911 - one a function
        server = self._server
        if name in ("SYSUTCDATETIME", "GETUTCDATE", "SYSDATETIME", "GETDATE", "CURRENT_TIMESTAMP"):
            return constant(server.now())
        if name in ("OBJECT_ID", "SCHEMA_ID", "COL_LENGTH", "TYPE_ID"):
            return self._identity(name, [str(argument) for argument in given])
        if name == "HAS_PERMS_BY_NAME":
            return "1" if server.permissions.get(str(given[2]).upper(), True) else "0"
        if name in ("USER_ID", "DATABASE_PRINCIPAL_ID"):
            return "NULL"
        if name == "CHANGE_TRACKING_CURRENT_VERSION":
            return "NULL" if server.tracking.oldest is None else str(server.tracking.version)
        if name == "CHANGE_TRACKING_MIN_VALID_VERSION":
            return "NULL" if server.tracking.oldest is None else str(server.tracking.oldest)
        if name == "XACT_STATE":
            return "1" if self._transactions() else "0"
        fixed = {"DB_NAME": "'sluice'", "SUSER_SNAME": "'app'", "USER_NAME": "'app'", "SCHEMA_NAME": "'dbo'",
                 "SUSER_NAME": "'app'", "ORIGINAL_LOGIN": "'app'", "DB_ID": "5"}  # fmt: skip
        if name == "SERVERPROPERTY":
            return {"ENGINEEDITION": "5", "EDITION": "'SQL Azure'", "PRODUCTVERSION": "'12.0.2000.8'",
                    "COLLATION": f"'{catalog.COLLATION}'"}.get(str(given[0]).upper(), "NULL")  # fmt: skip
        if name == "DATABASEPROPERTYEX":
            return {"COLLATION": f"'{catalog.COLLATION}'", "SERVICEOBJECTIVE": "'GP_S_Gen5_1'",
                    "EDITION": "'GeneralPurpose'"}.get(str(given[1]).upper(), "NULL")  # fmt: skip
        return fixed.get(name)

    def _identity(self, name: str, given: Sequence[str]) -> str:
        if name == "SCHEMA_ID":
            found = self._duck.execute(
                f"SELECT oid FROM duckdb_schemas() WHERE database_name = '{DATABASE}' "
                f"AND lower(schema_name) = lower({literal(given[0])}) AND NOT (schema_name = 'main')"
            ).fetchall()
            return str(found[0][0]) if found else "NULL"
        schema, table, _ = translate.name_of(script.tokens(given[0]))
        if name == "COL_LENGTH":
            known = self._table(schema, table)
            columns = [c for c in known.columns if c.name.lower() == given[1].lower()] if known else []
            if not columns:
                return "NULL"
            kind = columns[0].type
            return "-1" if kind.length == -1 else str(kind.key_bytes)
        sql = (
            f"SELECT table_oid FROM duckdb_tables() WHERE lower(table_name) = lower({literal(table)}) AND "
            + ("temporary" if table.startswith("#") else f"lower(schema_name) = lower({literal(schema)})")
            + f" UNION ALL SELECT view_oid FROM duckdb_views() WHERE lower(view_name) = lower({literal(table)}) "
            f"AND lower(schema_name) = lower({literal(schema)})"
        )
        found = self._duck.execute(sql).fetchall()
        return str(found[0][0]) if found else "NULL"

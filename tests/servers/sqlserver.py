"""SQL Server for pull feeds to read: the stand-in, and the real one that TEST_AZURE_SQL_URL names."""

from __future__ import annotations

import os
import re
import uuid

from typing import Any

import sqlalchemy as sa

from shared.mssql import odbc
from shared.warehouses.azure_sql import tsql
from tests.standins.tsql.cursor import Cursor
from tests.standins.tsql.engine import Server

REAL_URL = os.environ.get("TEST_AZURE_SQL_URL", "")


class SQLServer:
    """One server, with a pyodbc module to reach it by."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def url(self, database: str, **more: str) -> str:
        raise NotImplementedError

    def create_database(self) -> str:
        raise NotImplementedError

    def drop_database(self, name: str) -> None:
        raise NotImplementedError

    def engine(self, database: str) -> sa.Engine:
        where = odbc.address(self.url(database))
        return sa.create_engine(
            "mssql+pyodbc://", module=self.module, creator=lambda: odbc.connect(self.module, where),
            poolclass=sa.NullPool, supports_comments=False, use_setinputsizes=False,
        )  # fmt: skip


class StandInServer(SQLServer):
    """Databases of the stand-in, by name."""

    def __init__(self) -> None:
        self.databases: dict[str, Server] = {}
        super().__init__(_Module(self.databases))

    def url(self, database: str, **more: str) -> str:
        query = "&".join(f"{name}={value}" for name, value in more.items())
        return f"mssql://sluice:secret@stand-in/{database}{'?' if query else ''}{query}"

    def create_database(self) -> str:
        name = f"test_{uuid.uuid4().hex}"
        self.databases[name] = Server()
        return name

    def drop_database(self, name: str) -> None:
        del self.databases[name]


class RealServer(SQLServer):
    """The database that TEST_AZURE_SQL_URL names, an empty one: all tables and views in it are dropped."""

    def __init__(self) -> None:
        super().__init__(odbc.load_pyodbc())

    def url(self, database: str, **more: str) -> str:
        query = "&".join(f"{name}={value}" for name, value in more.items())
        return REAL_URL + ("&" if "?" in REAL_URL else "?") * bool(query) + query

    def create_database(self) -> str:
        self.drop_database("")
        return "the one of TEST_AZURE_SQL_URL"

    def drop_database(self, name: str) -> None:
        finding = "SELECT TABLE_SCHEMA, TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_TYPE = ?"
        with self.engine(name).connect() as connection:
            for kind in ("VIEW", "BASE TABLE"):
                for place in connection.exec_driver_sql(finding, (kind,)).all():
                    if place[0] != "sys":
                        connection.exec_driver_sql(f"DROP {kind.removeprefix('BASE ')} {tsql.name(*place)}")
            connection.exec_driver_sql("DROP SCHEMA IF EXISTS [Sales]")


class _Module:
    """The databases as the module pyodbc, with what SQLAlchemy wants of it."""

    version, pooling = "5.5.0", False
    STRING, NUMBER, DATETIME, BINARY = str, float, object(), bytes
    Cursor, Binary = Cursor, bytes

    def __init__(self, databases: dict[str, Server]) -> None:
        self._databases = databases

    def connect(self, text: str, **options: Any) -> Any:
        found = re.search(r"Database=\{(\w+)\}", text)
        return self._databases[found[1] if found else ""].connect(text, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(next(iter(self._databases.values()), Server), name)

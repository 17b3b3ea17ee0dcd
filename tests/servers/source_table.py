"""A table in a real MariaDB or PostgreSQL, for tests to fill, change and read as a source."""

from __future__ import annotations

import contextlib
import datetime as dt
import ssl

from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import pymysql
import sqlalchemy as sa
import stamina

from sqlalchemy.dialects import mssql, mysql

from shared.model import Feed, Slice, Unit, Window
from shared.settings import Settings, SystemSettings
from shared.sources.sql import open_source, pages
from shared.sources.sql.source import SqlSource
from tests.servers.mariadb import MariaDB
from tests.servers.postgres import Postgres
from tests.servers.sqlserver import SQLServer

START = dt.datetime(2026, 2, 24, 12)  # noqa: DTZ001 - naive UTC, as the columns are
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql").with_variant(mssql.DATETIME2(), "mssql")
BOTH = ("mariadb", "postgres")


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """Each call is tried once, and this machine's certificates, which pymysql reads to connect, are read once."""
    known = ssl.create_default_context()
    known.check_hostname, known.verify_mode = False, ssl.CERT_NONE
    reading = mock.patch.object(pymysql.connections.Connection, "_create_ssl_ctx", return_value=known)
    with stamina.set_testing(True, attempts=1), reading:
        yield


def at(minutes: float) -> dt.datetime:
    return START + dt.timedelta(minutes=minutes)


def item(*more: sa.Column[Any], exact: bool = True, cursor: Any = MOMENT) -> sa.Table:
    """The table that most tests read."""
    columns = (sa.Column("Id", sa.BigInteger, primary_key=exact, autoincrement=False), sa.Column("At", cursor), *more)
    return sa.Table("item", sa.MetaData(), *columns)


class SourceTable:
    """A database of its own on one server."""

    def __init__(self, server: MariaDB | Postgres | SQLServer, database: str) -> None:
        self.server, self.database = server, database
        if isinstance(server, SQLServer):
            self.engine = server.engine(database)
            return
        scheme = "mysql+pymysql" if isinstance(server, MariaDB) else "postgresql+psycopg"
        place = sa.make_url(server.url(database)).set(drivername=scheme)
        self.engine = sa.create_engine(place, poolclass=sa.NullPool)

    @property
    def url(self) -> str:
        return self.server.url(self.database)

    @property
    def is_mariadb(self) -> bool:
        return isinstance(self.server, MariaDB)

    @property
    def is_sqlserver(self) -> bool:
        return isinstance(self.server, SQLServer)

    def create(self, table: sa.Table, *rows: dict[str, Any]) -> sa.Table:
        with self.engine.begin() as connection:
            table.create(connection)
            if rows:
                connection.execute(table.insert(), list(rows))
        return table

    def do(self, *statements: Any) -> None:
        with self.engine.begin() as connection:
            for one in statements:
                connection.execute(sa.text(one) if isinstance(one, str) else one)

    def insert_at(self, key: int, seconds: float) -> str:
        """A statement that writes a row of ``item`` with a cursor so many seconds after the server's time."""
        if self.is_sqlserver:
            moment = f"DATEADD(millisecond, {int(seconds * 1000)}, SYSUTCDATETIME())"
        else:
            now = "UTC_TIMESTAMP(6)" if self.is_mariadb else "timezone('UTC', clock_timestamp())"
            moment = f"{now} + INTERVAL '{seconds}' SECOND"
        quote = "`{}`" if self.is_mariadb else "[{}]" if self.is_sqlserver else '"{}"'
        return f"INSERT INTO item ({quote.format('Id')}, {quote.format('At')}) VALUES ({key}, {moment})"

    def connections(self) -> int:
        """How many sources are connected to the database."""
        with self.engine.connect() as connection:
            return len(connection.execute(sa.text(self._others)).all())

    def is_left_alone(self) -> bool:
        """Whether no source is connected, at the latest when a server has seen to those that were closed."""
        return any(self.connections() == 0 for _ in range(200))

    def disconnect_others(self) -> None:
        """As a server that is restarted, or that has waited for long."""
        with self.engine.connect() as connection:
            for (other,) in connection.execute(sa.text(self._others)).all():
                connection.execute(
                    sa.text(f"KILL {other}" if self.is_mariadb else f"SELECT pg_terminate_backend({other})")
                )

    @property
    def _others(self) -> str:
        if self.is_mariadb:
            return (
                f"SELECT id FROM information_schema.processlist WHERE db = '{self.database}' AND id <> CONNECTION_ID()"
            )
        return f"SELECT pid FROM pg_stat_activity WHERE datname = '{self.database}' AND application_name = 'sluice'"

    @contextlib.contextmanager
    def statements(self, source: SqlSource) -> Iterator[list[str]]:
        """The queries that *source*, and those that were opened with it, send."""
        sent: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            sent.append(statement)

        def noted(read: pages.Reader) -> pages.Reader:
            def reader(connection: Any, statement: Any, kinds: Any) -> Any:
                sent.append(str(statement))
                return read(connection, statement, kinds)

            return reader

        engine = source._database._engine
        sa.event.listen(engine, "before_cursor_execute", note)
        with mock.patch.object(pages, "READERS", {name: noted(read) for name, read in pages.READERS.items()}):
            yield sent
        sa.event.remove(engine, "before_cursor_execute", note)

    def source(
        self, table: str = "item", keys: Sequence[str] = ("Id",), cursor: str | None = "At", **reported: Any
    ) -> Any:
        """The source of a feed; *told* are options of the feed and settings."""
        names = ("slice_rows", "batch_rows", "sync_rows", "source_connections")
        settings = {name: reported.pop(name) for name in names if name in reported}
        feed = Feed(system="shop", table=table, source="sql", keys=tuple(keys), cursor=cursor, **reported)
        return open_source(feed, with_database(self.url, **settings))


def with_database(url: str | None, **settings: Any) -> Settings:
    """Settings that name *url* as the database of system ``shop``."""
    return Settings(systems={"SHOP": SystemSettings(database_url=url)}, **settings)


def window(source: SqlSource, floor: str | None = None) -> Unit:
    """All that there is from *floor* on."""
    top = source.ceiling(floor)
    assert top is not None
    return Unit(kind="window", window=Window(floor, top.value))


def rows(source: SqlSource, unit: Unit | None = None) -> list[dict[str, Any]]:
    """What is read of a unit, slice by slice."""
    return [row for part in source.describe(unit or window(source)).slices for row in rows_of(source, part)]


def rows_of(source: SqlSource, part: Slice) -> Iterator[dict[str, Any]]:
    for batch in source.read(part):
        yield from batch.to_pylist()

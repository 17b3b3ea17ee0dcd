"""Azure SQL Database, and SQL Server 2019 or later: loaded in bulk, merged under a lock, retried as a whole."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import itertools
import logging

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import sqlalchemy as sa

from shared.errors import ConfigError, DataError, TransientError
from shared.ids import run_of_staging
from shared.model import Feed, Finding, Plan, Run, Staged
from shared.remote import RetryPolicy
from shared.settings import Settings
from shared.text import SHOW_WARNING
from shared.warehouses import Loaded, Merged
from shared.warehouses.azure_sql import direct, odbc, parts, tsql
from shared.warehouses.azure_sql.arrays import insert_many
from shared.warehouses.azure_sql.bulk_copy import BulkCopy
from shared.warehouses.azure_sql.checks import examine
from shared.warehouses.azure_sql.errors import Again, in_words, is_data_fault, may_pass, translated
from shared.warehouses.azure_sql.loader import ARRAY_ROWS, LoadMethod, StagingContainer, StagingLoader, choose
from shared.warehouses.azure_sql.session import MOST_COLUMNS, MSSQLSession
from shared.warehouses.azure_sql.staged_form import as_merged
from shared.warehouses.server.pool import ConnectionPool
from shared.warehouses.server.unit import UnitsOfWork
from shared.warehouses.server.warehouse import DEAD, STAGING, ServerWarehouse

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

_log = logging.getLogger("sluice")
_RETRY = RetryPolicy(attempts=5, seconds=None, first_wait=5.0, longest_wait=60.0, jitter=5.0)
"""As Microsoft's page on transient faults advises."""


def open_warehouse(settings: Settings) -> ServerWarehouse:
    """The database WAREHOUSE_URL names; nothing is opened before it is needed."""
    return ServerWarehouse(AzureSQL(settings, odbc.address(settings.warehouse_url)))


class AzureSQL:
    """The server as ``shared.warehouses.server.warehouse`` wants it."""

    def __init__(self, settings: Settings, where: odbc.Address, odbc: Any = None) -> None:
        """*odbc* is the pyodbc module, unless told otherwise."""
        self._settings, self._where, self._given = settings, where, odbc
        self._timeout = settings.warehouse_lock_timeout
        self.units = UnitsOfWork(
            ConnectionPool(self._connect, size=settings.warehouse_connections, wait_seconds=self._timeout),
            self,
            _RETRY,
        )

    @cached_property
    def odbc(self) -> Any:
        return self._given or odbc.load_pyodbc()

    def _connect(self) -> Any:
        return odbc.connect(self.odbc, self._where)

    # -- transactions

    def session(self, connection: Any) -> MSSQLSession:
        return MSSQLSession(connection)

    def begin(self, session: MSSQLSession) -> None:
        session.execute(tsql.begin(self._timeout))

    def commit(self, session: MSSQLSession) -> None:
        session.execute(tsql.COMMIT)

    def rollback(self, session: MSSQLSession) -> None:
        session.execute(tsql.ROLLBACK)

    def may_pass(self, error: BaseException) -> bool:
        return isinstance(error, Exception) and may_pass(error)

    def spares_connection(self, error: BaseException) -> bool:
        """After a value's fault: one bad value takes many tries to find, and a sign-in for each would take hours."""
        return isinstance(error, Exception) and not may_pass(error) and is_data_fault(error)

    def translated(self) -> contextlib.AbstractContextManager[None]:
        return translated("Azure SQL")

    def lock(self, session: MSSQLSession, name: str) -> None:
        self._check_lock(name, session.first(tsql.applock(_resource(name), self._timeout)))

    def _check_lock(self, name: str, taken: int) -> None:
        """Raise what has to be raised for what sp_getapplock returned."""
        if taken in (0, 1):
            return
        if taken == -1:
            raise TransientError(
                f"another merge into {name} has been running for {self._timeout:g} s",
                fix="Try again when it is done, or raise WAREHOUSE_LOCK_TIMEOUT",
            )
        if taken in (-2, -3):  # cancelled, or the victim of a deadlock
            raise Again(f"the lock on {name} was not granted ({taken})")
        raise ConfigError(
            f"the lock on {name} could not be requested ({taken})",
            fix="Grant the app's user the right to execute sp_getapplock",
        )

    # -- loading

    def append(self, session: MSSQLSession, table: sa.Table, batch: pa.RecordBatch) -> None:
        insert_many(session, tsql.name(str(table.schema), table.name), batch)

    def load(self, feed: Feed, table: sa.Table, batches: Iterable[pa.RecordBatch], room: int = 0) -> Loaded:
        _refuse_too_many_columns(feed, table)
        head, rest = _peek(batches, ARRAY_ROWS)
        rows = sum(batch.num_rows for batch in head)
        way = choose(
            self._settings.warehouse_loader, rows, container=self.container is not None, copy=BulkCopy.is_here()
        )
        inline = (
            StagingLoader(self.units, table, _key_limits(table)).inline(head, room)
            if way == "direct" and room
            else None
        )
        return inline or self.load_by(way, table, itertools.chain(head, rest))

    def direct(self, plan: Plan, staged: Sequence[Staged], run: Run) -> Merged | None:
        check = functools.partial(self._check_lock, run.feed)
        locking = direct.Locking(resource=_resource(run.feed), timeout=self._timeout, check=check)

        return self.units.run_alone(lambda session: direct.merge(session, plan, staged, run, locking))

    def load_by(self, way: LoadMethod, table: sa.Table, batches: Iterable[pa.RecordBatch]) -> Loaded:
        """Create *table* anew and fill it in the given way."""
        filling = StagingLoader(self.units, table, _key_limits(table))
        incoming = filling.guarded(batches)
        if way == "bulk":
            self._bulk(filling, incoming)
        elif way == "copy" and (copy := self._copy()):
            with copy:
                filling.copy(incoming, copy.send)
        else:
            filling.create()
            filling.array(incoming)
        return filling.loaded()

    def _copy(self) -> BulkCopy | None:
        """Bulk copy, connected; None where it cannot be used, as rows can go another, slower way."""
        copy = BulkCopy(self._where)
        try:
            copy.open()
        except DataError as error:
            _log.warning("%s; rows are sent in arrays, which is slower", error.problem, extra=SHOW_WARNING)
            return None
        return copy

    def _bulk(self, filling: StagingLoader, batches: Iterable[pa.RecordBatch]) -> None:
        if self.container is None:
            raise ConfigError("WAREHOUSE_LOADER is bulk, but STAGING_URL is not set", fix="Name the staging container")
        place = StagingContainer(
            folder=self.folder,
            data_source=self._settings.staging_data_source,
            connections=self._settings.warehouse_connections,
            spool=Path(self._settings.staging_spool) if self._settings.staging_spool else None,
        )
        filling.bulk(batches, self.container, place)

    @cached_property
    def container(self) -> ContainerClient | None:
        if not self._settings.staging_url:
            return None
        from shared.azure.clients import container_client
        from shared.azure.urls import parse_url

        return container_client(parse_url(self._settings.staging_url), self._settings)

    @cached_property
    def folder(self) -> str:
        from shared.azure.urls import parse_url

        path = parse_url(self._settings.staging_url or "").path.strip("/")
        return f"{path}/" if path else ""

    # -- for the doctor and the one-time script

    def run_alone(self, statement: str) -> None:
        """Run a statement that may be repeated without a transaction around it: some DDL refuses one."""

        self.units.run_alone(lambda session: session.execute(statement))

    def examine(self) -> Iterator[Finding]:
        return examine(self)

    def canary_way(self) -> LoadMethod:
        """The way that many rows would take."""
        forced = self._settings.warehouse_loader
        return choose(forced, ARRAY_ROWS + 1, container=self.container is not None, copy=BulkCopy.is_here())

    def copy_trouble(self) -> DataError | None:
        """Why bulk copy cannot be used; None if it can."""
        copy = BulkCopy(self._where)
        try:
            copy.open()
        except DataError as error:
            return error
        with copy:
            return None

    def put_part(self, table: str, content: bytes) -> None:
        """Upload one CSV part for staging table *table*."""
        assert self.container is not None  # noqa: S101 - there is a canary for bulk loads only then
        parts.put(self.container, self._part(table), content)

    def bulk_insert(self, table: sa.Table) -> str:
        """The statement that loads what ``put_part`` has put."""
        name = tsql.name(str(table.schema), table.name)
        return tsql.bulk_insert(name, self._part(table.name), self._settings.staging_data_source)

    def _part(self, table: str) -> str:
        return f"{self.folder}{table}/0.csv"

    def reading(self, table: sa.Table) -> sa.FromClause:
        return as_merged(table)

    # -- what staging leaves behind

    def staged(self, session: MSSQLSession) -> Mapping[str, float]:
        found = session.fetch(
            # NOLOCK: without waiting for tables that others are making.
            "SELECT t.name, DATEDIFF(second, t.create_date, GETDATE()) FROM sys.tables AS t WITH (NOLOCK)"
            " WHERE t.schema_id = SCHEMA_ID(N'staging')"
        )
        return {name: float(age) for name, age in found}

    def drop(self, session: MSSQLSession, table: str) -> None:
        session.ddl(f"DROP TABLE IF EXISTS {tsql.name(STAGING, table)}")

    def clean_up(self, tables: Iterable[str]) -> None:
        if self.container is None:
            return
        for table in tables:
            parts.remove(self.container, f"{self.folder}{table}")
        now = self.units.run(lambda session: session.first("SELECT SYSUTCDATETIME()"))
        dead = now.replace(tzinfo=dt.UTC) - dt.timedelta(seconds=DEAD)
        for prefix in parts.leftovers(self.container, dead, under=self.folder):
            if run_of_staging(prefix.rpartition("/")[2]):
                parts.remove(self.container, prefix)

    @cached_property
    def _log_rate(self) -> int | None:
        """Only Azure SQL has this view, and only some may look at it: whatever is wrong, it is not worth a merge."""
        try:
            with self.units.connection() as session:
                if session.first("SELECT CAST(SERVERPROPERTY('EngineEdition') AS int)") != _AZURE_SQL:
                    return None
                rate = session.first("SELECT MAX(primary_max_log_rate) FROM sys.dm_user_db_resource_governance")
                return None if rate is None else int(rate)
        except Exception as error:  # noqa: BLE001 - see above
            _log.info("the log rate cannot be read: %s", in_words(error, "Azure SQL").problem)
            return None

    def log_rate(self) -> int | None:
        return self._log_rate


_AZURE_SQL = 5


def _resource(name: str) -> str:
    """What sp_getapplock calls the lock on *name*."""
    return f"sluice:{name}"


def _peek(batches: Iterable[pa.RecordBatch], rows: int) -> tuple[list[pa.RecordBatch], Iterator[pa.RecordBatch]]:
    """The first batches until there are more than *rows*, and the others."""
    rest, head = iter(batches), []
    for batch in rest:
        head.append(batch)
        if sum(one.num_rows for one in head) > rows:
            break
    return head, rest


def _key_limits(table: sa.Table) -> dict[str, int]:
    keys = {c.name: c for c in table.c if MSSQLSession.is_key(c)}
    return {name: getattr(c.type.dialect_impl(MSSQLSession.dialect), "length", 0) for name, c in keys.items()}


def _refuse_too_many_columns(feed: Feed, table: sa.Table) -> None:
    columns = len(table.c) + 3  # our four, less the row's number
    if columns > MOST_COLUMNS:
        raise DataError(
            f"{feed.name} has {columns} columns, and a table on SQL Server {MOST_COLUMNS} at most",
            fix="Export fewer columns",
        )

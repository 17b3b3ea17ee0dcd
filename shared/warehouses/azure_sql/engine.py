"""Azure SQL Database, and SQL Server 2019 or later: loaded in bulk, merged under a lock, retried as a whole."""

from __future__ import annotations

import contextlib
import functools
import logging

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from shared.errors import ConfigError, DataError, held
from shared.model import Feed, Finding, Plan, Run, Staged
from shared.mssql import odbc
from shared.mssql.errors import (
    Again,
    Unreachable,
    in_words,
    is_data_fault,
    may_pass,
    no_answer,
    translated,
)
from shared.remote import RetryPolicy
from shared.settings import Settings
from shared.warehouses import Loaded, Merged
from shared.warehouses.azure_sql import direct, tsql
from shared.warehouses.azure_sql.arrays import insert_many
from shared.warehouses.azure_sql.bulk_copy import BulkCopy
from shared.warehouses.azure_sql.checks import examine
from shared.warehouses.azure_sql.loader import LoadLimits
from shared.warehouses.azure_sql.session import MOST_COLUMNS, MSSQLSession
from shared.warehouses.azure_sql.staged_form import as_merged
from shared.warehouses.azure_sql.staging import StagingTables
from shared.warehouses.server.pool import ConnectionPool
from shared.warehouses.server.unit import UnitsOfWork
from shared.warehouses.server.warehouse import Claim, ServerWarehouse

_log = logging.getLogger("sluice")
_RETRY = RetryPolicy(attempts=5, seconds=None, first_wait=5.0, longest_wait=60.0, jitter=5.0)
"""As Microsoft's page on transient faults advises."""


def open_warehouse(settings: Settings) -> ServerWarehouse:
    """The database WAREHOUSE_URL names; nothing is opened before it is needed."""
    return ServerWarehouse(AzureSQL(settings, odbc.address(settings.warehouse_url)))


class AzureSQL:
    """The server as ``shared.warehouses.server.warehouse`` wants it."""

    def __init__(
        self,
        settings: Settings,
        where: odbc.Address,
        odbc: Any = None,
        *,
        copy: type[BulkCopy] = BulkCopy,
        limits: LoadLimits = LoadLimits(),  # noqa: B008 - frozen
    ) -> None:
        """*odbc* is the pyodbc module, by default the installed one."""
        self._where, self._given = where, odbc
        self._has_connected, self._unanswered = False, 0
        self._timeout = settings.warehouse_lock_timeout
        self.units = UnitsOfWork(
            ConnectionPool(self._connect, size=settings.warehouse_connections, wait_seconds=self._timeout),
            self,
            _RETRY,
        )
        self.staging = StagingTables(
            settings, self.units,
            new_copy=lambda: copy(where), copy_installed=copy.is_installed(), limits=limits,
        )  # fmt: skip

    @cached_property
    def odbc(self) -> Any:
        return self._given or odbc.load_pyodbc()

    def _connect(self) -> Any:
        """A connection. Until one has been made, an address without an answer is tried twice: it is mostly wrong."""
        driver = self.odbc
        try:
            connection = odbc.connect(driver, self._where)
        except Exception as error:
            line = no_answer(error)
            if line is None:
                raise
            self._unanswered += 1
            may_pass = self._has_connected or self._unanswered % 2 == 1
            raise Unreachable(self._where, line, may_pass=may_pass) from error
        self._has_connected = True
        return connection

    # -- transactions

    def session(self, connection: Any) -> MSSQLSession:
        return MSSQLSession(connection)

    def begin(self, session: MSSQLSession) -> None:
        session.execute(tsql.begin(self._timeout))

    def commit(self, session: MSSQLSession) -> None:
        session.execute(tsql.COMMIT)

    def rollback(self, session: MSSQLSession) -> None:
        session.execute(tsql.ROLLBACK)

    def run_single(self, session: MSSQLSession, text: str) -> None:
        session.batch(f"{tsql.wait_at_most(self._timeout)}; {text}", [])

    def may_pass(self, error: BaseException) -> bool:
        return isinstance(error, Exception) and may_pass(error)

    def spares_connection(self, error: BaseException) -> bool:
        """After a value's fault: one bad value takes many tries to find, and a sign-in for each would take hours."""
        return isinstance(error, Exception) and not may_pass(error) and is_data_fault(error)

    def translated(self) -> contextlib.AbstractContextManager[None]:
        return translated("Azure SQL")

    def lock(self, session: MSSQLSession, name: str, *, shared: bool = False) -> None:
        self._check_lock(name, session.first(tsql.applock(_resource(name), self._timeout, shared=shared)))

    def try_lock(self, session: MSSQLSession, name: str, *, shared: bool) -> bool:
        taken = session.first(tsql.applock(_resource(name), 0, shared=shared))
        if taken != _NOT_IN_TIME:
            self._check_lock(name, taken)
        return bool(taken != _NOT_IN_TIME)

    def _check_lock(self, name: str, taken: int) -> None:
        """Raise the error for what sp_getapplock returned, if it is one."""
        if taken in (0, 1):
            return
        if taken == _NOT_IN_TIME:
            raise held(f"another session has held {name} for {self._timeout:g} s")
        if taken in (-2, -3):  # cancelled, or the victim of a deadlock
            raise Again(f"the lock on {name} was not granted ({taken})")
        raise ConfigError(
            f"the lock on {name} could not be requested ({taken})",
            fix="Grant the app's user the right to execute sp_getapplock",
        )

    # -- loading

    def append(self, session: MSSQLSession, table: sa.Table, batch: pa.RecordBatch) -> None:
        insert_many(session, tsql.name(str(table.schema), table.name), batch)

    def load(
        self, feed: Feed, table: sa.Table, batches: Iterable[pa.RecordBatch], claim: Claim, inline_limit: int = 0
    ) -> Loaded:
        _refuse_too_many_columns(feed, table)
        return self.staging.load(table, batches, claim, inline_limit)

    def direct(self, plan: Plan, staged: Sequence[Staged], run: Run) -> Merged | None:
        check = functools.partial(self._check_lock, run.feed)
        locking = direct.Locking(resource=_resource(run.feed), timeout=self._timeout, check=check)

        return self.units.run_alone(lambda session: direct.merge(session, plan, staged, run, locking))

    def reading(self, table: sa.Table) -> sa.FromClause:
        return as_merged(table)

    def staged(self) -> Mapping[str, float]:
        return self.staging.ages()

    def drop(self, tables: Sequence[str]) -> None:
        self.staging.drop(tables)

    def clean_up(self, tables: Iterable[str]) -> None:
        self.staging.clean_up(tables)

    # -- for the doctor

    def rehearse(self, _session: MSSQLSession, _feed: Feed) -> None:
        """DDL is rolled back, too."""

    def examine(self) -> Iterator[Finding]:
        return examine(self.odbc, self.units, self.staging, self.log_rate())

    def log_rate(self) -> int | None:
        return self._log_rate

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


_AZURE_SQL = 5
_NOT_IN_TIME = -1
"""What sp_getapplock returns when somebody else had the lock all the time."""


def _resource(name: str) -> str:
    """What sp_getapplock calls the lock on *name*."""
    return f"sluice:{name}"


def _refuse_too_many_columns(feed: Feed, table: sa.Table) -> None:
    columns = len(table.c) + 3  # our four, less the row's number
    if columns > MOST_COLUMNS:
        raise DataError(
            f"{feed.name} has {columns} columns, and a table on SQL Server {MOST_COLUMNS} at most",
            fix="Export fewer columns",
        )

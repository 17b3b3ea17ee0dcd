"""Snowflake: staged with PUT and COPY, merged under a lease, retried as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

import pyarrow as pa
import sqlalchemy as sa

from shared.ids import run_of_staging
from shared.model import Feed, Finding, Plan, Run, Staged
from shared.remote import RetryPolicy
from shared.settings import Settings
from shared.warehouses import VERSIONS, Loaded, Merged
from shared.warehouses.merge.session import STAGING
from shared.warehouses.server.pool import ConnectionPool
from shared.warehouses.server.unit import UnitsOfWork
from shared.warehouses.server.warehouse import Claim, ServerWarehouse
from shared.warehouses.snowflake import checks, staging
from shared.warehouses.snowflake.address import connection_options, driver
from shared.warehouses.snowflake.errors import is_drivers, passes, translated
from shared.warehouses.snowflake.leases import Leases
from shared.warehouses.snowflake.session import Connection, SnowflakeSession

_RETRY = RetryPolicy(attempts=5, seconds=None, first_wait=0.5, longest_wait=20.0, jitter=0.5)
_ROWS = 100
"""Rejected rows of one INSERT."""


def open_warehouse(settings: Settings) -> ServerWarehouse:
    """The database WAREHOUSE_URL names; nothing is opened before it is needed. ConfigError if there is no driver."""
    driver()
    return ServerWarehouse(Snowflake(settings))


class Snowflake:
    """The account as ``shared.warehouses.server.warehouse`` wants it."""

    def __init__(self, settings: Settings) -> None:
        self._options = connection_options(settings)
        self._leases = Leases(self._connect, settings.warehouse_lock_timeout)
        pool = ConnectionPool(
            self._connect, size=settings.warehouse_connections, wait_seconds=settings.warehouse_lock_timeout
        )
        self.units = UnitsOfWork(pool, self, _RETRY)

    def _connect(self) -> Connection:
        return Connection(driver().connect(**self._options), self._options["schema"])

    # -- transactions

    def session(self, connection: Connection) -> SnowflakeSession:
        return SnowflakeSession(connection)

    def begin(self, _session: SnowflakeSession) -> None:
        """The session begins it at the first change that lasts."""

    def commit(self, session: SnowflakeSession) -> None:
        self._leases.give_back(session.connection)
        session.connection.commit()

    def rollback(self, session: SnowflakeSession) -> None:
        session.connection.rollback()
        self._leases.give_back(session.connection)
        session.end_rehearsal()

    def run_single(self, session: SnowflakeSession, text: str) -> None:
        session.connection.execute(text)

    def may_pass(self, error: BaseException) -> bool:
        return passes(error)

    def spares_connection(self, error: BaseException) -> bool:
        return not is_drivers(error) or not passes(error)

    def translated(self) -> AbstractContextManager[None]:
        return translated()

    def lock(self, session: SnowflakeSession, name: str, *, shared: bool = False) -> None:
        self._leases.wait(session.connection, name, shared=shared)

    def try_lock(self, session: SnowflakeSession, name: str, *, shared: bool) -> bool:
        return self._leases.take(session.connection, name, shared=shared)

    def rehearse(self, session: SnowflakeSession, feed: Feed) -> None:
        session.rehearse([(feed.system, feed.table), (feed.system, f"{feed.table}{VERSIONS}")])

    def examine(self) -> Iterator[Finding]:
        with translated(), self.units.connection() as session:
            yield from checks.examine(session)

    def log_rate(self) -> int | None:
        return None

    # -- staging

    def load(
        self, _feed: Feed, table: sa.Table, batches: Iterable[pa.RecordBatch], claim: Claim, _inline_limit: int = 0
    ) -> Loaded:
        with claim(), translated(), self.units.connection() as session:
            return staging.load(session.connection, table, batches)

    def direct(self, _plan: Plan, _staged: Sequence[Staged], _run: Run) -> Merged | None:
        """Rows are never handed back inline."""
        return None

    def reading(self, table: sa.Table) -> sa.FromClause:
        return table

    def append(self, session: SnowflakeSession, table: sa.Table, batch: pa.RecordBatch) -> None:
        rows = batch.to_pylist()
        for start in range(0, len(rows), _ROWS):
            session.change(sa.insert(table).values(rows[start : start + _ROWS]))

    def staged(self) -> Mapping[str, float]:
        query = (
            "SELECT TABLE_NAME, DATEDIFF('second', CREATED, CURRENT_TIMESTAMP()) FROM INFORMATION_SCHEMA.TABLES"
            " WHERE TABLE_SCHEMA = ?"
        )
        found = self.units.run_alone(lambda session: session.connection.execute(query, [STAGING]).fetchall())
        return {name: float(age) for name, age in found if run_of_staging(name)}

    def drop(self, tables: Sequence[str]) -> None:
        def work(session: SnowflakeSession) -> None:
            for table in tables:
                session.ddl(f"DROP TABLE IF EXISTS {session.quoted(STAGING, table)}")

        self.units.run_alone(work)

    def clean_up(self, _tables: Iterable[str]) -> None:
        """Files on a stage end with the session that put them there."""

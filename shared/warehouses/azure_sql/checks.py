"""The doctor's checks of a database on SQL Server, and the canary that is loaded by every method that is in use."""

from __future__ import annotations

import uuid

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from shared.contract.conform import ROW
from shared.errors import DataError, IngestError
from shared.model import Finding
from shared.mssql import odbc
from shared.warehouses.azure_sql import canary, direct, tsql
from shared.warehouses.azure_sql.bulk_copy import ARRAYS
from shared.warehouses.azure_sql.container import StagingContainer
from shared.warehouses.azure_sql.loader import LoadMethod
from shared.warehouses.azure_sql.session import MSSQLSession
from shared.warehouses.azure_sql.staged_form import as_merged
from shared.warehouses.azure_sql.staging import StagingTables
from shared.warehouses.merge import ddl, shape
from shared.warehouses.merge.session import STAGING
from shared.warehouses.merge.types import LONG_TEXT
from shared.warehouses.server.csv import encode
from shared.warehouses.server.unit import Rollback, UnitsOfWork

_RIGHTS = ("CREATE TABLE", "CREATE VIEW", "CREATE SCHEMA")
_BULK_RIGHT = "ADMINISTER DATABASE BULK OPERATIONS"
_SETUP = "Run sluice sql setup as an administrator of the database"


def examine(
    driver: Any, units: UnitsOfWork[MSSQLSession], staging: StagingTables, log_rate: int | None
) -> Iterator[Finding]:
    """Driver, sign-in, rights, staging container, canary. Errors that end the checks are raised.

    *driver* is the pyodbc module, *log_rate* bytes a second if they are known.
    """
    yield Finding("warehouse: driver", "ok", odbc.driver(driver))
    yield units.run(_signed_in)
    yield from units.run(lambda session: _rights(session, bulk=staging.container is not None))
    if log_rate is not None:
        yield Finding("warehouse: log rate", "ok", f"the tier allows {log_rate / 1e6:.1f} MB/s")
    yield _container_finding(staging.container)
    methods = staging.methods_in_use()
    failure = staging.copy_failure() if "copy" in methods else None
    if failure is not None:
        yield Finding(
            "warehouse: bulk copy", "warning", f"{failure.problem}; rows are loaded in arrays, which is slow", _COPY
        )
    for method in methods:
        if method != "copy" or failure is None:
            yield from _Canary(units, staging, method).findings()


def _signed_in(session: MSSQLSession) -> Finding:
    query = "SELECT DB_NAME(), SUSER_SNAME(), CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128))"
    database, user, version = session.fetch(query)[0]
    return Finding("warehouse: sign-in", "ok", f"{user} in {database}, SQL Server {version}")


def _rights(session: MSSQLSession, *, bulk: bool) -> list[Finding]:
    wanted = (*_RIGHTS, *([_BULK_RIGHT] if bulk else []))
    lacking = [right for right in wanted if session.first("SELECT HAS_PERMS_BY_NAME(NULL, 'DATABASE', ?)", right) != 1]
    if lacking:
        return [Finding("warehouse: rights", "failed", f"the user lacks {', '.join(lacking)}", _SETUP)]
    return [Finding("warehouse: rights", "ok", ", ".join(wanted).lower())]


def _container_finding(container: StagingContainer | None) -> Finding:
    if container is None:
        return Finding(
            "warehouse: staging", "skipped", "STAGING_URL is not set: rows are loaded with bulk copy or in arrays"
        )
    name = f"doctor_{uuid.uuid4().hex}"
    container.upload(name, iter([canary.batch()]), part_bytes=1)
    container.remove(name)
    return Finding("warehouse: staging", "ok", "the app can write to and delete from the container")


_COPY = "Install what mssql-python needs (libltdl7, libkrb5-3), or set STAGING_URL, or WAREHOUSE_LOADER=array"
_REPORT = "Set WAREHOUSE_LOADER=copy or array, and report it"
_OTHER_DRIVER = "Install another version of ODBC Driver 18, and report it"
"""Every other way to load falls back to arrays."""


class _Canary:
    """The canary's rows, loaded by one method into a table of its own."""

    def __init__(self, units: UnitsOfWork[MSSQLSession], staging: StagingTables, method: LoadMethod) -> None:
        self._units, self._staging, self._method = units, staging, method
        self._table = shape.staging(canary.FEED, canary.COLUMNS, f"canary_{uuid.uuid4().hex[:16]}", STAGING)

    def findings(self) -> Iterator[Finding]:
        self._units.run(lambda session: ddl.create_schema(session, STAGING))
        try:
            yield from self._rows_came_back()
            if self._method == "bulk" and (container := self._staging.container):
                yield self._bad_row(container)
                yield self._rolled_back(container)
        finally:
            self._staging.drop([self._table.name])
            self._staging.clean_up([self._table.name])

    def _rows_came_back(self) -> Iterator[Finding]:
        check = f"warehouse: canary ({self._method})"
        wrong = list(self._failures())
        for failure in wrong:
            yield Finding(check, "failed", failure, _OTHER_DRIVER if self._method == "array" else ARRAYS)
        if not wrong:
            yield Finding(check, "ok", f"{len(canary.CASES)} odd rows came back unchanged")

    def _failures(self) -> list[str]:
        if self._method == "direct":
            return list(canary.failures(self._units.run(self._written_directly)))
        loaded = self._staging.load_by(self._method, self._table, iter([canary.batch()]))
        refused = [one.reason for one in loaded.refused] + self._refused_by_bulk_insert()
        return refused or list(canary.failures(self._units.run(self._read_back)))

    def _written_directly(self, session: MSSQLSession) -> list[tuple[object, ...]]:
        """The rows as values of one INSERT, and read back, as the direct method does both."""
        columns = [sa.Column(c.name, LONG_TEXT if isinstance(c.type, sa.Text) else c.type) for c in self._table.c]
        table = sa.Table(self._table.name, sa.MetaData(), *columns, schema=STAGING)
        ddl.create_table(session, table)
        direct.insert(session, table, canary.batch().to_pylist())
        return session.rows(sa.select(*table.c).order_by(table.c[ROW]))

    def _read_back(self, session: MSSQLSession) -> list[tuple[object, ...]]:
        source = as_merged(self._table)
        return session.rows(sa.select(*source.c).order_by(source.c[ROW]))

    def _refused_by_bulk_insert(self) -> list[str]:
        """Load the rows once more as one part: a load sends those that BULK INSERT refuses in arrays, and goes on."""
        if self._method != "bulk" or self._staging.container is None:
            return []
        self._staging.container.put(self._table.name, encode(canary.batch()).to_pybytes())
        try:
            self._insert(self._staging.container)
        except DataError as error:
            return [error.problem]
        return []

    def _bad_row(self, container: StagingContainer) -> Finding:
        """A row that does not fit has to fail the whole part: without MAXERRORS it would be dropped silently."""
        check = "warehouse: canary, bad row"
        container.put(self._table.name, _line(b"0", b'"fits"') + _line(b"1", b'"no boolean"', b"", b"no"))
        try:
            self._insert(container)
        except DataError as error:
            rows = self._units.run(self._count)
            if rows == 0:
                return Finding(check, "ok", "it is refused, and nothing of its part remains")
            return Finding(check, "failed", f"{rows} rows remained: {error.problem}", _REPORT)
        except IngestError as error:
            return Finding(check, "failed", error.problem, error.fix)
        return Finding(check, "failed", "it was dropped, and the load reported success", _REPORT)

    def _rolled_back(self, container: StagingContainer) -> Finding:
        check = "warehouse: canary, rollback"
        container.put(self._table.name, _line(b"0", b'"fits"'))

        def unit(session: MSSQLSession) -> None:
            self._empty(session)
            session.execute(container.bulk_insert(self._table))
            raise Rollback(None)

        self._units.run(unit)
        rows = self._units.run(self._count)
        if rows:
            return Finding(check, "failed", f"{rows} rows remained after a rollback", _REPORT)
        return Finding(check, "ok", "a bulk load that is rolled back leaves nothing")

    def _insert(self, container: StagingContainer) -> None:
        self._units.run(self._empty)
        self._units.run(lambda session: session.execute(container.bulk_insert(self._table)))

    def _empty(self, session: MSSQLSession) -> None:
        session.execute(f"TRUNCATE TABLE {tsql.name(str(self._table.schema), self._table.name)}")

    def _count(self, session: MSSQLSession) -> int:
        return int(session.rows(sa.select(sa.func.count()).select_from(self._table))[0][0])


def _line(*fields: bytes) -> bytes:
    """A row of CSV that begins with *fields*, NULL in its other columns."""
    return b",".join([*fields, *[b""] * (1 + len(canary.COLUMNS) - len(fields))]) + b"\n"

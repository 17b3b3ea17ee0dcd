"""The doctor's checks of a database on SQL Server, and the canary that takes the way of a real load."""

from __future__ import annotations

import uuid

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pyarrow as pa
import sqlalchemy as sa

from shared.contract.conform import ROW
from shared.errors import DataError, IngestError
from shared.model import Finding
from shared.warehouses import Loaded
from shared.warehouses.azure_sql import canary, odbc, tsql
from shared.warehouses.azure_sql.loader import LoadMethod
from shared.warehouses.azure_sql.session import MSSQLSession
from shared.warehouses.azure_sql.staged_form import as_merged
from shared.warehouses.merge import ddl, shape
from shared.warehouses.server.csv import encode
from shared.warehouses.server.unit import Rollback, UnitsOfWork
from shared.warehouses.server.warehouse import STAGING

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

T = TypeVar("T")

_RIGHTS = ("CREATE TABLE", "CREATE VIEW", "CREATE SCHEMA")
_BULK_RIGHT = "ADMINISTER DATABASE BULK OPERATIONS"
_SETUP = "Run sluice sql setup as an administrator of the database"


class Examined(Protocol):
    """What the checks ask of an engine."""

    @property
    def odbc(self) -> Any: ...

    @property
    def container(self) -> ContainerClient | None: ...

    @property
    def folder(self) -> str: ...

    @property
    def units(self) -> UnitsOfWork[MSSQLSession]: ...

    def log_rate(self) -> int | None: ...

    def canary_way(self) -> LoadMethod: ...

    def copy_trouble(self) -> DataError | None: ...

    def load_by(self, way: LoadMethod, table: sa.Table, batches: Iterable[pa.RecordBatch]) -> Loaded: ...

    def put_part(self, table: str, content: bytes) -> None: ...

    def bulk_insert(self, table: sa.Table) -> str: ...

    def drop(self, session: MSSQLSession, table: str) -> None: ...

    def clean_up(self, tables: Iterable[str]) -> None: ...


def examine(engine: Examined) -> Iterator[Finding]:
    """Driver, sign-in, rights, staging container, canary. What cannot go on ends with its error."""
    yield Finding("warehouse: driver", "ok", odbc.driver(engine.odbc))
    yield engine.units.run(_signed_in)
    yield from engine.units.run(lambda session: _rights(session, bulk=engine.container is not None))
    rate = engine.log_rate()
    if rate is not None:
        yield Finding("warehouse: log rate", "ok", f"the tier allows {rate / 1e6:.1f} MB/s")
    if engine.container is None:
        yield Finding(
            "warehouse: staging", "skipped", "STAGING_URL is not set: rows are loaded with bulk copy or in arrays"
        )
    else:
        yield from _staging(engine)
    way = engine.canary_way()
    trouble = engine.copy_trouble() if way == "copy" else None
    if trouble is not None:
        yield Finding(
            "warehouse: bulk copy", "warning", f"{trouble.problem}; rows are loaded in arrays, which is slow", _COPY
        )
    yield from _canary_findings(engine, "array" if trouble else way)


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


def _staging(engine: Examined) -> Iterator[Finding]:
    from shared.warehouses.azure_sql import parts

    container = engine.container
    assert container is not None  # noqa: S101 - the caller has looked
    name = f"{engine.folder}doctor_{uuid.uuid4().hex}"
    parts.upload(iter([canary.batch()]), container, name, part_bytes=1)
    parts.remove(container, name)
    yield Finding("warehouse: staging", "ok", "the app can write to and delete from the container")


_COPY = "Install what mssql-python needs (libltdl7, libkrb5-3), or set STAGING_URL, or WAREHOUSE_LOADER=array"


def _canary_findings(engine: Examined, way: LoadMethod) -> Iterator[Finding]:
    name = f"canary_{uuid.uuid4().hex[:16]}"
    table = shape.staging(canary.FEED, canary.COLUMNS, name, STAGING)
    engine.units.run(lambda session: ddl.create_schema(session, STAGING))
    try:
        loaded = engine.load_by(way, table, iter([canary.batch()]))
        wrong = [one.reason for one in loaded.refused] + (_refused(engine, table) if way == "bulk" else [])
        wrong = wrong or list(canary.failures(engine.units.run(lambda session: _read_back(session, table))))
        check = f"warehouse: canary ({way})"
        for failure in wrong:
            yield Finding(check, "failed", failure, f"Set WAREHOUSE_LOADER to a value other than {way}")
        if not wrong:
            yield Finding(check, "ok", f"{len(canary.CASES)} odd rows came back unchanged")
        if way == "bulk":
            yield _bad_row(engine, table)
            yield _rolled_back(engine, table)
    finally:
        engine.units.run(lambda session: engine.drop(session, name))
        engine.clean_up([name])


def _refused(engine: Examined, table: sa.Table) -> list[str]:
    """Load the rows once more as one part: a load sends those that BULK INSERT refuses one by one, and goes on."""
    engine.put_part(table.name, encode(canary.batch()).to_pybytes())
    try:
        _insert(engine, table)
    except DataError as error:
        return [error.problem]
    return []


def _read_back(session: MSSQLSession, table: sa.Table) -> list[tuple[object, ...]]:
    source = as_merged(table)
    return session.rows(sa.select(*source.c).order_by(source.c[ROW]))


def _bad_row(engine: Examined, table: sa.Table) -> Finding:
    """A row that does not fit has to fail the whole part: with MAXERRORS left out it would be dropped in silence."""
    engine.put_part(table.name, _line(b"0", b'"fits"') + _line(b"1", b'"no boolean"', b"", b"no"))
    try:
        _insert(engine, table)
    except DataError as error:
        rows = engine.units.run(lambda session: _count(session, table))
        if rows == 0:
            return Finding("warehouse: canary, bad row", "ok", "it is refused, and nothing of its part remains")
        return Finding("warehouse: canary, bad row", "failed", f"{rows} rows remained: {error.problem}", _REPORT)
    except IngestError as error:
        return Finding("warehouse: canary, bad row", "failed", error.problem, error.fix)
    return Finding("warehouse: canary, bad row", "failed", "it was dropped, and the load reported success", _REPORT)


_REPORT = "Set WAREHOUSE_LOADER=copy or array, and report it"


def _rolled_back(engine: Examined, table: sa.Table) -> Finding:
    engine.put_part(table.name, _line(b"0", b'"fits"'))

    def unit(session: MSSQLSession) -> None:
        _empty(session, table)
        session.execute(engine.bulk_insert(table))
        raise Rollback(None)

    engine.units.run(unit)
    rows = engine.units.run(lambda session: _count(session, table))
    if rows:
        return Finding("warehouse: canary, rollback", "failed", f"{rows} rows remained after a rollback", _REPORT)
    return Finding("warehouse: canary, rollback", "ok", "a bulk load that is rolled back leaves nothing")


def _line(*fields: bytes) -> bytes:
    """A row of CSV that begins with *fields*, NULL in its other columns."""
    return b",".join([*fields, *[b""] * (1 + len(canary.COLUMNS) - len(fields))]) + b"\n"


def _insert(engine: Examined, table: sa.Table) -> None:
    engine.units.run(lambda session: _empty(session, table))
    engine.units.run(lambda session: session.execute(engine.bulk_insert(table)))


def _empty(session: MSSQLSession, table: sa.Table) -> None:
    session.execute(f"TRUNCATE TABLE {tsql.name(str(table.schema), table.name)}")


def _count(session: MSSQLSession, table: sa.Table) -> int:
    return int(session.rows(sa.select(sa.func.count()).select_from(table))[0][0])

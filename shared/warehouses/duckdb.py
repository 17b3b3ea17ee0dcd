"""DuckDB: a warehouse in one file, for a laptop and for tests.

One process writes at a time. The file is opened for each verb and closed after it, and waited for if another
process has it. What is staged goes to a file of its own beside the warehouse, uncompressed, so that staging
holds up nobody and leaves no holes behind; only a first load is staged in the warehouse itself, compressed as
it will stay, to become the table by being renamed.
"""

from __future__ import annotations

import contextlib
import re
import threading

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import sqlalchemy as sa
import stamina

from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect

from shared import columns as types
from shared import cursor
from shared.contract import ROW
from shared.errors import ConfigError, DataError, IngestError, TransientError
from shared.identity import staging_name
from shared.model import Column, Feed, Plan, Run, Staged, moment
from shared.settings import Settings
from shared.warehouses import Limits, Merged, Profile, _ddl, _ingest, _shape
from shared.warehouses._merge import Merge
from shared.warehouses._session import Expression, Row
from shared.warehouses._types import column_type, sql_type

_ALIAS = "_sluice"
"""Name the file is attached under. Its own could be that of a schema, and then every name would be ambiguous."""

_HELD = re.compile(r"Conflicting lock is held in (?P<program>.*?) \(PID (?P<pid>\d+)\)")


def open_warehouse(settings: Settings) -> DuckDBWarehouse:
    """The URL's path is relative after three slashes and absolute after four, as in SQLAlchemy's."""
    path = Path(settings.warehouse_url.removeprefix("duckdb://").removeprefix("/"))
    if not path.name or path.name == ":memory:":
        raise ConfigError("WAREHOUSE_URL names no file", fix="Write duckdb:///path/to/warehouse.duckdb")
    return DuckDBWarehouse(path, settings.warehouse_memory, settings.warehouse_lock_timeout)


class DuckDBWarehouse:
    """A warehouse in the file *path*; *memory* is what DuckDB may use of it, as DuckDB writes sizes."""

    def __init__(self, path: Path, memory: str, lock_timeout: float) -> None:
        self._path = path.resolve()
        self._config: dict[str, Any] = {
            "memory_limit": memory,
            "preserve_insertion_order": False,
            "temp_directory": f"{self._path}.tmp",
        }
        self._timeout = lock_timeout
        self._opening = threading.Lock()
        self._merging: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._users = 0
        self._instance: duckdb.DuckDBPyConnection | None = None

    def stage(self, feed: Feed, name: str, columns: Sequence[Column], batches: Iterable[pa.RecordBatch]) -> int:
        with self._session() as session:
            if not session.columns(feed.system, feed.table):
                _ddl.create_schema(session, feed.system)
                return _fill(session.connection, session.quoted(feed.system, name), columns, batches)
        with self._beside(name) as connection:
            return _fill(connection, '"staged"."main"."rows"', columns, batches)

    def reject(self, plan: Plan, part: int, batches: Iterable[pa.RecordBatch]) -> None:
        kept = _ingest.REJECTED.c
        known = {
            "run": plan.run.id,
            "feed": plan.run.feed,
            "slice": part,
            "exported_at": moment(plan.run.exported_at),
        }
        with self._session() as session, session.transaction():
            session.change(sa.delete(_ingest.REJECTED).where(kept.run == plan.run.id, kept.slice == part))
            for batch in batches:
                session.connection.register("incoming", batch)
                told = sa.table("incoming", *(sa.column(name, sa.Text) for name in batch.schema.names))
                rows = sa.select(*(sa.literal(value, kept[name].type) for name, value in known.items()), *told.c)
                session.change(sa.insert(_ingest.REJECTED).from_select([*known, *batch.schema.names], rows))

    def merge(self, plan: Plan, staged: Sequence[Staged], run: Run, limits: Limits) -> Merged:
        with (
            self._merging[run.feed],
            self._session() as session,
            self._attached(session, staged) as beside,
            session.transaction(keep=not limits.dry_run),
        ):
            return Merge(session, plan, run, limits, _staging_tables(plan, staged, beside))(staged)

    def record(self, run: Run) -> None:
        with self._session() as session, session.transaction():
            before = _ingest.find(session, run.id)
            if before is None or before.status != "done":
                _ingest.write(session, run)

    def tidy(self, plan: Plan, *, rejects: bool = False) -> None:
        names = [staging_name(plan.run.id, part.number) for part in plan.slices]
        with self._session() as session, session.transaction():
            for name in (*names, *(f"{name}_keys" for name in names)):
                if session.columns(plan.feed.system, name):
                    session.ddl(f"DROP TABLE {session.quoted(plan.feed.system, name)}")
                self._side(name).unlink(missing_ok=True)
            if rejects:
                session.change(sa.delete(_ingest.REJECTED).where(_ingest.REJECTED.c.run == plan.run.id))
        with contextlib.suppress(OSError):  # others may be staging
            self._side("").parent.rmdir()

    def runs(self, feed: str | None = None, limit: int | None = 20) -> list[Run]:
        with self._session() as session:
            return _ingest.runs(session, feed, limit)

    def rejects(self, feed: str, run: str | None = None) -> Iterator[Mapping[str, Any]]:
        with self._session() as session:
            yield from _ingest.rejects(session, feed, run)

    def profile(self, feed: Feed) -> Profile:
        with self._session() as session:
            return _profile(session, feed)

    # -- opening and closing

    @contextlib.contextmanager
    def _session(self) -> Iterator[_DuckDBSession]:
        """A session on the file, which all threads of this process share while any of them needs it."""
        with _translated(), self._opening:
            if self._users == 0:
                self._instance = self._connect(self._path)
            assert self._instance is not None  # noqa: S101 - there are users
            self._users += 1
            connection = self._instance.cursor()
        try:
            with _translated(), connection:
                connection.execute(f'USE "{_ALIAS}"')
                session = _DuckDBSession(connection)
                yield session
        finally:
            with self._opening:
                self._users -= 1
                if self._users == 0:
                    self._instance.close()
                    self._instance = None

    def _connect(self, path: Path) -> duckdb.DuckDBPyConnection:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = duckdb.connect(":memory:", config=self._config)
        try:
            self._wait_for(path, lambda: connection.execute(f'ATTACH {_text(path)} AS "{_ALIAS}"'))
            connection.execute(f'USE "{_ALIAS}"')
            session = _DuckDBSession(connection)
            with session.transaction():
                _ingest.prepare(session)
        except BaseException:
            connection.close()
            raise
        return connection

    def _wait_for(self, path: Path, attach: Callable[[], object]) -> None:
        """Attach as soon as no other process has the file, but not for ever."""
        try:
            for attempt in stamina.retry_context(
                on=_is_held, attempts=None, timeout=self._timeout, wait_initial=0.05, wait_max=1.0
            ):
                with attempt:
                    attach()
        except duckdb.IOException as error:
            if not _is_held(error):
                raise
            found = _HELD.search(str(error))
            holder = f"{found['program']} (process {found['pid']})" if found else "another process"
            raise TransientError(
                f"{path} is held by {holder} since {self._timeout:g} s",
                fix="Try again when it is done, or raise WAREHOUSE_LOCK_TIMEOUT",
            ) from error

    # -- staging beside the warehouse

    def _side(self, name: str) -> Path:
        return self._path.with_name(f"{self._path.name}.staging") / f"{name}.duckdb"

    @contextlib.contextmanager
    def _beside(self, name: str) -> Iterator[duckdb.DuckDBPyConnection]:
        path = self._side(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _translated(), duckdb.connect(":memory:", config=self._config) as connection:
            path.unlink(missing_ok=True)
            self._wait_for(path, lambda: connection.execute(f"ATTACH {_text(path)} AS staged"))
            # It is read once and thrown away: compressing it would take longer than all the rest.
            connection.execute("SET force_compression = 'uncompressed'")
            yield connection
            connection.execute("DETACH staged")

    @contextlib.contextmanager
    def _attached(self, session: _DuckDBSession, staged: Sequence[Staged]) -> Iterator[set[str]]:
        names = [name for part in staged for name in (part.table, part.present) if name]
        beside = [name for name in names if self._side(name).exists()]
        try:
            for name in beside:
                session.ddl(f"ATTACH {_text(self._side(name))} AS {session.quoted(name)} (READ_ONLY)")
            yield set(beside)
        finally:
            for name in beside:
                session.ddl(f"DETACH DATABASE IF EXISTS {session.quoted(name)}")


class _DuckDBSession:
    """SQLAlchemy builds the statements in PostgreSQL's dialect; DuckDB's own driver runs their text."""

    replaces = True

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.dialect: Dialect = postgresql.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]

    @contextlib.contextmanager
    def transaction(self, *, keep: bool = True) -> Iterator[None]:
        self.connection.execute("BEGIN")
        try:
            yield
        except BaseException:
            with contextlib.suppress(duckdb.Error):  # some errors have ended the transaction already
                self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT" if keep else "ROLLBACK")

    def rows(self, statement: sa.Select[Any]) -> list[Row]:
        return self._execute(statement).fetchall()

    def stream(self, statement: sa.Select[Any]) -> Iterator[Row]:
        found = self._execute(statement)
        while rows := found.fetchmany(1_000):
            yield from rows

    def change(self, statement: sa.Insert | sa.Update | sa.Delete) -> int:
        return int(self._execute(statement).fetchall()[0][0])

    def ddl(self, text: str) -> None:
        self.connection.execute(text)

    def quoted(self, *names: str) -> str:
        return _ddl.quoted(self.dialect, *names)

    def columns(self, schema: str, table: str) -> dict[str, str]:
        found = self.connection.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_catalog = ?"
            " AND lower(table_schema) = lower(?) AND lower(table_name) = lower(?) ORDER BY ordinal_position",
            [_ALIAS, schema, table],
        ).fetchall()
        return {name: column_type(kind) or _foreign(schema, table, name, kind) for name, kind in found}

    def scratch(self, name: str, columns: Sequence[sa.Column[Any]]) -> sa.Table:
        table = sa.Table(name, sa.MetaData(), *columns, schema="temp", prefixes=["TEMPORARY"])
        self.ddl(f"DROP TABLE IF EXISTS {self.quoted('temp', name)}")
        _ddl.create_table(self, table)
        return table

    def fingerprint(self, columns: Sequence[Expression]) -> Expression | None:
        # 64 bits: two contents of one key and cursor pass for equal once in 10^19. Comparing every column itself
        # takes the join four times as long, as it has to carry them all (bench/RESULTS.md).
        return sa.func.hash(*columns, type_=sa.Numeric(20, 0))

    def adopt(self, staged: sa.FromClause, schema: str, table: str) -> bool:
        if not isinstance(staged, sa.Table) or staged.schema != schema:
            return False
        self.ddl(f"ALTER TABLE {self.quoted(schema, staged.name)} RENAME TO {self.quoted(table)}")
        return True

    def _execute(self, statement: sa.ClauseElement) -> duckdb.DuckDBPyConnection:
        compiled: Any = statement.compile(dialect=self.dialect)
        names = compiled.positiontup or []
        expanded = compiled.construct_expanded_state() if "POSTCOMPILE" in compiled.string else None
        if expanded is not None:
            return self.connection.execute(expanded.statement, list(expanded.positional_parameters))
        return self.connection.execute(compiled.string, [compiled.params[name] for name in names])


def _fill(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: Sequence[Column],
    batches: Iterable[pa.RecordBatch],
) -> int:
    """Create *table* from the batches; DuckDB pulls them one by one, from a thread of its own."""
    schema = pa.schema([(ROW, pa.int64()), *((c.name, types.to_arrow(c.type)) for c in columns)])
    failure: list[BaseException] = []

    def watched() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except BaseException as error:
            failure.append(error)
            raise

    connection.register("incoming", pa.RecordBatchReader.from_batches(schema, watched()))
    try:
        made = connection.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM incoming").fetchall()  # noqa: S608 - quoted
    except duckdb.Error:
        if failure:
            raise failure[0] from None  # DuckDB has only the text of what our own code raised
        raise
    finally:
        connection.unregister("incoming")
    return int(made[0][0])


def _staging_tables(plan: Plan, staged: Sequence[Staged], beside: set[str]) -> dict[str, sa.Table]:
    stored = [column for column in plan.columns if column.type != types.NULL]
    keys = [column for column in stored if column.name in plan.feed.keys]
    tables = {}
    for part in staged:
        for name, columns in ((part.table, stored), (part.present, keys)):
            if name:
                described = (sa.Column(c.name, sql_type(c.type)) for c in columns)
                place = ("rows", name) if name in beside else (name, plan.feed.system)
                tables[name] = sa.Table(
                    place[0], sa.MetaData(), sa.Column(ROW, sa.BigInteger), *described, schema=place[1]
                )
    return tables


def _profile(session: _DuckDBSession, feed: Feed) -> Profile:
    columns = session.columns(feed.system, feed.table)
    if not columns:
        return Profile(columns={})
    table = _shape.target(feed, columns)
    by = table.c.get(feed.cursor or "")
    span: list[Expression] = [sa.null(), sa.null()] if by is None else [sa.func.min(by), sa.func.max(by)]
    active = sa.func.count().filter(table.c[_shape.DELETED].is_(None))
    rows, alive, low, high = session.rows(sa.select(*[sa.func.count(), active, *span]).select_from(table))[0]
    told = [None if value is None else cursor.text(value) for value in (low, high)]
    return Profile(columns=columns, rows=rows, active=alive, deleted=rows - alive, lowest=told[0], highest=told[1])


def _foreign(schema: str, table: str, name: str, kind: str) -> str:
    raise DataError(
        f"column {name!r} of {schema}.{table} has type {kind}, which Sluice does not write",
        fix="Change its type, or load into another table",
    )


def _text(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _is_held(error: Exception) -> bool:
    return isinstance(error, duckdb.IOException) and "Could not set lock" in str(error)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """DuckDB's errors in our words, where an operator can do something; the rest are bugs and stay as they are."""
    try:
        yield
    except IngestError:
        raise
    except duckdb.OutOfMemoryException as error:
        raise ConfigError(
            f"the merge needs more memory than it may have: {_line(error)}", fix="Raise WAREHOUSE_MEMORY"
        ) from error
    except duckdb.TransactionException as error:
        raise TransientError(f"another merge got in between: {_line(error)}", fix="Try again") from error
    except duckdb.IOException as error:
        raise TransientError(
            f"the warehouse cannot be read or written: {_line(error)}",
            fix="Check disk space and rights, then try again",
        ) from error
    except (duckdb.ConversionException, duckdb.OutOfRangeException) as error:
        raise DataError(f"the warehouse refused a value: {_line(error)}", fix="Look at the file's types") from error


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0].rstrip(".")

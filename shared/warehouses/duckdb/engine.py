"""DuckDB: a warehouse in one file, for a laptop and for tests.

One process writes at a time. The file is opened for each verb and closed after it, and waited for if another
process has it. What is staged goes to a file of its own beside the warehouse, uncompressed, so that staging
holds up nobody and leaves no holes behind; only a first load is staged in the warehouse itself, compressed as
it will stay, to become the table by being renamed.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from shared.comparing import CompareOptions, Comparison
from shared.contract.direct import Check
from shared.errors import ConfigError, held
from shared.ids import run_of_staging, staging_name
from shared.model import Column, Feed, Finding, Orphans, PlainFile, Plan, Run, Staged
from shared.remote import Busy, RetryPolicy
from shared.settings import Settings
from shared.warehouses import Backfill, EraseRequest, Erasure, Limits, Loaded, LoadedFile, Merged, NamedView, Profile
from shared.warehouses.duckdb.overwrite import overwrite
from shared.warehouses.duckdb.staged import drained_into, sql_types, staging_tables
from shared.warehouses.embedded import direct
from shared.warehouses.embedded.files import HIDDEN, attached, file_literal, make_folder
from shared.warehouses.embedded.locks import StagingLocks
from shared.warehouses.embedded.session import ALIAS, DuckDBSession, translated
from shared.warehouses.merge import ddl, ingest
from shared.warehouses.merge.compare import compare
from shared.warehouses.merge.erase import delete_rows, erase, erasures
from shared.warehouses.merge.merge import Merge
from shared.warehouses.merge.named import renew
from shared.warehouses.merge.orphans import orphans
from shared.warehouses.merge.profile import profile, table_rows

_log = logging.getLogger("sluice")
T = TypeVar("T")


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
        self._claims = StagingLocks(self._side("").parent, lock_timeout)
        self._opening = threading.Lock()
        self._branching, self._creating, self._naming = threading.Lock(), threading.Lock(), threading.Lock()
        self._merging: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._users = self._doubting = 0

    def owned(self, _run: Run, _on_wait: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()  # its staging tables belong to this process anyway, see ``locks``

    def stage(
        self, feed: Feed, name: str, columns: Sequence[Column], batches: Iterable[pa.RecordBatch], inline_limit: int = 0
    ) -> Loaded:
        self._claims.take(name, feed.name)
        with self._session() as session:
            if not session.columns(feed.system, feed.table):
                with self._creating:  # of two threads that do it at once DuckDB refuses one
                    ddl.create_schema(session, feed.system)
                table = session.quoted(feed.system, name)
                fill = f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM incoming"  # noqa: S608 - quoted
                return drained_into(session, fill, columns, batches)
        with self._beside(name) as (session, table):
            # It is read once and thrown away: compressing it would take longer than all the rest.
            described = (
                f"{session.quoted(c)} {kind} USING COMPRESSION uncompressed" for c, kind in sql_types(session, columns)
            )
            session.ddl(f"CREATE TABLE {table} ({', '.join(described)})")
            return drained_into(session, f"INSERT INTO {table} SELECT * FROM incoming", columns, batches)  # noqa: S608 - quoted

    def stage_file(
        self, feed: Feed, name: str, columns: Sequence[Column], file: PlainFile, checks: Sequence[Check]
    ) -> LoadedFile | None:
        """As ``stage``, but of *file*. None if its rows have to be staged: none is, or one does not pass *checks*."""
        self._claims.take(name, feed.name)
        with self._session() as session:
            try:
                return self._stage_file(session, feed, name, columns, file, checks)
            except duckdb.Error as error:  # the source knows what to say of a file that cannot be read
                _log.info("DuckDB does not read %s by itself: %s", file.path, error)
                return None

    def _stage_file(
        self, session: DuckDBSession, feed: Feed, name: str, columns: Sequence[Column], file: PlainFile,
        checks: Sequence[Check],
    ) -> LoadedFile | None:  # fmt: skip
        query = direct.select(session, file, columns)
        if query is None:
            return None
        rows, first = f"({query})", not session.columns(feed.system, feed.table)
        if first:
            with self._creating:
                ddl.create_schema(session, feed.system)
            rows = session.quoted(feed.system, name)
            with self._without_statistics():
                session.ddl(f"CREATE OR REPLACE TABLE {rows} AS {query}")
        with contextlib.nullcontext() if first else self._without_statistics():
            highest = direct.examine(session, rows, file, columns, checks)
        direct.refuse_changed(file.path, file.version)
        if highest is None:
            return None
        if not first:
            with self._beside(name) as (beside, table):
                direct.create_view(beside, name, table, query, file)
        return LoadedFile(file.rows, highest.get(feed.cursor or ""))

    def reject(self, plan: Plan, part: int, batches: Iterable[pa.RecordBatch]) -> None:
        kept, known = ingest.REJECTED.c, ingest.of_rejects(plan, part)
        with self._session() as session, session.transaction():
            session.change(ingest.deleting_rejects(plan, part))
            for batch in batches:
                session.connection.register("incoming", batch)
                arriving = sa.table("incoming", *(sa.column(name, sa.Text) for name in batch.schema.names))
                rows = sa.select(*(sa.literal(value, kept[name].type) for name, value in known.items()), *arriving.c)
                session.change(sa.insert(ingest.REJECTED).from_select([*known, *batch.schema.names], rows))

    def merge(self, plan: Plan, staged: Sequence[Staged], run: Run, limits: Limits) -> Merged:
        with (
            self._merging[run.feed],
            self._session() as session,
            self._attached(session, staged) as beside,
            session.transaction(keep=not limits.dry_run),
            self._unchanged_files(session, beside),  # within, so that nothing is committed of a file that changed
        ):
            return Merge(session, plan, run, limits, staging_tables(plan, staged, beside))(staged)

    def compare(self, plan: Plan, staged: Sequence[Staged], run: Run, options: CompareOptions) -> Comparison:
        with (
            self._session() as session,
            self._attached(session, staged) as beside,
            session.transaction(keep=False),
            self._unchanged_files(session, beside),
        ):
            return compare(session, plan, run, staged, staging_tables(plan, staged, beside), options)

    def record(self, run: Run) -> None:
        with self._session() as session, session.transaction():
            ingest.record(session, run)

    def annotate(self, run: str, note: str) -> None:
        with self._session() as session, session.transaction():
            ingest.annotate(session, run, note)

    def record_backfill(self, backfill: Backfill) -> None:
        with self._session() as session, session.transaction():
            ingest.record_backfill(session, backfill)

    def tidy(self, plan: Plan, *, rejects: bool = False) -> None:
        with self._session() as session, session.transaction():
            dropped = self._claims.droppable(self._staging_of(session, plan))
            self._drop(session, plan.feed.system, dropped)
            if rejects:
                session.change(ingest.deleting_rejects(plan))
                session.drop_if_empty(plan.feed.system)
        self._claims.let_go(dropped)

    def _staging_of(self, session: DuckDBSession, plan: Plan) -> dict[str, bool]:
        """Every staging table there is, and whether it is the run's own; others may be leftovers of dead processes."""
        own = {staging_name(plan.run.id, part.number): True for part in plan.slices}
        runs = {name: run for name in self._staged_of(session, plan.feed.system) if (run := run_of_staging(name))}
        return {**{name: run == plan.run.id for name, run in runs.items()}, **own}

    def _staged_of(self, session: DuckDBSession, schema: str) -> list[str]:
        """Tables that may be staging tables: in a schema, and beside the warehouse."""
        here = "SELECT table_name FROM information_schema.tables WHERE table_catalog = ? AND table_schema = ?"
        tables = session.connection.execute(here, [ALIAS, schema]).fetchall()
        return [*(row[0] for row in tables), *(path.stem for path in self._side("").parent.glob("s_*"))]

    def _drop(self, session: DuckDBSession, schema: str, names: Iterable[str]) -> None:
        for name in names:
            session.ddl(f"DROP TABLE IF EXISTS {session.quoted(schema, name)}")
            for path in (self._side(name), self._side(name).with_suffix(".duckdb.wal")):
                path.unlink(missing_ok=True)

    def erase(self, request: EraseRequest) -> Erasure:
        if not self._path.exists() and not request.kept_out:
            return Erasure.of(request)
        feed = request.feed
        with self._merging[feed.name], self._session() as session:
            names = [] if request.dry_run else self._staged_of(session, feed.system)
            dropped = self._claims.droppable({name: False for name in names if run_of_staging(name)})
            self._drop(session, feed.system, dropped)
            self._claims.let_go(dropped)
            with session.transaction(keep=not request.dry_run):
                traces = erase(session, request, len(dropped), delete_rows)
            if not request.dry_run:
                overwrite(session, request)
        return traces.erasure

    def runs(self, feed: str | None = None, limit: int | None = 20) -> list[Run]:
        return self._query(lambda session: ingest.runs(session, feed, limit), [])

    def recent(self, limit: int) -> list[Run]:
        return self._query(lambda session: ingest.recent(session, limit), [])

    def run(self, id: str) -> Run | None:
        return self._query(lambda session: ingest.find(session, id), None)

    def backfills(self, feed: str, limit: int = 20) -> list[Backfill]:
        return self._query(lambda session: ingest.backfills(session, feed, limit), [])

    def erasures(self, feed: str | None, limit: int | None = 20) -> list[Erasure]:
        return self._query(lambda session: erasures(session, feed, limit), [])

    def is_loading(self, feed: str) -> bool:
        return self._claims.is_loading(feed)

    def rejects(self, feed: str, run: str | None = None) -> Iterator[Mapping[str, Any]]:
        if self._path.exists():
            with self._session() as session:
                yield from ingest.rejects(session, feed, run)

    def profile(self, feed: Feed) -> Profile:
        return self._query(lambda session: profile(session, feed), Profile(columns={}))

    def columns(self, feed: Feed) -> Mapping[str, str]:
        return self._query(lambda session: session.columns(feed.system, feed.table), {})

    def orphans(self, feed: Feed, run: str | None = None) -> list[Orphans]:
        return self._query(lambda session: list(orphans(session, feed, run)), [])

    def renew_view(self, view: NamedView) -> list[str]:
        with self._naming, self._session() as session, session.transaction():
            return renew(session, view)

    def table_rows(self, schema: str, table: str) -> tuple[list[str], list[Sequence[Any]]]:
        nothing: tuple[list[str], list[Sequence[Any]]] = ([], [])
        return self._query(lambda session: table_rows(session, schema, table), nothing)

    def _query(self, question: Callable[[DuckDBSession], T], nothing: T) -> T:
        """Looking creates nothing: where there is no file yet, the answer is *nothing*."""
        if not self._path.exists():
            return nothing
        with self._session() as session:
            return question(session)

    def examine(self) -> Iterator[Finding]:
        if not self._path.exists():
            yield Finding("warehouse", "ok", f"{self._path} will be created by the first load")
            return
        with self._session() as session:
            runs = len(ingest.runs(session, None, None))
            yield Finding("warehouse", "ok", f"{self._path} opens with DuckDB {duckdb.__version__}; {runs} runs")

    # -- opening and closing

    @contextlib.contextmanager
    def _session(self) -> Iterator[DuckDBSession]:
        """A session on the file, which is attached as long as any thread of this process needs it."""
        with translated(), self._opening:
            if self._users == 0:
                self._attach()
            self._users += 1
        try:
            with translated(), self._cursor() as connection:
                connection.execute(f'USE "{ALIAS}"')
                yield DuckDBSession(connection)
        finally:
            with translated(), self._opening:
                self._users -= 1
                if self._users == 0:
                    self._detach()

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection for one thread. All work is done on such ones: DuckDB refuses two calls of one at a time."""
        with self._branching:
            return self._database.cursor()

    @functools.cached_property
    def _database(self) -> duckdb.DuckDBPyConnection:
        """DuckDB itself, empty: files are attached to it. Starting it takes ten times as long as that."""
        return duckdb.connect(":memory:", config=self._config)

    def _attach(self) -> None:
        make_folder(self._path)
        with self._cursor() as connection:
            self._wait_for(connection, self._path, f'ATTACH {file_literal(self._path)} AS "{ALIAS}"')
        try:
            with self._cursor() as connection:
                connection.execute(f'USE "{ALIAS}"')
                session = DuckDBSession(connection)
                with session.transaction():
                    ingest.prepare(session)
        except BaseException:
            self._detach()
            raise

    def _detach(self) -> None:
        with self._cursor() as connection:
            connection.execute(f'DETACH "{ALIAS}"')

    def _wait_for(self, connection: duckdb.DuckDBPyConnection, path: Path, attach: str) -> None:
        """Attach as soon as no other process has the file, but not for ever."""
        retry = RetryPolicy(attempts=None, seconds=self._timeout, first_wait=0.05, longest_wait=1.0)
        try:
            retry.call(lambda: attached(connection, attach), on=Busy)
        except Busy as error:
            raise held(f"waited {self._timeout:g} s for {error.problem}: {path}") from error

    # -- staging beside the warehouse

    def _side(self, name: str) -> Path:
        return self._path.with_name(f"{self._path.name}.staging") / f"{name}.duckdb"

    @contextlib.contextmanager
    def _beside(self, name: str) -> Iterator[tuple[DuckDBSession, str]]:
        """A new file for staging table *name*, and the table's full name in it."""
        path = self._side(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with translated(), self._cursor() as connection:
            session = DuckDBSession(connection)
            self._wait_for(connection, path, f"ATTACH {file_literal(path)} AS {session.quoted(name)} ({HIDDEN})")
            try:
                direct.prepare(session, name)
                yield session, session.quoted(name, "main", "rows")
            finally:
                session.ddl(f"DETACH {session.quoted(name)}")

    @contextlib.contextmanager
    def _unchanged_files(self, session: DuckDBSession, beside: Iterable[str]) -> Iterator[None]:
        """Hold the merge to the files that staging tables *beside* stand for."""
        files = [file for name in beside for file in direct.origin(session, name)]
        if not files:
            yield
            return
        with self._without_statistics():
            try:
                yield
            finally:
                for path, version in files:
                    direct.refuse_changed(path, version)

    @contextlib.contextmanager
    def _without_statistics(self) -> Iterator[None]:
        """Keep DuckDB from using statistics, in all threads, until the last that asked for it is done."""
        with self._opening:
            self._doubting += 1
            if self._doubting == 1:
                self._database.execute(f"SET disabled_optimizers = '{direct.WITHOUT_STATISTICS}'")
        try:
            yield
        finally:
            with self._opening:
                self._doubting -= 1
                if self._doubting == 0:
                    self._database.execute("RESET disabled_optimizers")

    @contextlib.contextmanager
    def _attached(self, session: DuckDBSession, staged: Sequence[Staged]) -> Iterator[set[str]]:
        names = [name for part in staged for name in (part.table, part.present) if name]
        beside = [name for name in names if self._side(name).exists()]
        try:
            for name in beside:
                path = self._side(name)
                with self._cursor() as connection:
                    attach = f"ATTACH {file_literal(path)} AS {session.quoted(name)} (READ_ONLY, {HIDDEN})"
                    self._wait_for(connection, path, attach)
            yield set(beside)
        finally:
            for name in beside:
                session.ddl(f"DETACH DATABASE IF EXISTS {session.quoted(name)}")

"""A data lake: Delta tables that other engines read, with the same rules and outcomes as in every other warehouse.

DuckDB computes the changes over the files of a table's current version, and writes new ones; a commit of Delta's log
exchanges them, and names the run that did it. Another writer that commits first makes the merge start over.
"""

from __future__ import annotations

import contextlib
import logging
import threading

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import pyarrow as pa

from shared.comparing import CompareOptions, Comparison
from shared.contract.direct import Check
from shared.errors import LOAD_AGAIN, ConfigError, ConflictError, IngestError, TransientError
from shared.ids import staging_name
from shared.model import Column, Feed, Finding, Orphans, PlainFile, Plan, Run, Staged
from shared.settings import Settings
from shared.warehouses import (
    Backfill,
    EraseRequest,
    Erasure,
    KeysOf,
    Limits,
    Loaded,
    LoadedFile,
    Merged,
    NamedView,
    Profile,
    TableUpkeep,
    Upkeep,
)
from shared.warehouses.embedded.locks import StagingLocks
from shared.warehouses.embedded.session import DuckDBSession
from shared.warehouses.lake import erase, feed_table, rejects, staging
from shared.warehouses.lake.blob import BlobStorage
from shared.warehouses.lake.errors import Lost, Overtaken
from shared.warehouses.lake.ingest_tables import IngestTables, may_have
from shared.warehouses.lake.names import STAGING, table_path
from shared.warehouses.lake.storage import LocalStorage, Storage
from shared.warehouses.lake.upkeep import tend
from shared.warehouses.lake.work import Work, open_work
from shared.warehouses.merge import ingest
from shared.warehouses.merge.erase import erasures
from shared.warehouses.merge.orphans import orphans
from shared.warehouses.merge.profile import table_rows

_log = logging.getLogger("sluice")
_TRIES = 10


def open_warehouse(settings: Settings) -> LakeWarehouse:
    """The URL's path is relative after three slashes and absolute after four, as DuckDB's."""
    kind, _, rest = settings.warehouse_url.partition("://")
    if kind != "lake":
        return LakeWarehouse(BlobStorage(settings.warehouse_url.removeprefix("lake+"), settings), settings)
    path = rest.removeprefix("/")
    if not path.strip("/."):
        raise ConfigError("WAREHOUSE_URL names no folder", fix="Write lake:///path/to/folder")
    return LakeWarehouse(LocalStorage(Path(path)), settings)


class LakeWarehouse:
    """The tables of one lake."""

    def __init__(self, storage: Storage, settings: Settings) -> None:
        self._storage = storage
        self._config: dict[str, Any] = {"memory_limit": settings.warehouse_memory, "preserve_insertion_order": False}
        local = isinstance(storage, LocalStorage)
        folder = Path(storage.name) / STAGING / "locks"
        self._claims = StagingLocks(folder, settings.warehouse_lock_timeout) if local else None
        self._merging: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def owned(self, _run: Run, _on_wait: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()  # what is staged belongs to this process, or is the same whoever stages it

    def stage(
        self, feed: Feed, name: str, columns: Sequence[Column], batches: Iterable[pa.RecordBatch], inline_limit: int = 0
    ) -> Loaded:
        if self._claims is not None:
            self._claims.take(name, feed.name)
        with self._work() as work:
            return Loaded(staging.stage(work, feed, name, columns, batches))

    def stage_file(
        self, feed: Feed, name: str, columns: Sequence[Column], file: PlainFile, checks: Sequence[Check]
    ) -> LoadedFile | None:
        """As ``stage``, but of *file*. None if its rows have to be staged: none is, or one does not pass *checks*."""
        if self._claims is None:
            return None
        self._claims.take(name, feed.name)
        try:
            with self._work() as work:
                return staging.stage_file(work, feed, name, columns, file, checks)
        except ConflictError:
            raise
        except (duckdb.Error, IngestError) as error:  # the source knows what to say of such a file
            _log.info("DuckDB does not read %s by itself: %s", file.path, error)
            return None

    def reject(self, plan: Plan, part: int, batches: Iterable[pa.RecordBatch]) -> None:
        with self._work() as work:
            rejects.replace(work, DuckDBSession(work.connection), plan, part, batches)

    def merge(self, plan: Plan, staged: Sequence[Staged], run: Run, limits: Limits) -> Merged:
        with self._merging[run.feed]:
            for left in reversed(range(_TRIES)):
                try:
                    with self._work() as work:
                        return feed_table.merge(work, plan, staged, run, limits)
                except (Overtaken, Lost) as error:
                    if isinstance(error, Lost) and not left:
                        raise
                    _log.info("merging %s anew: another process has changed its table (%s)", run.feed, error)
        raise TransientError(f"other processes change the table of {run.feed} all the time", fix=LOAD_AGAIN)

    def compare(self, plan: Plan, staged: Sequence[Staged], run: Run, options: CompareOptions) -> Comparison:
        with self._work() as work:
            return feed_table.compared(work, plan, staged, run, options)

    def record(self, run: Run) -> None:
        with self._work() as work:
            IngestTables(work, DuckDBSession(work.connection)).record(run)

    def annotate(self, run: str, note: str) -> None:
        with self._work() as work:
            session = DuckDBSession(work.connection)
            tables = IngestTables(work, session)
            tables.load("run", may_have("id", run), "id = ?", run)
            ingest.annotate(session, run, note)
            tables.replace("run", may_have("id", run), "id = ?", [run])

    def record_backfill(self, backfill: Backfill) -> None:
        with self._work() as work:
            session = DuckDBSession(work.connection)
            tables = IngestTables(work, session)
            ingest.record_backfill(session, backfill)
            tables.replace("backfill", may_have("id", backfill.id), "id = ?", [backfill.id])

    def erase(self, request: EraseRequest) -> Erasure:
        with self._merging[request.feed.name], self._work() as work:
            return erase.erase(work, request)

    def tidy(self, plan: Plan, *, rejects: bool = False) -> None:
        with self._work() as work:
            own = {staging_name(plan.run.id, part.number): True for part in plan.slices}
            found = staging.droppable(work, plan.run.id)
            names = dict.fromkeys(found.values(), True) | own
            dropped = names if self._claims is None else self._claims.droppable(names)
            self._storage.delete([path for path, name in found.items() if name in dropped])
            if rejects:
                self._drop_rejects(work, plan)
            staging.delete_leftovers(work)
        if self._claims is not None:
            self._claims.let_go(dropped)

    @staticmethod
    def _drop_rejects(work: Work, plan: Plan) -> None:
        tables = IngestTables(work, DuckDBSession(work.connection))
        tables.replace("rejected", may_have("run", plan.run.id), "run = ?", [plan.run.id])

    def upkeep(self, feed: str, keys_of: KeysOf, options: Upkeep) -> TableUpkeep | None:
        with self._merging[feed], self._work() as work:
            return tend(work, feed, keys_of, options)

    # -- looking

    def runs(self, feed: str | None = None, limit: int | None = 20) -> list[Run]:
        with self._history(feed) as session:
            return ingest.runs(session, feed, limit)

    def recent(self, limit: int) -> list[Run]:
        with self._history(None) as session:
            return ingest.recent(session, limit)

    def run(self, id: str) -> Run | None:
        with self._work() as work:
            session = DuckDBSession(work.connection)
            IngestTables(work, session).load("run", may_have("id", id), "id = ?", id)
            return ingest.find(session, id)

    def backfills(self, feed: str, limit: int = 20) -> list[Backfill]:
        with self._work() as work:
            session = DuckDBSession(work.connection)
            IngestTables(work, session).load("backfill", may_have("feed", feed), "feed = ?", feed)
            return ingest.backfills(session, feed, limit)

    def erasures(self, feed: str | None, limit: int | None = 20) -> list[Erasure]:
        with self._work() as work:
            session = DuckDBSession(work.connection)
            IngestTables(work, session).load("erasure", lambda file: True)
            return erasures(session, feed, limit)

    def is_loading(self, feed: str) -> bool:
        if self._claims is not None:
            return self._claims.is_loading(feed)
        with self._work() as work:
            return staging.is_staging(work, feed)

    def rejects(self, feed: str, run: str | None = None) -> Iterator[Mapping[str, Any]]:
        with self._work() as work:
            yield from rejects.found(work, DuckDBSession(work.connection), feed, run)

    def profile(self, feed: Feed) -> Profile:
        with self._work() as work:
            return feed_table.profiled(work, feed)

    def columns(self, feed: Feed) -> Mapping[str, str]:
        with self._work() as work:
            snapshot = work.table(table_path(feed.system, feed.table)).snapshot()
            return {} if snapshot is None else snapshot.columns

    def orphans(self, feed: Feed, run: str | None = None) -> list[Orphans]:
        if feed.lake == "append":
            return []
        tables = [tuple(reference.split(".")[:2]) for reference in feed.references.values()]
        with self._work() as work:
            session = feed_table.viewed(work, [(feed.system, feed.table), *tables])
            return list(orphans(session, feed, run))

    def renew_view(self, _view: NamedView) -> list[str]:
        """There are no views in a lake."""
        return []

    def table_rows(self, schema: str, table: str) -> tuple[list[str], list[Sequence[Any]]]:
        with self._work() as work:
            return table_rows(feed_table.viewed(work, [(schema, table)]), schema, table)

    def examine(self) -> Iterator[Finding]:
        """Reads history, by which the layout is known, and writes and deletes a file."""
        if isinstance(self._storage, LocalStorage) and not Path(self._storage.name).exists():
            yield Finding("warehouse", "ok", f"{self._storage.name} will be created by the first load")
            return
        runs = len(self.runs(None, None))
        with self._work() as work:
            staging.try_to_write(work)
        library = f"delta-rs {deltalake.__version__}"
        yield Finding("warehouse", "ok", f"{self._storage.name} can be read and written with {library}; {runs} runs")

    @contextlib.contextmanager
    def _history(self, feed: str | None) -> Iterator[DuckDBSession]:
        with self._work() as work:
            session = DuckDBSession(work.connection)
            IngestTables(work, session).load_runs(feed)
            yield session

    def _work(self) -> contextlib.AbstractContextManager[Work]:
        return open_work(self._storage, self._config)

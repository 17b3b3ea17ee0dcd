"""The tables of schema ``ingest`` in a lake: history, rejects and backfills, as Delta tables of the same columns.

What is wanted of them is copied into tables of DuckDB's, where the shared SQL works on it; what it wrote there goes
into a new file. A row is replaced by writing the files anew that may have it.
"""

from __future__ import annotations

import random
import re
import time

from collections.abc import Callable, Sequence
from typing import Any

from shared.errors import LOAD_AGAIN, TransientError, written_by_newer
from shared.model import Run
from shared.warehouses.embedded.session import DuckDBSession
from shared.warehouses.lake import files
from shared.warehouses.lake.errors import Overtaken
from shared.warehouses.lake.files import DataFile
from shared.warehouses.lake.names import table_path
from shared.warehouses.lake.table import Change, Snapshot
from shared.warehouses.lake.work import Work
from shared.warehouses.merge import ingest

_NAMES = ("run", "rejected", "backfill", "erasure")
_TRIES = 60
_SMALL, _MANY = 1 << 20, 64
"""So many files below so many bytes are put together by the next commit."""


class IngestTables:
    """The tables within one call."""

    def __init__(self, work: Work, session: DuckDBSession) -> None:
        self._work, self._session = work, session
        ingest.prepare(session)

    def load(self, name: str, wanted: Callable[[DataFile], bool], where: str = "true", *values: Any) -> None:
        """Add the rows of table *name* that meet *where* to DuckDB's table of that name."""
        snapshot = self._snapshot(name)
        if snapshot is not None:
            self._copy(name, [file for file in snapshot.files if wanted(file)], where, values)

    def load_runs(self, feed: str | None = None) -> None:
        if feed is None:
            self.load("run", lambda file: True)
        else:
            self.load("run", may_have("feed", feed), "feed = ?", feed)

    def add_run(self, run: Run) -> None:
        """Write *run*, which DuckDB's table has as done, unless the lake has it as done already."""
        self.replace("run", may_have("id", run.id), "id = ?", [run.id], unless="status = 'done'")

    def record(self, run: Run) -> None:
        """Write a failed run, unless the lake has it as done."""
        ingest.write(self._session, run, ingest.find(self._session, run.id))
        self.add_run(run)

    def replace(
        self, name: str, wanted: Callable[[DataFile], bool], where: str, values: Sequence[Any], unless: str = "false"
    ) -> None:
        """Let the rows that meet *where* be those that DuckDB's table has; nothing if the lake has one *unless*.

        *wanted* says which files may have such rows.
        """
        for tried in range(_TRIES):
            try:
                self._replace(name, wanted, where, values, unless)
            except Overtaken:
                # Not in step with the others.
                time.sleep(random.uniform(0.0, 0.02 * tried))  # noqa: S311 - no secret
                continue
            return
        raise TransientError(f"table ingest.{name} of the lake is changed by many at once", fix=LOAD_AGAIN)

    def _replace(
        self, name: str, wanted: Callable[[DataFile], bool], where: str, values: Sequence[Any], unless: str
    ) -> None:
        snapshot, own = self._snapshot(name), self._session.quoted(ingest.SCHEMA, name)
        columns = self._session.columns(ingest.SCHEMA, name)
        query, given = f"SELECT * FROM {own} WHERE {where}", list(values)  # noqa: S608 - no text from outside
        gone: list[DataFile] = []
        if snapshot is not None:
            gone = [file for file in snapshot.files if wanted(file)]
            stored = self._query(snapshot, gone, columns)
            if gone and self._has(f"SELECT 1 FROM ({stored}) WHERE {where} AND {unless}", values):  # noqa: S608 - as above
                return
            if gone and not self._has(f"SELECT 1 FROM ({stored}) WHERE {where}", values):  # noqa: S608 - as above
                gone = []
            gone = _with_small(gone, snapshot)
            if gone:
                stored = self._query(snapshot, gone, columns)
                query, given = f"{query} UNION ALL SELECT * FROM ({stored}) WHERE NOT ({where})", [*given, *values]  # noqa: S608 - as above
        elif self._has(query, given):
            self._create_all()
            raise Overtaken("the tables are there now")
        else:
            return
        self._commit(name, snapshot, gone, query, given)

    def _create_all(self) -> None:
        """Create those tables that are not there: with the first row of one come all, so that they can be queried."""
        for name in _NAMES:
            table = self._work.table(table_path(ingest.SCHEMA, name))
            if table.snapshot() is None:
                columns = self._session.columns(ingest.SCHEMA, name)
                table.commit(None, Change(columns, description=f"Sluice {ingest.CURRENT}"))

    def _commit(
        self, name: str, snapshot: Snapshot | None, gone: Sequence[DataFile], query: str, values: Sequence[Any]
    ) -> None:
        path, columns = table_path(ingest.SCHEMA, name), self._session.columns(ingest.SCHEMA, name)
        folder = self._work.storage.folder(path, self._work.scratch)
        made = files.write(self._session, query, columns, files.NewFiles(folder, "ingest"), values)
        if not made and not gone:
            return
        try:
            self._work.storage.publish(path, folder, [file for file, _ in made])
            change = Change(columns, [action for _, action in made], gone)
            self._work.table(path).commit(snapshot, change)
        except BaseException:
            self._work.discard(f"{path}/{file.name}" for file, _ in made)
            raise

    def _copy(self, name: str, found: Sequence[DataFile], where: str, values: Sequence[Any]) -> None:
        columns = self._session.columns(ingest.SCHEMA, name)
        if found:
            data = list(self._work.data(table_path(ingest.SCHEMA, name), found))
            query = files.query(self._session, data, columns)
            own = self._session.quoted(ingest.SCHEMA, name)
            self._session.connection.execute(f"INSERT INTO {own} SELECT * FROM ({query}) WHERE {where}", list(values))  # noqa: S608 - as above

    def _query(self, snapshot: Snapshot, found: Sequence[DataFile], columns: dict[str, str]) -> str:
        path = snapshot.path
        return files.query(self._session, list(self._work.data(path, found)), columns)

    def _has(self, query: str, values: Sequence[Any]) -> bool:
        return bool(self._session.connection.execute(f"{query} LIMIT 1", list(values)).fetchall())

    def _snapshot(self, name: str) -> Snapshot | None:
        snapshot = self._work.table(table_path(ingest.SCHEMA, name)).snapshot()
        found = re.fullmatch(r"Sluice (\d+)", (snapshot.description if snapshot else None) or "")
        if found and int(found[1]) > ingest.CURRENT:
            raise written_by_newer("the lake", int(found[1]), ingest.CURRENT)
        return snapshot


def may_have(column: str, value: Any) -> Callable[[DataFile], bool]:
    """Whether a file may have rows with *value* in *column*, by what the log says of it."""

    def test(file: DataFile) -> bool:
        low, high = file.low.get(column), file.high.get(column)
        return low is None or high is None or low <= value <= high

    return test


def _with_small(gone: list[DataFile], snapshot: Snapshot) -> list[DataFile]:
    small = [file for file in snapshot.files if file.size < _SMALL]
    return [*gone, *(file for file in small if file not in gone)] if len(small) >= _MANY else gone

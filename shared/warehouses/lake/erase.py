"""Remove rows for good: files that have some are written anew without them.

Earlier versions of a table keep them until the replaced files are deleted.
"""

from __future__ import annotations

import uuid

from collections.abc import Sequence

import sqlalchemy as sa

from deltalake.transaction import AddAction

from shared.contract.raw_keys import Key
from shared.errors import LOAD_AGAIN, TransientError
from shared.model import Feed
from shared.warehouses import EraseRequest, Erasure
from shared.warehouses.embedded.session import DuckDBSession
from shared.warehouses.lake import files, staging
from shared.warehouses.lake.errors import Overtaken
from shared.warehouses.lake.feed_table import viewed
from shared.warehouses.lake.files import DAYS, FILE, DataFile
from shared.warehouses.lake.ingest_tables import IngestTables, may_have
from shared.warehouses.lake.names import DAY, table_path
from shared.warehouses.lake.table import Change, Snapshot
from shared.warehouses.lake.work import Work
from shared.warehouses.merge import numbered
from shared.warehouses.merge.erase import Traces, with_keys
from shared.warehouses.merge.erase import erase as erase_in
from shared.warehouses.merge.session import Expression, Session
from shared.warehouses.merge.shape import target

_TRIES = 10


def erase(work: Work, request: EraseRequest) -> Erasure:
    """Remove all of it: rows first, each table in a commit of its own; the record last."""
    session = DuckDBSession(work.connection)
    staged = staging.of_feed(work, request.feed)
    if not request.dry_run:
        work.storage.delete(staged)
    tables = IngestTables(work, session)
    tables.load_runs()
    tables.load("rejected", may_have("feed", request.feed.name), "feed = ?", request.feed.name)
    tables.load("erasure", lambda file: True)

    def delete(_session: Session, feed: Feed, keys: Sequence[Key]) -> int:
        return _delete(work, session, feed, keys, dry_run=request.dry_run)

    viewed(work, [(request.feed.system, request.feed.table)])
    traces = erase_in(session, request, len(staged), delete)
    if not request.dry_run:
        _write(tables, traces)
    return traces.erasure


def _write(tables: IngestTables, traces: Traces) -> None:
    """What the shared SQL changed in DuckDB's tables, in those of the lake."""
    for run, place in traces.rejects:
        tables.replace("rejected", may_have("run", run), "run = ? AND place = ?", [run, place])
    for run in traces.runs:
        tables.replace("run", may_have("id", run), "id = ?", [run])
    if traces.erasure.is_something:
        tables.replace("erasure", may_have("id", traces.erasure.id), "id = ?", [traces.erasure.id])


def _delete(work: Work, session: DuckDBSession, feed: Feed, keys: Sequence[Key], *, dry_run: bool) -> int:
    for _ in range(_TRIES):
        snapshot = work.table(table_path(feed.system, feed.table)).snapshot()
        if snapshot is None:
            return 0
        try:
            return _delete_of(work, session, snapshot, feed, keys, dry_run=dry_run)
        except Overtaken:
            continue
    raise TransientError(f"other processes change the table of {feed.name} all the time", fix=LOAD_AGAIN)


def _delete_of(
    work: Work, session: DuckDBSession, snapshot: Snapshot, feed: Feed, keys: Sequence[Key], *, dry_run: bool
) -> int:
    """Write the files anew that have such rows. Overtaken if another process changed the table meanwhile."""
    found: list[tuple[DataFile, int, str, list[object]]] = []
    for path, file in work.data(snapshot.path, snapshot.files).items():
        query = files.query(session, [path], snapshot.columns, derived=DAYS if DAY in snapshot.partitioned_by else {})
        name = f"{FILE}_{len(found)}"
        session.ddl(f"CREATE OR REPLACE TEMPORARY VIEW {session.quoted(name)} AS {query}")
        table = sa.Table(name, sa.MetaData(), *(sa.Column(c.name, c.type) for c in target(feed, snapshot.columns).c))
        gone: Expression = with_keys(session, feed, table, snapshot.columns, keys)
        rows = session.rows(sa.select(sa.func.count()).select_from(table).where(gone))[0][0]
        if rows:
            found.append((file, int(rows), *numbered.compiled(sa.select(table).where(~gone))))
    if found and not dry_run:
        _commit(work, session, snapshot, found)
    return sum(rows for _, rows, _, _ in found)


def _commit(
    work: Work, session: DuckDBSession, snapshot: Snapshot, found: Sequence[tuple[DataFile, int, str, list[object]]]
) -> None:
    attempt, folder = uuid.uuid4().hex, work.storage.folder(snapshot.path, work.scratch)
    added: list[AddAction] = []
    with staging.noted(work, snapshot.path, attempt):
        try:
            for file, _, rest, parameters in found:
                partition = {name: value for name, value in file.partition.items() if value is not None}
                place = files.NewFiles(folder, attempt, partition)
                made = files.write(session, rest, snapshot.columns, place, parameters)
                added += [action for _, action in made]
                work.storage.publish(snapshot.path, folder, [path for path, _ in made])
            removed = [file for file, _, _, _ in found]
            change = Change(snapshot.columns, added, removed, info={"attempt": attempt})
            work.table(snapshot.path).commit(snapshot, change)
        except BaseException:
            work.discard(f"{snapshot.path}/{action.path}" for action in added)
            raise

"""A feed's table in the lake: merged or appended to, and looked at."""

from __future__ import annotations

import functools

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from shared.comparing import CompareOptions, Comparison
from shared.contract import cursor
from shared.errors import ConfigError
from shared.model import SYSTEM_COLUMNS, Feed, Plan, Run, Staged, from_json
from shared.warehouses import Limits, Merged, Profile
from shared.warehouses.embedded.direct import refuse_changed
from shared.warehouses.embedded.session import DuckDBSession
from shared.warehouses.lake import files
from shared.warehouses.lake.append import Append
from shared.warehouses.lake.current import Current
from shared.warehouses.lake.files import DAYS
from shared.warehouses.lake.ingest_tables import IngestTables
from shared.warehouses.lake.names import DAY, KIND, table_path
from shared.warehouses.lake.session import LakeSession
from shared.warehouses.lake.staging import noted, staged_tables
from shared.warehouses.lake.table import Change, Snapshot
from shared.warehouses.lake.work import Work
from shared.warehouses.merge import ddl, ingest, shape
from shared.warehouses.merge.compare import compare
from shared.warehouses.merge.profile import profile

_FEW = 100_000
"""Rows that are put into one file with what else changes."""
_BACK = 5
"""Commits of a table that are looked at for runs that history lacks."""


def merge(work: Work, plan: Plan, staged: Sequence[Staged], run: Run, limits: Limits) -> Merged:
    """One try to bring the staged rows in. Overtaken if another process committed first: nothing has changed then."""
    feed, path = plan.feed, table_path(plan.feed.system, plan.feed.table)
    before = work.table(path).snapshot()
    _refuse_others(feed, path, before)
    folder = None if limits.dry_run else work.storage.folder(path, work.scratch)
    day = (run.finished or run.started)[:10] if feed.lake == "append" else None
    session = LakeSession(work.connection, feed, folder, streams=bool(day) or run.read > _FEW, day=day)
    history = IngestTables(work, session)
    history.load_runs(feed.name)
    known = _heal(session, history, before, run.id)
    if known is not None:
        return Merged(known, ())
    if before is not None:
        session.open_table(functools.partial(work.data, path, before.files), before.columns)
    others = [tuple(str(check.references).split(".")[:2]) for check in feed.checks if check.references]
    viewed(work, [other for other in others if other != (feed.system, feed.table)])
    tables, read = staged_tables(work, session, plan, staged)
    kind = Append if feed.lake == "append" else Current
    if limits.dry_run:
        return kind(session, plan, run, limits, tables)(staged)
    with noted(work, path, session.attempt):
        try:
            merged = kind(session, plan, run, limits, tables)(staged)
            for file in read:
                refuse_changed(file.path, file.version)
            _commit(work, path, session, before, merged.run, feed)
        except BaseException:
            work.discard(f"{path}/{action.path}" for _, action in session.added)
            raise
    history.add_run(merged.run)
    return merged


def _commit(work: Work, path: str, session: LakeSession, before: Snapshot | None, run: Run, feed: Feed) -> None:
    columns = session.columns(feed.system, feed.table)
    if not columns:
        return  # every row was rejected before there was a table
    removed = session.finish()
    if before is not None and not session.added and not removed and dict(before.columns) == columns:
        return  # nothing new: no commit
    work.storage.publish(path, work.storage.folder(path, work.scratch), [file for file, _ in session.added])
    change = Change(
        columns=columns,
        added=[action for _, action in session.added],
        removed=removed,
        run=run.id,
        info={"run": asdict(run), "attempt": session.attempt},
        rewritten=session.converted,
        partition_by=[DAY] if feed.lake == "append" else [],
    )
    work.table(path).commit(before, change)


def _heal(session: LakeSession, history: IngestTables, before: Snapshot | None, run: str) -> Run | None:
    """Write runs into history that the table has and history lacks; *run*, if the table has it."""
    if before is None:
        return None
    for said in before.last_runs(_BACK):
        found = from_json(Run, said["run"])
        known = ingest.find(session, found.id)
        if known is not None and known.status == "done":
            break
        ingest.write(session, found, known)
        history.add_run(found)
    return _as_committed(session, history, before, run)


def _as_committed(session: LakeSession, history: IngestTables, before: Snapshot, run: str) -> Run | None:
    known = ingest.find(session, run)
    if known is not None and known.status == "done":
        return known
    if not before.has_run(run):
        return None
    for said in before.last_runs(1_000):
        if said["run"]["id"] == run:
            found = from_json(Run, said["run"])
            ingest.write(session, found, known)
            history.add_run(found)
            return found
    return None


def _refuse_others(feed: Feed, path: str, before: Snapshot | None) -> None:
    """ConfigError if the table is not one of the feed's mode."""
    if before is None:
        return
    is_appended = KIND in before.columns
    if is_appended != (feed.lake == "append") and (is_appended or set(SYSTEM_COLUMNS) <= set(before.columns)):
        mode = "append" if is_appended else "current"
        raise ConfigError(
            f"table {path} of the lake is kept as {mode}, but feed {feed.name} has lake = {feed.lake!r}",
            fix=f'Declare lake = "{mode}" for it in the catalog, or move the table\'s folder away',
        )
    if not is_appended and not set(SYSTEM_COLUMNS) <= set(before.columns):
        raise ConfigError(
            f"table {path} of the lake is another program's: it lacks {', '.join(SYSTEM_COLUMNS)}",
            fix="Move its folder away, or name another folder in WAREHOUSE_URL",
        )


def viewed(work: Work, tables: Iterable[tuple[str, ...]]) -> DuckDBSession:
    """A session with a view of each table, of those that are there."""
    session = DuckDBSession(work.connection)
    for system, table in dict.fromkeys((name[0], name[1]) for name in tables):
        path = table_path(system, table)
        snapshot = work.table(path).snapshot()
        if snapshot is not None:
            derived = DAYS if DAY in snapshot.partitioned_by else {}
            query = files.query(session, list(work.data(path, snapshot.files)), snapshot.columns, derived=derived)
            ddl.create_schema(session, system)
            session.ddl(f"CREATE VIEW {session.quoted(system, table)} AS {query}")
    return session


def compared(work: Work, plan: Plan, staged: Sequence[Staged], run: Run, options: CompareOptions) -> Comparison:
    """How the table of the plan's feed differs from what was staged. ConfigError if it keeps the rows of every run."""
    feed = plan.feed
    if feed.lake == "append":
        raise ConfigError(
            f"table {feed.name} of the lake keeps the rows of every run, so it equals no full",
            fix='Compare another destination of the feed (--destination), or declare lake = "current" for it',
        )
    session = viewed(work, [(feed.system, feed.table)])
    IngestTables(work, session).load_runs(feed.name)
    tables, read = staged_tables(work, session, plan, staged)
    found = compare(session, plan, run, staged, tables, options)
    for file in read:
        refuse_changed(file.path, file.version)
    return found


def profiled(work: Work, feed: Feed) -> Profile:
    """What is stored of *feed*."""
    session = viewed(work, [(feed.system, feed.table)])
    columns = session.columns(feed.system, feed.table)
    if KIND not in columns:
        return profile(session, feed)
    return _of_appended(session, feed, columns)


def _of_appended(session: DuckDBSession, feed: Feed, columns: Mapping[str, str]) -> Profile:
    table = shape.target(feed, columns)
    by = table.c.get(feed.cursor or "")
    span: Sequence[sa.ColumnElement[Any]] = [sa.null(), sa.null()]
    if by is not None:
        span = [sa.func.min(by), sa.func.max(by)]
    rows, *ends = session.rows(sa.select(*[sa.func.count(), *span]).select_from(table))[0]
    low, high = (None if value is None else cursor.text(value) for value in ends)
    return Profile(columns=columns, rows=rows, active=rows, lowest=low, highest=high)

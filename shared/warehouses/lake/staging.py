"""What is staged: a Parquet file for each slice, in the lake itself, for another machine may publish it."""

from __future__ import annotations

import json
import os
import uuid

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import sqlalchemy as sa

from shared.contract import types
from shared.contract.conform import ROW
from shared.contract.direct import Check
from shared.errors import LOAD_AGAIN, TransientError
from shared.ids import run_of_staging
from shared.model import Column, Feed, PlainFile, Plan, Staged
from shared.warehouses import LoadedFile
from shared.warehouses.embedded import direct
from shared.warehouses.embedded.files import file_literal
from shared.warehouses.embedded.session import DuckDBSession, drained
from shared.warehouses.lake import cleanup, direct_files
from shared.warehouses.lake.names import STAGING, table_path
from shared.warehouses.lake.storage import LocalStorage
from shared.warehouses.lake.work import Work
from shared.warehouses.merge import ddl, shape
from shared.warehouses.merge import session as merge_session

DEAD = 86_400.0
"""Seconds after which what another run has left is a leftover of one that died."""
_LOADING = 3_600.0
_NOTE = ".file.json"
"""End of the name of a note of a file that DuckDB reads by itself."""


def stage(work: Work, feed: Feed, name: str, columns: Sequence[Column], batches: Iterable[pa.RecordBatch]) -> int:
    """Replace what is staged as *name* by the rows of *batches*; their number."""
    place = _folder(feed)
    folder = work.storage.folder(place, work.scratch)
    path = folder / f"{name}.parquet"
    if isinstance(work.storage, LocalStorage):
        (folder / f"{name}{_NOTE}").unlink(missing_ok=True)
    unfinished = folder / f"{name}.{uuid.uuid4().hex}.tmp"
    schema = pa.schema([(ROW, pa.int64()), *((c.name, types.to_arrow(c.type)) for c in columns)])
    copy = f"COPY (SELECT * FROM incoming) TO {file_literal(unfinished)} (FORMAT parquet, COMPRESSION snappy)"  # noqa: S608 - quoted
    try:
        rows = drained(work.connection, copy, pa.RecordBatchReader.from_batches(schema, iter(batches)))
        os.replace(unfinished, path)  # noqa: PTH105 - at once, over an earlier one
    finally:
        unfinished.unlink(missing_ok=True)
    work.storage.publish(place, folder, [path])
    return rows


def stage_file(
    work: Work, feed: Feed, name: str, columns: Sequence[Column], file: PlainFile, checks: Sequence[Check]
) -> LoadedFile | None:
    """As ``stage``, but of *file*, which stays where it is. None if its rows have to be staged."""
    note = work.storage.folder(_folder(feed), work.scratch) / f"{name}{_NOTE}"
    return direct_files.stage(work, note, feed.cursor, columns, file, checks)


def staged_tables(
    work: Work, session: DuckDBSession, plan: Plan, staged: Sequence[Staged]
) -> tuple[Mapping[str, sa.FromClause], list[PlainFile]]:  # fmt: skip
    """What was staged, as views, by name, and the files that DuckDB reads by itself.

    TransientError if a part of what was staged is gone, ConflictError if one of these files has changed.
    """
    wanted = {name: columns for part in staged for name, columns in shape.staged_columns(plan, part).items()}
    notes = _notes(work, plan.feed, wanted)
    files = {name: direct_files.read(note) for name, note in notes.items()}
    paths = {name: f"{_folder(plan.feed)}/{name}.parquet" for name in wanted if name not in files}
    found = work.storage.local(paths.values(), work.scratch)
    queries = {
        name: f"SELECT * FROM read_parquet({file_literal(found[path])})"  # noqa: S608 - quoted
        for name, path in paths.items()
        if path in found
    }
    queries |= {n: query for n, file in files.items() if (query := direct.select(session, file, wanted[n]))}
    if len(queries) < len(wanted):
        raise TransientError(merge_session.GONE, fix=LOAD_AGAIN)
    if files:
        direct_files.without_statistics(work)
    ddl.create_schema(session, merge_session.STAGING)
    for name, query in queries.items():
        session.ddl(f"CREATE VIEW {session.quoted(merge_session.STAGING, name)} AS {query}")
    tables = {n: shape.staging(plan.feed, columns, n, merge_session.STAGING) for n, columns in wanted.items()}
    return tables, list(files.values())


def _notes(work: Work, feed: Feed, names: Iterable[str]) -> dict[str, Path]:
    if not isinstance(work.storage, LocalStorage):
        return {}
    paths = {name: f"{_folder(feed)}/{name}{_NOTE}" for name in names}
    found = work.storage.local(paths.values(), work.scratch)
    return {name: found[path] for name, path in paths.items() if path in found}


def droppable(work: Work, run: str) -> dict[str, str]:
    """What *run* has staged, and what runs have left that died: names of staging tables by path."""
    found = {}
    for entry in work.storage.entries(f"{STAGING}/"):
        name = entry.path.rpartition("/")[2]
        owner = run_of_staging(name.partition(".")[0])
        if owner is not None and (owner == run or entry.age >= DEAD):
            found[entry.path] = name.partition(".")[0]
    return found


def is_staging(work: Work, feed: Feed | str) -> bool:
    """Whether rows of a feed were staged within an hour and are there still."""
    return any(entry.age < _LOADING for entry in work.storage.entries(f"{_folder(feed)}/"))


def of_feed(work: Work, feed: Feed) -> list[str]:
    """Paths of what is staged of *feed*, by whatever run."""
    return [entry.path for entry in work.storage.entries(f"{_folder(feed)}/")]


def _folder(feed: Feed | str) -> str:
    system, _, table = (feed if isinstance(feed, str) else feed.name).partition(".")
    return f"{STAGING}/{table_path(system, table)}"


def try_to_write(work: Work) -> None:
    """Write a file, and delete it. The storage's error if one of them is not allowed."""
    folder = work.storage.folder(STAGING, work.scratch)
    file = folder / f"w_{uuid.uuid4().hex}.txt"
    file.write_text("of sluice doctor", encoding="utf-8")
    work.storage.publish(STAGING, folder, [file])
    work.storage.delete([f"{STAGING}/{file.name}"])


# -- files that are being written


@contextmanager
def noted(work: Work, path: str, attempt: str) -> Iterator[None]:
    """Within it new data files of *attempt* are written into the table at *path*.

    Should the process die meanwhile, ``delete_leftovers`` finds the note, and the files by it.
    """
    folder = work.storage.folder(STAGING, work.scratch)
    note = folder / f"w_{attempt}.json"
    note.write_text(json.dumps({"table": path, "attempt": attempt}), encoding="utf-8")
    work.storage.publish(STAGING, folder, [note])
    yield
    work.storage.delete([f"{STAGING}/{note.name}"])


def delete_leftovers(work: Work) -> None:
    """Delete data files that processes have written that died before they committed them, a day ago or more."""
    notes = {
        entry.path: entry.age
        for entry in work.storage.entries(f"{STAGING}/w_")
        if entry.age >= DEAD and entry.path.endswith(".json")
    }
    for path, file in work.storage.local(notes, work.scratch).items():
        note = json.loads(file.read_text(encoding="utf-8"))
        _delete_uncommitted(work, note["table"], note["attempt"], notes[path] + DEAD)
        work.storage.delete([path])


def _delete_uncommitted(work: Work, table: str, attempt: str, since: float) -> None:
    """Delete the files of *attempt* that no commit of the last *since* seconds names, which is when it began."""
    written = [entry.path for entry in work.storage.entries(f"{table}/") if attempt in entry.path]
    if written:
        kept = cleanup.needed(work, table, work.table(table).snapshot(), since)
        work.storage.delete([] if kept is None else [one for one in written if one not in kept])

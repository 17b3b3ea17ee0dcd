"""The ledger in one SQLite file: for a laptop, for tests, for a single machine."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared.errors import ConfigError, TransientError, held, no_folder, overtaken, written_by_newer
from shared.ledger.records import Kept, after, is_recorded, known_done_by
from shared.model import Record, Watermark

_SCHEMA = (
    "CREATE TABLE watermark (feed TEXT PRIMARY KEY, value TEXT, type TEXT, etag INTEGER NOT NULL)",
    "CREATE TABLE work (feed TEXT, work TEXT, name TEXT NOT NULL, run TEXT NOT NULL, status TEXT NOT NULL,"
    " times INTEGER NOT NULL, exported_at TEXT, PRIMARY KEY (feed, work)) WITHOUT ROWID",
)
"""The first layout; what came since is in ``_MIGRATIONS``."""
_WORK = "work, name, run, status, times, exported_at"
_FORGOTTEN = "CASE status WHEN 'done' THEN 'forgotten' ELSE status END"
"""A work that failed is to be taken again anyway, and has no success that a late call could report."""


def open_ledger(location: str, lock_timeout: float) -> SqliteLedger:
    """*location* is what follows ``sqlite://``: a slash and a path, as in SQLAlchemy's URLs."""
    path = Path(location.removeprefix("/"))
    if not path.name:
        raise ConfigError("LEDGER_URL names no file", fix="Write sqlite:///path/to/ledger.db")
    return SqliteLedger(path, lock_timeout)


class SqliteLedger:
    """Opened for each call and closed after it, so that nothing is held between verbs."""

    def __init__(self, path: Path, lock_timeout: float) -> None:
        self._path = path
        self._timeout = lock_timeout

    def watermark(self, feed: str) -> Watermark:
        if self._is_missing():
            return Watermark()
        with self._open() as db:
            return _watermark(db, feed)

    def known(self, feed: str, work_ids: Sequence[str]) -> Mapping[str, Record]:
        if self._is_missing():
            return {}
        with self._open() as db:
            return {work: found.record for work in work_ids if (found := _kept(db, feed, work))}

    def commit(self, feed: str, records: Sequence[Record], mark: Watermark | None = None) -> None:
        with self._open() as db:
            if mark is not None and not all(is_recorded(_kept(db, feed, record.work), record) for record in records):
                _move(db, feed, mark)
            for record in records:
                _put(db, feed, record)

    def forget(self, feed: str, since: str) -> list[Record]:
        with self._open() as db:
            found = db.execute(
                f"UPDATE work SET status = {_FORGOTTEN}"  # noqa: S608 - our own column names
                f" WHERE feed = ? AND (exported_at IS NULL OR exported_at >= ?) RETURNING {_WORK}",
                (feed, since),
            ).fetchall()
        return [_as_record(row) for row in found]

    def rewind(self, feed: str, mark: Watermark) -> None:
        with self._open() as db:
            seen = _watermark(db, feed)
            _move(db, feed, replace(mark, etag=seen.etag))

    def _is_missing(self) -> bool:
        """Whether there is no ledger yet, but could be: reading makes no file."""
        if self._path.exists():
            return False
        folder = next(parent for parent in self._path.absolute().parents if parent.exists())
        return folder.is_dir() and os.access(folder, os.W_OK)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """One transaction that takes the write lock at once, so that what it reads stays true until it ends."""
        try:
            _make_folder(self._path)
            with contextlib.closing(sqlite3.connect(self._path, timeout=self._timeout, isolation_level=None)) as db:
                db.execute("BEGIN IMMEDIATE")
                with db:  # commits, or rolls back on an exception
                    _prepare(db, self._path)
                    yield db
        except sqlite3.OperationalError as error:
            raise _translated(error, self._path) from error
        except sqlite3.DatabaseError as error:
            raise ConfigError(f"{self._path} is not a ledger: {error}", fix=_ANOTHER) from error


_ANOTHER = "Name another file in LEDGER_URL"


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise no_folder(f"the ledger {path}", "LEDGER_URL", error) from error


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > LAYOUT:
        raise written_by_newer(f"the ledger {path}", version, LAYOUT)
    for layout in range(version + 1, LAYOUT + 1):
        _MIGRATIONS[layout](db)
    if version < LAYOUT:
        db.execute(f"PRAGMA user_version = {LAYOUT}")


def _create(db: sqlite3.Connection) -> None:
    for statement in _SCHEMA:
        db.execute(statement)


def _keep_runs(db: sqlite3.Connection) -> None:
    """``done_by``: the last runs that recorded a work done, as a JSON list."""
    db.execute("ALTER TABLE work ADD COLUMN done_by TEXT NOT NULL DEFAULT '[]'")
    rows = db.execute(f"SELECT feed, {_WORK} FROM work").fetchall()  # noqa: S608 - our own column names
    runs = ((json.dumps(known_done_by(_as_record(row))), feed, row[0]) for feed, *row in rows)
    db.executemany("UPDATE work SET done_by = ? WHERE feed = ? AND work = ?", runs)


def _keep_fingerprints(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE watermark ADD COLUMN fingerprint TEXT")


def _keep_notes(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE watermark ADD COLUMN note TEXT")


_MIGRATIONS = {1: _create, 2: _keep_runs, 3: _keep_fingerprints, 4: _keep_notes}
"""What brings a file to a layout from the one before."""
LAYOUT = max(_MIGRATIONS)


def _translated(error: sqlite3.OperationalError, path: Path) -> ConfigError | TransientError:
    if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return held(f"another process has the ledger open: {path}")
    if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return TransientError(
            f"the ledger {path} cannot be written: {error}", fix="Free some disk space there, and load again"
        )
    return ConfigError(f"the ledger {path} cannot be opened: {error}", fix=_ANOTHER)


def _watermark(db: sqlite3.Connection, feed: str) -> Watermark:
    row = db.execute("SELECT value, type, etag, fingerprint, note FROM watermark WHERE feed = ?", (feed,)).fetchone()
    return Watermark(row[0], row[1], str(row[2]), *row[3:]) if row else Watermark()


def _move(db: sqlite3.Connection, feed: str, mark: Watermark) -> None:
    seen = _watermark(db, feed)
    if seen.etag != mark.etag:
        raise overtaken(feed)
    db.execute(
        "INSERT INTO watermark (feed, value, type, etag, fingerprint, note) VALUES (?, ?, ?, 1, ?, ?)"
        " ON CONFLICT (feed) DO UPDATE SET value = excluded.value, type = excluded.type, etag = etag + 1,"
        " fingerprint = excluded.fingerprint, note = excluded.note",
        (feed, mark.value, mark.type, mark.fingerprint, mark.note),
    )


def _kept(db: sqlite3.Connection, feed: str, work: str) -> Kept | None:
    query = f"SELECT {_WORK}, done_by FROM work WHERE feed = ? AND work = ?"  # noqa: S608 - our own column names
    row = db.execute(query, (feed, work)).fetchone()
    return Kept(_as_record(row[:-1]), tuple(json.loads(row[-1]))) if row else None


def _put(db: sqlite3.Connection, feed: str, record: Record) -> None:
    new, done_by = after(_kept(db, feed, record.work), record)
    db.execute(
        f"INSERT OR REPLACE INTO work (feed, {_WORK}, done_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        (feed, new.work, new.name, new.run, new.status, new.times, new.exported_at, json.dumps(done_by)),
    )


def _as_record(row: Sequence[Any]) -> Record:
    work, name, run, status, times, exported_at = row
    return Record(work=work, name=name, run=run, status=status, times=times, exported_at=exported_at)

"""Who is staging what: a lock on each staging table, held by a process from staging until it is tidied up.

Two processes may do the same run, for its id is the same. The second waits until the first has tidied up, and then
finds the run done. What a dead process has staged is held by nobody, and may be cleaned up by anybody.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re

from collections.abc import Iterable, Mapping
from pathlib import Path

import filelock

from shared.errors import held
from shared.text import SHOW_WAITING

_log = logging.getLogger("sluice")


class StagingLocks:
    """The staging tables this process works on; *folder* is where all processes leave their locks.

    The folder stays when it is empty: another process may be about to make a lock in it.
    """

    def __init__(self, folder: Path, timeout: float) -> None:
        self._folder, self._timeout = folder, timeout
        self._held: dict[str, filelock.BaseFileLock] = {}
        self._loading: dict[str, filelock.BaseFileLock] = {}
        """By slot: a second lock, whose file has the feed in its name."""

    def take(self, table: str, feed: str) -> None:
        """Hold *table* of *feed*, and the table of keys that belongs to it, until they are dropped.

        Waits if another process holds it.
        """
        slot = _slot(table)
        if slot in self._held:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = self._lock(slot)
        try:
            if not self._acquired_at_once(lock):
                _log.info("waiting for another process, which loads the same work item", extra=SHOW_WAITING)
                lock.acquire(timeout=self._timeout)
        except filelock.Timeout as error:
            raise held(f"another process has been loading the same work item for {self._timeout:g} s") from error
        self._held[slot] = lock
        self._loading[slot] = self._lock(f"{_loading(feed)}{slot}")
        with contextlib.suppress(filelock.Timeout):  # others hold it only as long as it takes to look
            self._loading[slot].acquire(timeout=1)

    def is_loading(self, feed: str) -> bool:
        """Whether any process holds a table of *feed*."""
        locks = [self._lock(path.stem) for path in self._folder.glob(f"{_loading(feed)}*.lock")]
        return any(lock.is_locked or not _is_free(lock) for lock in locks)

    @staticmethod
    def _acquired_at_once(lock: filelock.BaseFileLock) -> bool:
        with contextlib.suppress(filelock.Timeout):
            lock.acquire(timeout=0)
        return lock.is_locked

    def droppable(self, tables: Mapping[str, bool]) -> list[str]:
        """Those of *tables* that can go: the caller's own (True), and those nobody works on. Holds them then."""
        self._folder.mkdir(parents=True, exist_ok=True)
        slots = {_slot(table): own for table, own in tables.items()}
        free = {slot for slot, own in slots.items() if self._is_free(slot, own)}
        return [table for table in tables if _slot(table) in free]

    def _is_free(self, slot: str, own: bool) -> bool:
        lock = self._lock(slot)
        if lock.is_locked:
            return own
        try:
            lock.acquire(timeout=0)
        except (filelock.Timeout, OSError):
            return False
        self._held[slot] = lock
        return True

    def let_go(self, tables: Iterable[str]) -> None:
        """Release *tables*, which have been dropped. Who waits for one sees that its lock's file is gone."""
        for slot in {_slot(table) for table in tables}:
            lock = self._held.pop(slot, None) or self._lock(slot)
            for path in (Path(lock.lock_file), *self._folder.glob(f"loading_*_{slot}.lock")):
                path.unlink(missing_ok=True)
            lock.release(force=True)
            if slot in self._loading:
                self._loading.pop(slot).release(force=True)

    def _lock(self, slot: str) -> filelock.BaseFileLock:
        # One lock for all warehouses of a process, as the threads of one process may stage slices of one run.
        return filelock.FileLock(self._folder / f"{slot}.lock", thread_local=False, is_singleton=True)


def _is_free(lock: filelock.BaseFileLock) -> bool:
    """Whether nobody holds *lock*, whose file a dead process has left then."""
    try:
        with lock.acquire(timeout=0):
            Path(lock.lock_file).unlink(missing_ok=True)
    except filelock.Timeout:
        return False
    return True


def _loading(feed: str) -> str:
    """The beginning of the names of locks of *feed*."""
    return f"loading_{hashlib.sha256(feed.encode()).hexdigest()[:16]}_"


def _slot(table: str) -> str:
    return re.sub(r"_keys$", "", table)

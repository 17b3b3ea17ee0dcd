"""Who is staging what: a lock on each staging table, held by a process from staging until it is tidied up.

Two processes may do the same run, for its id is the same. The second waits until the first has tidied up, and then
finds the run done. What a dead process has staged is held by nobody, and may be cleaned up by anybody.
"""

from __future__ import annotations

import contextlib
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

    def take(self, table: str) -> None:
        """Hold *table*, and the table of keys that belongs to it, until they are dropped. Waits if another holds it."""
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
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release(force=True)

    def _lock(self, slot: str) -> filelock.BaseFileLock:
        # One lock for all warehouses of a process, as the threads of one process may stage slices of one run.
        return filelock.FileLock(self._folder / f"{slot}.lock", thread_local=False, is_singleton=True)


def _slot(table: str) -> str:
    return re.sub(r"_keys$", "", table)

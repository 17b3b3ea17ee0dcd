"""One owner for each run: whoever holds its lock may make, replace and drop its staging tables.

A run has the same id in every process that loads the same work, and so the same staging tables. See
docs/decisions/0020.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import NamedTuple


class Lock(NamedTuple):
    """A lock on the database."""

    name: str
    shared: bool
    """Whether others may hold it at the same time, if theirs is shared, too."""


class RunOwners:
    """The runs this process works on."""

    def __init__(self, hold: Callable[[Sequence[Lock]], AbstractContextManager[bool]]) -> None:
        """*hold* takes locks until its end, and says whether it had to wait for one."""
        self._hold = hold
        self._owned: dict[str, _Owned] = {}

    @contextmanager
    def owned(self, run: str, feed: str, on_wait: Callable[[], None]) -> Iterator[None]:
        """Within it, *run* of *feed* belongs to this process from the first staging table on.

        Only one thread may do that. *on_wait* is called once the lock has been granted after another process had it.
        """
        with ExitStack() as locks:
            self._owned[run] = _Owned(locks, feed, on_wait)
            try:
                yield
            finally:
                del self._owned[run]

    @contextmanager
    def working(self, run: str, feed: str, table: str | None = None) -> Iterator[None]:
        """Within it nobody else touches *table*, or where that is None any staging table of *run*.

        The lock of *feed* is shared by all who load it: whoever wants to know whether any does tries to get it alone.

        Slices of one run may be staged by several processes at once. TransientError if another process has held the
        lock for too long.
        """
        owned = self._owned.get(run)
        if owned is not None:
            if not owned.is_taken:
                owned.is_taken = True
                if owned.locks.enter_context(self._hold([_lock(run), loading(owned.feed)])):
                    owned.on_wait()
            yield
            return
        locks = [_lock(run)] if table is None else [_lock(run)._replace(shared=True), Lock(f"staging {table}", False)]
        with self._hold([*locks, loading(feed)]):
            yield


class _Owned:
    def __init__(self, locks: ExitStack, feed: str, on_wait: Callable[[], None]) -> None:
        self.locks, self.feed, self.on_wait, self.is_taken = locks, feed, on_wait, False


def loading(feed: str) -> Lock:
    """Held by all who load *feed*."""
    return Lock(f"loading {feed}", shared=True)


def _lock(run: str) -> Lock:
    return Lock(f"run {run}", shared=False)

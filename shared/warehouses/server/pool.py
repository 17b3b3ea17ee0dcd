"""Open connections of one process to one database server: at most so many, and kept open for the next caller."""

from __future__ import annotations

import weakref

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from sqlalchemy import event, exc
from sqlalchemy.pool import QueuePool

from shared.errors import TransientError

C = TypeVar("C")


class ConnectionPool(Generic[C]):
    """SQLAlchemy's pool over any driver, without its dialects. Threads may share it.

    A pool that nobody holds any more closes its connections.
    """

    def __init__(self, connect: Callable[[], C], *, size: int, wait_seconds: float) -> None:
        """*connect* opens a connection with ``close()``. At most *size* are open; a caller waits *wait_seconds*."""
        self._connect, self._size, self._wait_seconds = connect, size, wait_seconds
        self._pool = self._new_pool()
        self._at_end = weakref.finalize(self, self._pool.dispose)

    @contextmanager
    def connection(self, keep_after: Callable[[C, BaseException], bool]) -> Iterator[C]:
        """A connection that nobody else uses. It is closed after an error, unless *keep_after* says it may be kept.

        TransientError if none became free in time; the driver's own error if none could be opened.
        """
        try:
            lent: Any = self._pool.connect()
        except exc.TimeoutError as error:
            raise TransientError(
                f"no connection became free within {self._wait_seconds:g} s",
                fix="Raise WAREHOUSE_CONNECTIONS, or load again when others are done",
            ) from error
        connection: C = lent.dbapi_connection
        try:
            yield connection
        except BaseException as error:
            if not keep_after(connection, error):
                lent.invalidate()
            raise
        finally:
            lent.close()

    def open_extra(self) -> C:
        """A connection beside the pool, for the caller to close: for what lasts while others work, such as a lock."""
        return self._connect()

    def close_idle(self) -> None:
        """Close every connection that is not in use now, and those in use when they come back."""
        replaced, self._pool = self._pool, self._new_pool()
        self._at_end.detach()
        self._at_end = weakref.finalize(self, self._pool.dispose)
        replaced.dispose()

    def _new_pool(self) -> QueuePool:
        # Transactions are ended by who began them, so nothing is reset; the last used is taken first.
        pool = QueuePool(
            self._connect,  # type: ignore[arg-type]  # any driver's, which the stubs do not foresee
            pool_size=self._size, max_overflow=0, timeout=self._wait_seconds, reset_on_return=None, use_lifo=True,
        )  # fmt: skip

        owner = weakref.ref(self)  # a pool that holds its owner would keep it from being forgotten

        def close_if_replaced(_connection: Any, record: Any) -> None:
            known = owner()
            if known is None or pool is not known._pool:
                record.invalidate()

        event.listen(pool, "checkin", close_if_replaced)
        return pool

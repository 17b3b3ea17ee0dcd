"""Units of work: a transaction on a pooled connection, repeated on another one if what went wrong may pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import sqlalchemy as sa

from shared.remote import RetryPolicy
from shared.warehouses.server.pool import ConnectionPool

S = TypeVar("S")
_S_co = TypeVar("_S_co", covariant=True)
T = TypeVar("T")


class Rollback(Exception):  # noqa: N818 - not an error: how a unit says that nothing of it is to stay
    """Raised in a unit to end its transaction without keeping anything. Its first argument is the unit's result."""


class Transactions(Protocol[_S_co]):
    """What each server does its own way."""

    def session(self, connection: Any) -> _S_co:
        """*connection* as a session for the shared SQL, without a transaction yet."""
        ...

    def begin(self, session: Any) -> None: ...

    def commit(self, session: Any) -> None: ...

    def rollback(self, session: Any) -> None: ...

    def run_single(self, session: Any, text: str) -> None:
        """Run one statement in a transaction of its own, with the limits of any other, as one request."""
        ...

    def may_pass(self, error: BaseException) -> bool:
        """Whether the same unit may succeed on a new connection."""
        ...

    def spares_connection(self, error: BaseException) -> bool:
        """Whether a connection can be used again after *error*, once it has been rolled back."""
        ...

    def translated(self) -> AbstractContextManager[None]:
        """Raises the driver's errors in our words."""
        ...


@dataclass(frozen=True)
class UnitsOfWork(Generic[S]):
    """Does units of work on the connections of a pool."""

    pool: ConnectionPool[Any]
    transactions: Transactions[S]
    retry: RetryPolicy

    def run(self, work: Callable[[S], T], *, on: Callable[[Exception], bool] | None = None) -> T:
        """Do *work* in one transaction, and again on a new connection if what went wrong may pass, or if *on* says so.

        A Rollback rolls back and gives the result.
        """

        def once() -> T:
            try:
                with self.transaction() as session:
                    return work(session)
            except Rollback as kept:
                result: T = kept.args[0]
                return result

        return self._repeated(once, on)

    def run_alone(self, work: Callable[[S], T]) -> T:
        """Do *work*, which may be repeated, without a transaction: it makes its own, or some that refuse one."""

        def once() -> T:
            with self.connection() as session:
                return work(session)

        return self._repeated(once, None)

    def run_single(self, statement: sa.Delete | str) -> None:
        """Run a statement, which may be repeated, in a transaction of its own: one request, where ``run`` takes three.

        Its values, of which hostile ones are none, are part of its text.
        """

        def once(session: S) -> None:
            self.transactions.run_single(
                session, statement if isinstance(statement, str) else _text(session, statement)
            )

        self.run_alone(once)

    def stream(self, work: Callable[[S], Iterator[T]]) -> Iterator[T]:
        """What *work* yields, read in one transaction that writes nothing; tried once."""
        with self.transactions.translated(), self.transaction() as session:
            yield from work(session)

    @contextmanager
    def transaction(self) -> Iterator[S]:
        """A transaction that nobody repeats: committed at the end, or rolled back."""
        with self.connection() as session:
            self.transactions.begin(session)
            yield session
            self.transactions.commit(session)

    @contextmanager
    def lasting(self, work: Callable[[S], T]) -> Iterator[T]:
        """Do *work*, which writes nothing, in a transaction that stays open while others work.

        It has a connection of its own. If that is lost meanwhile, what it held is released, and nobody notices.
        """

        def opened() -> tuple[Any, T]:
            connection = self.pool.open_extra()
            try:
                session = self.transactions.session(connection)
                self.transactions.begin(session)
                return connection, work(session)
            except BaseException:
                connection.close()
                raise

        connection, result = self._repeated(opened, None)
        try:
            yield result
        finally:
            with suppress(Exception):
                self.transactions.rollback(self.transactions.session(connection))
            with suppress(Exception):
                connection.close()

    @contextmanager
    def connection(self) -> Iterator[S]:
        """A session on a connection of its own, without a transaction. The driver's errors come out as they are."""
        try:
            with self.pool.connection(self._keep_after) as connection:
                yield self.transactions.session(connection)
        except Exception as error:
            if self.transactions.may_pass(error):
                self.close_idle()  # what ended this connection has mostly ended the others too
            raise

    def close_idle(self) -> None:
        """Close every connection that is not in use."""
        self.pool.close_idle()

    def _keep_after(self, connection: Any, error: BaseException) -> bool:
        if not isinstance(error, Rollback) and not self.transactions.spares_connection(error):
            return False
        with suppress(Exception):
            self.transactions.rollback(self.transactions.session(connection))
            return True
        return False

    def _repeated(self, once: Callable[[], T], on: Callable[[Exception], bool] | None) -> T:
        with self.transactions.translated():
            return self.retry.call(once, on=on or self.transactions.may_pass)


def _text(session: Any, statement: sa.Delete) -> str:
    return str(statement.compile(dialect=session.dialect, compile_kwargs={"literal_binds": True}))

"""Cursors of the stand-in: send a text, read its results one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tests.standins.tsql import errors

if TYPE_CHECKING:
    from tests.standins.tsql.session import Connection, Result


class Cursor:
    """Executes on its connection; results are read whole."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.fast_executemany = False
        self.arraysize = 1
        self._sizes: Sequence[Any] | None = None
        self._results: list[Result] = []
        self._closed = False

    # -- sending

    def execute(self, sql: str, *parameters: Any) -> Cursor:
        self._check()
        given = parameters[0] if len(parameters) == 1 and isinstance(parameters[0], (list, tuple)) else parameters
        self._results = []
        self.connection._messages.clear()
        self._results = [*self.connection.run(sql, list(given))]
        return self

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self._check()
        self._results = []
        given = [list(row) for row in rows]
        if not given:
            raise errors.ProgrammingError("The second parameter to executemany must not be empty.")
        if self.fast_executemany and self.connection.run_many(sql, given, self._sizes):
            return
        for row in given:
            results = self.connection.run(sql, row)
            failed = next((result.error for result in results if result.error), None)
            if failed is not None:
                raise failed

    def setinputsizes(self, sizes: Sequence[Any] | None) -> None:
        self._sizes = sizes

    def commit(self) -> None:
        self.connection.commit()

    def rollback(self) -> None:
        self.connection.rollback()

    def close(self) -> None:
        self._check()
        self._closed = True
        self._results = []

    # -- reading

    @property
    def description(self) -> list[tuple[Any, ...]] | None:
        return self._results[0].description if self._results else None

    @property
    def rowcount(self) -> int:
        return self._results[0].rowcount if self._results else -1

    @property
    def messages(self) -> list[tuple[str, str]]:
        return list(self.connection._messages)

    def fetchall(self) -> list[tuple[Any, ...]]:
        rows = self._rows()
        found = rows[:]
        rows.clear()
        return found

    def fetchone(self) -> tuple[Any, ...] | None:
        rows = self._rows()
        return rows.pop(0) if rows else None

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        rows = self._rows()
        found = rows[: size or self.arraysize]
        del rows[: len(found)]
        return found

    def fetchval(self) -> Any:
        row = self.fetchone()
        return None if row is None else row[0]

    def nextset(self) -> bool:
        self._check()
        self._results = self._results[1:]
        if self._results and self._results[0].error:
            error, self._results = self._results[0].error, []
            assert error is not None
            raise error
        return bool(self._results)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        while (row := self.fetchone()) is not None:
            yield row

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and not self.connection.autocommit:
            self.connection.commit()

    def _rows(self) -> list[tuple[Any, ...]]:
        self._check()
        if not self._results or self._results[0].rows is None:
            raise errors.ProgrammingError("No results.  Previous SQL was not a query.")
        return self._results[0].rows

    def _check(self) -> None:
        if self._closed:
            raise errors.ProgrammingError("Attempt to use a closed cursor.")
        self.connection._check()

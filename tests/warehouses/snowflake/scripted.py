"""A connection that answers by a script and keeps its requests: for statements, not for what they do."""

from __future__ import annotations

import re

from collections.abc import Sequence
from typing import Any

import sqlglot

from shared.model import Feed
from shared.warehouses.snowflake.session import Connection

FEED = Feed(system="shop", table="item", source="exports", keys=("Id",))
KINDS = {"Id": "text", "Amount": "integer", "DeletedAt": "timestamp"}


class Refused(Exception):  # noqa: N818 - a name of this test
    """An error of Snowflake's driver, which need not be installed."""

    def __init__(self, errno: int | None = None, sqlstate: str = "", msg: str = "no") -> None:
        super().__init__(msg)
        self.errno, self.sqlstate, self.msg = errno, sqlstate, msg


Refused.__module__ = "snowflake.connector.errors"
Away = type("OperationalError", (Refused,), {"__module__": "snowflake.connector.errors"})


class Account:
    """What the driver's connections of a test have in common."""

    def __init__(self, *answers: tuple[str, Any]) -> None:
        """*answers* are rows, or an error, by a pattern of how a statement begins: the first that fits is given."""
        self.answers = [*answers, (r"BEGIN|COMMIT|ROLLBACK|CREATE|DROP|PUT|USE|ALTER", [("done",)]), ("", [(1,)])]
        self.statements: list[str] = []
        self.values: list[Sequence[Any]] = []
        self.closed = 0
        self.files: list[bytes] = []

    def connection(self) -> Connection:
        return Connection(self, "PUBLIC")

    def cursor(self) -> Cursor:
        return Cursor(self)

    def close(self) -> None:
        self.closed += 1


class Cursor:
    """Of one statement."""

    def __init__(self, account: Account) -> None:
        self._account, self._rows = account, []
        self.description: list[tuple[str]] = []

    def execute(self, text: str, values: Sequence[Any] | None = None) -> Cursor:
        self._account.statements.append(text)
        self._account.values.append(tuple(values or ()))
        put = re.match(r"PUT 'file://(.*?)'", text)
        if put:
            with open(put[1], "rb") as file:  # noqa: PTH123
                self._account.files.append(file.read())
        answer = next(rows for start, rows in self._account.answers if re.match(start, text))
        if isinstance(answer, BaseException):
            raise answer
        found = answer(values) if callable(answer) else answer
        if found and isinstance(found[0], dict):
            self.description = [(name,) for name in found[0]]
            found = [tuple(row.values()) for row in found]
        self._rows = list(found)
        return self

    def fetchall(self) -> list[Any]:
        return self._rows

    def fetchmany(self, _size: int) -> list[Any]:
        found, self._rows = self._rows, []
        return found


def parsed(account: Account) -> list[type]:
    """What sqlglot takes each statement for: what its grammar does not know is a mere command."""
    return [type(sqlglot.parse_one(text, dialect="snowflake")) for text in account.statements]

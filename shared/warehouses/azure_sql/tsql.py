"""T-SQL that no library builds, as text: every name and every string in it goes through one of two functions."""

from __future__ import annotations

import re

from collections.abc import Sequence

from shared.errors import ConfigError

_LONGEST_NAME = 128


def name(*parts: str) -> str:
    """A name of one or more parts, in brackets. ConfigError for what SQL Server cannot take as a name.

    >>> name("odd]name", "t")
    '[odd]]name].[t]'
    """
    for part in parts:
        units = len(part.encode("utf-16-le", "surrogatepass")) // 2
        if not part or units > _LONGEST_NAME or "\0" in part:
            raise ConfigError(
                f"{part[:80]!r} cannot be a name in SQL Server ({units} characters)",
                fix=f"Use 1 to {_LONGEST_NAME} characters",
            )
    return ".".join("[" + part.replace("]", "]]") + "]" for part in parts)


def text(value: str) -> str:
    """A string as a literal.

    >>> text("it's")
    "N'it''s'"
    """
    if "\0" in value:
        raise ConfigError("a text for SQL Server has a NUL character", fix="Leave it out")
    return "N'" + value.replace("'", "''") + "'"


def begin(lock_timeout: float) -> str:
    """Begin a transaction that any error ends."""
    return f"SET XACT_ABORT ON; {wait_at_most(lock_timeout)}; BEGIN TRANSACTION"


def wait_at_most(seconds: float) -> str:
    """How long every later statement waits for a row that somebody else has locked."""
    return f"SET LOCK_TIMEOUT {int(seconds * 1000)}"


COMMIT = "COMMIT TRANSACTION"
ROLLBACK = "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION"


def applock(resource: str, timeout: float, *, shared: bool = False) -> str:
    """Take a lock that ends with the transaction, and select what came of it: 0 and 1 are success."""
    mode = text("Shared" if shared else "Exclusive")
    return (
        f"DECLARE @taken int; EXEC @taken = sp_getapplock @Resource = {text(resource[:255])}, @LockMode = {mode},"
        f" @LockOwner = N'Transaction', @LockTimeout = {int(timeout * 1000)}; SELECT @taken"
    )


def keep(table: str) -> str:
    """Keep others from changing or dropping *table*, which is quoted already, until the transaction ends.

    HOLDLOCK does so whatever the isolation level is, which may read without locks.
    """
    return f"SELECT TOP (1) 1 AS kept FROM {table} WITH (TABLOCK, HOLDLOCK)"  # noqa: S608 - quoted


def bulk_insert(table: str, blob: str, data_source: str) -> str:
    """Load a CSV part, whole or not at all. *table* is quoted already.

    MAXERRORS has to be 0: by default ten bad rows are dropped and the statement reports success. A bare LF cannot be
    written as \\n, which means CR LF here. CODEPAGE is a number, which older servers want and newer ones take.
    """
    options = (
        f"DATA_SOURCE = {text(data_source)}", "FORMAT = 'CSV'", "CODEPAGE = 65001", "FIELDTERMINATOR = ','",
        "FIELDQUOTE = '\"'", "ROWTERMINATOR = '0x0a'", "KEEPNULLS", "TABLOCK", "MAXERRORS = 0",
    )  # fmt: skip
    return f"BULK INSERT {table} FROM {text(blob)} WITH ({', '.join(options)})"


def insert(table: str, columns: Sequence[str]) -> str:
    """One row of parameters into *table*, which is quoted already. The only form fast_executemany describes well."""
    names = ", ".join(name(column) for column in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' for _ in columns)})"  # noqa: S608 - quoted


_MARK = re.compile(r"\[(?:[^\]]|\]\])*\]|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(\?)")


def with_nulls(statement: str, parameters: Sequence[object]) -> str:
    """*statement* with NULL for the marks of those *parameters* that are None.

    For each None the driver asks the server what type the mark has; that fails where temporary tables are concerned,
    and an error, here, ends the transaction.

    >>> with_nulls("SELECT ?, [a?] FROM t WHERE b = ?", [None, 1])
    'SELECT NULL, [a?] FROM t WHERE b = ?'
    """
    if all(parameter is not None for parameter in parameters):
        return statement
    values = iter(parameters)

    def filled(found: re.Match[str]) -> str:
        return found[0] if found[1] is None or next(values) is not None else "NULL"

    return _MARK.sub(filled, statement)


def run_unless_there(condition: str, statement: str) -> str:
    """A statement that has to be alone in its batch, or that would fail where *condition* does not hold."""
    return f"IF {condition} EXEC({text(statement)})"

"""Errors as pyodbc raises them over ODBC Driver 18, and what DuckDB's failures are called on SQL Server."""

from __future__ import annotations

import re

import duckdb


class Error(Exception):
    """``args`` are the SQLSTATE and the text, which has the native number in parentheses."""


class Warning(Exception):  # noqa: N818 - the name of the database API
    pass


class InterfaceError(Error):
    pass


class DatabaseError(Error):
    pass


class DataError(DatabaseError):
    pass


class OperationalError(DatabaseError):
    pass


class IntegrityError(DatabaseError):
    pass


class InternalError(DatabaseError):
    pass


class ProgrammingError(DatabaseError):
    pass


class NotSupportedError(DatabaseError):
    pass


# As in pyodbc's errors.cpp: the first prefix that fits; without one it is Error itself (so for 40001, a deadlock).
_CLASSES: tuple[tuple[str, type[Error]], ...] = (
    ("01002", OperationalError), ("08001", OperationalError), ("08003", OperationalError), ("08004", OperationalError),
    ("08007", OperationalError), ("08S01", OperationalError), ("0A000", NotSupportedError), ("28000", InterfaceError),
    ("40002", IntegrityError), ("22", DataError), ("23", IntegrityError), ("24", ProgrammingError),
    ("25", ProgrammingError), ("42", ProgrammingError), ("HY001", OperationalError), ("HY014", OperationalError),
    ("HYT00", OperationalError), ("HYT01", OperationalError), ("IM001", InterfaceError), ("IM002", InterfaceError),
    ("IM003", InterfaceError),
)  # fmt: skip

# What a number says where nothing more is known, and its SQLSTATE where that is not 42000.
_TEXTS = {
    1205: "Transaction (Process ID 51) was deadlocked on lock resources with another process and has been chosen as "
    "the deadlock victim. Rerun the transaction.",
    1222: "Lock request time out period exceeded.",
    4060: 'Cannot open database "sluice" requested by the login. The login failed.',
    4221: "Login to read-secondary failed due to long wait on 'HADR_DATABASE_WAIT_FOR_TRANSITION_TO_VERSIONING'.",
    10054: "TCP Provider: Error code 0x2746",
    10928: "Resource ID : 1. The request limit for the database is 120 and has been reached.",
    10929: "Resource ID: 1. The server is currently too busy to support requests greater than 0 for this database.",
    18456: "Login failed for user '<token-identified principal>'.",
    40197: "The service has encountered an error processing your request. Please try again. Error code 4815.",
    40501: "The service is currently busy. Retry the request after 10 seconds.",
    40544: "The database 'sluice' has reached its size quota. Partition or delete data, drop indexes, or consult the "
    "documentation for possible resolutions.",
    40613: "Database 'sluice' on server 'test' is not currently available. Please retry the connection later.",
    40615: "Cannot open server 'test' requested by the login. Client with IP address '192.0.2.1' is not allowed to "
    "access the server.",
}
_STATES = {
    207: "42S22", 208: "42S02", 241: "22007", 242: "22007", 220: "22003", 245: "22018", 512: "21000", 515: "23000",
    547: "23000", 1205: "40001", 2601: "23000", 2627: "23000", 2628: "22001", 2714: "42S01", 3701: "42S02",
    3902: "25000", 3903: "25000", 8115: "22003", 8134: "22012", 8152: "22001", 10054: "08S01", 18456: "28000",
    40613: "HY000",
}  # fmt: skip


def raised(number: int, text: str | None = None, *, state: str | None = None, call: str = "SQLExecDirectW") -> Error:
    """The error of SQL Server's message *number*."""
    reported = text or _TEXTS.get(number, f"Error {number}.")
    by = "" if number == 10054 else "[SQL Server]"  # the driver's own
    return of_driver(state or _STATES.get(number, "42000"), f"{by}{reported} ({number}) ({call})")


def of_driver(state: str, text: str) -> Error:
    kind = next((kind for prefix, kind in _CLASSES if state.startswith(prefix)), Error)
    return kind(state, f"[{state}] [Microsoft][ODBC Driver 18 for SQL Server]{text}")


def number_of(error: Error) -> int:
    """The native number in an error's text; 0 if it has none.

    >>> number_of(raised(208, "Invalid object name 'x'."))
    208
    """
    found = re.findall(r"\((\d+)\) \(SQL\w+\)$", str(error.args[1]))
    return int(found[-1]) if found else 0


MARK = "tsql-error:"
"""How a macro tells the number and text of an error it raises inside DuckDB: tsql-error:number:text."""

_PATTERNS: tuple[tuple[type[Exception], str, int, str], ...] = (
    (duckdb.CatalogException, r'(?:Table|View) with name "?(.+?)"? does not exist', 208, "Invalid object name '{0}'."),
    (duckdb.CatalogException, r"Schema with name (.+?) does not exist", 208, "Invalid object name '{0}'."),
    (duckdb.CatalogException, r'(?:Table|View) with name "(.+?)" already exists', 2714,
     "There is already an object named '{0}' in the database."),
    (duckdb.CatalogException, r'Schema with name "(.+?)" already exists', 2714,
     "There is already an object named '{0}' in the database."),
    (duckdb.BinderException, r"different collation", 468,
     'Cannot resolve the collation conflict between "Latin1_General_100_BIN2" and "SQL_Latin1_General_CP1_CI_AS" '
     "in the equal to operation."),
    (duckdb.BinderException, r'column (?:named )?"(.+?)"', 207, "Invalid column name '{0}'."),
    (duckdb.ConstraintException, r"NOT NULL constraint failed: (.+)\.(.+)", 515,
     "Cannot insert the value NULL into column '{1}', table 'sluice.{0}'; column does not allow nulls. "
     "INSERT fails."),
    (duckdb.ConversionException, r"(?:timestamp|date|time) field", 241,
     "Conversion failed when converting date and/or time from character string."),
    (duckdb.ConversionException, r"Could not convert string '(.*?)' to (INT\w*|BIGINT|SMALLINT|BOOL\w*)", 245,
     "Conversion failed when converting the nvarchar value '{0}' to data type int."),
    (duckdb.ConversionException, r"Could not convert string", 8114, "Error converting data type nvarchar to numeric."),
    (duckdb.ConversionException, r"out of range|Could not cast value", 8115,
     "Arithmetic overflow error converting expression to data type numeric."),
    (duckdb.OutOfRangeException, r"", 8115, "Arithmetic overflow error converting expression to data type numeric."),
    (duckdb.InvalidInputException, r"More than one row returned by a subquery", 512,
     "Subquery returned more than 1 value. This is not permitted when the subquery follows =, !=, <, <= , >, >= or "
     "when the subquery is used as an expression."),
    (duckdb.TransactionException, r"", 1205, _TEXTS[1205]),
    (duckdb.SerializationException, r"", 1205, _TEXTS[1205]),
)  # fmt: skip


def from_duckdb(error: duckdb.Error) -> Error | None:
    """What SQL Server would have said; None for what it would not have minded, so that the stand-in is at fault."""
    text = str(error)
    if MARK in text:
        number, reported = text.partition(MARK)[2].split(":", 1)
        return raised(int(number), reported.strip())
    for kind, pattern, number, reported in _PATTERNS:
        found = re.search(pattern, text)
        if isinstance(error, kind) and found:
            return raised(number, reported.format(*found.groups()))
    return None

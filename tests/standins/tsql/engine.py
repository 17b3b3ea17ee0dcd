"""A stand-in for SQL Server with the shape of pyodbc: Microsoft's parser in front, DuckDB behind.

``Server`` stands for both the module pyodbc and one database behind it: ``Server().connect(...)`` gives connections
that share it. A text that Microsoft's parser refuses is refused here (where the parser cannot be had, it is not asked).

Imitated because it bites: texts compare without case (by the column's collation) and without trailing blanks; text too
long for nvarchar(n) is refused; columns have T-SQL types in INFORMATION_SCHEMA; ALTER COLUMN forgets NOT NULL and
COLLATE; defaults and indexes keep columns from being altered; indexes refuse long and repeated keys; a transaction is
begun by the first statement that touches a table when autocommit is off, and not by sp_getapplock; XACT_ABORT; results
in a batch stand one behind the other, errors of later ones included; a batch with parameters has to leave as many
transactions open as it found (266); there are at most 2,100 parameters, and 1,000 rows of VALUES.

Known to differ from the real engine:

- Isolation is that of DuckDB: a transaction sees what is committed at each statement until its first write, and what
  was committed then from there on. Nobody waits for rows: the second writer of a row gets error 1205, a deadlock.
- An error while a statement runs always ends the transaction, as under XACT_ABORT ON, which is what one should set.
- Arithmetic, casts between numbers and the text of dates and floats are DuckDB's. datetime2 has 6 digits whatever is
  declared. Sorting by BIN2 goes by code point, not by UTF-16 unit.
- Collations are either case-insensitive (_CI_) or binary; accents always count. tempdb has the database's.
- Rights, statistics, plans, triggers, CHECK and foreign keys, TRY blocks, cursors and MERGE are not there.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import threading

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from tests.standins.tsql import bulk, catalog, errors
from tests.standins.tsql.catalog import DATABASE, SYSTEM, literal
from tests.standins.tsql.locks import Locks
from tests.standins.tsql.session import Connection
from tests.standins.tsql.tracking import Tracking


@dataclass
class Fault:
    match: re.Pattern[str]
    number: int
    times: int
    after: bool
    text: str | None = None
    state: str | None = None


class Server:
    """One database, and the module to reach it by."""

    apilevel, threadsafety, paramstyle, _version = "2.0", 1, "qmark", "5.5.0"
    Error, Warning, InterfaceError, DatabaseError = (
        errors.Error, errors.Warning, errors.InterfaceError, errors.DatabaseError,
    )  # fmt: skip
    DataError, OperationalError, IntegrityError = errors.DataError, errors.OperationalError, errors.IntegrityError
    InternalError, ProgrammingError = errors.InternalError, errors.ProgrammingError
    NotSupportedError = errors.NotSupportedError
    SQL_CHAR, SQL_NUMERIC, SQL_DECIMAL, SQL_INTEGER, SQL_SMALLINT, SQL_FLOAT, SQL_REAL, SQL_DOUBLE = range(1, 9)
    SQL_VARCHAR, SQL_LONGVARCHAR, SQL_BINARY, SQL_VARBINARY, SQL_LONGVARBINARY = 12, -1, -2, -3, -4
    SQL_BIGINT, SQL_TINYINT, SQL_BIT, SQL_WCHAR, SQL_WVARCHAR, SQL_WLONGVARCHAR = -5, -6, -7, -8, -9, -10
    SQL_TYPE_DATE, SQL_TYPE_TIME, SQL_TYPE_TIMESTAMP, SQL_SS_TIME2 = 91, 92, 93, -154

    def __init__(self, path: Path | None = None, *, blobs: bulk.Blobs | None = None) -> None:
        """*blobs* answers (name of the data source, path) with a blob's bytes, or None if there is no such blob."""
        self.pooling = True
        self.statements: list[str] = []
        """Every text that was sent, in order."""
        self.executes = 0
        self.open_connections = 0
        self.blobs = blobs
        self.external_data_sources: list[Mapping[str, Any]] = []
        """Rows of sys.external_data_sources; BULK INSERT takes no other. At least a name each."""
        self.database_scoped_credentials: list[Mapping[str, Any]] = []
        self.symmetric_keys: list[Mapping[str, Any]] = []
        self.log_rate: int | None = 4_718_592
        """primary_max_log_rate, bytes a second; None to refuse the question (VIEW DATABASE STATE is missing)."""
        self.applock_result: int | None = None
        """What sp_getapplock returns, if not what really happens: -2 cancelled, -3 deadlock victim, -999 refused."""
        self.permissions: dict[str, bool] = {}
        """Answers of HAS_PERMS_BY_NAME by permission, upper-case; what is not in it is granted."""
        self.now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC).replace(tzinfo=None)
        self.version = 0
        self._faults: list[Fault] = []
        self._guard = threading.Lock()
        self.locks = Locks()
        self.tracking = Tracking()
        self._database = duckdb.connect(":memory:", config={"threads": 2})
        self._database.execute(f"ATTACH {literal(str(catalog.system_file()))} AS {SYSTEM} (READ_ONLY)")
        self._database.execute(f"ATTACH {literal(str(path or ':memory:'))} AS {DATABASE}")
        self._database.execute(f"CREATE SCHEMA IF NOT EXISTS {DATABASE}.dbo")

    def drivers(self) -> list[str]:
        return ["ODBC Driver 18 for SQL Server"]

    def connect(self, *_: str, autocommit: bool = False, timeout: int = 0, **__: Any) -> Connection:
        self._note("CONNECT")
        with self.faults("CONNECT"):
            connection = self._database.cursor()
            connection.execute(f"SET search_path = '{DATABASE}.dbo,{SYSTEM}.main'")
        with self._guard:
            self.open_connections += 1
        return Connection(self, connection, autocommit)

    def fail_next(
        self, match: str, number: int, *, times: int = 1, after: bool = False, text: str | None = None,
        state: str | None = None,
    ) -> None:  # fmt: skip
        """Fail the next *times* texts that *match* is found in; after they took effect if *after* is set.

        Connecting, Connection.commit and Connection.rollback count as texts CONNECT, COMMIT and ROLLBACK. Number 0
        or SQLSTATE 08S01 is a lost connection; it and its like make the connection useless.
        """
        self._faults.append(Fault(re.compile(match, re.IGNORECASE | re.DOTALL), number, times, after, text, state))

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement, on a connection of its own, outside of what is counted and recorded."""
        before = len(self.statements), self.executes
        connection = self.connect(autocommit=True)
        try:
            cursor = connection.cursor().execute(sql, *parameters)
            return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()
            del self.statements[before[0] :]
            self.executes = before[1]

    @property
    def indexes(self) -> list[tuple[str, str, catalog.Index]]:
        """Schema, table and what was declared, of every index and key there is."""
        found = self._database.execute(
            f"SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = '{DATABASE}'"
        ).fetchall()
        tables = (catalog.look_up(self._database, *place) for place in found)
        return [(table.schema, table.name, index) for table in tables if table for index in table.indexes]

    def newer(self) -> int:
        """Number of another state of the catalog."""
        with self._guard:
            self.version += 1
            return self.version

    def _note(self, text: str) -> None:
        with self._guard:
            if text not in ("CONNECT", "COMMIT", "ROLLBACK"):
                self.statements.append(text)
                self.executes += 1

    @contextlib.contextmanager
    def faults(self, text: str) -> Iterator[None]:
        """Fail as asked for, before or after what is inside."""
        fault = self._take(text)
        if fault is None:
            yield
            return
        if fault.after:
            yield
        number, state = fault.number, fault.state
        if number == 0:
            raise _lost()
        call = {"CONNECT": "SQLDriverConnect", "COMMIT": "SQLEndTran"}.get(text, "SQLExecDirectW")
        raise errors.raised(number, fault.text, state=state, call=call)

    def _take(self, text: str) -> Fault | None:
        with self._guard:
            for fault in self._faults:
                if fault.match.search(text):
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                    return fault
        return None


def _lost() -> errors.Error:
    return errors.of_driver("08S01", "TCP Provider: Error code 0x68 (104) (SQLExecDirectW)")

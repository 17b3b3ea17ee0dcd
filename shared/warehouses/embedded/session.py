"""A DuckDB connection as a session for the shared SQL, and DuckDB's errors in our words."""

from __future__ import annotations

import contextlib

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from sqlalchemy.engine import Dialect

from shared.errors import CORRECT_VALUE, LOAD_AGAIN, ConfigError, DataError, IngestError, TransientError
from shared.native import native_call
from shared.warehouses.merge import ddl, numbered
from shared.warehouses.merge.in_place import ChangesInPlace
from shared.warehouses.merge.session import ChangesBy, Expression, KeyIndex, Row, T, foreign, own_mark
from shared.warehouses.merge.types import column_type

ALIAS = "_sluice"
"""Name the warehouse is attached under. Its file's name could be that of a schema, and every name be ambiguous."""


class DuckDBSession(ChangesInPlace):
    """SQLAlchemy builds the statements in PostgreSQL's dialect; DuckDB's own driver runs their text."""

    changes_by: ChangesBy = "replace"
    dialect: Dialect = numbered.DIALECT
    indexes = False  # each makes every merge dearer, and ALTER fails on an indexed table
    key_index: KeyIndex = "UNIQUE"
    has_unique_keys = False
    keeps_versions = True
    indexes_pin = False
    table_options: Mapping[str, Any] = {}

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    @contextlib.contextmanager
    def transaction(self, *, keep: bool = True) -> Iterator[None]:
        self.connection.execute("BEGIN")
        try:
            yield
        except BaseException:
            with contextlib.suppress(duckdb.Error):  # some errors have ended the transaction already
                self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT" if keep else "ROLLBACK")

    def rows(self, statement: sa.Select[Any]) -> list[Row]:
        return self._execute(statement).fetchall()

    def stream(self, statement: sa.Select[Any]) -> Iterator[Row]:
        found = self._execute(statement)
        while rows := found.fetchmany(1_000):
            yield from rows

    def change(self, statement: sa.Insert | sa.Update | sa.Delete) -> int:
        return int(self._execute(statement).fetchall()[0][0])

    def ddl(self, text: str) -> None:
        self.connection.execute(numbered.text(text))

    def change_type(self, table: sa.Table, column: sa.Column[Any]) -> None:
        ddl.change_type(self, table, column)

    def replace_column(self, table: sa.Table, name: str, other: str) -> None:
        ddl.replace_column(self, table, name, other)

    def quoted(self, *names: str) -> str:
        return numbered.quoted(*names)

    def columns(self, schema: str, table: str) -> dict[str, str]:
        # What INFORMATION_SCHEMA is a view of, in a third of the time; and this is asked several times a load.
        found = self.connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = ?"
            " AND lower(schema_name) = lower(?) AND lower(table_name) = lower(?) ORDER BY column_index",
            [ALIAS, schema, table],
        ).fetchall()
        return {name: column_type(kind) or foreign(schema, table, name, kind) for name, kind in found}

    def view_mark(self, schema: str, name: str) -> str | None:
        found = self.connection.execute(
            "SELECT coalesce(comment, '') FROM duckdb_views() WHERE database_name = $1"
            " AND lower(schema_name) = lower($2) AND lower(view_name) = lower($3)"
            " UNION ALL SELECT '' FROM duckdb_tables() WHERE database_name = $1"
            " AND lower(schema_name) = lower($2) AND lower(table_name) = lower($3)",
            [ALIAS, schema, name],
        ).fetchall()
        return own_mark(found[0][0]) if found else None

    def put_view(self, schema: str, name: str, query: str, mark: str) -> None:
        view = self.quoted(schema, name)
        self.ddl(f"CREATE OR REPLACE VIEW {view} AS {query}")
        self.ddl(f"COMMENT ON VIEW {view} IS '{mark}'")

    def scratch(self, name: str, columns: Sequence[sa.Column[Any]]) -> sa.Table:
        table = sa.Table(name, sa.MetaData(), *columns, schema="temp", prefixes=["TEMPORARY"])
        self.ddl(f"DROP TABLE IF EXISTS {self.quoted('temp', name)}")
        ddl.create_table(self, table)
        return table

    def hold(self, _table: sa.Table, _keys: Sequence[str]) -> None:
        """There is one writing process, and in it a lock for each table."""

    def filled(self, _table: sa.Table) -> None:
        """DuckDB knows how many rows its tables have."""

    def place(self, _table: sa.FromClause) -> Expression | None:
        return None

    def try_unique(self, work: Callable[[], T]) -> T | None:
        return work()

    def fingerprint(self, columns: Sequence[Expression]) -> Expression | None:
        # 64 bits: two contents of one key and cursor pass for equal once in 10^19. Comparing every column itself
        # takes the join four times as long, as it has to carry them all (bench/RESULTS.md).
        return sa.func.hash(*columns, type_=sa.Numeric(20, 0))

    def exact(self, column: Expression) -> Sequence[Expression]:
        return [column]

    def widen_text(self, _table: sa.Table, _stored: Mapping[str, str], _long: Collection[str]) -> bool:
        """Text has any length here."""
        return False

    def keep(self, _tables: Sequence[str]) -> None:
        """They belong to this process from staging to tidying (see ``locks``)."""

    def adopt(self, staged: sa.FromClause, schema: str, table: str) -> bool:
        if not isinstance(staged, sa.Table) or staged.schema != schema:
            return False
        self.ddl(f"ALTER TABLE {self.quoted(schema, staged.name)} RENAME TO {self.quoted(table)}")
        return True

    def drop_if_empty(self, schema: str) -> None:
        """A first load is staged in its schema, which has to be made for that; a dry run leaves none behind."""
        here = "SELECT 1 FROM information_schema.tables WHERE table_catalog = ? AND table_schema = ? LIMIT 1"
        if not self.connection.execute(here, [ALIAS, schema]).fetchall():
            self.ddl(f"DROP SCHEMA IF EXISTS {self.quoted(schema)}")

    def _execute(self, statement: sa.ClauseElement) -> duckdb.DuckDBPyConnection:
        return self.connection.execute(*numbered.compiled(statement))


def drained(connection: duckdb.DuckDBPyConnection, statement: str, batches: pa.RecordBatchReader) -> int:
    """Run a statement that reads all of *batches*, as ``incoming``; the number of rows it made.

    DuckDB pulls the batches one by one, from threads of its own. What our own code raises there comes out as it was.
    """
    failure: list[BaseException] = []

    def watched() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except BaseException as error:
            failure.append(error)
            raise

    connection.register("incoming", pa.RecordBatchReader.from_batches(batches.schema, watched()))
    try:
        made = connection.execute(statement).fetchall()
    except duckdb.Error:
        if failure:
            raise failure[0] from None  # DuckDB has only its text
        raise
    finally:
        connection.unregister("incoming")
    return int(made[0][0])


def is_held(error: Exception) -> bool:
    """Whether a file could not be attached because another process, or another warehouse of this one, has it."""
    locked = isinstance(error, duckdb.IOException) and "Could not set lock" in str(error)
    return locked or "Unique file handle conflict" in str(error)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """DuckDB's errors in our words, where an operator can do something; the rest are bugs and stay as they are."""
    try:
        with native_call("duckdb"):
            yield
    except IngestError:
        raise
    except RuntimeError as error:
        if str(error) != "Query interrupted":
            raise
        raise KeyboardInterrupt from error  # what a signal handler raised is lost within a query
    except duckdb.OutOfMemoryException as error:
        raise ConfigError(
            f"the merge needs more memory than WAREHOUSE_MEMORY allows: {_line(error)}",
            fix="Raise WAREHOUSE_MEMORY, such as to 1GB",
        ) from error
    except duckdb.TransactionException as error:
        if _NOT_WRITTEN in str(error):
            raise _no_room(error) from error
        raise TransientError(f"another merge interfered: {_line(error)}", fix=LOAD_AGAIN) from error
    except duckdb.IOException as error:
        if "not a valid DuckDB database" in str(error):
            raise ConfigError(_line(error).rstrip("!"), fix="Name another file in WAREHOUSE_URL") from error
        raise _no_room(error) from error
    except (duckdb.ConversionException, duckdb.OutOfRangeException) as error:
        raise DataError(f"the warehouse refused a value: {_line(error)}", fix=CORRECT_VALUE) from error


_NOT_WRITTEN = "Could not write file"
"""In the error of a commit, which is one of the transaction, not of the file."""


def _no_room(error: Exception) -> TransientError:
    return TransientError(
        f"the warehouse cannot be read or written: {_line(error)}",
        fix="Free some disk space, or correct the rights of its folder, and load again",
    )


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0].rstrip(".")

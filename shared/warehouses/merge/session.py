"""What the shared SQL needs of an engine: one open transaction, and the few things each engine does its own way."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import sqlalchemy as sa

from sqlalchemy.engine import Dialect

from shared.errors import DataError

T = TypeVar("T")
STAGING = "staging"
"""Schema of the staging tables behind a database server."""
VIEW_MARK = "sluice:"
"""What the mark of a view begins with."""


def foreign(schema: str, table: str, name: str, kind: str) -> str:
    """DataError: a table has a column of a type of the engine's that no column type is stored as."""
    raise DataError(
        f"column {name!r} of {schema}.{table} has type {kind}, which Sluice does not write",
        fix="Give the column another type, or drop it",
    )


def own_mark(comment: str) -> str:
    """The mark in a view's comment; empty if it is of others."""
    return comment if comment.startswith(VIEW_MARK) else ""


GONE = "a staging table of the run is gone: another process has loaded the same work, or cleaned up"
"""The problem when that happens, which loading again solves."""
Row: TypeAlias = "tuple[Any, ...]"
Expression: TypeAlias = "sa.ColumnElement[Any]"
KeyIndex: TypeAlias = Literal["UNIQUE", "CLUSTERED"]
ChangesBy: TypeAlias = Literal["replace", "update"]


class Session(Protocol):
    """One transaction on one connection."""

    dialect: Dialect
    changes_by: ChangesBy
    """The cheaper way to change rows: DELETE and INSERT, or UPDATE and INSERT."""
    indexes: bool
    """Whether tables get indexes on their keys."""
    key_index: KeyIndex
    """The kind of the index on all keys, where there is one."""
    has_unique_keys: bool
    """Whether that index lets no key in twice."""
    keeps_versions: bool
    """Whether versions of rows can be kept beside a table, see ``versions``."""
    indexes_pin: bool
    """Whether the type of a column cannot change while an index has it."""
    table_options: Mapping[str, Any]
    """Options of SQLAlchemy's Table that tables of feeds are created with."""

    def rows(self, statement: sa.Select[Any]) -> list[Row]:
        """All rows of a query; ask for few."""
        ...

    def stream(self, statement: sa.Select[Any]) -> Iterator[Row]:
        """The rows of a query that may have many; nothing else runs in the session meanwhile."""
        ...

    def change(self, statement: sa.Insert | sa.Update | sa.Delete) -> int:
        """Run DML; the number of rows it touched."""
        ...

    def ddl(self, text: str) -> None:
        """Run one statement of DDL, its names and values quoted already (see shared.warehouses.merge.ddl)."""
        ...

    def insert(self, table: sa.Table, names: Sequence[str], rows: sa.Select[Any]) -> int:
        """Insert *rows*, whose columns go into those called *names*, into a table of a feed; their number."""
        ...

    def expose(self, table: sa.Table, where: Callable[[sa.FromClause], sa.ColumnElement[bool]]) -> None:
        """Let rows of a feed's *table* that meet *where* be changed, and no others: it is called before they are.

        *where* takes what has the table's columns.
        """
        ...

    def add_column(self, table: sa.Table, name: str, kind: str) -> None:
        """Add a nullable column to a table of a feed."""
        ...

    def change_type(self, table: sa.Table, column: sa.Column[Any]) -> None:
        """Give a column of *table* the type *column* has, whatever else of ours stands on it."""
        ...

    def replace_column(self, table: sa.Table, name: str, other: str) -> None:
        """Drop a column of *table* and give its name to the *other* one, whatever else of ours stands on it."""
        ...

    def columns(self, schema: str, table: str) -> dict[str, str]:
        """Column types (shared.contract.types) by name, in order; empty if there is no table."""
        ...

    def view_mark(self, schema: str, name: str) -> str | None:
        """The mark of a view of ours; empty if something else has that name, None if nothing has."""
        ...

    def put_view(self, schema: str, name: str, query: str, mark: str) -> None:
        """Create or replace a view of ours by *query*, its names quoted already. Who could read it can do so still."""
        ...

    def scratch(self, name: str, columns: Sequence[sa.Column[Any]]) -> sa.Table:
        """Create an empty table that only this session sees and that ends with it."""
        ...

    def hold(self, table: sa.Table, keys: Sequence[str]) -> None:
        """Rows of *table* are about to be looked up by *keys* and changed: keep others from doing so, if they could."""
        ...

    def filled(self, table: sa.Table) -> None:
        """*table*, a scratch one, has all its rows: the next statements join it with staging and the feed's table."""
        ...

    def place(self, table: sa.FromClause) -> Expression | None:
        """Where *table* stores a row: as good as its key while nobody else may write. None if the engine hides it."""
        ...

    def try_unique(self, work: Callable[[], T]) -> T | None:
        """Do *work*; None, and nothing is done, if a unique index refused a key. Never asked of one without."""
        ...

    def fingerprint(self, columns: Sequence[Expression]) -> Expression | None:
        """A short value that is equal where all *columns* are (NULL equals NULL); None to compare them one by one."""
        ...

    def exact(self, column: Expression) -> Sequence[Expression]:
        """What is equal only where *column* is, to the letter and the blank; the first of them also sorts like it."""
        ...

    def widen_text(self, table: sa.Table, stored: Mapping[str, str], long: Collection[str]) -> bool:
        """Let text columns of *table* hold what a run brings, where lengths are limited; whether any had to change.

        *stored* names them by the run's name for each. Those in *long*, the run's names, get no limit.
        """
        ...

    def keep(self, tables: Sequence[str]) -> None:
        """Let nobody drop or change these staging tables until the transaction ends. TransientError if one is gone."""
        ...

    def adopt(self, staged: sa.FromClause, schema: str, table: str) -> bool:
        """Turn a staging table into a table of the feed, if the engine can; False if it cannot."""
        ...

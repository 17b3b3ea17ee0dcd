"""What a database tells a source about itself: one Protocol, which mysql, postgres and sqlserver fulfil."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import sqlalchemy as sa

from shared.errors import IngestError
from shared.sources.sql.columns import Expression, SourceColumn

QUERY_SECONDS = 300
"""How long a query may take: each reads one page, counts one slice, or finds one boundary."""

ErrorKind: TypeAlias = Literal["login", "rights", "missing", "unfit", "retryable"]
"""What an error of a driver is about: see ``Database``, which explains each. ``unfit``: rows cannot be sorted."""


class Reflected(NamedTuple):
    """A column of a table as the server describes it."""

    table: str
    name: str
    kind: str
    """The server's own name of the type, in lower case, without precision and length: ``numeric``, ``varchar``."""
    precision: int | None
    """Digits of a number; bits of a bit field."""
    scale: int | None
    unsigned: bool
    nullable: bool
    family: str = ""
    """What else the server says of the type, such as that it is an array."""


class Catalogued(NamedTuple):
    """What the server's catalog has of some tables."""

    columns: Sequence[Reflected]
    """In the order of each table."""
    unique: Sequence[tuple[str, str, str]]
    """Table, constraint and column, of each constraint or index that makes columns unique."""


class Dialect(Protocol):
    """One kind of database."""

    @property
    def options(self) -> Collection[str] | None:
        """Options that its URL may have, beside ``schema``; None where ``engine`` checks them."""
        ...

    @property
    def form(self) -> str:
        """How its URL is written."""
        ...

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """The base classes of its driver's errors."""
        ...

    @property
    def nulls_first(self) -> bool:
        """Whether NULL comes before every value in ascending order."""
        ...

    @property
    def clock(self) -> Expression:
        """The server's own time: UTC, as ISO 8601 text without zone."""
        ...

    def engine(self, url: sa.URL, setting: str, pool: Mapping[str, Any]) -> sa.Engine:
        """An engine for *url* (that of *setting*), *pool* being options of create_engine. Connects to nothing yet.

        Its connections only read, have instants in UTC, and give up a statement after ``QUERY_SECONDS``.
        """
        ...

    def error_kind(self, error: BaseException) -> ErrorKind | None:
        """None for other errors."""
        ...

    def other(self, error: BaseException, what: str) -> IngestError | None:
        """An error that is of no kind, in words, *what* being read; None for a bug of ours."""
        ...

    def error_line(self, error: BaseException) -> str:
        """What the server or the driver says, in one line."""
        ...

    def look_up(self, connection: sa.Connection, schema: str | None, tables: Sequence[str]) -> Catalogued:
        """*tables* and views, all at once; those that are not there are left out."""
        ...

    def column(self, column: Expression, reflected: Reflected) -> SourceColumn:
        """How a column is read, compared and ordered."""
        ...

    def by_bytes(self, column: Expression) -> Expression:
        """A text in the order of code points, as watermarks are compared. No index serves it."""
        ...

    def settled(self, reflected: Reflected) -> Expression | None:
        """For a column that grows with every write: the first value that an open transaction may still have."""
        ...


def flat(text: str) -> str:
    """*text* in one line, without a full stop."""
    return " ".join(text.split()).rstrip(".")

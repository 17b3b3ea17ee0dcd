"""A database that is only read: its connections, its catalog, and its errors as ours."""

from __future__ import annotations

import contextlib
import re
import threading
import weakref

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

import sqlalchemy as sa

from shared.errors import ConfigError, IngestError
from shared.remote import RetryLater, call_with_retry, unreachable
from shared.settings import url_kind
from shared.sources.sql.dialect import QUERY_SECONDS, Catalogued, Dialect, Reflected, flat
from shared.sources.sql.mysql import MySQL
from shared.sources.sql.postgres import PostgreSQL
from shared.sources.sql.sqlserver import SQLServer

T = TypeVar("T")

DIALECTS: Mapping[str, Dialect] = {
    "mysql": MySQL(), "mariadb": MySQL(), "postgresql": PostgreSQL(), "mssql": SQLServer(),
}  # fmt: skip
"""By the scheme of the URL."""

_LOSSES = "losses"
"""How many there were when a connection was made."""

_NO_HOST = re.compile(r"not known|could not translate host name|failed to resolve host|No address associated")


TableName: TypeAlias = "tuple[str | None, str]"
"""Schema and name of a table; None is the default schema."""


class Reflection(NamedTuple):
    """A table or view as the server has it."""

    name: str
    columns: Sequence[Reflected]
    unique: Sequence[frozenset[str]]
    """The columns of each constraint or index that makes them unique together."""


class Database:
    """The database of one system. It keeps up to *connections* open until it is closed, or nobody has it any more.

    A table is looked up once, with all others that ``expect`` named before: open another one to see changes.
    """

    def __init__(self, setting: str, url: str | None, *, schema: str | None = None, connections: int = 1) -> None:
        """*schema* goes before the one that the URL names."""
        self._setting = setting
        kind, known = _parsed(setting, url)
        self.dialect = DIALECTS[kind]
        query = dict(known.query)
        default = query.pop("schema", None)
        self.schema = schema or (default if isinstance(default, str) else None)
        self._host = f"{known.host}:{known.port}" if known.port else str(known.host)
        self._name = known.database
        pool = {
            "pool_size": connections, "max_overflow": 0, "pool_timeout": QUERY_SECONDS, "pool_use_lifo": True,
            "pool_reset_on_return": None, "isolation_level": "AUTOCOMMIT", "hide_parameters": True,
        }  # fmt: skip
        self._engine = self.dialect.engine(known.set(query=query), setting, pool)
        weakref.finalize(self, self._engine.dispose)
        self._losses = _Losses(self._engine)
        self._looked_up: dict[TableName, Reflection | None] = {}
        self._expected: set[TableName] = set()
        self._look = threading.Lock()

    def qualified(self, table: str, schema: str | None = None) -> str:
        """A table's name with its schema or database, for people."""
        return f"{schema or self.schema or self._name}.{table}"

    def close(self) -> None:
        """Close its connections. It opens new ones if it is asked again."""
        self._engine.dispose()

    def rows(self, statement: sa.Select[Any]) -> Sequence[Sequence[Any]]:
        return self.do(lambda connection: connection.execute(statement).fetchall())

    def do(self, work: Callable[[sa.Connection], T]) -> T:
        """The result of *work* with a connection; tried again while the error is retryable, then TransientError."""

        return call_with_retry(lambda: self._with_connection(work), self._kinds, self._explained)

    def ping(self) -> None:
        """Return once the server has answered a query. It is tried once; the error is one of ours."""
        try:
            self._with_connection(lambda connection: connection.execute(sa.select(1)).fetchall())
        except self._kinds as error:
            raise self._explained(error) from error

    def _with_connection(self, work: Callable[[sa.Connection], T]) -> T:
        with self._losses.noted(self._kinds), self._engine.connect() as connection:
            return work(connection)

    @property
    def _kinds(self) -> tuple[type[Exception], ...]:
        """What goes wrong at the other side, by our drivers."""
        return (sa.exc.DBAPIError, sa.exc.TimeoutError, *self.dialect.errors, OSError)

    def expect(self, tables: Iterable[TableName]) -> None:
        """Look *tables* up together as soon as one of their schema is wanted."""
        self._expected.update((schema or self.schema, table) for schema, table in tables)

    def table(self, name: str, schema: str | None = None) -> Reflection:
        """The table or view *name* of *schema*, or of the default one; ConfigError if there is none."""
        place = (schema or self.schema, name)
        with self._look:
            if place not in self._looked_up:
                wanted = {place} | {one for one in self._expected - set(self._looked_up) if one[0] == place[0]}
                names = sorted(table for _, table in wanted)
                found = self.do(lambda connection: self.dialect.look_up(connection, place[0], names))
                self._looked_up |= {one: _table(one[1], found) for one in wanted}
        reflected = self._looked_up[place]
        if reflected is None:
            raise self.missing(self.qualified(name, schema))
        return reflected

    # -- errors

    def missing(self, what: str) -> ConfigError:
        return ConfigError(
            f"{what} is not in the database of {self._setting}, or its user may not see it",
            fix="Check the feed in the catalog, the database and ?schema= in that setting, and the user's rights",
        )

    def _explained(self, error: Exception) -> IngestError:
        cause = getattr(error, "orig", None) or error
        if isinstance(cause, sa.exc.TimeoutError):
            return RetryLater(f"no connection to the database on {self._host} became free")
        kind = "retryable" if isinstance(cause, OSError) else self.dialect.error_kind(cause)
        message = flat(str(cause)) if isinstance(cause, OSError) else self.dialect.error_line(cause)
        if kind is None:
            other = self.dialect.other(cause, f"the database on {self._host}")
            if other is None:
                raise error  # a bug of ours
            return other
        return self._unavailable(cause, message) if kind == "retryable" else self._refusal(kind, message)

    def _refusal(self, kind: str, message: str) -> ConfigError:
        if kind == "login":
            return ConfigError(
                f"the database on {self._host} refuses to sign in: {message}",
                fix=f"Check user, password and database in {self._setting}, and that the server allows this machine",
            )
        if kind == "rights":
            return ConfigError(
                f"the user of {self._setting} has no right to read there: {message}", fix="Grant it SELECT"
            )
        if kind == "unfit":
            return ConfigError(f"the rows cannot be sorted: {message}", fix="Choose other keys or another cursor")
        return self.missing(f"what the feed names ({message})")

    def _unavailable(self, error: BaseException, message: str) -> IngestError:
        if _NO_HOST.search(message):
            return ConfigError(f"there is no host {self._host}", fix=f"Check {self._setting}, and this machine's DNS")
        if isinstance(error, OSError) or "connect" in message.lower():
            return unreachable(error, self._host, authority=f"?ssl_ca= of {self._setting}")
        return RetryLater(
            f"the database on {self._host} is unavailable or busy: {message}",
            fix=f"Sync again later; if it lasts, check that the server of {self._setting} runs",
        )


class _Losses:
    """Replaces the kept connections of an engine once a call has failed: each of them would take a try of its own.

    SQLAlchemy does that where its own calls fail. Our readers of pages use the driver's connection.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._count = 0
        sa.event.listen(engine, "connect", self._made)
        sa.event.listen(engine, "checkout", self._taken)

    @contextlib.contextmanager
    def noted(self, kinds: tuple[type[Exception], ...]) -> Iterator[None]:
        """Calls that fail at the same time count as one."""
        before = self._count
        try:
            yield
        except kinds:
            self._count = max(self._count, before + 1)
            raise

    def _made(self, _: Any, record: Any) -> None:
        record.info[_LOSSES] = self._count

    def _taken(self, _: Any, record: Any, __: Any) -> None:
        if record.info[_LOSSES] < self._count:
            raise sa.exc.DisconnectionError  # the pool connects again


def _table(name: str, found: Catalogued) -> Reflection | None:
    """The table *name* among what was found: servers that ignore case find it under another spelling."""
    names = list(dict.fromkeys(one.table for one in found.columns))
    spelled = name if name in names else next((one for one in names if one.casefold() == name.casefold()), None)
    if spelled is None:
        return None
    unique: dict[str, set[str]] = {}
    for table, constraint, column in found.unique:
        if table == spelled:
            unique.setdefault(constraint, set()).add(column)
    columns = [one for one in found.columns if one.table == spelled]
    return Reflection(spelled, columns, [*map(frozenset, unique.values())])


def _parsed(setting: str, url: str | None) -> tuple[str, sa.URL]:
    if not url:
        raise ConfigError(
            f"no value for {setting}", fix=f"Set it to {'://... or '.join(DIALECTS)}://user:password@host/database"
        )
    kind, _ = url_kind(setting, url, DIALECTS)
    dialect = DIALECTS[kind]
    try:
        known = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        known = None
    if known is None or not known.host or not known.database:
        raise ConfigError(f"{setting} names no host or no database", fix=f"Write {dialect.form}")
    options = dialect.options
    if options is not None and (unknown := sorted(set(known.query) - {"schema", *options})):
        raise ConfigError(
            f"{setting} has unknown options: {', '.join(map(repr, unknown))}",
            fix=f"Use only schema, {', '.join(sorted(options))}",
        )
    return kind, known

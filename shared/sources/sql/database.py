"""A database that is only read: how to connect, and its errors as ours."""

from __future__ import annotations

import re
import warnings

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psycopg
import pymysql
import sqlalchemy as sa

from pymysql.constants import FIELD_TYPE
from pymysql.converters import conversions

from shared.errors import ConfigError, IngestError
from shared.remote import CONNECT_SECONDS, RetryLater, call_with_retry, unreachable
from shared.settings import url_kind

T = TypeVar("T")

QUERY_SECONDS = 300
"""How long a query may take: each reads one page, counts one slice, or finds one boundary."""

_DRIVERS = {"mysql": "mysql+pymysql", "mariadb": "mysql+pymysql", "postgresql": "postgresql+psycopg"}
_OPTIONS = {
    "mysql+pymysql": {"ssl_ca", "ssl_cert", "ssl_key", "ssl_check_hostname"},
    "postgresql+psycopg": {"sslmode", "sslrootcert", "sslcert", "sslkey"},
}
"""Options of a URL beside ``schema``: how the connection is encrypted."""

# Dates and times come as text: Python has no zero date, no time beyond a day, no infinity.
_AS_TEXT = (FIELD_TYPE.DATE, FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP, FIELD_TYPE.TIME)
_CONNECT: dict[str, dict[str, Any]] = {
    "mysql+pymysql": {
        "charset": "utf8mb4",
        "connect_timeout": int(CONNECT_SECONDS),
        "read_timeout": QUERY_SECONDS,
        "write_timeout": QUERY_SECONDS,
        "conv": {kind: read for kind, read in conversions.items() if kind not in _AS_TEXT},
    },
    "postgresql+psycopg": {
        "client_encoding": "utf8",
        "connect_timeout": int(CONNECT_SECONDS),
        "tcp_user_timeout": 60_000,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "application_name": "sluice",
    },
}
_FIRST = {
    "mysql+pymysql": (
        "SET time_zone = '+00:00'",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
    ),
    "postgresql+psycopg": (
        "SET TIME ZONE 'UTC'",
        "SET DateStyle = 'ISO, YMD'",
        f"SET statement_timeout = '{QUERY_SECONDS}s'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
    ),
}

_LOGIN, _RIGHTS, _MISSING, _UNFIT, _RETRYABLE = "login", "rights", "missing", "unfit", "retryable"
_MARIADB = {
    **dict.fromkeys((1044, 1045, 1049, 1130, 1251, 1524, 1698, 1820, 1862, 3118, 3159, 4151), _LOGIN),
    **dict.fromkeys((1142, 1143, 1227, 1345, 1370), _RIGHTS),
    **dict.fromkeys((1054, 1146, 1356), _MISSING),
    **dict.fromkeys((1040, 1053, 1077, 1152, 1203, 1205, 1213, 1226, 1317, 1969, 3024), _RETRYABLE),
    **dict.fromkeys((*range(1158, 1162), *range(2000, 3000)), _RETRYABLE),
}  # fmt: skip
"""By error number: the server's from 1000 on, the client's own from 2000 on."""
_POSTGRES = {
    "28": _LOGIN, "3D": _LOGIN, "42501": _RIGHTS, "42P01": _MISSING, "42703": _MISSING, "3F000": _MISSING,
    "42883": _UNFIT, "42804": _UNFIT,
    "08": _RETRYABLE, "40": _RETRYABLE, "53": _RETRYABLE, "55": _RETRYABLE, "57": _RETRYABLE, "58": _RETRYABLE,
}  # fmt: skip
"""By the beginning of SQLSTATE."""
_REFUSED = re.compile(
    r"FATAL: +(?:password|role|database|no pg_hba|permission|Peer|Ident|\w+ authentication)|no password supplied"
    r"|does not support SSL|SSL was required|invalid \w+ value|certificate",
    re.IGNORECASE,
)
_NO_HOST = re.compile(r"not known|could not translate host name|failed to resolve host|No address associated")


class Database:
    """The database of one system. Every call opens a connection of its own and closes it."""

    def __init__(self, setting: str, url: str | None, *, schema: str | None = None) -> None:
        """*schema* goes before the one that the URL names."""
        self._setting = setting
        known = _parsed(setting, url)
        query = dict(known.query)
        default = query.pop("schema", None)
        self.schema = schema or (default if isinstance(default, str) else None)
        self._host = f"{known.host}:{known.port}" if known.port else str(known.host)
        self._name = known.database
        driver = known.drivername
        self._engine = sa.create_engine(
            known.set(query=query), poolclass=sa.NullPool, connect_args=_CONNECT[driver], hide_parameters=True,
            isolation_level="AUTOCOMMIT",
        )  # fmt: skip
        sa.event.listen(self._engine, "connect", lambda raw, _: _prepare(raw, _FIRST[driver]))

    @property
    def dialect(self) -> str:
        """``mysql`` (and MariaDB) or ``postgresql``."""
        return self._engine.dialect.name

    def qualified(self, table: str) -> str:
        """A table's name with its schema or database, for people."""
        return f"{self.schema or self._name}.{table}"

    def rows(self, statement: sa.Select[Any]) -> Sequence[Sequence[Any]]:
        return self.do(lambda connection: connection.execute(statement).fetchall())

    def do(self, work: Callable[[sa.Connection], T]) -> T:
        """The result of *work* with a connection; tried again while the error is retryable, then TransientError."""

        def call() -> T:
            with self._engine.connect() as connection:
                return work(connection)

        return call_with_retry(call, (sa.exc.DBAPIError, pymysql.Error, psycopg.Error, OSError), self._explained)

    def reflected(self, table: str) -> tuple[list[dict[str, Any]], list[list[str]]]:
        """The columns of a table or view as SQLAlchemy reflects them, and the names of each unique set of them."""

        def look(connection: sa.Connection) -> tuple[list[dict[str, Any]], list[list[str]]]:
            found = sa.inspect(connection)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", sa.exc.SAWarning)  # of a type it does not know: it is read as text
                reflected = found.get_columns(table, self.schema)
                key = found.get_pk_constraint(table, self.schema)["constrained_columns"]
                unique = [one["column_names"] for one in found.get_unique_constraints(table, self.schema)]
            columns = [{**one, "name": self._spelled(one["name"])} for one in reflected]
            return columns, [[*map(self._spelled, names)] for names in (key, *unique) if names]

        try:
            return self.do(look)
        except sa.exc.NoSuchTableError:
            raise self.missing(self.qualified(table)) from None

    def _spelled(self, name: str) -> str:
        """SQLAlchemy reads MariaDB's names as they are quoted: a backtick in one comes twice."""
        return name.replace("``", "`") if self.dialect == "mysql" else name

    def missing(self, what: str) -> ConfigError:
        return ConfigError(
            f"{what} is not in the database of {self._setting}, or its user may not see it",
            fix="Check the feed in the catalog, the database and ?schema= in that setting, and the user's rights",
        )

    def _explained(self, error: Exception) -> IngestError:
        cause = getattr(error, "orig", None) or error
        message, kind = _line(cause), _kind(cause)
        if kind is None:
            raise error  # a bug of ours
        return self._unavailable(cause, message) if kind == _RETRYABLE else self._refusal(kind, message)

    def _refusal(self, kind: str, message: str) -> ConfigError:
        if kind == _LOGIN:
            return ConfigError(
                f"the database on {self._host} refuses to sign in: {message}",
                fix=f"Check user, password and database in {self._setting}, and that the server allows this machine",
            )
        if kind == _RIGHTS:
            return ConfigError(
                f"the user of {self._setting} has no right to read there: {message}", fix="Grant it SELECT"
            )
        if kind == _UNFIT:
            return ConfigError(f"the rows cannot be sorted: {message}", fix="Choose other keys or another cursor")
        return self.missing(f"what the feed names ({message})")

    def _unavailable(self, error: BaseException, message: str) -> IngestError:
        if _NO_HOST.search(message):
            return ConfigError(f"there is no host {self._host}", fix=f"Check {self._setting}, and this machine's DNS")
        if isinstance(error, OSError) or "connect" in message.lower():
            return unreachable(error, self._host)
        return RetryLater(f"the database on {self._host} is unavailable or busy: {message}", fix="Try again later")


def _parsed(setting: str, url: str | None) -> sa.URL:
    if not url:
        raise ConfigError(
            f"no value for {setting}", fix=f"Set it to {'://... or '.join(_DRIVERS)}://user:password@host/database"
        )
    kind, _ = url_kind(setting, url, _DRIVERS)
    try:
        known = sa.make_url(url).set(drivername=_DRIVERS[kind])
    except (sa.exc.ArgumentError, ValueError):
        known = None
    if known is None or not known.host or not known.database:
        raise ConfigError(
            f"{setting} names no host or no database",
            fix=f"Write {kind}://user:password@host:port/database, with special characters percent-encoded",
        )
    unknown = sorted(set(known.query) - {"schema", *_OPTIONS[known.drivername]})
    if unknown:
        raise ConfigError(
            f"{setting} has unknown options: {', '.join(map(repr, unknown))}",
            fix=f"Use only schema, {', '.join(sorted(_OPTIONS[known.drivername]))}",
        )
    return known


def _prepare(raw: Any, statements: Sequence[str]) -> None:
    """Settings of a session: instants in UTC, read only."""
    if not isinstance(raw, pymysql.Connection):
        raw.autocommit = True  # a rollback would undo the settings
    with raw.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _kind(error: BaseException) -> str | None:
    if isinstance(error, OSError):
        return _RETRYABLE
    if isinstance(error, pymysql.Error):
        number = error.args[0] if error.args else 0
        return _RETRYABLE if isinstance(error, pymysql.InterfaceError) else _MARIADB.get(number)
    if isinstance(error, psycopg.Error) and error.sqlstate:
        starts = (error.sqlstate, error.sqlstate[:2])
        return next((_POSTGRES[start] for start in starts if start in _POSTGRES), None)
    if not isinstance(error, psycopg.OperationalError):
        return None
    return _LOGIN if _REFUSED.search(str(error)) else _RETRYABLE


def _line(error: BaseException) -> str:
    """The message of the server or the driver, in one line and without the full stop."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return _flat(error.diag.message_primary)
    if isinstance(error, pymysql.Error) and len(error.args) > 1:
        return _flat(str(error.args[1]))
    return _flat(str(error) or type(error).__name__)


def _flat(text: str) -> str:
    return " ".join(text.split()).rstrip(".")

"""PostgreSQL 12 or later: staged with COPY, merged under an advisory lock, retried as a whole."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import re
import threading

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import psycopg
import pyarrow as pa
import sqlalchemy as sa

from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from shared.errors import ConfigError, held
from shared.model import Feed, Finding, Plan, Run, Staged
from shared.remote import RetryPolicy
from shared.settings import Settings
from shared.warehouses import Loaded, Merged
from shared.warehouses.merge import ddl, numbered
from shared.warehouses.merge.session import STAGING
from shared.warehouses.postgres import direct
from shared.warehouses.postgres.copy import encoded, fitting
from shared.warehouses.postgres.errors import passes, translated
from shared.warehouses.postgres.session import TABLE_OPTIONS, PostgresSession
from shared.warehouses.server import few_rows, inline
from shared.warehouses.server.pool import ConnectionPool
from shared.warehouses.server.unit import UnitsOfWork
from shared.warehouses.server.warehouse import Claim, ServerWarehouse

T = TypeVar("T")
_RETRY = RetryPolicy(attempts=5, seconds=None, first_wait=0.1, longest_wait=10.0, jitter=0.5)
"""Most of what passes is a deadlock or a broken connection, and passes at once."""
_DEFAULTS: Mapping[str, Any] = {
    "application_name": "sluice", "connect_timeout": 15,
    "keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
}  # fmt: skip
"""What a URL may say otherwise: a server that is gone is noticed within two minutes, however long a query takes."""
_MEMORY = {"work_mem": "64MB", "maintenance_work_mem": "256MB"}
"""What sorting and joining gets, unless the server gives more: with the usual 4 MB a merge goes through files."""
_SHARED: Mapping[bool, str] = {False: "", True: "_shared"}
"""Ends of the names of functions that lock."""
_MANY = 10_000
"""Staged rows from which on the planner is to know how many keys there are: else it hashes the feed's table."""
_AGE = "staged by Sluice at "


def open_warehouse(settings: Settings) -> ServerWarehouse:
    """The database WAREHOUSE_URL names; nothing is opened before it is needed."""
    return ServerWarehouse(Postgres(settings))


class Postgres:
    """The server as ``shared.warehouses.server.warehouse`` wants it."""

    def __init__(self, settings: Settings) -> None:
        self._where = _address(settings.warehouse_url)
        self._timeout = settings.warehouse_lock_timeout
        self._may_be_direct = settings.warehouse_loader in ("auto", "direct")
        self.units = UnitsOfWork(
            ConnectionPool(self._connect, size=settings.warehouse_connections, wait_seconds=self._timeout),
            self,
            _RETRY,
        )

    # -- transactions

    def session(self, connection: psycopg.Connection[Any]) -> PostgresSession:
        return PostgresSession(connection)

    def begin(self, session: PostgresSession) -> None:
        session.ddl(_begin(self._timeout))

    def commit(self, session: PostgresSession) -> None:
        session.connection.commit()

    def rollback(self, session: PostgresSession) -> None:
        session.connection.rollback()

    def run_single(self, session: PostgresSession, text: str) -> None:
        session.ddl(f"{_begin(self._timeout)}; {text}; COMMIT")

    def may_pass(self, error: BaseException) -> bool:
        return passes(error)

    def spares_connection(self, _error: BaseException) -> bool:
        return False

    def translated(self) -> AbstractContextManager[None]:
        return translated(self._timeout)

    def _connect(self) -> psycopg.Connection[Any]:
        # Prepared statements would bind a session to one server connection, which poolers do not.
        # Without autocommit, psycopg would begin each transaction by a request of its own.
        return psycopg.connect(
            **self._where, cursor_factory=psycopg.RawCursor, prepare_threshold=None, autocommit=True
        )  # fmt: skip

    def lock(self, session: PostgresSession, name: str, *, shared: bool = False) -> None:
        # Ends with the transaction, and belongs to this database. The time it may take is set for all locks.
        with self._waiting_for(name):
            session.execute(f"SELECT pg_advisory_xact_lock{_SHARED[shared]}($1)", _lock_number(name))

    @contextmanager
    def _waiting_for(self, name: str) -> Iterator[None]:
        try:
            yield
        except errors.LockNotAvailable as error:
            raise held(f"another session has held {name} for {self._timeout:g} s") from error

    def try_lock(self, session: PostgresSession, name: str, *, shared: bool) -> bool:
        return bool(session.execute(f"SELECT pg_try_advisory_xact_lock{_SHARED[shared]}($1)", _lock_number(name))[0][0])

    def rehearse(self, _session: PostgresSession, _feed: Feed) -> None:
        """DDL is rolled back, too."""

    def examine(self) -> Iterator[Finding]:
        yield from self.units.run(_signed_in)

    def log_rate(self) -> int | None:
        return None

    # -- staging

    def load(
        self, feed: Feed, table: sa.Table, batches: Iterable[pa.RecordBatch], claim: Claim, inline_limit: int = 0
    ) -> Loaded:
        if not (inline_limit and self._may_be_direct):
            return self._stage(feed, table, batches, claim)
        first, rest = few_rows.peeked(batches, few_rows.DIRECT_ROWS)
        is_few = sum(batch.num_rows for batch in first) <= few_rows.DIRECT_ROWS
        loaded = _inline(feed, first, inline_limit) if is_few else None
        return loaded or self._stage(feed, table, itertools.chain(first, rest), claim)

    def _stage(self, feed: Feed, table: sa.Table, batches: Iterable[pa.RecordBatch], claim: Claim) -> Loaded:
        reading = threading.Event()

        def fill(session: PostgresSession) -> Loaded:
            becomes_target = self._create(session, feed, table)
            reading.set()
            loaded = _filled(session, feed, table, batches)
            if loaded.rows >= _MANY and not becomes_target:
                keys = ", ".join(session.quoted(key) for key in feed.keys if key in table.c)
                session.ddl(f"ANALYZE {session.quoted(STAGING, table.name)} ({keys})")
            return loaded

        with claim():
            return self.units.run(fill, on=lambda error: passes(error) and not reading.is_set())

    def direct(self, plan: Plan, staged: Sequence[Staged], run: Run) -> Merged | None:
        def work(session: PostgresSession) -> Merged | None:
            with self._waiting_for(run.feed):
                session.ddl(f"{_begin(self._timeout)}; SELECT pg_advisory_xact_lock({_lock_number(run.feed)})")
            merged = direct.merge(session, plan, staged, run)
            end = self.rollback if merged is None else self.commit
            end(session)
            return merged

        return self.units.run_alone(work)

    def reading(self, table: sa.Table) -> sa.FromClause:
        return table

    def append(self, session: PostgresSession, table: sa.Table, batch: pa.RecordBatch) -> None:
        with session.connection.cursor().copy(_copy(session, table, batch.schema.names)) as copy:
            copy.write(encoded(batch))

    def staged(self) -> Mapping[str, float]:
        query = (
            "SELECT c.relname, obj_description(c.oid, 'pg_class'), extract(epoch FROM now())::float8 FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'"
        )
        found = self.units.run_alone(lambda session: session.execute(query, STAGING))
        return {name: _age(comment, now) for name, comment, now in found}

    def drop(self, tables: Sequence[str]) -> None:
        self.units.run_single(f"DROP TABLE IF EXISTS {_named(tables)}")

    def clean_up(self, _tables: Iterable[str]) -> None:
        """Nothing is kept outside the database."""

    def _create(self, session: PostgresSession, feed: Feed, table: sa.Table) -> bool:
        """The staging table, empty; whether it becomes the feed's table, as in a first load. Else it needs no log."""
        session.ddl(f"DROP TABLE IF EXISTS {_named([table.name])}")
        is_first = not session.columns(feed.system, feed.table)
        kind = TABLE_OPTIONS if is_first else {"prefixes": ["UNLOGGED"]}
        columns = [sa.Column(column.name, column.type) for column in table.c]
        ddl.create_table(session, sa.Table(table.name, sa.MetaData(), *columns, schema=STAGING, **kind))
        # The server keeps no time of creation.
        now = session.execute("SELECT now()")[0][0]
        session.ddl(f"COMMENT ON TABLE {session.quoted(STAGING, table.name)} IS '{_AGE}{now.isoformat()}'")
        return is_first


def _signed_in(session: PostgresSession) -> list[Finding]:
    database, user, version, creates, scratches = session.execute(
        "SELECT current_database(), current_user, current_setting('server_version'),"
        " has_database_privilege(current_database(), 'CREATE'), has_database_privilege(current_database(), 'TEMPORARY')"
    )[0]
    lacking = [right for right, has in (("CREATE", creates), ("TEMPORARY", scratches)) if not has]
    fix = f"GRANT {', '.join(lacking)} ON DATABASE to that user"
    rights = Finding("warehouse: rights", "ok", "create, temporary")
    if lacking:
        rights = Finding("warehouse: rights", "failed", f"the user lacks {', '.join(lacking)}", fix)
    return [Finding("warehouse: sign-in", "ok", f"{user} in {database}, PostgreSQL {version}"), rights]


def _begin(timeout: float) -> str:
    """Begin a transaction with settings for it alone, so that they also hold where a pooler hands out the connection.

    Locks are waited for at most *timeout* seconds.
    """
    options = {
        "timezone": "UTC", "datestyle": "ISO", "extra_float_digits": "1", "standard_conforming_strings": "on",
        "lock_timeout": f"{max(1, round(timeout * 1000))}ms",
        "statement_timeout": "0", "idle_in_transaction_session_timeout": "0",
    }  # fmt: skip
    settings = [f"set_config('{name}', '{value}', true)" for name, value in options.items()]
    return f"BEGIN; SELECT {', '.join((*settings, *(_at_least(*pair) for pair in _MEMORY.items())))}"


def _at_least(name: str, size: str) -> str:
    enough = f"pg_size_bytes(current_setting('{name}')) >= pg_size_bytes('{size}')"
    return f"set_config('{name}', CASE WHEN {enough} THEN current_setting('{name}') ELSE '{size}' END, true)"


def _named(tables: Iterable[str]) -> str:
    return ", ".join(numbered.quoted(STAGING, table) for table in tables)


def _inline(feed: Feed, batches: Iterable[pa.RecordBatch], limit: int) -> Loaded | None:
    """All of *batches* as text; None if that takes more than *limit* characters."""
    kept, refused = [], []
    for batch in batches:
        fit, unfit = fitting(batch, feed.keys)
        encoded(fit)  # refuses what no table can hold, as COPY would
        kept.append(fit)
        refused += unfit
    text = inline.written(kept)
    if len(text) > limit:
        return None
    rows, size = sum(batch.num_rows for batch in kept), sum(batch.nbytes for batch in kept)
    return Loaded(rows=rows, refused=refused, size=size, inline=text)


def _filled(session: PostgresSession, feed: Feed, table: sa.Table, batches: Iterable[pa.RecordBatch]) -> Loaded:
    """All of *batches* in *table*: one is sent while the next is made."""
    rows = size = 0
    refused = []
    cursor = session.connection.cursor()
    # Frozen: nobody sees the table yet, so its rows need not be looked at again later.
    statement = _copy(session, table, [column.name for column in table.c], ", FREEZE")
    with cursor.copy(statement) as copy, ThreadPoolExecutor(1) as sender:
        sent: Future[None] | None = None
        for batch in batches:
            fit, unfit = fitting(batch, feed.keys)
            refused += unfit
            text = encoded(fit)
            if sent is not None:
                sent.result()
            sent = sender.submit(copy.write, text)
            rows, size = rows + fit.num_rows, size + len(text)
        if sent is not None:
            sent.result()
    return Loaded(rows=rows, refused=refused, size=size)


def _copy(session: PostgresSession, table: sa.Table, names: Iterable[str], more: str = "") -> bytes:
    columns = ", ".join(session.quoted(name) for name in names)
    return f"COPY {session.quoted(str(table.schema), table.name)} ({columns}) FROM STDIN (FORMAT csv{more})".encode()


def _lock_number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"sluice {name}".encode()).digest()[:8], signed=True)


def _age(comment: str | None, now: float) -> float:
    """Seconds since a staging table was made until *now*, in seconds since 1970; 0 if it does not say."""
    found = re.fullmatch(re.escape(_AGE) + r"(\S+)", comment or "")
    if found is None:
        return 0.0
    try:
        return now - dt.datetime.fromisoformat(found[1]).timestamp()
    except ValueError:
        return 0.0


def _address(url: str) -> dict[str, Any]:
    """The URL's parts as libpq names them. No error repeats it: what cannot be told apart may be the password."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ConfigError("WAREHOUSE_URL cannot be read", fix=_HOW) from None
    odd = re.search(r"[^\w.:,%/-]", str(parts.get("host", ""))) or re.search(r"[^\d,]", str(parts.get("port", "")))
    if odd or not parts.get("dbname") or re.search(r"[@/]", str(parts["dbname"])):
        raise ConfigError("WAREHOUSE_URL does not name a host and a database", fix=_HOW)
    return {**_DEFAULTS, **parts, "client_encoding": "UTF8"}


_HOW = "Write postgresql://user:password@host:port/database, with @ : / ? and % of the password as %40 %3A %2F %3F %25"

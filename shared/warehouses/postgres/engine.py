"""PostgreSQL 12 or later: staged with COPY, merged under an advisory lock, retried as a whole."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
import weakref

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg
import pyarrow as pa
import sqlalchemy as sa
import stamina

from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from shared.errors import ConfigError, TransientError
from shared.model import Feed, Finding, Plan, Run, Staged
from shared.settings import Settings
from shared.warehouses import Loaded, Merged
from shared.warehouses.merge import ddl
from shared.warehouses.postgres.copy import encoded, fitting
from shared.warehouses.postgres.errors import passes, translated
from shared.warehouses.postgres.session import PostgresSession
from shared.warehouses.server.warehouse import STAGING, Rollback, ServerWarehouse

T = TypeVar("T")
_TRIES = 5
_FIRST_WAIT, _LONGEST_WAIT, _JITTER = 0.1, 10.0, 0.5
"""Seconds between tries: most of what passes is a deadlock or a broken connection, and passes at once."""
_DEFAULTS: Mapping[str, Any] = {
    "application_name": "sluice", "connect_timeout": 15,
    "keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
}  # fmt: skip
"""What a URL may say otherwise: a server that is gone is noticed within two minutes, however long a query takes."""
_MEMORY = {"work_mem": "64MB", "maintenance_work_mem": "256MB"}
"""What sorting and joining gets, unless the server gives more: with the usual 4 MB a merge goes through files."""
_AGE = "staged by Sluice at "


def open_warehouse(settings: Settings) -> ServerWarehouse:
    """The database WAREHOUSE_URL names; nothing is opened before it is needed."""
    return ServerWarehouse(Postgres(settings))


class Postgres:
    """The server as ``shared.warehouses.server.warehouse`` wants it."""

    def __init__(self, settings: Settings) -> None:
        self._where = _address(settings.warehouse_url)
        self._timeout = settings.warehouse_lock_timeout
        self._slots = threading.BoundedSemaphore(settings.warehouse_connections)
        self._idle: list[psycopg.Connection[Any]] = []
        weakref.finalize(self, _close, self._idle)

    # -- units of work

    def unit(self, work: Callable[[PostgresSession], T]) -> T:
        return self._repeated(work, passes)

    def stream(self, work: Callable[[PostgresSession], Iterator[T]]) -> Iterator[T]:
        with translated(self._timeout), self._transaction() as session:
            yield from work(session)

    def lock(self, session: PostgresSession, name: str) -> None:
        # Ends with the transaction, and belongs to this database. The time it may take is set for all locks.
        try:
            session.execute("SELECT pg_advisory_xact_lock($1)", _lock_number(name))
        except errors.LockNotAvailable as error:
            raise TransientError(
                f"another session has held {name} for {self._timeout:g} s",
                fix="Try again when it is done, or raise WAREHOUSE_LOCK_TIMEOUT",
            ) from error

    def examine(self) -> Iterator[Finding]:
        yield from self.unit(_signed_in)

    def rest(self) -> None:
        _close(self._idle)

    def log_rate(self) -> int | None:
        return None

    # -- staging

    def load(self, feed: Feed, table: sa.Table, batches: Iterable[pa.RecordBatch], room: int = 0) -> Loaded:
        reading = threading.Event()

        def fill(session: PostgresSession) -> Loaded:
            self.lock(session, table.name)  # two processes may do the same run
            self._create(session, feed, table)
            reading.set()
            return _filled(session, feed, table, batches)

        return self._repeated(fill, lambda error: passes(error) and not reading.is_set())

    def direct(self, plan: Plan, staged: Sequence[Staged], run: Run) -> Merged | None:
        return None  # its loader hands nothing on inline: COPY is as quick

    def reading(self, table: sa.Table) -> sa.FromClause:
        return table

    def append(self, session: PostgresSession, table: sa.Table, batch: pa.RecordBatch) -> None:
        with session.connection.cursor().copy(_copy(session, table, batch.schema.names)) as copy:
            copy.write(encoded(batch))

    def staged(self, session: PostgresSession) -> Mapping[str, float]:
        found = session.execute(
            "SELECT c.relname, obj_description(c.oid, 'pg_class'), now() FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'",
            STAGING,
        )
        return {name: _age(told, now) for name, told, now in found}

    def drop(self, session: PostgresSession, table: str) -> None:
        session.ddl(f"DROP TABLE IF EXISTS {session.quoted(STAGING, table)}")

    def sweep(self, _tables: Iterable[str]) -> None:
        """Nothing is kept outside the database."""

    def _create(self, session: PostgresSession, feed: Feed, table: sa.Table) -> None:
        """The staging table, empty. A first load becomes the feed's table, any other is not worth a log."""
        self.drop(session, table.name)
        kind = [] if not session.columns(feed.system, feed.table) else ["UNLOGGED"]
        columns = [sa.Column(column.name, column.type) for column in table.c]
        ddl.create_table(session, sa.Table(table.name, sa.MetaData(), *columns, schema=STAGING, prefixes=kind))
        # The server keeps no time of creation.
        now = session.execute("SELECT now()")[0][0]
        session.ddl(f"COMMENT ON TABLE {session.quoted(STAGING, table.name)} IS '{_AGE}{now.isoformat()}'")

    # -- connections

    def _repeated(self, work: Callable[[PostgresSession], T], on: Callable[[Exception], bool]) -> T:
        with translated(self._timeout):
            for attempt in stamina.retry_context(
                on=on,
                attempts=_TRIES,
                timeout=None,
                wait_initial=_FIRST_WAIT,
                wait_max=_LONGEST_WAIT,
                wait_jitter=_JITTER,
            ):
                with attempt:
                    return self._once(work)
        raise AssertionError("stamina always raises or returns")  # pragma: no cover

    def _once(self, work: Callable[[PostgresSession], T]) -> T:
        try:
            with self._transaction() as session:
                return work(session)
        except Rollback as asked:
            answer: T = asked.args[0]
            return answer
        except psycopg.Error as error:
            if passes(error):
                self.rest()  # the others may be as dead as this one
            raise

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[PostgresSession]:
        """A transaction on a connection of its own, which is kept for later unless something went wrong."""
        if not self._slots.acquire(timeout=self._timeout):
            raise TransientError(
                f"no connection became free within {self._timeout:g} s",
                fix="Try again, or raise WAREHOUSE_CONNECTIONS",
            )
        try:
            connection = self._idle.pop() if self._idle else self._connect()
            try:
                session = PostgresSession(connection)
                self._begin(session)
                yield session
                connection.commit()
            except BaseException:
                connection.close()  # that rolls back, too
                raise
            self._idle.append(connection)
        finally:
            self._slots.release()

    def _connect(self) -> psycopg.Connection[Any]:
        # Prepared statements would bind a session to one server connection, which poolers do not.
        return psycopg.connect(**self._where, cursor_factory=psycopg.RawCursor, prepare_threshold=None)

    def _begin(self, session: PostgresSession) -> None:
        # For the transaction alone, so that it also holds where a pooler hands out the connection.
        told = {
            "timezone": "UTC", "datestyle": "ISO", "extra_float_digits": "1", "standard_conforming_strings": "on",
            "lock_timeout": f"{max(1, round(self._timeout * 1000))}ms",
            "statement_timeout": "0", "idle_in_transaction_session_timeout": "0",
        }  # fmt: skip
        values = [part for pair in (*told.items(), *_MEMORY.items()) for part in pair]
        plain = [f"set_config(${2 * n + 1}, ${2 * n + 2}, true)" for n in range(len(told))]
        more = [_at_least(f"${2 * n + 1}", f"${2 * n + 2}") for n in range(len(told), len(told) + len(_MEMORY))]
        session.execute(f"SELECT {', '.join(plain + more)}", *values)


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


def _at_least(name: str, size: str) -> str:
    enough = f"pg_size_bytes(current_setting({name})) >= pg_size_bytes({size})"
    return f"set_config({name}, CASE WHEN {enough} THEN current_setting({name}) ELSE {size} END, true)"


def _close(connections: list[psycopg.Connection[Any]]) -> None:
    while connections:
        with contextlib.suppress(IndexError):  # another thread was quicker
            connections.pop().close()


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


def _age(told: str | None, now: Any) -> float:
    """Seconds since a staging table was made; 0 if it does not say."""
    found = re.fullmatch(re.escape(_AGE) + r"(\S+)", told or "")
    if found is None:
        return 0.0
    try:
        return float((now - type(now).fromisoformat(found[1])).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _address(url: str) -> dict[str, Any]:
    """The URL's parts as libpq names them. No error repeats it: what cannot be told apart may be the password."""
    try:
        told = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise ConfigError("WAREHOUSE_URL cannot be read", fix=_HOW) from None
    odd = re.search(r"[^\w.:,%/-]", str(told.get("host", ""))) or re.search(r"[^\d,]", str(told.get("port", "")))
    if odd or not told.get("dbname") or re.search(r"[@/]", str(told["dbname"])):
        raise ConfigError("WAREHOUSE_URL does not name a host and a database", fix=_HOW)
    return {**_DEFAULTS, **told, "client_encoding": "UTF8"}


_HOW = "Write postgresql://user:password@host:port/database, with @ : / ? and % of the password as %40 %3A %2F %3F %25"

"""Locks on names, as rows of a table: Snowflake has no locks of its own that outlive a statement of DDL.

Whoever takes a name holds it for a while and renews that as long as it works; who died lets go of it by that. A
transaction gives its leases back in its own commit, and is rolled back if one of them is another's by then: so nobody
commits what was computed without a lock. See docs/decisions/0054.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import weakref

from collections.abc import Callable

from shared.errors import LOAD_AGAIN, TransientError, held
from shared.remote import Busy, RetryPolicy
from shared.warehouses.snowflake.errors import is_missing
from shared.warehouses.snowflake.session import Connection

_log = logging.getLogger("sluice")

SECONDS = 45
"""How long a lease lasts unless it is renewed."""
_RENEW = 15.0
_SETUP = (
    'CREATE SCHEMA IF NOT EXISTS "ingest"',
    'CREATE TABLE IF NOT EXISTS "ingest"."lease" ("name" VARCHAR NOT NULL, "holder" VARCHAR NOT NULL,'
    ' "shared" BOOLEAN NOT NULL, "until" TIMESTAMP_NTZ(6))',
)
_ONE_AT_A_TIME = 'UPDATE "ingest"."lease" SET "holder" = \'\' WHERE "name" = \'\''
"""Changes one row that is always there: Snowflake lets no other transaction change rows of the table until its end."""
_FIRST = "INSERT INTO \"ingest\".\"lease\" VALUES ('', '', FALSE, NULL)"
_EXPIRED = 'DELETE FROM "ingest"."lease" WHERE "until" < SYSDATE()'
_TAKE = (
    'INSERT INTO "ingest"."lease" SELECT "wanted"."name", "wanted"."holder", "wanted"."shared",'
    " DATEADD('second', ?, SYSDATE()) FROM (SELECT CAST(? AS VARCHAR) AS \"name\", CAST(? AS VARCHAR) AS"
    ' "holder", CAST(? AS BOOLEAN) AS "shared") AS "wanted" WHERE NOT EXISTS (SELECT 1 FROM "ingest"."lease" AS "other"'
    ' WHERE "other"."name" = "wanted"."name" AND "other"."holder" <> "wanted"."holder"'
    ' AND NOT ("other"."shared" AND "wanted"."shared"))'
)
_RENEWAL = 'UPDATE "ingest"."lease" SET "until" = DATEADD(\'second\', ?, SYSDATE()) WHERE "holder"'
_RELEASE = 'DELETE FROM "ingest"."lease" WHERE "holder" = ?'


class Leases:
    """What the connections of one process hold."""

    def __init__(self, connect: Callable[[], Connection], timeout: float) -> None:
        """*connect* opens a connection to renew on; *timeout* is how many seconds to wait for others."""
        self._connect, self._timeout = connect, timeout
        self._waiting = RetryPolicy(attempts=None, seconds=timeout, first_wait=0.2, longest_wait=5.0)
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._ended.set()

    def take(self, connection: Connection, name: str, *, shared: bool) -> bool:
        """Let *connection*, which has no transaction, hold *name*; False if another holds it.

        Those whose lease is *shared* do not keep each other out.
        """
        connection.holder = connection.holder or secrets.token_hex(16)
        try:
            taken = self._taken(connection, name, shared=shared)
        except Exception as error:
            if not is_missing(error):
                raise
            connection.rollback()
            for statement in _SETUP:
                connection.execute(statement)
            taken = self._taken(connection, name, shared=shared)
        if taken:
            connection.leases.append(name)
            self._watch(connection)
        return taken

    def wait(self, connection: Connection, name: str, *, shared: bool) -> None:
        """As ``take``, but wait for others; TransientError if that takes too long."""

        def once() -> None:
            if not self.take(connection, name, shared=shared):
                raise Busy(f"another process, which works on {name}", fix=LOAD_AGAIN)

        try:
            self._waiting.call(once, on=Busy)
        except Busy as error:
            raise held(f"another process has held {name} for {self._timeout:g} s") from error

    def give_back(self, connection: Connection) -> None:
        """Let go of all that *connection* holds: in its transaction, if it has one.

        TransientError if another process has something of it meanwhile; what was done may not be committed then.
        """
        wanted, connection.leases = len(connection.leases), []
        if not wanted:
            return
        found = int(connection.execute(_RELEASE, [connection.holder]).fetchall()[0][0])
        self._end_if_idle()
        if found != wanted and connection.in_transaction:
            raise TransientError(
                "this process was away for so long that another one has taken over its work", fix=LOAD_AGAIN
            )

    def renew(self, connection: Connection) -> None:
        """Let all that is held last from now on."""
        holders = [one.holder for one in list(self._connections) if one.leases]
        if holders:
            connection.execute(f"{_RENEWAL} IN ({', '.join('?' for _ in holders)})", [SECONDS, *holders])

    def _taken(self, connection: Connection, name: str, *, shared: bool) -> bool:
        connection.begin()
        try:
            if not connection.execute(_ONE_AT_A_TIME).fetchall()[0][0]:
                connection.execute(_FIRST)
            connection.execute(_EXPIRED)
            taken = connection.execute(_TAKE, [SECONDS, name, connection.holder, shared]).fetchall()[0][0]
            connection.commit()
        except BaseException:
            with contextlib.suppress(Exception):
                connection.rollback()
            raise
        return bool(taken)

    # -- renewing

    def _watch(self, connection: Connection) -> None:
        with self._guard:
            self._connections.add(connection)
            if self._ended.is_set():
                self._ended = threading.Event()
                threading.Thread(target=self._keep, args=[self._ended], name="sluice-leases", daemon=True).start()

    def _end_if_idle(self) -> None:
        with self._guard:
            if not any(one.leases for one in list(self._connections)):
                self._ended.set()

    def _keep(self, ended: threading.Event) -> None:
        """Renew what is held until nothing is. What fails is tried again: there is time for two more tries."""
        connection: Connection | None = None
        while not ended.wait(_RENEW):
            try:
                connection = connection or self._connect()
                self.renew(connection)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next try may succeed
                _log.info("leases were not renewed: %s", type(error).__name__)
                connection = None
            self._end_if_idle()
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()

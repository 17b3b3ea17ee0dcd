"""Make what was deleted unreadable in the file of a warehouse.

DuckDB leaves deleted rows in their blocks until it writes over them. So the tables are written anew, and blocks that
are free then are filled with noise.
"""

from __future__ import annotations

import secrets

from shared.warehouses import EraseRequest
from shared.warehouses.embedded.session import ALIAS, DuckDBSession
from shared.warehouses.merge import ingest

_ROUNDS = 5
_FREE = "SELECT free_blocks, block_size FROM pragma_database_size() WHERE database_name = ?"


def overwrite(session: DuckDBSession, request: EraseRequest) -> None:
    """Write the tables anew that rows were deleted of, and overwrite what the file has free."""
    tables = [(one.system, one.table) for one in (request.feed, request.history)]
    tables += [(ingest.SCHEMA, table.name) for table in (ingest.REJECTED, ingest.RUN)]
    copy, noise = session.quoted("temp", "_sluice_kept"), session.quoted(ALIAS, "main", "_sluice_noise")
    for schema, name in tables:
        if session.columns(schema, name):
            own = session.quoted(schema, name)
            session.ddl(f"CREATE OR REPLACE TEMPORARY TABLE {copy} AS SELECT * FROM {own}")  # noqa: S608 - quoted
            with session.transaction():
                session.ddl(f"DELETE FROM {own}")  # noqa: S608 - as above
                session.ddl(f"INSERT INTO {own} SELECT * FROM {copy}")  # noqa: S608 - as above
            session.ddl(f"DROP TABLE {copy}")
    session.ddl("CHECKPOINT")
    for _ in range(_ROUNDS):
        free, size = session.connection.execute(_FREE, [ALIAS]).fetchall()[0]
        if not free:
            break
        numbers, start = (free + 1) * size // 8, secrets.randbits(60)
        session.ddl(f"CREATE OR REPLACE TABLE {noise} AS SELECT hash(i + {start}) FROM range({numbers}) AS r(i)")  # noqa: S608 - numbers
        session.ddl("CHECKPOINT")
    session.ddl(f"DROP TABLE IF EXISTS {noise}")
    session.ddl("CHECKPOINT")

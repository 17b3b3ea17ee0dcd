"""What tests of Azure SQL share: a server with a staging container, bulk copy without Microsoft's driver, tables."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa
import sqlalchemy as sa

from azure.core.exceptions import ResourceNotFoundError

from shared.contract import types
from shared.contract.conform import ROW
from shared.model import Column, Feed
from shared.mssql import odbc
from shared.settings import Settings
from shared.warehouses.azure_sql import arrays
from shared.warehouses.azure_sql.engine import AzureSQL
from shared.warehouses.azure_sql.session import MSSQLSession
from shared.warehouses.azure_sql.staged_form import as_merged
from shared.warehouses.merge import ddl, shape
from shared.warehouses.merge.session import STAGING
from shared.warehouses.server.warehouse import ServerWarehouse
from tests.suites.warehouse_case import WarehouseCase

URL = "mssql://app:hunter2@db.test/sales"
FEED = Feed(system="shop", table="item", source="exports", keys=("Key",))
METHODS = ("array", "bulk", "copy")


class ServerWithContainer:
    """The stand-in with a staging container behind it, and engines on both."""

    def __init__(self, server, container, azurite):
        self.server, self.container = server, container
        self.seen = lambda data: data
        self.env = {
            "WAREHOUSE_URL": URL, "WAREHOUSE_CONNECTIONS": "3", "WAREHOUSE_LOCK_TIMEOUT": "5",
            "STAGING_URL": f"{container.url}/in/here", "STORAGE_CONNECTION_STRING": azurite.connection_string,
        }  # fmt: skip
        server.blobs = self.blob
        server.external_data_sources.append({"name": "sluice_staging"})

    def blob(self, _source, path):
        try:
            return self.seen(self.container.download_blob(path).readall())
        except ResourceNotFoundError:
            return None

    def engine(self, env=None, **more):
        return AzureSQL(Settings.from_env({**self.env, **(env or {})}), odbc.address(URL), self.server, **more)

    def case(self, folder, env=None, **more):
        return WarehouseCase(
            folder, self.server.query, instead={"warehouse": ServerWarehouse(self.engine(env, **more))}
        )

    def blobs(self):
        return sorted(self.container.list_blob_names())


def copy_through(server):
    """A kind of bulk copy that sends rows to *server* as arrays, and remembers them.

    ``arrive`` makes of the rows sent what ``send`` returns, and ``fail`` is what ``open`` does; a test may set both.
    """

    class Copied:
        sent: ClassVar[list[pa.Table]] = []
        opened = 0
        arrive = staticmethod(lambda rows: rows.num_rows)
        fail = staticmethod(lambda: None)

        def __init__(self, where):
            assert URL.endswith(where.database)

        @staticmethod
        def is_installed():
            return True

        def open(self):
            type(self).opened += 1
            self.fail()
            self.connection = server.connect(autocommit=True)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.connection.close()

        def send(self, table, rows):
            self.sent.append(rows)
            arrived = self.arrive(rows)
            for batch in rows.to_batches():
                arrays.insert_many(MSSQLSession(self.connection), table, batch)
            return arrived

    return Copied


def staging(columns, name="s_0123456789abcdef_0", feed=FEED):
    return shape.staging(feed, [Column(c, c, kind) for c, kind in columns.items()], name, STAGING)


def batch(columns, *rows, first=0):
    """Rows as staging gets them, numbered from *first* on."""
    schema = pa.schema([(ROW, pa.int64()), *((name, types.to_arrow(kind)) for name, kind in columns.items())])
    reported = [dict(zip(schema.names, (first + n, *values), strict=True)) for n, values in enumerate(rows)]
    return pa.RecordBatch.from_pylist(reported, schema=schema)


def stored(engine, table):
    """What is in a staging table as a merge reads it, in the order of the rows' numbers."""
    source = as_merged(table)
    return engine.units.run(lambda session: session.rows(sa.select(*source.c).order_by(source.c[ROW])))


def filled(engine, method, table, *batches):
    engine.units.run(lambda session: ddl.create_schema(session, STAGING))
    return engine.staging.load_by(method, table, iter(batches))


def sent(server, text):
    return [statement for statement in server.statements if text in statement]

"""Staging tables on SQL Server: choose how one is filled, fill it, and clean up what failed runs left."""

from __future__ import annotations

import datetime as dt
import itertools
import logging

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

import pyarrow as pa
import sqlalchemy as sa

from shared.errors import ConfigError, DataError
from shared.settings import Settings
from shared.text import SHOW_WARNING
from shared.warehouses import Loaded
from shared.warehouses.azure_sql import tsql
from shared.warehouses.azure_sql.bulk_copy import BulkCopy
from shared.warehouses.azure_sql.container import StagingContainer
from shared.warehouses.azure_sql.loader import (
    ARRAY_ROWS,
    LoadLimits,
    LoadMethod,
    StagingLoader,
    choose_method,
    methods_in_use,
)
from shared.warehouses.azure_sql.session import MSSQLSession
from shared.warehouses.merge.session import STAGING
from shared.warehouses.server.few_rows import peeked
from shared.warehouses.server.unit import UnitsOfWork
from shared.warehouses.server.warehouse import DEAD, Claim

_log = logging.getLogger("sluice")


class StagingTables:
    """The staging tables of one database."""

    def __init__(
        self,
        settings: Settings,
        units: UnitsOfWork[MSSQLSession],
        *,
        new_copy: Callable[[], BulkCopy],
        copy_installed: bool,
        limits: LoadLimits,
    ) -> None:
        """*new_copy* makes a bulk copy that is not open yet."""
        self._settings, self._units, self._limits = settings, units, limits
        self._new_copy, self._copy_installed = new_copy, copy_installed
        self._copy_failure: DataError | None = None

    @cached_property
    def container(self) -> StagingContainer | None:
        return StagingContainer.from_settings(self._settings)

    def load(self, table: sa.Table, batches: Iterable[pa.RecordBatch], claim: Claim, inline_limit: int = 0) -> Loaded:
        """Create *table* anew and fill it, within *claim*; few rows come back inline, in *inline_limit* characters."""
        first, rest = peeked(batches, ARRAY_ROWS)
        method = choose_method(
            self._settings.warehouse_loader, sum(batch.num_rows for batch in first),
            container=self.container is not None, copy=self._copy_installed,
        )  # fmt: skip
        inline = None
        if method == "direct" and inline_limit:
            inline = StagingLoader(self._units, table, self._limits).inline(first, inline_limit)
        if inline:
            return inline
        with claim():
            return self.load_by(method, table, itertools.chain(first, rest))

    def load_by(self, method: LoadMethod, table: sa.Table, batches: Iterable[pa.RecordBatch]) -> Loaded:
        """Create *table* anew and fill it by *method*."""
        loader = StagingLoader(self._units, table, self._limits)
        incoming = loader.prepared(batches)
        if method == "bulk":
            loader.bulk(incoming, self._required_container(), connections=self._settings.warehouse_connections)
        elif method == "copy" and (copy := self._open_copy()):
            with copy:
                loader.copy(incoming, lambda name, rows: self._send(copy, name, rows))
        else:
            loader.create()
            loader.array(incoming)
        return loader.loaded()

    def methods_in_use(self) -> list[LoadMethod]:
        """Every method that loads may take with these settings."""
        return methods_in_use(
            self._settings.warehouse_loader, container=self.container is not None, copy=self._copy_installed
        )

    def copy_failure(self) -> DataError | None:
        """Why bulk copy cannot be used here; None if it can. A connection is tried."""
        copy = self._open_copy()
        if copy is None:
            return self._copy_failure
        with copy:
            return None

    def _open_copy(self) -> BulkCopy | None:
        """Bulk copy, connected; None if it failed, now or earlier in this process.

        It is not tried again: arrays always work, and a driver that has crashed once may be in any state.
        """
        if self._copy_failure is not None:
            return None
        copy = self._new_copy()
        try:
            copy.open()
        except DataError as error:
            self._note_failure(error)
            return None
        return copy

    def _send(self, copy: BulkCopy, table: str, rows: pa.Table) -> int | None:
        """How many rows arrived; None if bulk copy cannot be used any more, and some may have arrived."""
        if self._copy_failure is not None:
            return None
        try:
            return copy.send(table, rows)
        except DataError as error:
            self._note_failure(error)
            return None

    def _note_failure(self, error: DataError) -> None:
        self._copy_failure = error
        _log.warning("%s; rows are sent in arrays from here on, which is slower", error.problem, extra=SHOW_WARNING)

    def _required_container(self) -> StagingContainer:
        if self.container is None:
            raise ConfigError(
                "WAREHOUSE_LOADER is bulk, but STAGING_URL is not set", fix="Set it to the staging container"
            )
        return self.container

    # -- clean-up

    def ages(self) -> Mapping[str, float]:
        """Staging tables there are, with their age in seconds."""
        # NOLOCK: without waiting for tables that others are making.
        query = (
            "SELECT t.name, DATEDIFF(second, t.create_date, GETDATE()) FROM sys.tables AS t WITH (NOLOCK)"
            " WHERE t.schema_id = SCHEMA_ID(N'staging')"
        )
        return {name: float(age) for name, age in self._units.run_alone(lambda session: session.fetch(query))}

    def drop(self, tables: Iterable[str]) -> None:
        self._units.run_single(f"DROP TABLE IF EXISTS {', '.join(tsql.name(STAGING, table) for table in tables)}")

    def clean_up(self, tables: Iterable[str]) -> None:
        """Remove the parts of *tables*, and those of runs that died a day ago."""
        if self.container is None:
            return
        for table in tables:
            self.container.remove(table)
        now = self._units.run(lambda session: session.first("SELECT SYSUTCDATETIME()"))
        self.container.remove_leftovers(now.replace(tzinfo=dt.UTC) - dt.timedelta(seconds=DEAD))

"""The staging container: where CSV parts are written, and how the database reads them."""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import sqlalchemy as sa

from shared.ids import run_of_staging
from shared.settings import Settings
from shared.warehouses.azure_sql import parts, tsql

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingContainer:
    """STAGING_URL and the external data source of the database that names the same container."""

    client: ContainerClient
    folder: str
    """Path within the container, with a slash at its end, or empty."""
    data_source: str
    spool: Path | None = None
    """Folder on disk where parts wait for their upload; None keeps them in memory."""

    @classmethod
    def from_settings(cls, settings: Settings) -> StagingContainer | None:
        """The container that the settings name, if they name one; no request is sent."""
        if not settings.staging_url:
            return None
        from shared.azure.clients import container_client
        from shared.azure.urls import parse_url

        url = parse_url(settings.staging_url)
        path = url.path.strip("/")
        return cls(
            client=container_client(url, settings),
            folder=f"{path}/" if path else "",
            data_source=settings.staging_data_source,
            spool=Path(settings.staging_spool) if settings.staging_spool else None,
        )

    def upload(self, table: str, batches: Iterable[pa.RecordBatch], *, part_bytes: int) -> list[parts.Part]:
        """Write *batches* as CSV parts of staging table *table*."""
        return parts.upload(batches, self.client, self._prefix(table), part_bytes=part_bytes, spool=self.spool)

    def put(self, table: str, content: bytes) -> None:
        """Write *content* as the first part of staging table *table*."""
        parts.put(self.client, self._first_part(table), content)

    def remove(self, table: str) -> None:
        """Delete the parts of staging table *table*."""
        parts.remove(self.client, self._prefix(table))

    def remove_leftovers(self, older_than: dt.datetime) -> None:
        """Delete the parts of any staging table that were last written before *older_than* (aware)."""
        for prefix in parts.leftovers(self.client, older_than, under=self.folder):
            if run_of_staging(prefix.rpartition("/")[2]):
                parts.remove(self.client, prefix)

    def bulk_insert(self, table: sa.Table, part: str | None = None) -> str:
        """The statement that loads *part*, or the first one, into *table*."""
        name = tsql.name(str(table.schema), table.name)
        return tsql.bulk_insert(name, part or self._first_part(table.name), self.data_source)

    def _prefix(self, table: str) -> str:
        return f"{self.folder}{table}"

    def _first_part(self, table: str) -> str:
        return f"{self._prefix(table)}/0.csv"

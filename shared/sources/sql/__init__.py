"""Tables of MariaDB, MySQL and PostgreSQL as a source."""

from __future__ import annotations

from shared.sources.sql.discover import database_tables, table_rows
from shared.sources.sql.source import open_source

__all__ = ["database_tables", "open_source", "table_rows"]

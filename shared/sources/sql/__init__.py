"""Tables of MySQL and MariaDB, SQL Server and Azure SQL, and PostgreSQL as a source."""

from __future__ import annotations

from shared.sources.sql.checks import examine, ping
from shared.sources.sql.discover import database_tables, table_rows
from shared.sources.sql.opening import open_source, open_sources

__all__ = ["database_tables", "examine", "open_source", "open_sources", "ping", "table_rows"]

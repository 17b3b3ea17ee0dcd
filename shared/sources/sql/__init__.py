"""Tables of MySQL and MariaDB, SQL Server and Azure SQL, and PostgreSQL as a source."""

from __future__ import annotations

from shared.sources.sql.source import open_source, open_sources

__all__ = ["open_source", "open_sources"]

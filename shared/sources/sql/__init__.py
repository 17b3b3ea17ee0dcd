"""Tables of MariaDB, MySQL and PostgreSQL as a source."""

from __future__ import annotations

from shared.sources.sql.source import open_source

__all__ = ["open_source"]

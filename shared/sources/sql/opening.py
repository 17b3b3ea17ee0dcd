"""Open the source of a feed: by a cursor, or by what the server tracks of its changes."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from shared.model import Feed
from shared.settings import Settings
from shared.sources.sql.source import SqlSource, database_of
from shared.sources.sql.tracking import TrackedSource


def open_source(feed: Feed, settings: Settings) -> SqlSource:
    """The table of *feed* in the database that the setting ``<SYSTEM>_DATABASE_URL`` names.

    ConfigError if that is not the URL of a supported database. No connection is made yet.
    """
    return open_sources([feed], settings)[0]


def open_sources(feeds: Sequence[Feed], settings: Settings) -> list[SqlSource]:
    """The tables of several *feeds* of one system, which share its connections and are looked up together."""
    # Pages are made by many threads and go soon. Arrow's own pool keeps 80 to 110 MB of them: docs/decisions/0022.
    pa.set_memory_pool(pa.system_memory_pool())
    database = database_of(feeds, settings)
    return [(TrackedSource if feed.change_tracking else SqlSource)(feed, database, settings) for feed in feeds]

"""A kind of source for tests: this one module and a row in the table of kinds are all it takes."""

from __future__ import annotations

import pyarrow as pa

from shared.model import Feed
from shared.settings import Settings
from tests.standins.fakes import MemoryPullSource

SCHEMA = pa.schema([("Id", pa.int64()), ("At", pa.int64())])


def open_source(feed: Feed, _settings: Settings) -> MemoryPullSource:
    """Three rows, whatever the feed."""
    return MemoryPullSource(SCHEMA, [{"Id": n, "At": n} for n in (1, 2, 3)], str(feed.cursor), "bigint")

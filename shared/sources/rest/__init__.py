"""Tables of REST APIs that a catalog file alone describes."""

from __future__ import annotations

from shared.rest.connect import missing
from shared.sources.rest.checks import examine
from shared.sources.rest.probe import probe
from shared.sources.rest.source import open_source

__all__ = ["examine", "missing", "open_source", "probe"]

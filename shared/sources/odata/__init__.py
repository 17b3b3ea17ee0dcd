"""Entity sets of OData services, versions 1 to 3, which answer in Atom: MarketSharp's."""

from __future__ import annotations

from shared.rest.connect import missing
from shared.sources.odata.checks import examine
from shared.sources.odata.probe import probe
from shared.sources.odata.source import open_source

__all__ = ["examine", "missing", "open_source", "probe"]

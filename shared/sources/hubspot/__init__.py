"""Objects of HubSpot (contacts, companies, deals, appointments, custom ones) and the associations between them."""

from __future__ import annotations

from shared.sources.hubspot.checks import examine
from shared.sources.hubspot.source import missing, open_source

__all__ = ["examine", "missing", "open_source"]

"""The fields of a shared access signature (SAS): when it ends, what it allows. Pure."""

from __future__ import annotations

import datetime as dt

from urllib.parse import parse_qs, urlsplit


def sas_expiry(sas: str) -> dt.datetime | None:
    """When *sas* ends, aware and in UTC; None if it does not say (a stored access policy may).

    >>> sas_expiry("sv=2021-06-08&se=2026-03-03&sr=d&sp=rl&sig=x")
    datetime.datetime(2026, 3, 3, 0, 0, tzinfo=datetime.timezone.utc)
    """
    return sas_time(sas, "se")


def link_expiry(link: str) -> dt.datetime | None:
    """When the SAS in the query of *link* ends, as ``expires`` has it; None if it has none."""
    query = urlsplit(link).query
    return sas_expiry(query) if "sig=" in query else None


def sas_time(sas: str, field: str) -> dt.datetime | None:
    """The time in *field* of *sas*: ``st`` for its start, ``se`` for its end."""
    text = sas_field(sas, field)
    try:
        found = dt.datetime.fromisoformat(text) if text else None
        if found is None:
            return None
        return found.astimezone(dt.UTC) if found.tzinfo else found.replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError):  # the latter for years that UTC does not have
        return None


def sas_field(sas: str, field: str) -> str:
    """One field of *sas*, decoded; empty if there is none."""
    return parse_qs(sas.lstrip("?")).get(field, [""])[0]

"""The client of an Airflow connection."""

from __future__ import annotations

from typing import Any

from sluice_airflow.client import SluiceClient

DEFAULT = "sluice_default"


def client_of(connection: Any) -> SluiceClient:
    """For a connection of type ``http``: host with or without ``https://``, port, and a function key as password."""
    host = connection.host or ""
    base = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    port = f":{connection.port}" if connection.port else ""
    url = f"{base.rstrip('/')}{port}"
    return SluiceClient(url if url.endswith("/api") else f"{url}/api", connection.password or "")

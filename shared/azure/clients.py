"""Clients for storage: signed in by a SAS, a connection string, or the identity of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.azure import identity
from shared.azure.urls import StorageUrl, parse_url
from shared.errors import ConfigError
from shared.settings import Settings

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient
    from azure.storage.queue import QueueClient


def container_client(place: StorageUrl, settings: Settings) -> ContainerClient:
    """A client for the container of *place*: by its SAS, the connection string of its account, or our identity.

    It follows no redirect: Blob Storage has none, so one could only lead somewhere that nobody asked for.
    """
    from azure.storage.blob import ContainerClient

    proof: Any = place.sas
    if proof is None and settings.storage_connection_string:
        own = _by_connection_string(settings.storage_connection_string, place.container)
        if _same_account(own, place):
            return own
    if proof is None and place.account_url.startswith("http:"):
        raise ConfigError(
            f"{place.account_url} would receive our token unencrypted",
            fix="Use https, a URL with a SAS, or STORAGE_CONNECTION_STRING",
        )
    return ContainerClient(
        place.account_url, place.container, credential=proof or identity.credential(), permit_redirects=False
    )  # fmt: skip


def queue_client(place: StorageUrl, name: str, settings: Settings) -> QueueClient:
    """A client for a queue in the account of *place*: by STORAGE_CONNECTION_STRING if it is of that account, else by
    our identity."""
    from azure.storage.queue import QueueClient

    if settings.storage_connection_string:
        own = _by_connection_string(settings.storage_connection_string, place.container)
        if _same_account(own, place):
            return QueueClient.from_connection_string(settings.storage_connection_string, name)
    account_url = place.account_url.replace(".blob.", ".queue.", 1)
    return QueueClient(account_url, name, credential=identity.credential())


def _by_connection_string(text: str, name: str) -> ContainerClient:
    from azure.storage.blob import ContainerClient

    try:
        return ContainerClient.from_connection_string(text, name, permit_redirects=False)
    except ValueError:
        raise ConfigError(  # its cause might repeat a part of it
            "STORAGE_CONNECTION_STRING cannot be read",
            fix="Copy it from the storage account's access keys, starting with DefaultEndpointsProtocol=",
        ) from None


def _same_account(own: ContainerClient, place: StorageUrl) -> bool:
    try:
        return parse_url(str(own.url).partition("?")[0]).account_url == place.account_url
    except ConfigError:  # a custom domain: never the one of a URL we know
        return False

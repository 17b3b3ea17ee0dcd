"""Clients for storage: signed in by a SAS, a connection string, or the identity of this process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.azure import identity
from shared.azure.errors import TableSignIn, table_refused
from shared.azure.urls import DEFAULT_TABLE, StorageUrl, parse_table_url, parse_url
from shared.errors import ConfigError, IngestError
from shared.settings import CONNECTION_STRING, Settings, url_kind

if TYPE_CHECKING:
    from azure.data.tables import TableClient
    from azure.storage.blob import ContainerClient
    from azure.storage.queue import QueueClient

_EMULATOR = "UseDevelopmentStorage=true"


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


@dataclass(frozen=True, slots=True)
class TableAccess:
    """A client for a table, and by what it signs in."""

    client: TableClient = field(repr=False)
    by: str
    """``identity``, ``SAS``, or the setting with the key."""

    @property
    def endpoint(self) -> str:
        return str(self.client.url).partition("?")[0].rstrip("/")

    def explained(self, error: Exception) -> IngestError:
        """What *error* of the client means."""
        place = TableSignIn(self.endpoint, self.client.table_name, self.by)
        return table_refused(error, place, identity=identity.identity_name)


def table_access(url: str, storage_connection_string: str | None, **options: Any) -> TableAccess:
    """The table that *url*, the value of LEDGER_URL, or a connection string in its place, names; *options* are the
    client's."""
    from azure.core.credentials import AzureSasCredential
    from azure.data.tables import TableClient

    if url_kind("LEDGER_URL", url, ("https", "http", CONNECTION_STRING))[0] == CONNECTION_STRING:
        return TableAccess(_table_by_connection_string("LEDGER_URL", url.strip(), DEFAULT_TABLE, options), "LEDGER_URL")
    place = parse_table_url(url)
    if place.sas:
        sas = AzureSasCredential(place.sas)
        return TableAccess(TableClient(place.endpoint, place.table, credential=sas, **options), "SAS")
    if storage_connection_string:
        setting = "STORAGE_CONNECTION_STRING"
        own = TableAccess(
            _table_by_connection_string(setting, storage_connection_string, place.table, options), setting
        )
        if own.endpoint.lower() == place.endpoint.lower():
            return own
    if place.emulated:
        known = TableClient.from_connection_string(_EMULATOR, place.table).credential
        return TableAccess(TableClient(place.endpoint, place.table, credential=known, **options), "LEDGER_URL")
    own_identity = identity.credential()
    return TableAccess(TableClient(place.endpoint, place.table, credential=own_identity, **options), "identity")


def _table_by_connection_string(setting: str, text: str, table: str, options: Any) -> TableClient:
    from azure.data.tables import TableClient

    try:
        return TableClient.from_connection_string(text, table, **options)
    except ValueError:
        raise _unreadable(f"the connection string in {setting}") from None  # its cause might repeat a part of it


def _by_connection_string(text: str, name: str) -> ContainerClient:
    from azure.storage.blob import ContainerClient

    try:
        return ContainerClient.from_connection_string(text, name, permit_redirects=False)
    except ValueError:
        raise _unreadable("STORAGE_CONNECTION_STRING") from None  # its cause might repeat a part of it


def _unreadable(what: str) -> ConfigError:
    return ConfigError(
        f"{what} cannot be read",
        fix="Copy it from the storage account's access keys, starting with DefaultEndpointsProtocol=",
    )


def _same_account(own: ContainerClient, place: StorageUrl) -> bool:
    try:
        return parse_url(str(own.url).partition("?")[0]).account_url == place.account_url
    except ConfigError:  # a custom domain: never the one of a URL we know
        return False

"""The account a table of the ledger lies in: where LEDGER_URL points, how to sign in, what a refusal means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shared import remote
from shared.azure import identity
from shared.azure.urls import DEFAULT_TABLE, parse_table_url
from shared.errors import ConfigError, IngestError, TransientError
from shared.settings import CONNECTION_STRING, url_kind

if TYPE_CHECKING:
    from azure.data.tables import TableClient

_EMULATOR = "UseDevelopmentStorage=true"


@dataclass(frozen=True, slots=True)
class Access:
    """A client for the table, and by what it signs in."""

    client: TableClient = field(repr=False)
    by: str
    """``identity``, ``SAS``, or the setting with the key."""

    @property
    def endpoint(self) -> str:
        return str(self.client.url).partition("?")[0].rstrip("/")

    def explained(self, error: Exception) -> IngestError:
        """What *error* of the client means; without what it says, which may repeat a SAS."""
        from azure.core.exceptions import ClientAuthenticationError

        status, said = getattr(error, "status_code", None), code(error)
        host = urlsplit(self.endpoint).netloc
        unsent = status is None and isinstance(error, ClientAuthenticationError)
        if unsent and self.by != "identity":
            return ConfigError(f"the account key in {self.by} is no key", fix=_KEY)
        if unsent:
            return ConfigError(
                f"{host} needs a sign-in, and this process has none",
                fix="Give the app a managed identity, sign in with az login, or give a URL with a SAS",
            )
        if status is None:
            return remote.unreachable(error, host)
        if status in remote.BUSY or status >= 500 or said == "TableBeingDeleted":
            return TransientError(f"{host} is busy ({status} {said})", fix="Try again later")
        if status in (401, 403):
            return self._refused(said or str(status))
        return ConfigError(
            f"{self.endpoint} does not respond like Table Storage ({status} {said})".replace(" )", ")"),
            fix="Check LEDGER_URL",
        )

    def _refused(self, code: str) -> ConfigError:
        table = f"table {self.client.table_name} of {self.endpoint}"
        if code in ("AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"):
            return ConfigError(f"{self.endpoint} does not accept our sign-in ({code})", fix=_SIGN_IN.get(self.by, _KEY))
        if code == "KeyBasedAuthenticationNotPermitted":
            return ConfigError(f"{self.endpoint} accepts no keys and no SAS made with one", fix=_ROLE.format("the app"))
        if code == "AuthorizationFailure" and self.by != "SAS":
            cause = "this network" if self.by == "identity" else f"the key in {self.by}, or this network"
            return ConfigError(
                f"{self.endpoint} refuses {cause} ({code})",
                fix="Ask the account's owner to allow this machine's address or network in its firewall",
            )
        if self.by == "identity":
            who = identity.identity_name()
            return ConfigError(f"{table} may not be used by {who} ({code})", fix=_ROLE.format(who))
        return ConfigError(
            f"{table} may not be used with our {'SAS' if self.by == 'SAS' else 'key'} ({code})",
            fix="Ask for a SAS of the account with ss=t, srt=co and sp=raudc that holds for this network",
        )


_ROLE = "Give {} the role Storage Table Data Contributor on the account; this can take ten minutes to take effect"
_KEY = "Copy the connection string again from the access keys of the storage account"
_SIGN_IN = {
    "identity": "Check that the identity is of the account's own tenant",
    "SAS": "Check that the SAS has not expired and is complete, or ask for a new one",
}


def code(error: Exception) -> str:
    """The service's word for what went wrong; empty if it did not say one."""
    found = getattr(error, "error_code", None) or ""
    return str(getattr(found, "value", found))


def access(url: str, storage_connection_string: str | None, **options: Any) -> Access:
    """A client for the table that *url*, or a connection string in its place, names; *options* are the client's."""
    from azure.core.credentials import AzureSasCredential
    from azure.data.tables import TableClient

    if url_kind("LEDGER_URL", url, ("https", "http", CONNECTION_STRING))[0] == CONNECTION_STRING:
        return Access(_by_connection_string("LEDGER_URL", url.strip(), DEFAULT_TABLE, options), "LEDGER_URL")
    place = parse_table_url(url)
    if place.sas:
        sas = AzureSasCredential(place.sas)
        return Access(TableClient(place.endpoint, place.table, credential=sas, **options), "SAS")
    if storage_connection_string:
        setting = "STORAGE_CONNECTION_STRING"
        own = Access(_by_connection_string(setting, storage_connection_string, place.table, options), setting)
        if own.endpoint.lower() == place.endpoint.lower():
            return own
    if place.emulated:
        known = TableClient.from_connection_string(_EMULATOR, place.table).credential
        return Access(TableClient(place.endpoint, place.table, credential=known, **options), "LEDGER_URL")
    return Access(TableClient(place.endpoint, place.table, credential=identity.credential(), **options), "identity")


def _by_connection_string(setting: str, text: str, table: str, options: Any) -> TableClient:
    from azure.data.tables import TableClient

    try:
        return TableClient.from_connection_string(text, table, **options)
    except ValueError:
        raise ConfigError(  # its cause might repeat a part of it
            f"the connection string in {setting} cannot be read",
            fix="Copy it from the storage account's access keys, starting with DefaultEndpointsProtocol=",
        ) from None

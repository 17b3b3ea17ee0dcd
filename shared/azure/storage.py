"""Azure's storage: where a URL points, and how to sign in there."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import json
import re

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from shared.errors import ConfigError
from shared.settings import Settings

if TYPE_CHECKING:
    from azure.identity import DefaultAzureCredential
    from azure.storage.blob import ContainerClient
    from azure.storage.queue import QueueClient

# Only Microsoft's own domains: a token for storage is sent to whatever host this lets through.
_HOST = re.compile(
    r"(?P<account>[a-z0-9-]+(?:\.z[0-9]+|\.privatelink)?)\.(?:blob|dfs)\."
    r"(?P<cloud>core\.windows\.net|core\.chinacloudapi\.cn|core\.usgovcloudapi\.net|core\.cloudapi\.de"
    r"|storage\.azure\.net)"
)
_EMULATED = "devstoreaccount1"
"""The account of Azurite, which has it as the first part of the path."""
_ADDRESSING = ("restype", "comp", "prefix", "delimiter")
"""Parts of a query that say what to do, not with which right; portals copy them along."""


@cache
def credential() -> DefaultAzureCredential:
    """The identity this process has: managed, federated (workload), or a developer's own sign-in."""
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()


def identity() -> str:
    """The name of that identity as its token has it, for people; never raises."""
    from azure.core.exceptions import AzureError

    try:
        return identity_of(credential().get_token("https://storage.azure.com/.default").token)
    except AzureError:
        return "this app's identity"


def identity_of(token: str) -> str:
    """Who *token* was given to: a person's sign-in name, or an application's ids.

    >>> identity_of("e30.eyJ1cG4iOiAiYWRhQGFjbWUuY29tIn0.x")
    'ada@acme.com'
    """
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (IndexError, ValueError):
        return "this app's identity"
    person, app, principal = claims.get("upn"), claims.get("appid"), claims.get("oid")
    return str(person or (f"application {app} (principal {principal})" if app else "this app's identity"))


class StorageUrl(NamedTuple):
    """A container, or something in it."""

    account_url: str
    """Without a slash at its end, the same for every way to write it."""
    container: str
    path: str
    """Of a blob or a folder, not percent-encoded; empty for the whole container."""
    sas: str | None
    """The query that signs in, without its question mark."""

    def __repr__(self) -> str:
        return f"StorageUrl({self.url!r}{', with a SAS' if self.sas else ''})"

    @property
    def url(self) -> str:
        """The name of the place for people and records, not percent-encoded: no SAS, no slash at its end."""
        return f"{self.account_url}/{self.container}/{self.path}".rstrip("/")

    @property
    def link(self) -> str:
        """A URL that leads there, percent-encoded and without what signs in: ``split`` reads it back."""
        return f"{self.account_url}/{quote(self.container)}/{quote(self.path)}"

    def within(self, url: str) -> StorageUrl | None:
        """The place that ``url`` of a place in the same container names; None if it is in another."""
        base = f"{self.account_url}/{self.container}/"
        return self._replace(path=url.removeprefix(base)) if url.startswith(base) else None


def is_blob_url(url: str) -> bool:
    """Whether *url* points to Blob Storage, by its host, or to Azurite."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(_HOST.fullmatch(parts.hostname or "") or _is_emulated(parts))


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine, by its name or address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name; 127.acme.com is one as well
        return False


def parse_url(url: str) -> StorageUrl:
    """What *url* points to; the host of Data Lake Storage (dfs) becomes the one of blobs.

    ConfigError if it names no container, is no storage URL at all, or has lost part of its SAS.

    >>> parse_url("https://acme.dfs.core.windows.net/exports/Full/a%20b?sv=2021&sig=x")
    StorageUrl('https://acme.blob.core.windows.net/exports/Full/a b', with a SAS)
    """
    parts = urlsplit(url)
    if not is_blob_url(url):
        raise ConfigError(f"{_told(parts)} is no URL of Blob Storage", fix=_FORM)
    segments = parts.path.lstrip("/").split("/")
    if _is_emulated(parts):
        account_url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2].lower()}/{segments.pop(0)}"
    else:
        account_url = _account_url(parts)
    container, *below = segments or [""]
    if not container:
        raise ConfigError(f"{account_url} names no container", fix=_FORM)
    return StorageUrl(account_url, unquote(container), unquote("/".join(below)), _sas(parts, account_url))


_FORM = "Write https://<account>.blob.core.windows.net/<container>/<folder>"


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
        place.account_url, place.container, credential=proof or credential(), permit_redirects=False
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
    return QueueClient(account_url, name, credential=credential())


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


def _is_emulated(parts: SplitResult) -> bool:
    if parts.path.lstrip("/").partition("/")[0] != _EMULATED:
        return False
    host = parts.hostname or ""
    # A name without dots is another container on this machine's network, as in docker compose.
    return "." not in host or is_loopback(host) or host == "host.docker.internal"


def _account_url(parts: SplitResult) -> str:
    found = _HOST.fullmatch(parts.hostname or "")
    assert found is not None  # noqa: S101 - is_blob has looked
    account = found["account"].removesuffix(".privatelink").removesuffix("-secondary")
    if parts.scheme != "https":
        raise ConfigError(f"{_told(parts)} is not encrypted", fix="Start it with https://")
    return f"https://{account}.blob.{found['cloud']}"


def _sas(parts: SplitResult, account_url: str) -> str | None:
    fields = [field for field in parts.query.split("&") if field.partition("=")[0].lower() not in _ADDRESSING]
    names = {field.partition("=")[0] for field in fields}
    if "sig" in names:
        return "&".join(fields)
    if names & {"sv", "se", "sp", "sr", "ss", "st", "skoid"}:
        raise ConfigError(
            f"the SAS for {account_url} is truncated: it has no sig",
            fix="Put the URL in quotes: a shell stops at each &",
        )
    return None


def _told(parts: SplitResult) -> str:
    """What of a URL may be said aloud."""
    return f"{parts.scheme}://{(parts.hostname or '').lower()}{quote(unquote(parts.path), safe='/')}"


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

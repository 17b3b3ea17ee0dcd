"""Where a storage URL points: account, container and path of a blob, or account and table. Pure."""

from __future__ import annotations

import ipaddress
import re

from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

from shared.azure.sas import sas_field
from shared.errors import ENCRYPTED, ConfigError

# Only Microsoft's own domains: a token for storage is sent to whatever host this lets through.
_HOST = re.compile(
    r"(?P<account>[a-z0-9-]+(?:\.z[0-9]+|\.privatelink)?)\.(?P<service>blob|dfs|table)\."
    r"(?P<cloud>core\.windows\.net|core\.chinacloudapi\.cn|core\.usgovcloudapi\.net|core\.cloudapi\.de"
    r"|storage\.azure\.net)"
)
_EMULATED = "devstoreaccount1"
"""The account of Azurite, which has it as the first part of the path."""
_ADDRESSING = ("restype", "comp", "prefix", "delimiter")
"""Parts of a query that say what to do, not with which right; portals copy them along."""
_FORM = "Write https://<account>.blob.core.windows.net/<container>/<folder>"
_TABLE_FORM = (
    "Write https://<account>.table.core.windows.net/<table>, a SAS behind it or not, or give a connection string"
)
_TABLE = re.compile(r"(?!tables$)[a-z][a-z0-9]{2,62}", re.IGNORECASE)
DEFAULT_TABLE = "ledger"


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


class TableUrl(NamedTuple):
    """A table, as a URL names it."""

    endpoint: str
    """Of the account, without a slash at its end."""
    table: str = DEFAULT_TABLE
    sas: str | None = None
    emulated: bool = False


def is_blob_url(url: str) -> bool:
    """Whether *url* points to Blob Storage, by its host, or to Azurite."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(_is_host_of(parts, "blob", "dfs") or _is_emulated(parts))


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
        raise ConfigError(f"{_printable(parts)} is no URL of Blob Storage", fix=_FORM)
    segments = parts.path.lstrip("/").split("/")
    if _is_emulated(parts):
        account_url = f"{parts.scheme}://{_address(parts)}/{segments.pop(0)}"
    else:
        account_url = _account_url(parts)
    container, *below = segments or [""]
    if not container:
        raise ConfigError(f"{account_url} names no container", fix=_FORM)
    return StorageUrl(account_url, unquote(container), unquote("/".join(below)), _sas(parts, account_url))


def parse_table_url(url: str) -> TableUrl:
    """What *url*, the value of LEDGER_URL, points to. ConfigError, without any secret of it, if that is no table.

    >>> parse_table_url("https://acme.table.core.windows.net/")
    TableUrl(endpoint='https://acme.table.core.windows.net', table='ledger', sas=None, emulated=False)
    >>> parse_table_url("http://[::1]:10002/devstoreaccount1/other")
    TableUrl(endpoint='http://[::1]:10002/devstoreaccount1', table='other', sas=None, emulated=True)
    """
    try:
        parts = urlsplit(url)
        address = f"{parts.scheme}://{_address(parts)}"
    except ValueError:
        raise ConfigError("LEDGER_URL is malformed", fix=_TABLE_FORM) from None  # its cause might repeat a part of it
    names = [unquote(name) for name in parts.path.split("/") if name]
    emulated = _may_be_emulator(parts.hostname or "") and bool(names)
    if not emulated and not (_is_host_of(parts, "table") and parts.scheme == "https"):
        raise ConfigError("LEDGER_URL names no account of Table Storage", fix=_TABLE_FORM)
    endpoint = f"{address}/{names.pop(0)}" if emulated else address
    if len(names) > 1 or (names and not _TABLE.fullmatch(names[0])):
        raise ConfigError(
            f"LEDGER_URL names no table of {endpoint}", fix="Its name has 3 to 63 letters and digits, a letter first"
        )
    return TableUrl(endpoint, (names or [DEFAULT_TABLE])[0], _table_sas(parts.query, endpoint), emulated)


def _table_sas(query: str, endpoint: str) -> str | None:
    if query and not sas_field(query, "sig"):
        raise ConfigError(
            f"the SAS for {endpoint} is truncated: it has no sig",
            fix="Put LEDGER_URL in quotes: a shell stops at each &",
        )
    return query or None


def _is_host_of(parts: SplitResult, *services: str) -> bool:
    found = _HOST.fullmatch(parts.hostname or "")
    return found is not None and found["service"] in services


def _may_be_emulator(host: str) -> bool:
    """Whether Azurite may answer there: this machine, or another container of its network, whose name has no dots."""
    is_plain_name = bool(host) and "." not in host and ":" not in host
    return is_plain_name or is_loopback(host) or host == "host.docker.internal"


def _is_emulated(parts: SplitResult) -> bool:
    return parts.path.lstrip("/").partition("/")[0] == _EMULATED and _may_be_emulator(parts.hostname or "")


def _address(parts: SplitResult) -> str:
    """Host and port, without what signs in. ValueError for a port that is no number."""
    parts.port  # noqa: B018 - looks at it
    return parts.netloc.rpartition("@")[2].lower()


def _account_url(parts: SplitResult) -> str:
    found = _HOST.fullmatch(parts.hostname or "")
    assert found is not None  # noqa: S101 - is_blob has looked
    account = found["account"].removesuffix(".privatelink").removesuffix("-secondary")
    if parts.scheme != "https":
        raise ConfigError(f"{_printable(parts)} is not encrypted", fix=ENCRYPTED)
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


def _printable(parts: SplitResult) -> str:
    """What of a URL may be printed."""
    return f"{parts.scheme}://{(parts.hostname or '').lower()}{quote(unquote(parts.path), safe='/')}"

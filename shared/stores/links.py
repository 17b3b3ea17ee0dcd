"""Files behind links that another system sent: followed one by one, to where they say and no further."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import BinaryIO, TypeAlias
from urllib.parse import urlsplit

from shared import remote
from shared.azure import sas, urls
from shared.errors import ConfigError, DataError, IngestError
from shared.settings import Settings
from shared.stores import File, blob, https

Resolve: TypeAlias = Callable[[str], Sequence[str]]
"""The IP addresses of a host, as text. OSError if it has none."""

_OPEN = 32
"""Links whose connections are kept; each file has one of its own, and there may be thousands."""
_PLATFORM = ipaddress.ip_address("168.63.129.16")
"""What Azure's machines ask about themselves; it looks public, and is not."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def addresses(host: str) -> Sequence[str]:
    """What this machine's resolver says of *host*."""
    return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})


class LinkStore:
    """One file behind each link, in the order of the links. Names are links without their queries.

    Whoever may choose a link could otherwise make this app ask its own network. So no redirect is followed, and a host
    is asked only if all its addresses are public, but for one that is written as this machine itself. The check comes
    before the connection, which resolves the name again: should it lead elsewhere by then (DNS rebinding), the server
    there has no certificate for the name, and TLS ends the connection before anything is sent.

    A link to Blob Storage has to bring its own SAS, for this app's rights are not for others to point.
    """

    def __init__(
        self, links: Sequence[str], settings: Settings, *, most_bytes: int, resolve: Resolve = addresses
    ) -> None:
        """Nothing is asked of any host yet. ConfigError for a link that cannot be followed, or two to one file."""
        self._links = {_name(link): link for link in links}
        if len(self._links) != len(links):
            raise ConfigError("two links lead to one file", fix="Ask for one link to each file")
        self._most_bytes, self._resolve = most_bytes, resolve
        self._store = lru_cache(maxsize=_OPEN)(partial(_opened, settings=settings))
        self._public: set[str] = set()

    @property
    def expires(self) -> dt.datetime | None:
        """When the first of the links ends."""
        return min((end for link in self._links.values() if (end := sas.link_expiry(link))), default=None)

    def list(self) -> Iterator[File]:
        """The file behind each link. DataError at one that is larger than is taken."""
        for name in self._links:
            file = self._of(name).file()
            if file.size > self._most_bytes:
                raise DataError(
                    f"{name} has {file.size} bytes, more than the limit of {self._most_bytes}",
                    fix="Inspect it, then raise WEBHOOK_MAX_BYTES if it should be loaded",
                )
            yield file

    def etag(self, file: File) -> str:
        """The ETag, or size and Last-Modified, as the server reports them."""
        return file.version

    def open(self, file: File) -> BinaryIO:
        return self._of(file.name).open(file)

    def _of(self, name: str) -> blob.BlobStore | https.HttpsStore:
        if name not in self._links:
            raise ConfigError(f"no link leads to {name}", fix="Ask for a new notification")
        self._refuse_inside(urlsplit(name).hostname or "")
        return self._store(self._links[name])

    def _refuse_inside(self, host: str) -> None:
        """ConfigError if *host* is in no public network, unless it says itself that it is this machine."""
        if host in self._public or urls.is_loopback(host):
            return
        found = remote.call_with_retry(
            lambda: self._resolve(host), (OSError, UnicodeError), lambda e: _unknown(e, host)
        )
        inside = [text for text in found if not _is_public(text)]
        if inside or not found:
            raise ConfigError(
                f"{host} resolves to an address that is not public ({', '.join(inside) or 'no address'})",
                fix="Check the link and this machine's DNS. Files in a private network: use sluice load and their URL",
            )
        self._public.add(host)


def _name(link: str) -> str:
    scheme, host = _scheme_and_host(link)
    if not host or not (scheme == "https" or (scheme == "http" and urls.is_loopback(host))):
        raise ConfigError("a link does not start with https:// and a host", fix=_FIX)
    if not urls.is_blob_url(link):
        return https.name(link)
    place = urls.parse_url(link)
    if place.sas is None:
        raise ConfigError(f"the link to {place.url} has no SAS", fix=_FIX)
    if not place.path or place.path.endswith("/"):
        raise ConfigError(f"the link to {place.url} is not one to a file", fix=_FIX)
    return place.url


_FIX = "Ask for complete links to files, with their SAS"


def _scheme_and_host(link: str) -> tuple[str, str]:
    with contextlib.suppress(ValueError):  # it repeats the link
        parts = urlsplit(link)
        if parts.port is None or parts.port:
            return parts.scheme, parts.hostname or ""
    raise ConfigError("a link is no URL: its host or port is malformed", fix=_FIX)


def _opened(link: str, settings: Settings) -> blob.BlobStore | https.HttpsStore:
    if urls.is_blob_url(link):
        return blob.open_store(link, settings)
    return https.open_store(link, settings, redirects=False)


def _is_public(text: str) -> bool:
    """Whether everybody's packets to this address go to the same place.

    >>> [_is_public(a) for a in ("20.60.1.1", "10.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "168.63.129.16")]
    [True, False, False, False, False]
    """
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        translated = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
        inner = address.ipv4_mapped or address.sixtofour or translated
        if inner is not None:
            return _is_public(str(inner))
        if address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address == _PLATFORM)


def _unknown(error: Exception, host: str) -> IngestError:
    if isinstance(error, UnicodeError):  # a part of it is longer than a name may have
        return ConfigError(f"there is no host {host}", fix=_FIX)
    return remote.unreachable(error, host)

"""Verify and parse a CoolR export notification. Pure.

    {"clientName": "Contoso", "exportType": "Full", "exportDateTime": "2026-02-24T12:00:00Z",
     "files": [{"fileName": "location.parquet", "downloadUrl": "https://..."}]}

The sender may be mistaken, or may have lost the secret, so nothing in a notification is trusted further than is needed:
above all, links may only point to hosts that an operator has listed.
"""

from __future__ import annotations

import codecs
import datetime as dt
import hmac
import json
import math
import re

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from shared.azure import urls
from shared.errors import RequestRefused
from shared.jobs.notifications import Link, Notification
from shared.model import Kind, to_text

MOST_BYTES = 1 << 20
"""Bytes of a notification."""
MOST_FILES = 10_000
SIGNATURE_HEADER = "X-CoolR-Signature"

_MOST_CLIENT, _MOST_URL, _MOST_TEXT, _MOST_DIGITS = 100, 4096, 200, 40
_KINDS: Mapping[str, Kind] = {"Full": "full", "Delta": "delta"}
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_STAMPS = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}
_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
# Windows takes the names of its devices for these, whatever their ending.
_FILE = re.compile(
    r"(?!(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])\.)[A-Za-z0-9][A-Za-z0-9_.-]{0,119}(?i:\.parquet)", re.ASCII
)
# No more than RFC 3986 has for each part, and less: where one parser sees a host, no other may see anything else.
_CHARACTER = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
    rf"(?::(?P<port>[1-9][0-9]{{0,4}}))?(?P<path>(?:/{_CHARACTER}+)+)(?:\?(?:{_CHARACTER}|[/?])*)?"
)
_HIDDEN = re.compile(r"%(?:25)*(?:2e|2f|5c)", re.IGNORECASE)
"""A dot, slash or backslash that somebody encoded, however often."""


def verify(body: bytes, signature: str | None, secrets: Sequence[str]) -> None:
    """RequestRefused (401) unless *signature* is the HMAC-SHA256 of *body*, as received, with one of *secrets*.

    It is 64 lower-case hex digits. The time this takes reveals neither the right signature nor which secret it needs.
    """
    _refuse_large(body)
    if signature is None or not _SIGNATURE.fullmatch(signature):
        raise RequestRefused(401, f"{SIGNATURE_HEADER} is missing, or not 64 lower-case hex digits")
    right = [hmac.digest(secret.encode(), body, "sha256").hex() for secret in secrets if secret]
    if not any([hmac.compare_digest(one, signature) for one in right]):  # noqa: C419 - all of them, always
        raise RequestRefused(401, f"{SIGNATURE_HEADER} is not the signature of this body")


def read(
    body: bytes, *, now: dt.datetime, max_age_seconds: float, ahead_seconds: float, hosts: Sequence[str],
    client: str | None,
) -> Notification:  # fmt: skip
    """The notification in *body*. RequestRefused (400) names the field that is wrong; unknown fields are ignored.

    The export may be *max_age_seconds* older and *ahead_seconds* newer than *now* (aware), as clocks differ. *client*,
    if given, is the only one accepted. Links lead over https to one of *hosts* (``host``, or ``host:port`` for another
    port than 443), spelled as in the link: no patterns, and no addresses but those listed. A listed host that is this
    machine (localhost, 127.0.0.1, [::1]) may be reached over http as well, for Azurite on a laptop.
    """
    _refuse_large(body)
    fields = _object(body)
    return Notification(
        client=_client(fields, client),
        kind=_kind(fields),
        exported_at=_exported_at(fields, now, max_age_seconds, ahead_seconds),
        links=_links(fields.get("files"), hosts),
    )


def _refuse_large(body: bytes) -> None:
    if len(body) > MOST_BYTES:
        raise RequestRefused(413, f"the body is larger than {MOST_BYTES} bytes")


def _object(body: bytes) -> dict[str, Any]:
    parsed: Any = None
    try:
        parsed = json.loads(
            body.decode(), object_pairs_hook=_unique, parse_int=_number, parse_float=_number, parse_constant=_number
        )
        wrong = "" if isinstance(parsed, dict) else "the body is not a JSON object"
    except UnicodeDecodeError:
        wrong = "the body is not UTF-8"
    except RecursionError:
        wrong = "the body is nested too deeply"
    except ValueError:
        wrong = "the body has a byte order mark" if body.startswith(codecs.BOM_UTF8) else "the body is not JSON"
    if wrong:  # out here, as the parser's own error, which repeats the body, would be its context in there
        raise RequestRefused(400, wrong)
    return parsed  # type: ignore[no-any-return]  # a dict, by the above


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise RequestRefused(400, "the body has two fields of one name in one object")
    return found


def _number(text: str) -> float:
    """A number, which no field of ours is; one that other parsers would refuse or read as something else is refused."""
    if len(text) > _MOST_DIGITS or not math.isfinite(number := float(text)):
        raise RequestRefused(400, "the body has a number that is too long, too large or none")
    return number


def _text(fields: Mapping[str, Any], name: str, most: int, *, under: str = "") -> str:
    text = fields.get(name)
    if not isinstance(text, str):
        raise RequestRefused(400, f"{under}{name} is {'not a text' if name in fields else 'missing'}")
    if not 1 <= len(text) <= most:
        raise RequestRefused(400, f"{under}{name} does not have 1 to {most} characters")
    if not text.isprintable():  # nor are half characters (surrogates)
        raise RequestRefused(400, f"{under}{name} has characters that cannot be printed")
    return text


def _client(fields: Mapping[str, Any], expected: str | None) -> str:
    client = _text(fields, "clientName", _MOST_CLIENT)
    if client != client.strip():
        raise RequestRefused(400, "clientName begins or ends with a blank")
    if expected is not None and client != expected:
        raise RequestRefused(400, "clientName is not the client whose exports this app loads")
    return client


def _kind(fields: Mapping[str, Any]) -> Kind:
    kind = _KINDS.get(_text(fields, "exportType", _MOST_TEXT))
    if kind is None:
        raise RequestRefused(400, f"exportType is not {' or '.join(_KINDS)}")
    return kind


def _exported_at(
    fields: Mapping[str, Any], now: dt.datetime, max_age_seconds: float, ahead_seconds: float
) -> str:  # fmt: skip
    text = _text(fields, "exportDateTime", _MOST_TEXT)
    try:
        moment = _moment(text)
    except (ValueError, OverflowError):  # no such day, or one that is in year 0 by UTC
        moment = None
    if moment is None:
        raise RequestRefused(400, "exportDateTime is not an ISO 8601 time, such as 2026-02-24T12:00:00Z")
    age = (now - moment).total_seconds()
    if age > max_age_seconds:
        raise RequestRefused(400, f"exportDateTime is more than {max_age_seconds:.0f} seconds ago")
    if age < -ahead_seconds:
        raise RequestRefused(400, "exportDateTime is in the future")
    return to_text(moment)


def _moment(text: str) -> dt.datetime | None:
    """The time in *text*, aware and in UTC, which is also what one without zone is in; None if it has another form."""
    if text.isascii() and text.isdigit() and len(text) in _STAMPS:
        found = dt.datetime.strptime(text, _STAMPS[len(text)])  # noqa: DTZ007 - as in folders, in UTC
    elif _ISO.fullmatch(text):
        found = dt.datetime.fromisoformat(text)
    else:
        return None
    return found.astimezone(dt.UTC) if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _links(files: Any, hosts: Sequence[str]) -> tuple[Link, ...]:
    if not isinstance(files, list) or not 1 <= len(files) <= MOST_FILES:
        raise RequestRefused(400, f"files is not a list of 1 to {MOST_FILES} objects")
    allowed = {host.strip().lower().removesuffix(":443") for host in hosts}
    names: dict[str, int] = {}
    targets: dict[str, int] = {}
    links: list[Link] = []
    for number, file in enumerate(files):
        if not isinstance(file, dict):
            raise RequestRefused(400, f"files[{number}] is not an object")
        name = _file_name(file, f"files[{number}].")
        url, target = _download_url(file, f"files[{number}].", allowed)
        if (earlier := names.setdefault(name.casefold(), number)) != number:
            raise RequestRefused(400, f"files[{number}].fileName is the same as that of files[{earlier}]")
        # A file is known by its link without the query: two of one would be one file.
        if (earlier := targets.setdefault(target, number)) != number:
            raise RequestRefused(400, f"files[{number}].downloadUrl is the same as that of files[{earlier}]")
        links.append(Link(name=name, url=url))
    return tuple(sorted(links, key=lambda link: link.name))


def _file_name(file: Mapping[str, Any], under: str) -> str:
    name = _text(file, "fileName", _MOST_TEXT, under=under)
    if not _FILE.fullmatch(name) or ".." in name:
        raise RequestRefused(400, f"{under}fileName is not a plain name that ends in .parquet")
    return name


def _download_url(file: Mapping[str, Any], under: str, allowed: set[str]) -> tuple[str, str]:
    """The link, and what it leads to: the same for every way to write it."""
    name = f"{under}downloadUrl"
    url = _text(file, "downloadUrl", _MOST_URL, under=under)
    parts = _URL.fullmatch(url)
    if parts is None:
        raise RequestRefused(
            400, f"{name} is not a plain link: https, a host, the path of a file, and optionally a query"
        )
    host = parts["host"].lower()
    usual = {"https": "443", "http": "80"}[parts["scheme"]]
    address = host if parts["port"] in (None, usual) else f"{host}:{parts['port']}"
    if address not in allowed:
        raise RequestRefused(400, f"{name} points to {address[:100]}, which is not in COOLR_WEBHOOK_HOSTS")
    if parts["scheme"] == "http" and not urls.is_loopback(host.strip("[]")):
        raise RequestRefused(400, f"{name} is not encrypted: it does not start with https://")
    path = _path(parts["path"])
    if path is None:
        raise RequestRefused(400, f"{name} has a path with dots, or with encoded slashes or characters")
    return url, f"{address}{path}"


def _path(encoded: str) -> str | None:
    """*encoded* as plain text; None if there is more than one way to understand it."""
    if _HIDDEN.search(encoded) or {".", ".."} & set(encoded.split("/")):
        return None
    try:
        path = unquote(encoded, errors="strict")
    except UnicodeDecodeError:
        return None
    return path if path.isprintable() else None

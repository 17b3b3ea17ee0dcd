"""Verify and parse the events that HubSpot posts. Pure.

    [{"eventId": 100, "subscriptionId": 1234, "portalId": 62515, "occurredAt": 1564113600000, "attemptNumber": 0,
      "subscriptionType": "contact.propertyChange", "objectId": 123, "propertyName": "email", "propertyValue": "..."}]

HubSpot delivers an event at least once, and in any order. Events say which objects to read again, and never what their
values are.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
import re

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from shared.errors import RequestRefused

MOST_BYTES = 1 << 20
"""Bytes of a request."""
MOST_EVENTS = 100
"""Events of a request."""
WINDOW_SECONDS = 300
"""How far the time of a signature may be from ours, before or after."""

Version: TypeAlias = Literal["v1", "v2", "v3"]
Action: TypeAlias = Literal["read", "delete", "merge", "associate", "erase", "none"]

_HEADERS: Mapping[Version, str] = {
    "v1": "x-hubspot-signature", "v2": "x-hubspot-signature", "v3": "x-hubspot-signature-v3",
}  # fmt: skip
_VERSION_HEADER, _TIME_HEADER = "x-hubspot-signature-version", "x-hubspot-request-timestamp"
_DECODED = re.compile(r"%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
"""What HubSpot decodes in a URI before it signs it as v3. Everything else stays encoded."""
_MILLISECONDS, _DIGITS = re.compile(r"[0-9]{1,15}"), re.compile(r"[0-9]{1,19}")
_KIND = re.compile(r"[A-Za-z0-9_-]{1,60}\.[A-Za-z]{1,60}", re.ASCII)
_TYPE = re.compile(r"[A-Za-z0-9_-]{1,60}", re.ASCII)
_MOST_DIGITS, _MOST_ID = 20, (1 << 63) - 1
_ACTIONS: Mapping[str, Action] = {
    "creation": "read", "propertyChange": "read", "restore": "read", "deletion": "delete", "merge": "merge",
    "associationChange": "associate", "privacyDeletion": "erase",
}  # fmt: skip
_TYPES = {"contact": "0-1", "company": "0-2", "deal": "0-3", "ticket": "0-5", "product": "0-7", "line_item": "0-8"}
"""Object types by the names that events have for them. Others are named by their ids."""
_OBJECTS = {**{f"{name}s": id for name, id in _TYPES.items()}, "companies": "0-2", "appointments": "0-421"}
"""Object types by the names that the API has for them."""
_KEY = (
    "portalId", "subscriptionId", "eventId", "objectId", "occurredAt", "propertyName", "fromObjectId", "toObjectId",
)  # fmt: skip
"""What two deliveries of one event share. An event id alone is not unique, and each attempt has a number of its own."""


class Request(NamedTuple):
    """What HubSpot signs."""

    method: str
    url: str
    """What HubSpot called: see ``called``."""
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: bytes


class Event(NamedTuple):
    """What one event means for us."""

    portal: int
    """The account."""
    kind: str
    """Such as ``contact.propertyChange``."""
    object_type: str
    """HubSpot's id of the type of object, such as 0-1 for contacts, or the name that the event has for it."""
    action: Action
    """``none`` if the event is of a type that is not known."""
    ids: tuple[int, ...]
    """The objects concerned. Of a merge the surviving object is first; of an association, from and to."""
    occurred_at: int
    """Milliseconds since 1970."""
    key: str
    """The same for all deliveries of one event: 64 hex digits."""


def object_type(name: str) -> str:
    """HubSpot's id of a type of object, as ``Event.object_type``, by the name that the API has for it.

    >>> object_type("contacts"), object_type("2-123")
    ('0-1', '2-123')
    """
    return _OBJECTS.get(name, _TYPES.get(name, name))


def called(url: str, base: str | None) -> str:
    """The URL that HubSpot called, where *url* is what the app was called with, maybe by a proxy.

    *base* is the scheme and host, with a path before /api if there is one, under which HubSpot knows the app.

    >>> called("http://10.0.0.4:8080/api/webhooks/hubspot?code=K", "https://sluice.example.com")
    'https://sluice.example.com/api/webhooks/hubspot?code=K'
    """
    if base is None:
        return url
    parts = urlsplit(url)
    return base.rstrip("/") + parts.path + (f"?{parts.query}" if parts.query else "")


def verify(request: Request, secrets: Sequence[str], *, version: Version, now: dt.datetime) -> None:
    """RequestRefused (401) unless one of *secrets* (client secrets of the app) signed *request* by *version*.

    A v3 signature has a time, which may be ``WINDOW_SECONDS`` before or after *now* (aware). v1 and v2 have none. The
    time this takes reveals neither the right signature nor which secret it needs.
    """
    _refuse_large(request.body)
    header = _HEADERS[version]
    given = request.headers.get(header)
    if not given:
        raise RequestRefused(401, f"{header} is missing")
    if version == "v3":
        _refuse_other_time(request.headers.get(_TIME_HEADER), now)
    elif request.headers.get(_VERSION_HEADER) != version:
        raise RequestRefused(401, f"{_VERSION_HEADER} is not {version}")
    right = [_signature(request, secret, version) for secret in secrets if secret]
    # Compared as bytes: a text that is not ASCII cannot be compared in constant time.
    if not any([hmac.compare_digest(one, _bytes(given)) for one in right]):  # noqa: C419 - all of them, always
        raise RequestRefused(401, f"{header} is not the signature of this request")


def read(body: bytes) -> list[Event]:
    """The events in *body*, each once, in the order in which they came.

    RequestRefused (400, 413) names what is wrong. Unknown fields are ignored, and events of unknown types have the
    action ``none``. Nothing in the reason repeats a value of the body.
    """
    _refuse_large(body)
    found = _array(body)
    if not 1 <= len(found) <= MOST_EVENTS:
        raise RequestRefused(400, f"the body does not have 1 to {MOST_EVENTS} events")
    events = (_event(one, f"event {number}: ") for number, one in enumerate(found))
    return list({event.key: event for event in events}.values())


def _refuse_large(body: bytes) -> None:
    if len(body) > MOST_BYTES:
        raise RequestRefused(413, f"the body is larger than {MOST_BYTES} bytes")


def _refuse_other_time(text: str | None, now: dt.datetime) -> None:
    if text is None or not _MILLISECONDS.fullmatch(text):
        raise RequestRefused(401, f"{_TIME_HEADER} is missing, or not a number of milliseconds")
    if abs(now.timestamp() * 1000 - int(text)) > WINDOW_SECONDS * 1000:
        raise RequestRefused(401, f"{_TIME_HEADER} is more than {WINDOW_SECONDS} seconds from now")


def _signature(request: Request, secret: str, version: Version) -> bytes:
    if version == "v3":
        uri = _DECODED.sub(lambda found: chr(int(found[0][1:], 16)), request.url)
        signed = _bytes(f"{request.method}{uri}") + request.body + request.headers[_TIME_HEADER].encode()
        return base64.b64encode(hmac.digest(secret.encode(), signed, "sha256"))
    before = secret if version == "v1" else f"{secret}{request.method}{request.url}"
    return hashlib.sha256(_bytes(before) + request.body).hexdigest().encode()


def _bytes(text: str) -> bytes:
    """*text* in UTF-8. Headers and URLs of hostile requests may have half characters (surrogates) in them."""
    return text.encode(errors="surrogatepass")


def _array(body: bytes) -> list[Any]:
    parsed: Any = None
    try:
        parsed = json.loads(body.decode(), parse_int=_whole, parse_constant=_no_number)
        wrong = "" if isinstance(parsed, list) else "the body is not a JSON array"
    except UnicodeDecodeError:
        wrong = "the body is not UTF-8"
    except RecursionError:
        wrong = "the body is nested too deeply"
    except ValueError:
        wrong = "the body is not JSON"
    if wrong:  # out here, as the parser's own error, which repeats the body, would be its context in there
        raise RequestRefused(400, wrong)
    return parsed  # type: ignore[no-any-return]  # a list, by the above


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise RequestRefused(400, "the body has a number that is too long")
    return int(text)


def _no_number(_: str) -> float:
    raise RequestRefused(400, "the body has a number that is none")


def _event(fields: Any, under: str) -> Event:
    if not isinstance(fields, dict):
        raise RequestRefused(400, f"{under}it is not an object")
    kind = fields.get("subscriptionType")
    if not isinstance(kind, str):
        raise RequestRefused(400, f"{under}subscriptionType is missing")
    # A type of another form is one to come: it must not cost the other events of the request.
    name, _, what = kind.partition(".") if _KIND.fullmatch(kind) else ("", "", "")
    known = fields.get("objectTypeId")
    action = _ACTIONS.get(what, "none")
    missing = known is None and name == "object" and action != "none"
    if missing or (known is not None and not (isinstance(known, str) and _TYPE.fullmatch(known))):
        raise RequestRefused(400, f"{under}objectTypeId is missing, or not a type of object")
    object_type = known or _TYPES.get(name, name)
    key = json.dumps([fields.get(part) for part in _KEY] + [kind, known])
    return Event(
        portal=_id(fields, "portalId", under), kind=kind, object_type=object_type, action=action,
        ids=tuple(dict.fromkeys(_ids(fields, action, under))), occurred_at=_id(fields, "occurredAt", under),
        key=hashlib.sha256(key.encode()).hexdigest(),
    )  # fmt: skip


def _ids(fields: Mapping[str, Any], action: Action, under: str) -> Iterable[int]:
    if action == "none":
        return []
    if action == "associate":
        return [_id(fields, "fromObjectId", under), _id(fields, "toObjectId", under)]
    if action != "merge":
        return [_id(fields, "objectId", under)]
    merged = fields.get("mergedObjectIds")
    if not isinstance(merged, list) or not merged:
        raise RequestRefused(400, f"{under}mergedObjectIds is not a list of ids")
    # Some merges make a new object of both, and then that one survives.
    names = [name for name in ("newObjectId", "primaryObjectId") if fields.get(name) is not None]
    if not names:
        raise RequestRefused(400, f"{under}primaryObjectId is missing")
    return [*(_id(fields, name, under) for name in names), *(_id({"": one}, "", under) for one in merged)]


def _id(fields: Mapping[str, Any], name: str, under: str) -> int:
    found = fields.get(name)
    if isinstance(found, str) and _DIGITS.fullmatch(found):  # ids are texts in some versions
        found = int(found)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= _MOST_ID:
        raise RequestRefused(400, f"{under}{name or 'an element of mergedObjectIds'} is not a whole number")
    return found

"""Who sees a page, what they may do, and proof that a form is one of ours."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
import secrets

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from shared.documents import Documents
from shared.settings import Settings

READER, OPERATOR = "Reader", "Operator"
"""The app roles of Entra. An operator may do all that a reader may."""
_SECRET = "status/secret"  # noqa: S105 - the name of a document
_HEADER = "x-ms-client-principal"
_NAMES = ("name", "preferred_username")
_IDS = ("http://schemas.microsoft.com/identity/claims/objectidentifier", "oid")


class Principal(NamedTuple):
    """Somebody who has signed in."""

    id: str
    name: str
    roles: frozenset[str]

    def may(self, role: str) -> bool:
        return role in self.roles or (role == READER and OPERATOR in self.roles)


def principal_of(headers: Mapping[str, str], settings: Settings) -> Principal | None:
    """Whom App Service authentication says a request is from; nobody unless STATUS_SIGN_IN is ``entra``.

    App Service removes such a header from requests from outside, but only where its authentication is switched on. Its
    content: https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities
    """
    encoded = next((value for name, value in headers.items() if name.lower() == _HEADER), None)
    if settings.status_sign_in != "entra" or not encoded:
        return None
    try:
        content = json.loads(base64.b64decode(encoded, validate=True))
        claims = [(str(claim["typ"]), str(claim["val"])) for claim in content["claims"]]
        role_types = {str(content.get("role_typ") or "roles"), "roles"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    known = dict(reversed(claims))
    id = next((known[name] for name in _IDS if name in known), "")
    name = next((known[name] for name in _NAMES if name in known), id)
    roles = frozenset(value for kind, value in claims if kind in role_types)
    return Principal(id, name, roles) if id else None


class FormTokens:
    """Tokens for forms. Whoever is lured to a foreign page has the cookie that signs in, but not the token."""

    def __init__(self, documents: Documents, now: dt.datetime) -> None:
        self._documents, self._now = documents, now

    def of(self, principal: Principal) -> str:
        return next(self._valid(principal))

    def accepts(self, principal: Principal, token: str) -> bool:
        """Whether the token was made for *principal*, today or yesterday."""
        return any(hmac.compare_digest(valid.encode(), token.encode()) for valid in self._valid(principal))

    def _valid(self, principal: Principal) -> Iterator[str]:
        secret = self._secret()
        for days in (0, 1):
            message = f"{(self._now - dt.timedelta(days=days)).date()}\n{principal.id}"
            yield hmac.new(secret, message.encode(errors="replace"), hashlib.sha256).hexdigest()

    def _secret(self) -> bytes:
        """The same for all processes of the app: of several that make one, the first wins."""
        known = self._documents.get(_SECRET)
        if known is None:
            self._documents.add(_SECRET, secrets.token_bytes(32))
            known = self._documents.get(_SECRET)
        assert known is not None  # noqa: S101 - nobody removes it
        return known

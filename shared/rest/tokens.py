"""Calls that fetch an access token: by user and password, or by a refresh token of OAuth 2 that may be replaced."""

from __future__ import annotations

import base64
import hashlib
import json

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.errors import ConfigError, DataError
from shared.rest.auth import AccessToken
from shared.rest.client import Call, Client
from shared.rest.failures import Response, parsed, refusal_of
from shared.rest.rows import at

_REFUSED = frozenset({400, 401, 403})


class TokenStore(Protocol):
    """Where a refresh token that replaced another one is kept, for the next start. ``Documents`` is one."""

    def get(self, name: str) -> bytes | None: ...
    def put(self, name: str, content: bytes) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A token for a user and a password, such as a JWT."""

    client: Client
    """Without a sign-in of its own."""
    path: str
    fields: Mapping[str, str] = field(repr=False)
    """Sent as JSON."""
    token_at: str
    """Where in the answer the token is, as a dotted path."""
    settings: str
    """The settings that user and password are from, for errors."""

    def __call__(self) -> AccessToken:
        """ConfigError if they are refused."""
        response, found = self.client.decoded(
            Call(path=self.path, method="POST", body=dict(self.fields), allowed=_REFUSED)
        )
        if response.status in _REFUSED:
            raise _refused(self.client.host, response, self.settings, tuple(self.fields.values()))
        token = at(found, self.token_at)
        if not isinstance(token, str) or not token:
            raise DataError(
                f"{self.client.host} gives no token at {self.token_at}", fix="Correct token_at in the catalog"
            )
        return AccessToken(token, self._expires(token))

    def _expires(self, token: str) -> float | None:
        """By the clock's timer, if the token is a JWT that says when it ends."""
        claims = _claims(token)
        ends = claims.get("exp") if isinstance(claims, dict) else None
        if not isinstance(ends, int | float) or isinstance(ends, bool):
            return None
        return self.client.clock.timer() + float(ends) - self.client.clock.now().timestamp()


def _claims(token: str) -> Any:
    part = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        return parsed(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshGrant:
    """OAuth 2: an access token for a refresh token, which the answer may replace (RFC 6749, section 6)."""

    client: Client
    """Without a sign-in of its own."""
    path: str
    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)
    """As it is in the settings. One that replaced it is used in its place, until the setting is another."""
    store: TokenStore
    name: str
    """Of the document that the replacement is kept in."""
    setting: str
    """Of the refresh token, for errors."""

    def __call__(self) -> AccessToken:
        """ConfigError if the token is refused. Another process may have replaced it meanwhile: then its is used."""
        token = self._current()
        response, found = self._requested(token)
        if response.status in _REFUSED and self._current() != token:
            response, found = self._requested(self._current())
        if response.status in _REFUSED:
            raise _refused(self.client.host, response, self.setting, (token, self.client_secret))
        if not isinstance(found, dict) or not isinstance(found.get("access_token"), str):
            raise DataError(f"{self.client.host} gives no access_token", fix="Correct token_url in the catalog")
        replaced = found.get("refresh_token")
        if isinstance(replaced, str) and replaced and replaced != token:
            content = {"instead_of": self._digest, "refresh_token": replaced}
            self.store.put(self.name, json.dumps(content).encode())
        seconds = found.get("expires_in")
        ends = self.client.clock.timer() + seconds if isinstance(seconds, int) else None
        return AccessToken(found["access_token"], ends)

    def _requested(self, token: str) -> tuple[Response, Any]:
        form = {
            "grant_type": "refresh_token", "client_id": self.client_id, "client_secret": self.client_secret,
            "refresh_token": token,
        }  # fmt: skip
        return self.client.decoded(Call(path=self.path, method="POST", form=form, allowed=_REFUSED))

    def _current(self) -> str:
        kept = parsed(self.store.get(self.name) or b"null")
        if isinstance(kept, dict) and kept.get("instead_of") == self._digest:
            return str(kept.get("refresh_token"))
        return self.refresh_token

    @property
    def _digest(self) -> str:
        return hashlib.sha256(self.refresh_token.encode()).hexdigest()


def _refused(host: str, response: Response, settings: str, hidden: tuple[str, ...]) -> ConfigError:
    text = refusal_of(response, hidden).text
    because = f": {text}" if text else ""
    return ConfigError(
        f"{host} refuses {settings} ({response.status}){because}", fix=f"Correct {settings}, or sign in anew"
    )

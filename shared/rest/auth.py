"""How calls sign in: one small object for each way. None of them shows its secret, and none belongs into a log.

``sign`` is called for every try of a call, ``renew`` when the API says that it does not know the caller (401).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shared.rest.clock import SYSTEM, Clock

WAYS: Mapping[str, Mapping[str, str]] = {
    "none": {},
    "bearer": {"token": "api_token"},
    "basic": {"username": "username", "password": "password"},
    "api_key": {"key": "api_key"},
    "jwt": {"username": "username", "password": "password"},
    "oauth2": {"client_id": "client_id", "client_secret": "client_secret", "refresh_token": "refresh_token"},
    "signed": {"company": "company_id", "key": "api_key", "secret": "api_secret"},
}
"""Ways to sign in that a catalog file can name: what each needs, and the setting (a field of ``SystemSettings``) that
has it unless the file names another."""


class Auth(Protocol):
    """A way to sign in."""

    def sign(self, headers: MutableMapping[str, str], parameters: MutableMapping[str, str]) -> str | None:
        """Add to a call what it signs in with. What comes back is for ``renew`` to know which sign-in it was."""
        ...

    def renew(self, used: str | None) -> bool:
        """Sign in anew, unless that happened since *used* was. False: there is nothing that could be renewed."""
        ...

    @property
    def secrets(self) -> Sequence[str]:
        """What no text may repeat."""
        ...


@dataclass(frozen=True, slots=True)
class NoAuth:
    """An API that anybody may call."""

    secrets: Sequence[str] = ()

    def sign(self, headers: MutableMapping[str, str], parameters: MutableMapping[str, str]) -> str | None:
        return None

    def renew(self, used: str | None) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class BearerAuth:
    """A token that stays the same."""

    token: str = field(repr=False)

    @property
    def secrets(self) -> Sequence[str]:
        return (self.token,)

    def sign(self, headers: MutableMapping[str, str], parameters: MutableMapping[str, str]) -> str | None:
        headers["Authorization"] = f"Bearer {self.token}"
        return None

    def renew(self, used: str | None) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """User and password."""

    user: str
    password: str = field(repr=False)

    @property
    def secrets(self) -> Sequence[str]:
        return (self.password, self._encoded)

    @property
    def _encoded(self) -> str:
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def sign(self, headers: MutableMapping[str, str], parameters: MutableMapping[str, str]) -> str | None:
        headers["Authorization"] = f"Basic {self._encoded}"
        return None

    def renew(self, used: str | None) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class ApiKeyAuth:
    """A key in a header of the API's own, after *prefix*, or in a parameter."""

    key: str = field(repr=False)
    header: str | None = "X-Api-Key"
    parameter: str | None = None
    prefix: str = ""

    @property
    def secrets(self) -> Sequence[str]:
        return (self.key,)

    def sign(self, headers: MutableMapping[str, str], parameters: MutableMapping[str, str]) -> str | None:
        if self.parameter is not None:
            parameters[self.parameter] = self.key
        elif self.header is not None:
            headers[self.header] = f"{self.prefix}{self.key}"
        return None

    def renew(self, used: str | None) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class SignedAuth:
    """MarketSharp's own: company, key and time, with their HMAC-SHA256. It is made anew for every try."""

    company: str
    key: str = field(repr=False)
    secret: str = field(repr=False)
    """As MarketSharp gives it: base64."""
    clock: Clock = SYSTEM

    @property
    def secrets(self) -> Sequence[str]:
        return (self.key, self.secret)

    def sign(self, headers: MutableMapping[str, str], parameters: MutableMapping[str, str]) -> str | None:
        seconds = int(self.clock.now().timestamp())
        message = f"{self.company}{self.key}{seconds}".encode()
        digest = hmac.new(base64.b64decode(self.secret), message, hashlib.sha256).digest()
        headers["Authorization"] = f"{self.company}:{self.key}:{seconds}:{base64.b64encode(digest).decode()}"
        return None

    def renew(self, used: str | None) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a token endpoint gave."""

    token: str = field(repr=False)
    expires: float | None
    """When, by the clock's timer."""


EARLY = 60.0
"""Seconds before its end from which a token is renewed without waiting for a refusal."""


class TokenAuth:
    """A token that a call of its own fetches, and that is fetched again when it ends. For any number of threads."""

    def __init__(self, fetch: Callable[[], AccessToken], clock: Clock = SYSTEM) -> None:
        """*fetch* is called by one thread at a time."""
        self._fetch, self._clock = fetch, clock
        self._lock = threading.Lock()
        self._known: AccessToken | None = None

    @property
    def secrets(self) -> Sequence[str]:
        return (self._known.token,) if self._known else ()

    def sign(self, headers: MutableMapping[str, str], parameters: MutableMapping[str, str]) -> str | None:
        with self._lock:
            known = self._known
            if known is None or (known.expires is not None and self._clock.timer() >= known.expires - EARLY):
                known = self._known = self._fetch()
        headers["Authorization"] = f"Bearer {known.token}"
        return known.token

    def renew(self, used: str | None) -> bool:
        with self._lock:
            if self._known is None or self._known.token == used:
                self._known = self._fetch()
        return True

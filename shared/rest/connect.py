"""Open the API that a feed's catalog file and settings describe: its URL, its sign-in, its rates, its client."""

from __future__ import annotations

import base64
import binascii
import hashlib

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from shared.documents import open_documents
from shared.errors import ConfigError
from shared.model import Feed
from shared.rest.accounts import Account, shared_account
from shared.rest.auth import WAYS, ApiKeyAuth, Auth, BasicAuth, BearerAuth, NoAuth, SignedAuth, TokenAuth
from shared.rest.client import Client
from shared.rest.clock import SYSTEM, Clock
from shared.rest.limits import Limiter, Rate
from shared.rest.raw import RawPages
from shared.rest.tokens import Login, RefreshGrant
from shared.settings import Settings, SystemSettings

_SIGNING_IN = (Rate(5, 1.0),)
"""Calls that fetch tokens, which have no rate of their own."""


def missing(feed: Feed, settings: Settings) -> list[str]:
    """The settings that are not there, and that the API of *feed* cannot be called without.

    Of several ways to sign in, what is missing of the one that lacks least.
    """
    own, prefix = own_settings(feed, settings)
    url = [] if own.base_url or feed.api.get("base_url") else [f"{prefix}_BASE_URL"]
    ways = [[name for name in _settings_of(auth).values() if not getattr(own, name)] for auth in _auths(feed)]
    return [*url, *(f"{prefix}_{name.upper()}" for name in min(ways, key=len))]


def own_settings(feed: Feed, settings: Settings) -> tuple[SystemSettings, str]:
    """The settings of the API of *feed*, and what their names begin with."""
    prefix = str(feed.api.get("settings", feed.system)).upper()
    return settings.system(prefix), prefix


def open_client(
    feed: Feed,
    settings: Settings,
    *,
    clock: Clock = SYSTEM,
    base_url: str | None = None,
    more_rates: Sequence[Rate] = (),
) -> Client:
    """A client of the API of *feed*, which shares sign-in and rates with all others of its account in this process.

    *more_rates* are beside those of the catalog. *base_url* is used if neither setting nor catalog has one. ConfigError
    if a setting is missing. Nothing is called.
    """
    names = missing(feed, settings)
    if base_url is not None:
        names = [name for name in names if not name.endswith("_BASE_URL")]
    if names:
        raise ConfigError(f"no value for {', '.join(names)}", fix="Set it to sync tables of this API")
    own, prefix = own_settings(feed, settings)
    base = own.base_url or feed.api.get("base_url") or str(base_url)
    place = f"{prefix}_BASE_URL" if own.base_url else f"base_url of system {feed.system}"
    auth = next(one for one in _auths(feed) if all(getattr(own, name) for name in _settings_of(one).values()))
    values = {role: str(getattr(own, name)) for role, name in _settings_of(auth).items()}
    rates = [Rate(one["requests"], one["seconds"], one.get("bucket", "")) for one in feed.api.get("rate", ())] + [
        *more_rates
    ]
    key = (base, hashlib.sha256(repr((auth, values, rates)).encode()).hexdigest(), clock)

    def opened() -> Account:
        return Account(_SignIn(auth, values, prefix, base, settings, clock).opened(), Limiter(rates, clock))

    account = shared_account(key, opened)
    keep = (
        RawPages(Path(settings.keep_raw) / feed.name, secret=feed.api.get("without", ())) if settings.keep_raw else None
    )
    return Client(
        base=base, setting=place, limiter=account.limiter, auth=account.auth, clock=clock, timezone=feed.timezone,
        keep=keep,
    )  # fmt: skip


def _auths(feed: Feed) -> Sequence[Mapping[str, Any]]:
    return feed.api.get("auth") or [{"kind": "none"}]


def _settings_of(auth: Mapping[str, Any]) -> dict[str, str]:
    """The fields of ``SystemSettings`` that a way to sign in needs, by what they are for."""
    wanted = {role: str(auth.get(role, name)) for role, name in WAYS[auth["kind"]].items()}
    return {role: name for role, name in wanted.items() if not (role == "username" and "user" in auth)}


@dataclass(frozen=True, slots=True)
class _SignIn:
    """One way to sign in, with the values of its settings."""

    auth: Mapping[str, Any]
    values: Mapping[str, str]
    prefix: str
    base: str
    settings: Settings
    clock: Clock

    def opened(self) -> Auth:
        kind = self.auth["kind"]
        if kind == "bearer":
            return BearerAuth(self.values["token"])
        if kind == "basic":
            return BasicAuth(str(self.auth.get("user", self.values.get("username"))), self.values["password"])
        if kind == "api_key":
            return self._key()
        if kind == "signed":
            return self._signed()
        if kind == "jwt":
            return TokenAuth(self._login(), self.clock)
        return TokenAuth(self._refresh(), self.clock) if kind == "oauth2" else NoAuth()

    def _key(self) -> ApiKeyAuth:
        return ApiKeyAuth(
            self.values["key"], header=self.auth.get("header", "X-Api-Key"), parameter=self.auth.get("parameter"),
            prefix=self.auth.get("prefix", ""),
        )  # fmt: skip

    def _signed(self) -> SignedAuth:
        try:
            base64.b64decode(self.values["secret"], validate=True)
        except binascii.Error as error:
            raise ConfigError(f"{self._named('secret')} is not base64", fix="Set it exactly as it was given") from error
        return SignedAuth(self.values["company"], self.values["key"], self.values["secret"], self.clock)

    def _login(self) -> Login:
        fields = {"username": self.values["username"], "password": self.values["password"]}
        return Login(
            client=self._client(self.base), path=self.auth["path"], fields=fields, token_at=self.auth["token_at"],
            settings=self._named("username", "password"),
        )  # fmt: skip

    def _refresh(self) -> RefreshGrant:
        url = urljoin(f"{self.base.rstrip('/')}/", self.auth["token_url"])
        return RefreshGrant(
            client=self._client(url), path=url, client_id=self.values["client_id"],
            client_secret=self.values["client_secret"], refresh_token=self.values["refresh_token"],
            store=open_documents(self.settings), name=f"tokens/{self.prefix.lower()}",
            setting=self._named("refresh_token"),
        )  # fmt: skip

    def _client(self, url: str) -> Client:
        limiter = Limiter(_SIGNING_IN, self.clock)
        return Client(base=url, setting=f"token_url of {self.prefix}", limiter=limiter, clock=self.clock)

    def _named(self, *roles: str) -> str:
        names = _settings_of(self.auth)
        return " and ".join(f"{self.prefix}_{names[role].upper()}" for role in roles)

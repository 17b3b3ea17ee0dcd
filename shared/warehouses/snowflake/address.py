"""Where the account is and how to sign in to it, as the driver takes that."""

from __future__ import annotations

import importlib
import re

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from shared.errors import ConfigError
from shared.settings import Settings

_HOW = "Write snowflake://user@account/database?warehouse=WAREHOUSE&role=ROLE"
_AUTHENTICATORS = ("oauth", "programmatic_access_token", "workload_identity")
_KNOWN = ("warehouse", "role", "authenticator")
_SESSION: Mapping[str, Any] = {
    "AUTOCOMMIT": True,
    "BINARY_OUTPUT_FORMAT": "HEX",
    "ERROR_ON_NONDETERMINISTIC_UPDATE": True,
    "QUERY_TAG": "sluice",
    "QUOTED_IDENTIFIERS_IGNORE_CASE": False,
    "TIMESTAMP_TYPE_MAPPING": "TIMESTAMP_NTZ",
    "TIMEZONE": "UTC",
    "TRANSACTION_ABORT_ON_ERROR": False,
}
"""What an account may have set otherwise for its sessions, and the statements here rely on."""


def driver() -> Any:
    """The module of Snowflake's driver. ConfigError if it is not installed."""
    try:
        return importlib.import_module("snowflake.connector")
    except ImportError as error:
        raise ConfigError(
            "the driver of Snowflake is not installed", fix="Run: pip install -r requirements-snowflake.txt"
        ) from error


def connection_options(settings: Settings) -> dict[str, Any]:
    """Options of ``snowflake.connector.connect``. ConfigError if the URL or the key cannot be read.

    No error repeats the URL: what cannot be told apart may be the password.
    """
    try:
        url = urlsplit(settings.warehouse_url)
        path = [unquote(part) for part in url.path.strip("/").split("/")]
        query = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)))
        account = url.netloc.rpartition("@")[2]
    except ValueError:
        raise ConfigError("WAREHOUSE_URL cannot be read", fix=_HOW) from None
    odd = [name for name in query if name not in _KNOWN]
    if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", account) or not path[0] or len(path) > 2 or odd:
        raise ConfigError("WAREHOUSE_URL does not name an account and a database of Snowflake", fix=_HOW)
    place = {"database": path[0], "schema": path[1].upper() if len(path) > 1 else "PUBLIC"}
    user, password = (unquote(part or "") for part in (url.username, url.password))
    wait = max(1, round(settings.warehouse_lock_timeout))
    return {
        "account": account, **place, **{name: query[name] for name in ("warehouse", "role") if query.get(name)},
        **_sign_in(settings, user, password, query.get("authenticator", "")),
        "application": "Sluice", "autocommit": True, "paramstyle": "qmark", "login_timeout": 60,
        "session_parameters": {**_SESSION, "LOCK_TIMEOUT": wait},
    }  # fmt: skip


def _sign_in(settings: Settings, user: str, password: str, authenticator: str) -> dict[str, Any]:
    """By key, else by token, else by password, and without any of them as the identity that the app runs as."""
    if authenticator and authenticator not in _AUTHENTICATORS:
        raise ConfigError(
            "the authenticator in WAREHOUSE_URL is none of those known here",
            fix=f"Write one of {', '.join(_AUTHENTICATORS)}, or leave it out",
        )
    named = {"user": user} if user else {}
    if authenticator == "workload_identity":
        return {**named, **_IDENTITY}
    if settings.snowflake_private_key:
        return {**_required(user, "SNOWFLAKE_PRIVATE_KEY"), "private_key": _key(settings)}
    if settings.snowflake_token:
        return {**named, "authenticator": (authenticator or "oauth").upper(), "token": settings.snowflake_token}
    if password:
        return {**_required(user, "the password in WAREHOUSE_URL"), "password": password}
    return {**named, **_IDENTITY}


_IDENTITY = {"authenticator": "WORKLOAD_IDENTITY", "workload_identity_provider": "AZURE"}


def _required(user: str, what: str) -> dict[str, str]:
    if not user:
        raise ConfigError(f"{what} is of a user that WAREHOUSE_URL does not name", fix=_HOW)
    return {"user": user}


def _key(settings: Settings) -> bytes:
    """The private key in DER, as the driver takes it."""
    from cryptography.hazmat.primitives import serialization

    # Settings of one line have the line breaks of a PEM written out.
    pem = str(settings.snowflake_private_key).replace("\\n", "\n").strip().encode()
    phrase = settings.snowflake_private_key_passphrase
    try:
        key = serialization.load_pem_private_key(pem, phrase.encode() if phrase else None)
    except (ValueError, TypeError):
        raise ConfigError(
            "SNOWFLAKE_PRIVATE_KEY is no private key in PEM, or SNOWFLAKE_PRIVATE_KEY_PASSPHRASE is not its phrase",
            fix="Set it to all lines of the key's .p8 file, and the phrase only if the key has one",
        ) from None
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )  # fmt: skip

"""Open ODBC connections to SQL Server: read the address, find the driver, sign in."""

from __future__ import annotations

import contextlib
import importlib
import platform
import re
import struct

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from shared.errors import ConfigError

DRIVER = "ODBC Driver 18 for SQL Server"
_ACCESS_TOKEN = 1256
"""SQL_COPT_SS_ACCESS_TOKEN, an attribute to set before connecting."""
_SCOPE = "https://database.windows.net/.default"
LOGIN_TIMEOUT = 30
"""Seconds for one try. A serverless database that paused takes about one minute to come back, which is several."""

_SIGN_INS = {
    "sqlpassword": "SqlPassword",
    "activedirectorymsi": "ActiveDirectoryMsi",
    "activedirectorymanagedidentity": "ActiveDirectoryMsi",
    "activedirectoryworkloadidentity": "ActiveDirectoryWorkloadIdentity",
    "activedirectorydefault": "ActiveDirectoryDefault",
}
_OPTIONS = ("authentication", "trustservercertificate", "encrypt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a database is, and who signs in how."""

    host: str
    port: int
    database: str
    user: str | None = None
    """With ActiveDirectoryMsi: the client id of a user-assigned identity."""
    password: str | None = field(default=None, repr=False)
    sign_in: str
    setting: str = "WAREHOUSE_URL"
    """The setting that names it, for messages."""
    trust: bool = False
    """Take any certificate. For a test server; Azure's are known to every machine."""
    strict: bool = False
    """Encrypt before the first word of the protocol (TDS 8.0), not from the sign-in on."""

    def text(self, *, driver: str | None = None) -> str:
        """The connection string, without what a token says. *driver* as ODBC names it; other drivers need none."""
        parts = {
            **({"Driver": _braced(driver)} if driver else {}),
            "Server": f"tcp:{self.host},{self.port}",
            "Database": _braced(self.database),
            "Encrypt": "strict" if self.strict else "yes",
            "TrustServerCertificate": "yes" if self.trust else "no",
        }
        if self.sign_in == "SqlPassword":
            parts |= {"UID": _braced(self.user or ""), "PWD": _braced(self.password or "")}
        return ";".join(f"{name}={value}" for name, value in parts.items())


def address(url: str, setting: str = "WAREHOUSE_URL") -> Address:
    """Read ``mssql://[user:password@]host[:port]/database[?authentication=..&TrustServerCertificate=yes]``.

    ConfigError for what cannot be used; it names the *setting* that the URL is from, and never repeats the URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 1433
    except ValueError:  # it repeats what it takes for the port, which may be half a password
        raise ConfigError(f"{setting} cannot be read", fix=f"{_FORM}, user and password percent-encoded") from None
    database = unquote(parts.path.lstrip("/"))
    if not parts.hostname or not database:
        raise ConfigError(f"{setting} names no server or no database", fix=_FORM)
    options = {re.sub(r"[^a-z]", "", name.lower()): value for name, value in parse_qsl(parts.query)}
    options = {name: value for name, value in options.items() if name != "driver"}
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise ConfigError(f"{setting} has option {', '.join(unknown)}", fix=f"Known are {', '.join(_OPTIONS)}")
    encrypt = options.get("encrypt", "yes").lower()
    if encrypt not in ("yes", "true", "mandatory", "strict"):
        raise ConfigError(f"{setting} turns encryption off", fix="Leave Encrypt out; TrustServerCertificate=yes helps")
    user, password = (unquote(part) if part else None for part in (parts.username, parts.password))
    authentication = options.get("authentication", "SqlPassword" if password else "ActiveDirectoryDefault")
    if authentication.lower() not in _SIGN_INS:
        known = ", ".join(dict.fromkeys(_SIGN_INS.values()))
        raise ConfigError(f"{setting} has unknown authentication {authentication}", fix=f"Choose one of {known}")
    sign_in = _SIGN_INS[authentication.lower()]
    if sign_in == "SqlPassword" and not (user and password):
        raise ConfigError(f"{setting} has no user or no password", fix=_FORM)
    return Address(
        host=parts.hostname, port=port, database=database, user=user, password=password, sign_in=sign_in,
        setting=setting,
        trust=options.get("trustservercertificate", "no").lower() in ("yes", "true"), strict=encrypt == "strict",
    )  # fmt: skip


_FORM = "Write mssql://[user:password@]host[:port]/database?authentication=ActiveDirectoryMsi"


def token(where: Address) -> str | None:
    """An access token for the database, or None where a password signs in."""
    from azure.core.exceptions import AzureError

    try:
        known = credential(where)
        return None if known is None else str(known.get_token(_SCOPE).token)
    except (AzureError, ValueError) as error:  # ValueError: a workload identity without its environment
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ConfigError(
            f"no token for the database with {where.sign_in}: {line[:300].rstrip('.')}",
            fix=f"Check the identity of this app (or run az login), and the client id in {where.setting}",
        ) from error


@cache
def credential(where: Address) -> Any:
    """Who signs in with a token (an azure-identity credential), or None where a password does."""
    if where.sign_in == "SqlPassword":
        return None
    from azure.identity import ManagedIdentityCredential, WorkloadIdentityCredential

    from shared.azure import identity

    if where.sign_in == "ActiveDirectoryMsi":
        return ManagedIdentityCredential(client_id=where.user) if where.user else ManagedIdentityCredential()
    if where.sign_in == "ActiveDirectoryWorkloadIdentity":
        return WorkloadIdentityCredential(client_id=where.user) if where.user else WorkloadIdentityCredential()
    return identity.credential()


def packed(token: str) -> Mapping[int, bytes]:
    """The attribute that hands a token to the driver: its length, then UTF-16LE."""
    content = token.encode("utf-16-le")
    return {_ACCESS_TOKEN: struct.pack("<I", len(content)) + content}


def connect(odbc: Any, where: Address) -> Any:
    """A connection without a transaction of its own; ours are begun and ended in words."""
    signed = token(where)
    extra: dict[str, Any] = {"attrs_before": packed(signed)} if signed else {}
    return odbc.connect(where.text(driver=driver(odbc)), autocommit=True, timeout=LOGIN_TIMEOUT, **extra)


def load_pyodbc() -> Any:
    """The pyodbc module, its own pooling off: a pooled connection keeps a serverless database awake."""
    try:
        odbc = importlib.import_module("pyodbc")
    except ImportError as error:
        raise ConfigError(
            f"ODBC cannot be used here: {error}", fix="Install unixODBC (Debian, Ubuntu: apt install unixodbc)"
        ) from error
    setattr(odbc, "pooling", False)  # noqa: B010 - a module has no such attribute for a type checker
    return odbc


def driver(odbc: Any) -> str:
    """Microsoft's ODBC driver: the system's, else the one that a wheel brings."""
    installed = [name for name in odbc.drivers() if re.fullmatch(r"ODBC Driver \d+ for SQL Server", name)]
    if DRIVER in installed:
        return DRIVER
    with contextlib.suppress(ImportError):
        packaged = Path(str(importlib.import_module("mssql_python_odbc").__file__)).parent / "libs"
        if found := _fitting(packaged):
            return str(found)
    raise ConfigError(
        f"there is no {DRIVER} here" + (f", only {', '.join(installed)}" if installed else ""),
        fix="Install it (package msodbcsql18), or: pip install mssql-python-odbc",
    )


def _fitting(folder: Path) -> Path | None:
    """The packaged driver for this system; its folders are ``<system>/<kind>/<machine>/lib``."""
    machine = {"aarch64": "arm64", "amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    built = [path for path in folder.rglob("libmsodbcsql*") if machine in path.relative_to(folder).parts]
    return min(built, key=lambda path: (_kind() not in path.parts, str(path)), default=None)


def _kind() -> str:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return "macos"
    names = f"{release.get('ID', '')} {release.get('ID_LIKE', '')}"
    families = {"rhel": "rhel", "fedora": "rhel", "centos": "rhel", "suse": "suse", "alpine": "alpine"}
    return next((kind for name, kind in families.items() if name in names), "debian_ubuntu")


def _braced(value: str) -> str:
    return "{" + value.replace("}", "}}") + "}"

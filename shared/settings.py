"""All settings, read once and checked at once. The only reader of environment names."""

from __future__ import annotations

import contextlib
import re

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shared.errors import ConfigError
from shared.model import MAIN


def _setting(default: Any, *, secret: bool = False, read: Callable[[str], Any] = str) -> Any:
    return field(default=default, repr=not secret, metadata={"read": read})


class _Unfit(Exception):  # noqa: N818 - its text is what a value must be
    """A value that a setting does not take."""


def _positive(text: str) -> int:
    if not re.fullmatch(r" *0*[1-9][0-9_]{0,15} *", text):
        raise _Unfit("a whole number above 0, such as 4")
    return int(text)


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        number = float(text)
        if 0 <= number < float("inf"):
            return number
    raise _Unfit("seconds from 0 up, such as 60")


def _one_of(*known: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise _Unfit(" or ".join(known))
        return text

    return read


def _secret(text: str) -> str:
    if len(text) < 32:
        raise _Unfit("32 random characters or more")
    return text


def _memory(text: str) -> str:
    if not re.fullmatch(r"\d+(\.\d+)? *([KMGT]i?)?B|\d+%", text, re.IGNORECASE):
        raise _Unfit("memory with its unit, such as 250MB")
    return text


DESTINATION = "[a-z][a-z0-9_]{0,30}"
"""What the name of a destination is made of."""
_WAREHOUSE = "WAREHOUSE_URL"
_DEFAULT_WAREHOUSE = "duckdb:///.sluice/warehouse.duckdb"
_SOURCES = ("EventGrid", "LogsAndContainerScan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Each field is the environment name in lower case. Times are in seconds."""

    warehouse_url: str = _setting(_DEFAULT_WAREHOUSE, secret=True)
    ledger_url: str = _setting("sqlite:///.sluice/ledger.db", secret=True)
    catalog_path: str | None = _setting(None)
    """Folder of catalog files to use instead of the ones in the package."""
    warehouse_memory: str = _setting("250MB", read=_memory)
    """What the embedded warehouse may keep in memory; it spills to disk beyond."""
    warehouse_lock_timeout: float = _setting(60.0, read=_seconds)
    """How long to wait for another process that holds the embedded warehouse or ledger."""
    warehouse_connections: int = _setting(4, read=_positive)
    """How many connections to a database server this process opens at once."""
    warehouse_loader: str = _setting("auto", read=_one_of("auto", "direct", "array", "bulk", "copy"))
    """How rows get into Azure SQL; ``auto`` chooses by their number and by whether there is a staging container."""
    staging_url: str | None = _setting(None, secret=True)
    """Container (or a folder in one) for bulk loads into Azure SQL; its URL, with a SAS or without."""
    staging_data_source: str = _setting("sluice_staging")
    """Name of the external data source in the database that points to the staging container."""
    staging_spool: str | None = _setting(None)
    """Folder where parts for the staging container may lie on disk first: for a host with very little memory."""
    snowflake_private_key: str | None = _setting(None, secret=True)
    """Signs in to Snowflake, as PEM; a user has the public half of it."""
    snowflake_private_key_passphrase: str | None = _setting(None, secret=True)
    snowflake_token: str | None = _setting(None, secret=True)
    """Signs in to Snowflake without a key: of OAuth, or a programmatic access token, as WAREHOUSE_URL says."""
    storage_connection_string: str | None = _setting(None, secret=True)
    """Signs in to URLs of its own storage account; all others are read with a SAS or with the app's identity."""
    sftp_password: str | None = _setting(None, secret=True)
    sftp_key_file: str | None = _setting(None)
    """Path of the private key to sign in with."""
    sftp_key_passphrase: str | None = _setting(None, secret=True)
    sftp_known_hosts: str | None = _setting(None)
    """File of known host keys; by default the one in the home folder's ``.ssh``."""
    slice_rows: int = _setting(20_000_000, read=_positive)
    """Rows one worker reads; cut at row groups."""
    batch_rows: int = _setting(65_536, read=_positive)
    """Rows in memory at once; fewer where rows are wide."""
    batch_size: int = _setting(10_000, read=_positive)
    """Rows of a text file in memory at once."""
    cursor_ahead: float = _setting(86_400.0, read=_seconds)
    """How much later than its export a cursor may be; beyond that its row is rejected."""
    keep_out_key: str | None = _setting(None, secret=True, read=_secret)
    """What erased keys are hashed with that are not to come back."""
    hash_key: str | None = _setting(None, secret=True, read=_secret)
    """What values of columns are hashed with that a feed declares under ``hash``."""
    settle: float = _setting(600.0, read=_seconds)
    """How long a folder of part files must have been unchanged to count as complete."""
    keep_raw: str | None = None
    """Folder in which answers of APIs are kept as they came; not of the environment but of ``sluice sync``."""
    sync_rows: int = _setting(5_000_000, read=_positive)
    """Rows that one run of a pull feed takes at most; the next goes on from there."""
    sync_step: float = _setting(300.0, read=_seconds)
    """Seconds after which one step of a long read of an API ends, for the next one to go on: a restart costs no more.

    It has to fit, with the time that its rows take to the warehouse, into what a host gives an activity.
    """
    sync_tables: int = _setting(4, read=_positive)
    """How many tables of one system are read at the same time."""
    source_connections: int = _setting(4, read=_positive)
    """How many connections to one source database this process opens at once."""
    exports_url: str | None = _setting(None, secret=True)
    """Container that exports arrive in: what the blob trigger listens to and ``reconcile`` lists."""
    state_url: str = _setting(".sluice/state", secret=True)
    """The app's private container (or a local folder): webhook payloads, plans of running jobs, results."""
    dead_letter_url: str | None = _setting(None, secret=True)
    """Container where Event Grid puts events that it could not deliver."""
    blob_trigger_source: str = _setting("EventGrid", read=_one_of(*_SOURCES))
    """How the host learns of new exports. The second one polls, for a local Azurite."""
    website_hostname: str = _setting("localhost:7071")
    """Host name of this app, for links to jobs. Azure and `func start` set it."""
    status_sign_in: str = _setting("off", read=_one_of("off", "entra"))
    """Who may see the status page in Azure: nobody, or whom App Service authentication says has a role of the app."""
    webhook_max_age: float = _setting(604_800.0, read=_seconds)
    """How old the export of a notification may be."""
    webhook_max_bytes: int = _setting(50_000_000_000, read=_positive)
    """Size from which a file that a notification links to is refused."""
    webhook_group: float = _setting(10.0, read=_seconds)
    """How long events of a webhook are collected before one job reads the objects that they name."""
    public_url: str | None = _setting(None)
    """Scheme and host under which other systems call this app, where a proxy calls it under another URL."""
    stuck_after: float = _setting(14_400.0, read=_seconds)
    """How long a job may run before the watchdog calls it stuck."""
    keep_jobs: float = _setting(2_592_000.0, read=_seconds)
    """How long finished jobs, their history and their results are kept."""
    lake_keep: float = _setting(604_800.0, read=_seconds)
    """How long upkeep keeps files of a data lake that were replaced: for readers, and for earlier versions."""
    alert_url: str | None = _setting(None, secret=True)
    """Where alerts and summaries are posted to."""
    alert_format: str = _setting("teams", read=_one_of("teams", "slack", "json"))
    """Format of a post: for a Teams workflow, a Slack webhook, or plain JSON for a Logic App."""
    alert_on: str = _setting("all", read=_one_of("all", "problems"))
    """Whether summaries of successful exports and syncs are sent, too, or only problems."""
    alert_repeat: float = _setting(21_600.0, read=_seconds)
    """How long the same alert is not sent again."""
    telemetry: str = _setting("off", read=_one_of("off", "otlp", "azure_monitor"))
    """Where traces and metrics of runs are sent."""
    downstream_url: str | None = _setting(None, secret=True)
    """URL that is called, with the summary, after an export that succeeded."""
    powerbi_dataset: str | None = _setting(None)
    """Dataset to refresh after an export that succeeded: ``<workspace id>/<dataset id>``."""
    destinations: Mapping[str, str] = field(default_factory=dict, repr=False)
    """URLs of warehouses beside the main one, by name: the settings WAREHOUSE_URL_<NAME>."""
    systems: Mapping[str, SystemSettings] = field(default_factory=dict)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Settings from *env*, defaults for what it lacks. ConfigError names every value that cannot be read."""
        _refuse_unresolved(env)
        values: dict[str, Any] = {}
        wrong: list[str] = []
        for known in fields(cls):
            text = env.get(known.name.upper(), "")
            if text and "read" in known.metadata:
                try:
                    values[known.name] = known.metadata["read"](text)
                except _Unfit as allowed:
                    found = f", not {text!r}" if known.repr else ""
                    wrong.append(f"{known.name.upper()} must be {allowed}{found}")
        if wrong:
            raise ConfigError("; ".join(wrong), fix="Correct it, or remove it for its default")
        return cls(**values, destinations=_destinations(env), systems=_systems(env))

    def of_destination(self, name: str) -> Settings:
        """These settings, with *name* as the warehouse. ConfigError if it has no URL."""
        if name == MAIN:
            return self
        if name not in self.destinations:
            raise no_destination(name, (MAIN, *self.destinations))
        return replace(self, warehouse_url=self.destinations[name])

    def system(self, name: str) -> SystemSettings:
        return self.systems.get(name.upper(), SystemSettings())


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemSettings:
    """The settings ``<SYSTEM>_<FIELD>`` of one system, such as COOLR_CLIENT."""

    client: str | None = None
    """The client of the exporting system whose data it is."""
    timezone: str | None = None
    """What timestamps without zone are in."""
    database_url: str | None = field(default=None, repr=False)
    """The database that a system of source ``sql`` is read from. ``from_env`` can make it of the parts below."""
    db_type: str | None = None
    """``mysql`` unless it is set."""
    db_host: str | None = None
    db_port: str | None = None
    db_name: str | None = None
    db_user: str | None = None
    db_password: str | None = field(default=None, repr=False)
    webhook_secret: str | None = field(default=None, repr=False)
    """What notifications are signed with."""
    webhook_secret_old: str | None = field(default=None, repr=False)
    """The secret before that one, accepted while it is being replaced."""
    webhook_hosts: str = ""
    """Hosts (``host`` or ``host:port``, with commas) that the links of a notification may lead to."""
    webhook_account: str | None = None
    """The account whose events are accepted: HubSpot's portalId."""
    webhook_signature: str = "v3"
    """The version of HubSpot's signatures that is accepted: v3, v2 or v1."""
    base_url: str | None = None
    """The API that the system is read from, in place of the one that the catalog names."""
    api_token: str | None = field(default=None, repr=False)
    """What signs in there, as this and the following; the catalog says which of them."""
    api_key: str | None = field(default=None, repr=False)
    api_secret: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    company_id: str | None = None


API_SETTINGS = (
    "base_url", "api_token", "api_key", "api_secret", "username", "password", "client_id", "client_secret",
    "access_token", "refresh_token", "company_id",
)  # fmt: skip
"""The fields of ``SystemSettings`` that a catalog file may name for an API."""


def _refuse_unresolved(env: Mapping[str, str]) -> None:
    """Azure leaves a broken Key Vault reference as it is: a text that can be guessed is no secret."""
    unresolved = sorted(name for name, value in env.items() if value.startswith("@Microsoft.KeyVault("))
    if unresolved:
        raise ConfigError(
            f"{', '.join(unresolved)} could not be read from the key vault",
            fix="Put the secret there, give the app's identity the role Key Vault Secrets User, and restart the app",
        )


def warehouse_setting(destination: str) -> str:
    """The setting with the URL of a destination.

    >>> warehouse_setting("main"), warehouse_setting("lake")
    ('WAREHOUSE_URL', 'WAREHOUSE_URL_LAKE')
    """
    return _WAREHOUSE if destination == MAIN else f"{_WAREHOUSE}_{destination.upper()}"


def no_destination(name: str, known: Iterable[str]) -> ConfigError:
    """For a destination that has no URL."""
    return ConfigError(
        f"there is no destination {name!r}, only {', '.join(known)}",
        fix=f"Set {warehouse_setting(name)} to the URL of its warehouse, or name another destination",
    )


def naming_setting(text: str, destination: str) -> str:
    """*text* of a warehouse, which knows only WAREHOUSE_URL, with the setting of its *destination* instead.

    >>> naming_setting("the user of WAREHOUSE_URL lacks a right", "lake")
    'the user of WAREHOUSE_URL_LAKE lacks a right'
    """
    return re.sub(rf"\b{_WAREHOUSE}\b", warehouse_setting(destination), text)


def _destinations(env: Mapping[str, str]) -> dict[str, str]:
    """The URLs by name. ConfigError for a name that cannot be written in the catalog, and for one URL twice."""
    prefix = f"{_WAREHOUSE}_"
    found = {name.removeprefix(prefix): url for name, url in env.items() if name.startswith(prefix) and url}
    wrong = [name for name in found if name == MAIN.upper() or not re.fullmatch(DESTINATION, name.lower())]
    if wrong:
        raise ConfigError(
            f"{', '.join(prefix + name for name in wrong)} names no destination",
            fix=f"Call it by a letter and then letters, digits and _, such as {prefix}LAKE; main is {_WAREHOUSE}",
        )
    by_url: dict[str, str] = {env.get(_WAREHOUSE) or _DEFAULT_WAREHOUSE: _WAREHOUSE}
    for name, url in found.items():
        if url in by_url:
            raise ConfigError(
                f"{prefix}{name} and {by_url[url]} are the same URL", fix="Give each destination a database of its own"
            )
        by_url[url] = f"{prefix}{name}"
    return {name.lower(): url for name, url in found.items()}


def _systems(env: Mapping[str, str]) -> dict[str, SystemSettings]:
    endings = {f"_{known.name.upper()}": known.name for known in fields(SystemSettings)}
    found: dict[str, dict[str, str]] = {}
    for name, value in env.items():
        ending = next((ending for ending in endings if name.endswith(ending)), None)
        system = name.removesuffix(ending).upper() if ending else ""
        if system and value and ending:
            found.setdefault(system, {})[endings[ending]] = value
    return {system: SystemSettings(**_with_database_url(system, values)) for system, values in found.items()}


def _with_database_url(system: str, values: Mapping[str, str]) -> Mapping[str, str]:
    """*values*, with the URL that the parts of one make. ConfigError names the parts that are missing."""
    parts = {name: value for name, value in values.items() if name.startswith("db_")}
    if not parts:
        return values
    if "database_url" in values:
        given = ", ".join(f"{system}_{name.upper()}" for name in parts)
        raise ConfigError(
            f"{system}_DATABASE_URL is set, and so is {given}", fix="Keep either the URL or the parts of one"
        )
    if missing := [name for name in ("db_host", "db_name", "db_user", "db_password") if name not in parts]:
        names = ", ".join(f"{system}_{name.upper()}" for name in missing)
        raise ConfigError(f"no value for {names}", fix=f"Set it too, or set {system}_DATABASE_URL instead of the parts")
    user, password, name = (quote(parts[part], safe="") for part in ("db_user", "db_password", "db_name"))
    host, port = parts["db_host"], parts.get("db_port")
    place = f"[{host}]" if ":" in host else host
    url = f"{parts.get('db_type', 'mysql')}://{user}:{password}@{place}{f':{port}' if port else ''}/{name}"
    return {**values, "database_url": url}


def trigger_source(env: Mapping[str, str]) -> str:
    """How the host learns of new exports: the only setting that is needed before there is an app.

    An unknown one is left for ``from_env`` to refuse, because an error here would hide every function.
    """
    source = env.get("BLOB_TRIGGER_SOURCE", "")
    return source if source in _SOURCES else _SOURCES[0]


CONNECTION_STRING = "connection string"
"""The kind of a setting that is not a URL but ``Name=value;Name=value``, as Azure writes it."""


def url_kind(setting: str, url: str, known: Iterable[str]) -> tuple[str, str]:
    """Scheme and rest of the URL in *setting*; ConfigError for an unknown scheme. Never repeats what may be secret."""
    kind, found, rest = url.partition("://")
    if re.match(r"\s*\w+=", url):
        kind, found, rest = CONNECTION_STRING, "=", url
    if found and kind in known:
        return kind, rest
    plain = found and re.fullmatch(r"[a-z][a-z0-9+.-]{0,30}", kind)
    schemes = " or ".join(f"{name}://" for name in known if name != CONNECTION_STRING)
    raise ConfigError(
        f"{setting} starts with {kind}://" if plain else f"{setting} is no URL of a kind known here",
        fix=f"Start it with {schemes}" + (f", or give a {CONNECTION_STRING}" if CONNECTION_STRING in known else ""),
    )


def zone(name: str) -> str:
    """*name* if it is a time zone of the IANA database; ConfigError if not."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"there is no time zone {name!r} here",
            fix="Use an IANA name such as Europe/Amsterdam, and install tzdata",
        ) from error
    return name

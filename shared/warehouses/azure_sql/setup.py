"""The one-time script for the database that the settings name: made of them, printed, and run if asked to."""

from __future__ import annotations

import secrets

from collections.abc import Iterator, Sequence
from functools import partial

from shared.azure.urls import parse_url
from shared.errors import ConfigError
from shared.mssql import odbc
from shared.settings import Settings
from shared.warehouses.azure_sql.engine import AzureSQL
from shared.warehouses.azure_sql.session import MSSQLSession
from shared.warehouses.azure_sql.setup_script import Setup, Statement, statements


def plan(settings: Settings, schemas: Sequence[str], *, user: str | None, login: bool) -> list[Statement]:
    """The statements for WAREHOUSE_URL and STAGING_URL; ConfigError for a warehouse that needs none.

    *user* is the app's user (an Entra identity's display name, or a login), *schemas* those of the systems.
    """
    _refuse_others(settings)
    place = parse_url(settings.staging_url) if settings.staging_url else None
    location = f"{place.account_url}/{place.container}" if place else None
    return statements(
        Setup(
            location=location,
            data_source=settings.staging_data_source,
            sas=place.sas if place else None,
            user=user,
            user_kind="login" if login else "external",
            schemas=tuple(schemas),
            master_key_password=_new_password(),
        )
    )


def apply(settings: Settings, found: Sequence[Statement]) -> Iterator[Statement]:
    """Run the statements, each in a transaction of its own; each one when it is done."""
    engine = AzureSQL(settings, odbc.address(settings.warehouse_url))
    try:
        for one in found:
            engine.units.run_alone(partial(MSSQLSession.execute, text=one.sql))
            yield one
    finally:
        engine.units.close_idle()


def _new_password() -> str:
    """Nobody needs to know it: the server opens the key by itself. All kinds of characters, for its policy."""
    return f"{secrets.token_urlsafe(32)}-Aa1"


def _refuse_others(settings: Settings) -> None:
    kind, _, _ = settings.warehouse_url.partition("://")
    if kind != "mssql":
        raise ConfigError(
            f"WAREHOUSE_URL starts with {kind}://, which needs no setup",
            fix="Set it to mssql://...; only Azure SQL needs the script",
        )

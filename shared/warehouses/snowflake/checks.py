"""What the doctor asks of an account: who signs in, by what warehouse, with which rights and parameters."""

from __future__ import annotations

import contextlib

from collections.abc import Iterator
from typing import Any

from shared.model import Finding
from shared.warehouses.snowflake.session import SnowflakeSession

_SLUICE = "sluice_doctor"
_PARAMETERS = (
    ("DEFAULT_DDL_COLLATION", " IN DATABASE", ""),
    ("QUOTED_IDENTIFIERS_IGNORE_CASE", "", "false"),
    ("TIMEZONE", "", "UTC"),
)
"""Parameters, of the session unless it says of what, and what each has to be."""


def examine(session: SnowflakeSession) -> Iterator[Finding]:
    """Each step, in order. Errors that end the checks are raised."""
    query = "CURRENT_USER(), CURRENT_ROLE(), CURRENT_DATABASE(), CURRENT_VERSION(), CURRENT_WAREHOUSE()"
    user, role, database, version, warehouse = _fetched(session, f"SELECT {query}")[0]
    yield Finding("warehouse: sign-in", "ok", f"{user} as {role} in {database}, Snowflake {version}")
    if not warehouse:
        yield Finding(
            "warehouse: size", "failed", "no warehouse of Snowflake is chosen, or the role may not use it",
            "Add ?warehouse=NAME to WAREHOUSE_URL, and grant its role USAGE on it",
        )  # fmt: skip
        return
    yield _size(session, warehouse)
    yield from _rights(session)
    for name, place, wanted in _PARAMETERS:
        shown = _shown(session, f"SHOW PARAMETERS LIKE '{name}'{place}")
        found = str(shown[0]["value"] or "") if shown else wanted
        if found.lower() != wanted.lower():
            yield Finding(
                "warehouse: parameters", "warning", f"{name} is {found!r}, not {wanted!r}",
                "Unset that parameter for the database: keys would not be told apart as elsewhere",
            )  # fmt: skip


def _size(session: SnowflakeSession, warehouse: str) -> Finding:
    pattern = warehouse.replace("'", "''")
    found = [one for one in _shown(session, f"SHOW WAREHOUSES LIKE '{pattern}'") if one["name"] == warehouse]
    if not found:
        return Finding("warehouse: size", "ok", f"{warehouse}; the role may not see its size")
    size, suspends = found[0]["size"], found[0]["auto_suspend"]
    if not suspends or int(suspends) == 0:
        return Finding(
            "warehouse: size", "warning", f"{warehouse} is {size}, and never suspends itself: it costs all day",
            "ALTER WAREHOUSE with AUTO_SUSPEND = 60",
        )  # fmt: skip
    return Finding("warehouse: size", "ok", f"{warehouse} is {size}, and suspends itself after {suspends} s")


def _rights(session: SnowflakeSession) -> Iterator[Finding]:
    """Makes a schema with a table, a stage and a view, and drops it."""
    schema = session.quoted(_SLUICE)
    try:
        session.ddl(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        for statement in (
            f'TABLE {schema}."canary" ("Id" NUMBER(19, 0))',
            f'VIEW {schema}."canary_active" AS SELECT * FROM {schema}."canary"',  # noqa: S608 - quoted
            f'TEMPORARY STAGE {schema}."files"',
            'TEMPORARY TABLE "_sluice_canary" ("Id" NUMBER(19, 0))',
        ):
            session.connection.execute(f"CREATE OR REPLACE {statement}")
        yield Finding("warehouse: rights", "ok", "create schemas, tables, views, stages and temporary tables")
    finally:
        with contextlib.suppress(Exception):
            session.connection.execute(f"DROP SCHEMA IF EXISTS {schema}")


def _fetched(session: SnowflakeSession, text: str) -> list[Any]:
    found: list[Any] = session.connection.execute(text).fetchall()
    return found


def _shown(session: SnowflakeSession, text: str) -> list[dict[str, Any]]:
    cursor = session.connection.execute(text)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

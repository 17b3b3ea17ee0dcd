"""The script an administrator runs once on a database: schemas, the way to the staging container, the app's user.

Every statement is a batch of its own, says what it is for, and may be run again. Pure: it needs no connection.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from shared.errors import ConfigError
from shared.warehouses.azure_sql.tsql import name, run_unless_there, text
from shared.warehouses.merge import ingest
from shared.warehouses.merge.session import STAGING


class Statement(NamedTuple):
    purpose: str
    sql: str
    shown: str | None = None
    """What to print instead, where the statement has a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the script is to prepare."""

    location: str | None
    """URL of the staging container, or None for no bulk loads."""
    data_source: str
    sas: str | None = None
    """How the database signs in to the container; None: with the logical server's managed identity."""
    user: str | None = None
    """The app's user: for an Entra identity its display name."""
    user_kind: Literal["external", "login"] = "external"
    """``external``: an Entra identity, such as the app's managed identity. ``login``: of a login of that name."""
    schemas: tuple[str, ...] = ()
    """Of the systems whose tables are written."""
    master_key_password: str | None = field(default=None, repr=False)
    """Of a master key that has to be made: SQL Server wants one, Azure SQL takes it. It is never shown."""


def statements(setup: Setup) -> list[Statement]:
    """The script. ConfigError for names that SQL Server, or whoever pastes the script somewhere, cannot take."""
    _refuse_lines(setup)
    schemas = (ingest.SCHEMA, STAGING, *setup.schemas)
    found = [_schema(schema) for schema in schemas]
    if setup.location is not None:
        found += _way_to_the_container(setup, setup.location)
    if setup.user is not None:
        found += _rights(setup, setup.user, schemas)
    return found


def _refuse_lines(setup: Setup) -> None:
    """A name of two lines would end a comment of the printed script, and a GO in it a batch."""
    values = (setup.location, setup.data_source, setup.sas, setup.user, *setup.schemas)
    if any(one and not one.isprintable() for one in values):
        raise ConfigError("a name for the setup script has a line break or a control character", fix="Leave it out")


def _schema(schema: str) -> Statement:
    sql = run_unless_there(f"SCHEMA_ID({text(schema)}) IS NULL", f"CREATE SCHEMA {name(schema)}")
    return Statement(f"Schema {schema}", sql)


def _way_to_the_container(setup: Setup, location: str) -> list[Statement]:
    if not location.startswith("https://"):
        raise ConfigError(
            "the staging container has no https address, and the database reads only from https",
            fix="Set STAGING_URL to a container in Azure, or leave it empty to load without one",
        )
    credential = f"{setup.data_source}_credential"
    there = _exists("database_scoped_credentials", credential)
    source = _exists("external_data_sources", setup.data_source)
    other = f" AND (location <> {text(location)} OR type_desc <> 'BLOB_STORAGE')"
    wrong = _exists("external_data_sources", setup.data_source, other)
    create = (
        f"CREATE EXTERNAL DATA SOURCE {name(setup.data_source)} WITH (TYPE = BLOB_STORAGE,"
        f" LOCATION = {_plain(location)}, CREDENTIAL = {name(credential)})"
    )
    found = [_credential(setup, "CREATE", f"NOT {there}", credential), _credential(setup, "ALTER", there, credential)]
    if setup.sas is not None:
        key = f"NOT {_exists('symmetric_keys', '##MS_DatabaseMasterKey##')}"
        found.insert(0, _master_key(setup.master_key_password or _SHOWN_PASSWORD, key))
    return [
        *found,
        Statement(
            "Data source with another location or type: it has to be created again",
            run_unless_there(wrong, f"DROP EXTERNAL DATA SOURCE {name(setup.data_source)}"),
        ),
        Statement(
            "Data source: what BULK INSERT reads from",
            run_unless_there(f"NOT {source}", create),
        ),
    ]


_SHOWN_PASSWORD = "<a long random password>"  # noqa: S105 - what is printed instead of one


def _master_key(password: str, condition: str) -> Statement:
    """With a password: Azure SQL can do without, SQL Server cannot. The server keeps a copy that needs none."""
    sql, shown = (
        run_unless_there(condition, f"CREATE MASTER KEY ENCRYPTION BY PASSWORD = {_plain(value)}")
        for value in (password, _SHOWN_PASSWORD)
    )
    return Statement("Master key: it protects the SAS", sql, shown)


def _credential(setup: Setup, verb: str, condition: str, credential: str) -> Statement:
    """Managed identity has no secret; a SAS goes in without its question mark, and is not shown."""
    identity = "Managed Identity" if setup.sas is None else "SHARED ACCESS SIGNATURE"
    head = f"{verb} DATABASE SCOPED CREDENTIAL {name(credential)} WITH IDENTITY = {_plain(identity)}"
    purpose = f"Credential for the staging container ({identity.lower()}): {verb.lower()} it"
    if setup.sas is None:
        return Statement(purpose, run_unless_there(condition, head))
    sql = run_unless_there(condition, f"{head}, SECRET = {_plain(setup.sas.removeprefix('?'))}")
    return Statement(purpose, sql, run_unless_there(condition, f"{head}, SECRET = '<the SAS, without its ?>'"))


def _rights(setup: Setup, user: str, schemas: tuple[str, ...]) -> list[Statement]:
    """No more than the app needs: its own schemas, making tables, bulk loads, and looking at the log rate."""
    how = "FROM EXTERNAL PROVIDER" if setup.user_kind == "external" else f"FOR LOGIN {name(user)}"
    create = run_unless_there(f"USER_ID({text(user)}) IS NULL", f"CREATE USER {name(user)} {how}")
    grants = ["CREATE TABLE", "CREATE VIEW", "CREATE SCHEMA", "VIEW DATABASE STATE"]
    if setup.location is not None:
        grants.append("ADMINISTER DATABASE BULK OPERATIONS")
    found = [Statement(f"User {user}", create)]
    found += [Statement(f"Right to {right.lower()}", f"GRANT {right} TO {name(user)}") for right in grants]
    found += [
        Statement(
            f"Rights in schema {schema}",
            f"GRANT SELECT, INSERT, UPDATE, DELETE, ALTER, REFERENCES ON SCHEMA::{name(schema)} TO {name(user)}",
        )
        for schema in schemas
    ]
    if setup.location is not None:
        credential = f"{setup.data_source}_credential"
        grant = f"GRANT REFERENCES ON DATABASE SCOPED CREDENTIAL::{name(credential)} TO {name(user)}"
        there = _exists("database_scoped_credentials", credential)
        found.append(Statement("Right to use the credential", run_unless_there(there, grant)))
    return found


def _exists(view: str, of: str, more: str = "") -> str:
    return f"EXISTS (SELECT 1 FROM sys.{view} WHERE name = {text(of)}{more})"  # noqa: S608 - quoted


def _plain(value: str) -> str:
    """A string literal without N, which options of DDL do not take everywhere."""
    return text(value).removeprefix("N")

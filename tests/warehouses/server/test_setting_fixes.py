"""A setting or a value for a database server that is refused is given as the error shows, and then it is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from shared.mssql import odbc
from shared.settings import Settings
from shared.warehouses.azure_sql import setup, setup_script, tsql
from shared.warehouses.postgres import engine as postgres
from shared.warehouses.server import csv
from tests.advice import advised, follow, follows

MSSQL = "mssql://me:secret@acme.database.windows.net/sales"
IDENTITY = "mssql://acme.database.windows.net/sales?authentication=ActiveDirectoryMsi"
POSTGRES = "postgresql://me:p%40%3A%2Fw@db.example:5432/sales"


def script(**parts: Any) -> object:
    usual = {"schemas": ("crm",), "user": "app", "location": None, "data_source": "sluice_staging", "sas": None}
    return setup_script.statements(setup_script.Setup(**{**usual, **parts}))


def planned(url: str) -> object:
    return setup.plan(Settings(warehouse_url=url), ["crm"], user=None, login=False)


CASES: list[Any] = [
    follows(
        "Write mssql://[user:password@]host[:port]/database?authentication=ActiveDirectoryMsi",
        odbc.address, ["mssql://acme.database.windows.net", "mssql://me@host/db?authentication=SqlPassword"],
        [MSSQL, IDENTITY],
    ),
    follows(
        "Write mssql://[user:password@]host[:port]/database?authentication=ActiveDirectoryMsi,"
        " user and password percent-encoded",
        odbc.address, ["mssql://me:p/w@host:1433/db"], ["mssql://me:p%2Fw@host:1433/db"],
    ),
    follows("Leave Encrypt out; TrustServerCertificate=yes helps", odbc.address, [f"{MSSQL}?Encrypt=no"],
            [MSSQL, f"{MSSQL}?TrustServerCertificate=yes"]),
    follows("Set it to mssql://...; only Azure SQL needs the script", planned, ["duckdb:///w.duckdb"], [MSSQL]),
    follows("Leave it out", lambda user: script(user=user), ["app\nGO"], ["app"]),
    follows("Leave it out", tsql.text, ["a\0b"], ["ab"], id="NUL"),
    follows(
        "Set STAGING_URL to a container in Azure, or leave it empty to load without one",
        lambda location: script(location=location),
        ["http://127.0.0.1:10000/devstoreaccount1/staging"], ["https://acme.blob.core.windows.net/staging", None],
    ),
    follows(
        "Write postgresql://user:password@host:port/database,"
        " with @ : / ? and % of the password as %40 %3A %2F %3F %25",
        postgres._address, ["postgresql://me:p@:/w@db.example/sales", "postgresql://db.example"], [POSTGRES],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("advice", "read", "wrong", "right"), CASES)
def test_a_setting_is_given_as_advised(advice: str, read: Callable[[Any], object], wrong: list[Any], right: list[Any]):
    follow(advice, read, wrong, right)


@pytest.mark.parametrize(
    ("advice", "wrong", "right"),
    [
        follows("Known are {}", f"{MSSQL}?colour=red", f"{MSSQL}?{{}}=yes"),
        follows("Choose one of {}", f"{MSSQL}?authentication=Kerberos", f"{MSSQL}?authentication={{}}"),
    ],
)
def test_an_option_is_one_of_those_that_are_listed(advice, wrong, right):
    with advised(advice) as given:
        odbc.address(wrong)

    for known in given.values[0].split(", "):
        value = "SqlPassword" if known == "authentication" and "{}=yes" in right else known
        assert odbc.address(right.format(known) if value == known else f"{MSSQL}?authentication={value}")


def test_a_name_is_as_long_as_advised():
    with advised("Use 1 to {} characters") as given:
        tsql.name("x" * 200)

    assert tsql.name("x" * int(given.values[0]))


@pytest.mark.parametrize(
    ("advice", "kind", "wrong", "right"),
    [
        follows("Remove it at the source", pa.string(), "a\0b", "ab"),
        follows("Export NULL instead of it", pa.float64(), float("nan"), None),
        follows("Export NULL instead of it", pa.timestamp("us"), -(10**18), None, id="a time"),
    ],
)
def test_a_value_is_corrected_at_the_source(advice, kind, wrong, right):
    """Where it comes past the contract, which rejects such rows."""
    with advised(advice):
        csv._written(pa.array([wrong], kind))

    assert 1 == len(csv._written(pa.array([right], kind)))

"""Errors of Snowflake in our words, and what the doctor asks. Nothing is run on Snowflake."""

from __future__ import annotations

import pytest

from shared.errors import ConfigError, DataError, IngestError, TransientError
from shared.warehouses.snowflake import checks
from shared.warehouses.snowflake.errors import passes, translated
from shared.warehouses.snowflake.session import SnowflakeSession
from tests.advice import advises
from tests.warehouses.snowflake.scripted import Account, Away, Refused

# -- errors and the doctor


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (Refused(606), ConfigError, "no warehouse of Snowflake is chosen"),
        (Refused(3001), ConfigError, "lacks a right"),
        (Away(250001), ConfigError, "cannot be opened"),
        (Refused(390144), ConfigError, "cannot be opened"),
        (Away(), TransientError, "unavailable or busy"),
        (Refused(625), TransientError, "unavailable or busy"),
        (Refused(2003, "02000", 'Object "staging"."s_1" does not exist'), TransientError, "staging table .* is gone"),
        (Refused(100038, "22018"), DataError, "refused a value"),
    ],
)  # fmt: skip
def test_errors_are_in_our_words(error, kind, said):
    """Those that an operator can do something about."""
    with pytest.raises(kind, match=said), translated():
        raise error
    assert passes(error) is ("busy" in said)


def test_other_errors_stay_as_they_are():
    """Bugs, and errors of others."""
    for error in (Refused(1003, "42000"), ValueError("no")):
        with pytest.raises(type(error)), translated():
            raise error


PARAMETERS = {"DEFAULT_DDL_COLLATION": "", "QUOTED_IDENTIFIERS_IGNORE_CASE": "false", "TIMEZONE": "UTC"}


def doctor(*, warehouse="W", suspends="60", parameters=None):
    """What it finds in such an account, by check, and the account."""
    shown = {**PARAMETERS, **(parameters or {})}
    account = Account(
        ("SELECT CURRENT_USER", [("SLUICE", "LOADER", "SALES", "9.1", warehouse)]),
        ("SHOW WAREHOUSES", [{"name": "W", "size": "X-Small", "auto_suspend": suspends}]),
        *((f"SHOW PARAMETERS LIKE '{name}'", [{"key": name, "value": value}]) for name, value in shown.items()),
    )
    return {finding.check: finding for finding in checks.examine(SnowflakeSession(account.connection()))}, account


def test_doctor_says_who_signs_in_and_how_large_the_warehouse_is():
    """And leaves nothing behind."""
    found, account = doctor()

    assert {"ok"} == {finding.status for finding in found.values()}
    assert "W is X-Small, and suspends itself after 60 s" == found["warehouse: size"].message
    assert [text for text in account.statements if text.startswith("DROP SCHEMA")]


def test_doctor_names_what_is_wrong():
    """Each with what to do."""
    nothing, _ = doctor(warehouse=None)
    costly, _ = doctor(suspends=None)
    folding, _ = doctor(parameters={"DEFAULT_DDL_COLLATION": "en-ci"})

    advises("Add ?warehouse=NAME to WAREHOUSE_URL, and grant its role USAGE on it", nothing["warehouse: size"].fix)
    advises("ALTER WAREHOUSE with AUTO_SUSPEND = 60", costly["warehouse: size"].fix)
    advises(
        "Unset that parameter for the database: keys would not be told apart as elsewhere",
        folding["warehouse: parameters"].fix,
    )
    assert "DEFAULT_DDL_COLLATION is 'en-ci'" in folding["warehouse: parameters"].message


def test_doctor_ends_at_a_missing_right():
    """In our words, and what was made is dropped."""
    account = Account(
        ("SELECT CURRENT_USER", [("SLUICE", "LOADER", "SALES", "9.1", "W")]),
        ("SHOW WAREHOUSES", []), ("CREATE OR REPLACE TEMPORARY STAGE", Refused(3001)),
    )  # fmt: skip
    with pytest.raises(IngestError, match="lacks a right"), translated():
        list(checks.examine(SnowflakeSession(account.connection())))
    assert account.statements[-1].startswith("DROP SCHEMA")

"""WAREHOUSE_URL and sign-in of Snowflake. Nobody signs in to Snowflake."""

from __future__ import annotations

import sys

import pytest

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.errors import ConfigError
from shared.settings import Settings
from shared.warehouses import open_warehouse
from shared.warehouses.snowflake.address import connection_options
from tests.advice import advised, follow, follows

URL = "snowflake://sluice:secret@org-account.privatelink/sales?warehouse=W&role=R"
# -- sign-in


def options(url=URL, **more):
    return connection_options(Settings(warehouse_url=url, **more))


def key(phrase=None):
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    how = serialization.BestAvailableEncryption(phrase) if phrase else serialization.NoEncryption()
    return made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how).decode()


def test_url_says_where(monkeypatch):
    """And what a session relies on is set for it, whatever the account has."""
    found = options("snowflake://me%40corp:p%2Fw@org-account/sales/scratch?warehouse=W&role=R")

    assert {"account": "org-account", "database": "sales", "schema": "SCRATCH", "warehouse": "W", "role": "R"} == {
        name: found[name] for name in ("account", "database", "schema", "warehouse", "role")
    }
    assert ("me@corp", "p/w") == (found["user"], found["password"])
    assert "UTC" == found["session_parameters"]["TIMEZONE"]
    assert found["session_parameters"]["QUOTED_IDENTIFIERS_IGNORE_CASE"] is False


def test_signs_in_by_key_then_token_then_password_then_identity():
    """A key in one line has its line breaks written out, as settings have it."""
    pem = key()
    by_key = options(snowflake_private_key=pem.replace("\n", "\\n"), snowflake_token="t")
    phrased = options(snowflake_private_key=key(b"open"), snowflake_private_key_passphrase="open")
    by_token = options(snowflake_token="t")
    by_pat = options(f"{URL}&authenticator=programmatic_access_token", snowflake_token="t")
    by_password = options()
    by_identity = options("snowflake://org-account/sales")
    by_choice = options(f"{URL}&authenticator=workload_identity", snowflake_private_key=pem)

    assert serialization.load_der_private_key(by_key["private_key"], None)
    assert serialization.load_der_private_key(phrased["private_key"], None)
    assert [("OAUTH", "t"), ("PROGRAMMATIC_ACCESS_TOKEN", "t")] == [
        (one["authenticator"], one["token"]) for one in (by_token, by_pat)
    ]
    assert "secret" == by_password["password"]
    for one in (by_identity, by_choice):
        assert ("WORKLOAD_IDENTITY", "AZURE") == (one["authenticator"], one["workload_identity_provider"])
        assert not {"password", "private_key", "token"} & one.keys()


WRONG = ("", "account", "a:b c@/db", "acc/db/s/more", "acc/db?size=XL", "u@[acc/db")
PHRASED = key(b"open")


@pytest.mark.parametrize(
    ("text", "wrong", "right"),
    [
        follows(
            "Write snowflake://user@account/database?warehouse=WAREHOUSE&role=ROLE",
            [{"url": f"snowflake://{place}"} for place in WRONG],
            [{"url": "snowflake://user@account/database?warehouse=WAREHOUSE&role=ROLE"}],
        ),
        follows(
            "Write one of {}, or leave it out",
            [{"url": f"{URL}&authenticator=externalbrowser"}], [{"url": f"{URL}&authenticator=oauth"}, {}],
        ),
        follows(
            "Set it to all lines of the key's .p8 file, and the phrase only if the key has one",
            [{"snowflake_private_key": "no key"}, {"snowflake_private_key": PHRASED}],
            [{"snowflake_private_key": PHRASED, "snowflake_private_key_passphrase": "open"}],
        ),
    ],
)  # fmt: skip
def test_settings_are_given_as_the_error_says(text, wrong, right):
    """Each is refused with it, and then taken."""
    follow(text, lambda given: options(**given), wrong, right)


@pytest.mark.parametrize(
    ("url", "more"),
    [("snowflake://me:hidden@acc/db?size=XL", {}), ("snowflake://acc/db", {"snowflake_private_key": PHRASED})],
)
def test_no_error_repeats_a_secret(url, more):
    """And a key needs a user."""
    with pytest.raises(ConfigError, match="WAREHOUSE_URL does not name") as caught:
        options(url, **more)
    assert "hidden" not in str(caught.value)


def test_missing_driver_says_how_to_install_it(monkeypatch):
    """One line, before anything else; the file that it names has the driver."""
    monkeypatch.setitem(sys.modules, "snowflake.connector", None)

    with advised("Run: pip install -r requirements-snowflake.txt"):
        open_warehouse(Settings(warehouse_url=URL))

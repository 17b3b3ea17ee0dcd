"""A session over an account that answers by a script."""

from __future__ import annotations

import pytest

from shared.warehouses.snowflake.session import SnowflakeSession
from tests.warehouses.snowflake.scripted import Account


@pytest.fixture
def account():
    """With the table of the feed."""
    columns = (("Id", "TEXT", None, None), ("Amount", "NUMBER", 10, 0), ("DeletedAt", "TIMESTAMP_NTZ", None, None))
    return Account(("SELECT COLUMN_NAME", columns))


@pytest.fixture
def session(account):
    return SnowflakeSession(account.connection())

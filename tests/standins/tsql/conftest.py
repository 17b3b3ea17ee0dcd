"""A server and a table for tests of the stand-in."""

from __future__ import annotations

import pytest

from tests.standins.tsql.engine import Server


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def db(server):
    """A connection with autocommit, and a table ``dbo.t``."""
    connection = server.connect(autocommit=True)
    connection.execute(
        "CREATE TABLE t (id bigint NOT NULL, name nvarchar(5) NULL, code nvarchar(450) COLLATE Latin1_General_100_BIN2)"
    )
    return connection

"""What several tests of the stand-in for SQL Server send and look at."""

from __future__ import annotations

import datetime as dt

import pytest

from tests.standins.tsql import errors
from tests.standins.tsql.engine import Connection

BULK_OPTIONS = (
    "DATA_SOURCE = N'staging', FORMAT = 'CSV', CODEPAGE = 65001, FIELDTERMINATOR = ',', FIELDQUOTE = '\"',"
    " ROWTERMINATOR = '0x0a', KEEPNULLS, TABLOCK"
)
LOCK = (
    "DECLARE @r int; EXEC @r = sp_getapplock @Resource = N'feed', @LockMode = 'Exclusive',"
    " @LockOwner = 'Transaction', @LockTimeout = {}; SELECT @r"
)


def at(*parts: int) -> dt.datetime:
    return dt.datetime(*parts)  # noqa: DTZ001 - as the database has it


def ask(connection: Connection, sql: str, *parameters: object) -> list[tuple]:
    return connection.execute(sql, *parameters).fetchall()


def failure(connection: Connection, sql: str, *parameters: object) -> tuple[str, int, str]:
    """SQLSTATE, native number and text of the error that *sql* ends in."""
    with pytest.raises(errors.Error) as caught:
        connection.execute(sql, *parameters)
    return caught.value.args[0], errors.number_of(caught.value), caught.value.args[1]

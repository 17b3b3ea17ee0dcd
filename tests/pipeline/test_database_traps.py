"""Values of databases that no warehouse holds: each is rejected alone, and its row is loaded without it."""

from __future__ import annotations

import datetime as dt

from decimal import Decimal
from typing import Any

import pytest

from tests.pipeline.test_pull import SyncedTable
from tests.servers.source_table import SourceTable, at

pytestmark = pytest.mark.usefixtures("in_a_hurry")


def loaded(synced: SyncedTable, *columns: str) -> list[tuple[Any, ...]]:
    """What is stored of each row, in the order of keys."""
    names = ", ".join(f'"{column}"' for column in columns)
    with synced.warehouse._session() as session:
        return session.connection.execute(f'SELECT {names} FROM shop.item ORDER BY "Id"').fetchall()


def rejected(synced: SyncedTable) -> list[tuple[str, str, str]]:
    """Scope, column and code of each reject."""
    with synced.warehouse._session() as session:
        found = session.connection.execute('SELECT scope, "column", code FROM ingest.rejected').fetchall()
    return sorted(found)


def test_traps_of_mysql(mariadb, mariadb_database, tmp_path):
    """Dates of zeros and days of 838 hours; numbers without sign, flags above 1, and bytes of latin1 as they are."""
    table = SourceTable(mariadb, mariadb_database)
    table.do(
        """CREATE TABLE item (Id INT PRIMARY KEY, At DATETIME NOT NULL, d DATE, t TIME, ts TIMESTAMP NULL,
        flag TINYINT(1), price DECIMAL(10,2), name VARCHAR(20) CHARACTER SET latin1, u INT UNSIGNED,
        big BIGINT UNSIGNED, b BIT(1), e ENUM('x','y'), s SET('p','q'), g POINT, j JSON)""",
        "SET SESSION sql_mode = ''",
        "SET time_zone = '+02:00'",
        """INSERT INTO item VALUES (1, '2026-02-24 12:00:00', '2026-02-24', '12:00:00', '2026-02-24 14:00:00',
        1, 0.10, x'80E981', 4294967295, 18446744073709551615, b'1', 'y', 'p,q', POINT(1, 2), '{"a": 1}')""",
        """INSERT INTO item VALUES (2, '2026-02-24 12:01:00', '0000-00-00', '838:59:59', '0000-00-00 00:00:00',
        2, 99999999.99, '', 0, 0, b'0', '', '', NULL, NULL)""",
        """INSERT INTO item (Id, At, d, t) VALUES (3, '2026-02-24 12:02:00', '2026-00-10', '-00:00:01')""",
    )
    synced = SyncedTable(tmp_path, table)
    (run,) = synced.sync()
    first, second, third = loaded(
        synced, "d", "t", "ts", "flag", "price", "name", "u", "big", "b", "e", "s", "g", "j"
    )  # fmt: skip

    assert (3, 0, 5) == (run.inserted, run.rejected, run.values_rejected)
    assert first == (
        dt.date(2026, 2, 24), dt.time(12), at(0), 1, Decimal("0.10"), "€é\x81", 4294967295,
        Decimal(18446744073709551615), True, "y", "p,q", "POINT(1 2)", '{"a": 1}',
    )  # fmt: skip
    assert second == (
        None, None, None, 2, Decimal("99999999.99"), "", 0, Decimal(0), False, "", "", None, None,
    )  # fmt: skip
    assert {None} == set(third)
    assert [("value", name) for name in ("d", "d", "t", "t", "ts")] == [row[:2] for row in rejected(synced)]


def test_traps_of_postgresql(postgres, database, tmp_path):
    """Days that never come, no numbers, hours after the last; what has no type of its own is text."""
    table = SourceTable(postgres, database)
    table.do(
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        """CREATE TABLE item ("Id" int PRIMARY KEY, "At" timestamp, d date, z timestamptz, t time, n numeric(5,2),
        m mood, a int[], r int4range, i interval, p point, c money)""",
        """INSERT INTO item VALUES (1, '2026-02-24 12:00', '2026-02-24', '2026-02-24 14:00+02', '12:00', 1.5,
        'glad', '{1,NULL}', '[1,3)', '1 month 2 days', '(1,2)', 12.5)""",
        """INSERT INTO item ("Id", "At", d, z, t, n) VALUES (2, '2026-02-24 12:01', 'infinity', '-infinity', '24:00',
        'NaN'), (3, '2026-02-24 12:02', '0044-03-15 BC', NULL, NULL, NULL)""",
    )
    synced = SyncedTable(tmp_path, table)
    (run,) = synced.sync()
    first, second, third = loaded(synced, "d", "z", "t", "n", "m", "a", "r", "i", "p")

    assert (3, 0, 5) == (run.inserted, run.rejected, run.values_rejected)
    assert first == (
        dt.date(2026, 2, 24), at(0), dt.time(12), Decimal("1.50"), "glad", "[1, null]", "[1,3)", "1 mon 2 days",
        "(1,2)",
    )  # fmt: skip
    assert {None} == {*second, *third}
    assert [("value", name) for name in ("d", "d", "n", "t", "z")] == [row[:2] for row in rejected(synced)]

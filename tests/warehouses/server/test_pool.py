"""Connections of one process: kept for the next caller, and closed when nobody is left who could use them."""

from __future__ import annotations

import gc

import pytest

from shared.warehouses.server.pool import ConnectionPool
from tests.advice import advises
from tests.suites.warehouse_case import WarehouseCase, row


class Connection:
    """One that only says whether it is open."""

    is_open = True

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def opened() -> list[Connection]:
    return []


@pytest.fixture
def make(opened):
    def connect() -> Connection:
        opened.append(Connection())
        return opened[-1]

    return lambda: ConnectionPool(connect, size=2, wait_seconds=0.0)


def use(pool: ConnectionPool[Connection]) -> None:
    with pool.connection(keep_after=lambda *_: False):
        pass


def test_a_connection_is_kept_for_the_next_caller(make, opened):
    """Until idle ones are closed."""
    pool = make()
    use(pool)
    use(pool)
    assert [True] == [one.is_open for one in opened]

    pool.close_idle()
    assert [False] == [one.is_open for one in opened]


@pytest.mark.parametrize("renewed", [False, True])
def test_a_pool_that_nobody_has_leaves_no_connection_open(make, opened, renewed):
    """An app may be dropped in the middle of its work."""
    pool = make()
    if renewed:
        pool.close_idle()
    use(pool)

    del pool
    gc.collect()

    assert [False] == [one.is_open for one in opened]


def test_a_connection_in_use_is_closed_when_it_comes_back_to_a_renewed_pool(make, opened):
    """What ended the others has mostly ended this one, too."""
    pool = make()
    with pool.connection(keep_after=lambda *_: False):
        pool.close_idle()
        assert [True] == [one.is_open for one in opened]

    assert [False] == [one.is_open for one in opened]


def test_a_caller_that_waits_in_vain_has_more_connections_or_comes_later(case, postgres, database, tmp_path):
    """As a load does beside many others."""
    url = postgres.url(database)
    few = {"WAREHOUSE_CONNECTIONS": "1", "WAREHOUSE_LOCK_TIMEOUT": "0.1"}
    one = WarehouseCase(tmp_path, case.query, WAREHOUSE_URL=url, **few)
    file = case.write("delta", 6, [row(4, "Di", 6)])
    with one.app.warehouse._engine.units.connection():
        said = one.load(file).run.error
        two = WarehouseCase(tmp_path, case.query, WAREHOUSE_URL=url, WAREHOUSE_CONNECTIONS="2")
        with two.app.warehouse._engine.units.connection():
            assert two.load(file).loaded

    advises("Raise WAREHOUSE_CONNECTIONS, or load again when others are done", said)
    assert one.load(case.write("delta", 7, [row(5, "Ed", 6)])).loaded

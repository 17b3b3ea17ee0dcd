"""What only a server can do to a load: break connections, restart, deadlock, keep others waiting. On PostgreSQL."""

from __future__ import annotations

import contextlib
import socket
import threading

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from hypothesis import given, settings

from shared.contract.conform import Contract
from shared.warehouses.postgres import engine
from tests.advice import advises
from tests.quick import quick_if
from tests.servers import free_port
from tests.servers.postgres import Postgres
from tests.suites.warehouse_case import WarehouseCase, day, row, some
from tests.warehouses.merge.wild_files import FAST, check_wild, wild_loads
from tests.warehouses.postgres.retries import retries_come_at_once
from tests.warehouses.server.server_samples import (
    AFTER_DELTA,
    CONNECTIONS,
    DELTA,
    OUTCOMES_OF_DELTA,
    asking,
    filled,
    just_before_commit,
    stored,
)


def test_connection_killed_in_mid_merge_is_replaced(case, query, monkeypatch, states):
    """An administrator, or a pooler, ends it: the whole merge is done again, once."""
    kill = f"SELECT pg_terminate_backend(pid) {CONNECTIONS}"
    just_before_commit(monkeypatch, lambda: query(kill))

    run = case.loaded("delta", 6, *DELTA)

    assert OUTCOMES_OF_DELTA == some(run)
    assert AFTER_DELTA == stored(case)
    assert 2 == len(case.app.warehouse.runs("shop.item"))
    assert states


def test_connection_killed_in_mid_stage_fails_clean(case, query, monkeypatch):
    """The batches are gone and cannot be sent again: the load fails, nothing is merged, and the next one works."""
    kill = f"SELECT pg_terminate_backend(pid) {CONNECTIONS}"
    conform, times = Contract.conform, iter([True])

    def conformed(*given: Any) -> Any:
        if next(times, False):
            query(kill)
        return conform(*given)

    monkeypatch.setattr(Contract, "conform", conformed)
    file = case.write("delta", 6, DELTA)
    before = stored(case)

    failed = case.load(file)
    unharmed = stored(case)
    again = case.load(file)

    assert failed.failed
    assert "the warehouse is unavailable or busy" in failed.run.error
    assert before == unharmed
    assert OUTCOMES_OF_DELTA == some(again.run)
    assert AFTER_DELTA == stored(case)
    assert [] == query("SELECT tablename FROM pg_tables WHERE schemaname = 'staging'")


def test_idle_connections_that_died_are_replaced(postgres, database, query, tmp_path, monkeypatch, states):
    """Between two verbs the server may have closed them, and more of them than there are tries."""
    retries_come_at_once(monkeypatch)
    case = filled(tmp_path, query, postgres.url(database), WAREHOUSE_CONNECTIONS="8")
    kill = f"SELECT pg_terminate_backend(pid) {CONNECTIONS}"
    unit = case.app.warehouse._engine.units.run

    def opened(more: int) -> None:
        unit(lambda session: opened(more - 1) if more else session.execute("SELECT 1"))

    opened(7)
    assert [(True,)] * 8 == query(kill)

    assert OUTCOMES_OF_DELTA == some(case.loaded("delta", 6, *DELTA))
    assert states


@pytest.fixture
def private(private_postgres: Postgres, tmp_path, monkeypatch) -> WarehouseCase:
    retries_come_at_once(monkeypatch)
    name = private_postgres.create_database()
    return filled(tmp_path, asking(private_postgres, name), private_postgres.url(name))


def test_server_that_stops_in_mid_merge_leaves_all_as_it_was(private, private_postgres, monkeypatch):
    """The load fails as something that may pass; when the server is back, the same load repairs."""
    just_before_commit(monkeypatch, private_postgres.kill)
    file = private.write("delta", 6, DELTA)
    failed = private.load(file)
    private_postgres.start()
    unharmed = stored(private)

    again = private.load(file)

    assert "Load again; if it lasts, check that the server runs" in failed.run.error
    assert [(1, "Ada", None), (2, "Bob", None), (3, "Cy", day(3))] == unharmed
    assert OUTCOMES_OF_DELTA == some(again.run)
    assert AFTER_DELTA == stored(private)


@pytest.mark.slow
def test_server_that_restarts_in_mid_merge_is_not_even_noticed(private, private_postgres, monkeypatch):
    """Nothing was committed: the merge is done again. What was staged without a log is gone, and that is reported."""

    def restart() -> None:
        private_postgres.kill()
        private_postgres.start()

    just_before_commit(monkeypatch, restart)
    file = private.write("delta", 6, DELTA)

    first = private.load(file)
    again = private.load(file)

    assert "3 rows of shop.item were staged, but 0 are there." in first.run.error
    advises("Another process may be doing the same run: load it again when that process is done", first.run.error)
    assert OUTCOMES_OF_DELTA == some(again.run)
    assert AFTER_DELTA == stored(private)


@pytest.mark.slow
@pytest.mark.parametrize("table", ["item", "new"], ids=["a table", "no table yet"])
def test_server_that_stops_in_mid_stage_leaves_all_as_it_was(private, private_postgres, monkeypatch, table):
    """Whether what is staged was to be merged or to become the table."""
    conform, times = Contract.conform, iter([False, True])

    def conformed(*given: Any) -> Any:
        if next(times, False):
            private_postgres.kill()
        return conform(*given)

    monkeypatch.setattr(Contract, "conform", conformed)
    app = WarehouseCase(private.folder, private.query, WAREHOUSE_URL=private.app.settings.warehouse_url, BATCH_ROWS="2")
    file = app.write("delta", 6, DELTA, table=table)
    failed = app.load(file)
    private_postgres.start()

    again = app.load(file)

    assert "the warehouse is unavailable or busy" in failed.run.error
    assert "done" == again.run.status
    assert 3 == again.run.read
    assert [] == private.query("SELECT tablename FROM pg_tables WHERE schemaname = 'staging'")


class Proxy:
    """Stands before a server. Once armed, it lets the next COMMIT through and then breaks the connection."""

    def __init__(self, port: int) -> None:
        self.cuts = 0
        self._armed = threading.Event()
        self._server, self.port = port, free_port()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def arm(self) -> None:
        self._armed.set()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
                cut = threading.Event()
                for way in ((client, server, True), (server, client, False)):
                    self._threads.append(threading.Thread(target=self._carry, args=(*way, cut)))
                    self._threads[-1].start()

    def _carry(self, source: socket.socket, sink: socket.socket, to_server: bool, cut: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if to_server and b"COMMIT\0" in data and self._armed.is_set():
                    self._armed.clear()
                    cut.set()
                if cut.is_set() and not to_server:  # it has answered, so it has committed
                    self.cuts += 1
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        if not to_server:
            source.close()
            sink.close()


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[Proxy]:
    made = Proxy(postgres.port)
    yield made
    made.close()


@pytest.fixture
def remote(postgres: Postgres, database: str, query, proxy: Proxy, tmp_path, monkeypatch) -> WarehouseCase:
    """A table of three items, reached through the proxy."""
    retries_come_at_once(monkeypatch)
    return filled(tmp_path, query, postgres.url(database, port=proxy.port))


def test_lost_answer_to_the_commit_of_a_merge_is_recognised(remote, proxy, monkeypatch, states):
    """The merge is tried again, finds its own run, and tells its counts; nothing is merged twice."""
    just_before_commit(monkeypatch, proxy.arm)

    run = remote.loaded("delta", 6, *DELTA)

    assert 1 == proxy.cuts
    assert {None} == set(states)
    assert OUTCOMES_OF_DELTA == some(run)
    assert AFTER_DELTA == stored(remote)
    assert 2 == len(remote.app.warehouse.runs("shop.item"))


def test_lost_answer_to_the_commit_of_a_first_load_is_recognised(remote, proxy, monkeypatch):
    """Its staging table is the feed's table by then."""
    just_before_commit(monkeypatch, proxy.arm)

    run = remote.loaded("delta", 6, *DELTA, table="new")

    assert 1 == proxy.cuts
    assert {"inserted": 3, "read": 3} == some(run)
    assert [("Ida",), ("Bob",), ("Di",)] == remote.rows("Name", table="new")


def test_lost_answer_to_the_commit_of_a_stage_is_repaired_by_the_next_load(remote, proxy, monkeypatch):
    """What is staged already cannot be read again within the verb."""
    conform, times = Contract.conform, iter([True])

    def conformed(*given: Any) -> Any:
        if next(times, False):
            proxy.arm()
        return conform(*given)

    monkeypatch.setattr(Contract, "conform", conformed)
    file = remote.write("delta", 6, DELTA)

    failed, again = remote.load(file), remote.load(file)

    assert 1 == proxy.cuts
    assert failed.failed
    assert OUTCOMES_OF_DELTA == some(again.run)
    assert AFTER_DELTA == stored(remote)


@pytest.mark.parametrize("loader", ["auto", quick_if(False, "array")])
@given(reported=wild_loads())
@settings(parent=FAST, max_examples=3)
def test_every_load_does_what_the_rules_say(postgres, loader, reported):
    """As on DuckDB: each column and count is as the plain model says."""
    name = postgres.create_database()
    try:
        check_wild(reported, WAREHOUSE_URL=postgres.url(name), WAREHOUSE_LOADER=loader)
    finally:
        postgres.drop_database(name)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("loader", ["auto", "array"])
@given(reported=wild_loads())
@settings(parent=FAST, max_examples=80)
def test_every_load_does_what_the_rules_say_in_many_more_cases(postgres, loader, reported):
    """The same, for as long as a coffee takes."""
    name = postgres.create_database()
    try:
        check_wild(reported, WAREHOUSE_URL=postgres.url(name), WAREHOUSE_LOADER=loader)
    finally:
        postgres.drop_database(name)


# -- a few rows, which go without a staging table


@pytest.fixture
def few(postgres: Postgres, database: str, query, tmp_path, monkeypatch) -> WarehouseCase:
    retries_come_at_once(monkeypatch)
    return filled(tmp_path, query, postgres.url(database), WAREHOUSE_LOADER="auto")


@pytest.fixture
def no_staging(monkeypatch) -> None:
    """Fails the test where a staging table is made."""
    monkeypatch.setattr(engine.Postgres, "_create", lambda *_: pytest.fail("a staging table was made"))


def test_connection_killed_before_the_commit_of_a_few_rows_is_replaced(few, query, monkeypatch, no_staging, states):
    """They came inline, so all can be done again, once."""
    just_before_commit(monkeypatch, lambda: query(f"SELECT pg_terminate_backend(pid) {CONNECTIONS}"))

    run = few.loaded("delta", 6, *DELTA)

    assert (OUTCOMES_OF_DELTA, AFTER_DELTA) == (some(run), stored(few))
    assert 2 == len(few.app.warehouse.runs("shop.item"))
    assert states


def test_lost_answer_to_the_commit_of_a_few_rows_is_recognised(
    postgres, database, proxy, few, monkeypatch, no_staging, states
):
    """The merge is tried again, finds its own run, and reports its counts; nothing is merged twice."""
    remote = WarehouseCase(few.folder, few.query, WAREHOUSE_URL=postgres.url(database, port=proxy.port))
    just_before_commit(monkeypatch, proxy.arm)

    run = remote.loaded("delta", 6, *DELTA)

    assert (1, {None}) == (proxy.cuts, set(states))
    assert (OUTCOMES_OF_DELTA, AFTER_DELTA) == (some(run), stored(few))
    assert 2 == len(few.app.warehouse.runs("shop.item"))


def test_few_rows_that_do_not_fit_their_table_go_by_a_staging_table(few, monkeypatch):
    """A new column, a cursor whose order in memory is another, an index that somebody dropped; the next needs none."""
    few.loaded("delta", 6, row(1, "Ida", 4, New="x"), types={"New": pa.string()})
    few.loaded("full", 5, row(1, Version="b"), table="numbered", types={"Version": pa.string()})
    few.loaded("delta", 6, row(1, "Bo", Version="B"), table="numbered", types={"Version": pa.string()})
    few.query("DROP INDEX shop.ix_item_keys")
    few.loaded("delta", 7, row(2, "Bo", 4))
    indexes = few.query("SELECT indexname FROM pg_indexes WHERE indexname = 'ix_item_keys'")
    monkeypatch.setattr(engine.Postgres, "_create", lambda *_: pytest.fail("a staging table was made"))
    few.loaded("delta", 8, row(4, "Di", 4))

    assert [("Ida",), ("Bo",), ("Cy",), ("Di",)] == few.rows("Name")
    assert [("Ada", "b")] == few.rows("Name", "Version", table="numbered")
    assert [("ix_item_keys",)] == indexes


def test_a_stored_key_that_is_there_twice_is_refused(few):
    """Something other than Sluice has written it, and dropped the index that would have refused it."""
    few.query("DROP INDEX shop.ix_item_keys")
    few.query('INSERT INTO shop.item SELECT * FROM shop.item WHERE "ItemId" = 2')

    assert "keep one row of each key" in few.refused("delta", 6, row(2, "Bo", 4))


def test_a_merge_of_few_rows_waits_for_another_of_the_feed(few, database, postgres):
    """Only for so long."""
    hasty = WarehouseCase(few.folder, few.query, WAREHOUSE_URL=postgres.url(database), WAREHOUSE_LOCK_TIMEOUT="0.2")
    with few.app.warehouse._engine.units.transaction() as session:
        few.app.warehouse._engine.lock(session, "shop.item")
        reason = hasty.refused("delta", 6, *DELTA)
    few.app.warehouse._engine.units.close_idle()

    assert "another session has held shop.item for 0.2 s" in reason
    assert OUTCOMES_OF_DELTA == some(few.loaded("delta", 6, *DELTA))

"""What only a server can do to a load: break connections, restart, deadlock, keep others waiting. On PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hypothesis import given, settings

from shared.contract.conform import Contract
from shared.pipeline.folder import LoadOptions
from shared.warehouses.merge import ingest
from shared.warehouses.postgres import engine
from tests.exports import load_exports
from tests.servers import free_port
from tests.servers.postgres import Postgres
from tests.suites.warehouse_case import WarehouseCase, day, row, some
from tests.warehouses.merge.wild_files import FAST, check_wild, wild_loads
from tests.warehouses.postgres.retries import retries_come_at_once

ROOT = Path(__file__).parents[3]


@pytest.fixture
def query(postgres: Postgres, database: str):
    return asking(postgres, database)


@pytest.fixture
def case(postgres: Postgres, database: str, query, tmp_path, monkeypatch) -> WarehouseCase:
    """A table of three items, in a database of the shared server."""
    retries_come_at_once(monkeypatch)
    return filled(tmp_path, query, postgres.url(database))


def asking(server: Postgres, database: str) -> Callable[[str], list[tuple[Any, ...]]]:
    def run(statement: str) -> list[tuple[Any, ...]]:
        with server.connect(database) as connection:
            found = connection.execute(statement)
            return found.fetchall() if found.description else []

    return run


def filled(folder: Path, query: Any, url: str, **env: str) -> WarehouseCase:
    case = WarehouseCase(folder, query, WAREHOUSE_URL=url, **env)
    case.loaded("full", 5, row(1, "Ada", 1), row(2, "Bob", 2), row(3, "Cy", 3, True))
    return case


@pytest.fixture
def states(monkeypatch) -> list[str | None]:
    """SQLSTATE of every error that was weighed for a retry."""
    seen: list[str | None] = []

    def passes(error: BaseException) -> bool:
        if isinstance(error, psycopg.Error):
            seen.append(error.sqlstate)
        return original(error)

    original = engine.passes
    monkeypatch.setattr(engine, "passes", passes)
    return seen


def just_before_commit(monkeypatch, act: Callable[[], object], times: int = 1) -> None:
    """Do *act* within the next merges, when all is written and nothing is committed."""
    left = iter(range(times))
    write = ingest.write

    def written(session: Any, run: Any) -> None:
        write(session, run)
        if next(left, None) is not None:
            act()

    monkeypatch.setattr(ingest, "write", written)


SESSIONS = "FROM pg_stat_activity WHERE datname = current_database()"
"""Those of this test: its database is its own, the server is not."""
CONNECTIONS = f"{SESSIONS} AND application_name = 'sluice'"
DELTA = (row(1, "Ida", 4), row(2, "Bob", 4, True), row(4, "Di", 4))
AFTER_DELTA = [(1, "Ida", None), (2, "Bob", day(4)), (3, "Cy", day(3)), (4, "Di", None)]
OUTCOMES_OF_DELTA = {"updated": 1, "deleted": 1, "inserted": 1, "read": 3}


def stored(case: WarehouseCase) -> list[tuple[Any, ...]]:
    return case.rows("ItemId", "Name", "DeletedAt")


# -- one connection breaks


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


# -- the whole server


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

    assert "Try again; if it fails again, check that the server runs" in failed.run.error
    assert [(1, "Ada", None), (2, "Bob", None), (3, "Cy", day(3))] == unharmed
    assert OUTCOMES_OF_DELTA == some(again.run)
    assert AFTER_DELTA == stored(private)


def test_server_that_restarts_in_mid_merge_is_not_even_noticed(private, private_postgres, monkeypatch):
    """Nothing was committed: the merge is done again. What was staged without a log is gone, and that is told."""

    def restart() -> None:
        private_postgres.kill()
        private_postgres.start()

    just_before_commit(monkeypatch, restart)
    file = private.write("delta", 6, DELTA)

    first = private.load(file)
    again = private.load(file)

    assert "3 rows of shop.item were staged, but 0 are there." in first.run.error
    assert OUTCOMES_OF_DELTA == some(again.run)
    assert AFTER_DELTA == stored(private)


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


# -- the answer to COMMIT gets lost


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


# -- locks


def test_who_waits_too_long_is_told_for_what(postgres, database, query, tmp_path):
    """Another session is merging into the same table."""
    case = filled(tmp_path, query, postgres.url(database), WAREHOUSE_LOCK_TIMEOUT="0.2")
    file = case.write("delta", 6, DELTA)
    with postgres.connect(database) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [engine._lock_number("shop.item")])
        failed = case.load(file)

    assert failed.run.error.startswith("another session has held shop.item for 0.2 s. Try again when it is")
    assert OUTCOMES_OF_DELTA == some(case.load(file).run)


def test_table_that_others_hold_is_told(postgres, database, query, tmp_path):
    """A report in a transaction that is still open keeps a column from being added."""
    case = filled(tmp_path, query, postgres.url(database), WAREHOUSE_LOCK_TIMEOUT="0.2")
    file = case.write("delta", 6, DELTA)
    with postgres.connect(database) as holder, holder.transaction():
        holder.execute("LOCK TABLE shop.item IN SHARE MODE")
        failed = case.load(file)

    assert "another session has held a lock that this one needs for 0.2 s" in failed.run.error
    assert OUTCOMES_OF_DELTA == some(case.load(file).run)


def test_deadlock_is_tried_again(case, postgres, database, query, monkeypatch, states):
    """A real one: the other has locked the history, and wants a row that the merge has changed."""
    query(f"ALTER DATABASE \"{database}\" SET deadlock_timeout = '20ms'")
    other = psycopg.connect(postgres.url(database))
    other.execute("SET deadlock_timeout = '60s'")  # the merge is to be the victim
    threads: list[threading.Thread] = []

    def cross() -> None:
        other.execute("LOCK TABLE ingest.rejected IN EXCLUSIVE MODE")
        wants = threading.Thread(target=lambda: other.execute('UPDATE shop.item SET "Name" = "Name"'))
        wants.start()
        threads.append(wants)
        while query(f"SELECT count(*) {SESSIONS} AND wait_event_type = 'Lock'") == [(0,)]:
            assert wants.is_alive()

    def written(session: Any, run: Any) -> None:
        write(session, run)
        if not threads:
            cross()
            try:
                session.ddl("LOCK TABLE ingest.rejected IN SHARE MODE")
            finally:
                threads[0].join()
                other.rollback()

    write = ingest.write
    monkeypatch.setattr(ingest, "write", written)
    with other:
        run = case.loaded("delta", 6, *DELTA)

    assert ["40P01"] == states[:1]
    assert OUTCOMES_OF_DELTA == some(run)
    assert AFTER_DELTA == stored(case)


def test_second_merge_waits_for_the_first(postgres, database, query, tmp_path, monkeypatch):
    """Before it looks at the table: what it finds there is what the first one left."""
    one, other = (filled(tmp_path / name, query, postgres.url(database)) for name in ("one", "other"))
    waits, results = [], []
    later = other.write("delta", 7, [row(4, "Dee", 5), row(5, "Ed", 5)])
    second = threading.Thread(target=lambda: results.append(other.load(later)))

    def follow() -> None:
        second.start()
        while not waits:
            waits.extend(query(f"SELECT wait_event {SESSIONS} AND wait_event_type = 'Lock'"))
            assert second.is_alive()

    just_before_commit(monkeypatch, follow)
    first = one.loaded("delta", 6, *DELTA)
    second.join()

    assert [("advisory",)] == waits
    assert OUTCOMES_OF_DELTA == some(first)
    assert {"updated": 1, "inserted": 1, "read": 2} == some(results[0].run)
    assert [*AFTER_DELTA[:3], (4, "Dee", None), (5, "Ed", None)] == stored(one)


def test_one_staging_table_is_filled_by_one_at_a_time(postgres, database, query, tmp_path, monkeypatch):
    """Two processes that do the same run have the same staging table: the second waits for the first."""
    one, other = (filled(tmp_path / name, query, postgres.url(database)) for name in ("one", "other"))
    file, waits, results = one.write("delta", 6, DELTA), [], []
    second = threading.Thread(target=lambda: results.append(other.load(file)))

    def encoded(batch: Any) -> Any:
        if not waits:
            second.start()
        while not waits:
            waits.extend(query(f"SELECT wait_event {SESSIONS} AND wait_event_type = 'Lock'"))
            assert second.is_alive()
        return original(batch)

    original = engine.encoded
    monkeypatch.setattr(engine, "encoded", encoded)
    results.append(one.load(file))
    second.join()

    assert [("advisory",)] == waits
    assert [OUTCOMES_OF_DELTA] * 2 == [some(result.run) for result in results]
    assert AFTER_DELTA == stored(one)


def test_no_more_connections_than_allowed(postgres, database, query, tmp_path, monkeypatch):
    """Six tables are loaded at once by one process that may have two."""
    case = filled(tmp_path, query, postgres.url(database), WAREHOUSE_CONNECTIONS="2")
    seen: list[int] = []

    def encoded(batch: Any) -> Any:
        seen.extend(query(f"SELECT count(*)::int {CONNECTIONS}")[0])
        return original(batch)

    original = engine.encoded
    monkeypatch.setattr(engine, "encoded", encoded)
    files = [case.write("full", 6 + n, [row(1)], table=f"t{n}") for n in range(6)]
    results: list[Any] = []
    threads = [threading.Thread(target=lambda file=file: results.append(case.load(file))) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [None] * 6 == [result.run.error for result in results]
    assert max(seen) <= 2


# -- the rules, with any files in any order, and with lost calls


@given(wild_loads())
@settings(parent=FAST, max_examples=3)
def test_every_load_does_what_the_rules_say(postgres, told):
    """As on DuckDB: each column and count is as the plain model says."""
    name = postgres.create_database()
    try:
        check_wild(told, WAREHOUSE_URL=postgres.url(name))
    finally:
        postgres.drop_database(name)


@pytest.mark.slow
@given(wild_loads())
@settings(parent=FAST, max_examples=155)
def test_every_load_does_what_the_rules_say_in_many_more_cases(postgres, told):
    """The same, for as long as a coffee takes."""
    name = postgres.create_database()
    try:
        check_wild(told, WAREHOUSE_URL=postgres.url(name))
    finally:
        postgres.drop_database(name)


# -- processes

LOAD = """
import os, sys

from dataclasses import replace
from pathlib import Path

from shared.pipeline.folder import LoadOptions
from tests.exports import load_exports
from tests.standins.fakes import Fatal, Watched
from tests.suites.warehouse_case import WarehouseCase

folder, file, moment, place = sys.argv[1:]

case = WarehouseCase(Path(folder), None, WAREHOUSE_URL=os.environ["URL"], SLICE_ROWS="5", BATCH_ROWS="2")
print("ready", flush=True)
sys.stdin.readline()
calls = Fatal(moment, place)
case.app = replace(case.app, warehouse=Watched(case.app.warehouse, calls), ledger=Watched(case.app.ledger, calls))
for result in load_exports(case.app, file, LoadOptions(system="shop")):
    assert not result.failed, result
"""


@contextlib.contextmanager
def process(url: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that has said it is ready and waits for a line."""
    started = subprocess.Popen(
        [sys.executable, "-c", LOAD, *map(str, arguments)], env={**os.environ, "URL": url}, cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert "ready\n" == started.stdout.readline(), started.stderr.read()
        yield started
    finally:
        started.kill()
        started.communicate()


def at_once(url: str, *loads: tuple[Path, Path]) -> None:
    """Load each file, with a ledger in the folder, in a process of its own, all at the same time."""
    with contextlib.ExitStack() as stack:
        several = [stack.enter_context(process(url, folder, file, "", "")) for folder, file in loads]
        for one in several:
            one.stdin.write("go\n")
            one.stdin.flush()
        complaints = [one.communicate()[1] for one in several]
        assert [0] * len(loads) == [one.returncode for one in several], complaints


def test_two_processes_merge_into_one_table_at_once(postgres, database, query, tmp_path):
    """They wait for each other; both are right, whoever comes first, and their outcomes add up."""
    case = WarehouseCase(tmp_path / "case", query, WAREHOUSE_URL=postgres.url(database))
    one = case.write("delta", 6, [row(n, "six", 6) for n in range(60)])
    other = case.write("delta", 7, [row(n, "seven", 7) for n in range(40, 100)])

    at_once(postgres.url(database), (case.folder, one.parent), (case.folder, other.parent))

    runs = case.app.warehouse.runs("shop.item")
    assert [("six",)] * 40 + [("seven",)] * 60 == case.rows("Name")
    assert [60, 60] == [run.read for run in runs]
    assert 100 == sum(run.inserted for run in runs)
    assert 20 == sum(run.updated + run.stale for run in runs)


def test_processes_that_load_the_same_file_do_not_break_each_other(postgres, database, query, tmp_path):
    """The run is the same for all: one merges, the others find it done. Each has a ledger of its own."""
    cases = [WarehouseCase(tmp_path / f"{n}", query, WAREHOUSE_URL=postgres.url(database)) for n in range(3)]
    file = cases[0].write("full", 6, [row(n) for n in range(60)])

    at_once(postgres.url(database), *((case.folder, file.parent) for case in cases))

    (run,) = cases[0].app.warehouse.runs("shop.item")
    assert {"inserted": 60, "read": 60} == some(run)
    assert 60 == len(cases[0].rows("Name"))


MOMENTS = [
    ("stage", "within"), ("stage", "after"), ("reject", "after"), ("merge", "within"), ("merge", "after"),
    ("commit", "after"), ("tidy", "after"),
]  # fmt: skip


@pytest.mark.parametrize("moment", MOMENTS, ids=" ".join)
def test_a_killed_load_is_completed_by_the_next(postgres, database, query, tmp_path, moment):
    """A first load is killed and repeated, and then a delta is: as if nothing had happened."""
    url = postgres.url(database)
    case = WarehouseCase(tmp_path, query, WAREHOUSE_URL=url, SLICE_ROWS="5")
    first = case.write("full", 5, [*(row(n) for n in range(12)), row(12, "future", 99)], groups=5)
    delta = case.write("delta", 6, [row(1, "Ida", 2), row(2, "Bob", 2, True), row(20, "Di", 2)] * 3, groups=5)
    for file in (first, delta):
        with process(url, case.folder, file.parent, *moment) as started:
            complaint = started.communicate("go\n")[1]
            assert -signal.SIGKILL == started.returncode, complaint
        (result,) = load_exports(case.app, str(file.parent), LoadOptions(system="shop"))
        assert not result.failed

    runs = {run.kind: some(run) for run in case.app.warehouse.runs("shop.item")}
    assert {
        "full": {"inserted": 12, "rejected": 1, "read": 13},
        "delta": {"superseded": 6, "updated": 1, "deleted": 1, "inserted": 1, "read": 9},
    } == runs
    assert 13 == len(case.rows("Name"))
    assert [("Ada", None), ("Ida", None), ("Bob", day(2))] == case.rows("Name", "DeletedAt")[:3]
    assert 1 == len(list(case.app.warehouse.rejects("shop.item")))

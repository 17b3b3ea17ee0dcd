"""Locks that keep loads waiting, and processes that load at the same time. On PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from shared.pipeline.folder import LoadOptions
from shared.warehouses.merge import ingest
from shared.warehouses.postgres import engine
from tests.exports import load_exports
from tests.quick import quick_if
from tests.suites.warehouse_case import WarehouseCase, day, row, some
from tests.warehouses.server.server_samples import (
    AFTER_DELTA,
    CONNECTIONS,
    DELTA,
    OUTCOMES_OF_DELTA,
    ROOT,
    SESSIONS,
    filled,
    just_before_commit,
    stored,
)


def test_error_of_who_waits_too_long_says_for_what(postgres, database, query, tmp_path):
    """Another session is merging into the same table."""
    case = filled(tmp_path, query, postgres.url(database), WAREHOUSE_LOCK_TIMEOUT="0.2")
    file = case.write("delta", 6, DELTA)
    with postgres.connect(database) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [engine._lock_number("shop.item")])
        failed = case.load(file)

    assert failed.run.error.startswith("another session has held shop.item for 0.2 s. Load again when it is")
    assert OUTCOMES_OF_DELTA == some(case.load(file).run)


def test_table_that_others_hold_is_reported(postgres, database, query, tmp_path):
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

    def written(session: Any, *given: Any) -> None:
        write(session, *given)
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
    """Six tables are loaded at once by one process that may have two. Six more hold the locks of the runs."""
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
    assert max(seen) <= 2 + len(files)


LOAD = """
import os, sys

from dataclasses import replace
from pathlib import Path

from shared.pipeline.folder import LoadOptions
from tests.exports import load_exports
from tests.standins.fakes import Fatal, Watched
from tests.suites.warehouse_case import WarehouseCase

folder, file, moment, place = sys.argv[1:]

settings = {"SLICE_ROWS": "5", "BATCH_ROWS": "2", "WAREHOUSE_LOADER": "array"}
case = WarehouseCase(Path(folder), None, WAREHOUSE_URL=os.environ["URL"], **settings)
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.parametrize("moment", [quick_if(False, one, id=" ".join(one)) for one in MOMENTS])
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

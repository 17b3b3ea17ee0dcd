"""Transactions and locks begin, wait and end as in SQL Server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.standins.tsql import errors
from tests.standins.tsql.samples import LOCK, ask, failure


def test_an_error_rolls_the_whole_transaction_back(db):
    """As under XACT_ABORT ON."""
    db.execute("SET XACT_ABORT ON; BEGIN TRANSACTION; INSERT INTO t (id) VALUES (1)")
    failure(db, "INSERT INTO t (id) VALUES (NULL)")

    assert [(0, 0)] == ask(db, "SELECT @@TRANCOUNT, (SELECT COUNT(*) FROM t)")
    assert ("25000", 3902) == failure(db, "COMMIT TRANSACTION")[:2]


def test_a_text_that_does_not_parse_leaves_the_transaction_alone(db, tsql_problems):
    """Nothing of it ran."""
    db.execute("BEGIN TRANSACTION; INSERT INTO t (id) VALUES (1)")
    failure(db, "SELECT 1 FROM")
    db.execute("COMMIT")

    assert [(1,)] == ask(db, "SELECT id FROM t")


def test_others_see_what_is_committed_and_from_then_on(server, db):
    """Also within a transaction that has not written yet."""
    other = server.connect(autocommit=True)
    other.execute("BEGIN TRANSACTION")
    before = ask(other, "SELECT COUNT(*) FROM t")
    db.execute("BEGIN TRANSACTION; INSERT INTO t (id) VALUES (1)")
    during = ask(other, "SELECT COUNT(*) FROM t")
    db.execute("COMMIT")

    assert ([(0,)], [(0,)], [(1,)]) == (before, during, ask(other, "SELECT COUNT(*) FROM t"))


def test_without_autocommit_the_first_look_at_a_table_begins_a_transaction(server, db):
    """And BEGIN TRANSACTION comes second to it."""
    other = server.connect()
    none = ask(other, "SELECT @@TRANCOUNT")
    other.execute("INSERT INTO t (id) VALUES (1)")

    assert ([(0,)], [(1,)]) == (none, ask(other, "SELECT @@TRANCOUNT"))
    other.rollback()
    other.execute("BEGIN TRANSACTION")
    assert ([(2,)], [(0,)]) == (ask(other, "SELECT @@TRANCOUNT"), ask(db, "SELECT COUNT(*) FROM t"))


def test_closing_rolls_back(server, db):
    """What was not committed never was."""
    other = server.connect()
    other.execute("INSERT INTO t (id) VALUES (1)")
    other.close()

    assert [(0,)] == ask(db, "SELECT COUNT(*) FROM t")
    with pytest.raises(errors.ProgrammingError, match="closed"):
        other.cursor()


def test_the_second_writer_of_a_row_is_a_deadlock_victim(server, db):
    """A simplification: on SQL Server it would wait."""
    db.execute("INSERT INTO t (id) VALUES (1)")
    other = server.connect(autocommit=True)
    for connection in (db, other):
        connection.execute("BEGIN TRANSACTION")
    db.execute("UPDATE t SET name = N'a'")

    assert ("40001", 1205) == failure(other, "UPDATE t SET name = N'b'")[:2]


def test_one_connection_has_the_lock_at_a_time(server):
    """The other one waits for as long as it said, and is told whether it came to that."""
    first, second = (server.connect(autocommit=True) for _ in range(2))
    for connection in (first, second):
        connection.execute("BEGIN TRANSACTION")

    assert [(0,)] == ask(first, LOCK.format(0))
    assert [(0,)] == ask(first, LOCK.format(0))
    assert [(-1,)] == ask(second, LOCK.format(10))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, second, LOCK.format(60_000))
        first.execute("COMMIT")
        assert waiting.result(60)[0][0] in (1, 0)  # 0 if it came too late to wait


def test_a_lock_of_a_transaction_needs_one(server):
    """And asking for the lock does not begin it, autocommit or not."""
    assert [(-999,)] == ask(server.connect(autocommit=True), LOCK.format(0))
    assert [(-999,)] == ask(server.connect(), LOCK.format(0))


@pytest.mark.parametrize("answer", [-2, -3, -999])
def test_the_answer_of_the_lock_can_be_set(server, answer):
    """For what cannot be brought about here."""
    server.applock_result = answer
    connection = server.connect(autocommit=True)
    connection.execute("BEGIN TRANSACTION")

    assert [(answer,)] == ask(connection, LOCK.format(0))


def test_locks_end_with_their_connection(server):
    """Whoever is gone holds nothing."""
    first, second = (server.connect(autocommit=True) for _ in range(2))
    for connection in (first, second):
        connection.execute("BEGIN TRANSACTION")
    ask(first, LOCK.format(0))
    first.close()

    assert [(0,)] == ask(second, LOCK.format(0))

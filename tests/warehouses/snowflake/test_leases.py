"""Leases keep merges apart in Snowflake. Nothing is run on Snowflake."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
import stamina

from sqlglot import exp

from shared.errors import TransientError
from shared.settings import Settings
from shared.warehouses.merge.shape import target
from shared.warehouses.snowflake.engine import Snowflake
from shared.warehouses.snowflake.leases import Leases
from tests.advice import advised
from tests.warehouses.snowflake.scripted import FEED, KINDS, Account, Refused, parsed

URL = "snowflake://sluice:secret@org-account.privatelink/sales?warehouse=W&role=R"


# -- leases


@pytest.fixture
def leases():
    def make(account, timeout=0.0):
        return Leases(account.connection, timeout)

    with stamina.set_testing(True, attempts=2):
        yield make


def test_lease_is_taken_one_at_a_time(account, leases):
    """The first statement of its transaction changes a row that is always there; each is parsed."""
    connection = account.connection()

    assert leases(account).take(connection, "run 1", shared=False)

    assert ["BEGIN", "UPDATE", "DELETE", "INSERT", "COMMIT"] == [text.split()[0] for text in account.statements]
    assert exp.Command not in parsed(account)
    assert ["run 1"] == connection.leases


def test_table_of_leases_is_made_once_it_is_missing(leases):
    """Nothing is asked of the account before the first lock."""
    missing = iter([Refused(2003), [(0,)]])

    def update(_values):
        found = next(missing)
        if isinstance(found, BaseException):
            raise found
        return found

    account = Account(("UPDATE", update))
    assert leases(account).take(account.connection(), "run 1", shared=True)

    made = [text for text in account.statements if text.startswith("CREATE")]
    assert ['CREATE SCHEMA IF NOT EXISTS "ingest"', 'CREATE TABLE IF NOT EXISTS "ingest"."lease"'] == [
        text.partition(" (")[0] for text in made
    ]
    assert 2 == sum(text.startswith("INSERT") for text in account.statements)


def test_held_lease_is_waited_for(leases):
    """And then it is said that another process has it."""
    account = Account(("INSERT", [(0,)]))

    with pytest.raises(TransientError, match="another process has held run 1"):
        leases(account).wait(account.connection(), "run 1", shared=False)
    with advised("Load again when it is done, or raise WAREHOUSE_LOCK_TIMEOUT"):
        leases(account).wait(account.connection(), "run 1", shared=False)


def test_who_lost_a_lease_commits_nothing(session, account):
    """Another one has taken it: the transaction is rolled back, and the same load may be made again."""
    engine = Snowflake(Settings(warehouse_url=URL))
    engine.lock(session, "shop.item")
    session.change(sa.delete(target(FEED, KINDS)))
    account.answers.insert(0, ('DELETE FROM "ingest"', [(0,)]))

    with pytest.raises(TransientError, match="another one has taken over"):
        engine.commit(session)
    engine.rollback(session)

    assert "COMMIT" not in account.statements[account.statements.index('DELETE FROM "shop"."item"') :]
    assert "ROLLBACK" == account.statements[-1]


def test_leases_are_given_back_within_the_commit(session, account):
    """So nobody else works on the feed before all of it is there."""
    engine = Snowflake(Settings(warehouse_url=URL))
    engine.lock(session, "shop.item")
    session.change(sa.delete(target(FEED, KINDS)))

    engine.commit(session)

    assert ["DELETE", "COMMIT"] == [text.split()[0] for text in account.statements[-2:]]
    assert [] == session.connection.leases


def test_all_leases_of_a_process_are_renewed_at_once(account, leases):
    """Those that were given back are not."""
    owner, first, second = leases(account), account.connection(), account.connection()
    for connection in (first, second):
        owner.take(connection, "loading shop.item", shared=True)
    owner.give_back(second)

    owner.renew(account.connection())

    assert "UPDATE" == account.statements[-1].split()[0]
    assert (45, first.holder) == account.values[-1]
    owner.give_back(first)

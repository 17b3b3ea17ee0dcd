"""What goes wrong while few rows are merged without a staging table, and what travels with the plan."""

from __future__ import annotations

import json
import logging
import random

from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import pytest

from shared.errors import ConfigError, DataError, TransientError
from shared.model import Staged, from_json
from shared.warehouses.azure_sql import direct
from shared.warehouses.server import inline
from tests.suites.warehouse_case import VALUES, row, some
from tests.warehouses.azure_sql.direct.samples import OF_TWENTY, TWENTY, Publishing, interrupted, opened, tables_made

READ, WRITE = r"^SET LOCK_TIMEOUT", r"sp_getapplock.*UPDATE"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("which", [READ, WRITE])
def test_lost_answer_changes_nothing(case, server, which, after):
    """The unit is done again as a whole, and finds itself if it was done: rows, history and counts are as ever."""
    publish = Publishing(case, row(1, "Bob", 3), row(4))
    server.fail_next(which, 0, after=after)

    merged = publish()

    assert {"updated": 1, "inserted": 1, "read": 2} == some(merged.run)
    assert [("Bob",), ("Bob",), ("Cy",), ("Ada",)] == case.rows("Name")
    assert [merged.run, 2] == [case.app.warehouse.run(merged.run.id), len(case.app.warehouse.runs("shop.item"))]


@pytest.mark.parametrize("number", [1205, 40613, 1222])
def test_what_passes_is_tried_again(case, server, number):
    """A deadlock, a failover, a lock that others held too long: nothing of the first try stays."""
    publish = Publishing(case, row(1, "Bob", 3), row(4))
    server.fail_next(WRITE, number)

    assert {"updated": 1, "inserted": 1, "read": 2} == some(publish().run)


def test_failure_in_the_middle_takes_all_back(case, server):
    """One transaction: what was updated before is as it was."""
    publish = Publishing(case, row(1, "Bob", 3), row(4))
    before = case.contents()
    server.fail_next(WRITE, 547, after=False)

    with pytest.raises(ConfigError):
        publish()
    publish.app.warehouse._engine.units.close_idle()
    assert before == case.contents()


@pytest.mark.parametrize(("taken", "error"), [(-1, TransientError), (-999, ConfigError), (-3, TransientError)])
def test_lock_that_is_not_granted_ends_the_run(case, server, taken, error):
    """Nothing is written; what the lock's answer means is the same as for every merge."""
    publish = Publishing(case, row(1, "Bob", 3))
    before = case.contents()
    server.applock_result = taken

    with pytest.raises(error, match=r"lock|another session"):
        publish()
    server.applock_result = None
    assert before == case.contents()


def test_merge_of_somebody_else_is_waited_for_until_time_is_up(tmp_path, server):
    """The lock is the one that every merge into the table takes."""
    case = opened(tmp_path, server, WAREHOUSE_LOCK_TIMEOUT="0.05")
    case.loaded("full", 5, row(1))
    publish = Publishing(case, row(1, "Bob", 3))
    engine = case.app.warehouse._engine

    def unit(session: Any) -> None:
        engine.lock(session, "shop.item")
        with pytest.raises(TransientError, match=r"another session has held shop.item for 0.05 s"):
            publish.merge(publish.plan)

    engine.units.run(unit)
    assert {"updated": 1, "read": 1} == some(publish().run)


def test_run_that_comes_between_is_seen(tmp_path, case, server, monkeypatch):
    """What was read is old by then: all is done again, on what is stored now."""
    publish = Publishing(case, row(1, "Bob", 3))
    other = opened(tmp_path, server)
    interrupted(monkeypatch, lambda: other.loaded("delta", 7, row(1, "Zoe", 4)))

    merged = publish()

    assert {"stale": 1, "read": 1} == some(merged.run)
    assert [("Zoe",), ("Bob",), ("Cy",)] == case.rows("Name")


def test_too_many_runs_between_are_waited_for_in_the_ordinary_way(tmp_path, case, server, monkeypatch):
    """Whoever looks without a lock might look for ever."""
    publish = Publishing(case, row(1, "Bob", 15), number=15)
    days = iter(range(7, 15))
    runs = direct._LOOKS
    other = opened(tmp_path, server, WAREHOUSE_LOADER="array")
    interrupted(monkeypatch, lambda: other.loaded("delta", next(days), row(2, "Zoe", 4)), runs)
    before = len(server.statements)

    merged = publish()

    assert {"updated": 1, "read": 1} == some(merged.run)
    assert runs + 1 == len(tables_made(server.statements[before:]))


def test_second_client_is_refused(case):
    """With the same words as ever."""
    publish = Publishing(case, row(1, "Bob", 3))
    plan = replace(publish.plan, run=replace(publish.plan.run, client="Other"))

    with pytest.raises(ConfigError, match="holds the data of client 'Acme', this is of 'Other'"):
        publish.merge(plan)


def test_rows_that_got_lost_on_the_way_are_missed(case):
    """As many have to come as were read."""
    publish = Publishing(case, row(1, "Bob", 3))

    with pytest.raises(DataError, match=r"2 rows of shop.item were passed on, but 1 are there"):
        publish([replace(publish.staged[0], rows=2)])


def test_staged_rows_travel_as_json(case):
    """What another machine publishes is what this one read."""
    publish = Publishing(case, *TWENTY)
    reported = [from_json(Staged, json.loads(json.dumps(asdict(part)))) for part in publish.staged]

    assert publish.staged == reported
    assert OF_TWENTY == some(publish(reported).run)


@pytest.mark.parametrize("kind", VALUES)
def test_inline_rows_are_read_back_as_they_were(kind):
    """Every type, and no rows at all."""
    arrow, values = VALUES[kind]
    batch = pa.RecordBatch.from_arrays([pa.array(values, arrow)], names=["x"])

    assert [batch, batch.slice(1)] == list(inline.read(inline.written([batch, batch.slice(1)])))
    assert [] == list(inline.read(inline.written([])))


def test_rows_that_take_too_much_room_are_staged(case, server):
    """What travels stays small, however long the texts are."""
    chance = random.Random(1)
    before = len(server.statements)
    text = "".join(chr(chance.randint(0x4E00, 0x9FFF)) for _ in range(3_900))
    publish = Publishing(case, row(1, text, 3), row(2, text[::-1], 3))

    assert [None] == [part.inline for part in publish.staged]
    assert 1 == len(tables_made(server.statements[before:]))
    assert {"updated": 2, "read": 2} == some(publish().run)


def test_slices_share_the_room(tmp_path, server):
    """All of them travel to publish together."""
    case = opened(tmp_path, server, SLICE_ROWS="1")

    publish = Publishing(case, *(row(n) for n in range(40)), groups=1)

    assert 40 == len(publish.staged)
    assert 12_000 >= sum(len(part.inline or "") for part in publish.staged)


def test_long_key_is_rejected_before_it_travels(tmp_path, server):
    """As in every other way; the rest goes on."""
    case = opened(tmp_path, server)
    case.loaded("full", 5, row("a"), key=pa.string())
    many = [row(f"k{n}") for n in range(15)]

    run = case.loaded("delta", 6, row("k" * 451), *many, key=pa.string())

    assert {"rejected": 1, "inserted": 15, "read": 16} == some(run)
    assert ["key_too_long"] == [reject["code"] for reject in case.app.warehouse.rejects("shop.item")]


def test_rows_that_travel_are_neither_logged_nor_kept(case, caplog):
    """They are data, and belong in the table alone."""
    caplog.set_level(logging.DEBUG)
    publish = Publishing(case, row(1, "Bob", 3))

    publish()

    inline = publish.staged[0].inline
    assert inline
    assert inline not in repr(publish.staged)
    assert inline not in caplog.text
    assert inline not in repr(case.query("SELECT * FROM [ingest].[run]"))

"""Few rows are merged without a staging table: decided in memory, read in one batch and written in another."""

from __future__ import annotations

import contextlib
import datetime as dt

from dataclasses import replace

import pyarrow as pa
import pytest

from shared.errors import DataError
from shared.warehouses import Limits
from shared.warehouses.azure_sql import direct
from tests.quick import quick_if
from tests.standins.tsql.engine import Server
from tests.suites.warehouse_case import HOSTILE, LOOKALIKES, VALUES, row, some
from tests.warehouses.azure_sql.direct.samples import OF_TWENTY, TWENTY, Publishing, interrupted, opened, tables_made


def change(server: Server, statement: str) -> None:
    """What somebody else does to the database."""
    with contextlib.closing(server.connect(autocommit=True)) as connection:
        connection.execute(statement)


def test_twenty_rows_take_one_batch_to_read_and_one_to_write(case, server):
    """And nothing else: neither a transaction's beginning nor its end, nor anything when a connection is opened."""
    publish = Publishing(case, *TWENTY)
    case.app.warehouse._engine.units.close_idle()
    before = len(server.statements)

    merged = case.app.warehouse.merge(publish.plan, publish.staged, replace(
        publish.plan.run, finished=publish.plan.run.started, read=20, exported_at=publish.plan.unit.exported_at
    ), Limits(max_delete_share=1.0))  # fmt: skip

    assert 2 == len(server.statements) - before
    assert OF_TWENTY == some(merged.run)
    case.app.warehouse._engine.units.close_idle()


def test_few_rows_are_staged_nowhere(case, server):
    """All that staging does is forget what an earlier try of it rejected."""
    before = len(server.statements)

    publish = Publishing(case, *TWENTY)

    (forgotten,) = server.statements[before:]
    assert "DELETE FROM [ingest].[rejected]" in forgotten
    publish()
    assert [] == tables_made(server.statements[before:])


def test_what_changes_nothing_is_history_too(case, server):
    """A run of rows that are all there is written down, and no row is touched."""
    before = case.rows("SyncedAt", "SyncedBy")

    run = case.loaded("delta", 6, row(1, "Ada", 1), row(2, "Old", 1))

    assert {"unchanged": 1, "stale": 1, "read": 2} == some(run)
    assert before == case.rows("SyncedAt", "SyncedBy")
    assert run == case.app.warehouse.run(run.id)


def test_a_delta_without_rows_is_merged(case):
    """There is nothing to look for."""
    assert {} == some(case.loaded("delta", 6))


def test_published_again_a_run_finds_itself(case):
    """The same counts, and nothing is done."""
    publish = Publishing(case, *TWENTY)
    first = publish()
    before = case.contents()

    assert first.run == publish().run
    assert before == case.contents()


def test_hard_deletions_and_numbers_as_cursors(tmp_path, server):
    """Directly as well."""
    case = opened(tmp_path, server)
    case.loaded("full", 5, row(1), row(2), table="hard")
    case.loaded("full", 5, row(1, Version=9), row(2, Version=10), table="numbered", types={"Version": pa.int64()})

    hard = case.loaded("delta", 6, row(1, "Ada", 3, True), row(7, "Eve", 3, True), table="hard")
    numbered = case.loaded(
        "delta", 6, row(1, "Bob", Version=10), row(2, "Bob", Version=9), table="numbered", types={"Version": pa.int64()}
    )

    assert {"deleted": 1, "unchanged": 1, "read": 2} == some(hard)
    assert [("Ada",)] == case.rows("Name", table="hard")
    assert {"updated": 1, "stale": 1, "read": 2} == some(numbered)
    assert [] == [s for s in server.statements if "CREATE TABLE [#changes]" in s][2:]


@pytest.mark.parametrize("kind", [quick_if(n % 5 == 0, kind) for n, kind in enumerate(VALUES)])
def test_every_value_arrives_as_it_is(tmp_path, server, kind):
    """Inserted, found unchanged, and put in the place of others, NULL among them."""
    arrow, values = VALUES[kind]
    case = opened(tmp_path, server)
    short = [value for value in values if not isinstance(value, str) or len(value) < 1_000]
    # Rows of a full come by a staging table; it makes the columns that the others find.
    case.loaded("full", 5, row(0, Value=values[0]), types={"Value": arrow})
    before = len(server.statements)
    inserted = case.loaded("delta", 6, *(row(n, Value=v) for n, v in enumerate(short, 1)), types={"Value": arrow})
    again = case.loaded("delta", 7, *(row(n, Value=v) for n, v in enumerate(short, 1)), types={"Value": arrow})
    turned = short[1:] + short[:1]
    updated = case.loaded(
        "delta", 8, *(row(n, Value=v, modified=2) for n, v in enumerate(turned, 1)), types={"Value": arrow}
    )

    assert [len(short)] * 3 == [inserted.inserted, again.unchanged, updated.updated]
    assert turned == [value for (value,) in case.rows("Value")[1:]]
    assert [] == tables_made(server.statements[before:])


def test_columns_and_keys_may_be_called_anything(tmp_path, server):
    """What looks like SQL or a parameter is a name."""
    case = opened(tmp_path, server)
    names = [name for name in HOSTILE if name.strip()]
    types = {name: pa.string() for name in names}
    case.loaded("full", 5, row(1, **dict.fromkeys(names, "x")), types=types)
    before = len(server.statements)

    run = case.loaded("delta", 6, row(1, "Bob", 3, **dict.fromkeys(names, "?")), row(2), types=types)

    assert {"updated": 1, "inserted": 1, "read": 2} == some(run)
    assert [("?",) * len(names), (None,) * len(names)] == case.rows(*names)
    assert [] == tables_made(server.statements[before:])


def test_keys_that_look_alike_are_distinguished(tmp_path, server):
    """The server takes some of them for equal."""
    case = opened(tmp_path, server)
    case.loaded("full", 5, *(row(key, f"old {key}") for key in LOOKALIKES), key=pa.string())
    before = len(server.statements)

    run = case.loaded("delta", 6, row("a ", "new", 3), row("ß", "new", 3), row("A\t", "new", 3), key=pa.string())

    assert {"updated": 2, "inserted": 1, "read": 3} == some(run)
    found = dict(case.query('SELECT "ItemId", "Name" FROM "shop"."item"'))
    assert {**{key: f"old {key}" for key in LOOKALIKES}, "a ": "new", "ß": "new", "A\t": "new"} == found
    assert [] == tables_made(server.statements[before:])


def test_keys_of_several_columns(tmp_path, server):
    """Each part counts."""
    case, line = opened(tmp_path, server), {"Line": pa.time64("us")}
    first, second = dt.time(1, 2, 3, 4), dt.time(1, 2, 3, 5)
    case.loaded("full", 5, row("x", Line=first), row("x", Line=second), table="pair", key=pa.string(), types=line)
    before = len(server.statements)

    run = case.loaded("delta", 6, row("x", "Bob", 3, Line=second), table="pair", key=pa.string(), types=line)

    assert {"updated": 1, "read": 1} == some(run)
    assert {(first, "Ada"), (second, "Bob")} == set(case.query('SELECT "Line", "Name" FROM "shop"."pair"'))
    assert [] == tables_made(server.statements[before:])


def test_first_load_makes_the_table(tmp_path, server):
    """Rows that came inline are staged when there is no table to compare them with."""
    case = opened(tmp_path, server)

    run = case.loaded("delta", 5, row(1), row(2))

    assert {"inserted": 2, "read": 2} == some(run)
    assert 1 == len(tables_made(server.statements))
    assert [] == case.query("SELECT t.name FROM sys.tables AS t JOIN sys.schemas AS s ON s.schema_id = t.schema_id"
                             " WHERE s.name = N'staging'")  # fmt: skip


@pytest.mark.parametrize(
    ("more", "kind", "expected"),
    [
        ({"Extra": "x"}, pa.string(), "text"),
        ({"Size": 1 << 40}, pa.int64(), "bigint"),
        ({"Name": "x" * 5_000}, pa.string(), "text"),
    ],
)
def test_table_that_has_to_grow_is_merged_into_the_ordinary_way(tmp_path, server, more, kind, expected):
    """A new column, a wider one, a text too long for its column."""
    case = opened(tmp_path, server)
    case.loaded("full", 5, row(1, Size=1), types={"Size": pa.int32()})
    before = len(server.statements)
    types = {name: kind for name in more if name != "Name"}
    (name,) = more

    run = case.loaded("delta", 6, {**row(1, "Bob", 3), **more}, types=types)

    assert {"updated": 1, "read": 1} == some(run)
    assert expected == case.columns()[name]
    assert [(more[name],)] == case.rows(name)
    assert 1 == len(tables_made(server.statements[before:]))


def test_types_that_do_not_go_together_are_refused_as_ever(case):
    """By the ordinary merge, which names column and file."""
    case.loaded("delta", 6, row(1, Size=1), types={"Size": pa.int64()})

    assert "is bigint, but text in" in case.refused("delta", 7, row(1, Size="x"), types={"Size": pa.string()})


@pytest.mark.parametrize("name", ["ItemId", "SyncedAt"])
def test_foreign_table_is_left_to_the_ordinary_merge(case, server, name):
    """A table that lacks the key or our columns."""
    change(server, f"EXEC sp_rename N'shop.item.{name}', N'Other', N'COLUMN'")
    publish = Publishing(case, row(1, "Bob", 3))

    assert case.app.warehouse._engine.direct(publish.plan, publish.staged, publish.plan.run) is None
    case.app.warehouse._engine.units.close_idle()


def test_two_stored_rows_with_one_key_are_refused(case, server):
    """As in the ordinary way, whose business it is."""
    change(server, "INSERT INTO [shop].[item] SELECT * FROM [shop].[item] WHERE [ItemId] = 1")

    assert "have the same key as another row" in case.refused("delta", 6, row(1, "Bob", 3))


def test_row_that_goes_meanwhile_is_noticed(case, server, monkeypatch):
    """Somebody else's hand in the table: nothing of the run is written."""
    publish = Publishing(case, row(2, "Bea", 3), row(1, "Bob", 3))
    interrupted(monkeypatch, lambda: change(server, "DELETE FROM [shop].[item] WHERE [ItemId] = 1"))

    with pytest.raises(DataError, match="does not exist exactly once"):
        publish()
    assert [("Bob",), ("Cy",)] == case.rows("Name")
    assert 1 == len(case.app.warehouse.runs("shop.item"))


def test_complete_full_is_never_merged_in_memory(case):
    """What it lacks is absent: that needs the whole table, even if its rows came inline."""
    publish = Publishing(case, row(1, "Ada", 1))
    run = replace(publish.plan.run, kind="full", complete=True, read=1)

    merged = case.app.warehouse.merge(publish.plan, publish.staged, run, Limits(max_delete_share=1.0))

    assert {"unchanged": 1, "absent": 1, "read": 1} == some(merged.run)
    case.app.runner.tidy(publish.plan)


def test_rows_of_a_complete_full_are_staged_at_once(case, server):
    """They will need their table anyway."""
    before = len(server.statements)

    publish = Publishing(case, row(1, "Ada", 1), row(2, "Bob", 2), kind="full")

    assert [None] == [part.inline for part in publish.staged]
    assert 1 == len(tables_made(server.statements[before:]))
    assert {"unchanged": 2, "read": 2} == some(publish().run)


def test_dry_run_shows_its_changes(case):
    """Which are those of the ordinary merge, and stay nowhere."""
    before = case.contents()

    merged = Publishing(case, row(1, "Bob", 3))(dry_run=True)

    assert [("updated", "Ada", "Bob")] == [(c.outcome, c.before["Name"], c.after["Name"]) for c in merged.changes]
    assert before == case.contents()


def test_slices_that_are_not_all_inline_are_merged_together(tmp_path, server):
    """What came inline gets the staging table it was spared."""
    case = opened(tmp_path, server, SLICE_ROWS="21")
    case.loaded("full", 5, row(1))
    publish = Publishing(case, *(row(n, f"n{n}", 3) for n in range(1, 23)), groups=1)

    merged = publish()

    assert [False, True] == [part.inline is not None for part in publish.staged]
    assert {"inserted": 21, "updated": 1, "read": 22} == some(merged.run)


def test_several_slices_that_are_all_inline_are_merged_in_memory(tmp_path, server):
    """As one run."""
    case = opened(tmp_path, server, SLICE_ROWS="2")
    case.loaded("full", 5, row(1))
    before = len(server.statements)
    publish = Publishing(case, row(1, "Bob", 3), row(2), row(2, "Bea", 3), groups=1)

    merged = publish()

    assert 2 == len(publish.staged)
    assert {"superseded": 1, "inserted": 1, "updated": 1, "read": 3} == some(merged.run)
    assert [] == tables_made(server.statements[before:])


@pytest.mark.parametrize("most", [7, 30])
def test_more_parameters_than_a_statement_takes(case, server, monkeypatch, most):
    """Too many keys to ask for, or too many values to write: the server would refuse the batch."""
    monkeypatch.setattr(direct, "_MOST_PARAMETERS", most)
    before = len(server.statements)

    run = case.loaded("delta", 6, row(1, "Bob", 3), row(4))

    assert {"updated": 1, "inserted": 1, "read": 2} == some(run)
    assert 1 == len(tables_made(server.statements[before:]))
    assert [most > 7] == [any("IF OBJECT_ID(N'[shop].[item]')" in text for text in server.statements[before:])]


def test_row_the_server_refuses_says_how_to_set_it_aside(case, monkeypatch):
    """It cannot be rejected any more once the slice is staged."""
    publish = Publishing(case, row(1, "Bob", 3, Extra="x"), types={"Extra": pa.string()})
    loaded = case.app.warehouse._engine.load
    refused = [type("One", (), {"reason": "an odd value"})()]
    monkeypatch.setattr(case.app.warehouse._engine, "load", lambda *a: loaded(*a)._replace(refused=refused))

    with pytest.raises(DataError, match=r"an odd value.*WAREHOUSE_LOADER=array"):
        publish()

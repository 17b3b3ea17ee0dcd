"""Behaviour of every warehouse when the keys of the source are compared: what it no longer has is deleted."""

from __future__ import annotations

import datetime as dt

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import pytest

from shared.model import Run, Slice, Unit, to_text
from shared.pipeline.keys import keys_unit
from shared.pipeline.progress import Progress, Result
from shared.pipeline.runner import Runner, RunOptions
from shared.sources import Described
from tests.suites.warehouse_case import WarehouseCase, counts, row, some


class KeysOf:
    """A source of which only the keys are read, a slice for each batch."""

    def __init__(self, *batches: pa.RecordBatch) -> None:
        self._batches = batches

    def describe(self, unit: Unit) -> Described:
        assert "keys" == unit.kind
        slices = [Slice(n, n << 40, batch.num_rows, "memory", 0, {}) for n, batch in enumerate(self._batches)]
        return Described({"memory": self._batches[0].schema}, slices, {})

    def read(self, part: Slice) -> Iterator[pa.RecordBatch]:
        yield self._batches[part.number]


def keys(*values: Any, name: str = "ItemId", kind: pa.DataType | None = None) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(values, kind or pa.int64())], names=[name])


def reading(case: WarehouseCase, table: str = "item", **later: float) -> tuple[Unit, dt.datetime]:
    """A unit whose reading begins an hour later (or *later*), and that time as the table has it."""
    now = case.clock.forward(**(later or {"hours": 1}))
    return keys_unit(case.feed(table), now=to_text(now)), now.replace(tzinfo=None)


def finish(case: WarehouseCase, unit: Unit, *batches: pa.RecordBatch, table: str = "item", **options: Any) -> Result:
    case.clock.forward(seconds=1)
    return _declared(case, table).run_unit(
        f"shop.{table}", unit, KeysOf(*batches), RunOptions(**options), place="memory", progress=Progress()
    )  # fmt: skip


def _declared(case: WarehouseCase, table: str) -> Runner:
    """A runner whose catalog declares the table, as that of a pull feed does: keys alone do not show whose they are."""
    options = {name: value for name, value in asdict(case.feed(table)).items() if name not in ("system", "table")}
    system = replace(case.app.systems["shop"], tables={table: options})
    return replace(case.app.runner, systems={"shop": system})


def compare(case: WarehouseCase, *batches: pa.RecordBatch, table: str = "item", **options: Any) -> tuple[Run, Any]:
    """The run that compares those keys, and when their reading began."""
    unit, began = reading(case, table)
    run = finish(case, unit, *batches, table=table, **options).run
    assert run is not None
    assert run.error is None
    return run, began


class Keys:
    """Rows 1 and 2 of ``filled`` are active, row 3 is dead and flagged."""

    def test_what_the_source_no_longer_has_is_deleted(self, filled):
        """As of when the reading began; nothing else of any row changes."""
        before = filled.rows("ItemId", "Name", "ModifiedOn", "IsDeleted", "FirstSyncAt")
        others = filled.rows("SyncedBy", "SyncedAt", "DeletedAt")

        run, began = compare(filled, keys(2, 3))

        assert {"unchanged": 2, "absent": 1, "read": 2} == some(run)
        assert ("keys", True, to_text(began), None) == (run.kind, run.complete, run.exported_at, run.note)
        assert before == filled.rows("ItemId", "Name", "ModifiedOn", "IsDeleted", "FirstSyncAt")
        (first, *rest) = filled.rows("SyncedBy", "SyncedAt", "DeletedAt")
        assert (run.id, began + dt.timedelta(seconds=1), began) == first
        assert others[1:] == rest
        assert run == filled.app.warehouse.run(run.id)

    def test_the_watermark_is_left_as_it_is(self, filled):
        """Its etag, too: a sync that is under way is not disturbed."""
        before = filled.app.ledger.watermark("shop.item")

        compare(filled, keys(2))

        assert before == filled.app.ledger.watermark("shop.item")

    def test_slices_are_compared_together(self, filled):
        """A key is there if any of them has it."""
        run, _ = compare(filled, keys(1), keys(3), keys(2))

        assert {"unchanged": 3, "read": 3} == some(run)

    def test_a_key_that_is_read_twice_is_one(self, filled):
        """A row may move between the slices."""
        run, _ = compare(filled, keys(1, 2, 2), keys(2, 3))

        assert ({"unchanged": 5, "read": 5}, None) == (some(run), run.note)

    def test_what_came_while_the_keys_were_read_stays(self, filled):
        """It may have come behind the place that was just read; the next comparison knows."""
        unit, _ = reading(filled)
        filled.clock.forward(minutes=1)
        filled.loaded("delta", 6, row(7, "new", 6), row(2, "Bobby", 6))

        run = finish(filled, unit, keys(1, 3)).run
        kept = filled.rows("ItemId", table="item_active", order="ItemId")
        later, _ = compare(filled, keys(1, 3))

        assert {"unchanged": 2, "read": 2} == some(run)
        assert [(1,), (2,), (7,)] == kept
        assert {"unchanged": 2, "absent": 2, "read": 2} == some(later)

    def test_keys_that_are_not_here_are_counted(self, filled):
        """They are for the syncs to bring: what a key stands for was not read. A flagged row is still at the source."""
        compare(filled, keys(2, 3))

        run, _ = compare(filled, keys(1, 2, 3, 8, 9))

        assert {"unchanged": 5, "read": 5} == some(run)
        assert "2 keys of the source are not here yet, 1 is deleted here" == run.note
        assert run.note == filled.app.warehouse.run(run.id).note
        assert [(2,)] == filled.rows("ItemId", table="item_active", order="ItemId")

    def test_before_the_first_sync_there_is_nothing_to_compare(self, case):
        """Nor is a table made of keys alone."""
        run, _ = compare(case, keys(1, 2))

        assert ({"unchanged": 2, "read": 2}, "2 keys of the source are not here yet") == (some(run), run.note)
        assert {} == case.columns()

    def test_hard_deletes_remove_the_row(self, case):
        """Flagged rows are not stored then, so that unknown keys say nothing."""
        case.loaded("full", 5, row(1), row(2), row(3, deleted=True), table="hard")

        run, _ = compare(case, keys(2, 3, name="HardId"), table="hard")

        assert ({"unchanged": 2, "absent": 1, "read": 2}, None) == (some(run), run.note)
        assert [(2,)] == case.rows("HardId", table="hard")

    def test_a_source_that_lacks_too_much_is_refused(self, case):
        """The same limit as for fulls."""
        case.loaded("full", 5, *(row(n) for n in range(30)))
        before = case.rows("DeletedAt")
        unit, _ = reading(case)

        refused = finish(case, unit, keys(*range(19)))
        after = case.rows("DeletedAt")
        allowed = finish(case, unit, keys(*range(19)), max_delete_share=1.0)

        assert "the source lacks 11 of the 30 active rows of shop.item, more than the share of 0.3" in refused.run.error
        assert before == after
        assert {"unchanged": 19, "absent": 11, "read": 19} == some(allowed.run)

    @pytest.mark.parametrize("column", ["ItemId", "Line"])
    def test_keys_of_several_columns_are_compared_together(self, case, column):
        """Each column alone would find both rows."""
        lines = {"Line": pa.int64()}
        case.loaded("full", 5, row(1, Line=1), row(1, Line=2), row(2, Line=1), table="pair", types=lines)
        both = pa.RecordBatch.from_pydict({"Line": [1, 2], "PairId": [2, 1]}, schema=pa.schema(
            [("Line", pa.int64()), ("PairId", pa.int64())]
        ))  # fmt: skip

        run, _ = compare(case, both, table="pair")

        assert {"unchanged": 2, "absent": 1, "read": 2} == some(run)
        assert [(1, 2), (2, 1)] == case.rows("PairId", "Line", table="pair_active", order="PairId")

    def test_text_is_compared_to_the_letter(self, case):
        """Case and blanks at the end make another key, whatever the engine takes for the same."""
        case.loaded("full", 5, *(row(key) for key in ("a", "A", "a ", "á")), key=pa.string())

        run, began = compare(case, keys("A", "á", kind=pa.string()))

        assert {"unchanged": 2, "absent": 2, "read": 2} == some(run)
        assert [("A", None), ("a", began), ("a ", began), ("á", None)] == case.rows("ItemId", "DeletedAt")

    @pytest.mark.parametrize(
        ("stored", "kind"),
        [
            (pa.int64(), pa.int16()),
            (pa.int16(), pa.int64()),
            (pa.int64(), pa.uint64()),
            (pa.int32(), pa.decimal128(9, 2)),
        ],
        ids=str,
    )
    def test_numbers_are_compared_as_the_wider_type(self, case, stored, kind):
        """A key type that was widened at the source is no reason to wait for the sync that widens the column."""
        case.loaded("full", 5, row(1), row(2), key=stored)

        run, _ = compare(case, keys(2, kind=kind))

        assert {"unchanged": 1, "absent": 1, "read": 1} == some(run)
        assert [(2,)] == case.rows("ItemId", table="item_active", order="ItemId")

    def test_another_type_of_key_is_refused(self, filled):
        """All rows would seem to be gone. Once a sync has converted the column, keys can be compared."""
        unit, _ = reading(filled)

        refused = finish(filled, unit, keys("1", "2", "x", kind=pa.string()))
        filled.declare("ItemId", "text")
        filled.loaded("delta", 6, row("x", "new", 6), key=pa.string())
        run, _ = compare(filled, keys("1", "x", kind=pa.string()))

        assert "'ItemId' is bigint here, but text at the source. Sync it first, which converts" in refused.run.error
        assert {"unchanged": 2, "absent": 1, "read": 2} == some(run)

    def test_a_key_that_the_table_lacks_is_refused(self, case):
        """Once the table is loaded anew, as the error says, keys can be compared."""
        case.loaded("full", 5, row(1), row(2))
        case.declare_table("item", 'keys = ["ItemId", "Line"]')
        both = pa.RecordBatch.from_pydict({"ItemId": [1, 2], "Line": [1, 1]})
        unit, _ = reading(case)

        refused = finish(case, unit, both)
        for what in ('VIEW "shop"."item_active"', 'TABLE "shop"."item"'):
            case.query(f"DROP {what}")
        case.loaded("full", 6, row(1, Line=1), row(2, Line=1), types={"Line": pa.int64()})
        run, _ = compare(case, both)

        assert "its table has no column 'Line'. Drop table shop.item and sync it with --full" in refused.run.error
        assert {"unchanged": 2, "read": 2} == some(run)

    def test_a_key_that_cannot_be_read_is_the_key_of_any_row(self, case):
        """Nothing counts as deleted then; nor is a key alone a row to correct."""
        case.declare("ItemId", "bigint")
        case.loaded("full", 5, row(1), row(2))

        run, _ = compare(case, keys("1", "x", *["1"] * 20, kind=pa.string()))

        assert {"rejected": 1, "unchanged": 21, "read": 22} == some(run)
        assert "nothing counts as deleted: 1 rejected rows have no readable key" == run.note
        assert [] == list(case.app.warehouse.rejects("shop.item"))

    def test_a_dry_run_reports_the_real_run_and_changes_nothing(self, filled):
        """What would be deleted is shown."""
        before = filled.contents()
        unit, began = reading(filled)

        dry = finish(filled, unit, keys(2, 3), dry_run=True)
        after = filled.contents()
        real = finish(filled, unit, keys(2, 3)).run

        assert before == after
        assert counts(real) == counts(dry.run)
        (shown,) = dry.changes
        assert ("absent", "Ada", None) == (shown.outcome, shown.before["Name"], shown.before["DeletedAt"])
        assert shown.after["DeletedAt"].startswith(f"{began:%Y-%m-%d}")

    # -- late ones

    @pytest.mark.parametrize("what", ["keys", "full"])
    def test_keys_read_before_others_that_are_merged_find_nothing(self, filled, what):
        """Rows may have come back in between, unchanged, as the later one has seen."""
        late, _ = reading(filled)
        if what == "keys":
            compare(filled, keys(1, 2, 3))
        else:
            filled.loaded("full", 24, row(1, "Ada", 1), row(2, "Bob", 2), row(3, "Cy", 3, True))

        run = finish(filled, late, keys(2)).run

        assert {"unchanged": 1, "read": 1} == some(run)
        assert "late: " in run.note
        assert [(1,), (2,)] == filled.rows("ItemId", table="item_active", order="ItemId")

    def test_a_full_read_before_the_keys_deletes_nothing(self, filled):
        """It merges its content alone."""
        compare(filled, keys(1, 2, 3))

        run = filled.loaded("full", 6, row(1, "Ida", 6))

        assert {"updated": 1, "read": 1} == some(run)
        assert [(1,), (2,)] == filled.rows("ItemId", table="item_active", order="ItemId")

    def test_a_row_exported_before_the_keys_may_be_new(self, filled):
        """The keys did not bring it, and they do not say that it was not there."""
        compare(filled, keys(1, 2, 3, 7))

        run = filled.loaded("delta", 6, row(7, "new", 6), row(1, "Ida", 6))

        assert ({"inserted": 1, "updated": 1, "read": 2}, None) == (some(run), run.note)
        assert [("Ida", None), ("new", None)] == [filled.rows("Name", "DeletedAt")[n] for n in (0, 3)]

    def test_a_row_that_is_back_with_a_newer_cursor_is_undeleted(self, filled):
        """By the sync that brings it; an older copy of it is stale."""
        compare(filled, keys(2, 3))

        stale = filled.loaded("delta", 6, row(1, "Ada", 1))
        run = filled.loaded("delta", 7, row(1, "Ada again", 7))

        assert [{"stale": 1, "read": 1}, {"undeleted": 1, "read": 1}] == [some(stale), some(run)]
        assert ("Ada again", None) == filled.rows("Name", "DeletedAt")[0]

    def test_keys_with_names_like_ours_are_only_names(self, case):
        """Quoted, as everywhere."""
        name = 'Id"]; DROP'
        case.declare_table("item", f"keys = ['{name}']")
        case.loaded("full", 5, row(1), row(2), key_name=name)

        run, _ = compare(case, keys(2, name=name))

        assert {"unchanged": 1, "absent": 1, "read": 1} == some(run)
        assert [(2,)] == case.rows(name, table="item_active", order=name)

"""What every warehouse keeps as history and rejects, and says of a table."""

from __future__ import annotations

import io
import json

from dataclasses import replace
from decimal import Decimal

import pyarrow as pa

from shared.pipeline.replay import replay, write_rejects
from shared.warehouses import Backfill
from tests.suites.warehouse_case import row, some


class History:
    """History, rejects and profile of a feed."""

    # -- history, rejects, profile

    def test_late_failure_does_not_undo_history(self, filled):
        """The host gave up on a call that had worked."""
        (run,) = filled.app.warehouse.runs()

        filled.app.warehouse.record(replace(run, status="failed", error="timed out"))

        assert [run] == filled.app.warehouse.runs()

    def test_failed_run_is_in_the_history_until_it_works(self, filled):
        """With what went wrong; then it is written over."""
        bad = filled.write("delta", 6, [row(None, "x", 4), row(1, "Ida", 4)])
        failed = filled.load(bad).run
        known = filled.app.warehouse.run(failed.id)

        filled.app.warehouse.record(replace(failed, status="done", error=None))

        assert ("failed", failed.error) == (known.status, known.error)
        assert "done" == filled.app.warehouse.run(failed.id).status

    def test_history_is_newest_first_and_by_feed(self, case, full):
        """And as long as asked for."""
        first = case.load(full).run
        case.clock.forward(hours=1)
        second = case.load(full, again=True).run
        history = case.app.warehouse

        assert [second, first] == history.runs("shop.item")
        assert [second] == history.runs(limit=1)
        assert [] == history.runs("shop.other")
        assert None is history.run("0123456789abcdef")

    def test_recent_runs_are_so_many_of_each_feed(self, case, full):
        """One that runs often leaves the others their place."""
        first = case.load(full).run
        history = case.app.warehouse
        others = [
            replace(first, id=f"{n}", feed="shop.other", finished=f"2026-03-0{n}T00:00:00.000000") for n in (1, 2, 3)
        ]
        for run in others:
            history.record(run)

        assert [replace(run, columns=()) for run in (*others[:0:-1], first)] == history.recent(2)

    def test_nothing_is_known_of_an_empty_warehouse(self, case):
        """Looking at it creates nothing either."""
        history = case.app.warehouse

        assert ([], None, [], {}) == (
            [*history.runs(), *history.recent(2)], history.run("x"), list(history.rejects("shop.item")),
            history.profile(case.feed()).columns,
        )  # fmt: skip
        assert [] == case.query("SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'shop'")

    def test_rejected_rows_are_kept_as_they_were(self, case):
        """Place, code, reason and the row as JSON, also when the run fails; a rejected value leaves its row alone."""
        awkward = 'say "hi",\nlà \\ 🧊 %s \t'
        rows = [
            *(row(n, Value=1.5) for n in range(18)),
            row(None, awkward, Value=None),
            row(18, "odd", Value=float("nan")),
        ]

        run = case.loaded("delta", 5, *rows, types={"Value": pa.float64()})

        rejects = sorted(case.app.warehouse.rejects("shop.item"), key=lambda reject: reject["scope"])
        assert [("row", "ItemId", "key_null"), ("value", "Value", "not_finite")] == [
            (reject["scope"], reject["column"], reject["code"]) for reject in rejects
        ]
        assert [(run.id, "done", run.exported_at)] * 2 == [(r["run"], r["status"], r["exported_at"]) for r in rejects]
        assert "item.parquet row 19" in rejects[0]["place"]
        assert awkward == json.loads(rejects[0]["raw"])["Name"]
        assert (1, 1) == (run.rejected, run.values_rejected)
        assert (None,) == case.rows("Value")[18]

    def test_rejects_of_a_repeated_try_replace_the_earlier_ones(self, case):
        """Of the same run; they are not there twice."""
        bad = case.write("delta", 5, [row(None, "x"), row(1)])

        first, second = case.load(bad).run, case.load(bad).run

        assert first.id == second.id
        assert 1 == len(list(case.app.warehouse.rejects("shop.item", second.id)))

    def test_more_rejects_than_a_page_can_be_read(self, case):
        """One after the other, in order, with the newest run first."""
        rows = [row(None, f"n{n}") for n in range(2_500)]
        case.load(case.write("delta", 5, rows))

        names = [json.loads(reject["raw"])["Name"] for reject in case.app.warehouse.rejects("shop.item")]

        assert sorted(f"n{n}" for n in range(2_500)) == sorted(names)

    def test_corrected_rejects_are_loaded_as_if_they_had_been_right(self, case, tmp_path):
        """With the export time they first came with, so that what came later stays."""
        run = case.loaded("delta", 5, *(row(n) for n in range(20)), row(None, "corrected", 3))
        case.loaded("delta", 6, row(99, "later", 4))
        out = io.BytesIO()
        write_rejects(case.app.warehouse, "shop.item", None, out)
        corrected = tmp_path / "corrected.csv"
        for key, outcome in (("99", "stale"), ("98", "inserted")):
            corrected.write_text(out.getvalue().decode().replace('no key",,', f'no key","{key}",'), newline="")

            (result,) = replay(case.app.runner, "shop.item", corrected)

            assert {outcome: 1, "read": 1} == some(result.run)
            assert run.exported_at == result.run.exported_at
        assert [("corrected",), ("later",)] == case.rows("Name")[-2:]

    def test_profile_tells_what_is_stored(self, filled):
        """Columns in their order, counts, and the span of cursors."""
        profile = filled.app.warehouse.profile(filled.feed())

        assert {
            "ItemId": "bigint", "Name": "text", "ModifiedOn": "timestamp", "IsDeleted": "boolean",
            "FirstSyncAt": "timestamp", "SyncedAt": "timestamp", "SyncedBy": "text", "DeletedAt": "timestamp",
        } == dict(profile.columns)  # fmt: skip
        assert (3, 2, 1) == (profile.rows, profile.active, profile.deleted)
        assert ("2026-02-02T00:00:00.000000", "2026-02-04T00:00:00.000000") == (profile.lowest, profile.highest)

    def test_doctor_finds_nothing_wrong(self, case):
        """Sign-in, rights and whatever else the engine looks at."""
        findings = list(case.app.warehouse.examine())

        assert findings
        assert [] == [finding for finding in findings if finding.status == "failed"]

    def test_table_the_size_of_several_batches(self, open_case):
        """Nothing is lost or doubled where one batch ends and the next begins."""
        case = open_case(BATCH_ROWS="1000", SLICE_ROWS="4000")
        rows = [row(n, f"n{n}", n / 100_000) for n in range(10_000)]
        first = case.loaded("full", 5, *rows, groups=2_000)
        changed = [row(n, f"x{n}" if n % 3 == 0 else f"n{n}", n / 100_000) for n in range(9_900)]

        second = case.loaded("full", 6, *changed, groups=2_000)

        assert {"inserted": 10_000, "read": 10_000} == some(first)
        assert {"updated": 3_300, "unchanged": 6_600, "absent": 100, "read": 9_900} == some(second)
        assert [f"x{n}" if n % 3 == 0 else f"n{n}" for n in range(9_900)] == [n for (n,) in case.rows("Name")[:9_900]]

    def test_a_small_table_can_be_read_whole(self, case):
        """One that is there; of one that is not there are no columns."""
        assert ([], []) == case.app.warehouse.table_rows("shop", "item")
        case.loaded("full", 5, row(1), row(2))

        columns, rows = case.app.warehouse.table_rows("shop", "item")

        assert {"ItemId", "Name", "FirstSyncAt"} <= set(columns)
        assert {1, 2} == {found[columns.index("ItemId")] for found in rows}
        assert ([], []) == case.app.warehouse.table_rows("shop", "nothing")

    def test_rows_that_refer_to_missing_keys_are_counted_by_column(self, case):
        """A key that is there, one that was deleted, and one that never was; NULL refers to nothing."""
        case.loaded("full", 5, row(1), row(2), row(3, "Cy", 2, True))
        refer = {"Item": pa.int64(), "Label": pa.string(), "Price": pa.decimal128(9, 2), "Parent": pa.int32()}
        rows = [(1, 1, "1", "1", 5), (2, 3, "x", "9", 9), (3, 9, "x", None, 1), (4, 9, None, "2.5", None)]
        rows += [(5, None, "2", "2.00", 2)]
        names = ("Item", "Label", "Price", "Parent")
        orders = [
            row(n, **dict(zip(names, (item, label, price and Decimal(price), parent), strict=True)))
            for n, item, label, price, parent in rows
        ]
        case.loaded("full", 6, *orders, table="order", types=refer)
        feed = replace(
            case.feed("order"),
            references={
                "item": "shop.item.ITEMID",
                "Label": "shop.item.ItemId",
                "Price": "shop.item.ItemId",
                "Parent": "shop.order.OrderId",
                "Name": "shop.nothing.Id",
                "Absent": "shop.item.ItemId",
            },
        )
        (run,) = case.app.warehouse.runs("shop.order")

        found = {one.column: (one.rows, one.values) for one in case.app.warehouse.orphans(feed, run.id)}

        assert {"Price", "Parent", "Item", "Label", "Name"} == found.keys()
        assert [(3, ("9", "3")), (2, ("x",)), (5, ("Ada",))] == [found[name] for name in ("Item", "Label", "Name")]
        assert [(2, {"2.50", "9.00"}), (1, {"9"})] == [(found[n][0], set(found[n][1])) for n in ("Price", "Parent")]
        assert found == {one.column: (one.rows, one.values) for one in case.app.warehouse.orphans(feed)}
        assert [] == case.app.warehouse.orphans(feed, "0123456789abcdef")

    def test_backfills_are_listed_by_feed_newest_first(self, case):
        """One that is written again replaces itself."""
        warehouse = case.app.warehouse
        first = Backfill(
            id="a", feed="shop.item", at="2026-02-24T12:00:00.000001", requested_by="Ada's 🔑", forgotten=3
        )
        second = replace(
            first, id="b", at="2026-02-24T13:00:00.000000", type="bigint", before="9", after="3", forgotten=0
        )
        nothing = warehouse.backfills("shop.item")
        for one in (replace(first, forgotten=1), second, first, replace(second, id="c", feed="shop.order")):
            warehouse.record_backfill(one)

        assert [] == nothing
        assert [second, first] == warehouse.backfills("shop.item")
        assert [second] == warehouse.backfills("shop.item", 1)

    def test_feed_is_being_loaded_from_its_first_staged_row_until_it_is_merged(self, case, monkeypatch):
        """No other feed is, and it no longer is once the run has ended, well or not."""
        seen = []
        merge = type(case.app.warehouse).merge

        def merged(warehouse, *arguments):
            seen.append([warehouse.is_loading(feed) for feed in ("shop.item", "shop.order")])
            return merge(warehouse, *arguments)

        monkeypatch.setattr(type(case.app.warehouse), "merge", merged)
        before = case.app.warehouse.is_loading("shop.item")
        case.loaded("full", 5, *(row(n) for n in range(50)))

        assert (False, [[True, False]]) == (before, seen)
        assert not case.app.warehouse.is_loading("shop.item")

    def test_note_of_a_run_can_be_replaced(self, filled):
        (run,) = filled.app.warehouse.runs()

        filled.app.warehouse.annotate(run.id, "3 rows refer to nothing")

        assert [replace(run, note="3 rows refer to nothing")] == filled.app.warehouse.runs()

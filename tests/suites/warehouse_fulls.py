"""What every warehouse does with absent rows of a full, choices of a feed, dry runs and repetitions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from shared.model import OUTCOMES
from shared.pipeline import verbs
from shared.sources.exports.listing import FindOptions, export_unit, find_exports
from shared.sources.exports.parquet import ExportsSource
from shared.stores import open_store
from shared.warehouses import Limits
from tests.exports import START
from tests.suites.warehouse_case import MIXED, _plain, counts, day, row, some


class Fulls:
    """What a full says of absent rows, what a feed may choose, dry runs and repetitions."""

    # -- what is beside the table, and what a feed may choose

    def test_active_view_has_the_rows_that_are_not_deleted(self, filled):
        """From the first load on, and after each that changes them."""
        first = filled.rows("Name", table="item_active", order="ItemId")
        filled.loaded("delta", 6, row(1, "Ada", 4, True), row(3, "Cy", 4))

        assert [("Ada",), ("Bob",)] == first
        assert [("Bob",), ("Cy",)] == filled.rows("Name", table="item_active", order="ItemId")

    def test_hard_deletes_remove_rows(self, case):
        """Flagged ones, first load and later; a key that comes back is new."""
        first = case.loaded("full", 5, row(1), row(2), row(3, "Cy", 3, True), table="hard")
        gone = case.loaded("delta", 6, row(1, "Ada", 4, True), row(9, "Nobody", 4, True), table="hard")
        back = case.loaded("delta", 7, row(1, "Ada", 5), table="hard")

        assert {"inserted": 2, "unchanged": 1, "read": 3} == some(first)
        assert {"deleted": 1, "unchanged": 1, "read": 2} == some(gone)
        assert {"inserted": 1, "read": 1} == some(back)
        assert [(1, back.id), (2, first.id)] == case.rows("HardId", "SyncedBy", table="hard")

    def test_hard_deletes_remove_what_a_full_lacks(self, case):
        """Absences are counted apart, as ever."""
        case.loaded("full", 5, row(1), row(2), row(3), table="hard")

        run = case.loaded("full", 6, row(2), table="hard")

        assert {"absent": 2, "unchanged": 1, "read": 1} == some(run)
        assert [(2,)] == case.rows("HardId", table="hard")

    def test_hard_deletes_work_beside_a_column_the_file_lacks(self, case):
        """Where rows are updated in place instead of replaced."""
        case.loaded("full", 5, *(row(n, Kept="here") for n in (1, 2)), table="hard", types={"Kept": pa.string()})

        run = case.loaded("delta", 6, row(1, "Ada", 4, True), row(2, "Bo", 4), table="hard")

        assert {"deleted": 1, "updated": 1, "read": 2} == some(run)
        assert [(2, "Bo", "here")] == case.rows("HardId", "Name", "Kept", table="hard")

    # -- fulls

    def test_complete_full_buries_what_it_lacks(self, filled):
        """At its own time, and the flag stays unset; what is dead already is left alone."""
        run = filled.loaded("full", 6, row(2, "Bob", 2))

        assert {"absent": 1, "unchanged": 1, "read": 1} == some(run)
        assert [(False, day(6)), (False, None), (True, day(3))] == filled.rows("IsDeleted", "DeletedAt")

    def test_full_repairs_what_earlier_exports_left(self, filled):
        """Even rows with a lower cursor; not those that a later export brought."""
        filled.loaded("delta", 9, row(2, "later", 2.5))

        run = filled.loaded("full", 8, row(1, "repaired", 0), row(2, "Bob", 2), row(3, "Cy", 3))

        assert {"updated": 1, "undeleted": 1, "stale": 1, "read": 3} == some(run)
        assert [("repaired", None), ("later", None), ("Cy", None)] == filled.rows("Name", "DeletedAt")

    def test_full_does_not_bury_what_a_later_export_brought(self, filled):
        """It could not know of it."""
        filled.loaded("delta", 9, row(7, "later", 2))

        run = filled.loaded("full", 8, row(1, "Ada", 1), row(2, "Bob", 2))

        assert {"unchanged": 2, "read": 2} == some(run)
        assert ("later", None) == filled.rows("Name", "DeletedAt")[-1]

    def test_late_delta_changes_no_active_row(self, filled):
        """Its new rows arrive dead since the full that lacked them, and a dead row it is newer than stays dead."""
        filled.loaded("full", 8, row(1, "Ada", 1), row(2, "Bob", 2))

        run = filled.loaded(
            "delta", 7, row(1, "new", 4), row(9, "unknown", 4), row(3, "Cy", 4), row(8, "flagged", 4, True)
        )

        assert {"stale": 1, "inserted": 2, "updated": 1, "read": 4} == some(run)
        assert "late: a full exported at" in run.note
        assert [
            (1, "Ada", None), (2, "Bob", None), (3, "Cy", day(8)), (8, "flagged", day(4)), (9, "unknown", day(8)),
        ] == filled.rows("ItemId", "Name", "DeletedAt")  # fmt: skip

    def test_late_full_only_merges_content(self, filled):
        """What it lacks is not gone."""
        filled.loaded("full", 8, row(1, "Ada", 1), row(2, "Bob", 2))

        run = filled.loaded("full", 7, row(9, "unknown", 4))

        assert {"inserted": 1, "read": 1} == some(run)
        assert [None, None, day(3), day(8)] == [since for (since,) in filled.rows("DeletedAt")]

    def test_full_that_lacks_too_much_is_refused(self, case):
        """Ten absences always pass; a larger share has to be allowed."""
        case.loaded("full", 5, *(row(n) for n in range(30)))
        before = case.rows("DeletedAt")

        said = case.refused("full", 6, *(row(n) for n in range(19)))
        allowed = case.load(case.write("full", 6, [row(n) for n in range(19)]), max_delete_share=1.0)
        ten = case.loaded("full", 7, *(row(n) for n in range(9)))

        assert "the full lacks 11 of the 30 active rows of shop.item, more than the share of 0.3" in said
        assert "--max-delete-share 1" in said
        assert [(None,)] * 30 == before
        assert 11 == allowed.run.absent
        assert 10 == ten.absent

    def test_key_of_a_rejected_row_is_not_absent(self, case):
        """It was there, though it could not be taken."""
        case.loaded("full", 5, *(row(n) for n in range(20)))

        run = case.loaded("full", 6, *(row(n) for n in range(18)), row(18, "future", 99))

        assert {"unchanged": 18, "rejected": 1, "absent": 1, "read": 19} == some(run)
        assert [None, day(6)] == [since for (since,) in case.rows("DeletedAt")[18:]]

    def test_other_client_is_refused(self, filled):
        """Two clients are two systems: the second would delete the rows of the first."""
        said = filled.refused("full", 6, row(7), client="Other")

        assert "feed shop.item holds the data of client 'Acme', this is of 'Other'" in said
        assert [("Ada",), ("Bob",), ("Cy",)] == filled.rows("Name")

    # -- dry runs and repetitions

    @pytest.mark.parametrize(
        ("kind", "first"), [("full", True), ("full", False), ("delta", False)], ids=["no table yet", "full", "delta"]
    )
    def test_dry_run_reports_the_real_run_and_changes_nothing(self, case, full, kind, first):
        """No row, no history, no reject, no ledger; then the run for real has the same counts."""
        case.loaded("delta", 1, row(1), table="other") if first else case.load(full)
        before = case.contents()
        mixed = case.write(kind, 6, MIXED)

        dry = case.load(mixed, dry_run=True)
        after = case.contents()
        real = case.load(mixed).run

        assert before == after
        assert counts(real) == counts(dry.run)
        assert (1, 1) == (real.rejected, real.superseded)
        assert real.read == sum(getattr(real, name) for name in OUTCOMES)

    def test_dry_run_of_a_first_load_leaves_no_schema(self, case, full):
        """In a warehouse that nothing was ever loaded into."""
        dry = case.load(full, dry_run=True)

        assert {"inserted": 3, "read": 3} == some(dry.run)
        assert [] == case.query("SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'shop'")
        assert [] == case.query("SELECT SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA WHERE SCHEMA_NAME = 'shop'")
        assert [] == case.app.warehouse.runs()

    def test_dry_run_shows_rows_before_and_after(self, filled):
        """A few of each outcome, as they would be."""
        mixed = filled.write("delta", 6, [row(1, "Ida", 4), row(2, "Bob", 4, True), row(3, "Cy", 4), row(4, "Di", 4)])

        changes = filled.load(mixed, dry_run=True).changes

        shown = {change.outcome: (change.before, change.after) for change in changes}
        assert {"updated", "deleted", "undeleted", "inserted"} == shown.keys()
        assert ("Ada", "Ida") == tuple(version["Name"] for version in shown["updated"])
        assert [None, str(day(4))] == [_plain(version["DeletedAt"]) for version in shown["deleted"]]
        assert [str(day(3)), None] == [_plain(version["DeletedAt"]) for version in shown["undeleted"]]
        assert (None, "Di") == (shown["inserted"][0], shown["inserted"][1]["Name"])

    def test_failed_dry_run_leaves_nothing(self, filled):
        """It would be refused: the answer says so, and that is all."""
        before = filled.contents()
        bad = filled.write("full", 6, [row(None) for _ in range(9)])

        result = filled.load(bad, dry_run=True)

        assert "9 of 9 rows were rejected" in result.run.error
        assert before == filled.contents()

    @pytest.mark.parametrize("first", [True, False], ids=["no table yet", "a table"])
    def test_published_run_is_recognised(self, case, full, first):
        """Publishing it again merges nothing and returns the same counts, even when staging is gone."""
        if not first:
            case.load(full)
        app = case.app
        store = open_store(str(case.write("full", 6, MIXED).parent))
        source = ExportsSource(store, slice_rows=10, batch_rows=10)
        (offer,), _ = find_exports(store, FindOptions(kind="full"), START)
        asked = export_unit(offer, store)
        run = verbs.run_for("shop.item", asked, app.ledger, "2026-02-24T12:00:00.000000")
        plan = verbs.plan(run, asked, source, app.systems["shop"])
        staged = [verbs.stage(plan, part, source, app.warehouse, cursor_ahead=86_400) for part in plan.slices]

        def publish(finished: str) -> Any:
            limits = Limits(max_delete_share=1)
            return verbs.publish(plan, staged, app.warehouse, app.ledger, limits=limits, finished=finished)

        once = publish("2026-02-24T12:00:01.000000")
        verbs.tidy(plan, app.warehouse)
        before = case.contents()
        twice = publish("2026-02-24T13:00:00.000000")
        verbs.tidy(plan, app.warehouse)

        assert replace(once.run, log_rate=None) == replace(twice.run, log_rate=None)
        assert before == case.contents()

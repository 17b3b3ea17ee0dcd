"""What every warehouse keeps of the rows that a feed with ``history`` had."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.advice import advises
from tests.suites.warehouse_case import CATALOG, day, row
from tests.suites.warehouse_erase import erased


class Versions:
    """Versions of rows, and when each was valid."""

    has_views = True
    """False: versions are not kept."""

    @pytest.fixture(autouse=True)
    def _only_where_versions_are_kept(self, request: pytest.FixtureRequest) -> None:
        if request.function.__name__ in vars(Versions) and not self.has_views:
            pytest.skip("it keeps no versions of rows")

    def kept(self, case, *names, table="tracked"):
        """The view of versions, in order: when each began and ended, and more."""
        key = f"{table.capitalize()}Id"
        found = case.rows("ValidFrom", "ValidTo", key, *names, table=f"{table}_history", order=key)
        return sorted(found, key=lambda one: (one[2], one[0]))

    def test_every_version_is_kept_with_the_time_in_which_it_held(self, case):
        """New ones end those before; what repeats nothing is new in changes nothing."""
        case.loaded("full", 5, row(1, "Ada", 1), row(2, "Bob", 2), table="tracked")
        case.loaded("delta", 6, row(1, "Eva", 3), row(3, "Cy", 4), table="tracked")
        case.loaded("delta", 7, row(1, "Eva", 3), row(2, "Bob", 6, True), table="tracked")

        assert [
            (day(1), day(3), 1, "Ada", None), (day(3), None, 1, "Eva", None), (day(2), day(6), 2, "Bob", None),
            (day(6), None, 2, "Bob", day(6)), (day(4), None, 3, "Cy", None),
        ] == self.kept(case, "Name", "DeletedAt")  # fmt: skip
        assert [("Eva",), ("Bob",), ("Cy",)] == case.rows("Name", table="tracked", order="TrackedId")

    def test_late_repeated_and_superseded_rows_find_their_place(self, case):
        """Whatever order they come in."""
        case.loaded("delta", 7, row(1, "third", 3), row(1, "fourth", 4), table="tracked")
        case.loaded("delta", 5, row(1, "first", 1), table="tracked")
        case.loaded("delta", 6, row(1, "second", 2), row(1, "third", 3), table="tracked")

        assert [
            (day(1), day(2), 1, "first"), (day(2), day(3), 1, "second"), (day(3), day(4), 1, "third"),
            (day(4), None, 1, "fourth"),
        ] == self.kept(case, "Name")  # fmt: skip

    def test_absences_repairs_and_rows_that_come_back_are_versions(self, case):
        """A full says from when on they hold: the time of its export."""
        case.loaded("full", 5, row(1, "Ada", 1), row(2, "Bob", 4), table="tracked")
        case.loaded("full", 6, row(2, "corrected", 3), table="tracked")
        case.loaded("delta", 8, row(1, "back", 7), table="tracked")

        assert [
            (day(1), day(6), 1, "Ada", None), (day(6), day(7), 1, "Ada", day(6)), (day(7), None, 1, "back", None),
            (day(3), day(4), 2, "corrected", None), (day(4), day(6), 2, "Bob", None),
            (day(6), None, 2, "corrected", None),
        ] == self.kept(case, "Name", "DeletedAt")  # fmt: skip

    def test_late_files_show_what_was_before_the_full_that_lacks_it(self, case):
        """Their rows are dead in the table, and were alive before."""
        case.loaded("full", 9, row(1, "Ada", 1), table="tracked")
        case.loaded("delta", 5, row(2, "late", 4), row(1, "younger", 2), table="tracked")

        assert [
            (day(1), day(2), 1, "Ada", None), (day(2), day(9), 1, "younger", None), (day(9), None, 1, "Ada", None),
            (day(4), day(9), 2, "late", None), (day(9), None, 2, "late", day(9)),
        ] == self.kept(case, "Name", "DeletedAt")  # fmt: skip

    def test_history_begins_with_the_rows_that_are_there(self, case):
        """If a feed gets it later."""
        case.catalog(CATALOG.replace("history = true", "history = false"))
        case.loaded("full", 5, row(1, "Ada", 1), row(2, "Bob", 2), table="tracked")
        case.catalog(CATALOG)

        case.loaded("delta", 6, row(1, "Eva", 3), table="tracked")

        assert [(day(1), day(3), 1, "Ada"), (day(3), None, 1, "Eva"), (day(2), None, 2, "Bob")] == self.kept(
            case, "Name"
        )

    def test_history_catches_up_with_a_table_that_changed_without_it(self, case):
        """Once its view is dropped."""
        case.loaded("full", 5, row(1, "Ada", 1), row(2, "Bob", 2), table="tracked")
        case.catalog(CATALOG.replace("history = true", "history = false"))
        case.loaded("delta", 6, row(1, "Eva", 3), row(3, "Cy", 4), table="tracked")
        case.catalog(CATALOG)

        case.query('DROP VIEW "shop"."tracked_history"')
        case.loaded("delta", 7, row(2, "Bea", 5), table="tracked")

        assert [
            (day(1), day(3), 1, "Ada"), (day(3), None, 1, "Eva"), (day(2), day(5), 2, "Bob"), (day(5), None, 2, "Bea"),
            (day(4), None, 3, "Cy"),
        ] == self.kept(case, "Name")  # fmt: skip

    def test_a_table_that_is_loaded_anew_is_what_holds_still(self, case):
        """Though it was dropped with newer rows."""
        first = case.write("full", 5, [row(1, "Ada", 1)], table="tracked")
        case.load(first)
        case.loaded("delta", 6, row(1, "Eva", 3), table="tracked")
        case.query('DROP VIEW "shop"."tracked_active"')
        case.query('DROP TABLE "shop"."tracked"')

        case.load(first, again=True)

        assert [("Ada",)] == case.rows("Name", table="tracked")
        assert [(day(1), day(3), 1, "Ada"), (day(3), day(5), 1, "Eva"), (day(5), None, 1, "Ada")] == self.kept(
            case, "Name"
        )

    def test_versions_grow_with_their_table(self, case):
        """New columns, wider types and long text."""
        case.loaded("full", 5, row(1, "Ada", 1, Size=1), table="tracked", types={"Size": pa.int16()})
        long = "x" * 9_000
        case.loaded(
            "delta", 6, row(1, "Eva", 2, Size=1 << 40, More=long), table="tracked",
            types={"Size": pa.int64(), "More": pa.string()},
        )  # fmt: skip

        assert [(day(1), day(2), 1, 1, None), (day(2), None, 1, 1 << 40, long)] == self.kept(case, "Size", "More")

    @pytest.mark.parametrize("table", ["trackednumbered", "trackedundated"])
    def test_without_an_instant_a_version_holds_from_its_export_on(self, case, table):
        """A number says which is newer, and not when."""
        version = {"types": {"Version": pa.int64()}, "table": table}
        case.loaded("delta", 5, row(1, "Ada", 1, Version=1), **version)
        case.loaded("delta", 6, row(1, "Eva", 1, Version=2), **version)
        case.loaded("delta", 7, row(1, "Eva", 1, Version=2), **version)

        assert [(day(5), day(6), 1, "Ada"), (day(6), None, 1, "Eva")] == self.kept(case, "Name", table=table)

    def test_a_dry_run_keeps_no_version(self, case):
        """Nor the table of them."""
        case.load(case.write("full", 5, [row(1)], table="tracked"), dry_run=True)
        run = case.loaded("full", 5, row(1), table="tracked")

        assert 1 == run.inserted
        assert [(day(1), None, 1)] == self.kept(case)

    def test_erasing_a_key_removes_its_versions(self, case):
        """And no others."""
        case.loaded("full", 5, row(1, "Ada", 1), row(2, "Bob", 2), table="tracked")
        case.loaded("delta", 6, row(1, "Eva", 3), table="tracked")

        done = erased(case, "1", feed="shop.tracked")

        assert (1, 2) == (done.rows, done.history)
        assert [(day(2), None, 2, "Bob")] == self.kept(case, "Name")

    @pytest.mark.parametrize("other", ["tracked_versions", "tracked_history"])
    def test_a_table_of_others_with_such_a_name_is_left_alone(self, case, other):
        """The run says so, and does what it says without history."""
        case.loaded("full", 5, row(1), table=other)

        refused = case.refused("full", 5, row(1), table="tracked")
        advises("Rename it, or leave history out", refused)
        assert f"shop.{other} is there already" in refused
        case.catalog(CATALOG.replace("history = true", "history = false"))
        case.loaded("full", 6, row(1), table="tracked")
        assert 1 == len(case.rows("Name", table=other))

    def test_a_row_that_is_gone_before_its_cursor_was_valid_for_no_time(self, case):
        """Its clock was ahead of the export that shows its absence."""
        case.loaded("full", 5, row(1, "Ada", 5.5), row(2, "Bob", 2), table="tracked")
        case.loaded("full", 5.2, row(2, "Bob", 2), table="tracked")

        assert [
            (day(5.5), None, 1, day(5.2)), (day(2), None, 2, None),
        ] == self.kept(case, "DeletedAt")  # fmt: skip

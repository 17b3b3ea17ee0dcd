"""What every warehouse checks of a run before it is merged."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.advice import advises
from tests.suites.warehouse_case import WarehouseCase, row, some

NUMBERS = {"types": {"Amount": pa.int64(), "Code": pa.string(), "Parent": pa.int64()}}


def declare(case: WarehouseCase, *checks: str) -> None:
    case.declare_table("item", f'keys = ["ItemId"], checks = [{", ".join(f"{{ {check} }}" for check in checks)}]')


class Checks:
    """Checks that the catalog declares."""

    @pytest.mark.parametrize(
        ("then", "expected", "stored"),
        [("warn", {"inserted": 2}, 2), ("reject", {"inserted": 1, "rejected": 1}, 1), ("stop", None, 0)],
    )
    def test_row_that_fails_is_noted_rejected_or_stops_the_run(self, case, then, expected, stored):
        """Rejected with a code of its own, and why."""
        declare(case, f'kind = "in_range", columns = ["Amount"], min = 0, max = 10, then = "{then}"')
        rows = [row(1, Amount=5), row(2, Amount=11)]

        result = case.load(case.write("full", 5, rows, **NUMBERS), max_reject_share=1)

        run, label = result.run, "check Amount in_range 0 to 10"
        rejects = [(one["code"], one["reason"]) for one in case.app.warehouse.rejects("shop.item")]
        assert stored == case.app.warehouse.profile(case.feed()).rows
        assert rejects == [("check_failed", f"it fails the {label}")] * (then == "reject")
        if then == "stop":
            advises("Correct the data at the source, or the check in the catalog", run.error)
            assert f"{label}: 1 row fails it" in run.error
            declare(case, 'kind = "in_range", columns = ["Amount"], min = 0, max = 11, then = "stop"')
            assert 2 == case.load(case.write("full", 5, rows, **NUMBERS)).run.inserted
        else:
            assert expected == {name: n for name, n in some(run).items() if name != "read"}
            assert (f"{label}: 1 row fails it" if then == "warn" else None) == run.note

    def test_values_that_several_rows_have_are_found_in_the_run_and_in_the_table(self, case):
        """Of rows that the run replaces or deletes, the new state counts; NULL is no value."""
        declare(case, 'kind = "unique", columns = ["Code"], then = "warn"')
        twice = case.loaded("full", 5, row(1, Code="a"), row(2, Code="a"), row(3, Code=None), row(4), **NUMBERS)
        swapped = case.loaded("delta", 6, row(1, modified=2, Code="b"), **NUMBERS)
        stored = case.loaded("delta", 7, row(5, modified=3, Code="b"), **NUMBERS)
        moved = case.loaded("delta", 8, row(1, modified=4, Code="c"), row(5, modified=4, Code="b"), **NUMBERS)
        dead = case.loaded("delta", 9, row(6, modified=5, deleted=True, Code="c"), **NUMBERS)

        assert "check Code unique: 1 value is in several rows" == twice.note
        assert twice.note == stored.note
        assert [None] * 3 == [swapped.note, moved.note, dead.note]

    def test_references_are_looked_up_in_the_table_and_in_the_run(self, case):
        """A feed may refer to itself, and to another one."""
        declare(
            case, 'kind = "refers_to", columns = ["Parent"], references = "shop.item.ItemId", then = "warn"',
            'kind = "refers_to", columns = ["Amount"], references = "shop.kind.KindId", then = "stop"',
        )  # fmt: skip
        case.loaded("full", 5, row(7), table="kind")
        first = case.loaded("full", 5, row(1, Parent=2, Amount=7), row(2, Parent=9), **NUMBERS)
        second = case.loaded("delta", 6, row(3, modified=2, Parent=1), **NUMBERS)
        third = case.refused("delta", 7, row(4, modified=3, Amount=8), **NUMBERS)

        assert ("check Parent refers_to shop.item.ItemId: 1 row fails it", None) == (first.note, second.note)
        assert "check Amount refers_to shop.kind.KindId: 1 row fails it" in third
        assert 3 == case.app.warehouse.profile(case.feed()).rows

    def test_number_of_rows_is_compared_with_that_of_the_last_runs(self, case):
        """Once there are three of the same kind."""
        declare(case, 'kind = "row_count", min = 0.5, max = 2, then = "stop"')
        for number in range(3):
            case.loaded("delta", number, *(row(n, modified=number) for n in range(4)))
        two = case.loaded("delta", 4, row(1, modified=4), row(2, modified=4))
        one = case.refused("delta", 5, row(1, modified=5))

        assert 2 == two.updated
        assert "check row_count 0.5 to 2: 1 rows, 0.25 of the usual 4" in one

    def test_newest_row_must_not_be_too_old(self, case):
        """By the cursor."""
        declare(case, 'kind = "freshness", hours = 24, then = "warn"')

        fresh = case.loaded("delta", 22, row(1, modified=23))
        old = case.loaded("delta", 23, row(2, modified=21))

        assert (None, "check freshness 24 hours: the newest row is 60.0 hours old") == (fresh.note, old.note)

    def test_condition_in_sql_of_the_warehouse(self, case):
        """NULL passes, and so does a row that is deleted. One that cannot be made fails the run, and says why."""
        quoted = """'''"Amount" > 0 OR "Name" = '%:x' '''"""
        declare(case, f'kind = "sql", condition = {quoted}, then = "warn"')
        rows = [row(1, Amount=0), row(2, Amount=1), row(3), row(4, deleted=True, Amount=0), row(5, "%:x", Amount=0)]
        noted = case.loaded("full", 5, *rows, **NUMBERS)
        declare(case, f'kind = "sql", condition = {quoted.replace("Amount", "Amuont")}, then = "warn"')
        wrong = case.refused("delta", 6, row(1, modified=2), **NUMBERS)

        assert noted.note is not None
        assert noted.note.endswith(": 1 row fails it")
        advises("Correct its condition in the catalog: it is SQL of the warehouse over the feed's columns", wrong)
        declare(case, f'kind = "sql", condition = {quoted}, then = "warn"')
        assert case.load(case.write("delta", 6, [row(1, modified=2)], **NUMBERS)).loaded

    def test_column_that_is_not_in_the_data_is_noted(self, case):
        """Else a check with a misspelt column would pass for ever."""
        declare(case, 'kind = "not_null", columns = ["Amuont"], then = "stop"',
                'kind = "unique", columns = ["Kode"], then = "warn"')  # fmt: skip

        run = case.loaded("full", 5, row(1))

        assert (
            "check Amuont not_null: there is no column 'Amuont'; check Kode unique: there is no column 'Kode'"
        ) == run.note

"""What every warehouse does with values of every type, and with columns that come, go and widen."""

from __future__ import annotations

import re

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from shared.contract.cast import cast as as_type
from tests.suites.warehouse_case import (
    CATALOG,
    DECLARED,
    HOSTILE,
    INCOMPATIBLE,
    OURS,
    UNFIT,
    VALUES,
    WIDER,
    day,
    exactly,
    row,
    some,
)
from tests.suites.warehouse_checks import Checks

_BECOME_TEXT = (
    "boolean", "smallint", "bigint", "decimal of 38 digits", "money", "real", "double", "date", "time", "timestamp",
)  # fmt: skip


class Values(Checks):
    """Values of every type, and columns that come, go and widen."""

    # -- values

    @pytest.mark.parametrize("kind", VALUES)
    def test_values_come_through_to_the_bit(self, case, kind):
        """In a first load, in a merge that inserts and in one that updates; the same again is no change."""
        arrow, values = VALUES[kind]
        types = {"Value": arrow}
        first = [row(n, Value=value) for n, value in enumerate(values)]
        turned = [row(n, "Ada", 2, Value=value) for n, value in enumerate(reversed(values))]
        more = [row(n + 100, "Ada", 2, Value=value) for n, value in enumerate(values)]

        case.loaded("full", 5, *first, types=types)
        adopted = case.rows("Value")
        same = case.loaded("full", 6, *first, types=types)
        case.loaded("delta", 7, *turned, *more, types=types)
        merged = case.rows("Value")
        again = case.loaded("full", 8, *turned, *more, types=types)

        def reported(found: Sequence[Any]) -> list[Any]:
            return [exactly(value, kind) for value in found]

        assert reported(values) == reported([value for (value,) in adopted])
        assert reported([*reversed(values), *values]) == reported([value for (value,) in merged])
        assert {"unchanged": len(values), "read": len(values)} == some(same)
        assert {"unchanged": 2 * len(values), "read": 2 * len(values)} == some(again)

    def test_negative_zero_is_zero(self, case):
        """However the engine keeps it, it compares as that, and a file that has it again changes nothing."""
        types = {"Value": pa.float64()}
        case.loaded("full", 5, row(1, Value=-0.0), types=types)

        again = case.loaded("full", 6, row(1, Value=-0.0), types=types)

        assert [(0.0,)] == case.rows("Value")
        assert {"unchanged": 1, "read": 1} == some(again)

    def test_hundred_columns_in_one_table(self, case):
        """Each with its own value, and a change in any one is seen."""
        types = {
            f"C{n}": [pa.int64(), pa.string(), pa.decimal128(18, 4), pa.timestamp("us")][n % 4] for n in range(100)
        }

        def wide(key: int, changed: int | None = None) -> dict[str, Any]:
            made = [int, str, lambda n: Decimal(n).scaleb(-4), day]
            return row(key, **{f"C{n}": made[n % 4](n + 1000 if n == changed else n) for n in range(100)})

        case.loaded("full", 5, *(wide(key) for key in range(100)), types=types)
        run = case.loaded("full", 6, *(wide(key, changed=key) for key in range(99)), wide(99), types=types)

        assert {"updated": 99, "unchanged": 1, "read": 100} == some(run)
        stored = case.rows("C5", "C96")
        assert ("1005", 96) == stored[5]
        assert ("5", 1096) == stored[96]

    # -- columns come, go and widen

    @pytest.mark.parametrize(("one", "first", "other", "second", "wider"), WIDER.values(), ids=WIDER)
    def test_column_widens(self, case, one, first, other, second, wider):
        """What is stored stays, what comes fits; and a file of the old type still fits."""
        case.loaded("delta", 5, row(1, Value=first), types={"Value": one})
        case.loaded("delta", 6, row(2, Value=second), types={"Value": other})
        again = case.loaded("delta", 7, row(1, Value=first), row(2, "new", 2, Value=None), types={"Value": one})

        assert wider == case.columns()["Value"]
        assert [(first,), (None,)] == case.rows("Value")
        assert {"unchanged": 1, "updated": 1, "read": 2} == some(again)
        assert [(first,), (None,)] == case.rows("Value", table="item_active", order="ItemId")

    def test_widened_column_holds_the_wide_value(self, case):
        """In the rows that were there, too."""
        for number, (one, first, other, second, _) in enumerate(WIDER.values()):
            table = f"wide{number}"
            case.loaded("delta", 5, row(1, Value=first), table=table, types={"Value": one})
            case.loaded("delta", 6, row(1, "Ada", 2, Value=second), row(2), table=table, types={"Value": other})

            assert [(second,), (None,)] == case.rows("Value", table=table)

    @pytest.mark.parametrize(("one", "first", "other", "second", "said"), INCOMPATIBLE.values(), ids=INCOMPATIBLE)
    def test_types_that_do_not_go_together_are_refused(self, case, one, first, other, second, said):
        """With column, types and file; the table stays as it was."""
        case.loaded("delta", 5, row(1, Value=first), types={"Value": one})
        before = case.rows("Value", *OURS), case.columns()

        message = case.refused("delta", 6, row(1, "new", 2, Value=second), types={"Value": other})

        assert re.search(f"column 'Value' of shop.item .*{said}.*item.parquet", message)
        assert before == (case.rows("Value", *OURS), case.columns())

    @pytest.mark.parametrize(("one", "first", "declared", "other", "second", "found"), DECLARED.values(), ids=DECLARED)
    def test_declared_type_converts_the_stored_column(self, case, one, first, declared, other, second, found):
        """Old rows are converted, new ones cast, the view has the type; a dry run shows it and changes nothing."""
        case.loaded("delta", 5, *(row(n, Value=value) for n, value in enumerate(first)), types={"Value": one})
        before = case.rows("Value", *OURS), case.columns()
        file = case.write("delta", 6, [row(8, Value=second)], types={"Value": other})
        case.declare("Value", declared)

        dry = case.load(file, dry_run=True)
        untouched = case.rows("Value", *OURS), case.columns()
        done = case.load(file)

        assert (None, before) == (dry.run.error, untouched)
        assert (None, declared) == (done.run.error, case.columns()["Value"])
        assert (dry.run.inserted, dry.run.unchanged, 0) == (done.run.inserted, done.run.unchanged, done.run.updated)
        assert found == [value for (value,) in case.rows("Value")]
        assert found == [value for (value,) in case.rows("Value", table="item_active", order="ItemId")]

    def test_columns_become_text_without_loss_where_the_feed_says_so(self, case):
        """Each value is the text that the contract makes of it, so the next file with it changes nothing."""
        kinds = {kind: VALUES[kind] for kind in _BECOME_TEXT}
        longest = max(len(values) for _, values in kinds.values())
        spread = [
            {kind: values[n] if n < len(values) else None for kind, (_, values) in kinds.items()}
            for n in range(longest)
        ]
        types = {kind: arrow for kind, (arrow, _) in kinds.items()}
        case.loaded("delta", 5, *(row(n, **values) for n, values in enumerate(spread)), types=types, table="tracked")
        texts = [
            {kind: as_type(pa.array([values[kind]], types[kind]), "text").values[0].as_py() for kind in kinds}
            for values in spread
        ]
        file = case.write("delta", 6, [row(n, **values) for n, values in enumerate(texts)],
                          types=dict.fromkeys(kinds, pa.string()), table="tracked")  # fmt: skip
        case.catalog(CATALOG.replace("[undeclared]", 'on_type_change = "text"\n[undeclared]'))

        dry = case.load(file, dry_run=True)
        stored = case.columns("tracked")
        done = case.load(file)

        assert (None, None, done.run.read) == (dry.run.error, done.run.error, done.run.unchanged)
        assert "text" not in {stored[kind] for kind in kinds}
        assert {"text"} == {case.columns("tracked")[kind] for kind in kinds}
        assert [tuple(values.values()) for values in texts] == case.rows(*kinds, table="tracked")
        assert case.rows(*kinds, table="tracked") == case.rows(*kinds, table="tracked_active")
        versions = case.contents().get("shop.tracked_versions", [])
        assert not versions or len(texts) == len(versions)
        assert not versions or case.columns("tracked").items() <= case.columns("tracked_versions").items()
        for values, spelled in zip(spread, texts, strict=True):
            for kind, value in values.items():
                again = as_type(pa.array([spelled[kind]], pa.string()), stored[kind]).values[0].as_py()
                assert exactly(value) == exactly(again)

    def test_text_stays_text_and_a_key_its_type_where_the_feed_says_so(self, case):
        """What the policy made text takes numbers from then on; keys and the cursor are refused as ever."""
        case.catalog(CATALOG.replace("[undeclared]", 'on_type_change = "text"\n[undeclared]'))
        case.loaded("delta", 5, row(1, Value=1.5), types={"Value": pa.float64()})
        case.loaded("delta", 6, row(2, Value="x"), types={"Value": pa.string()})
        case.loaded("delta", 7, row(3, Value=7), row(4, Value=None), types={"Value": pa.int64()})

        said = case.refused("delta", 8, row("1"), key=pa.string())

        assert [("1.5",), ("x",), ("7",), (None,)] == case.rows("Value")
        assert "column 'ItemId' of shop.item is bigint, but text in" in said

    @pytest.mark.parametrize(("one", "first", "declared", "said"), UNFIT.values(), ids=UNFIT)
    def test_declared_type_that_a_stored_value_does_not_fit_is_refused(self, case, one, first, declared, said):
        """With the first values that do not; the table stays as it was."""
        case.loaded("delta", 5, *(row(n, Value=value) for n, value in enumerate(first)), types={"Value": one})
        before = case.rows("Value", *OURS), case.columns()
        case.declare("Value", declared)

        message = case.refused("delta", 6, row(8, Value=None), types={"Value": pa.string()})

        assert re.search(f"column 'Value' of shop.item is .*{said}", message)
        assert before == (case.rows("Value", *OURS), case.columns())

    def test_advice_for_a_column_that_turns_to_text_works(self, case):
        """Declared as the error says, the same file is loaded."""
        case.loaded("delta", 5, row(1, Value=7), types={"Value": pa.int64()})
        file = case.write("delta", 6, [row(2, Value="seven")], types={"Value": pa.string()})

        refused = case.load(file)
        case.declare("Value", "text")
        done = case.load(file)

        assert "declare the column text under types in the catalog" in refused.run.error
        assert (None, [("7",), ("seven",)]) == (done.run.error, case.rows("Value"))

    @pytest.mark.parametrize(
        ("kind", "values", "declared"),
        [
            (pa.string(), ["10", "1", "1 ", " 1", "1.0", "é", "E", None, "2"], "text"),
            (pa.string(), ["10", "1", "1 ", " 1", "1.0", "1e1", "1E1", None, "2"], "double"),
            (pa.int64(), [10, 9, -1, None, 9, 2**40], "double"),
        ],
        ids=["nothing", "text", "numbers"],
    )
    def test_conversion_goes_page_by_page(self, case, monkeypatch, kind, values, declared):
        """In the order of the engine, whatever it takes for equal."""
        monkeypatch.setattr("shared.warehouses.merge.convert._PAGE", 1)
        case.loaded("delta", 5, *(row(n, Value=value) for n, value in enumerate(values)), types={"Value": kind})
        case.declare("Value", declared)

        case.loaded("delta", 6, row(50, Value=None), types={"Value": pa.string()})

        expected = [value if value is None or declared == "text" else float(value) for value in values]
        assert [*expected, None] == [value for (value,) in case.rows("Value")]

    def test_declared_type_converts_a_key(self, case):
        """Rows keep their identity, and the table its indexes."""
        case.loaded("full", 5, row(1), row(2))
        case.declare("ItemId", "text")

        run = case.loaded("full", 6, row("1"), row("x"), key=pa.string())
        again = case.loaded("full", 7, row("1"), row("x"), key=pa.string())

        assert {"unchanged": 1, "inserted": 1, "absent": 1, "read": 2} == some(run)
        assert {"unchanged": 2, "read": 2} == some(again)
        assert [("1", None), ("2", day(6)), ("x", None)] == case.rows("ItemId", "DeletedAt")

    def test_new_column_is_added_and_a_missing_one_keeps_its_values(self, filled):
        """In the table and in its view."""
        filled.loaded("delta", 6, row(1, "Ida", 4, Colour="red"), types={"Colour": pa.string()})
        filled.loaded("delta", 7, row(1, "Eva", 5), row(4, "Di", 5))

        assert [("Eva", "red"), ("Bob", None), ("Cy", None), ("Di", None)] == filled.rows("Name", "Colour")
        assert [("Eva", "red"), ("Bob", None), ("Di", None)] == filled.rows(
            "Name", "Colour", table="item_active", order="ItemId"
        )

    def test_column_without_a_type_is_null(self, filled):
        """In a column that is stored; one that is not is left out."""
        run = filled.loaded(
            "delta", 6, {**row(1, None, 4), "Empty": None}, types={"Name": pa.null(), "Empty": pa.null()}
        )

        assert {"updated": 1, "read": 1} == some(run)
        assert (None,) == filled.rows("Name")[0]
        assert "Empty" not in filled.columns()

    def test_column_may_be_called_anything(self, case):
        """What looks like SQL, like a placeholder, or like a word of the engine's own is stored under its name."""
        types = dict.fromkeys(HOSTILE, pa.string())
        for number in range(3):
            given = dict(list(types.items())[: -1 if number == 2 else None])
            rows = [row(key, "x", number, **dict.fromkeys(given, f"{number}")) for key in (1, 2 + number)]
            case.loaded("delta", 5 + number, *rows, types=given)

        last = HOSTILE[-1]
        assert {name: ["2", "0", "1", "2"] for name in HOSTILE[:-1]} | {last: ["1", "0", "1", None]} == {
            name: [value for (value,) in case.rows(name)] for name in HOSTILE
        }

    @pytest.mark.parametrize("mark", ["%({}_1)s", "%({})s", ":{}_1", "[{}_1]", "__[POSTCOMPILE_{}_1]"])
    def test_column_may_be_called_like_a_mark_for_a_parameter(self, case, mark):
        """As SQLAlchemy writes them before a statement is complete: of the very columns that it compares and sets."""
        marks = [mark.format(name) for name in ("Id", "ItemId", "Name", "SyncedBy", "SyncedAt", "DeletedAt", "param")]
        types = dict.fromkeys(marks, pa.string())
        for number, kind in ((1, "full"), (2, "delta"), (3, "full")):
            values = dict.fromkeys(marks, f"{number}")
            case.loaded(kind, 5 + number, *(row(key, "x", number, **values) for key in (1, number)), types=types)

        assert {name: ["3", "2", "3"] for name in marks} == {n: [value for (value,) in case.rows(n)] for n in marks}
        assert {"unchanged": 1, "stale": 1, "read": 2} == some(
            case.loaded("delta", 9, row(1, "x", 3, **values), row(3, "y", 1, **values), types=types)
        )

    @pytest.mark.parametrize("key", ["{Id}", "Id}", "{{Id", "%(Id_1)s", "{0}"])
    def test_key_may_have_braces_and_marks(self, case, key):
        """It is declared as it is; braces mean something in the rule for undeclared tables only."""
        case.declare_table("braces", f"keys = ['{key}']")

        def rows(*given):
            return [{key: k, "Name": name, "ModifiedOn": day(n), "IsDeleted": False} for k, name, n in given]

        first = case.loaded("full", 5, *rows((1, "Ada", 1), (2, "Bob", 1)), table="braces", key_name=key)
        second = case.loaded("delta", 6, *rows((2, "Bo", 2), (3, "Cy", 2), (3, "Old", 1)), table="braces", key_name=key)
        third = case.loaded("full", 7, *rows((1, "Ada", 1), (3, "Cy", 2)), table="braces", key_name=key)

        assert {"inserted": 2, "read": 2} == some(first)
        assert {"inserted": 1, "updated": 1, "superseded": 1, "read": 3} == some(second)
        assert {"unchanged": 2, "absent": 1, "read": 2} == some(third)
        assert [("Ada",), ("Bo",), ("Cy",)] == case.rows("Name", table="braces", order=key)

    def test_table_may_be_called_anything(self, case):
        """Also as long as a name may be, so that its indexes need other names."""
        for name in ('y"]; drop table thing; --', "50%s", "t" * 56, "user"):
            rows = [row(1, "Ada", 1)]
            for number in (5, 6):
                case.loaded("full", number, *rows, table=name)

            assert [("Ada",)] == case.rows("Name", table=name)

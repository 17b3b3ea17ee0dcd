"""What every warehouse does with first loads, newer and older rows, and keys."""

from __future__ import annotations

import json
import random

import pyarrow as pa
import pytest

from tests.advice import advises
from tests.exports import START
from tests.suites.warehouse_case import DIFFERENT, LOOKALIKES, OURS, counts, day, row, some


class Merging:
    """First loads, newest wins and keys."""

    # -- first load and merge are one

    @pytest.mark.parametrize(
        ("kind", "keys"),
        [
            ("full", range(90)),
            ("delta", range(90)),
            ("full", (*range(40), *range(30), *range(20))),
            ("delta", ()),
        ],
        ids=["full", "delta", "full with duplicates", "delta without rows"],
    )
    def test_first_load_makes_the_table_that_a_merge_makes(self, case, kind, keys):
        """Into no table or into an empty one: same columns, same rows, same view, same outcomes."""
        chance = random.Random(len(keys))
        rows = [
            row(key, chance.choice([None, "Ada"]), chance.choice([None, 1, 2, 3]), chance.choice([None, False, True]))
            for key in keys
        ]
        case.loaded("delta", 4, table="merged")
        found = []
        for table in ("adopted", "merged"):
            run = case.loaded(kind, 5, *rows, table=table)
            names = ("Name", "ModifiedOn", "IsDeleted", "FirstSyncAt", "SyncedAt", "DeletedAt")
            view = case.rows(*names, table=f"{table}_active", order=f"{table.capitalize()}Id")
            types = [kind for name, kind in case.columns(table).items()]
            found.append((counts(run), types, case.rows(*names, table=table), view))

        assert found[0] == found[1]

    def test_first_load_of_several_slices_is_one_table(self, open_case):
        """The first slice becomes the table, the others join it."""
        case = open_case(SLICE_ROWS="10")
        rows = [row(n, f"n{n}", 1, n % 7 == 0) for n in range(40)]

        run = case.loaded("full", 6, *rows, groups=10)

        assert {"inserted": 40, "read": 40} == some(run)
        wanted = [(n, f"n{n}", day(1) if n % 7 == 0 else None, run.id) for n in range(40)]
        assert wanted == case.rows("ItemId", "Name", "DeletedAt", "SyncedBy")

    def test_later_load_of_several_slices_is_one_merge(self, open_case):
        """A key may be in two of them: the highest cursor counts."""
        case = open_case(SLICE_ROWS="10")
        case.loaded("delta", 5, row(1, "Ada", 1))
        rows = [row(n % 15, f"n{n}", n / 100) for n in range(30)]

        run = case.loaded("delta", 6, *rows, groups=10)

        assert {"superseded": 15, "inserted": 14, "stale": 1, "read": 30} == some(run)
        assert [(0, "n15"), (1, "Ada"), (2, "n17")] == case.rows("ItemId", "Name")[:3]

    def test_nothing_stays_in_staging(self, case, full):
        """After a load, after a second one, and after one that failed."""
        case.load(full)
        case.load(full, again=True)
        case.refused("full", 6, *(row(None) for _ in range(9)))

        tables = case.query("SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES")
        assert [] == [name for (name,) in tables if name.startswith("s_")]

    # -- newest wins

    def test_same_file_again_changes_nothing(self, filled, full):
        """Every row is unchanged, and the table is as it was."""
        before = filled.rows("Name", *OURS)
        filled.clock.forward(hours=1)

        again = filled.load(full, again=True)

        assert {"unchanged": 3, "read": 3} == some(again.run)
        assert before == filled.rows("Name", *OURS)

    def test_rows_are_inserted_updated_deleted_and_undeleted(self, filled):
        """Each outcome once; FirstSyncAt stays, SyncedAt and SyncedBy tell who changed the row last."""
        (first, *_) = filled.rows("SyncedBy")[0]
        moment = filled.clock.forward(hours=1).replace(tzinfo=None)

        run = filled.loaded(
            "delta",
            6,
            row(1, "Ida", 4),
            row(2, "Bob", 4, True),
            row(3, "Cy", 4),
            row(4, "Di", 4),
            row(5, "Ed", 4, True),
        )

        assert {"updated": 1, "deleted": 1, "undeleted": 1, "inserted": 2, "read": 5} == some(run)
        start = START.replace(tzinfo=None)
        assert [
            ("Ida", start, moment, run.id, None),
            ("Bob", start, moment, run.id, day(4)),
            ("Cy", start, moment, run.id, None),
            ("Di", moment, moment, run.id, None),
            ("Ed", moment, moment, run.id, day(4)),
        ] == filled.rows("Name", *OURS)
        assert first != run.id

    def test_older_rows_are_stale(self, filled):
        """They change nothing, whatever is in them; NULL is older than every cursor."""
        run = filled.loaded("delta", 6, row(1, "old", 0), row(2, "older", None), row(3, "alive", 2))

        assert {"stale": 3, "read": 3} == some(run)
        assert [("Ada",), ("Bob",), ("Cy",)] == filled.rows("Name")

    def test_highest_cursor_of_a_key_counts(self, filled):
        """Then the last in the file."""
        run = filled.loaded(
            "delta", 6, row(1, "b", 4), row(1, "a", 5), row(1, "c", None), row(2, "x", 4), row(2, "y", 4)
        )

        assert {"updated": 2, "superseded": 3, "read": 5} == some(run)
        assert [("a",), ("y",), ("Cy",)] == filled.rows("Name")

    def test_rows_with_the_cursor_of_the_stored_ones_are_compared_by_content(self, filled):
        """Beside others of the same delta, whose cursors decide."""
        filled.loaded("delta", 6, row(1, "Ada", 4), row(2, "Bob", 4), row(3, "Cy", 4, True), row(4, None, 4))

        run = filled.loaded(
            "delta", 7, row(1, "Ada", 4), row(2, "Bo", 4), row(3, "Cy", 4), row(4, "Di", 5), row(5, "new", 4),
            row(6, "b", 3), row(6, "a", 4),
        )  # fmt: skip
        again = filled.loaded("delta", 8, row(1, "Ada", 4), row(3, "Cy", 4), row(5, "old", 3))

        assert {"unchanged": 1, "updated": 2, "undeleted": 1, "inserted": 2, "superseded": 1, "read": 7} == some(run)
        assert {"unchanged": 2, "stale": 1, "read": 3} == some(again)
        assert [("Ada",), ("Bo",), ("Cy",), ("Di",), ("new",), ("a",)] == filled.rows("Name")

    def test_without_a_cursor_the_later_export_wins(self, case):
        """Of equal times, the one that comes last."""
        for number, name in ((5, "first"), (5, "same time"), (4, "earlier")):
            case.loaded("delta", number, row(1, name), row(2, None if number == 4 else "stays"), table="undated")

        assert [("same time",), ("stays",)] == case.rows("Name", table="undated")

    def test_text_cursor_is_compared_letter_by_letter(self, case):
        """As Python does: a is above B, z below é, and a blank at the end counts."""
        kinds = {"Version": pa.string()}
        steps = ["B", "a", "a ", "Z", "z", "é", "e", "🧊", "鍵"]
        for n, version in enumerate(steps):
            case.loaded("delta", 5 + n, row(1, f"n{n}", Version=version), table="numbered", types=kinds)
        rows = [row(2, version, Version=version) for version in steps]
        case.loaded("delta", 20, *rows, table="numbered", types=kinds)

        assert [("🧊", "n7"), ("🧊", "🧊")] == case.rows("Version", "Name", table="numbered")

    def test_span_of_a_text_cursor_is_reported_letter_by_letter(self, case):
        """By the same order that decides which row is newer."""
        rows = [row(n, Version=version) for n, version in enumerate(("b", "A", "a", "B"))]
        case.loaded("delta", 5, *rows, table="numbered", types={"Version": pa.string()})

        profile = case.app.warehouse.profile(case.feed("numbered"))

        assert ("A", "b") == (profile.lowest, profile.highest)

    def test_number_as_cursor_is_compared_as_a_number(self, case):
        """10 is above 9."""
        kinds = {"Version": pa.int32()}
        for number, version in ((5, 9), (6, 10), (7, 9)):
            case.loaded("delta", number, row(1, f"v{version}", Version=version), table="numbered", types=kinds)

        assert [("v10",)] == case.rows("Name", table="numbered")

    @pytest.mark.parametrize(("before", "after"), DIFFERENT.values(), ids=DIFFERENT)
    def test_any_difference_in_text_is_a_change(self, case, before, after):
        """Though the cursor is the same, and the engine may call the texts equal."""
        case.loaded("full", 5, row(1, before), row(2, after), row(3, "same"))

        run = case.loaded("full", 6, row(1, after), row(2, before), row(3, "same"))

        assert {"updated": 2, "unchanged": 1, "read": 3} == some(run)
        assert [(after,), (before,), ("same",)] == case.rows("Name")

    # -- keys

    def test_keys_that_only_look_alike_are_different(self, case):
        """Case, accents, trailing blanks, width, composition: each is a row of its own, and stays that."""
        rows = [row(key, f"{n}", 1) for n, key in enumerate(LOOKALIKES)]
        first = case.loaded("full", 5, *rows, key=pa.string())
        changed = [row(key, "new", 2) for key in LOOKALIKES[::2]]

        second = case.loaded("delta", 6, *changed, key=pa.string())
        third = case.loaded("full", 7, *changed[:1], *rows[1:], key=pa.string())

        assert {"inserted": len(LOOKALIKES), "read": len(LOOKALIKES)} == some(first)
        assert {"updated": len(changed), "read": len(changed)} == some(second)
        assert {"updated": len(changed) - 1, "unchanged": len(rows) - len(changed) + 1, "read": len(rows)} == some(
            third
        )
        wanted = {key: "new" if key == LOOKALIKES[0] else f"{n}" for n, key in enumerate(LOOKALIKES)}
        assert wanted == dict(case.rows("ItemId", "Name"))

    def test_absence_is_found_by_the_exact_key(self, case):
        """A key that differs in case or by a blank does not stand for another."""
        case.loaded("full", 5, row("a"), row("A"), row("a "), key=pa.string())

        run = case.loaded("full", 6, row("A"), key=pa.string())

        assert {"absent": 2, "unchanged": 1, "read": 1} == some(run)
        assert {"A": None, "a": day(6), "a ": day(6)} == dict(case.rows("ItemId", "DeletedAt"))

    def test_key_of_several_columns(self, case):
        """All of them together are the key."""
        kinds = {"Line": pa.string()}
        rows = [row(1, "a", Line="x"), row(1, "b", Line="X"), row(2, "c", Line="x")]
        case.loaded("full", 5, *rows, table="pair", types=kinds)

        run = case.loaded("full", 6, row(1, "new", 2, Line="X"), row(2, "c", Line="y"), table="pair", types=kinds)

        assert {"updated": 1, "inserted": 1, "absent": 2, "read": 2} == some(run)
        found = set(case.rows("PairId", "Line", "Name", "DeletedAt", table="pair"))
        assert {(1, "x", "a", day(6)), (1, "X", "new", None), (2, "x", "c", day(6)), (2, "y", "c", None)} == found

    @pytest.mark.parametrize(
        ("names", "follow"), [(("Ada", "Ada"), "former keys"), (("Ada", None), "loaded anew")], ids=["alike", "none"]
    )
    def test_other_keys_are_refused_where_stored_rows_have_not_one_each(self, case, names, follow):
        """Whatever the engine says of it. What that advises works."""
        case.loaded("full", 1, *(row(n, name, 1) for n, name in enumerate(names)))
        case.declare_table("item", 'keys = ["Name"]')
        newer = case.write("full", 2, [row(7, "Ada", 2), row(8, "Bob", 2)])

        for dry_run in (True, False):
            said = case.load(newer, dry_run=dry_run).run.error
            advises(
                "If the keys of the feed were changed in the catalog, set the former ones again, or drop its table and"
                " view and load a full with --again (sync a database or an API with --full); if not, something else"
                " wrote to the table: keep one row of each key, and load again",
                said,
            )

        if follow == "former keys":
            case.declare_table("item", 'keys = ["ItemId"]')
            assert {"inserted": 2, "absent": 2, "read": 2} == some(case.load(newer).run)
        else:
            if self.has_views:
                case.query('DROP VIEW "shop"."item_active"')
            case.query('DROP TABLE "shop"."item"')
            assert {"inserted": 2, "read": 2} == some(case.load(newer, again=True).run)

    def test_longest_key_is_stored_and_one_longer_is_rejected(self, case):
        """With the row as it was; where any length will do, both are stored."""
        most = self.longest_key or 100_000
        rows = [
            *(row(f"{n}", "short", 1) for n in range(12)),
            row("x" * most, "long", 1),
            row("y" * most + "y", "longer", 1),
        ]

        runs = [case.loaded("full", 5 + n, *rows, key=pa.string()) for n in range(2)]

        stored = dict(case.rows("ItemId", "Name"))
        assert "long" == stored["x" * most]
        assert (self.longest_key is None) == ("y" * most + "y" in stored)
        assert [0 if self.longest_key is None else 1] * 2 == [run.rejected for run in runs]
        reported = [
            (reject["code"], json.loads(reject["raw"])["Name"]) for reject in case.app.warehouse.rejects("shop.item")
        ]
        assert ([] if self.longest_key is None else [("key_too_long", "longer")] * 2) == reported

    def test_key_column_widens(self, case):
        """Rows keep their identity, and those that are gone are found."""
        case.loaded("full", 5, row(1), row(2), key=pa.int32())

        run = case.loaded("full", 6, row(1, "Ida", 2), row(1 << 40), key=pa.int64())
        again = case.loaded("full", 7, row(1, "Ida", 2), row(1 << 40), key=pa.int64())

        assert {"updated": 1, "inserted": 1, "absent": 1, "read": 2} == some(run)
        assert {"unchanged": 2, "read": 2} == some(again)
        assert "bigint" == case.columns()["ItemId"]
        assert [(1, "Ida", None), (2, "Ada", day(6)), (1 << 40, "Ada", None)] == case.rows(
            "ItemId", "Name", "DeletedAt"
        )

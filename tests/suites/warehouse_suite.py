"""What every warehouse does: a class of tests that inherits from ``WarehouseSuite`` and gives its fixtures runs them.

The subclass says where the warehouse is and how to look into it; nothing here is written for one engine.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import random
import re
import struct

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pytest

from shared.app import App
from shared.catalog import read
from shared.model import OUTCOMES, Run
from shared.pipeline import verbs
from shared.pipeline.folder import LoadOptions
from shared.pipeline.replay import replay, write_rejects
from shared.pipeline.runner import Result
from shared.sources.exports.listing import FindOptions, export_unit, find_exports
from shared.sources.exports.parquet import ExportsSource
from shared.stores import open_store
from shared.warehouses import Limits
from tests.exports import START, Clock, export_path, load_exports, open_test_app, write_parquet

Query: TypeAlias = Callable[[str], list[tuple[Any, ...]]]

CATALOG = """
[system]
name = "shop"
source = "exports"
[defaults]
cursor = "ModifiedOn"
deleted = "IsDeleted"
[undeclared]
keys = ["{table}Id"]
[tables]
hard = { keys = ["HardId"], deletes = "hard" }
undated = { keys = ["UndatedId"], cursor = false }
numbered = { keys = ["NumberedId"], cursor = "Version" }
pair = { keys = ["PairId", "Line"] }
"""
OURS = ("FirstSyncAt", "SyncedAt", "SyncedBy", "DeletedAt")
HOSTILE = (
    'x"]; DROP TABLE y; --', "x'); DROP TABLE y; --", "x]]; DROP TABLE y --", "$1", ":name", "%(name)s", "%s %% %",
    "?", "{0}", "a.b", '"', "[", "\\", "/* x", "--", "Straße 🔑 e\u0301", "two\nlines\tand a tab", " x ", "SELECT",
    "incoming", "rows", "user", "order", "_sluice_outcome", "n" * 63,
)  # fmt: skip


def day(number: float) -> dt.datetime:
    return dt.datetime(2026, 2, 1) + dt.timedelta(days=number)  # noqa: DTZ001 - as files have it


def row(
    key: Any, name: str | None = "Ada", modified: float | None = 1, deleted: bool | None = False, **more: Any
) -> dict:
    """One row of an export; Id becomes the key column of whatever table it is written for."""
    return {
        "Id": key,
        "Name": name,
        "ModifiedOn": None if modified is None else day(modified),
        "IsDeleted": deleted,
        **more,
    }


DECLARED = {
    "integer to text": (pa.int64(), [5, -7], "text", pa.string(), "x", ["5", "-7", "x"]),
    "decimal to text": (pa.decimal128(9, 2), [Decimal("1.50")], "text", pa.string(), "x", ["1.50", "x"]),
    "integer to double": (pa.int64(), [5, 2**53], "double", pa.float64(), 0.5, [5.0, 2.0**53, 0.5]),
    "decimal to double": (pa.decimal128(9, 2), [Decimal("1.50")], "double", pa.float64(), 0.25, [1.5, 0.25]),
    "text to integer": (pa.string(), [" 12 ", "-3", None], "bigint", pa.int64(), 4, [12, -3, None, 4]),
    "text to decimal": (
        pa.string(), ["1.5", "2"], "decimal(9,2)", pa.string(), "3", [Decimal("1.50"), Decimal(2), Decimal(3)],
    ),
    "text to double": (pa.string(), ["1.5", "1e3", " 2"], "double", pa.float64(), 0.5, [1.5, 1000.0, 2.0, 0.5]),
    "text to instant": (
        pa.string(), ["2026-02-24T12:00:00+01:00", "2026-02-24 12:00"], "timestamp", pa.timestamp("us"), day(1),
        [dt.datetime(2026, 2, 24, 11), dt.datetime(2026, 2, 24, 12), day(1)],  # noqa: DTZ001
    ),
    "text to date": (pa.string(), ["2026-02-24"], "date", pa.string(), "2026-02-25",
                     [dt.date(2026, 2, 24), dt.date(2026, 2, 25)]),
    "text to boolean": (pa.string(), ["yes", "0"], "boolean", pa.bool_(), True, [True, False, True]),
}  # fmt: skip
"""Arrow type and values of a file, the declared type, Arrow type and value of a later file, and all as stored."""

UNFIT = {
    "text to integer": (pa.string(), ["1", "x", "y"], "bigint", "text, and cannot become bigint .*: it has 'x', 'y'"),
    "text to small": (pa.string(), ["1", "70000"], "smallint", "it has '70000'"),
    "text to instant": (pa.string(), ["2026-02-30"], "timestamp", "it has '2026-02-30'"),
    "integer to double": (pa.int64(), [2**53 + 1], "double", "bigint, and cannot become double .*'9007199254740993'"),
    "date to double": (pa.date32(), [dt.date(2026, 2, 24)], "double", "date, which cannot become double"),
}
"""Arrow type and values of a file, the declared type, and the error."""


class WarehouseCase:
    """An app over the warehouse, and the folder where its exports arrive."""

    def __init__(self, folder: Path, query: Query, **env: str) -> None:
        self.folder, self.query, self.clock = folder, query, Clock()
        catalog = folder / "catalog"
        catalog.mkdir(parents=True, exist_ok=True)
        (catalog / "shop.toml").write_text(CATALOG, encoding="utf-8")
        self.app: App = open_test_app(folder, self.clock, **{**env, "CATALOG_PATH": str(catalog)})

    def write(
        self, kind: str, number: float, rows: Sequence[Mapping[str, Any]], *, table: str = "item", client: str = "Acme",
        key: pa.DataType | None = None, groups: int | None = None, types: Mapping[str, pa.DataType] | None = None,
        without: Sequence[str] = (),
    ) -> Path:  # fmt: skip
        """Write an export of that day; *types* are those of more columns than every export has."""
        name = f"{table.capitalize()}Id"
        told = {
            name: key or pa.int64(), "Name": pa.string(), "ModifiedOn": pa.timestamp("us"), "IsDeleted": pa.bool_(),
            **(types or {}),
        }  # fmt: skip
        schema = pa.schema([(column, kind) for column, kind in told.items() if column not in without])
        named = [{(name if column == "Id" else column): value for column, value in row.items()} for row in rows]
        stamp = f"{day(number):%Y%m%d%H%M%S}"
        return write_parquet(export_path(self.folder, kind, stamp, table, client), named, groups, schema)

    def load(self, file: Path, **options: Any) -> Result:
        told = {"system": "shop", "kind": file.parts[-4].lower(), "tables": (file.stem,), **options}
        (result,) = load_exports(self.app, str(file.parent), LoadOptions(**told))
        return result

    def loaded(self, kind: str, number: float, *rows: Mapping[str, Any], options: Any = None, **how: Any) -> Run:
        """The run that loaded an export of that day with those rows."""
        result = self.load(self.write(kind, number, rows, **how), **(options or {}))
        assert result.run is not None
        assert result.run.error is None
        return result.run

    def refused(self, kind: str, number: float, *rows: Mapping[str, Any], **how: Any) -> str:
        """What is said of such an export, which has to fail."""
        result = self.load(self.write(kind, number, rows, **how))
        assert result.failed
        assert "\n" not in result.run.error
        return result.run.error

    def rows(self, *names: str, table: str = "item", order: str | None = None) -> list[tuple[Any, ...]]:
        """Those columns of the table, in the order of its key as Python sorts it."""
        by = order or f"{table.removesuffix('_active').capitalize()}Id"
        listed = ", ".join(map(quoted, (by, *names)))
        found = sorted(self.query(f'SELECT {listed} FROM "shop".{quoted(table)}'), key=lambda row: row[0])
        return [tuple(row[1:]) for row in found]

    def columns(self, table: str = "item") -> dict[str, str]:
        """Column types as Sluice names them."""
        return dict(self.app.warehouse.profile(self.feed(table)).columns)

    def declare(self, column: str, kind: str) -> None:
        """Declare the type of a column of every table in the catalog, and open the app anew."""
        (self.folder / "catalog" / "shop.toml").write_text(
            CATALOG.replace("[undeclared]", f'types = {{ {column} = "{kind}" }}\n[undeclared]'), encoding="utf-8"
        )
        systems = read(self.folder / "catalog")
        self.app = replace(self.app, systems=systems)

    def feed(self, table: str = "item") -> Any:
        name = f"{table.capitalize()}Id"
        return self.app.systems["shop"].feed(table, [name, "Line", "Version", "ModifiedOn", "IsDeleted"])

    def contents(self) -> dict[str, Any]:
        """All tables and views of the warehouse with their rows, and the ledger."""
        listed = self.query(
            "SELECT TABLE_SCHEMA, TABLE_NAME FROM INFORMATION_SCHEMA.TABLES"
            " WHERE TABLE_SCHEMA IN ('shop', 'ingest', 'staging')"
        )
        tables = {f"{s}.{t}": self.query(f"SELECT * FROM {quoted(s)}.{quoted(t)}") for s, t in listed}
        work_items = self.app.ledger.watermark("shop.item"), self.app.ledger.watermark("shop.hard")
        return {**{name: sorted(rows, key=repr) for name, rows in sorted(tables.items())}, "ledger": work_items}


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def counts(run: Run) -> dict[str, int]:
    return {name: getattr(run, name) for name in (*OUTCOMES, "absent", "values_rejected", "read")}


def some(run: Run) -> dict[str, int]:
    return {name: count for name, count in counts(run).items() if count}


MIXED = (
    row(1, "Ida", 4), row(2, "Bob", 2), row(3, "Cy", 4), row(4, "Di", 4), row(4, "Dee", 5), row(5, "Ed", 4, True),
    *(row(n, f"n{n}", 4) for n in range(10, 30)), row(None, "Nobody", 4),
)  # fmt: skip

WIDER = {
    "smallint to integer": (pa.int16(), 7, pa.int32(), 1 << 20, "integer"),
    "smallint to bigint": (pa.int16(), 7, pa.int64(), 1 << 40, "bigint"),
    "integer to bigint": (pa.int32(), -7, pa.int64(), -(1 << 62), "bigint"),
    "smallint to decimal": (pa.int16(), 7, pa.decimal128(9, 2), Decimal("1.25"), "decimal(9,2)"),
    "integer to decimal": (pa.int32(), 7, pa.decimal128(18, 4), Decimal("1.2500"), "decimal(18,4)"),
    "bigint to decimal": (pa.int64(), 1 << 60, pa.decimal128(5, 1), Decimal("1.5"), "decimal(20,1)"),
    "more digits": (pa.decimal128(5, 2), Decimal("999.99"), pa.decimal128(9, 2), Decimal("9999999.99"), "decimal(9,2)"),
    "more decimals": (pa.decimal128(5, 2), Decimal("999.99"), pa.decimal128(9, 6), Decimal("1.000001"), "decimal(9,6)"),
    "both": (pa.decimal128(30, 2), Decimal(10**27), pa.decimal128(12, 10), Decimal("1.0000000001"), "decimal(38,10)"),
    "real to double": (pa.float32(), 0.5, pa.float64(), 1e300, "double"),
    "text": (pa.string(), "short", pa.string(), "x" * 4_001, "text"),
}

INCOMPATIBLE = {
    "integer turns text": (pa.int64(), 1, pa.string(), "x", "is bigint, but text in"),
    "integer turns double": (pa.int64(), 1, pa.float64(), 1.5, "is bigint, but double in"),
    "text turns integer": (pa.string(), "x", pa.int64(), 1, "is text, but bigint in"),
    "double turns decimal": (pa.float64(), 1.5, pa.decimal128(9, 2), Decimal(1), r"is double, but decimal\(9,2\) in"),
    "timestamp turns date": (pa.timestamp("us"), day(1), pa.date32(), day(1).date(), "is timestamp, but date in"),
    "too many digits": (pa.decimal128(38, 0), Decimal(1), pa.decimal128(9, 2), Decimal(1), r"but decimal\(9,2\) in"),
}

MOST = 10**38 - 1
FRACTIONS = (("", MOST), ("-", 1), ("", 0))
VALUES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "boolean": (pa.bool_(), [True, False, None]),
    "smallint": (pa.int16(), [-(1 << 15), (1 << 15) - 1, 0, None]),
    "integer": (pa.int32(), [-(1 << 31), (1 << 31) - 1, 0, None]),
    "bigint": (pa.int64(), [-(1 << 63), (1 << 63) - 1, 0, None]),
    "decimal of 38 digits": (pa.decimal128(38, 0), [Decimal(MOST), Decimal(-MOST), Decimal(0), None]),
    "decimal of 38 decimals": (pa.decimal128(38, 38), [Decimal(f"{sign}0.{n:038}") for sign, n in FRACTIONS]),
    "money": (pa.decimal128(18, 4), [Decimal("0.0001"), Decimal("-99999999999999.9999"), Decimal("1.0000"), None]),
    "real": (pa.float32(), [3.4028234663852886e38, 1.1754943508222875e-38, 0.10000000149011612, -1.5, 0.0, None]),
    "double": (pa.float64(), [1.7976931348623157e308, 2.2250738585072014e-308, 0.1, 1 / 3, -1e-7, 123456789.125, None]),
    "text": (pa.string(), ["", None, " ", "a", "A", "a ", " a", "á", "a\u0301", "ß", "e\u0301🧊👩\u200d👧", "鍵"]),
    "marks": (pa.string(), [",", '"', "'", "\\", "\\N", "\\.", "a\n\\.\nb", "NULL", "a\r\nb", "\t", "x\\", '","']),
    "long text": (pa.string(), ["é" * 5_000, "🧊" * 2_500, "x" * 100_000, "x"]),
    "binary": (pa.binary(), [b"", None, b"\0", b"\0\0", b"a\0\0", bytes(range(256)), b"\\x41"]),
    "date": (pa.date32(), [dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(1970, 1, 1), dt.date(1582, 10, 10), None]),
    "time": (pa.time64("us"), [dt.time(0), dt.time(23, 59, 59, 999_999), dt.time(1, 2, 3, 456_789), None]),
    "timestamp": (
        pa.timestamp("us"),
        [
            dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999),  # noqa: DTZ001
            dt.datetime(1969, 12, 31, 23, 59, 59, 999_999), dt.datetime(2026, 3, 29, 2, 30), None,  # noqa: DTZ001
        ],
    ),
}  # fmt: skip

DIFFERENT = {
    "case": ("Ada", "ADA"),
    "a trailing blank": ("Ada", "Ada "),
    "an accent": ("Ada", "Ádá"),
    "composition": ("é", "e\u0301"),
    "width": ("1", "\uff11"),
    "nothing and empty": (None, ""),
    "empty and a blank": ("", " "),
    "a long tail": ("x" * 5_000 + "a", "x" * 5_000 + "b"),
}
LOOKALIKES = ("a", "A", "a ", "á", "a\u0301", "ß", "ss", "ﬁ", "fi", "1", "\uff11", "", " ")


class WarehouseSuite:
    """Inherit, and give the fixtures ``settings`` and ``query``."""

    longest_key = 2_500
    """Characters (of one byte) that a text key may have; longer ones are rejected, or None if any length will do."""

    @pytest.fixture
    def settings(self) -> dict[str, str]:
        """WAREHOUSE_URL of an empty warehouse, and whatever else the app needs for it."""
        raise NotImplementedError

    @pytest.fixture
    def query(self) -> Query:
        """Runs one statement in that warehouse, by itself and committed: its rows, or none."""
        raise NotImplementedError

    @pytest.fixture
    def open_case(self, tmp_path: Path, settings: dict[str, str], query: Query) -> Callable[..., WarehouseCase]:
        """Each call makes another app over the same warehouse; settings of its own can be given."""
        return lambda **env: WarehouseCase(tmp_path, query, **{**settings, **env})

    @pytest.fixture
    def case(self, open_case: Callable[..., WarehouseCase]) -> WarehouseCase:
        return open_case()

    @pytest.fixture
    def full(self, case: WarehouseCase) -> Path:
        return case.write("full", 5, [row(1, "Ada", 1), row(2, "Bob", 2), row(3, "Cy", 3, True)])

    @pytest.fixture
    def filled(self, case: WarehouseCase, full: Path) -> WarehouseCase:
        """A warehouse in which three items are stored, the third of them dead."""
        assert case.load(full).run.error is None
        return case

    # -- first load and merge are one

    @pytest.mark.parametrize(
        ("kind", "keys"),
        [
            ("full", range(90)),
            ("delta", range(90)),
            ("full", (*range(40), *range(30), *range(20))),
            ("delta", ()),
        ],
        ids=["full", "delta", "full with twins", "delta without rows"],
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

    def test_span_of_a_text_cursor_is_told_letter_by_letter(self, case):
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

    def test_absence_is_told_by_the_exact_key(self, case):
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
        told = [
            (reject["code"], json.loads(reject["raw"])["Name"]) for reject in case.app.warehouse.rejects("shop.item")
        ]
        assert ([] if self.longest_key is None else [("key_too_long", "longer")] * 2) == told

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

        def told(found: Sequence[Any]) -> list[Any]:
            return [exactly(value, kind) for value in found]

        assert told(values) == told([value for (value,) in adopted])
        assert told([*reversed(values), *values]) == told([value for (value,) in merged])
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

    def test_table_may_be_called_anything(self, case):
        """Also as long as a name may be, so that its indexes need other names."""
        for name in ('y"]; drop table thing; --', "50%s", "t" * 56, "user"):
            rows = [row(1, "Ada", 1)]
            for number in (5, 6):
                case.loaded("full", number, *rows, table=name)

            assert [("Ada",)] == case.rows("Name", table=name)

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

    def test_nothing_is_known_of_an_empty_warehouse(self, case):
        """Looking at it creates nothing either."""
        history = case.app.warehouse

        assert ([], None, [], {}) == (
            history.runs(), history.run("x"), list(history.rejects("shop.item")), history.profile(case.feed()).columns,
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

    def test_mended_rejects_are_loaded_as_if_they_had_been_right(self, case, tmp_path):
        """With the export time they first came with, so that what came later stays."""
        run = case.loaded("delta", 5, *(row(n) for n in range(20)), row(None, "mended", 3))
        case.loaded("delta", 6, row(99, "later", 4))
        out = io.BytesIO()
        write_rejects(case.app.warehouse, "shop.item", None, out)
        mended = tmp_path / "mended.csv"
        for key, outcome in (("99", "stale"), ("98", "inserted")):
            mended.write_text(out.getvalue().decode().replace('no key",,', f'no key","{key}",'), newline="")

            (result,) = replay(case.app.runner, "shop.item", mended)

            assert {outcome: 1, "read": 1} == some(result.run)
            assert run.exported_at == result.run.exported_at
        assert [("mended",), ("later",)] == case.rows("Name")[-2:]

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


def exactly(value: Any, kind: str = "") -> Any:
    """What tells two values apart that Python calls equal; some drivers give a real as the nearest short double."""
    if isinstance(value, float):
        return struct.pack(">f" if kind == "real" else ">d", value)
    if isinstance(value, Decimal):
        return value.as_tuple()
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else (type(value), value)


def _plain(time: str | None) -> str | None:
    return time and time.replace("T", " ").removesuffix(".000000")

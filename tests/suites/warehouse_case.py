"""A warehouse under test: exports written, loaded and looked at, and the odd names and values that all suites use."""

from __future__ import annotations

import datetime as dt
import struct

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from shared.app import App
from shared.catalog import read
from shared.model import OUTCOMES, Run
from shared.pipeline.folder import LoadOptions
from shared.pipeline.progress import Result
from tests.exports import Clock, export_path, load_exports, open_test_app, write_parquet

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
tracked = { keys = ["TrackedId"], history = true }
trackednumbered = { keys = ["TrackednumberedId"], cursor = "Version", history = true }
trackedundated = { keys = ["TrackedundatedId"], cursor = false, history = true }
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
        without: Sequence[str] = (), key_name: str | None = None,
    ) -> Path:  # fmt: skip
        """Write an export of that day; *types* are those of more columns than every export has."""
        name = key_name or f"{table.capitalize()}Id"
        reported = {
            name: key or pa.int64(), "Name": pa.string(), "ModifiedOn": pa.timestamp("us"), "IsDeleted": pa.bool_(),
            **(types or {}),
        }  # fmt: skip
        schema = pa.schema([(column, kind) for column, kind in reported.items() if column not in without])
        named = [{(name if column == "Id" else column): value for column, value in row.items()} for row in rows]
        stamp = f"{day(number):%Y%m%d%H%M%S}"
        return write_parquet(export_path(self.folder, kind, stamp, table, client), named, groups, schema)

    def load(self, file: Path, **options: Any) -> Result:
        reported = {"system": "shop", "kind": file.parts[-4].lower(), "tables": (file.stem,), **options}
        (result,) = load_exports(self.app, str(file.parent), LoadOptions(**reported))
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
        self.catalog(CATALOG.replace("[undeclared]", f'types = {{ {column} = "{kind}" }}\n[undeclared]'))

    def declare_table(self, table: str, options: str) -> None:
        """Declare a table with those options in the catalog, and open the app anew."""
        self.catalog(f"{CATALOG}{table} = {{ {options} }}\n")

    def catalog(self, text: str) -> None:
        """Replace the catalog, and open the app anew."""
        (self.folder / "catalog" / "shop.toml").write_text(text, encoding="utf-8")
        self.app = replace(self.app, systems=read(self.folder / "catalog"))

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


def exactly(value: Any, kind: str = "") -> Any:
    """What tells two values apart that Python calls equal; some drivers give a real as the nearest short double."""
    if isinstance(value, float):
        return struct.pack(">f" if kind == "real" else ">d", value)
    if isinstance(value, Decimal):
        return value.as_tuple()
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else (type(value), value)


def _plain(time: str | None) -> str | None:
    return time and time.replace("T", " ").removesuffix(".000000")

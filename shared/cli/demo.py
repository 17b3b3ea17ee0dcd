"""What `sluice demo` does: make the exports of an imaginary system and load them step by step.

Always the same data: a full, then two deltas with updates, deletions, a row that is undeleted, rows that come
late or twice, one row without a key and one damaged file.
"""

from __future__ import annotations

import datetime as dt
import random
import shlex
import shutil
import sys

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from shared.app import App, open_app
from shared.errors import ConfigError
from shared.pipeline.folder import LoadOptions, load
from shared.pipeline.progress import Result

Row: TypeAlias = "dict[str, Any]"

FOLDER = Path(".sluice/demo")
_MARK = "made-by-sluice-demo"
_START = dt.datetime(2026, 2, 24)  # noqa: DTZ001 - the export's naive UTC
_SIZES = {"location": 300, "asset": 800, "product": 120, "order": 2_000, "orderitem": 8_000}
_KEYS = {
    "location": "LocationId",
    "asset": "AssetId",
    "product": "ProductId",
    "order": "OrderId",
    "orderitem": "OrderItemId",
}
_CITIES = ("Utrecht", "Malmö", "Łódź", "Porto", "Graz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: what it shows, and the results or rows to print."""

    title: str
    text: str
    results: Sequence[Result] = ()
    rows: Sequence[Mapping[str, Any]] = ()
    commands: Sequence[str] = ()
    """To try next: lines for a shell in the current folder."""


def play(folder: Path | None = None) -> Iterator[Step]:
    """Make the exports below *folder* and load them, a step at a time. ConfigError if something else is there."""
    home = empty(folder or FOLDER)
    exports = _Exports(home / "exports")
    warehouse = home / "warehouse.duckdb"
    app = open_app(
        {
            "WAREHOUSE_URL": f"duckdb:///{warehouse.resolve()}",
            "LEDGER_URL": f"sqlite:///{(home / 'ledger.db').resolve()}",
        }
    )
    yield _load(
        app,
        exports.full(),
        "1. A full export arrives",
        "Five tables, all new. First loads are renamed into place.",
    )
    yield _load(
        app, exports.first_delta(), "2. Six hours later, a delta",
        "Updates and deletions; one location has no key and is rejected. asset.parquet is truncated:\n"
        "it fails, and the other tables are loaded.",
    )  # fmt: skip
    yield _load(
        app, exports.second_delta(), "3. Another delta",
        "A deleted location comes back, some rows come twice, and some are stale: older than what is stored.\n"
        "asset.parquet is complete again.",
    )  # fmt: skip
    yield _load(
        app, exports.root, "4. Load the whole folder",
        "What is loaded is skipped; only the damaged file is tried again.",
    )  # fmt: skip
    yield Step(
        title="5. Query the warehouse",
        text=f"For example, in {warehouse}:\n  {_QUERY}",
        rows=select(warehouse, _QUERY),
    )
    settings = {"WAREHOUSE_URL": f"duckdb:///{warehouse}", "LEDGER_URL": f"sqlite:///{home / 'ledger.db'}"}
    words = [f"{name}={shlex.quote(value)}" for name, value in settings.items()]
    start = " ".join((*words, shlex.join(_program())))
    yield Step(
        title="6. Continue from here",
        text="History and rejects are tables too (ingest.run, ingest.rejected). With the settings of this demo:",
        commands=[f"{start} {words}" for words in ("history", "rejects coolr.location", "feeds")],
    )


def _program() -> list[str]:
    """What starts this program again: `sluice`, unless it is not on the PATH."""
    if shutil.which("sluice"):
        return ["sluice"]
    return [sys.argv[0]] if Path(sys.argv[0]).name == "sluice" else [sys.executable, "-m", "shared"]


_QUERY = (
    "SELECT l.City, count(*) AS locations, count(*) FILTER (l.DeletedAt IS NOT NULL) AS closed,"
    " max(l.SyncedAt - l.FirstSyncAt > INTERVAL 0 SECOND) AS ever_changed"
    " FROM coolr.location l GROUP BY l.City ORDER BY l.City"
)


def _load(app: App, folder: Path, title: str, text: str) -> Step:
    return Step(title=title, text=text, results=list(load(app.runner, app.settings, str(folder), LoadOptions())))


def select(warehouse: Path, query: str) -> list[Row]:
    """The rows of a query of a warehouse of a demo."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        found = connection.execute(query)
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def empty(folder: Path) -> Path:
    """*folder*, empty; only what an earlier demo left may be thrown away."""
    if folder.exists():
        if not (folder / _MARK).exists():
            raise ConfigError(f"{folder} exists and is not from an earlier demo", fix="Choose another with --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / _MARK).touch()
    return folder


class _Exports:
    """The source system: its rows change between exports."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._random = random.Random(7)  # noqa: S311 - the same demo every time, not a secret
        self._rows = {table: {n: self._new(table, n) for n in range(1, size + 1)} for table, size in _SIZES.items()}

    def full(self) -> Path:
        for table, rows in self._rows.items():
            self._write("Full", "20260224000000", table, list(rows.values()))
        return self.root / "Full/Contoso/20260224000000"

    def first_delta(self) -> Path:
        now = _START + dt.timedelta(hours=5)
        for table, size in _SIZES.items():
            changed = [self._touch(table, n, now) for n in range(2, size, 11)]
            added = [self._add(table, now) for _ in range(3)]
            gone = [self._touch(table, n, now, IsDeleted=True) for n in (1, 4, 6)]
            self._write("Delta", "20260224060000", table, changed + added + gone)
        folder = self.root / "Delta/Contoso/20260224060000"
        nameless = self._new("location", 999) | {"LocationId": None, "ModifiedOn": now}
        self._write(
            "Delta",
            "20260224060000",
            "location",
            [*pq.read_table(folder / "location.parquet").to_pylist(), nameless],
        )
        whole = (folder / "asset.parquet").read_bytes()
        (folder / "asset.parquet").write_bytes(whole[: len(whole) // 2])
        return folder

    def second_delta(self) -> Path:
        before, now = _START - dt.timedelta(days=2), _START + dt.timedelta(hours=11)
        for table, size in _SIZES.items():
            changed = [self._touch(table, n, now) for n in range(3, size, 17)]
            back = [self._touch(table, 4, now, IsDeleted=False)]
            late = [self._rows[table][n] | {"ModifiedOn": before} for n in (8, 10)]
            missed = [row for row in self._rows[table].values() if row["ModifiedOn"] == _START + dt.timedelta(hours=5)]
            self._write("Delta", "20260224120000", table, late + changed + back + changed[:2] + missed)
        return self.root / "Delta/Contoso/20260224120000"

    def _add(self, table: str, now: dt.datetime) -> Row:
        number = max(self._rows[table]) + 1
        self._rows[table][number] = self._new(table, number) | {"CreatedOn": now, "ModifiedOn": now}
        return self._rows[table][number]

    def _touch(self, table: str, number: int, now: dt.datetime, **changes: Any) -> Row:
        row = self._rows[table][number]
        name = {"Name": f"{row['Name']} *"} if "Name" in row else {}
        self._rows[table][number] = row | name | {"ModifiedOn": now} | changes
        return self._rows[table][number]

    def _new(self, table: str, number: int) -> Row:
        created = _START - dt.timedelta(minutes=self._random.randrange(60, 500_000))
        known: Row = {_KEYS[table]: number} | self._content(table, number)
        return known | {"IsDeleted": False, "CreatedOn": created, "ModifiedOn": created}

    def _content(self, table: str, number: int) -> Row:
        pick = self._random.randrange
        if table == "location":
            return {"Code": f"L{number:05}", "Name": f"Store {number}", "City": _CITIES[pick(len(_CITIES))]}
        if table == "asset":
            return {
                "SerialNumber": f"SN-{pick(10**9):09}",
                "LocationId": pick(1, 301),
                "Tags": ["cooler", f"size-{pick(4)}"],
            }
        if table == "product":
            return {"Name": f"Crème {number}", "Price": pick(100, 900) / 100}
        if table == "order":
            return {"LocationId": pick(1, 301), "PlacedOn": _START - dt.timedelta(days=pick(90))}
        return {"OrderId": pick(1, 2_001), "ProductId": pick(1, 121), "Quantity": pick(1, 48)}

    def _write(self, kind: str, stamp: str, table: str, rows: Sequence[Row]) -> None:
        path = self.root / kind / "Contoso" / stamp / f"{table}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(rows)), path, compression="snappy")

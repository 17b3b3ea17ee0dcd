"""Files in which everything collides, loaded into a warehouse and into the model beside it, and compared."""

from __future__ import annotations

import contextlib
import datetime as dt
import random
import tempfile

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from hypothesis import HealthCheck, currently_in_test_context, event, note, settings
from hypothesis import strategies as st

from shared.app import App
from shared.errors import TransientError
from shared.model import OUTCOMES, Run, to_text
from shared.pipeline.folder import LoadOptions
from shared.warehouses.duckdb.engine import DuckDBWarehouse
from shared.warehouses.merge.session import Session
from shared.warehouses.server.warehouse import ServerWarehouse
from tests.exports import START, Clock, export_path, load_exports, open_test_app, write_parquet
from tests.standins.fakes import Calls, Watched
from tests.warehouses.merge.reference_model import BY, DELETED, FIRST, SYNCED, Export, Rules, Table

EPOCH = START.replace(tzinfo=None)
FAR = EPOCH + dt.timedelta(days=30)
"""A cursor later than any export here may have."""

_ARROW = {
    "int32": pa.int32(),
    "int64": pa.int64(),
    "decimal": pa.decimal128(18, 2),
    "text": pa.string(),
    "null": pa.null(),
}
_CURSOR = {"instant": pa.timestamp("us"), "number": pa.int64()}

FAST = settings(
    deadline=None,
    print_blob=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@dataclass(frozen=True)
class Law:
    """What kind of feed is loaded."""

    cursor: str | None = "instant"
    """Kind of cursor: ``instant``, ``number``, or None."""
    hard: bool = False
    history: bool = False
    """Whether every version of a row is kept."""

    @property
    def rules(self) -> Rules:
        return Rules(key="ItemId", cursor="Cursor" if self.cursor else None, deleted="IsDeleted", hard=self.hard)

    def catalog(self, folder: Path) -> Path:
        """A catalog whose rule for undeclared tables fits."""
        folder.mkdir(parents=True)
        cursor = '"Cursor"' if self.cursor else "false"
        (folder / "coolr.toml").write_text(
            f"""
            [system]
            name = "coolr"
            source = "exports"
            [defaults]
            cursor = {cursor}
            deleted = "IsDeleted"
            deletes = "{"hard" if self.hard else "soft"}"
            history = {str(self.history).lower()}
            max_reject_share = 1
            [undeclared]
            keys = ["{{table}}Id"]
            """
        )
        return folder


@dataclass(frozen=True)
class File:
    """An export together with how it lies on disk."""

    export: Export
    row_group_size: int
    types: tuple[tuple[str, str], ...]

    def write(self, root: Path, law: Law) -> Path:
        """Write it below *root*, as the only export there."""
        at = self.export.exported_at
        stamp = at.strftime("%Y%m%d%H%M%S") if at else "latest"
        cursor = [("Cursor", _CURSOR[law.cursor])] if law.cursor else []
        if "Cursor" in self.export.untyped:
            cursor = [("Cursor", pa.null())]
        schema = pa.schema(
            [
                ("ItemId", pa.int64()),
                *cursor,
                ("IsDeleted", pa.bool_()),
                *((n, _ARROW[t]) for n, t in self.types),
            ]
        )
        write_parquet(export_path(root, self.export.kind, stamp, "item"), self.export.rows, self.row_group_size, schema)
        return root


class Bench:
    """The app and the model side by side, over files that each lie in a folder of their own."""

    def __init__(self, folder: Path, law: Law, files: Sequence[File], slice_rows: int, **env: str) -> None:
        self.clock = Clock(START + dt.timedelta(hours=2))
        places = {"SLICE_ROWS": str(slice_rows), "CATALOG_PATH": str(law.catalog(folder / "catalog"))}
        self.app = open_test_app(folder, self.clock, **places, **env)
        self.model = Table(law.rules)
        self._files = files
        self._roots = [file.write(folder / str(n), law) for n, file in enumerate(files)]

    def load(self, number: int, *, dry_run: bool = False, calls: Calls | None = None) -> None:
        """Load one of the files, again if it was loaded before, and compare everything there is to compare.

        One of the *calls* to warehouse and ledger may get lost; then it is loaded once more, as an operator would.
        """
        now = self.clock.forward(minutes=1).replace(tzinfo=None)
        options = LoadOptions(again=True, max_delete_share=1.0, dry_run=dry_run)
        run, export = self._run(str(self._roots[number]), options, calls or Calls()), self._files[number].export
        tell(note, f"load {number} {'dry ' if dry_run else ''}{export} -> {run}")
        model = self.model.copy() if dry_run else self.model
        counts, taken = model.merge(run.id, export, now)
        for outcome, count in counts.items():
            if count:
                tell(event, outcome)

        assert None is run.error
        assert counts == {name: getattr(run, name) for name in (*OUTCOMES, "absent")}
        assert len(export.rows) == run.read
        assert (taken.exported_at and to_text(taken.exported_at)) == run.exported_at
        assert taken.complete == run.complete
        assert self._expected() == stored(self.app)

    def _run(self, root: str, options: LoadOptions, calls: Calls) -> Run:
        watched: dict[str, Any] = {
            "warehouse": Watched(self.app.warehouse, calls),
            "ledger": Watched(self.app.ledger, calls),
        }
        app = replace(self.app, **watched)
        try:
            (result,) = load_exports(app, root, options)
        except TransientError:
            result = None
        if calls.lost:
            tell(event, f"lost {calls.lost.split(',')[1]}")
            # What is not in the ledger has not happened, and is to be repeated still; what is there is done.
            (result,) = load_exports(app, root, replace(options, again=not calls.done("commit")))
        assert result is not None
        return result.run or self.app.warehouse.runs("coolr.item", limit=1)[0]

    def _expected(self) -> dict[int, dict[str, Any]]:
        names = [*self.model.columns, FIRST, SYNCED, BY, DELETED]
        return {key: {name: row.get(name) for name in names} for key, row in self.model.rows.items()}


def tell(how: Callable[[str], object], text: str) -> None:
    """Say it to hypothesis, if it is running."""
    if currently_in_test_context():
        how(text)


def stored(app: App) -> dict[int, dict[str, Any]]:
    """The table as it is in the warehouse, by key."""
    if isinstance(app.warehouse, ServerWarehouse):
        rows = app.warehouse._engine.units.run(_looked)
    else:
        with app.warehouse._session() as session:
            rows = _looked(session)
    assert len(rows) == len({row["ItemId"] for row in rows})
    return {row["ItemId"]: row for row in rows}


def _looked(session: Session) -> list[dict[str, Any]]:
    names = list(session.columns("coolr", "item"))
    table = sa.table("item", *map(sa.column, names), schema="coolr")
    return [dict(zip(names, row, strict=True)) for row in session.rows(sa.select(table))] if names else []


@contextlib.contextmanager
def bench(law: Law, files: Sequence[File], slice_rows: int, **env: str) -> Iterator[Bench]:
    """A bench over a DuckDB file, or over what *env* says."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as held:
        made = Bench(Path(folder), law, files, slice_rows, **env)
        if isinstance(made.app.warehouse, DuckDBWarehouse):  # opening its file anew for each verb is most of the time
            held.enter_context(made.app.warehouse._session())
        yield made


# -- any files at all


def minutes(number: int) -> dt.datetime:
    return EPOCH + dt.timedelta(minutes=number)


VALUES: dict[str, list[Any]] = {
    "int32": [None, 1, 2],
    "int64": [None, 1, 1 << 40],
    "decimal": [None, Decimal("1.00"), Decimal("2.50")],
    "text": [None, "x", "y"],
    "null": [None],
}


def wild_file(chance: random.Random, law: Law, most_rows: int) -> File:
    """A file no source may have meant: few keys, cursors and times, so that everything collides."""
    cursors = {
        "instant": [*[*map(minutes, range(1, 5))] * 4, None, FAR],
        "number": [None, 9, 10, 11, 12],
        None: [None],
    }[law.cursor]
    kinds = {
        "A": chance.choice(["int32", "int32", "int64", "decimal", "null", "absent"]),
        "B": chance.choice(["text", "text", "null", "absent"]),
    }
    types = tuple((name, kind) for name, kind in kinds.items() if kind != "absent")
    rows = [
        {
            "ItemId": chance.choice([1, 2, 3] * 6 + [None]),
            **({"Cursor": chance.choice(cursors)} if law.cursor else {}),
            "IsDeleted": chance.choice([False, False, None, True]),
            **{name: chance.choice(VALUES[kind]) for name, kind in types},
        }
        for _ in range(chance.randint(0, most_rows))
    ]
    untyped = [name for name, kind in types if kind == "null"]
    if law.cursor and all(row["Cursor"] is None for row in rows) and chance.random() < 0.5:
        untyped.append("Cursor")
    columns = ["ItemId", *(["Cursor"] if law.cursor else []), "IsDeleted", *(name for name, _ in types)]
    export = Export(
        kind=chance.choice(["full", "full", "delta"]),
        exported_at=chance.choice([*[*map(minutes, range(1, 5))] * 2, None]),
        columns=tuple(name for name in columns if name not in untyped),
        rows=rows,
        untyped=tuple(untyped),
    )
    return File(export, chance.randint(1, 3), types)


Loads = tuple[Law, list[File], list[tuple[int, bool, Calls]], int]


class NoRepair(Table):
    """Rules nearly like ours: a full has no more weight than a delta."""

    def _wins(self, row: Any, stored: Any, taken: Any, repairs: bool) -> bool:
        return super()._wins(row, stored, taken, repairs=False)


class LastFull(Table):
    """Rules nearly like ours: what a late file brings is gone since the last full, not the first that lacked it."""

    def _late_for(self, taken: Any) -> dt.datetime | None:
        if super()._late_for(taken) is None:
            return None
        return max(merged.exported_at for merged in self.history.values() if merged.complete)


class AllBuried(Table):
    """Rules nearly like ours: a full buries also what was exported after it."""

    def _bury(self, before: Any, here: Any, taken: Any, now: dt.datetime) -> int:
        earlier = {key: {**row, BY: taken.run} for key, row in before.items()}
        self.history[taken.run] = taken
        return super()._bury(earlier, here, taken, now)


def telling(law: Law, files: Sequence[File]) -> int:
    """How many of the rules nearly like ours these files tell from ours."""
    tables = [kind(law.rules) for kind in (Table, NoRepair, LastFull, AllBuried)]
    for run, file in enumerate(files):
        for table in tables:
            table.merge(str(run), file.export, EPOCH)
    return sum(table.rows != tables[0].rows for table in tables)


@st.composite
def wild_loads(draw: st.DrawFn) -> Loads:
    """Files from a seed, which lie more thickly than what hypothesis draws: the most revealing of some tries."""
    cursor = draw(st.sampled_from(["instant", "instant", "number", None]))
    law = Law(cursor, hard=draw(st.sampled_from([False, False, True])))
    chance = random.Random(draw(st.integers(0, 1 << 32)))
    size, rows = draw(st.integers(3, 6)), draw(st.sampled_from([6, 4, 2]))
    tries = [[wild_file(chance, law, rows) for _ in range(size)] for _ in range(20)]
    files = max(tries, key=lambda files: telling(law, files))
    again = draw(st.lists(st.sampled_from(range(len(files))), max_size=2))
    dry = draw(st.sampled_from([None, None, *range(len(files))]))
    order = (*range(len(files)), *again)
    lost = draw(st.sampled_from([None, *range(len(order))]))
    calls = Calls(draw(st.integers(1, 14)), after=draw(st.booleans()))
    loads = [(n, place == dry, calls if place == lost != dry else Calls()) for place, n in enumerate(order)]
    return law, files, loads, draw(st.sampled_from([2, 3, 100]))


def check_wild(reported: Loads, **env: str) -> None:
    law, files, loads, slice_rows = reported
    note(f"{law} slices of {slice_rows}")
    with bench(law, files, slice_rows, **env) as side_by_side:
        for number, dry_run, calls in loads:
            side_by_side.load(number, dry_run=dry_run, calls=calls)

"""Whatever comes in whatever order: each load does what the plain model says, and the order does not matter."""

from __future__ import annotations

import contextlib
import datetime as dt
import tempfile

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

from shared.app import App, LoadOptions
from shared.model import OUTCOMES, instant
from tests.exports import START, Clock, export_path, open_test_app, write_parquet
from tests.reference_model import BY, DELETED, FIRST, SYNCED, Export, Rules, Table

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

_FAST = settings(
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

    def __init__(self, folder: Path, law: Law, files: Sequence[File], slice_rows: int) -> None:
        self.clock = Clock(START + dt.timedelta(hours=2))
        self.app = open_test_app(
            folder, self.clock, SLICE_ROWS=str(slice_rows), CATALOG_PATH=str(law.catalog(folder / "catalog"))
        )
        self.model = Table(law.rules)
        self._files = files
        self._roots = [file.write(folder / str(n), law) for n, file in enumerate(files)]

    def load(self, number: int, *, dry_run: bool = False) -> None:
        """Load one of the files, again if it was loaded before, and compare everything there is to compare."""
        now = self.clock.forward(minutes=1).replace(tzinfo=None)
        options = LoadOptions(again=True, max_delete_share=1.0, dry_run=dry_run)
        (result,) = self.app.load(str(self._roots[number]), options)
        run, export = result.run, self._files[number].export
        assert run is not None
        note(f"load {number} {'dry ' if dry_run else ''}{export} -> {run}")
        model = self.model.copy() if dry_run else self.model
        counts, taken = model.merge(run.id, export, now)
        for outcome, count in counts.items():
            if count:
                event(outcome)

        assert None is run.error
        assert counts == {name: getattr(run, name) for name in (*OUTCOMES, "absent")}
        assert len(export.rows) == run.read
        assert (taken.exported_at and instant(taken.exported_at)) == run.exported_at
        assert taken.complete == run.complete
        assert self._expected() == stored(self.app)

    def _expected(self) -> dict[int, dict[str, Any]]:
        names = [*self.model.columns, FIRST, SYNCED, BY, DELETED]
        return {key: {name: row.get(name) for name in names} for key, row in self.model.rows.items()}


def stored(app: App) -> dict[int, dict[str, Any]]:
    """The table as it is in the warehouse, by key."""
    with app.warehouse._session() as session:
        if not session.columns("coolr", "item"):
            return {}
        found = session.connection.execute('SELECT * FROM "coolr"."item"')
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    assert len(rows) == len({row["ItemId"] for row in rows})
    return {row["ItemId"]: row for row in rows}


@contextlib.contextmanager
def bench(law: Law, files: Sequence[File], slice_rows: int) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as folder:
        made = Bench(Path(folder), law, files, slice_rows)
        with made.app.warehouse._session():  # held open: opening the file anew for each verb is most of the time
            yield made


# -- any files at all


def minutes(number: int) -> dt.datetime:
    return EPOCH + dt.timedelta(minutes=number)


@st.composite
def wild_files(draw: st.DrawFn, law: Law) -> File:
    """A file no source may have meant: few keys, cursors and times, so that everything collides."""
    known = {"instant": [None, FAR, *[*map(minutes, range(1, 5))] * 3], "number": [None, 9, 10, 11, 12], None: [None]}[
        law.cursor
    ]
    kinds = {"A": draw(st.sampled_from(["int32", "int32", "int64", "decimal", "null", "absent"])),
             "B": draw(st.sampled_from(["text", "text", "null", "absent"]))}  # fmt: skip
    values = {
        "int32": st.sampled_from([None, 1, 2]),
        "int64": st.sampled_from([None, 1, 1 << 40]),
        "decimal": st.sampled_from([None, Decimal("1.00"), Decimal("2.50")]),
        "text": st.sampled_from([None, "x", "y"]),
        "null": st.none(),
    }
    types = tuple((name, kind) for name, kind in kinds.items() if kind != "absent")
    row = st.fixed_dictionaries(
        {
            "ItemId": st.sampled_from([1, 2, 3] * 4 + [None]),
            **({"Cursor": st.sampled_from(known)} if law.cursor else {}),
            "IsDeleted": st.sampled_from([False, False, None, True]),
            **{name: values[kind] for name, kind in types},
        }
    )
    rows = draw(st.lists(row, min_size=draw(st.sampled_from([0, 2, 3])), max_size=5))
    untyped = [name for name, kind in types if kind == "null"]
    if law.cursor and all(row["Cursor"] is None for row in rows) and draw(st.booleans()):
        untyped.append("Cursor")
    given_columns = ["ItemId", *(["Cursor"] if law.cursor else []), "IsDeleted", *(name for name, _ in types)]
    export = Export(
        kind=draw(st.sampled_from(["full", "full", "delta"])),
        exported_at=draw(st.sampled_from([*[*map(minutes, range(1, 5))] * 2, None])),
        columns=tuple(name for name in given_columns if name not in untyped),
        rows=rows,
        untyped=tuple(untyped),
    )
    return File(export, draw(st.integers(1, 3)), types)


@st.composite
def wild_loads(draw: st.DrawFn) -> tuple[Law, list[File], list[tuple[int, bool]], int]:
    law = Law(
        draw(st.sampled_from(["instant", "instant", "number", None])), draw(st.sampled_from([False, False, True]))
    )
    files = draw(st.lists(wild_files(law), min_size=1, max_size=5))
    which = st.integers(0, len(files) - 1)
    loads = draw(st.lists(st.tuples(which, st.sampled_from([False, False, False, True])), min_size=1, max_size=6))
    return law, files, loads, draw(st.integers(1, 3))


def check_wild(told: tuple[Law, list[File], list[tuple[int, bool]], int]) -> None:
    law, files, loads, slice_rows = told
    note(f"{law} slices of {slice_rows}")
    with bench(law, files, slice_rows) as side_by_side:
        for number, dry_run in loads:
            side_by_side.load(number, dry_run=dry_run)


@settings(_FAST, max_examples=80)
@given(wild_loads())
def test_every_load_does_what_the_rules_say(told):
    """Any files, in any order and as often as one likes: each column and each count is as the rules have it."""
    check_wild(told)


@pytest.mark.slow
@settings(_FAST, max_examples=3000)
@given(wild_loads())
def test_every_load_does_what_the_rules_say_in_many_more_cases(told):
    """The same, for as long as a coffee takes."""
    check_wild(told)

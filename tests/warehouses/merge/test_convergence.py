"""Whatever comes in whatever order: each load does what the plain model says, and the order does not matter."""

from __future__ import annotations

import datetime as dt
import random

from collections.abc import Sequence
from typing import Any

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouses.merge.reference_model import BY, DELETED, FIRST, SYNCED, Export, Table
from tests.warehouses.merge.wild_files import EPOCH, FAST, File, Law, bench, check_wild, minutes, stored, wild_loads

pytestmark = pytest.mark.usefixtures("reading")  # both ways into DuckDB


@settings(FAST, max_examples=6)
@given(wild_loads())
def test_every_load_does_what_the_rules_say(reported):
    """Any files, in any order, as often as one likes, with a lost call: each column and count is as the rules say."""
    check_wild(reported)


@pytest.mark.slow
@pytest.mark.long
@settings(FAST, max_examples=160)
@given(wild_loads())
def test_every_load_does_what_the_rules_say_in_many_more_cases(reported):
    """The same, for as long as a coffee takes."""
    check_wild(reported)


# -- files of a source that keeps the law


class Simulated:
    """A system with three rows that people change, and that is exported now and then.

    It keeps the law of convergence: what is visible of a key never goes back to a lower cursor, and a key that
    comes back after it was purged has a higher one than before. Changes may become visible long after their
    cursor was set, keys may share a cursor, and rows may be flagged, taken back and purged.
    """

    def __init__(self) -> None:
        self.exports: list[Export] = []
        self._visible: dict[int, dict[str, Any]] = {}
        self._held: dict[int, dict[str, Any]] = {}
        self._cursors: dict[int, int] = {}
        self._tick = self._version = 0

    def live(self, chance: random.Random) -> None:
        """Let one thing happen."""
        key = chance.randint(1, 3)
        self._held_comes(key)
        match chance.choice(["change", "change", "change", "held change", "purge", "full", "delta", "delta"]):
            case "change":
                self._visible[key] = self._changed(key, chance)
            case "held change":
                self._held[key] = self._changed(key, chance)
            case "purge":
                self._visible.pop(key, None)
            case kind:
                self._export(kind, chance)

    def _held_comes(self, key: int) -> None:
        if key in self._held:
            self._visible[key] = self._held.pop(key)

    def _changed(self, key: int, chance: random.Random) -> dict[str, Any]:
        self._tick = max(self._tick + chance.choice([0, 1]), self._cursors.get(key, 0) + 1)
        self._cursors[key] = self._tick
        self._version += 1
        flagged = chance.random() < 0.3
        return {"ItemId": key, "Cursor": minutes(self._tick), "IsDeleted": flagged, "A": self._version}

    def _export(self, kind: str, chance: random.Random) -> None:
        shown = [row for row in self._visible.values() if kind == "full" or chance.random() < 0.7]
        chance.shuffle(shown)
        at = minutes(10 * len(self.exports))
        columns = ("ItemId", "Cursor", "IsDeleted", "A")
        self.exports.append(Export(kind=kind, exported_at=at, columns=columns, rows=shown))


@st.composite
def lawful_exports(draw: st.DrawFn, most: int) -> tuple[list[Export], list[int]]:
    """Exports in the order of their times, and another order: fulls in theirs, deltas and repetitions anywhere."""
    source = Simulated()
    for seed in draw(st.lists(st.integers(0, 1 << 32), min_size=8, max_size=40)):
        if len(source.exports) < most:
            source.live(random.Random(seed))
    exports = source.exports
    chance = random.Random(draw(st.integers(0, 1 << 32)))
    fulls = [n for n, export in enumerate(exports) if export.kind == "full"]
    order = [n for n, export in enumerate(exports) if export.kind == "delta"]
    chance.shuffle(order)
    places = sorted((chance.randint(0, len(order)) for _ in fulls), reverse=True)
    for full, place in zip(reversed(fulls), places, strict=True):
        order.insert(place, full)
    for again in draw(st.lists(st.sampled_from(order or [0]), max_size=2)) if order else []:
        order.insert(chance.randint(order.index(again) + 1, len(order)), again)
    return exports, order


def end(table: Table) -> dict[int, dict[str, Any]]:
    """The part of a table that must not depend on the order of loads."""
    return {key: {n: v for n, v in row.items() if n not in (FIRST, SYNCED, BY)} for key, row in table.rows.items()}


def loaded_into_model(exports: Sequence[Export], order: Sequence[int]) -> Table:
    table = Table(Law().rules)
    for run, number in enumerate(order):
        table.merge(str(run), exports[number], EPOCH + dt.timedelta(hours=2, minutes=run))
    return table


@settings(FAST, max_examples=300)
@given(lawful_exports(most=7))
def test_the_rules_converge(reported):
    """By the rules alone, any order of deltas with repetitions ends in the same columns and DeletedAt.

    The law the source must keep, found by breaking each part of it: every export shows one moment, and two of the
    same time the same one; per key, what later exports show never has a lower cursor, and no other content
    for the same cursor; a key that was missing from a full comes back with a higher cursor only.
    """
    exports, order = reported

    in_order, otherwise = loaded_into_model(exports, range(len(exports))), loaded_into_model(exports, order)

    assert end(in_order) == end(otherwise)


def check_lawful(reported: tuple[list[Export], list[int]]) -> None:
    exports, order = reported
    files = [File(export, 2, (("A", "int64"),)) for export in exports]
    tables = []
    for loads in (range(len(exports)), order):
        with bench(Law(), files, slice_rows=100) as side_by_side:
            for number in loads:
                side_by_side.load(number)
            tables.append(end(side_by_side.model))

    assert tables[0] == tables[1]


@settings(FAST, max_examples=4)
@given(lawful_exports(most=4))
def test_the_order_of_deltas_does_not_matter(reported):
    """What the rules promise for a lawful source, the warehouse keeps: each load as the model, the end the same."""
    check_lawful(reported)


@pytest.mark.slow
@pytest.mark.long
@settings(FAST, max_examples=100)
@given(lawful_exports(most=6))
def test_the_order_of_deltas_does_not_matter_in_many_more_cases(reported):
    """The same, with more exports and more often."""
    check_lawful(reported)


def test_a_key_that_comes_back_with_its_old_cursor_waits_for_the_next_full():
    """Outside the law: a full overtaken by a delta buries what the delta could not show to be newer; the next heals."""
    row = {"ItemId": 1, "Cursor": minutes(1), "IsDeleted": False, "A": 1}
    columns = tuple(row)
    seen = Export(kind="full", exported_at=minutes(10), columns=columns, rows=[row])
    purged = Export(kind="full", exported_at=minutes(20), columns=columns, rows=[])
    restored = Export(kind="delta", exported_at=minutes(30), columns=columns, rows=[row])
    healing = Export(kind="full", exported_at=minutes(40), columns=columns, rows=[row])
    files = [File(export, 2, (("A", "int64"),)) for export in (seen, purged, restored, healing)]
    ends = []
    for order in ([0, 1, 2], [0, 2, 1], [0, 2, 1, 3]):
        with bench(Law(), files, slice_rows=100) as side_by_side:
            for number in order:
                side_by_side.load(number)
            ends.append(stored(side_by_side.app)[1][DELETED])

    assert [None, minutes(20), None] == ends

"""What becomes of few rows, decided in memory: the rules of the merge once more."""

from __future__ import annotations

import datetime as dt

from decimal import Decimal
from typing import Any

import pytest

from shared.model import Feed
from shared.warehouses.merge.changes import BY, DELETED, FIRST, SYNCED, Rules
from shared.warehouses.merge.in_memory import ColumnNames, Decided, Stored, Write, by_key, decide, higher
from tests.suites.warehouse_case import day
from tests.warehouses.azure_sql.direct.samples import feed

EXPORTED, NOW = day(10), day(20)


def decided(
    incoming: list[dict[str, Any]], known: list[Stored] | None = None, of: Feed | None = None, **rules: Any
) -> Decided:
    reported = {"now": NOW, "exported": EXPORTED, "overtaken_by": None, "full": False, **rules}
    spelling = ColumnNames(keys=("Id",), stored={"Id": "Id", "At": "At", "Gone": "Gone", "Name": "NAME"})
    found = by_key(spelling, known or [], map(spelling.key, incoming))
    assert found is not None
    return decide(Rules(feed=of or feed(), **reported), "this", spelling, found, incoming)


def new(key: Any = 1, at: Any = day(2), name: Any = "Ada", gone: bool | None = False) -> dict[str, Any]:  # noqa: B008
    return {"Id": key, "At": at, "Gone": gone, "Name": name}


def old(
    key: Any = 1, at: Any = day(2), name: Any = "Ada", *, gone: bool | None = False,  # noqa: B008
    exported: dt.datetime | None = day(9), deleted: dt.datetime | None = None,  # noqa: B008
) -> Stored:  # fmt: skip
    ours = {FIRST: day(1), SYNCED: day(1), BY: "that", DELETED: deleted}
    return Stored({"Id": key, "At": at, "Gone": gone, "NAME": name, **ours}, exported)


def outcomes(reported: Decided) -> dict[str, int]:
    return {name: count for name, count in reported.counts.items() if count}


def test_new_row_is_inserted_with_our_columns():
    """By the table's own spelling of the names."""
    (write,) = decided([new()]).writes

    ours = {FIRST: NOW, SYNCED: NOW, BY: "this", DELETED: None}
    assert Write("insert", (1,), {"Id": 1, "At": day(2), "Gone": False, "NAME": "Ada", **ours}) == write


def test_changed_row_is_updated_but_for_its_key_and_first_time():
    """FirstSyncAt never changes again."""
    (write,) = decided([new(at=day(3), name="Bob")], [old()]).writes

    ours = {SYNCED: NOW, BY: "this", DELETED: None}
    assert Write("update", (1,), {"At": day(3), "Gone": False, "NAME": "Bob", **ours}) == write


@pytest.mark.parametrize(
    ("incoming", "known", "expected"),
    [
        (new(name="Bob"), old(), "updated"),
        (new(), old(), "unchanged"),
        (new(at=day(1), name="Bob"), old(), "stale"),
        (new(name="Bob"), old(exported=day(11)), "stale"),
        (new(name="Bob"), old(exported=EXPORTED), "updated"),
        (new(name="Bob"), old(exported=None), "updated"),
        (new(at=day(3), name="Bob"), old(exported=day(11)), "updated"),
        (new(at=None, name="Bob"), old(), "stale"),
        (new(at=None, name="Bob"), old(at=None), "updated"),
        (new(name="Bob"), old(at=None, exported=day(11)), "updated"),
        (new(at=day(3), gone=True), old(), "deleted"),
        (new(at=day(3), gone=None), old(), "updated"),
        (new(at=day(3)), old(gone=True, deleted=day(2)), "undeleted"),
        (new(gone=True), old(gone=True, deleted=day(2)), "unchanged"),
        (new(gone=True), old(gone=True, deleted=day(7)), "updated"),
    ],
)
def test_newest_wins(incoming, known, expected):
    """By cursor; among equals by the time of the export."""
    assert {expected: 1} == outcomes(decided([incoming], [known]))


@pytest.mark.parametrize(
    ("stored", "incoming"),
    [("", None), (None, ""), ("a", "a "), ("a", "A"), ("é", "e\u0301"), (1, True), (0, False), (b"a", b"a\0")],
)
def test_values_that_look_alike_differ(stored, incoming):
    """What a collation or Python takes for the same is not."""
    assert {"updated": 1} == outcomes(decided([new(name=incoming)], [old(name=stored)]))


@pytest.mark.parametrize(
    ("stored", "incoming"),
    [(Decimal("1.00"), Decimal("1.0")), (Decimal(7), 7), (0.0, -0.0), (0.10000000149011612, 0.10000000149011612)],
)
def test_numbers_are_compared_by_value(stored, incoming):
    """Scale, width and the sign of zero do not matter, as in SQL."""
    assert {"unchanged": 1} == outcomes(decided([new(name=incoming)], [old(name=stored)]))


@pytest.mark.parametrize(
    ("rows", "name"),
    [
        ([new(at=day(3), name="x"), new(at=day(2), name="y")], "x"),
        ([new(at=day(3), name="x"), new(at=day(3), name="y")], "y"),
        ([new(at=None, name="x"), new(at=day(1), name="y")], "y"),
        ([new(at=day(1), name="x"), new(at=None, name="y")], "x"),
        ([new(at=None, name="x"), new(at=None, name="y")], "y"),
    ],
)
def test_of_rows_with_one_key_the_highest_cursor_counts(rows, name):
    """Then the last in file order; the other is superseded."""
    reported = decided(rows)

    assert {"superseded": 1, "inserted": 1} == outcomes(reported)
    assert [name] == [write.values["NAME"] for write in reported.writes]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (10, 9, True), (9, 10, False), (9, 9, False), (None, 9, False), (9, None, True), (None, None, False),
        (Decimal("10.5"), Decimal("9.5"), True), ("10", "9", False), ("b", "a", True), ("B", "a", False),
        ("a ", "a", False), ("a", "a ", False), ("a", "a\t", True), ("\uff5e", "\U0001f511", True),
    ],
)  # fmt: skip
def test_cursors_are_compared_as_the_server_sorts_them(one, other, expected):
    """Numbers as numbers; text in UTF-16, with blanks at its end that do not count."""
    assert expected is higher(one, other)


def test_late_file_changes_no_active_row_and_brings_dead_ones():
    """A complete full exported later is merged already."""
    reported = decided([new(1, day(8), "Bob"), new(2)], [old(1)], overtaken_by=day(15))

    assert {"stale": 1, "inserted": 1} == outcomes(reported)
    assert [day(15)] == [write.values[DELETED] for write in reported.writes]


def test_late_file_updates_a_dead_row():
    """Which stays dead, since the full that lacked it."""
    reported = decided([new(1, day(8), "Bob")], [old(deleted=day(12))], overtaken_by=day(15))

    assert {"updated": 1} == outcomes(reported)
    assert [day(15)] == [write.values[DELETED] for write in reported.writes]


def test_deletions_can_be_hard():
    """The row goes; what was never there is not kept as a tombstone."""
    reported = decided([new(1, day(3), gone=True), new(2, gone=True)], [old()], feed(deletes="hard"))

    assert {"deleted": 1, "unchanged": 1} == outcomes(reported)
    assert [Write("delete", (1,), {})] == reported.writes


@pytest.mark.parametrize(
    ("cursor", "exported", "known", "expected"),
    [
        (day(3), EXPORTED, [], day(3)),
        (None, EXPORTED, [], EXPORTED),
        (3, EXPORTED, [], EXPORTED),
        (3, None, [old(at=1, deleted=day(7))], day(7)),
        (3, None, [], NOW),
    ],
)
def test_flagged_row_is_dead_since_its_cursor_or_else_its_export(cursor, exported, known, expected):
    """Then since it was found dead before, then since now."""
    (write,) = decided([new(at=cursor, gone=True)], known, exported=exported).writes

    assert expected == write.values[DELETED]


def test_without_cursor_all_rows_are_equally_new():
    """The time of the export decides."""
    of = feed(cursor=None)

    assert {"updated": 1} == outcomes(decided([new(at=day(1), name="Bob")], [old()], of))
    assert {"stale": 1} == outcomes(decided([new(at=day(3), name="Bob")], [old(exported=day(11))], of))


def test_stored_rows_are_found_to_the_letter():
    """The server may find more; two with one key are not for this way."""
    spelling = ColumnNames(keys=("Id",), stored={"Id": "Id"})
    rows = [old("a"), old("a "), old("A")]

    assert {("a",): rows[0]} == by_key(spelling, rows, [("a",)])
    assert by_key(spelling, [*rows, old("a")], [("a",)]) is None
    assert {} == by_key(spelling, [old("b"), old("b")], [("a",)])

"""Versions of rows: the last one is the row of the table, and the order of files does not matter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hypothesis import given, settings

from shared.app import App
from tests.warehouses.merge.test_convergence import lawful_exports
from tests.warehouses.merge.wild_files import FAST, File, Law, Loads, bench, stored, wild_loads

KEPT = ("ItemId", "ValidFrom", "ValidTo", "Cursor", "A", "IsDeleted", "DeletedAt")


def versions(app: App, *names: str) -> list[tuple[Any, ...]]:
    with app.warehouse._session() as session:
        listed = ", ".join(f'"{name}"' for name in names)
        found = session.connection.execute(f'SELECT {listed} FROM "coolr"."item_history"').fetchall()
    return sorted(found, key=repr)


def check_last(loads: Loads) -> None:
    """After every load, what holds still is what the table has."""
    law, files, order, slice_rows = loads
    with bench(replace(law, hard=False, history=True), files, slice_rows) as side_by_side:
        for number, dry_run, calls in order:
            side_by_side.load(number, dry_run=dry_run, calls=calls)
            rows = stored(side_by_side.app)
            if rows:
                names = list(next(iter(rows.values())))
                last = [one[1:] for one in versions(side_by_side.app, "ValidTo", *names) if one[0] is None]
                assert sorted(last, key=repr) == sorted((tuple(row.values()) for row in rows.values()), key=repr)


@settings(FAST, max_examples=5)
@given(wild_loads())
def test_what_holds_still_is_the_row_of_the_table(loads):
    """Whatever comes, in whatever order, with a lost call."""
    check_last(loads)


@pytest.mark.slow
@pytest.mark.long
@settings(FAST, max_examples=25)
@given(wild_loads())
def test_what_holds_still_is_the_row_of_the_table_in_many_more_cases(loads):
    """The same, more often."""
    check_last(loads)


def check_order(reported: Any) -> None:
    exports, order = reported
    files = [File(export, 2, (("A", "int64"),)) for export in exports]
    ends = []
    for loads in (range(len(exports)), order):
        with bench(Law(history=True), files, slice_rows=100) as side_by_side:
            for number in loads:
                side_by_side.load(number)
            ends.append(versions(side_by_side.app, *KEPT) if stored(side_by_side.app) else [])

    assert ends[0] == ends[1]


@settings(FAST, max_examples=4)
@given(lawful_exports(most=4))
def test_history_does_not_depend_on_the_order_of_files(reported):
    """Of a source that keeps the law of convergence."""
    check_order(reported)


@pytest.mark.slow
@pytest.mark.long
@settings(FAST, max_examples=20)
@given(lawful_exports(most=6))
def test_history_does_not_depend_on_the_order_of_files_in_many_more_cases(reported):
    """The same, with more exports and more often."""
    check_order(reported)

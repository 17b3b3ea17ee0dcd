"""Mode append: the rows of every run as they came."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from deltalake import DeltaTable

from tests.advice import advises, follows
from tests.suites.warehouse_case import WarehouseCase, row, some
from tests.warehouses.lake import lake_tables


@pytest.fixture
def case(tmp_path):
    found = WarehouseCase(
        tmp_path, lambda text: lake_tables.query(tmp_path / "lake", text), WAREHOUSE_URL=f"lake:///{tmp_path}/lake"
    )
    found.declare_table("item", 'keys = ["ItemId"], lake = "append"')
    return found


def table(case):
    return DeltaTable(str(case.folder / "lake" / "shop" / "item"))


def test_the_rows_of_every_run_are_kept_as_they_came(case):
    """Older ones, repeated ones and deleted ones alike; each with its run, time, kind and day."""
    first = case.loaded("full", 5, row(1, "Ada", 1), row(2, "Bob", 2))
    second = case.loaded("delta", 6, row(1, "Ida", 6), row(1, "Ada", 1), row(2, "Bob", 2, True))

    assert [{"inserted": 2, "read": 2}, {"inserted": 3, "read": 3}] == [some(first), some(second)]
    kept = case.query('SELECT "ItemId", "Name", "SyncedBy", "SyncedKind", "SyncedOn" FROM shop.item ORDER BY ALL')
    day = dt.date.fromisoformat(first.finished[:10])
    assert [(1, "Ada", *end) for end in sorted([(first.id, "full", day), (second.id, "delta", day)])] == kept[:2]
    assert (1, "Ida", second.id, "delta", day) == kept[2]
    assert 5 == len(kept)


def test_files_of_earlier_runs_stay_and_lie_by_day(case):
    """One more file with each run, none less, also where a column is new."""
    case.loaded("full", 5, row(1))
    before = set(table(case).file_uris())
    case.clock.now += dt.timedelta(days=1)
    case.loaded("delta", 6, row(2, Colour="red"), types={"Colour": pa.string()})

    after = table(case)
    assert before < set(after.file_uris())
    assert ["SyncedOn"] == after.metadata().partition_columns
    assert 2 == len({uri.split("SyncedOn=")[1][:10] for uri in after.file_uris()})
    assert [(None,), ("red",)] == case.query('SELECT "Colour" FROM shop.item ORDER BY "ItemId"')


def test_a_wider_type_keeps_every_row_and_its_day(case):
    """The only change that writes files anew: a Delta column has one type."""
    case.loaded("full", 5, row(1, Amount=7), types={"Amount": pa.int32()})
    case.clock.now += dt.timedelta(days=1)
    case.loaded("delta", 6, row(2, Amount=1 << 40), types={"Amount": pa.int64()})

    assert [(7,), (1 << 40,)] == case.query('SELECT "Amount" FROM shop.item ORDER BY "ItemId"')
    assert 2 == len(case.query('SELECT DISTINCT "SyncedOn" FROM shop.item'))
    assert {"bigint"} == {kind for name, kind in case.columns().items() if name == "Amount"}


def test_columns_named_like_ours_are_kept_beside_them(case):
    """As with the four columns of merged tables."""
    case.loaded("full", 5, row(1, SyncedKind="mine"), types={"SyncedKind": pa.string()})

    assert [("mine", "full")] == case.query('SELECT "SyncedKind_source", "SyncedKind" FROM shop.item')


def test_a_dry_run_shows_what_would_be_appended(case):
    """And appends nothing, to a table that is there or not."""
    for number in (5, 6):
        result = case.load(case.write("full", number, [row(1)]), dry_run=True)
        assert ["inserted"] == [change.outcome for change in result.changes]
        case.loaded("full", number, row(1))
        assert number - 4 == len(case.query("SELECT 1 FROM shop.item"))


def test_a_profile_counts_all_rows(case):
    """There are no deleted ones."""
    case.loaded("full", 5, row(1), row(2, modified=3))

    found = case.app.warehouse.profile(case.feed("item"))

    assert (2, 2, 0) == (found.rows, found.active, found.deleted)
    assert "2026-02-04T00:00:00.000000" == found.highest


@pytest.mark.parametrize(
    ("advice", "mode", "other"),
    [
        follows('Declare lake = "append" for it in the catalog, or move the table\'s folder away', "append", "current"),
        follows(
            'Declare lake = "current" for it in the catalog, or move the table\'s folder away', "current", "append"
        ),
    ],
)
def test_another_mode_than_the_tables_is_refused_until_it_is_declared_again(case, advice, mode, other):
    """Neither rows nor columns of the two go together."""
    case.declare_table("item", f'keys = ["ItemId"], lake = "{mode}"')
    case.loaded("full", 5, row(1))
    case.declare_table("item", f'keys = ["ItemId"], lake = "{other}"')

    refused = case.refused("delta", 6, row(2))
    case.declare_table("item", f'keys = ["ItemId"], lake = "{mode}"')
    case.loaded("delta", 7, row(3))

    assert f"is kept as {mode}, but feed shop.item has lake = {other!r}" in refused
    advises(advice, refused)
    assert [(1,), (3,)] == case.rows("ItemId")

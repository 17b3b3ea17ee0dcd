"""A feed is set back by whatever its cursor is; history says who did it, and the next run what it reads again."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from shared.errors import ConfigError, ConflictError
from shared.ledger.sqlite import SqliteLedger
from shared.model import Record, Watermark, to_text
from shared.pipeline.backfill import BackfillRequest, BackfillResult, backfill
from shared.warehouses.duckdb.engine import DuckDBWarehouse
from tests.advice import advised
from tests.pipeline.test_pull import SyncedTable, times
from tests.servers.source_table import at, item

pytestmark = pytest.mark.usefixtures("in_a_hurry")

NOW = "2026-03-01T08:00:00.000000"


def set_back(synced: SyncedTable, to: str | None, by: str = "ada", feed: str = "shop.item") -> BackfillResult:
    request = BackfillRequest(feed=feed, to=to, requested_by=by, now=NOW)
    systems = {"shop": synced.system}
    return backfill(request, systems=systems, warehouse=synced.warehouse, ledger=synced.ledger)


CURSORS: dict[str, tuple[Any, list[Any], str, str]] = {
    "instant": (sa.DateTime(), [at(n) for n in range(4)], "2026-02-24T13:02:00+01:00", to_text(at(2))),
    "digits": (sa.DateTime(), [at(n) for n in range(4)], "20260224120200", to_text(at(2))),
    "date": (sa.Date(), [at(1440 * n).date() for n in (-3, -2, -1, 0)], "2026-02-23", "2026-02-23"),
    "number": (sa.BigInteger(), [8, 9, 10, 11], "1e1", "10"),
    "decimal": (sa.Numeric(9, 2), [Decimal(8), Decimal(9), Decimal("10.5"), Decimal(11)], "10.5", "10.5"),
}


@pytest.mark.parametrize(("kind", "values", "to", "after"), CURSORS.values(), ids=CURSORS)
def test_next_run_reads_again_from_there_and_notes_who_wanted_it(source_table, tmp_path, kind, values, to, after):
    """Once: the run after it goes on from the watermark again."""
    rows = [{"Id": n, "At": value} for n, value in enumerate(values)]
    source_table.create(item(cursor=kind), *rows)
    synced = SyncedTable(tmp_path, source_table)
    synced.sync()
    top = synced.mark

    result = set_back(synced, to)
    (reread,), (next_run,) = synced.sync(), synced.sync()

    assert (f"reread from {after} after a backfill by ada", 2) == (reread.note, reread.unchanged)
    assert (None, 1, top) == (next_run.note, next_run.unchanged, synced.mark)
    assert result.recorded is not None
    assert (top, after, "ada", NOW) == tuple(
        getattr(result.recorded, name) for name in ("before", "after", "requested_by", "at")
    )
    assert [result.recorded] == synced.warehouse.backfills("shop.item")


@pytest.mark.parametrize(
    ("kind", "value", "wrong"),
    [
        (sa.DateTime(), at(1), "17"), (sa.DateTime(), at(1), "yesterday"), (sa.DateTime(), at(1), "2026-02-30"),
        (sa.DateTime(), at(1), "0001-01-01T00:00:00+14:00"), (sa.DateTime(), at(1), ""),
        (sa.Date(), at(1).date(), "12"), (sa.BigInteger(), 7, "2026-02-24"), (sa.BigInteger(), 7, "1.5"),
        (sa.BigInteger(), 7, "nan"), (sa.Numeric(9, 2), Decimal(7), "inf"), (sa.Numeric(9, 2), Decimal(7), "seven"),
    ],
)  # fmt: skip
def test_value_that_is_none_of_the_cursor_is_refused_with_an_example_that_is(
    source_table, tmp_path, kind, value, wrong
):
    """And nothing is changed."""
    source_table.create(item(cursor=kind), {"Id": 1, "At": value})
    synced = SyncedTable(tmp_path, source_table)
    synced.sync()
    before = synced.ledger.watermark("shop.item")

    with pytest.raises(ConfigError, match=r"shop\.item cannot be set back to") as refused:
        set_back(synced, wrong)

    assert before == synced.ledger.watermark("shop.item")
    assert [] == synced.warehouse.backfills("shop.item")
    example = refused.value.fix.removeprefix("Write a ").partition("such as ")[2].partition(",")[0]
    set_back(synced, example)


def test_reset_reads_everything_again(source_table, tmp_path):
    """Rows without a cursor, too, which only a first run reads."""
    table = source_table.create(item(sa.Column("Name", sa.String(9))), *times(None, 1, 2))
    synced = SyncedTable(tmp_path, source_table)
    synced.sync()
    source_table.do(table.update().values(Name="new"))

    set_back(synced, None)
    (run,) = synced.sync()

    assert ("reread from the beginning after a backfill by ada", 3) == (run.note, run.updated)


def test_repeating_a_backfill_changes_nothing(source_table, tmp_path):
    """A later time neither; the first to ask is the one who is noted."""
    source_table.create(item(), *times(1, 2, 3))
    synced = SyncedTable(tmp_path, source_table)
    synced.sync()

    first = set_back(synced, to_text(at(2)))
    mark = synced.ledger.watermark("shop.item")
    again = [set_back(synced, to_text(at(minute)), by="bob") for minute in (2, 3)]

    assert [None, None] == [one.recorded for one in again]
    assert f"its watermark is {to_text(at(2))}" in (again[0].reason or "")
    assert mark == synced.ledger.watermark("shop.item")
    assert [first.recorded] == synced.warehouse.backfills("shop.item")


def test_backfill_that_broke_off_is_in_history_once(source_table, tmp_path, monkeypatch):
    source_table.create(item(), *times(1, 2, 3))
    synced = SyncedTable(tmp_path, source_table)
    synced.sync()
    with monkeypatch.context() as patched:
        patched.setattr(SqliteLedger, "rewind", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            set_back(synced, to_text(at(2)))

    done = set_back(synced, to_text(at(2)))

    assert done.recorded is not None
    assert [done.recorded] == synced.warehouse.backfills("shop.item")
    assert to_text(at(2)) == synced.mark


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("to", ["2026-02-24", None])
def test_table_that_was_never_read_or_has_no_cursor_has_nothing_to_set_back(source_table, tmp_path, to):
    """The reason is said; nothing is recorded."""
    synced = SyncedTable(tmp_path, source_table)
    whole = SyncedTable(tmp_path, source_table, {"cursor": None})

    assert (None, "no row of it has been read yet, so the next run begins at the beginning") == set_back(synced, to)[
        ::2
    ]
    assert (None, "it has no cursor: each run reads all of it anyway") == set_back(whole, to)[::2]
    assert [] == synced.warehouse.backfills("shop.item")


def test_table_that_the_catalog_does_not_name_is_set_back_by_its_watermark(source_table, tmp_path):
    """It was found in the database by an earlier run."""
    source_table.create(item(), *times(1, 2, 3))
    synced = SyncedTable(tmp_path, source_table)
    synced.sync()
    del synced.system.tables["item"]  # type: ignore[attr-defined]

    assert set_back(synced, to_text(at(2))).recorded is not None
    assert to_text(at(2)) == synced.mark


def test_backfill_is_refused_while_a_run_is_under_way(source_table, tmp_path):
    """From the first staged row until its staging tables are dropped. A run that it overtakes otherwise gives up."""
    source_table.create(item(), *times(1, 2, 3))
    synced = SyncedTable(tmp_path, source_table)
    synced.sync()
    early = synced.plan(synced.unit())
    set_back(synced, to_text(at(2)))
    with pytest.raises(ConflictError, match="advanced by another run"):
        synced.publish(early, synced.stage(early))
    other = DuckDBWarehouse(tmp_path / "warehouse.duckdb", "250MB", 5.0)

    with advised("Try again when it has ended") as advice:
        set_back(synced, None)
    assert "a run of shop.item is under way" == advice.error.problem
    other.tidy(early)
    synced.warehouse.tidy(early)

    assert set_back(synced, None).recorded is not None


class Files:
    """A feed of files, and what the ledger has of three of them."""

    def __init__(self, synced: SyncedTable) -> None:
        self.synced = synced
        synced.system.tables["item"]["source"] = "exports"  # type: ignore[index]
        for day in (1, 2, 3):
            record = Record(work=f"w{day}", name=f"{day}.parquet", run=f"r{day}", status="done", times=0,
                            exported_at=f"2026-02-0{day}T00:00:00.000000")  # fmt: skip
            synced.ledger.commit("shop.item", [record], self._raised(day))

    def _raised(self, day: int) -> Watermark:
        etag = self.synced.ledger.watermark("shop.item").etag
        return Watermark(f"2026-02-0{day}T00:00:00.000000", "timestamp", etag)


@pytest.mark.parametrize(("to", "count"), [("2026-02-02", 2), ("20260203000000", 1), (None, 3)])
def test_files_are_loaded_again_whose_export_was_later(source_table, tmp_path, to, count):
    """A repetition names the same ones, and history has it once."""
    synced = Files(SyncedTable(tmp_path, source_table)).synced

    first, again = set_back(synced, to), set_back(synced, to)

    assert count == len(first.forgotten) == len(again.forgotten)
    assert ["forgotten"] * count == [record.status for record in first.forgotten]
    (recorded,) = synced.warehouse.backfills("shop.item")
    assert (count, first.recorded) == (recorded.forgotten, recorded)
    assert to_text(at(0))[:8] + "03T00:00:00.000000" == synced.mark


def test_files_exported_earlier_are_left_alone(source_table, tmp_path):
    synced = Files(SyncedTable(tmp_path, source_table)).synced

    assert (None, (), "nothing was loaded since then") == set_back(synced, "2026-02-04")
    with pytest.raises(ConfigError, match="that is no time"):
        set_back(synced, "17")
    with pytest.raises(ConfigError, match=r"there is no feed 'shop\.other'"):
        set_back(synced, None, feed="shop.other")

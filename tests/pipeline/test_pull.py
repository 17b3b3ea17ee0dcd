"""Whole runs of pull feeds from real databases into a warehouse: windows follow each other, whatever comes between."""

from __future__ import annotations

import json

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from shared.catalog import System
from shared.errors import ConflictError, TransientError
from shared.ledger.sqlite import SqliteLedger
from shared.model import OUTCOMES, Plan, Run, Staged, Unit, from_json, to_text
from shared.pipeline import pull, verbs
from shared.warehouses import Limits
from shared.warehouses.duckdb.engine import DuckDBWarehouse
from tests.servers.source_table import MOMENT, SourceTable, at, item

pytestmark = pytest.mark.usefixtures("in_a_hurry")

NOW = to_text(at(600))


class SyncedTable:
    """One feed and its verbs; what travels between them goes through JSON, as between machines."""

    def __init__(
        self, folder: Path, source_table: SourceTable, options: dict[str, Any] | None = None, **settings: int
    ) -> None:
        reported = {"keys": ("Id",), "cursor": "At", "max_reject_share": 1.0, **(options or {})}
        self.system = System(
            name="shop", source="sql", client=None, tables={"item": reported}, undeclared=None, file=Path("shop.toml")
        )
        self.source_table, self.settings = source_table, settings
        self.warehouse = DuckDBWarehouse(folder / "warehouse.duckdb", "250MB", 5.0)
        self.ledger = SqliteLedger(folder / "ledger.db", 5.0)
        self.reported = reported

    def source(self) -> Any:
        return self.source_table.source(**{**self.reported, **self.settings})

    def unit(self, now: str = NOW) -> Unit | None:
        feed = self.system.feed("item", ["Id", "At"])
        return pull.window(feed, self.source(), self.ledger, now=now)

    def plan(self, unit: Unit, now: str = NOW) -> Plan:
        run = verbs.run_for("shop.item", passed_on(unit), self.ledger, now)
        assert run is not None
        return passed_on(verbs.plan(run, unit, self.source(), self.system))

    def stage(self, plan: Plan) -> list[Staged]:
        return [
            passed_on(verbs.stage(plan, part, self.source(), self.warehouse, cursor_ahead=86_400))
            for part in plan.slices
        ]

    def publish(self, plan: Plan, staged: list[Staged], now: str = NOW) -> Run:
        limits = Limits(max_delete_share=1.0)
        merged = verbs.publish(plan, staged, self.warehouse, self.ledger, limits=limits, finished=now)
        verbs.tidy(plan, self.warehouse)
        return merged.run

    def sync(self, now: str = NOW) -> list[Run]:
        """Windows until there is no more."""
        runs = []
        more = True
        while more and (unit := self.unit(now)):
            plan = self.plan(unit, now)
            runs.append(self.publish(plan, self.stage(plan), now))
            more = unit.more
        return runs

    @property
    def mark(self) -> str | None:
        return self.ledger.watermark("shop.item").value

    def stored(self) -> dict[int, Any]:
        """Whether each key is active."""
        with self.warehouse._session() as session:
            found = session.connection.execute('SELECT "Id", "DeletedAt" IS NULL FROM shop.item').fetchall()
        return dict(sorted(found))


def passed_on(record: Any) -> Any:
    return from_json(type(record), json.loads(json.dumps(asdict(record))))


def counts(run: Run) -> dict[str, int]:
    return {name: count for name in (*OUTCOMES, "absent") if (count := getattr(run, name))}


def times(*minutes: int | None) -> list[dict[str, Any]]:
    return [{"Id": n, "At": None if minute is None else at(minute)} for n, minute in enumerate(minutes)]


def test_a_second_sync_takes_what_is_new(source_table, tmp_path):
    """And the row at the watermark once more, which is unchanged."""
    table = source_table.create(item(), *times(1, 2, 3))
    synced = SyncedTable(tmp_path, source_table)
    first = synced.sync()
    source_table.do(table.update().where(table.c.Id == 0).values(At=at(4)), table.insert().values(Id=3, At=at(5)))
    second = synced.sync()

    assert [{"inserted": 3}] == [counts(run) for run in first]
    assert [{"updated": 1, "inserted": 1, "unchanged": 1}] == [counts(run) for run in second]
    assert to_text(at(5)) == synced.mark


def test_a_row_committed_late_is_caught_within_the_overlap(source_table, tmp_path):
    """Its cursor was set before the window was read, and it was not to be seen then."""
    table = source_table.create(item(), *times(1, 10))
    synced = SyncedTable(tmp_path, source_table, {"overlap_seconds": 300})
    with source_table.engine.connect() as slow:
        slow.execute(table.insert().values(Id=8, At=at(6)))
        slow.execute(table.insert().values(Id=9, At=at(4)))
        early = synced.sync()
        slow.commit()
    synced.sync()

    assert [{"inserted": 2}] == [counts(run) for run in early]
    assert {0: True, 1: True, 8: True} == synced.stored()  # that of minute 4 is below the overlap
    assert to_text(at(10)) == synced.mark


def test_a_number_committed_late_is_caught_within_the_overlap(source_table, tmp_path):
    """As an auto-increment key is, which a transaction has taken before others commit."""
    table = source_table.create(item(), *({"Id": n, "At": at(1)} for n in (1, 40)))
    synced = SyncedTable(tmp_path, source_table, {"cursor": "Id", "overlap_numbers": 30})
    with source_table.engine.connect() as slow:
        slow.execute(table.insert().values(Id=12, At=at(1)))
        slow.execute(table.insert().values(Id=9, At=at(1)))
        synced.sync()
        slow.commit()
    (late,) = synced.sync()

    assert {"inserted": 1, "unchanged": 1} == counts(late)
    assert {1: True, 12: True, 40: True} == synced.stored()  # 9 is below the overlap
    assert "40" == synced.mark


def test_windows_follow_each_other_until_all_is_there(source_table, tmp_path):
    """Each is merged and moves the watermark before the next is planned."""
    source_table.create(item(), *times(None, 1, 1, 1, 2, 3, 3, 4, 5))
    synced = SyncedTable(tmp_path, source_table, sync_rows=2, slice_rows=2, batch_rows=1)
    runs = synced.sync()

    assert [{"inserted": 4}, {"inserted": 3, "unchanged": 3}, {"inserted": 2, "unchanged": 2}] == [*map(counts, runs)]
    assert dict.fromkeys(range(9), True) == synced.stored()
    assert to_text(at(5)) == synced.mark


@pytest.mark.parametrize("reached", ["nothing", "planned", "staged", "published"])
def test_a_crash_between_or_within_windows_loses_nothing(source_table, tmp_path, reached):
    """Whoever comes next goes on from the watermark."""
    source_table.create(item(), *times(1, 2, 3, 4, 5))
    first = SyncedTable(tmp_path, source_table, sync_rows=2)
    unit = first.unit()
    assert unit is not None
    if reached != "nothing":
        plan = first.plan(unit)
    if reached in ("staged", "published"):
        staged = first.stage(plan)
    if reached == "published":
        first.publish(plan, staged)
    runs = SyncedTable(tmp_path, source_table, sync_rows=2).sync()

    assert dict.fromkeys(range(5), True) == first.stored()
    assert (2 if reached == "published" else 3) == len(runs)


def test_a_row_that_changes_while_it_is_read_comes_with_the_next_window(source_table, tmp_path):
    """It is beyond the ceiling then; the watermark does not pass what was planned."""
    table = source_table.create(item(), *times(1, 2))
    synced = SyncedTable(tmp_path, source_table)
    plan = synced.plan(synced.unit())
    source_table.do(table.update().where(table.c.Id == 0).values(At=at(7)))
    run = synced.publish(plan, synced.stage(plan))
    mark = synced.mark
    (later,) = synced.sync()

    assert ({"inserted": 1}, to_text(at(2))) == (counts(run), mark)
    assert {"inserted": 1, "unchanged": 1} == counts(later)


def test_of_two_runs_from_one_watermark_the_second_gives_up(source_table, tmp_path):
    """It merges nothing, and the next one goes on."""
    table = source_table.create(item(), *times(1))
    synced = SyncedTable(tmp_path, source_table)
    slow = synced.plan(synced.unit())
    staged = synced.stage(slow)
    source_table.do(table.insert().values(Id=5, At=at(5)))
    synced.sync()

    with pytest.raises(ConflictError, match="advanced by another run"):
        synced.publish(slow, staged)
    assert {0: True, 5: True} == synced.stored()


def test_a_run_recognises_its_own_commit(source_table, tmp_path):
    """Its host did not hear that it was done, and asks once more."""
    source_table.create(item(), *times(1, 2))
    synced = SyncedTable(tmp_path, source_table)
    plan = synced.plan(synced.unit())
    staged = synced.stage(plan)
    first, again = synced.publish(plan, staged), synced.publish(plan, staged)

    assert first == again
    assert to_text(at(2)) == synced.mark


def test_a_source_that_is_away_moves_nothing(private_postgres, tmp_path):
    """What was planned is staged when it is back."""
    source_table = SourceTable(private_postgres, private_postgres.create_database())
    source_table.create(item(), *times(1, 2))
    synced = SyncedTable(tmp_path, source_table)
    plan = synced.plan(synced.unit())
    private_postgres.kill()
    with pytest.raises(TransientError):
        synced.stage(plan)
    away = synced.mark
    private_postgres.start()
    synced.publish(plan, synced.stage(plan))

    assert (None, to_text(at(2))) == (away, synced.mark)


def whole(
    change: Callable[[SourceTable, sa.Table], None], source_table: SourceTable, folder: Path
) -> tuple[SyncedTable, Run]:
    """A table without cursor, read, changed and read again; the second run."""
    key = sa.Column("Id", sa.Integer, primary_key=True, autoincrement=False)
    table = sa.Table("item", sa.MetaData(), key, sa.Column("A", sa.Integer))
    source_table.create(table, *({"Id": n, "A": n} for n in range(4)))
    synced = SyncedTable(folder, source_table, {"cursor": None}, slice_rows=2, batch_rows=1)
    synced.sync(to_text(at(0)))
    change(source_table, table)
    (run,) = synced.sync(to_text(at(1)))
    return synced, run


def test_a_table_without_cursor_is_a_complete_full_each_time(source_table, tmp_path):
    """What it lacks is deleted at the time of the run; nothing keeps a watermark."""

    def change(source_table, table):
        source_table.do(table.delete().where(table.c.Id == 0), table.update().where(table.c.Id == 1).values(A=9))

    synced, run = whole(change, source_table, tmp_path)

    assert {"unchanged": 2, "updated": 1, "absent": 1} == counts(run)
    assert {0: False, 1: True, 2: True, 3: True} == synced.stored()
    assert (True, to_text(at(1))) == (run.complete, run.exported_at)
    assert None is synced.mark


def test_an_older_read_of_a_whole_table_does_not_undo_a_newer_one(source_table, tmp_path):
    """It was planned before, and is published after."""
    table = sa.Table("item", sa.MetaData(), sa.Column("Id", sa.Integer, primary_key=True))
    source_table.create(table, {"Id": 1}, {"Id": 2})
    synced = SyncedTable(tmp_path, source_table, {"cursor": None})
    slow = synced.plan(synced.unit(to_text(at(1))), to_text(at(1)))
    staged = synced.stage(slow)
    source_table.do(table.delete().where(table.c.Id == 1), table.insert().values(Id=3))
    synced.sync(to_text(at(2)))
    synced.publish(slow, staged)

    assert {1: False, 2: True, 3: True} == synced.stored()


def test_a_whole_table_is_work_again_at_any_other_time_only(source_table, tmp_path):
    """A host that repeats a run that is done finds that nothing is to be done."""
    synced, run = whole(lambda source_table, table: None, source_table, tmp_path)
    repeated, later = synced.unit(to_text(at(1))), synced.unit(to_text(at(2)))

    assert None is verbs.run_for("shop.item", repeated, synced.ledger, NOW)
    assert run.id != verbs.run_for("shop.item", later, synced.ledger, NOW).id


def test_values_that_fit_nothing_are_set_aside_and_their_rows_go_on(mariadb, mariadb_database, tmp_path):
    """A date of zeros beside a good one; a cursor of zeros costs its row."""
    source_table = SourceTable(mariadb, mariadb_database)
    source_table.do(
        "CREATE TABLE item (Id INT PRIMARY KEY, At DATETIME(6) NOT NULL, d DATE, t TIME, n DECIMAL(50,2))",
        """INSERT INTO item VALUES (1, '2026-02-24', '0000-00-00', '838:59:59', 1.5),
        (2, '2026-02-25', '2026-02-24', '12:00:00', NULL), (3, '0000-00-00', '2026-02-24', '12:00:00', 2)""",
    )
    synced = SyncedTable(tmp_path, source_table, {"types": {"n": "decimal(38,2)"}})
    (run,) = synced.sync()
    with synced.warehouse._session() as session:
        found = session.connection.execute(
            'SELECT "Id", CAST(d AS TEXT), CAST(t AS TEXT), CAST(n AS TEXT) FROM shop.item ORDER BY 1'
        ).fetchall()

    assert [(1, None, None, "1.50"), (2, "2026-02-24", "12:00:00", None)] == found
    assert ({"rejected": 1, "inserted": 2}, 2) == (counts(run), run.values_rejected)
    assert {("row", "At"), ("value", "d"), ("value", "t")} == {
        (one["scope"], one["column"]) for one in synced.warehouse.rejects("shop.item")
    }


def test_rows_that_come_between_planning_and_reading_run_into_no_other_slice(source_table, tmp_path):
    """Their numbers are apart, however many they are."""
    table = source_table.create(item(), *times(2, 4, 6, 8))
    synced = SyncedTable(tmp_path, source_table, slice_rows=2, batch_rows=1)
    plan = synced.plan(synced.unit())
    source_table.do(*(table.insert().values(Id=10 + n, At=at(1)) for n in range(5)))
    run = synced.publish(plan, synced.stage(plan))

    assert {"inserted": 9} == counts(run)
    assert 9 == len(synced.stored())


def test_the_watermark_counts_what_a_null_cursor_falls_back_to(source_table, tmp_path):
    """Else the same window would come again and again; stored, the cursor stays NULL until the row changes."""
    table = item(sa.Column("Added", MOMENT))
    minutes = [(None, 1), (5, 2), (None, 3), (None, 8), (None, None)]
    data = [
        {"Id": n, "At": None if minute is None else at(minute), "Added": None if added is None else at(added)}
        for n, (minute, added) in enumerate(minutes)
    ]
    source_table.create(table, *data)
    synced = SyncedTable(tmp_path, source_table, {"cursor_fallback": "Added"}, sync_rows=2)
    runs = synced.sync()
    source_table.do(table.update().where(table.c.Id == 0).values(At=at(9)))
    later = synced.sync()

    assert [3, 3] == [run.read for run in runs]
    assert dict.fromkeys(range(5), True) == synced.stored()
    assert [{"unchanged": 1, "updated": 1}] == [counts(run) for run in later]
    assert to_text(at(9)) == synced.mark

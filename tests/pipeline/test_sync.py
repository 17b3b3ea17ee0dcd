"""Syncs by the command line's own way: several tables of a real database at once, window by window."""

from __future__ import annotations

import datetime as dt

from dataclasses import replace

import pytest
import sqlalchemy as sa

from shared.catalog import read
from shared.errors import ConfigError, DataError
from shared.pipeline import sync as syncing
from shared.pipeline.progress import Progress
from shared.pipeline.sync import SyncOptions
from shared.sources.sql.database import Database
from shared.sources.sql.source import SqlSource
from tests.exports import Clock, open_test_app
from tests.servers.source_table import at, item

pytestmark = pytest.mark.usefixtures("in_a_hurry")

CATALOG = """
[system]
name = "shop"
source = "sql"

[defaults]
cursor = "At"
overlap_seconds = 60

[tables]
item = { keys = ["Id"], max_delete_share = 1.0 }
kind = { keys = ["Id"], cursor = false }
"""


def kind() -> sa.Table:
    """A table without a cursor."""
    columns = (sa.Column("Id", sa.Integer, primary_key=True, autoincrement=False), sa.Column("Name", sa.String(40)))
    return sa.Table("kind", sa.MetaData(), *columns)


@pytest.fixture
def app(source_table, tmp_path):
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "shop.toml").write_text(CATALOG)
    clock = Clock()
    clock.forward(minutes=600)
    return open_test_app(
        tmp_path, clock, CATALOG_PATH=str(tmp_path / "catalog"), SHOP_DATABASE_URL=source_table.url, SYNC_ROWS="10",
    )  # fmt: skip


def sync(app, *tables, progress=None, **options):
    """The result of each table, by its name without the system."""
    found = syncing.sync(app.runner, app.settings, "shop", tables, SyncOptions(**options), progress)
    return {one.feed.removeprefix("shop."): one for one in found}


def counts(table):
    return {name: count for name, count in table.counts.items() if count}


def alive(app, table="item"):
    with app.warehouse._session() as session:
        query = f'SELECT "Id" FROM shop."{table}" WHERE "DeletedAt" IS NULL ORDER BY 1'
        return [key for (key,) in session.connection.execute(query).fetchall()]


def create(source_table, rows=25):
    source_table.create(kind(), {"Id": 1, "Name": "one"})
    return source_table.create(item(), *({"Id": n, "At": at(n)} for n in range(rows)))


@pytest.mark.parametrize("at_once", [1, 4])
def test_every_table_is_read_until_it_has_caught_up(app, source_table, at_once):
    create(source_table)
    app = replace(app, settings=replace(app.settings, sync_tables=at_once))

    found = sync(app)

    assert {"item": ("done", 3, 0.0), "kind": ("done", 1, 0.0)} == {
        name: (one.outcome, len(one.windows), one.behind) for name, one in found.items()
    }
    assert (list(range(25)), [1]) == (alive(app), alive(app, "kind"))


def test_no_new_rows_are_said_to_be_none_and_leave_the_watermark(app, source_table):
    create(source_table)
    before = sync(app)["item"].watermark

    found = sync(app)

    assert {"item": "no news", "kind": "no news"} == {name: one.outcome for name, one in found.items()}
    assert before == found["item"].watermark


def test_a_table_whose_keys_were_changed_is_dropped_and_synced_whole(app, source_table, tmp_path):
    """As the error advises; what is stored had two rows of one new key."""
    table = source_table.create(item(), *({"Id": n, "At": at(1)} for n in range(2)))
    sync(app, "item")
    source_table.do(table.insert().values(Id=2, At=at(2)), table.delete().where(table.c.Id < 1))
    changed = CATALOG.replace('item = { keys = ["Id"]', 'item = { keys = ["At"]')
    (tmp_path / "catalog" / "shop.toml").write_text(changed)
    app = replace(app, systems=read(tmp_path / "catalog"))

    said = sync(app, "item")["item"].reason
    assert "drop its table and view and load a full with --again (sync a database or an API with --full)" in said
    with app.warehouse._session() as session:
        session.connection.execute("DROP VIEW shop.item_active; DROP TABLE shop.item")

    assert "done" == sync(app, "item", full=True)["item"].outcome
    assert [1, 2] == alive(app)


def test_a_table_that_fails_stops_no_other(app, source_table):
    """It says why, and how far behind it is."""
    source_table.create(item(), *({"Id": n, "At": at(n)} for n in range(5)))

    found = sync(app)

    assert ("failed", "done") == (found["kind"].outcome, found["item"].outcome)
    assert "shop.kind" in found["kind"].reason or "kind is not in the database" in found["kind"].reason
    assert list(range(5)) == alive(app)


def test_a_window_that_fails_leaves_the_ones_before(app, source_table, monkeypatch):
    create(source_table)
    describe, taken = SqlSource.describe, []

    def second_fails(self, unit):
        if unit.window is not None:
            taken.append(unit.window)
        if len(taken) == 2:
            raise DataError("it cannot be read", fix="Read it")
        return describe(self, unit)

    monkeypatch.setattr(SqlSource, "describe", second_fails)
    found = sync(app, "item")["item"]

    assert ("failed", "it cannot be read. Read it.") == (found.outcome, found.reason)
    assert (list(range(10)), (600 - 9) * 60.0) == (alive(app), found.behind)

    assert ("done", list(range(25))) == (sync(app, "item")["item"].outcome, alive(app))


def test_a_full_finds_what_is_gone_and_moves_the_watermark_no_further_than_when_it_began(
    app, source_table, monkeypatch
):
    """A row that changes behind the reader's back would be missed below a newer one that is seen."""
    table = create(source_table)
    sync(app)
    source_table.do(table.delete().where(table.c.Id < 5))
    describe = SqlSource.describe

    def rows_come(self, unit):
        described = describe(self, unit)
        source_table.do(table.insert().values(Id=100, At=at(100)))
        return described

    monkeypatch.setattr(SqlSource, "describe", rows_come)
    found = sync(app, "item", full=True)["item"]

    assert {"read": 21, "unchanged": 20, "inserted": 1, "absent": 5} == counts(found)
    assert ([*range(5, 25), 100], "2026-02-24T12:24:00.000000") == (alive(app), found.watermark)


def test_a_change_after_a_full_is_not_taken_for_an_older_one(app, source_table):
    """Though its cursor is below the time of the full."""
    table = create(source_table)
    sync(app, full=True)
    source_table.do(table.update().where(table.c.Id == 3).values(At=at(50)), table.insert().values(Id=77, At=at(51)))

    found = sync(app, "item")["item"]

    assert (1, 1) == (found.counts["updated"], found.counts["inserted"])
    assert [*range(25), 77] == alive(app)


def test_since_reads_again_and_never_lowers_the_watermark(app, source_table):
    table = create(source_table)
    before = sync(app)["item"].watermark
    source_table.do(table.insert().values(Id=90, At=at(2.5)))

    found = sync(app, "item", "kind", since="2026-02-24T12:02:00")

    read_twice = 2  # the rows at which a window ended and the next began
    assert {"read": 24 + read_twice, "unchanged": 23 + read_twice, "inserted": 1} == counts(found["item"])
    assert ("skipped", before) == (found["kind"].outcome, found["item"].watermark)


def test_since_beyond_the_watermark_leaves_nothing_out(app, source_table):
    create(source_table)
    sync(app, limit=4)

    assert list(range(25)) == (sync(app, "item", since="2026-02-24T12:20:00"), alive(app))[1]


@pytest.mark.parametrize("since", ["2026-02-30", "7"])
def test_since_is_a_value_of_the_cursor(app, source_table, since):
    create(source_table)
    sync(app)

    found = sync(app, "item", since=since)["item"]

    assert ("failed", True) == (found.outcome, f"--since {since} is no value of cursor 'At'" in found.reason)


def test_a_limit_takes_a_part_and_says_how_far_behind_that_is(app, source_table):
    create(source_table)

    found = sync(app, limit=4)

    assert ("done", 4, (600 - 3) * 60.0) == (found["item"].outcome, found["item"].counts["read"], found["item"].behind)
    assert ("skipped", "it has no cursor, so only all of it can be read") == (
        found["kind"].outcome, found["kind"].reason,
    )  # fmt: skip
    assert list(range(25)) == (sync(app), alive(app))[1]


def test_a_dry_run_changes_nothing(app, source_table):
    create(source_table)

    found = sync(app, dry_run=True)

    assert {"read": 10, "inserted": 10} == counts(found["item"])
    assert (None, [], []) == (app.ledger.watermark("shop.item").value, app.warehouse.runs(), list(app.warehouse.runs()))


class Interrupted(Progress):
    """Ctrl-C while a window is read."""

    def rows(self, count):
        raise KeyboardInterrupt


def test_what_is_interrupted_goes_on_from_there(app, source_table):
    """Nothing of an interrupted window is kept, neither rows nor staging tables nor a failed run."""
    create(source_table)

    with pytest.raises(KeyboardInterrupt):
        sync(app, "item", progress=Interrupted())

    assert [] == app.warehouse.runs()
    assert ("done", list(range(25))) == (sync(app, "item")["item"].outcome, alive(app))


def test_abandoned_tables_end_at_their_next_batch(app, source_table):
    """What a signal does: the one who takes the results leaves, and the threads see it."""
    create(source_table)
    results = syncing.sync(app.runner, app.settings, "shop", ["kind", "item"], SyncOptions(), None)
    next(results)
    results.close()

    assert list(range(25)) == (sync(app), alive(app))[1]


@pytest.mark.parametrize(
    ("system", "tables", "problem"),
    [
        ("coolr", [], "there is no system 'coolr'. Choose one of shop"),
        ("shop", ["item", "thing"], "system 'shop' has no table 'thing' to sync. Choose of item, kind"),
    ],
)
def test_what_is_not_declared_is_refused_before_anything_is_read(app, system, tables, problem):
    with pytest.raises(ConfigError, match=problem):
        list(syncing.sync(app.runner, app.settings, system, tables, SyncOptions()))


def queries(monkeypatch):
    """The statements that the source is sent from now on."""
    sent, rows = [], Database.rows
    monkeypatch.setattr(Database, "rows", lambda self, statement: sent.append(str(statement)) or rows(self, statement))
    return sent


def test_without_news_there_is_no_run_and_there_are_at_most_two_queries_a_table(app, source_table, monkeypatch):
    """The first sync after a change reads the overlap in a run, and remembers what it has."""
    create(source_table)
    sync(app)
    sync(app)
    runs = len(app.warehouse.runs(limit=None))
    sent = queries(monkeypatch)

    found = sync(app)

    assert (["no news"] * 2, [(), ()]) == (
        [one.outcome for one in found.values()], [tuple(one.windows) for one in found.values()],
    )  # fmt: skip
    assert (True, runs) == (len(sent) <= 2 * 2, len(app.warehouse.runs(limit=None)))


def test_the_first_sync_after_a_change_has_no_news_either(app, source_table, monkeypatch):
    """The run keeps the fingerprint of the rows it has read that are within the overlap of the next."""
    table = create(source_table, 5)
    sync(app)
    sent = queries(monkeypatch)
    first = [one.outcome for one in sync(app).values()]
    number = len(sent)
    source_table.do(table.insert().values(Id=500, At=at(5)))
    second = sync(app, "item")["item"]

    assert (["no news"] * 2, True) == (first, number <= 2 * 2)
    assert ("done", "no news") == (second.outcome, sync(app, "item")["item"].outcome)


def test_a_full_leaves_no_news_either(app, source_table):
    create(source_table, 5)
    sync(app, "item", full=True)

    assert () == tuple(sync(app, "item")["item"].windows)


@pytest.mark.parametrize("minute", [3.5, 4])
def test_what_is_committed_after_a_run_has_read_is_news(app, source_table, monkeypatch, minute):
    """Though the run has not ended yet, and at no higher cursor: the fingerprint is of what was read."""
    table = create(source_table, 5)
    read = SqlSource.read

    def and_late(self, part):
        yield from read(self, part)
        source_table.do(table.insert().values(Id=500, At=at(minute)))

    with monkeypatch.context() as patched:
        patched.setattr(SqlSource, "read", and_late)
        sync(app, "item")
    before = alive(app)
    sync(app, "item")

    assert ([*range(5)], [*range(5), 500]) == (before, alive(app))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE kind SET {name} = 'two'",
        "DELETE FROM kind",
        "INSERT INTO kind VALUES (2, NULL)",
        "ALTER TABLE kind ADD COLUMN more integer",
    ],
)
def test_any_change_of_a_few_rows_is_seen(app, source_table, change):
    create(source_table)
    sync(app, "kind", max_delete_share=1.0)
    source_table.do(change.format(name="`Name`" if source_table.is_mariadb else '"Name"'))

    found = sync(app, "kind", max_delete_share=1.0)["kind"]

    assert 1 == len(found.windows)


def test_a_row_committed_late_is_seen_though_nothing_is_newer(app, source_table):
    table = create(source_table)
    sync(app)
    sync(app)
    source_table.do(table.insert().values(Id=500, At=at(23.5)))

    assert (1, "done") == ((found := sync(app, "item")["item"]).counts["inserted"], found.outcome)


def test_rows_of_the_hour_that_clocks_repeat_are_read(source_table, tmp_path):
    """On 1 November, 01:00 to 02:00 in New York comes twice: what is stamped the second time looks older."""
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "shop.toml").write_text(CATALOG.replace("= 60", '= 60\ntimezone = "America/New_York"'))
    clock = Clock(dt.datetime(2026, 11, 2, tzinfo=dt.UTC))
    found = open_test_app(
        tmp_path, clock, CATALOG_PATH=str(tmp_path / "catalog"), SHOP_DATABASE_URL=source_table.url
    )  # fmt: skip
    night = dt.datetime(2026, 11, 1, 1, 50)  # noqa: DTZ001 - local time, as the database writes it
    table = source_table.create(item(), {"Id": 1, "At": night})
    sync(found, "item")
    source_table.do(table.insert().values(Id=2, At=night - dt.timedelta(minutes=40)))

    assert ("done", [1, 2]) == (sync(found, "item")["item"].outcome, alive(found))


def test_rows_that_went_back_to_what_they_were_are_read_again(app, source_table):
    """What was merged in between is not what the source has."""
    table = create(source_table, rows=3)
    sync(app)
    sync(app)
    source_table.do(table.insert().values(Id=500, At=at(1.5)))
    sync(app, "item")
    source_table.do(table.delete().where(table.c.Id == 500))

    assert 1 == len(sync(app, "item")["item"].windows)


def test_a_change_of_the_catalog_is_a_reason_to_read_again(app, source_table, tmp_path):
    create(source_table)
    sync(app, "kind")
    assert [] == list(sync(app, "kind")["kind"].windows)
    entry = (tmp_path / "catalog" / "shop.toml").read_text()
    (tmp_path / "catalog" / "shop.toml").write_text(
        entry.replace("cursor = false }", 'cursor = false, types = { Id = "text" } }')
    )
    changed = open_test_app(
        tmp_path, app.now, CATALOG_PATH=str(tmp_path / "catalog"), SHOP_DATABASE_URL=source_table.url
    )  # fmt: skip

    assert 1 == len(sync(changed, "kind")["kind"].windows)

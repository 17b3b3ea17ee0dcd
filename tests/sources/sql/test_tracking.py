"""Change tracking of SQL Server as the cursor of a feed: on the stand-in, with Microsoft's parser in front."""

from __future__ import annotations

import pytest

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shared.model import Unit, Window, to_text
from shared.pipeline.backfill import BackfillRequest, backfill
from shared.pipeline.sync import SyncOptions, sync
from shared.sources import Ceiling
from tests.advice import advised, advises
from tests.exports import Clock, open_test_app
from tests.servers.source_table import START, SourceTable, at, item, rows

pytestmark = pytest.mark.usefixtures("in_a_hurry")

CATALOG = """
[system]
name = "shop"
source = "sql"
[tables.item]
keys = ["Id"]
change_tracking = true
"""
TABLE = "CREATE TABLE item (Id int NOT NULL PRIMARY KEY, [it's\\:] nvarchar(20) NOT NULL)"
ON = "ALTER TABLE [item] ENABLE CHANGE_TRACKING"


@pytest.fixture
def untracked(sqlserver):
    table = SourceTable(sqlserver, sqlserver.create_database())
    table.do(TABLE, "INSERT INTO item VALUES (1, N'one'), (2, N'two'), (3, N'three')")
    return table


@pytest.fixture
def tracked(untracked):
    untracked.do(ON)
    return untracked


class Synced:
    """A warehouse in step with the table, sync by sync."""

    def __init__(self, table, folder, **env):
        (folder / "catalog").mkdir(exist_ok=True)
        (folder / "catalog" / "shop.toml").write_text(CATALOG)
        self.clock = Clock()
        self.app = open_test_app(
            folder, self.clock, CATALOG_PATH=str(folder / "catalog"), SHOP_DATABASE_URL=table.url, **env
        )

    def sync(self, **options):
        self.clock.forward(minutes=1)
        (result,) = sync(self.app.runner, self.app.settings, "shop", [], SyncOptions(**options))
        return result

    def counts(self, **options):
        result = self.sync(**options)
        assert not result.failed, result.reason
        return result.outcome, {name: n for name, n in result.counts.items() if n and name != "read"}

    def reset(self):
        request = BackfillRequest(feed="shop.item", to=None, requested_by="ada", now=to_text(START))
        runner = self.app.runner
        backfill(request, systems=runner.systems, warehouse=self.app.warehouse, ledger=runner.ledger)

    def rows(self):
        with self.app.warehouse._session() as session:
            return session.connection.execute("""SELECT Id, "it's:" FROM shop.item_active ORDER BY Id""").fetchall()


def source_of(table, **options):
    return table.source(cursor=None, change_tracking=True, **options)


def test_what_is_written_and_deleted_comes_by_itself(tracked, tmp_path):
    """A full first; then only what was inserted, changed or deleted, and nothing where nothing was."""
    synced = Synced(tracked, tmp_path)

    first = synced.counts()
    tracked.do("UPDATE item SET [it's\\:] = N'zwei' WHERE Id = 2", "INSERT INTO item VALUES (4, N'four')")
    tracked.do("DELETE FROM item WHERE Id = 1")
    second = synced.counts()
    quiet = [synced.counts()[0] for _ in range(2)]

    assert ("done", {"inserted": 3}) == first
    assert ("done", {"inserted": 1, "updated": 1, "deleted": 1}) == second
    assert ["no news"] * 2 == quiet
    assert [(2, "zwei"), (3, "three"), (4, "four")] == synced.rows()


def test_a_row_that_comes_back_is_alive_again(tracked, tmp_path):
    synced = Synced(tracked, tmp_path)
    synced.counts()
    tracked.do("DELETE FROM item WHERE Id = 1")
    synced.counts()
    tracked.do("INSERT INTO item VALUES (1, N'again')")

    assert ("done", {"undeleted": 1}) == synced.counts()
    assert (1, "again") in synced.rows()


def test_many_changes_are_read_window_by_window(tracked, tmp_path):
    """A version is in one window, with all its rows."""
    synced = Synced(tracked, tmp_path, SYNC_ROWS="2", SLICE_ROWS="1")
    synced.counts()
    for key in range(10, 15):
        tracked.do(f"INSERT INTO item VALUES ({key}, N'new')")
    tracked.do("UPDATE item SET [it's\\:] = N'all' WHERE Id < 12")

    result = synced.sync()

    assert [2, 6] == [run.read for run in result.runs]
    assert {"inserted": 5, "updated": 3} == {name: n for name, n in result.counts.items() if n and name != "read"}
    assert [(key, "all") for key in (1, 2, 3, 10, 11)] + [(key, "new") for key in (12, 13, 14)] == synced.rows()


def test_changes_that_are_no_longer_kept_cost_a_full(tracked, tmp_path, caplog):
    """Which finds what was deleted meanwhile; and it is logged."""
    synced = Synced(tracked, tmp_path)
    synced.counts()
    tracked.do("DELETE FROM item WHERE Id = 1", "INSERT INTO item VALUES (4, N'four')")
    tracked.server.databases[tracked.database].tracking.forget()

    found = synced.counts(max_delete_share=1.0)

    assert ("done", {"inserted": 1, "absent": 1}) == (found[0], {n: found[1][n] for n in ("inserted", "absent")})
    assert [2, 3, 4] == [key for key, _ in synced.rows()]
    assert "shop.item: the server keeps changes since version 2, and up to 0 was read: it is read whole" in caplog.text


def test_changes_removed_while_they_are_read_end_the_run(tracked):
    """Some of them may be missing."""
    source = source_of(tracked)
    tracked.do("UPDATE item SET [it's\\:] = N'x' WHERE Id = 2")
    unit = Unit(kind="window", window=Window("0", source.ceiling("0").value))
    (part,) = source.describe(unit).slices
    tracked.do("DELETE FROM item WHERE Id = 1")
    tracked.server.databases[tracked.database].tracking.forget()

    with advised("Sync it again: it is read whole then"):
        list(source.read(part))
    assert source.ceiling("0").whole


def test_a_row_that_is_deleted_before_it_is_read_is_deleted(tracked):
    """Its version says that it was changed, and it is not there any more; its deletion comes with the next window."""
    source = source_of(tracked)
    tracked.do("UPDATE item SET [it's\\:] = N'x' WHERE Id = 2")
    unit = Unit(kind="window", window=Window("0", source.ceiling("0").value))
    tracked.do("DELETE FROM item WHERE Id = 3")

    (row,) = rows(source, unit)
    assert (2, "x", 1, False) == tuple(row.values())
    (gone,) = rows(source, Unit(kind="window", window=Window("1", source.ceiling("1").value)))
    assert (3, None, 2, True) == tuple(gone.values())


def test_an_untracked_table_is_refused_and_tracking_it_helps(untracked, tmp_path):
    """The error has the statements to run."""
    synced = Synced(untracked, tmp_path)
    refused = synced.sync()

    table, _ = advises(
        "Run ALTER TABLE {} ENABLE CHANGE_TRACKING, after ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON"
        " (CHANGE_RETENTION = 7 DAYS), and GRANT VIEW CHANGE TRACKING ON {} to the user",
        refused.reason,
    )
    assert "[item]" == table
    untracked.do("ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 7 DAYS)", ON)
    assert ("done", {"inserted": 3}) == synced.counts()


def test_tracking_that_is_switched_off_later_is_reported(tracked, tmp_path):
    """The next sync says what to switch on."""
    synced = Synced(tracked, tmp_path)
    synced.counts()
    tracked.server.databases[tracked.database].tracking.__init__()

    assert ON in synced.sync().reason


def test_versions_that_begin_anew_are_refused_until_the_feed_is_reset(tracked, tmp_path):
    synced = Synced(tracked, tmp_path)
    synced.counts()
    tracked.do("UPDATE item SET [it's\\:] = N'x'")
    synced.counts()
    tracked.server.databases[tracked.database].tracking.version = 0

    refused = synced.sync()

    assert ("shop.item",) == advises("Run sluice backfill {} --reset, and sync again", refused.reason)
    synced.reset()
    assert ("done", {"updated": 3}) == synced.counts()


def test_only_sql_server_has_it(mariadb):
    table = SourceTable(mariadb, mariadb.create_database())
    table.create(item(), {"Id": 1, "At": at(1)})
    with advised("Take change_tracking out of the catalog, and name a cursor there"):
        source_of(table)
    assert [1] == [row["Id"] for row in rows(table.source(cursor="At"))]


def test_the_end_of_a_window_is_one_query(tracked):
    source = source_of(tracked)
    source.ceiling("0")
    with tracked.statements(source) as sent:
        assert Ceiling("0", more=False) == source.ceiling("0")
    assert 1 == len(sent)


CHANGES = st.lists(st.tuples(st.sampled_from(["put", "cut", "sync", "forget"]), st.integers(1, 4)), max_size=12)


@pytest.mark.slow
def test_at_rest_one_more_sync_makes_the_warehouse_equal(sqlserver, tmp_path_factory):
    """Whatever is written, deleted and cleaned up between syncs."""

    @hypothesis_settings(
        deadline=None, database=None, max_examples=25, print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip
    @given(CHANGES)
    def check(changes):
        table = SourceTable(sqlserver, sqlserver.create_database())
        table.do(TABLE, ON)
        synced = Synced(table, tmp_path_factory.mktemp("synced"))
        for number, (what, key) in enumerate(changes):
            if what == "put":
                table.do(f"DELETE FROM item WHERE Id = {key}", f"INSERT INTO item VALUES ({key}, N'{number}')")
            elif what == "cut":
                table.do(f"DELETE FROM item WHERE Id = {key}")
            elif what == "forget":
                table.server.databases[table.database].tracking.forget()
            else:
                assert not synced.sync(max_delete_share=1.0).failed
        assert not synced.sync(max_delete_share=1.0).failed
        with table.engine.connect() as connection:
            expected = [tuple(row) for row in connection.exec_driver_sql("SELECT * FROM item ORDER BY Id")]
        assert expected == (synced.rows() if expected else [])

    check()

"""Pull feeds in the whole app: timers start syncs of a real MariaDB and PostgreSQL, window by window."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from shared.errors import TransientError
from shared.model import Watermark
from shared.pipeline.runner import Runner
from shared.sources.sql.source import SqlSource
from tests.arrivals import units
from tests.exports import START, Clock, open_test_app
from tests.servers.source_table import at, item
from tests.standins.functions_host import functions_host

pytestmark = pytest.mark.usefixtures("in_a_hurry")

CATALOG = """
[system]
name = "shop"
source = "sql"

[defaults]
cursor = "At"
overlap_seconds = 60
schedule = "*/15 * * * *"

[tables]
item = { keys = ["Id"] }
kind = { keys = ["Id"], cursor = false }
"""


def name() -> sa.Column:
    return sa.Column("Name", sa.String(40))


def kind() -> sa.Table:
    """A table without a cursor."""
    return sa.Table("kind", sa.MetaData(), sa.Column("Id", sa.Integer, primary_key=True, autoincrement=False), name())


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def app(source_table, tmp_path, clock, receiver):
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "shop.toml").write_text(CATALOG)
    return open_test_app(
        tmp_path, clock, STATE_URL=str(tmp_path / "state"), CATALOG_PATH=str(tmp_path / "catalog"),
        SHOP_DATABASE_URL=source_table.url, SYNC_ROWS="10", SLICE_ROWS="4", ALERT_URL=receiver.url, ALERT_FORMAT="json",
    )  # fmt: skip


@pytest.fixture
def host(app, monkeypatch):
    with functions_host(app, monkeypatch, start=START) as found:
        yield found


def stored(app, table="item"):
    with app.warehouse._session() as session:
        query = f'SELECT "Id", "Name", "DeletedAt" IS NULL FROM shop."{table}" ORDER BY 1'
        return session.connection.execute(query).fetchall()


def test_syncs_that_are_due_read_all_there_is_window_by_window(app, host, source_table):
    """Tables side by side; each window is merged before the next is read; slices of one are staged side by side."""
    source_table.create(item(name()), *({"Id": n, "At": at(n), "Name": f"n{n}"} for n in range(25)))
    source_table.create(kind(), {"Id": 1, "Name": "one"})

    host.timer("sync_due")
    reported = host.finished("sync:shop")

    assert (["done"] * 2, 26) == (units(reported), reported["summary"]["inserted"])
    assert [("shop.item", 3, 25), ("shop.kind", 1, 1)] == [
        (one["feed"], one["windows"], one["inserted"]) for one in reported["units"]
    ]
    assert [(n, f"n{n}", True) for n in range(25)] == stored(app)
    assert [(1, "one", True)] == stored(app, "kind")
    assert at(24).isoformat(timespec="microseconds") == app.ledger.watermark("shop.item").value


def test_the_next_sync_goes_on_from_the_watermark(app, host, source_table, clock):
    """What changed since, what was committed late within the overlap, and nothing else."""
    table = source_table.create(item(name()), *({"Id": n, "At": at(n), "Name": f"n{n}"} for n in range(8)))
    source_table.create(kind())
    host.timer("sync_due")
    host.finished("sync:shop")
    source_table.do(
        table.update().where(table.c.Id == 3).values(At=at(9), Name="changed"),
        table.insert().values(Id=100, At=at(6.5), Name="late"),
        table.insert().values(Id=101, At=at(1), Name="too late"),
    )

    host.timer("sync_due")
    early = len(app.warehouse.runs("shop.item"))
    clock.forward(minutes=15)
    host.timer("sync_due")
    reported = host.finished("sync:shop")

    assert 1 == early
    assert (1, 1, 2) == tuple(reported["summary"][name] for name in ("inserted", "updated", "unchanged"))
    names = {row[0]: row[1] for row in stored(app)}
    assert ("changed", "late", None) == (names[3], names[100], names.get(101))


def test_a_table_that_is_read_whole_loses_what_it_lacks(app, host, source_table, clock):
    """It is a complete full each time."""
    table = kind()
    source_table.create(table, *({"Id": n, "Name": "x"} for n in range(12)))
    source_table.create(item(name()))
    host.timer("sync_due")
    host.finished("sync:shop")
    source_table.do(table.delete().where(table.c.Id >= 10))
    clock.forward(minutes=15)

    host.timer("sync_due")
    reported = host.finished("sync:shop")

    assert 2 == reported["summary"]["deleted"]
    assert 10 == sum(alive for _, _, alive in stored(app, "kind"))


def test_a_table_that_fails_stops_no_other_and_all_of_them_are_one_summary(app, host, source_table, receiver):
    """Its rows are where they were; the summary is the only alert, and names what failed."""
    source_table.create(item(name()), *({"Id": n, "At": at(n), "Name": f"n{n}"} for n in range(25)))

    host.timer("sync_due")
    reported = host.finished("sync:shop")

    assert (["done", "failed"], "partly") == (units(reported), reported["state"])
    assert [25, 0] == [one["inserted"] for one in reported["units"]]
    (alert,) = receiver.bodies
    assert ("summary", "Partly done: sync shop") == (alert["kind"], alert["title"])
    assert "1 of 2 done, 1 failed; 29 rows read" in alert["text"]
    assert "shop.kind failed: " in alert["text"]


def test_tables_without_news_say_so_and_their_watermarks_are_untouched(app, host, source_table, clock):
    """Rows within the overlap are read again; that is no news, neither for the table nor for the summary."""
    source_table.create(item(name()), *({"Id": n, "At": at(n), "Name": f"n{n}"} for n in range(8)))
    source_table.create(kind())
    host.timer("sync_due")
    reported, marks = [host.finished("sync:shop")], [app.ledger.watermark("shop.item")]
    for _ in range(3):
        clock.forward(minutes=15)
        host.timer("sync_due")
        reported.append(host.finished("sync:shop"))
        marks.append(app.ledger.watermark("shop.item"))

    assert [["done", "no news"], *[["no news", "no news"]] * 3] == [units(one) for one in reported]
    assert [(0, 2, 0)] * 3 == [
        tuple(one["summary"][name] for name in ("done", "no_news", "inserted")) for one in reported[1:]
    ]
    assert (1, marks[2]) == (len({mark.value for mark in marks}), marks[3])
    assert {0.0} == {unit["behind"] for one in reported for unit in one["units"]}


def test_a_system_says_how_far_a_table_that_failed_is_behind(app, host, source_table, clock, monkeypatch):
    """From its watermark to now: what was merged before stays."""
    table = source_table.create(item(name()), *({"Id": n, "At": at(n), "Name": f"n{n}"} for n in range(8)))
    source_table.create(kind())
    host.request("POST", "systems/shop/run")
    host.finished("sync:shop")
    source_table.do(table.insert().values(Id=99, At=at(9), Name="new"))
    clock.forward(minutes=30)
    monkeypatch.setattr(SqlSource, "describe", lambda *_: 1 / 0)

    host.request("POST", "systems/shop/run?feeds=item")
    reported = host.finished("sync:shop")

    assert (["failed"], 23 * 60.0, "shop.item") == (
        units(reported), reported["summary"]["behind"], reported["summary"]["furthest"]
    )  # fmt: skip


def test_a_feed_that_is_started_by_hand_meanwhile_is_left_to_its_job(app, host, source_table, monkeypatch):
    """Though the two would not even read the same window. The job of the system says who reads it; nothing fails."""
    table = source_table.create(item(name()), *({"Id": n, "At": at(n), "Name": f"n{n}"} for n in range(25)))
    source_table.create(kind(), {"Id": 1, "Name": "one"})
    merge, begun, go_on = Runner.merge, threading.Event(), threading.Event()

    def held(self, plan, staged, faults, options):
        if plan.feed.table == "item":
            begun.set()
            assert go_on.wait(60)
        return merge(self, plan, staged, faults, options)

    monkeypatch.setattr(Runner, "merge", held)
    host.request("POST", "feeds/shop.item/run")
    assert begun.wait(60)
    source_table.do(table.insert().values(Id=99, At=at(0.5), Name="in another window"))
    host.request("POST", "systems/shop/run")
    system = host.finished("sync:shop")
    go_on.set()
    feed = host.finished("sync:shop.item")

    assert ["skipped", "done"] == units(system)
    assert ("job sync:shop.item is already running it", True) == (system["units"][0]["skipped"], system["retryable"])
    assert (["done"] * 3, 25) == (units(feed), len(stored(app)))


def test_a_database_that_goes_away_between_windows_costs_time_and_nothing_else(app, host, source_table, monkeypatch):
    """The windows before are merged; the one that failed is tried again when it is back."""
    source_table.create(item(name()), *({"Id": n, "At": at(n), "Name": f"n{n}"} for n in range(25)))
    source_table.create(kind())
    describe, requested = SqlSource.describe, []

    def away(self, unit):
        requested.append(unit.window)
        if len(requested) in (2, 3):
            raise TransientError("the server is away", fix="Try again")
        return describe(self, unit)

    monkeypatch.setattr(SqlSource, "describe", away)
    host.request("POST", "feeds/shop.item/run")
    reported = host.finished("sync:shop.item")

    assert ["done"] * 3 == units(reported)
    assert [(n, f"n{n}", True) for n in range(25)] == stored(app)
    assert requested[1] == requested[2] == requested[3]


def test_a_watermark_that_another_run_moved_ends_the_sync_as_a_conflict(app, host, source_table, monkeypatch):
    """Whoever moved it has read those rows; the next sync goes on from there."""
    source_table.create(item(name()), *({"Id": n, "At": at(n), "Name": f"n{n}"} for n in range(5)))
    merge = Runner.merge

    def overtaken(self, plan, staged, faults, options):
        self.ledger.rewind("shop.item", Watermark(at(2).isoformat(), "timestamp"))
        return merge(self, plan, staged, faults, options)

    monkeypatch.setattr(Runner, "merge", overtaken)
    host.request("POST", "feeds/shop.item/run")
    reported = host.finished("sync:shop.item")

    assert ["failed"] == units(reported)
    assert "was advanced by another run" in reported["units"][0]["error"]


def test_a_backfill_reads_again_from_a_time_on(app, host, source_table):
    """The watermark is set back; rows that are as they were are unchanged."""
    table = source_table.create(item(name()), *({"Id": n, "At": at(n), "Name": f"n{n}"} for n in range(8)))
    host.request("POST", "feeds/shop.item/run")
    host.finished("sync:shop.item")
    source_table.do(table.update().where(table.c.Id == 2).values(Name="corrected without a new cursor"))

    to = at(2).isoformat()
    host.request("POST", "feeds/shop.item/backfill", f'{{"to": "{to}Z"}}'.encode())
    reported = host.finished("sync:shop.item")

    assert (1, 6) == (reported["summary"]["updated"], reported["summary"]["unchanged"])
    assert "corrected without a new cursor" == stored(app)[2][1]


def test_a_feed_whose_database_is_not_set_says_which_setting_is_missing(source_table, tmp_path, monkeypatch):
    """The job fails with the name to set; no other feed is touched."""
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "shop.toml").write_text(CATALOG)
    app = open_test_app(tmp_path, STATE_URL=str(tmp_path / "state"), CATALOG_PATH=str(tmp_path / "catalog"))
    with functions_host(app, monkeypatch) as host:
        host.request("POST", "feeds/shop.item/run")
        reported = host.finished("sync:shop.item")

    assert "SHOP_DATABASE_URL" in reported["units"][0]["error"]

"""Pull feeds in the whole app: timers start syncs of a real MariaDB and PostgreSQL, window by window."""

from __future__ import annotations

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
def app(source_table, tmp_path, clock):
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "shop.toml").write_text(CATALOG)
    return open_test_app(
        tmp_path, clock, STATE_URL=str(tmp_path / "state"), CATALOG_PATH=str(tmp_path / "catalog"),
        SHOP_DATABASE_URL=source_table.url, SYNC_ROWS="10", SLICE_ROWS="4",
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

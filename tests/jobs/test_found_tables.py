"""Tables that no catalog declares, in the whole app: timers find them in a real database and start their syncs."""

from __future__ import annotations

import pytest

from shared.errors import RequestRefused
from shared.web.api import run_action
from tests.arrivals import jobs
from tests.exports import START, Clock, open_test_app
from tests.standins.functions_host import functions_host

pytestmark = pytest.mark.usefixtures("in_a_hurry")

CATALOG = """
[system]
name = "shop"
source = "sql"

[defaults]
schedule = "*/15 * * * *"

[discover]
"""


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def app(source_table, tmp_path, clock, request):
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "shop.toml").write_text(LISTED if "list" in request.node.name else CATALOG)
    return open_test_app(
        tmp_path, clock, STATE_URL=str(tmp_path / "state"), CATALOG_PATH=str(tmp_path / "catalog"),
        SHOP_DATABASE_URL=source_table.url,
    )  # fmt: skip


@pytest.fixture
def host(app, monkeypatch):
    with functions_host(app, monkeypatch, start=START) as found:
        yield found


def synced(app, host):
    """The feeds that the timer has synced by now, each with its rows."""
    host.timer("sync_due")
    for job in jobs(host):
        host.finished(job)
    return {run.feed: run.inserted for run in app.warehouse.runs(limit=None) if run.status == "done"}


def test_a_table_is_added_without_a_deployment(app, host, source_table, clock):
    """The timer looks every time; what is not there any more is not synced."""
    source_table.do("CREATE TABLE item (id INT PRIMARY KEY)", "INSERT INTO item VALUES (1)")

    first = synced(app, host)
    source_table.do(
        "CREATE TABLE more (id INT PRIMARY KEY)", "INSERT INTO more VALUES (1)", "INSERT INTO more VALUES (2)"
    )
    clock.forward(minutes=15)
    second = synced(app, host)

    assert ({"shop.item": 1}, {"shop.item", "shop.more"}) == (first, second.keys())
    assert 2 == second["shop.more"]


def test_a_process_looks_once_a_minute(app, source_table, clock):
    """Unless it must be sure."""
    source_table.do("CREATE TABLE item (id INT PRIMARY KEY)")
    first = tables(app.resolved("shop"))
    source_table.do("CREATE TABLE more (id INT PRIMARY KEY)")
    second = tables(app.resolved("shop"))
    clock.forward(minutes=1)

    assert ([], ["item"], ["item"]) == (tables(app), first, second)
    assert ["item", "more"] == tables(app.resolved("shop"))
    source_table.do("DROP TABLE more")
    assert ["item"] == tables(app.resolved("shop", fresh=True))


def tables(app):
    return list(app.systems["shop"].tables)


def test_a_table_that_was_found_can_be_run_by_hand(app, source_table):
    """Before its first sync, too. One that is not there cannot."""
    source_table.do("CREATE TABLE item (id INT PRIMARY KEY)")

    assert ["sync:shop.item"] == [start.job for start in run_action(app, "shop.item", "run", b"")]
    with pytest.raises(RequestRefused, match=r"there is no feed 'shop\.gone'"):
        run_action(app, "shop.gone", "run", b"")


def test_the_timer_goes_on_while_the_database_is_away(app, host, source_table, monkeypatch, caplog):
    """The tables of other systems are due all the same."""
    monkeypatch.setattr("shared.app.resolved", _away)

    assert {} == synced(app, host)
    assert "the tables of system shop cannot be looked up: it is away" in caplog.text


LISTED = """
[system]
name = "shop"
source = "sql"

[defaults]
schedule = "*/15 * * * *"

[feed_list]
from = "source"
table = "feeds"
columns = { table = "name", cursor = "cdc" }
"""


def test_a_feed_list_is_read_by_every_run(app, host, source_table, clock, tmp_path):
    """A watermark is set back by it, once."""
    source_table.do(
        "CREATE TABLE feeds (name VARCHAR(20), cdc VARCHAR(20), last_value VARCHAR(40))",
        "CREATE TABLE item (id INT PRIMARY KEY, at TIMESTAMP NOT NULL)",
        *(f"INSERT INTO item VALUES ({n}, '2026-02-24 12:0{n}:00')" for n in range(5)),
        "INSERT INTO feeds VALUES ('item', 'at', NULL)",
    )
    first = synced(app, host)
    source_table.do("UPDATE feeds SET last_value = '2026-02-24 12:02:00'")
    for _ in range(2):
        clock.forward(minutes=15)
        synced(app, host)

    assert {"shop.item": 5} == first
    assert [3] == [run.read for run in app.warehouse.runs("shop.item") if "reread" in (run.note or "")]
    assert ["feed list feeds"] == [one.requested_by for one in app.warehouse.backfills("shop.item")]


def _away(system, settings, warehouse):
    from shared.errors import TransientError

    raise TransientError("it is away", fix="Try again later")

"""Keys of pull feeds, compared when the catalog says so, in the whole app."""

from __future__ import annotations

import pytest

from tests.arrivals import units
from tests.exports import START, Clock, open_test_app
from tests.servers.source_table import at, item
from tests.standins.functions_host import functions_host

pytestmark = pytest.mark.usefixtures("in_a_hurry")

CATALOG = """
[system]
name = "shop"
source = "sql"

[tables]
item = { keys = ["Id"], cursor = "At", schedule = "*/15 * * * *", reconcile = "0 3 * * *" }
"""


def test_keys_are_compared_when_that_is_due(source_table, tmp_path, monkeypatch):
    """Of a feed that has been synced; once, until it is due again."""
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "shop.toml").write_text(CATALOG)
    clock = Clock()
    app = open_test_app(
        tmp_path, clock, STATE_URL=str(tmp_path / "state"), CATALOG_PATH=str(tmp_path / "catalog"),
        SHOP_DATABASE_URL=source_table.url, SLICE_ROWS="4",
    )  # fmt: skip
    table = source_table.create(item(), *({"Id": n, "At": at(n - 60)} for n in range(10)))

    with functions_host(app, monkeypatch, start=START) as host:
        host.timer("sync_due")
        host.finished("sync:shop")
        source_table.do(table.delete().where(table.c.Id == 3))
        clock.forward(minutes=1)
        host.timer("sync_due")
        reported = host.finished("keys:shop.item")
        clock.forward(minutes=1)
        host.timer("sync_due")
        runs = [run.kind for run in app.warehouse.runs("shop.item")]
        clock.forward(days=1)
        host.timer("sync_due")
        host.finished("sync:shop")
        host.finished("keys:shop.item")

    assert (["done"], 1, 9) == (units(reported), reported["summary"]["deleted"], reported["summary"]["unchanged"])
    assert ["keys", "window"] == runs
    assert "keys" in {run.kind for run in app.warehouse.runs("shop.item")[:2]}

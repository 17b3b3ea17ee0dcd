"""What dead loads leave on a server is dropped when a key is erased, in PostgreSQL and the T-SQL stand-in."""

from __future__ import annotations

import pyarrow as pa

from shared.contract.conform import ROW
from shared.model import Column
from shared.warehouses import EraseRequest
from tests.suites.warehouse_case import row
from tests.warehouses.server.test_owners import FEED, Shared, server

__all__ = ["server"]
LEFT, OTHER = "s_46ffd996c1600485_0", "s_46ffd996c1600486_0"


def test_staging_tables_that_may_have_rows_of_the_feed_are_dropped(server: Shared) -> None:
    """Those with other columns belong to another feed. A dry run counts them."""
    case = server.case("one")
    case.loaded("full", 5, row(1), row(2))
    warehouse, feed = case.app.warehouse, case.feed()
    for name, more in ((LEFT, "Name"), (OTHER, "Colour")):
        columns = [Column("ItemId", "ItemId", "bigint"), Column(more, more, "text")]
        batch = pa.record_batch([pa.array([0]), pa.array([1]), pa.array(["x"])], [ROW, "ItemId", more])
        warehouse.stage(feed, name, columns, [batch])
    request = {"feed": feed, "keys": [("1",)], "at": "2026-02-24T12:00:00.000000", "requested_by": "ada"}

    dry = warehouse.erase(EraseRequest(id="a", dry_run=True, **request))
    there = set(warehouse._engine.staged())
    done = warehouse.erase(EraseRequest(id="a", **request))

    assert (1, 1) == (dry.staging, done.staging)
    assert {LEFT, OTHER} <= there
    assert {OTHER} == {LEFT, OTHER} & set(warehouse._engine.staged())
    assert [done] == warehouse.erasures(FEED)

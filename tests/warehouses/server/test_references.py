"""Orphans, backfills and whether a feed is loading, by statements that PostgreSQL and the T-SQL stand-in take."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from shared.warehouses import Backfill
from tests.suites.warehouse_case import row
from tests.warehouses.server.test_owners import FEED, RUN, Shared, server

__all__ = ["server"]


def test_rows_that_refer_to_missing_keys_are_counted(server: Shared) -> None:
    """All columns in one query: SQL Server takes no subquery within an aggregate."""
    case = server.case("one")
    case.loaded("full", 5, row(1), row(2))
    case.loaded("full", 6, row(1, Item=1, Label="9"), row(2, Item=7, Label="2"), table="order",
                types={"Item": pa.int64(), "Label": pa.string()})  # fmt: skip
    feed = replace(case.feed("order"), references={"Item": "shop.item.ItemId", "Label": "shop.item.ItemId"})

    found = {one.column: (one.rows, one.values) for one in case.app.warehouse.orphans(feed)}

    assert {"Item": (1, ("7",)), "Label": (1, ("9",))} == found


def test_backfills_are_kept(server: Shared) -> None:
    """By any process."""
    done = Backfill(id="a", feed=FEED, at="2026-02-24T12:00:00.000001", requested_by="Ada", type="bigint", after="3")
    server.case("one").app.warehouse.record_backfill(done)

    assert [done] == server.case("other").app.warehouse.backfills(FEED)


def test_feed_is_loading_as_long_as_any_process_works_on_it(server: Shared) -> None:
    """Another feed is not."""
    one, other = (server.case(name).app.warehouse for name in ("one", "other"))
    one.record_backfill(Backfill(id="a", feed=FEED, at="2026-02-24T12:00:00.000001", requested_by="Ada"))
    with one._owners.working(RUN, FEED):
        seen = [other.is_loading(FEED), one.is_loading(FEED), other.is_loading("shop.order")]

    assert [True, True, False] == seen
    assert not other.is_loading(FEED)

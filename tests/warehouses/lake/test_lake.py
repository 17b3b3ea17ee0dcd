"""A data lake in a folder: the behaviour of every warehouse, and what is particular to it."""

from __future__ import annotations

import pytest

from tests.suites.warehouse_case import row
from tests.suites.warehouse_fulls import Fulls
from tests.suites.warehouse_merging import Merging
from tests.suites.warehouse_suite import WHATEVER_LOADS, WarehouseSuite
from tests.warehouses.lake import lake_tables


class TestLake(WarehouseSuite):
    """In a folder of its own for each test."""

    longest_key = None
    has_views = False
    takes_long = True
    slow_parts = (Merging, Fulls, *WHATEVER_LOADS)  # their rules are the same SQL as in DuckDB

    @pytest.fixture
    def settings(self, tmp_path):
        return {"WAREHOUSE_URL": f"lake:///{tmp_path}/lake"}

    @pytest.fixture
    def query(self, tmp_path):
        return lambda statement: lake_tables.query(tmp_path / "lake", statement)

    def test_a_feed_with_history_is_loaded_without_it(self, case, tmp_path):
        """docs/tables.md says what a lake has instead."""
        run = case.loaded("full", 5, row(1), table="tracked")

        assert 1 == run.inserted
        assert ["tracked"] == [path.name for path in (tmp_path / "lake" / "shop").iterdir()]

"""Which cases of the behaviour suite are quick."""

from __future__ import annotations

import pytest

from tests.suites.warehouse_suite import WarehouseSuite


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of DuckDB are quick, by way of staged rows; of other warehouses, the first case of each test is."""
    seen = set()
    for item in items:
        if isinstance(item, pytest.Function) and item.cls and issubclass(item.cls, WarehouseSuite):
            again = item.cls.takes_long and (item.cls, item.originalname) in seen
            directly = hasattr(item, "callspec") and item.callspec.params.get("reading") == "direct"
            if again or directly:
                item.add_marker(pytest.mark.slow)
            seen.add((item.cls, item.originalname))

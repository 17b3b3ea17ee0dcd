"""Which cases of the behaviour suite are quick."""

from __future__ import annotations

import pytest

from tests.suites.warehouse_suite import WarehouseSuite


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where a class of the suite takes long, the first case of each of its tests is quick, and the others are slow."""
    seen = set()
    for item in items:
        if isinstance(item, pytest.Function) and item.cls and issubclass(item.cls, WarehouseSuite):
            if item.cls.takes_long and (item.cls, item.originalname) in seen:
                item.add_marker(pytest.mark.slow)
            seen.add((item.cls, item.originalname))

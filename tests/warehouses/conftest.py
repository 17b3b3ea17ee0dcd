"""Which cases of warehouses are quick."""

from __future__ import annotations

import pytest

from tests.suites.warehouse_erase import Erase
from tests.suites.warehouse_history import History
from tests.suites.warehouse_keys import Keys
from tests.suites.warehouse_names import Names
from tests.suites.warehouse_suite import WarehouseSuite

MANY_LOADS = "test_widened_column_holds_the_wide_value"
"""It loads each pair of types, which takes seconds where a load is not quick."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the behaviour suite, all cases of DuckDB, and of other warehouses the first of each test.

    Rows that DuckDB reads directly are slow here; duckdb/test_direct.py and tests/pipeline have quick ones.
    """
    left_out = [item for item in items if isinstance(item, pytest.Function) and _is_shown_elsewhere(item)]
    gone = set(map(id, left_out))
    items[:] = [item for item in items if id(item) not in gone]
    config.hook.pytest_deselected(items=left_out)
    seen = set()
    for item in items:
        if not isinstance(item, pytest.Function) or "warehouses" not in item.path.parts:
            continue
        suite, name = item.cls, item.originalname
        of_suite = suite is not None and issubclass(suite, WarehouseSuite)
        if _reads_directly(item) or (of_suite and _takes_long(suite, name, again=(suite, name) in seen)):
            item.add_marker(pytest.mark.slow)
        seen.add((suite, name))


def _reads_directly(item: pytest.Function) -> bool:
    return hasattr(item, "callspec") and item.callspec.params.get("reading") == "direct"


def _is_shown_elsewhere(item: pytest.Function) -> bool:
    parts = getattr(item.cls, "shown_elsewhere", ())
    if _reads_directly(item):
        parts = (*parts, Keys, Names, History, Erase)
    return any(item.originalname in vars(part) for part in parts)


def _takes_long(suite: type[WarehouseSuite], name: str, *, again: bool) -> bool:
    further = suite.takes_long and (again or name == MANY_LOADS)
    return further or any(name in vars(part) for part in suite.slow_parts)

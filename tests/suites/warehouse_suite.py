"""What every warehouse does: a class of tests that inherits from ``WarehouseSuite`` and gives its fixtures runs them.

The subclass says where the warehouse is and how to look into it; nothing here is written for one engine.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.suites.warehouse_case import Query, WarehouseCase, row
from tests.suites.warehouse_checks import Checks
from tests.suites.warehouse_erase import Erase
from tests.suites.warehouse_fulls import Fulls
from tests.suites.warehouse_history import History
from tests.suites.warehouse_keys import Keys
from tests.suites.warehouse_merging import Merging
from tests.suites.warehouse_names import Names
from tests.suites.warehouse_values import Values
from tests.suites.warehouse_versions import Versions

WHATEVER_LOADS = (Keys, Names, History, Versions, Erase, Checks)
"""Parts of the suite for which it does not matter how rows come into staging."""


class WarehouseSuite(Merging, Values, Fulls, Keys, Names, History, Versions, Erase):
    """Inherit, and give the fixtures ``settings`` and ``query``."""

    longest_key = 2_500
    """Characters (of one byte) that a text key may have; longer ones are rejected, or None if any length will do."""

    takes_long = False
    """Whether further cases of its tests are slow ones."""

    slow_parts: tuple[type, ...] = ()
    """Parts of the suite of which every case is slow."""

    shown_elsewhere: tuple[type, ...] = ()
    """Parts that another class of the same engine shows, and which no loader changes: they are left out."""

    @pytest.fixture
    def settings(self) -> dict[str, str]:
        """WAREHOUSE_URL of an empty warehouse, and whatever else the app needs for it."""
        raise NotImplementedError

    @pytest.fixture
    def query(self) -> Query:
        """Runs one statement in that warehouse, by itself and committed: its rows, or none."""
        raise NotImplementedError

    @pytest.fixture
    def open_case(self, tmp_path: Path, settings: dict[str, str], query: Query) -> Callable[..., WarehouseCase]:
        """Each call makes another app over the same warehouse; settings of its own can be given."""
        return lambda **env: WarehouseCase(tmp_path, query, **{**settings, **env})

    @pytest.fixture
    def case(self, open_case: Callable[..., WarehouseCase]) -> WarehouseCase:
        return open_case()

    @pytest.fixture
    def full(self, case: WarehouseCase) -> Path:
        return case.write("full", 5, [row(1, "Ada", 1), row(2, "Bob", 2), row(3, "Cy", 3, True)])

    @pytest.fixture
    def filled(self, case: WarehouseCase, full: Path) -> WarehouseCase:
        """A warehouse in which three items are stored, the third of them dead."""
        assert case.load(full).run.error is None
        return case

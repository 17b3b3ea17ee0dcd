"""Retries without waits, and what the tests of alerts send to."""

from __future__ import annotations

import pytest
import stamina


@pytest.fixture(autouse=True)
def no_waiting():
    """Retries happen at once."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield

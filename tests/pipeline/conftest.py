"""Fixtures of the tests of bad input."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.bad_input import Lab, Row, page


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Iterator[Row]:
    """The page's row for this test, which the test must hold."""
    found = page()[
        getattr(
            request.function,
            "case",
            request.node.callspec.params.get("name") if hasattr(request.node, "callspec") else "",
        )
    ]
    yield found
    assert found.held


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)

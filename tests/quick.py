"""Which cases of a test belong to `make test`; the others belong to `make test-slow`."""

from __future__ import annotations

from typing import Any

import pytest


def quick_if(quick: bool, *values: Any, id: str | None = None) -> Any:
    """The parameters of one case, which is slow unless *quick*."""
    return pytest.param(*values, marks=() if quick else pytest.mark.slow, id=id)

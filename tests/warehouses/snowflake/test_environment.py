"""The behaviour suite on fakesnow, in the environment of `make snowflake`. Nothing is run on Snowflake."""

from __future__ import annotations

import subprocess

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv-snowflake" / "bin" / "python"


@pytest.mark.slow
@pytest.mark.long
def test_behaviour_suite_passes_on_fakesnow():
    """fakesnow wants other versions than the app's tests, so it has an environment of its own."""
    if not PYTHON.exists():
        pytest.skip("fakesnow is not here: make snowflake installs it")

    done = subprocess.run(
        [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/warehouses/snowflake/test_fakesnow.py"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert 0 == done.returncode, done.stdout[-3000:]

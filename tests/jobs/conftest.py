"""An app with one exported file to load."""

from __future__ import annotations

import pytest

from tests.exports import Clock, export_path, open_test_app, write_parquet
from tests.jobs.job_steps import file_work, row


@pytest.fixture
def loadable(tmp_path):
    """An app, and the work of a job for one exported file on this machine: two slices and a reject."""
    file = write_parquet(export_path(tmp_path / "exports", "full", "20260224110000", "location"), [
        *(row(key) for key in range(9)), row(None),
    ], 5)  # fmt: skip
    app = open_test_app(tmp_path, Clock(), SLICE_ROWS="5", STATE_URL=str(tmp_path / "state"))
    return app, file_work(file)

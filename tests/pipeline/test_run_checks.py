"""A run that a check has stopped is corrected as its error says, and then it is loaded."""

from __future__ import annotations

import pytest

from tests.advice import advises, follows
from tests.suites.warehouse_case import WarehouseCase, row
from tests.suites.warehouse_checks import NUMBERS, declare

WRONG = 'kind = "in_range", columns = ["Amount"], max = 10, then = "stop"'


@pytest.mark.parametrize(
    ("text", "wrong", "right"),
    [
        follows(
            "Correct the data at the source, or the check in the catalog", WRONG, WRONG.replace("10", "11"), id="value"
        ),
        follows(
            "Correct its condition in the catalog: it is SQL of the warehouse over the feed's columns",
            "kind = \"sql\", condition = 'Amuont < 12', then = \"stop\"",
            "kind = \"sql\", condition = 'Amount < 12', then = \"stop\"", id="condition",
        ),
    ],
)  # fmt: skip
def test_stopped_run_is_loaded_once_the_check_is_corrected(tmp_path, text, wrong, right):
    """Nothing of it was published before; history has both."""
    case = WarehouseCase(tmp_path, lambda statement: [])
    declare(case, wrong)
    file = case.write("full", 5, [row(1, Amount=5), row(2, Amount=11)], **NUMBERS)

    stopped = case.load(file).run
    declare(case, right)
    loaded = case.load(file).run

    advises(text, stopped.error)
    assert "failed" == stopped.status
    assert ("done", 2, None) == (loaded.status, loaded.inserted, loaded.note)

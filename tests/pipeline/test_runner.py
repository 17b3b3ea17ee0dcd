"""One unit of work and its failures: what is recorded, what is raised, what is logged."""

from __future__ import annotations

import logging

from dataclasses import replace
from typing import Any

import pytest

from shared.errors import ConfigError, ConflictError, DataError, TransientError
from shared.model import Unit, WorkItem
from shared.pipeline.progress import Progress
from shared.pipeline.runner import Bug, RunOptions, error_text, log_job
from shared.pipeline.verbs import recorded
from tests.exports import export_path, load_exports, open_test_app, write_parquet

FEED = "coolr.location"
UNIT = Unit(kind="delta", work_items=(WorkItem("w1", "location.parquet"),))


@pytest.fixture
def app(tmp_path):
    return open_test_app(tmp_path)


class Broken:
    """A source that fails as it is given."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def describe(self, unit: Unit) -> Any:
        raise self._error

    def read(self, part: Any) -> Any:
        raise self._error


class Untidy:
    """A warehouse whose staging tables cannot be dropped."""

    def __init__(self, warehouse: Any) -> None:
        self._warehouse = warehouse

    def __getattr__(self, name: str) -> Any:
        return getattr(self._warehouse, name)

    def tidy(self, *_: Any, **__: Any) -> None:
        raise TransientError("the warehouse is away", fix="Wait")


def run_broken(app: Any, error: Exception, options: RunOptions | None = None) -> Any:
    return app.runner.run_unit(FEED, UNIT, Broken(error), options or RunOptions(), place="here", progress=Progress())


def known(app: Any) -> list[str]:
    """The status of the work in the ledger, and of the runs in history."""
    return [record.status for record in app.ledger.known(FEED, ["w1"]).values()] + [
        run.status for run in app.warehouse.runs()
    ]


@pytest.mark.parametrize("kind", [ConfigError, DataError, ConflictError])
def test_a_failure_is_recorded_in_ledger_and_history(app, kind):
    """Its work remains to be done."""
    result = run_broken(app, kind("it is wrong", fix="Correct it"))

    assert (True, "it is wrong. Correct it.") == (result.failed, result.run.error)
    assert ["failed", "failed"] == known(app)
    assert app.runner.run_for(FEED, UNIT, RunOptions()) is not None


def test_a_transient_failure_is_not_recorded(app):
    """What is away could not be written to either."""
    result = run_broken(app, TransientError("it is away", fix="Wait"))

    assert (True, "it is away. Wait.") == (result.failed, result.run.error)
    assert [] == known(app)


def test_a_failed_dry_run_is_not_recorded(app):
    """It leaves nothing."""
    assert run_broken(app, DataError("it is wrong", fix="Correct it"), RunOptions(dry_run=True)).failed
    assert [] == known(app)


def test_a_bug_fails_the_run_and_is_raised_with_its_traceback_in_the_log(app, caplog):
    """Nobody else would see it."""
    with pytest.raises(ZeroDivisionError):
        run_broken(app, ZeroDivisionError("by zero"))

    assert ["failed", "failed"] == known(app)
    assert "ZeroDivisionError: by zero" == app.warehouse.runs()[0].error
    assert 1 == sum(record.exc_info is not None for record in caplog.records)


def test_a_bug_that_was_logged_elsewhere_is_not_logged_again(caplog):
    """As text it has no traceback any more."""
    assert "KeyError: 'x'" == error_text(Bug("KeyError: 'x'"))
    assert [] == caplog.records


def test_a_result_is_not_lost_because_staging_stays_behind(app, tmp_path):
    """The next run of the feed cleans up."""
    file = write_parquet(export_path(tmp_path, "delta", "20260224110000", "location"), [{
        "LocationId": 1, "ModifiedOn": None, "IsDeleted": False,
    }])  # fmt: skip

    (result,) = load_exports(replace(app, warehouse=Untidy(app.warehouse)), file)

    assert ("done", 1) == (result.run.status, result.run.inserted)


def test_a_unit_that_cannot_be_named_is_recorded_as_failed(app):
    """With the works that are known of it."""
    run = app.runner.refuse(FEED, UNIT, ConflictError("it changed", fix="Load it again"))

    assert ("failed", "it changed. Load it again.") == (run.status, run.error)
    assert ["failed", "failed"] == known(app)


def test_only_wrong_data_of_a_slice_can_be_left_out(app):
    """Any other fault of a slice is the fault of the run."""
    with pytest.raises(ConfigError, match="no rights"):
        app.runner.merge(None, {}, {0: DataError("odd", fix="x"), 1: ConfigError("no rights", fix="y")}, RunOptions())


def test_steps_name_the_job_they_are_done_for(app, caplog):
    """In the line of each step; outside of it there is none."""
    with caplog.at_level(logging.INFO, "sluice"):
        with log_job("blob:1"):
            run_broken(app, DataError("odd", fix="x"))
        run_broken(app, DataError("odd", fix="x"))

    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("plan ")]
    assert [True, False] == ["job=blob:1" in line for line in lines]
    assert all(f"feed={FEED} run=" in line and line.endswith("DataError") for line in lines)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["done", "done"], (True, False, True)),
        (["failed", "failed"], (False, True, True)),
        (["done", "failed"], (False, False, True)),
        (["done", None], (False, False, False)),
        (["failed", "forgotten"], (False, False, False)),
    ],
)
def test_works_are_loaded_failed_or_open_together(statuses, expected):
    """By what the ledger says of each."""
    from shared.model import Record

    work_items = [WorkItem(str(n), "x") for n in range(len(statuses))]
    known = {str(n): Record(work=str(n), name="x", run="r", status=s, times=0) for n, s in enumerate(statuses) if s}

    assert expected == recorded(work_items, known)

"""A job as it is now: how its orchestration stands, and what became of its units, each with its counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from shared.documents import Documents
from shared.jobs.documents import job_loading, latest_outcomes
from shared.jobs.summary import read_record

__all__ = ["job_loading", "read_record", "view"]


def view(documents: Documents, job: str, host: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The job as JSON; None if it is not known. *host* is the state of its orchestration, if the host still has it."""
    record = read_record(documents, job)
    if host is None and record is None:
        return None
    known = {"job": job, **(host or {"state": "completed"})}
    if record is not None and known["state"] == "completed":
        return {
            **known, "state": record.summary.status, "retryable": record.retryable, "summary": asdict(record.summary),
            "units": [outcome.to_json() for outcome in record.outcomes],
        }  # fmt: skip
    units = [outcome.to_json() for outcome in latest_outcomes(documents, job)]
    return {**known, "retryable": False, "summary": None, "units": units}

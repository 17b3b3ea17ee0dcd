"""The steps of a job that reads one feed piece by piece, for tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from shared.app import App
from shared.jobs.activities import run_activity

STARTED = "2026-02-24T12:00:00.000000"


def job(app: App, feed: str, *, twice: bool = False, between: Callable[[int], Any] = lambda piece: None) -> Any:
    """Do a job for *feed*; how many pieces it took, and what ``publish`` gave.

    Each step is another process, whatever the one before had in memory is gone; *twice* delivers each step twice.
    *between* is called before each piece but the first.
    """

    def step(name: str, **more: Any) -> Any:
        request = {
            "job": "sync:1", "started": STARTED, "unit": 0, "work": {"kind": "feed", "feed": feed}, **more,
        }  # fmt: skip
        answers = [run_activity(replace(app, lookups={}), name, request) for _ in range(2 if twice else 1)]
        assert answers[0] == answers[-1]
        return answers[0]

    planned = step("plan")
    assert 1 == planned.get("slices"), planned
    piece, pieces = 0, 0
    while piece is not None:
        if pieces:
            between(piece)
        pieces += 1
        piece = step("stage", slice=piece).get("next")
    outcome = step("publish")
    step("tidy")
    run_activity(app, "finish", {
        "job": "sync:1", "started": STARTED, "units": 1, "work": {"kind": "feed", "feed": feed},
    })  # fmt: skip
    return pieces, outcome


def left(app: App) -> list[str]:
    """Documents of jobs that should be gone when one has ended."""
    return [one.name for one in app.documents.entries("jobs/") if not one.name.endswith("/summary")]

"""What ended its process again and again: a slice of a file is given up for its job, a window for the next jobs too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.errors import DataError
from shared.jobs.destinations import runner_of
from shared.jobs.request import ObjectEvents, PullFeed, UnitRequest
from shared.model import Plan, Slice, Unit
from shared.pipeline.starts import MAX_STARTS, Starts

if TYPE_CHECKING:
    from shared.app import App


def refuse_window(app: App, request: UnitRequest, feed: str, unit: Unit) -> None:
    """DataError for a window that was given up within the last day, unless a person requested the job."""
    if isinstance(request.work, PullFeed):
        starts = Starts.of_window(runner_of(app, request, feed).ledger, feed, unit)
        starts.refuse_fatal(app.now(), anew=request.requested_by is not None)


def refuse_slice(app: App, request: UnitRequest, plan: Plan, part: Slice, starts: int) -> None:
    """DataError if the slice has begun so often without an end; the next jobs of the feed then skip its window."""
    if starts <= MAX_STARTS:
        return
    if isinstance(request.work, PullFeed):
        feed = plan.run.feed
        raise Starts.of_window(runner_of(app, request, feed).ledger, feed, plan.unit).give_up(app.now())
    problem = f"{part.origin} ended the process {MAX_STARTS} times while it was read: by a crash, or for memory or time"
    if isinstance(request.work, ObjectEvents):
        raise DataError(problem, fix="Give the process more memory, then run the feed: it reads the objects again")
    raise DataError(
        problem,
        fix="Ask for the file again; if it is sound, have it written with smaller row groups; then run the feed",
    )

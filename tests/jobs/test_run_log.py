"""The runs that jobs keep, over blobs: the same as over a folder, with times that are whole seconds."""

from __future__ import annotations

import datetime as dt

from dataclasses import replace

import pytest

from shared.jobs.feed_state import FeedStates
from shared.jobs.run_log import DocumentedRuns
from shared.web.pages.local import run_log
from tests.exports import Clock, open_test_app
from tests.web.pages.browsing import HOSTILE, report


@pytest.fixture
def app(azurite, container, tmp_path):
    """An hour on, so that what is written now counts as settled."""
    clock = Clock(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
    return open_test_app(
        tmp_path, clock, STATE_URL=f"{container.url}-state", STORAGE_CONNECTION_STRING=azurite.connection_string
    )


def test_runs_are_found_again_in_blobs(app):
    """By feed, by key, whatever the name; the pauses with them."""
    kept = [report(app, feed, number=number) for feed in ("shop.a", HOSTILE) for number in (1, 2)]
    FeedStates(app.documents).pause("shop.a", "2026-02-24T12:00:00.000000")
    log = run_log(app)

    recent = log.recent()

    assert isinstance(log, DocumentedRuns)
    assert {"shop.a", HOSTILE} == set(recent.runs)
    assert ({"shop.a"}, True, False) == (set(recent.paused), log.is_paused("shop.a"), log.is_paused("shop.b"))
    assert replace(kept[3], slices=(), files=()) == recent.runs[HOSTILE].last
    assert [kept[3], kept[2]] == log.of_feed(HOSTILE)
    assert (kept[0], None) == (log.run("shop.a", kept[0].key), log.run("shop.a", "no such key"))


def test_what_was_read_before_is_read_once(app):
    """And again as soon as it has changed."""
    for number in range(25):
        report(app, f"shop.t{number}")
    log = run_log(app)
    first = log.recent().runs
    assert app.documents.get("status/overview")
    FeedStates(app.documents).pause("shop.t1", "2026-02-24T12:00:00.000000")

    assert (first, frozenset({"shop.t1"})) == log.recent()

"""What the API refuses, with which status and in which words; and what it says of unexpected errors."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from shared.errors import ConfigError, TransientError
from shared.jobs import triggers
from shared.jobs.feed_state import FeedStates
from shared.web import api, responses
from shared.web.webhooks import receive
from tests.web.hostile_webhooks import HEADER, signature
from tests.web.site import ACTIONS, CLIENT, FEED, NOBODY, SECRET, Away

# -- what is refused


@pytest.mark.parametrize("feed", ["coolr.locations", "location", "Coolr.Location", "%2e%2e%2fcoolr", "%00", "a" * 3000])
@pytest.mark.parametrize("action", ACTIONS)
def test_unknown_feed_is_not_found(site, action, feed):
    """Whatever is to be done to it."""
    body = {"to": "2026-02-24"} if action == "backfill" else None

    answer = site.opens().sends("POST", f"feeds/{feed}/{action}", body)

    assert 404 == answer.status
    assert "there is no" in answer.body["error"]


def test_error_of_an_unknown_feed_lists_those_there_are(site):
    """So that a slip is seen at once."""
    answer = site.opens().sends("POST", "feeds/coolr.locations/run")

    assert "'coolr.locations'" in answer.body["error"]
    assert FEED in answer.body["error"]


def test_name_that_some_databases_cannot_be_requested_is_not_found(site):
    """PostgreSQL takes no such character, not even to look for it."""
    site.opens({"warehouse": Away(ValueError("text fields cannot contain NUL"))})

    assert 404 == site.sends("POST", "feeds/coolr.%00/run").status


WRONG = [
    ("run", b"{", "the body is not JSON"),
    ("run", b"\xff", "the body is not JSON"),
    ("run", b"[" * 100_000, "the body is not JSON"),
    ("run", b"[]", "the body is not a JSON object"),
    ("run", b"null", "the body is not a JSON object"),
    ("run", b'{"max_delete_shares": 1}', "'max_delete_shares' is unknown; known are max_delete_share"),
    ("run", b'{"max_delete_share": 1.5}', "max_delete_share must be a number from 0 to 1"),
    ("run", b'{"max_delete_share": -0.1}', "max_delete_share must be a number from 0 to 1"),
    ("run", b'{"max_delete_share": NaN}', "max_delete_share must be a number from 0 to 1"),
    ("run", b'{"max_delete_share": 1e999}', "max_delete_share must be a number from 0 to 1"),
    ("run", b'{"max_delete_share": true}', "max_delete_share must be a number from 0 to 1"),
    ("run", b'{"max_delete_share": "1"}', "max_delete_share must be a number from 0 to 1"),
    ("run", b'{"max_delete_share": null}', "max_delete_share must be a number from 0 to 1"),
    ("backfill", b"", "write either reset, as true, or to, as a text: a time such as 2026-02-24T00:00:00Z"),
    ("backfill", b"{}", "write either reset, as true, or to"),
    ("backfill", b'{"reset": false}', "write either reset, as true, or to"),
    ("backfill", b'{"reset": true, "to": "2026-02-24"}', "write either reset, as true, or to"),
    ("backfill", b'{"reset": 1}', "reset must be true or false"),
    ("backfill", b'{"to": "2026-02-24", "by": ""}', "by must be a name of 1 to 200 characters"),
    ("backfill", b'{"to": "yesterday"}', "cannot be set back to 'yesterday': that is no time. Write a time such as"),
    ("backfill", b'{"to": 20260224}', "to must be a text: a time"),
    ("backfill", b'{"to": null}', "to must be a text: a time"),
    ("backfill", b'{"to": "2026-02-30"}', "that is no time"),
    ("backfill", b'{"to": "0001-01-01T00:00:00+14:00"}', "that is no time"),
    ("backfill", b'{"to": "\\ud800"}', "the body is not JSON"),
    ("backfill", b'{"from": "2026-02-24"}', "'from' is unknown; known are to, reset, by"),
    ("pause", b'{"until": "2026-02-24"}', "'until' is unknown; known are no fields"),
    ("resume", b'{"\\ud800": 1}', "the body is not JSON"),
]


@pytest.mark.parametrize(("action", "body", "reason"), WRONG, ids=[f"{a}-{b[:24]!r}" for a, b, _ in WRONG])
def test_wrong_body_is_refused_by_the_name_of_its_field(site, action, body, reason):
    """And nothing is done."""
    answer = site.opens().sends("POST", f"feeds/{FEED}/{action}", body)

    assert 400 == answer.status
    assert reason in answer.body["error"]
    assert not FeedStates(site.app.documents).paused(FEED)
    assert {} == site.host.durable.instances


@pytest.mark.parametrize(
    "id",
    [
        NOBODY, "export", "export:", "export:a%2Fb", "export:..%2F..%2Ffeeds", "export:a%0A", "export:%00", "other:1",
        "EXPORT:1", "export:1~", "export:1~2~3", f"export:{'a' * 300}", f"{'a' * 300}:1", "export:%C3%A9",
        "export:a%20b", "@export@1", "%2E%2E",
    ],
)  # fmt: skip
def test_job_that_cannot_be_is_not_found(site, id):
    """Nobody is asked for it by a name that it could not have."""
    answer = site.opens().sends("GET", f"jobs/{id}")

    assert (404, {"error": "there is no such job"}) == (answer.status, answer.body)


def test_child_of_a_job_is_no_job(notifying, server):
    """Its parts are the host's business."""
    job = notifying.notified(server, "location.parquet")
    notifying.ended(job)

    assert {job, f"{job}:0", f"{job}:0:0"} <= notifying.host.durable.instances.keys()
    assert 404 == notifying.sends("GET", f"jobs/{job}:0").status


def test_action_may_be_written_in_any_case(site):
    """Routes of the host know no case, and hand on what was written."""
    site.opens()

    assert [] == api.run_action(site.app, FEED, "PAUSE", b"")
    assert FeedStates(site.app.documents).paused(FEED)


def test_notification_where_none_is_expected_says_what_to_set(site):
    """To be corrected by an operator: waiting does not help."""
    answer = site.opens().sends("POST", "webhooks/coolr", {}, {HEADER: "0" * 64})

    assert (503, False) == (answer.status, "Retry-After" in answer.headers)
    assert "COOLR_WEBHOOK_SECRET" in answer.body["error"]


@pytest.mark.parametrize(("ahead", "status"), [("3600", 400), ("10800", 202)])
def test_an_export_from_the_future_is_refused_by_the_setting(site, server, ahead, status):
    """CURSOR_AHEAD holds for notifications as it does for files: two hours ahead of the clock here."""
    hosts = server.url.removeprefix("http://")
    site.opens(COOLR_WEBHOOK_SECRET=SECRET, COOLR_WEBHOOK_HOSTS=hosts, CURSOR_AHEAD=ahead)
    later = site.clock() + dt.timedelta(hours=2)
    body = json.dumps({
        "clientName": CLIENT, "exportType": "Delta", "exportDateTime": later.isoformat(),
        "files": [{"fileName": "location.parquet", "downloadUrl": f"{server.url}/location.parquet"}],
    }).encode()  # fmt: skip

    answer = site.sends("POST", "webhooks/coolr", body, {HEADER: signature(body, SECRET)})

    assert status == answer.status


# -- what goes wrong


@pytest.mark.parametrize(
    ("method", "path", "module", "function"),
    [
        ("GET", "health", api, "health"),
        ("GET", f"jobs/{NOBODY}", api, "job"),
        ("POST", f"feeds/{FEED}/run", api, "run_action"),
        ("POST", "webhooks/coolr", responses, "accepted_response"),
    ],
)
def test_the_traceback_of_an_unexpected_error_is_in_the_log_alone(
    site, monkeypatch, caplog, method, path, module, function
):  # fmt: skip
    """The answer is one sentence, the same for all."""

    def broken(*_, **__):
        raise RuntimeError("the canary died in C:/site")

    monkeypatch.setattr(module, function, broken)
    monkeypatch.setattr(receive, "export_notified", lambda *_: triggers.sync_job(FEED))
    site.opens()

    answer = site.sends(method, path)

    assert (500, {"error": "internal error; see the log"}) == (answer.status, answer.body)
    assert ["the canary died in C:/site"] == [str(one.exc_info[1]) for one in caplog.records if one.exc_info]


def test_what_passes_says_when_to_ask_again(site, monkeypatch):
    """And nothing that signs in."""
    busy = TransientError("https://a.test/x?sig=canary is busy", fix="Try again")
    site.opens({"warehouse": Away(busy)})

    answer = site.sends("POST", "feeds/coolr.other/run")

    assert (503, "30") == (answer.status, answer.headers["Retry-After"])
    assert {"error": "https://a.test/x is busy. Try again."} == answer.body


def test_what_is_set_wrongly_is_not_worth_waiting_for(site):
    """The sentence says what to correct."""
    site.opens({"documents": Away(ConfigError("no right to write", fix="Give one"))})

    answer = site.sends("POST", f"feeds/{FEED}/pause")

    assert (503, {"error": "no right to write. Give one."}) == (answer.status, answer.body)
    assert "Retry-After" not in answer.headers

"""Everything an API may do wrong: a sync goes on where that helps, says why where not, and loses or doubles no row."""

from __future__ import annotations

import datetime as dt
import json
import logging

from dataclasses import replace

import pytest

from shared.errors import TransientError
from shared.rest import client as rest_client
from shared.rest.clock import SYSTEM
from shared.rest.connect import open_client
from shared.rest.limits import Limiter
from shared.sources.rest import source as rest_source
from tests.servers import free_port
from tests.servers.api import TOKEN, api
from tests.servers.http import Reply, as_json
from tests.sources.rest.test_sync import PATH, person, stored, sync

BROKEN = {
    "429 with seconds": lambda _: as_json({}, 429, Retry_After="0"),
    "429 with a date": lambda _: as_json({}, 429, Retry_After="Tue, 24 Feb 2026 12:00:00 GMT"),
    "429 of a proxy": lambda _: as_json({"retry_after": 0}, 429),
    "429 of HubSpot": lambda _: as_json({"status": "error", "policyName": "SECONDLY", "errorType": "RATE_LIMIT"}, 429),
    "429 without a word": lambda _: Reply(429),
    "423": lambda _: as_json({"message": "locked"}, 423),
    "502 with a page": lambda _: Reply(502, b"<html>Bad gateway</html>"),
    "503": lambda _: Reply(503),
    "524": lambda _: Reply(524),
    "cut off": lambda _: Reply(200, json.dumps({"data": {"items": [person(1)]}}).encode(), {}, cut=20),
    "closed": lambda _: Reply(200, b"x" * 100, {}, cut=0),
    "HTML": lambda _: Reply(200, b"<html>Please sign in</html>", {"Content-Type": "text/html"}),
    "half of JSON": lambda _: Reply(200, b'{"data": {"items": ['),
    "no UTF-8": lambda _: Reply(200, b'{"data": "\xff"}'),
}


@pytest.fixture
def app(open_app, server):
    server.lists[PATH] = [person(n) for n in range(1, 8)]
    return open_app(paging="cursor")


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN)
def test_what_passes_is_called_again(app, server, fault):
    """Twice on one page, then once on another: each row comes once."""
    server.faults.extend([lambda _: None, fault, fault, lambda _: None, fault])

    result = sync(app)

    assert ("done", 7) == (result.outcome, result.counts["inserted"]), result.reason
    assert list(range(1, 8)) == sorted(stored(app))


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN)
def test_what_does_not_pass_fails_and_the_next_sync_goes_on(app, server, fault):
    server.faults.extend([lambda _: None, *[fault] * 5])

    assert "failed" == sync(app).outcome
    assert [] == app.warehouse.table_rows("acme", "people")[1]
    assert 7 == sync(app).counts["inserted"]


def test_a_day_without_calls_left_suspends_the_account(open_app, server, monkeypatch):
    """No feed of it is called any more until the day ends where the account is, and the error says when."""
    now = dt.datetime(2026, 2, 24, 12, tzinfo=dt.UTC)
    monkeypatch.setattr(rest_client.failures, "next_midnight", lambda *_: now + dt.timedelta(hours=11))
    app = open_app(more="", ACME_API_TOKEN=f"{TOKEN}-daily")
    server.tokens.add(f"{TOKEN}-daily")
    server.lists[PATH] = [person(1)]
    server.faults.append(lambda _: as_json({"policyName": "DAILY", "message": "too many"}, 429))
    limiter = open_client(app.systems["acme"].feed("people", ()), app.settings).limiter
    time = [now]
    monkeypatch.setattr(limiter, "_clock", SYSTEM._replace(now=lambda: time[0]))

    reason = sync(app).reason

    assert "allows no more calls today; nothing is called before 2026-02-24 23:00 UTC" in reason
    assert reason == sync(app).reason
    assert 1 == len(server.calls)
    time[0] += dt.timedelta(hours=12)
    assert 1 == sync(app).counts["inserted"]


def test_a_long_wait_ends_the_sync(app, server):
    """An account that is moved, for a day perhaps (477)."""
    server.faults.append(lambda _: as_json({}, 477, Retry_After="86400"))

    assert "is busy (477)" in sync(app).reason
    assert 1 == len(server.calls)


def test_an_answer_may_not_be_endless(app, server, monkeypatch):
    monkeypatch.setattr(rest_source, "open_client", lambda *words: replace(open_client(*words), most_bytes=1 << 20))
    server.faults.append(lambda _: Reply(200, b"[" + b" " * (1 << 20) + b"]"))

    assert "answers with more than 1 MB. Choose smaller pages" in sync(app).reason
    assert 1 == len(server.calls)


def test_an_answer_may_not_take_for_ever(app, server):
    """A body that trickles is given up by the clock, though the connection is never silent for long."""
    seconds = iter(range(0, 10_000_000, 1_000))
    client = open_client(app.systems["acme"].feed("people", ()), app.settings)
    client.clock = SYSTEM._replace(timer=lambda: next(seconds))

    with pytest.raises(TransientError, match="did not respond in time"):
        client.call(rest_client.Call(path=PATH))
    assert 5 == len(server.calls)


def test_a_redirect_is_not_followed(app, server):
    """It would take the token along."""
    server.faults.append(lambda _: Reply(302, b"", {"Location": "http://127.0.0.1:1/"}))

    assert "redirects (302), which is not followed" in sync(app).reason


@pytest.mark.parametrize(
    "link", ["http://evil.test/v1/people", "//evil.test/v1/people", "http://127.0.0.1:1/v1/people"]
)
def test_links_to_another_host_are_not_followed(open_app, server, link):
    app = open_app(paging="next")
    server.faults.append(lambda _: as_json({"data": {"items": [person(1)]}, "next": link}))

    assert "names a page on another host" in sync(app).reason


def test_no_secret_is_shown(app, server, caplog):
    """Neither in errors, nor in logs, nor in history: though the API repeats it."""
    caplog.set_level(logging.DEBUG)
    server.faults.append(lambda _: as_json({"message": f"no right for {TOKEN}"}, 403))

    reason = sync(app).reason

    assert "no right for ***" in reason
    assert TOKEN not in caplog.text
    assert TOKEN not in str(app.warehouse.runs())


def test_pages_are_kept_as_they_came(app, server, tmp_path):
    sync(app, keep_raw=str(tmp_path / "raw"))

    folder = tmp_path / "raw" / "acme.people"
    pages = [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]
    calls = [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]
    assert list(range(1, 8)) == [one["id"] for page in pages for one in page["data"]["items"]]
    assert [{}, {"after": "3"}, {"after": "6"}] == [call["parameters"] for call in calls]
    assert TOKEN not in (folder / "calls.jsonl").read_text()


def test_numbers_and_texts_are_kept_exactly(open_app, server):
    """Also numbers beyond 64 bits, and half a character."""
    app = open_app(paging="none")
    body = '{"data": {"items": [{"id": 1, "updated_at": "2026-02-24T10:00:00Z", "big": 123456789012345678901, '
    body += '"money": 0.1, "half": "a\\ud800b", "tiny": 1e-30}]}}'
    server.faults.append(lambda _: Reply(200, body.encode()))

    assert "done" == sync(app).outcome
    row = stored(app)[1]
    assert (123456789012345678901, "0.1000", "a?b", 1e-30) == (row["big"], str(row["money"]), row["half"], row["tiny"])


def test_an_address_that_never_answered_is_tried_twice_and_named_with_its_port():
    """It is wrong, more often than its server is down."""
    port = free_port()
    client = rest_client.Client(base=f"http://127.0.0.1:{port}", setting="ACME_BASE_URL", limiter=Limiter(()))

    with pytest.raises(TransientError, match=f"^127.0.0.1:{port} refuses connections"):
        client.call(rest_client.Call(path="/"))

    assert 1 == client.retries


def test_a_server_that_goes_away_is_tried_more_often():
    with api() as gone:
        client = rest_client.Client(base=gone.url, setting="ACME_BASE_URL", limiter=Limiter(()))
        client.call(rest_client.Call(path="/", allowed=frozenset({401})))
        client.close()  # a connection that is kept would still be answered

    with pytest.raises(TransientError, match="refuses connections"):
        client.call(rest_client.Call(path="/"))

    assert 2 < client.retries

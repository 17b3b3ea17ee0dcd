"""Sending alerts: once in a while, to where the settings say, and never harming what they are about."""

from __future__ import annotations

import json
import logging
import threading
import types

from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests
import stamina

from shared.alerts.decide import alert_for_summary, summarize
from shared.alerts.formats import json as as_json
from shared.alerts.formats import slack, teams
from shared.alerts.send import Alerts
from shared.errors import TransientError
from tests.advice import advises
from tests.alerts.samples import ALERT, DONE, FAILED, SECRET, Memory, fails, session_with, settings
from tests.servers import free_port


@pytest.fixture
def receiver():
    """A web server of this machine that keeps what it gets."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield types.SimpleNamespace(url=f"http://127.0.0.1:{listening.server_port}/hook?sig=canary", got=got)
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize(("form", "made"), [("teams", teams), ("slack", slack), ("json", as_json)])
def test_alert_arrives_as_the_settings_want_it(receiver, form, made):
    """On a real server, as JSON."""
    reported = Alerts(settings(alert_url=receiver.url, alert_format=form), Memory()).send(ALERT)

    (path, headers, body) = receiver.got[0]
    assert reported
    assert ("/hook?sig=canary", "application/json") == (path, headers["Content-Type"])
    assert made(ALERT) == json.loads(body)


def test_server_that_is_away_is_no_failure(caplog):
    """The log says so, without the address."""
    reported = Alerts(settings(alert_url=f"http://127.0.0.1:{free_port()}/canary?sig=canary"), Memory()).send(ALERT)

    assert not reported
    assert "alert was not sent: coolr.location is late: 127.0.0.1 refuses connections" in caplog.text
    assert "canary" not in caplog.text


def test_address_that_is_none_is_copied_again(receiver, caplog):
    """From where it was made, whole."""
    assert not Alerts(settings(alert_url=receiver.url.partition("://")[2]), Memory()).send(ALERT)
    advises("Copy the complete link again", caplog.records[-1].getMessage())

    assert Alerts(settings(alert_url=receiver.url), Memory()).send(ALERT)
    assert 1 == len(receiver.got)


def test_same_alert_is_sent_once_until_its_time_is_over():
    """Another one is sent meanwhile."""
    session, seen = session_with(lambda _: (200, {}, b"ok"))
    memory = Memory()
    alerts = Alerts(settings(alert_repeat=60.0), memory, session)

    assert [True, False, True] == [alerts.send(ALERT), alerts.send(ALERT), alerts.send(replace(ALERT, key="other"))]
    memory.now = 60.0
    assert alerts.send(ALERT)
    assert 3 == len(seen)


def test_what_was_not_sent_is_sent_by_the_next_attempt():
    """Nobody has read it."""
    answers = iter([(404, {}, b"no_service"), (200, {}, b"ok")])
    session, _ = session_with(lambda _: next(answers))
    alerts = Alerts(settings(), Memory(), session)

    assert [False, True, False] == [alerts.send(ALERT), alerts.send(ALERT), alerts.send(ALERT)]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507])
def test_busy_server_is_called_again(status):
    """It may pass."""
    answers = iter([(status, {}, b""), (status, {}, b""), (202, {}, b"")])
    session, seen = session_with(lambda _: next(answers))

    assert Alerts(settings(), Memory(), session).send(ALERT)
    assert 3 == len(seen)


def test_server_that_stays_busy_is_given_up(caplog):
    """After three attempts; what it said at last is logged."""
    session, seen = session_with(lambda _: (503, {}, {"error": {"message": "try later"}}))

    assert not Alerts(settings(), Memory(), session).send(ALERT)
    assert 3 == len(seen)
    assert "refuses it (503): try later" in caplog.text


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 410, 413])
def test_refusal_is_final_and_no_redirect_is_followed(status, caplog):
    """Nothing changes by asking; what we send goes nowhere else."""
    session, seen = session_with(lambda _: (status, {"Location": "https://elsewhere.test/"}, b"invalid_blocks"))

    assert not Alerts(settings(), Memory(), session).send(ALERT)
    assert 1 == len(seen)
    assert f"({status})" in caplog.text


@pytest.mark.parametrize(
    "error",
    [requests.ConnectionError(SECRET), requests.ReadTimeout(SECRET), requests.exceptions.ChunkedEncodingError(SECRET)],
)
def test_broken_connection_is_tried_again(error, caplog):
    """And its text, which holds the address, is not repeated."""
    session, seen = session_with(fails(error))

    assert not Alerts(settings(), Memory(), session).send(ALERT)
    assert 3 == len(seen)
    assert "hooks.example.test" in caplog.text
    assert "canary" not in caplog.text


def test_wait_is_as_long_as_the_server_asks(monkeypatch):
    """In seconds or until a time, if it is short."""
    waits = []
    monkeypatch.setattr("tenacity.nap.time", types.SimpleNamespace(sleep=waits.append))
    until = {"Retry-After": "Tue, 24 Feb 2026 12:00:09 GMT", "Date": "Tue, 24 Feb 2026 12:00:00 GMT"}
    answers = iter([(429, {"Retry-After": "7"}, b""), (503, until, b""), (200, {}, b"")])
    session, _ = session_with(lambda _: next(answers))

    with stamina.set_testing(False):
        assert Alerts(settings(), Memory(), session).send(ALERT)

    assert [7.0, 9.0] == waits


def test_server_that_asks_for_too_long_a_wait_is_given_up(monkeypatch):
    """An hour is for the next alert."""
    waits = []
    monkeypatch.setattr("tenacity.nap.time", types.SimpleNamespace(sleep=waits.append))
    session, seen = session_with(lambda _: (429, {"Retry-After": "3600"}, b""))

    with stamina.set_testing(False):
        assert not Alerts(settings(), Memory(), session).send(ALERT)

    assert ([], 1) == (waits, len(seen))


@pytest.mark.parametrize("error", [TransientError("busy", fix="Try again"), RuntimeError("bug")])
def test_alert_is_sent_if_nobody_knows_whether_it_was_before(error):
    """Twice is better than never."""
    session, seen = session_with(lambda _: (200, {}, b"ok"))
    memory = types.SimpleNamespace(first=lambda *_: (_ for _ in ()).throw(error))

    assert Alerts(settings(), memory, session).send(ALERT)
    assert 1 == len(seen)


def test_nothing_raises_even_if_everything_is_broken(caplog):
    """Neither a bug in sending, nor one in forgetting."""
    session, _ = session_with(fails(AssertionError(SECRET)))
    broken = types.SimpleNamespace(first=lambda *_: True)  # it cannot forget

    assert not Alerts(settings(), broken, session).send(ALERT)
    assert not Alerts(settings(), Memory(), session).send(replace(ALERT, facts=((None, None),)))
    assert "AssertionError" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://hooks.example.test/canary", "ALERT_URL is not encrypted. Start it with https://."),
        ("hooks.example.test/canary", "ALERT_URL is no https link. Copy the complete link again."),
        ("https://[half/canary", "ALERT_URL is no https link. Copy the complete link again."),
        ("https://", "ALERT_URL is no https link. Copy the complete link again."),
        ("https://a..b/canary", "a..b cannot be reached"),
    ],
)
def test_address_that_cannot_be_requested_is_said(url, said, caplog):
    """Without the address, and nothing travels for all to read."""
    assert not Alerts(settings(alert_url=url), Memory()).send(ALERT)
    assert said in caplog.text
    assert "canary" not in caplog.text


def test_what_the_other_side_repeats_of_the_address_is_not_logged(caplog):
    """It may be all that signs in."""
    session, _ = session_with(lambda request: (404, {}, f"no hook at {request.path_url}".encode()))

    assert not Alerts(settings(), Memory(), session).send(ALERT)
    assert "no hook at /services/***/***/***" in caplog.text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"invalid_blocks", "(400): invalid_blocks"),
        ({"error": {"code": "Bad", "message": "No such flow."}}, "(400): No such flow"),
        ({"error": "no_text"}, "(400): no_text"),
        ([1], "(400)"),
        (b"<html>gone</html>", "(400)"),
        (b"\xff\x00a\nb", "(400): \ufffd a b"),
        (b"", "(400)"),
    ],
)
def test_reason_of_a_refusal_is_logged_in_a_line(body, said, caplog):
    """As far as it is one for people."""
    session, _ = session_with(lambda _: (400, {}, body))

    Alerts(settings(), Memory(), session).send(ALERT)

    assert caplog.messages[-1].endswith(f"refuses it {said}")


@pytest.mark.parametrize(
    ("outcomes", "reported"),
    [([DONE], False), ([{**DONE, "rejected": 1}], True), ([DONE, FAILED], True), ([FAILED], True)],
)
def test_problems_alone_are_sent_if_the_settings_say_so(outcomes, reported):
    """A job without any is not summed up, and is not remembered either."""
    session, seen = session_with(lambda _: (200, {}, b"ok"))
    memory = Memory()

    assert reported == Alerts(settings(alert_on="problems"), memory, session).send(
        alert_for_summary(summarize("j", "x", outcomes, 1.0))
    )
    assert (int(reported), int(reported)) == (len(seen), len(memory.known))


def test_everything_is_sent_by_default():
    """A flawless job too."""
    session, _ = session_with(lambda _: (200, {}, b"ok"))

    assert Alerts(settings(), Memory(), session).send(alert_for_summary(summarize("j", "x", [DONE], 1.0)))


def test_alert_that_goes_nowhere_is_logged(caplog):
    """In one line, without secrets."""
    alert = replace(ALERT, text="see https://a.test/b?sig=canary\nnow")

    assert not Alerts(settings(alert_url=None), Memory()).send(alert)
    assert [
        ("sluice", logging.WARNING, "alert: coolr.location is late see https://a.test/b now")
    ] == caplog.record_tuples


def test_sign_in_of_a_netrc_file_is_not_sent(tmp_path, monkeypatch):
    """What stands there for a host is for people's own programs."""
    (tmp_path / "netrc").write_text("machine hooks.example.test login me password canary\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    session, seen = session_with(lambda _: (200, {}, b"ok"))

    assert Alerts(settings(), Memory(), session).send(ALERT)
    assert "Authorization" not in seen[0].headers

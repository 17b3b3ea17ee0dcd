"""What is worth telling, how it looks to those who are told, and that telling never harms."""

from __future__ import annotations

import io
import json
import logging
import threading
import types
import unicodedata

from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests
import stamina

from hypothesis import HealthCheck, given
from hypothesis import settings as of_hypothesis
from hypothesis import strategies as st

from shared.alerts import (
    Alert,
    Alerts,
    Summary,
    alert_for_failure,
    alert_for_run,
    alert_for_summary,
    alert_key,
    record_of,
    run_message,
    summarize,
)
from shared.alerts.formats import json as as_json
from shared.alerts.formats import slack, teams
from shared.errors import TransientError
from shared.model import Run
from shared.settings import Settings
from tests.servers import free_port

SECRET = "https://hooks.example.test/services/T0123456/B0123456/canary7890canary7890?sig=canary"
RUN = Run(id="r1", feed="coolr.location", kind="delta", started="2026-02-24T12:00:00.000000", read=1204)
DONE = {"feed": "coolr.location", "place": "Full/Acme/20260224120000/location.parquet", "status": "done"}
FAILED = {"feed": "coolr.asset", "place": "Full/Acme/20260224120000/asset.parquet", "status": "failed"}
SKIPPED = {"feed": "coolr.visit", "place": "Full/Acme/20260224120000/visit.parquet", "status": "skipped"}
ALERT = Alert(
    kind="stale",
    title="coolr.location is late",
    text="Nothing came since 2026-02-24 12:00:00 UTC.\nIt is <expected> & due.",
    facts=(("Feed", "coolr.location"), ("Last", "a [b](http://c)")),
    link="https://sluice.example.test/api/jobs/j1?code=canary",
    severity="warning",
    key=alert_key("stale", "coolr.location"),
)


class Pretend(requests.adapters.BaseAdapter):
    """A server: a function from a request to status, headers and body, or to an error of the connection."""

    def __init__(self, answer):
        super().__init__()
        self._answer, self.seen = answer, []

    def send(self, request, **_options):
        self.seen.append(request)
        status, headers, body = self._answer(request)
        response = requests.Response()
        response.status_code, response.request, response.url = status, request, request.url
        response.headers.update(headers)
        response.raw = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        return response

    def close(self):
        pass


def session_with(answer):
    """A session that asks *answer*, and the requests it has seen."""
    pretend, session = Pretend(answer), requests.Session()
    session.mount("https://", pretend)
    session.mount("http://", pretend)
    return session, pretend.seen


def fails(error):
    """What a pretend server does that breaks the connection."""

    def answer(_request):
        raise error

    return answer


class Memory:
    """What has been told, until its clock has moved on."""

    def __init__(self):
        self.now, self.known = 0.0, {}

    def first(self, key, within_seconds):
        if key in self.known and self.now - self.known[key] < within_seconds:
            return False
        self.known[key] = self.now
        return True

    def forget(self, key):
        self.known.pop(key, None)


@pytest.fixture(autouse=True)
def no_waiting():
    """Retries happen at once."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


def settings(**given):
    return Settings(**{"alert_url": SECRET, "alert_format": "json", **given})


# -- what is worth telling


@pytest.mark.parametrize(
    ("run", "told"),
    [
        (RUN, None),
        (replace(RUN, status="dry", rejected=3), None),
        (replace(RUN, kind="full", complete=True), None),
        (replace(RUN, status="failed", error="no such\nfile"), "coolr.location failed: no such file"),
        (replace(RUN, status="failed"), "coolr.location failed: nobody knows why"),
        (replace(RUN, status="failed", error="x", rejected=3), "coolr.location failed: x"),
        (
            replace(RUN, status="failed", error="https://a.test/b?sig=canary is refused"),
            "coolr.location failed: https://a.test/b is refused",
        ),
        (replace(RUN, rejected=3), "coolr.location set aside 3 of 1,204 rows"),
        (replace(RUN, read=1, rejected=1), "coolr.location set aside 1 of 1 row"),
        (replace(RUN, values_rejected=1), "coolr.location set aside 1 value of rows that went on without"),
        (
            replace(RUN, rejected=3, values_rejected=2000),
            "coolr.location set aside 3 of 1,204 rows; set aside 2,000 values of rows that went on without",
        ),
        (
            replace(RUN, kind="full", note="merged as a delta: part files may still be arriving"),
            "coolr.location took a full without deleting what it lacks: "
            "merged as a delta: part files may still be arriving",
        ),
        (replace(RUN, kind="full"), "coolr.location took a full without deleting what it lacks"),
        (replace(RUN, note="late: a full is merged already"), None),
    ],
)
def test_what_is_worth_telling(run, told):
    """Failures, what was set aside, and a full that was none; in one line, without secrets."""
    assert told == run_message(run)


def test_flawless_run_is_no_alert():
    """Nobody wants to read it."""
    assert None is alert_for_run(RUN, "location.parquet")


def test_failed_run_is_an_error_with_its_place():
    """And with what an operator looks up next."""
    run = replace(RUN, status="failed", error="no such file", client="Acme", exported_at="2026-02-24T11:00:00.000000")

    alert = alert_for_run(run, "Full/Acme/location.parquet", "https://a.test/j")

    facts = {
        "Place": "Full/Acme/location.parquet",
        "Client": "Acme",
        "Exported": "2026-02-24 11:00:00 UTC",
        "Run": "r1",
    }
    assert ("failure", "error", "coolr.location failed") == (alert.kind, alert.severity, alert.title)
    assert ("coolr.location failed: no such file", "https://a.test/j") == (alert.text, alert.link)
    assert facts == dict(alert.facts)


def test_run_with_rejected_rows_is_a_warning():
    """It is done, and somebody should look."""
    alert = alert_for_run(replace(RUN, rejected=3), "location.parquet")

    assert ("notice", "warning", "coolr.location needs a look") == (alert.kind, alert.severity, alert.title)


def test_part_that_failed_without_a_run_is_an_error_too():
    """Told by its feed, else by where it lies."""
    alert = alert_for_failure({**FAILED, "error": "no such\nfile"}, "https://a.test/j")

    assert ("failure", "error", "coolr.asset failed") == (alert.kind, alert.severity, alert.title)
    assert ("coolr.asset failed: no such file", "https://a.test/j") == (alert.text, alert.link)
    assert (("Place", FAILED["place"]),) == alert.facts
    assert "x.parquet failed" == alert_for_failure({"place": "x.parquet"}).title


def test_same_trouble_has_the_same_key_whatever_its_numbers():
    """A storm of one kind is one message; another reason or feed is another."""

    def key(**given):
        return alert_for_run(replace(RUN, status="failed", **given), "x").key

    known = key(error="file 20260224120000 of run 0a1b2c3d4e5f lacks 3 of 1,204 rows")
    assert known == key(error="file 20260225120000 of run 99aabbccddee lacks 17 of 9,000 rows")
    assert known != key(error="the warehouse is full")
    assert known != key(error="file 20260224120000 of run 0a1b2c3d4e5f lacks 3 of 1,204 rows", feed="coolr.asset")


def test_key_is_safe_as_a_name():
    """Whatever it is about, it may stand in the name of a blob or a file."""
    assert alert_key("stuck", "blob:../\ud800/é?", "x").replace("-", "").isalnum()


# -- the end of a job


def test_outcomes_are_summed():
    """Counts that are missing are 0, and absent rows count as deleted."""
    outcomes = [
        {**DONE, "read": 10, "inserted": 1, "updated": 2, "deleted": 3, "absent": 4, "undeleted": 1, "unchanged": 1},
        {**DONE, "read": 5, "inserted": 1, "stale": 1, "superseded": 1, "rejected": 2, "deleted": None},
        SKIPPED,
        {**FAILED, "error": "no such\nfile"},
    ]

    summary = summarize("j1", "export Full of Acme, 2026-02-24 12:00", outcomes, 12.5, "https://a.test/j1")

    assert Summary(
        job="j1", what="export Full of Acme, 2026-02-24 12:00", status="partly", files=4, done=2, skipped=1, failed=1,
        read=15, inserted=2, updated=2, deleted=7, undeleted=1, unchanged=1, rejected=2, stale=1, superseded=1,
        seconds=12.5, failures=("coolr.asset failed: no such file",), link="https://a.test/j1",
    ) == summary  # fmt: skip
    assert asdict(summary) | {"failures": list(summary.failures)} == json.loads(json.dumps(asdict(summary)))


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([], "done"),
        ([DONE], "done"),
        ([SKIPPED], "done"),
        ([DONE, SKIPPED], "done"),
        ([DONE, FAILED], "partly"),
        ([SKIPPED, FAILED], "failed"),
        ([FAILED], "failed"),
    ],
)
def test_job_failed_if_nothing_was_done_and_something_failed(outcomes, status):
    """And partly if some of both."""
    assert status == summarize("j1", "sync genius.prospect", outcomes, 1.0, None).status


def test_of_many_failures_ten_are_told_and_the_rest_counted():
    """A message is read, not searched."""
    summary = summarize("j1", "x", [{**FAILED, "error": f"reason {number}"} for number in range(1200)], 1.0)

    assert [f"coolr.asset failed: reason {number}" for number in range(10)] == list(summary.failures)
    assert "and 1,190 more" == alert_for_summary(summary).text.splitlines()[-1]


def test_failure_without_feed_is_told_by_its_place():
    """A file that no feed wants has no other name."""
    outcomes = [{"status": "failed", "place": "https://a.test/b.parquet?sig=canary"}, {"status": "failed"}]

    failures = summarize("j1", "x", outcomes, 1.0).failures

    assert "https://a.test/b.parquet failed: nobody knows why" == failures[0]
    assert "a file of no feed failed: nobody knows why" == failures[1]


@pytest.mark.parametrize(
    ("outcomes", "title", "severity"),
    [
        ([DONE], "Done: x", "info"),
        ([{**DONE, "rejected": 1}], "Done, with rows set aside: x", "warning"),
        ([DONE, FAILED], "Partly done: x", "warning"),
        ([FAILED], "Failed: x", "error"),
    ],
)
def test_title_says_how_it_ended(outcomes, title, severity):
    """That is what a phone shows."""
    alert = alert_for_summary(summarize("j1", "x", outcomes, 1.0))

    assert (title, severity) == (alert.title, alert.severity)


def test_summary_says_what_happened_to_the_rows():
    """With separators, and nothing about what did not happen."""
    outcomes = [{**DONE, "read": 1204, "inserted": 1000, "absent": 204}, SKIPPED]

    alert = alert_for_summary(summarize("j1", "x", outcomes, 125.0))

    assert "1 of 2 done, 1 skipped; 1,204 rows read in 2 min 5 s." == alert.text
    assert (
        ("Read", "1,204"), ("Inserted", "1,000"), ("Deleted", "204"), ("Took", "2 min 5 s"), ("Job", "j1"),
    ) == alert.facts  # fmt: skip


# -- how it looks


def test_card_for_teams():
    """What a workflow posts; lines are paragraphs, and a name cannot become a link."""
    assert {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": None,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.4",
                    "msteams": {"width": "Full"},
                    "body": [
                        {
                            "type": "TextBlock",
                            "text": "coolr.location is late",
                            "wrap": True,
                            "size": "Large",
                            "weight": "Bolder",
                            "color": "Warning",
                        },
                        {
                            "type": "TextBlock",
                            "text": "Nothing came since 2026-02-24 12:00:00 UTC.\n\nIt is <expected> & due.",
                            "wrap": True,
                        },
                        {
                            "type": "FactSet",
                            "facts": [
                                {"title": "Feed", "value": "coolr.location"},
                                {"title": "Last", "value": "a [b]\u200b(http://c)"},
                            ],
                        },
                    ],
                    "actions": [
                        {"type": "Action.OpenUrl", "title": "Open", "url": "https://sluice.example.test/api/jobs/j1"}
                    ],
                },
            }
        ],
    } == teams(ALERT)


def test_blocks_for_slack():
    """What a webhook posts; a text cannot call a whole channel."""

    def mrkdwn(text):
        return {"type": "mrkdwn", "text": text, "verbatim": True}

    assert {
        "text": "coolr.location is late",
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": "coolr.location is late"}},
            {
                "type": "section",
                "text": mrkdwn("Nothing came since 2026-02-24 12:00:00 UTC.\nIt is &lt;expected&gt; &amp; due."),
            },
            {"type": "section", "fields": [mrkdwn("*Feed*\ncoolr.location"), mrkdwn("*Last*\na [b](http://c)")]},
            {"type": "section", "text": mrkdwn("<https://sluice.example.test/api/jobs/j1|Open>")},
        ],
    } == slack(ALERT)


def test_object_for_a_logic_app():
    """Flat, and always with the same fields."""
    assert {
        "kind": "stale",
        "title": "coolr.location is late",
        "text": "Nothing came since 2026-02-24 12:00:00 UTC.\nIt is <expected> & due.",
        "severity": "warning",
        "facts": {"Feed": "coolr.location", "Last": "a [b](http://c)"},
        "link": "https://sluice.example.test/api/jobs/j1",
        "summary": None,
    } == as_json(ALERT)


def test_object_for_a_logic_app_holds_the_summary():
    """Numbers as numbers, for whoever goes on from them."""
    summary = summarize("j1", "x", [{**DONE, "read": 3, "inserted": 3}], 1.23456, "https://a.test/j1?code=canary")

    sent = as_json(alert_for_summary(summary))["summary"]

    assert {
        "job": "j1", "what": "x", "status": "done", "files": 1, "done": 1, "skipped": 0, "failed": 0, "read": 3,
        "inserted": 3, "updated": 0, "deleted": 0, "undeleted": 0, "unchanged": 0, "rejected": 0, "stale": 0,
        "superseded": 0, "seconds": 1.235, "failures": [], "link": "https://a.test/j1",
    } == sent  # fmt: skip


def test_alert_without_text_facts_or_link_has_no_empty_parts():
    """Slack refuses them."""
    bare = Alert(kind="stuck", title="\x00", text=" \n", severity="info", key="k", link="javascript:alert(1)")

    assert ["header"] == [block["type"] for block in slack(bare)["blocks"]]
    assert "stuck" == slack(bare)["blocks"][0]["text"]["text"]
    card = teams(bare)["attachments"][0]["content"]
    assert (1, False) == (len(card["body"]), "actions" in card)
    assert None is as_json(bare)["link"]


def test_sixteen_facts_are_shown():
    """In sections of ten for Slack."""
    many = replace(ALERT, facts=tuple((f"name {number}", "x") for number in range(30)), link=None)

    assert [10, 6] == [len(block["fields"]) for block in slack(many)["blocks"][2:]]
    assert 16 == len(as_json(many)["facts"])


def test_long_text_ends_with_dots_within_its_limit():
    """A cut never goes through what stands for one character."""
    sent = slack(replace(ALERT, title="t" * 151, text="&" * 3000))

    assert "t" * 149 + "…" == sent["blocks"][0]["text"]["text"]
    assert "&amp;" * 599 + "…" == sent["blocks"][1]["text"]["text"]


def test_text_that_just_fits_is_not_cut():
    """The limit itself is allowed."""
    sent = slack(replace(ALERT, title="t" * 150, text="a" * 3000))

    assert ("t" * 150, "a" * 3000) == (sent["blocks"][0]["text"]["text"], sent["blocks"][1]["text"]["text"])


HOSTILE = st.one_of(
    st.text(max_size=60),
    st.text(st.sampled_from("<>&|*_`[]()!@#\"'\\\n\r\t\0\x1b\u2028\u202e\ud800\udfff👩‍👩‍👧é中 ?=:/."), max_size=60),
    st.sampled_from(["<!channel>", "[a](javascript:x)", "https://u:canary@a.test/b?sig=canary", "password=canary"]),
    st.text(st.sampled_from("👩‍👧中&]\ud800é\n"), min_size=1, max_size=20).map(lambda text: text * 2_000),
)
COUNTS = st.integers(0, 10**15)


@st.composite
def hostile_alerts(draw):
    """Alerts as nobody would write them, some of them for summaries."""
    names = draw(st.lists(HOSTILE, min_size=4, max_size=4))
    if draw(st.booleans()):
        outcome = st.fixed_dictionaries(
            {
                "status": st.sampled_from(["done", "failed", "skipped"]),
                "feed": HOSTILE,
                "error": HOSTILE,
                "read": COUNTS,
            }
        )
        outcomes = draw(st.lists(outcome, max_size=3)) * draw(st.sampled_from([1, 200]))
        alert = alert_for_summary(summarize(names[0], names[1], outcomes, draw(st.floats(0, 1e9)), names[2]))
        return replace(alert, summary=replace(alert.summary, failures=tuple(names) * 50))
    return Alert(
        kind="poison", title=names[0], text=names[1], link=f"https://a.test/{names[2]}", severity="error", key="k",
        facts=tuple(draw(st.lists(st.tuples(HOSTILE, HOSTILE), max_size=30))),
    )  # fmt: skip


@given(hostile_alerts())
@of_hypothesis(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_the_texts_are_the_message_is_small_valid_and_quiet(alert):
    """Below the limit of Teams, in JSON that any parser takes, and without control characters in titles."""
    forms = [form(alert) for form in (teams, slack, as_json)]

    for form in forms:
        sent = json.dumps(form, allow_nan=False)
        assert len(sent) < 28 * 1024
        assert form == json.loads(sent)
        assert json.dumps(form, ensure_ascii=False).encode()
        assert "canary" not in sent
    card, blocks, flat = forms[0]["attachments"][0]["content"], forms[1]["blocks"], forms[2]
    for title in (card["body"][0]["text"], blocks[0]["text"]["text"], flat["title"]):
        assert title
        assert {"Cc", "Cs"}.isdisjoint(map(unicodedata.category, title))
    assert "](" not in json.dumps(card["body"])


@given(hostile_alerts())
@of_hypothesis(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_blocks_keep_the_limits_of_slack(alert):
    """Of each part, and of all together."""
    sent = slack(alert)

    texts = []
    for block in sent["blocks"]:
        fields = block.get("fields", [])
        assert len(fields) <= 10
        assert all(1 <= len(field["text"]) <= 2_000 for field in fields)
        assert 1 <= len(block.get("text", {"text": "x"})["text"]) <= (150 if block["type"] == "header" else 3_000)
        texts += [part["text"] for part in [*fields, block.get("text", {"text": ""})]]
    assert sum(map(len, texts)) < 13_000
    shown = "".join([sent["text"], *texts[1:]]).replace("|Open>", "").replace("<https://a.test/", "")
    assert {"<", ">"}.isdisjoint(shown)


def test_record_of_a_summary_is_cut_too():
    """Whoever is called after an export gets it whole, but not without end."""
    summary = replace(summarize("j" * 999, "w" * 999, [], 1.0), failures=("f" * 999,) * 99)

    record = record_of(summary)

    assert (200, 150, 10, 300) == (
        len(record["job"]), len(record["what"]), len(record["failures"]), len(record["failures"][0]),
    )  # fmt: skip


# -- telling


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
    told = Alerts(settings(alert_url=receiver.url, alert_format=form), Memory()).tell(ALERT)

    (path, headers, body) = receiver.got[0]
    assert told
    assert ("/hook?sig=canary", "application/json") == (path, headers["Content-Type"])
    assert made(ALERT) == json.loads(body)


def test_server_that_is_away_is_no_failure(caplog):
    """The log says so, without the address."""
    told = Alerts(settings(alert_url=f"http://127.0.0.1:{free_port()}/canary?sig=canary"), Memory()).tell(ALERT)

    assert not told
    assert "alert was not sent: coolr.location is late: 127.0.0.1 refuses connections" in caplog.text
    assert "canary" not in caplog.text


def test_same_alert_is_told_once_until_its_time_is_over():
    """Another one is told meanwhile."""
    session, seen = session_with(lambda _: (200, {}, b"ok"))
    memory = Memory()
    alerts = Alerts(settings(alert_repeat=60.0), memory, session)

    assert [True, False, True] == [alerts.tell(ALERT), alerts.tell(ALERT), alerts.tell(replace(ALERT, key="other"))]
    memory.now = 60.0
    assert alerts.tell(ALERT)
    assert 3 == len(seen)


def test_what_was_not_sent_is_told_by_the_next_attempt():
    """Nobody has read it."""
    answers = iter([(404, {}, b"no_service"), (200, {}, b"ok")])
    session, _ = session_with(lambda _: next(answers))
    alerts = Alerts(settings(), Memory(), session)

    assert [False, True, False] == [alerts.tell(ALERT), alerts.tell(ALERT), alerts.tell(ALERT)]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507])
def test_busy_server_is_asked_again(status):
    """It may pass."""
    answers = iter([(status, {}, b""), (status, {}, b""), (202, {}, b"")])
    session, seen = session_with(lambda _: next(answers))

    assert Alerts(settings(), Memory(), session).tell(ALERT)
    assert 3 == len(seen)


def test_server_that_stays_busy_is_given_up(caplog):
    """After three attempts; what it said at last is logged."""
    session, seen = session_with(lambda _: (503, {}, {"error": {"message": "try later"}}))

    assert not Alerts(settings(), Memory(), session).tell(ALERT)
    assert 3 == len(seen)
    assert "refuses it (503): try later" in caplog.text


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 410, 413])
def test_refusal_is_final_and_no_redirect_is_followed(status, caplog):
    """Nothing changes by asking; what we send goes nowhere else."""
    session, seen = session_with(lambda _: (status, {"Location": "https://elsewhere.test/"}, b"invalid_blocks"))

    assert not Alerts(settings(), Memory(), session).tell(ALERT)
    assert 1 == len(seen)
    assert f"({status})" in caplog.text


@pytest.mark.parametrize(
    "error",
    [requests.ConnectionError(SECRET), requests.ReadTimeout(SECRET), requests.exceptions.ChunkedEncodingError(SECRET)],
)
def test_broken_connection_is_tried_again(error, caplog):
    """And its text, which holds the address, is not repeated."""
    session, seen = session_with(fails(error))

    assert not Alerts(settings(), Memory(), session).tell(ALERT)
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
        assert Alerts(settings(), Memory(), session).tell(ALERT)

    assert [7.0, 9.0] == waits


def test_server_that_asks_for_too_long_a_wait_is_given_up(monkeypatch):
    """An hour is for the next alert."""
    waits = []
    monkeypatch.setattr("tenacity.nap.time", types.SimpleNamespace(sleep=waits.append))
    session, seen = session_with(lambda _: (429, {"Retry-After": "3600"}, b""))

    with stamina.set_testing(False):
        assert not Alerts(settings(), Memory(), session).tell(ALERT)

    assert ([], 1) == (waits, len(seen))


@pytest.mark.parametrize("error", [TransientError("busy", fix="Try again"), RuntimeError("bug")])
def test_alert_is_sent_if_nobody_knows_whether_it_was_told(error):
    """Twice is better than never."""
    session, seen = session_with(lambda _: (200, {}, b"ok"))
    memory = types.SimpleNamespace(first=lambda *_: (_ for _ in ()).throw(error))

    assert Alerts(settings(), memory, session).tell(ALERT)
    assert 1 == len(seen)


def test_nothing_raises_even_if_everything_is_broken(caplog):
    """Neither a bug in sending, nor one in forgetting."""
    session, _ = session_with(fails(AssertionError(SECRET)))
    broken = types.SimpleNamespace(first=lambda *_: True)  # it cannot forget

    assert not Alerts(settings(), broken, session).tell(ALERT)
    assert not Alerts(settings(), Memory(), session).tell(replace(ALERT, facts=((None, None),)))
    assert "AssertionError" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://hooks.example.test/canary", "ALERT_URL is not encrypted. Use the https link."),
        ("hooks.example.test/canary", "ALERT_URL is no https link. Copy the complete link again."),
        ("https://[half/canary", "ALERT_URL is no https link. Copy the complete link again."),
        ("https://", "ALERT_URL is no https link. Copy the complete link again."),
        ("https://a..b/canary", "a..b cannot be reached"),
    ],
)
def test_address_that_cannot_be_asked_is_said(url, said, caplog):
    """Without the address, and nothing travels for all to read."""
    assert not Alerts(settings(alert_url=url), Memory()).tell(ALERT)
    assert said in caplog.text
    assert "canary" not in caplog.text


def test_what_the_other_side_repeats_of_the_address_is_not_logged(caplog):
    """It may be all that signs in."""
    session, _ = session_with(lambda request: (404, {}, f"no hook at {request.path_url}".encode()))

    assert not Alerts(settings(), Memory(), session).tell(ALERT)
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

    Alerts(settings(), Memory(), session).tell(ALERT)

    assert caplog.messages[-1].endswith(f"refuses it {said}")


@pytest.mark.parametrize(
    ("outcomes", "told"), [([DONE], False), ([{**DONE, "rejected": 1}], True), ([DONE, FAILED], True), ([FAILED], True)]
)
def test_problems_alone_are_told_if_the_settings_say_so(outcomes, told):
    """A job without any is not summed up, and is not remembered either."""
    session, seen = session_with(lambda _: (200, {}, b"ok"))
    memory = Memory()

    assert told == Alerts(settings(alert_on="problems"), memory, session).tell(
        alert_for_summary(summarize("j", "x", outcomes, 1.0))
    )
    assert (int(told), int(told)) == (len(seen), len(memory.known))


def test_everything_is_told_by_default():
    """A flawless job too."""
    session, _ = session_with(lambda _: (200, {}, b"ok"))

    assert Alerts(settings(), Memory(), session).tell(alert_for_summary(summarize("j", "x", [DONE], 1.0)))


def test_alert_that_goes_nowhere_is_logged(caplog):
    """In one line, without secrets."""
    alert = replace(ALERT, text="see https://a.test/b?sig=canary\nnow")

    assert not Alerts(settings(alert_url=None), Memory()).tell(alert)
    assert [
        ("sluice", logging.WARNING, "alert: coolr.location is late see https://a.test/b now")
    ] == caplog.record_tuples


def test_sign_in_of_a_netrc_file_is_not_sent(tmp_path, monkeypatch):
    """What stands there for a host is for people's own programs."""
    (tmp_path / "netrc").write_text("machine hooks.example.test login me password canary\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    session, seen = session_with(lambda _: (200, {}, b"ok"))

    assert Alerts(settings(), Memory(), session).tell(ALERT)
    assert "Authorization" not in seen[0].headers

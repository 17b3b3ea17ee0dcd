"""How an alert looks to Teams, Slack and a Logic App."""

from __future__ import annotations

import json
import unicodedata

from dataclasses import replace

from hypothesis import HealthCheck, given
from hypothesis import settings as of_hypothesis
from hypothesis import strategies as st

from shared.alerts.decide import Alert, alert_for_summary, summarize
from shared.alerts.formats import json as as_json
from shared.alerts.formats import record_of, slack, teams
from tests.alerts.samples import ALERT, DONE


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
        "superseded": 0, "no_news": 0, "behind": None, "furthest": None, "seconds": 1.235, "failures": [],
        "link": "https://a.test/j1",
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

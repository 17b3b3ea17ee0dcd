"""An alert as the JSON that Teams, Slack and a Logic App take. Pure functions.

The limits, and who says so:

* Teams: 28 KB a message (learn.microsoft.com, "Create Incoming Webhooks"); clients have met a refusal from 21 KB on.
* Slack: a header has 150 characters, a section 3,000 and 10 fields (docs.slack.dev, "Block Kit"); all blocks together
  about 13,000, which its documentation does not say (github.com/slackapi/bolt-js/issues/2509).
* Everything sent is ASCII, so sizes are of escaped JSON: the largest that any encoding of it has.
"""

from __future__ import annotations

import json as _json
import re

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import NamedTuple
from urllib.parse import quote

from shared.alerts.decide import Alert, Summary
from shared.model import Json
from shared.text import one_line, plain


class _Room(NamedTuple):
    """How much of a text is shown."""

    characters: int
    size: int
    """Bytes of JSON."""


_TITLE = _Room(150, 900)
_TEXT = _Room(3_000, 7_000)
_NAME = _Room(40, 120)
_VALUE = _Room(200, 400)
_LINE = _Room(300, 400)
"""Of each failure of a summary."""
_LONGEST_LINK = 1_500
_MOST_FACTS = 16
_FIELDS = 10
"""Of one section of a Slack message."""

_COLOURS: Mapping[str, str] = {"info": "Good", "warning": "Warning", "error": "Attention"}


def teams(alert: Alert) -> Json:
    """For the Teams trigger "When a Teams webhook request is received": a message with one Adaptive Card."""
    title, text = _title(alert, _in_card), _cut(plain(alert.text), _TEXT, _in_card)
    facts = [{"title": name, "value": value} for name, value in _facts(alert, _in_card)]
    look = {"size": "Large", "weight": "Bolder", "color": _COLOURS[alert.severity]}
    body: list[Json] = [{"type": "TextBlock", "text": title, "wrap": True, **look}]
    body += [{"type": "TextBlock", "text": text, "wrap": True}] if text else []
    body += [{"type": "FactSet", "facts": facts}] if facts else []
    card: dict[str, Json] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": body,
    }
    if link := _link(alert.link):
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open", "url": link}]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def slack(alert: Alert) -> Json:
    """For a Slack incoming webhook: blocks, and a text for notifications."""
    title, text = _title(alert), _cut(plain(alert.text), _TEXT, _in_slack)
    blocks: list[Json] = [{"type": "header", "text": {"type": "plain_text", "text": title}}]
    blocks += [{"type": "section", "text": _mrkdwn(text)}] if text else []
    fields = [_mrkdwn(f"*{name}*\n{value}") for name, value in _facts(alert, _in_slack)]
    blocks += [{"type": "section", "fields": fields[at : at + _FIELDS]} for at in range(0, len(fields), _FIELDS)]
    if link := _link(alert.link):
        # Not a button: one that is pressed wants an app that answers, even if it only opens a link.
        blocks.append({"type": "section", "text": _mrkdwn(f"<{link.replace('&', '&amp;')}|Open>")})
    return {"text": _title(alert, _in_slack), "blocks": blocks}


def json(alert: Alert) -> Json:
    """For a Logic App or anything else: the fields of an alert, always all of them.

    ``kind``, ``title``, ``text`` and ``severity`` are text, ``link`` text or null, ``facts`` an object of texts, and
    ``summary`` null or the fields of a Summary.
    """
    return {
        "kind": alert.kind,
        "title": _title(alert),
        "text": _cut(plain(alert.text), _TEXT),
        "severity": alert.severity,
        "facts": dict(_facts(alert)),
        "link": _link(alert.link),
        "summary": record_of(alert.summary) if alert.summary else None,
    }


def record_of(summary: Summary) -> dict[str, Json]:
    """*summary* as others get it: its fields, with texts redacted and cut."""
    return asdict(summary) | {
        "job": _cut(one_line(summary.job), _VALUE),
        "what": _cut(one_line(summary.what), _TITLE),
        "seconds": round(summary.seconds, 3),
        "furthest": _cut(one_line(summary.furthest), _VALUE) if summary.furthest else None,
        "failures": [_cut(one_line(failure), _LINE) for failure in summary.failures[:10]],
        "link": _link(summary.link),
    }


def _as_is(character: str) -> str:
    return character


def _in_card(character: str) -> str:
    """A character as Markdown of a card has it: lines are paragraphs, and ``[text](url)`` stays text.

    Not by a backslash: not every client of Teams takes that for an escape.
    """
    return {"\n": "\n\n", "]": "]\u200b"}.get(character, character)


def _in_slack(character: str) -> str:
    """A character as mrkdwn has it (docs.slack.dev, "Formatting message text": these three and no more)."""
    return {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(character, character)


def _mrkdwn(text: str) -> Json:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _title(alert: Alert, shown: Callable[[str], str] = _as_is) -> str:
    return _cut(one_line(alert.title) or alert.kind, _TITLE, shown)


def _facts(alert: Alert, shown: Callable[[str], str] = _as_is) -> Iterable[tuple[str, str]]:
    for name, value in alert.facts[:_MOST_FACTS]:
        yield _cut(one_line(name) or "-", _NAME, shown), _cut(one_line(value) or "-", _VALUE, shown)


def _link(link: str | None) -> str | None:
    """*link* without what signs in, with nothing but ASCII; None if it is no link for people, or too long."""
    found = quote(one_line(link or ""), safe="/:#%@!$&'()*+,;=~[]")
    return found if re.match(r"https?://[^/]", found) and len(found) <= _LONGEST_LINK else None


def _cut(text: str, room: _Room, shown: Callable[[str], str] = _as_is) -> str:
    """As much of *text* as there is room for, each character as it is *shown*."""
    parts = [shown(character) for character in text[: room.characters + 1]]
    if _fits("".join(parts), room):
        return "".join(parts)
    left, kept = _Room(room.characters - 1, room.size - len(_json.dumps("…")) + 2), []
    for part in parts:
        left = _Room(left.characters - len(part), left.size - len(_json.dumps(part)) + 2)
        if min(left) < 0:
            break
        kept.append(part)
    return "".join(kept).rstrip() + "…"


def _fits(text: str, room: _Room) -> bool:
    return len(text) <= room.characters and len(_json.dumps(text)) - 2 <= room.size

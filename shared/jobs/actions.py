"""Who did what by hand, kept as ``actions/<feed>/<time>-<hash>`` for as long as the app has its documents."""

from __future__ import annotations

import hashlib
import json

from dataclasses import asdict, dataclass

from shared.documents import Documents, to_json
from shared.ids import plain_name
from shared.model import from_json
from shared.text import one_line

_SHOWN = 50
_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing that somebody did to a feed."""

    at: str
    """Text of records."""
    feed: str
    action: str
    """As the API calls it: ``run``, ``backfill``, ``pause``, ``resume``, ``retry``, or ``rejects`` for a download."""
    by: str
    """A person by the name that signed in, or what the caller called itself."""
    detail: str = ""


def record_action(documents: Documents, action: Action) -> None:
    """Keep *action*. The same one at the same time is one."""
    shown = asdict(action) | {"by": one_line(action.by)[:_LONGEST], "detail": one_line(action.detail)[:_LONGEST]}
    content = to_json(shown)
    name = f"actions/{plain_name(action.feed)}/{action.at}-{hashlib.sha256(content).hexdigest()[:12]}"
    documents.put(name, content)


def actions_of(documents: Documents, feed: str) -> list[Action]:
    """The last actions on a feed, newest first."""
    names = [one.name for one in documents.entries(f"actions/{plain_name(feed)}/")][-_SHOWN:]
    found = (documents.get(name) for name in reversed(names))
    return [from_json(Action, json.loads(content)) for content in found if content is not None]

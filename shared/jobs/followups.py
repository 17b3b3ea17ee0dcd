"""Follow-ups of an export that was loaded: a call to DOWNSTREAM_URL, a refresh of a Power BI dataset."""

from __future__ import annotations

import datetime as dt
import json
import logging
import re

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from shared.alerts.decide import Summary
from shared.alerts.formats import record_of
from shared.azure import identity
from shared.documents import Documents, to_json
from shared.errors import IngestError
from shared.model import from_json, to_text
from shared.rest.post import PostResult, post_json
from shared.settings import Settings
from shared.text import duration, one_line

if TYPE_CHECKING:
    import requests

    from shared.app import App

_log = logging.getLogger("sluice")

POWERBI_SCOPE = "https://analysis.windows.net/powerbi/api/.default"
"""The scope of a token for Power BI."""
_POWERBI = "https://api.powerbi.com/v1.0/myorg"
_GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

_FIXES: Mapping[int, str] = {
    401: ". Have a Fabric administrator allow service principals to use Fabric APIs (admin portal, tenant settings,"
    " developer settings), for a group that {who} is in.",
    403: ". Give {who} the role Contributor in the workspace.",
    404: ". Check POWERBI_DATASET, and give {who} the role Contributor in the workspace.",
}

PENDING = "downstream/pending"
"""The document that holds what is still to be followed up."""
_QUIET_SECONDS, _MAX_WAIT_SECONDS = 900.0, 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingFollowup:
    """Files that arrived one by one, and are followed up together once no more arrive."""

    since: str
    """When the first of them was loaded (text of records)."""
    last: str
    """When the last one was."""
    summary: Summary
    """Of the last one's job."""


def follow_notification(app: App, id: str, summary: Summary, *, started: str, retryable: bool) -> None:
    """Follow up an export once all of it is loaded, by this job or by one that died before it came here."""
    name, now = f"followed/{id}", started.encode()
    followed = app.documents.get(name)
    if summary.status != "done" or retryable or followed == now:
        return
    if summary.done or followed is None:
        run_followups(app.settings, summary, _token)
        app.documents.put(name, now)


def follow_later(app: App, summary: Summary) -> None:
    """Follow up a file that arrived by itself, together with those that arrive soon after it."""
    if not app.settings.downstream_url and not app.settings.powerbi_dataset:
        return
    now, pending = to_text(app.now()), _pending(app.documents)
    since = pending.since if pending else now
    app.documents.put(PENDING, to_json(asdict(PendingFollowup(since=since, last=now, summary=summary))))


def run_pending(app: App) -> None:
    """Follow up files that arrived one by one: once none has come for 15 minutes, or after an hour."""
    pending = _pending(app.documents)
    if pending is None:
        return
    quiet = to_text(app.now() - dt.timedelta(seconds=_QUIET_SECONDS))
    overdue = to_text(app.now() - dt.timedelta(seconds=_MAX_WAIT_SECONDS))
    if pending.last <= quiet or pending.since <= overdue:
        run_followups(app.settings, pending.summary, _token)
        if _pending(app.documents) == pending:  # else another file was loaded meanwhile
            app.documents.delete(PENDING)


def _token(scope: str) -> str:
    """A token of this app's identity for *scope*."""
    return identity.credential().get_token(scope).token


def _pending(documents: Documents) -> PendingFollowup | None:
    content = documents.get(PENDING)
    return None if content is None else from_json(PendingFollowup, json.loads(content))


def run_followups(
    settings: Settings, summary: Summary, token: Callable[[str], str], session: requests.Session | None = None
) -> list[str]:
    """Run the follow-ups that are configured, if *summary* is ``done``; a line for each says what happened.

    Nothing is raised: the export is loaded, whatever happens here. *token* makes a token for a scope. A job that found
    all its work loaded counts too: the job that loaded it may have died before it came to this.
    """
    if summary.status != "done":
        return []
    results = []
    if settings.downstream_url:
        results.append(call_hook(settings, summary, session))
    if settings.powerbi_dataset:
        results.append(refresh_powerbi(settings, token, session))
    for line in results:
        _log.info("job %s: %s", one_line(summary.job), line)
    return results


def call_hook(settings: Settings, summary: Summary, session: requests.Session | None = None) -> str:
    """POST *summary* as JSON to DOWNSTREAM_URL, and say in one line what happened. Never raises.

    The header Idempotency-Key holds the job's id, so that the receiver recognises a repeated call
    (draft-ietf-httpapi-idempotency-key-header).
    """
    return f"Downstream: {_never_raising(lambda: _called(settings.downstream_url or '', summary, session))}"


def refresh_powerbi(settings: Settings, token: Callable[[str], str], session: requests.Session | None = None) -> str:
    """Ask Power BI to refresh the dataset in POWERBI_DATASET, and say in one line what happened. Never raises."""
    return f"Power BI: {_never_raising(lambda: _refreshed(settings.powerbi_dataset or '', token, session))}"


def _never_raising(call: Callable[[], str]) -> str:
    try:
        return call()
    except IngestError as error:
        return one_line(str(error))
    except Exception as error:  # noqa: BLE001 - the export is done; the text may hold an address, so it is for nobody
        return f"failed ({type(error).__name__})"


def _called(url: str, summary: Summary, session: requests.Session | None) -> str:
    headers = {"Idempotency-Key": quote(summary.job[:200], safe=" !#$&'()*+,/:;=?@[]~", errors="replace")}
    result = post_json(url, record_of(summary), setting="DOWNSTREAM_URL", headers=headers, session=session)
    return f"{'called' if result.accepted else 'refused'} {result}"


def _refreshed(dataset: str, token: Callable[[str], str], session: requests.Session | None) -> str:
    named = re.fullmatch(rf"({_GUID})/({_GUID})", dataset.strip(), re.IGNORECASE)
    if not named:
        return "POWERBI_DATASET is not <workspace id>/<dataset id>. Copy both ids from the URL of the dataset."
    try:
        proof = token(POWERBI_SCOPE)
    except Exception as error:  # noqa: BLE001 - azure-identity has many, and this may be none of its
        return f"no token for this app's identity: {_short(error)}"
    result = post_json(
        f"{_POWERBI}/groups/{named[1]}/datasets/{named[2]}/refreshes",
        {"notifyOption": "NoNotification"},  # mails are for people who refresh, not for applications
        setting="POWERBI_DATASET",
        headers={"Authorization": f"Bearer {proof}"},
        session=session,
    )
    return _of_refresh(result, identity.identity_of(proof))


def _of_refresh(result: PostResult, who: str) -> str:
    if result.accepted:
        return f"refresh accepted ({result.status})"
    if result.status == 400 and re.search(r"already (executing|in progress|running)", result.said, re.IGNORECASE):
        return "a refresh is already running, so none was started; it may miss the last rows"
    if result.status == 429 or (result.status == 400 and "exceeded" in result.said.lower()):
        wait = f"; the server asks to wait {duration(result.after)}" if result.after else ""
        return f"the limit of refreshes is reached ({result.status}){wait}. The next export tries again."
    return f"refused {result}{_FIXES.get(result.status, '').format(who=who)}"


def _short(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    return one_line(f"{type(error).__name__}: {first}")[:300]

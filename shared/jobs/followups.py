"""What follows an export that succeeded: a call to whoever waits for it, a refresh of what is built on it."""

from __future__ import annotations

import logging
import re

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from shared.alerts import Summary, record_of
from shared.azure import identity
from shared.errors import IngestError
from shared.rest.post import PostResult, post_json
from shared.settings import Settings
from shared.text import duration, one_line

if TYPE_CHECKING:
    import requests

_log = logging.getLogger("sluice")

POWERBI_SCOPE = "https://analysis.windows.net/powerbi/api/.default"
"""What a token for Power BI is asked for."""
_POWERBI = "https://api.powerbi.com/v1.0/myorg"
_GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

_FIXES: Mapping[int, str] = {
    401: ". Have a Fabric administrator allow service principals to use Fabric APIs (admin portal, tenant settings,"
    " developer settings), for a group that {who} is in.",
    403: ". Give {who} the role Contributor in the workspace.",
    404: ". Check POWERBI_DATASET, and give {who} the role Contributor in the workspace.",
}


def run_followups(
    settings: Settings, summary: Summary, token: Callable[[str], str], session: requests.Session | None = None
) -> list[str]:
    """Do what is configured to follow *summary*, if it is ``done``, and say in a line each what happened.

    Nothing is raised, for the export is done whatever happens here. *token* makes a token for a scope. A job that found
    all its work done already counts too: the one that did it may have died before it came to this.
    """
    if summary.status != "done":
        return []
    told = []
    if settings.downstream_url:
        told.append(call_hook(settings, summary, session))
    if settings.powerbi_dataset:
        told.append(refresh_powerbi(settings, token, session))
    for line in told:
        _log.info("job %s: %s", one_line(summary.job), line)
    return told


def call_hook(settings: Settings, summary: Summary, session: requests.Session | None = None) -> str:
    """POST *summary* as JSON to DOWNSTREAM_URL, and say in one line what came of it. Never raises.

    The header Idempotency-Key holds the job, for the other side to know a call that is repeated
    (draft-ietf-httpapi-idempotency-key-header).
    """
    return f"Downstream: {_never_raising(lambda: _called(settings.downstream_url or '', summary, session))}"


def refresh_powerbi(settings: Settings, token: Callable[[str], str], session: requests.Session | None = None) -> str:
    """Ask Power BI to refresh the dataset in POWERBI_DATASET, and say in one line what came of it. Never raises."""
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
    answer = post_json(url, record_of(summary), setting="DOWNSTREAM_URL", headers=headers, session=session)
    return f"{'called' if answer.accepted else 'refused'} {answer}"


def _refreshed(dataset: str, token: Callable[[str], str], session: requests.Session | None) -> str:
    named = re.fullmatch(rf"({_GUID})/({_GUID})", dataset.strip(), re.IGNORECASE)
    if not named:
        return "POWERBI_DATASET is not <workspace id>/<dataset id>. Copy both from the address of the dataset."
    try:
        proof = token(POWERBI_SCOPE)
    except Exception as error:  # noqa: BLE001 - azure-identity has many, and this may be none of its
        return f"no token for this app's identity: {_short(error)}"
    answer = post_json(
        f"{_POWERBI}/groups/{named[1]}/datasets/{named[2]}/refreshes",
        {"notifyOption": "NoNotification"},  # mails are for people who refresh, not for applications
        setting="POWERBI_DATASET",
        headers={"Authorization": f"Bearer {proof}"},
        session=session,
    )
    return _of_refresh(answer, identity.identity_of(proof))


def _of_refresh(answer: PostResult, who: str) -> str:
    if answer.accepted:
        return f"refresh accepted ({answer.status})"
    if answer.status == 400 and re.search(r"already (executing|in progress|running)", answer.said, re.IGNORECASE):
        return "a refresh is running already, so none was started; it may lack the last rows"
    if answer.status == 429 or (answer.status == 400 and "exceeded" in answer.said.lower()):
        wait = f"; it asks to wait {duration(answer.after)}" if answer.after else ""
        return f"the limit of refreshes is reached ({answer.status}){wait}. The next export asks again."
    return f"refused {answer}{_FIXES.get(answer.status, '').format(who=who)}"


def _short(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    return one_line(f"{type(error).__name__}: {first}")[:300]

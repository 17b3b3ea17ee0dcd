"""The pages over the real functions: what jobs leave for them, and actions that start jobs."""

from __future__ import annotations

import re

from urllib.parse import urlencode

from tests.web.pages.browsing import principal_header
from tests.web.site import PULLED

OPERATOR = {"X-MS-CLIENT-PRINCIPAL": principal_header(["Operator"])}


def see(site, path, headers=OPERATOR):
    return site.sends("GET", path, headers=headers)


def act(site, page, path, **form):
    token = re.search(r'name="token" value="(\w+)"', see(site, page).body)[1]
    return site.sends("POST", path, urlencode({"token": token, **form}).encode(), OPERATOR)


def test_run_from_the_page_is_a_job_whose_run_the_page_shows(pulled):
    """Started by a form, reported when it ends, with who did it."""
    pulled.opens(CATALOG_PATH=pulled.app.settings.catalog_path, STATUS_SIGN_IN="entra")

    answer = act(pulled, f"status/feed?name={PULLED}", "status/feed", name=PULLED, action="run")
    pulled.ended("sync:shop.item")
    feed = see(pulled, f"status/feed?name={PULLED}").body
    run = re.search(r'href="/api/(status/run\?[^"]+)"', feed)[1].replace("&amp;", "&")

    assert (303, f"/api/status/feed?name={PULLED}&done=run") == (answer.status, answer.headers["Location"])
    assert re.search(r"<td>Ada</td><td>run</td>", feed)
    assert 'inserted</th><td class="number">3</td>' in see(pulled, run).body
    assert 'class="state ok">done' in see(pulled, "status/job?id=sync:shop.item").body
    assert PULLED in see(pulled, "status").body


def test_job_that_failed_is_taken_up_again_from_its_page(pulled):
    """The feeds of it that failed."""
    pulled.opens(CATALOG_PATH=pulled.app.settings.catalog_path, STATUS_SIGN_IN="entra")
    fine, pulled.source.rows = pulled.source.rows, None
    pulled.acts("run", PULLED)
    pulled.source.rows = fine

    answer = act(pulled, "status/job?id=sync:shop.item", "status/job", id="sync:shop.item")
    reported = pulled.ended("sync:shop.item")

    assert (303, "done") == (answer.status, reported["state"])
    assert "retry" in see(pulled, f"status/feed?name={PULLED}").body


def test_machine_sees_feeds_and_takes_a_job_up_again(pulled):
    """By its key, over the API."""
    fine, pulled.source.rows = pulled.source.rows, None
    pulled.acts("run", PULLED)
    failed = pulled.sends("GET", "feeds?state=failed").body["feeds"]
    pulled.source.rows = fine

    answer = pulled.sends("POST", "jobs/sync:shop.item/retry")
    pulled.ended("sync:shop.item")
    done = pulled.sends("GET", "feeds?system=shop").body["feeds"]

    assert [(PULLED, "failed", "sync:shop.item")] == [
        (one["feed"], one["state"], one["last_run"]["job"]) for one in failed
    ]
    assert (202, "sync:shop.item") == (answer.status, answer.body["jobs"][0]["job"])
    assert [("ok", {"read": 3, "inserted": 3})] == [(one["state"], one["last_run"]["counts"]) for one in done]
    assert 409 == pulled.sends("POST", "jobs/sync:shop.item/retry").status


def test_run_in_progress_is_shown_with_what_is_staged(pulled):
    """Until it ends."""
    import threading

    pulled.held = threading.Event()
    pulled.opens(CATALOG_PATH=pulled.app.settings.catalog_path, STATUS_SIGN_IN="entra")
    staged = threading.Event()
    hold = pulled.held.wait
    pulled.held.wait = lambda: (staged.set(), hold())
    job = pulled.sends("POST", f"feeds/{PULLED}/run").body["jobs"][0]["job"]
    assert staged.wait(60)

    shown = see(pulled, "status/jobs").body
    pulled.held.set()
    pulled.ended(job)

    assert "<td>merging</td><td>3 of 3</td>" in shown or "<td>merging</td><td>3</td>" in shown
    assert "No job runs now." in see(pulled, "status/jobs").body


def test_whoever_has_no_role_sees_nothing(pulled):
    """Not even which feeds there are."""
    pulled.opens(CATALOG_PATH=pulled.app.settings.catalog_path, STATUS_SIGN_IN="entra")

    stranger = see(pulled, "status", {"X-MS-CLIENT-PRINCIPAL": principal_header(["Guest"])})

    assert (403, False) == (stranger.status, "shop" in stranger.body)
    assert 303 == see(pulled, "status", {}).status

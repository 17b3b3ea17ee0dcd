"""What the API says of jobs, and of the services that the app needs."""

from __future__ import annotations

import json
import threading

import pytest

from shared.errors import TransientError
from shared.jobs import activities
from shared.jobs.view import view
from shared.pipeline.feeds import declared
from tests.web.site import FEED, PULLED, SECRET, Away, parquet

# -- jobs


def test_job_is_seen_while_it_runs_and_after(site, server):
    """First without a summary, and with what is through already."""
    site.held = threading.Event()
    site.opens(COOLR_WEBHOOK_SECRET=SECRET, COOLR_WEBHOOK_HOSTS=server.url.removeprefix("http://"))
    server.puts("/location.parquet", parquet(1, 2, 3))
    job = site.notified(server, "asset.parquet", "location.parquet")
    site.host.durable.wait(f"{job}:0:0")  # the file that is not there

    running = site.sends("GET", f"jobs/{job}").body
    site.held.set()
    ended = site.ended(job)

    assert (job, "export_job", "running", None) == tuple(
        running[name] for name in ("job", "orchestrator", "state", "summary")
    )
    assert {"units": 2} == running["progress"]
    assert [("coolr.asset", "failed")] == [(unit["feed"], unit["status"]) for unit in running["units"]]
    assert ("partly", 1, 1, 3) == (ended["state"], *(ended["summary"][name] for name in ("done", "failed", "inserted")))
    assert ["coolr.asset", FEED] == [unit["feed"] for unit in ended["units"]]


def test_job_that_the_host_has_forgotten_is_shown_by_its_summary(notifying, server):
    """The app's own memory of it lasts as long."""
    server.puts("/location.parquet", parquet(1))
    job = notifying.notified(server, "location.parquet")
    known = notifying.ended(job)
    del notifying.host.durable.instances[job]

    reported = notifying.sends("GET", f"jobs/{job}").body

    assert {name: known[name] for name in ("job", "state", "retryable", "summary", "units")} == reported


def test_job_that_was_ended_does_not_pass_for_the_one_before(pulled):
    """A sync has one id for all its times."""
    (first,) = pulled.acts("run", PULLED)
    work = {"kind": "feed", "feed": PULLED}
    activities.run_activity(pulled.app, "plan", {"job": first["job"], "started": "2027", "unit": 0, "work": work})
    pulled.host.durable.instances[first["job"]].status = "Terminated"

    reported = pulled.sends("GET", f"jobs/{first['job']}").body

    assert ("done", "terminated", None) == (first["state"], reported["state"], reported["summary"])


def test_what_an_ended_job_left_is_not_shown_of_the_next(site):
    """Both have one id, and the first could not clear up."""
    site.opens()
    for started in ("2026-02-24T12:00:00.000000", "2026-02-25T12:00:00.000000"):
        outcome = {"status": "skipped", "place": started}
        name = f"jobs/sync:{PULLED}/{started}/0/unit"
        site.app.documents.put(name, json.dumps({"outcome": outcome}).encode())

    reported = view(site.app.documents, f"sync:{PULLED}", {"state": "running"})

    assert ["2026-02-25T12:00:00.000000"] == [unit["place"] for unit in reported["units"]]


# -- health


@pytest.mark.parametrize("query", ["", "?deep", "?deep=", "?deep=0", "?deep=False"])
def test_health_wakes_nobody(site, query):
    """Probes come often, and a database that is woken costs."""
    parts = ("warehouse", "ledger", "documents")
    site.opens({name: Away(AssertionError(f"{name} is asked")) for name in parts})

    answer = site.sends("GET", f"health{query}")

    assert (200, {"status": "ok", "feeds": len(declared(site.app.systems))}) == (answer.status, answer.body)


def test_deep_health_asks_every_part(pushed):
    """And says so."""
    answer = pushed.sends("GET", "health?deep=true")

    assert (200, "ok") == (answer.status, answer.body["status"])
    assert ["state", "ledger", "warehouse", "exports"] == [one["check"] for one in answer.body["checks"]]


@pytest.mark.parametrize("part", ["state", "ledger", "warehouse"])
def test_deep_health_says_which_part_is_away(site, part):
    """With what to do, and without what signs in there; the others are asked all the same."""
    away = TransientError("sql://me:pw@host/db?sig=canary is asleep", fix="Wait for sql://host?sig=canary")
    site.opens({"documents" if part == "state" else part: Away(away)})

    answer = site.sends("GET", "health?deep=1")

    assert (503, "failed") == (answer.status, answer.body["status"])
    by_part = {one["check"]: (one["status"], one["message"], one["fix"]) for one in answer.body["checks"]}
    assert ("failed", "sql://host/db is asleep", "Wait for sql://host") == by_part.pop(part)
    assert {("ok", "it answers", "")} == set(by_part.values())


def test_deep_health_says_that_the_container_is_away(site, azurite):
    """Files could not be read from there."""
    url = f"{azurite.blob_url}/no-such-container"
    site.opens(EXPORTS_URL=url, STORAGE_CONNECTION_STRING=azurite.connection_string)

    answer = site.sends("GET", "health?deep=yes")

    assert 503 == answer.status
    assert ["exports"] == [one["check"] for one in answer.body["checks"] if one["status"] == "failed"]

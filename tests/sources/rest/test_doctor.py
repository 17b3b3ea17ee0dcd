"""What the doctor finds out about an API."""

from __future__ import annotations

import pytest

from tests.advice import advises
from tests.exports import doctor_findings
from tests.sources.rest.test_sync import PATH, person


def findings(app):
    return {one.check: one for one in doctor_findings(app) if "acme" in one.check}


def test_sign_in_clock_and_calls_left(open_app, server):
    server.lists[PATH] = [person(1)]
    server.headers = {"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "99"}

    found = findings(open_app())

    checks = ("source acme: sign-in", "source acme.people", "source acme: clock", "source acme: limits")
    assert dict.fromkeys(checks, "ok") == {check: one.status for check, one in found.items()}
    assert "99 calls left of 100 (x-ratelimit-remaining)" == found["source acme: limits"].message


def test_a_clock_that_is_wrong_and_calls_that_run_out_are_warned_of(open_app, server):
    server.lists[PATH] = [person(1)]
    server.headers = {"X-HubSpot-RateLimit-Daily": "1000", "X-HubSpot-RateLimit-Daily-Remaining": "20"}
    server.date = "Tue, 24 Feb 2026 12:10:00 GMT"
    app = open_app()

    found = findings(app)

    advises("Set this machine's clock: sign-ins and windows depend on it", found["source acme: clock"].fix)
    advises(
        "Sync less often, or ask for a higher limit: syncs wait when it is used up", found["source acme: limits"].fix
    )
    assert "this machine's is 600 s behind the API's" == found["source acme: clock"].message

    app.now.forward(minutes=10)
    server.headers = {}
    assert {"ok"} == {one.status for one in findings(app).values()}


def test_a_field_that_is_not_there_is_named(open_app, server):
    server.lists[PATH] = [{"id": 1, "changed": "2026-02-24"}]

    found = findings(open_app())["source acme.people"]

    assert ("failed", "its records have no field updated_at") == (found.status, found.message)
    assert ("id, changed",) == advises("Correct it in the catalog; the fields are {}", found.fix)

    server.lists[PATH] = [person(1)]
    assert "ok" == findings(open_app())["source acme.people"].status


@pytest.mark.parametrize(
    ("env", "status"), [({"ACME_API_TOKEN": "old"}, "failed"), ({"ACME_API_TOKEN": ""}, "skipped")]
)
def test_a_sign_in_that_does_not_work_is_reported(open_app, env, status):
    (found,) = findings(open_app(**env)).values()

    assert status == found.status
    assert found.fix

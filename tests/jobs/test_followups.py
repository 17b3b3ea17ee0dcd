"""What follows an export: a call and a refresh, each told in a line, neither able to harm."""

from __future__ import annotations

import base64
import json

from dataclasses import replace

import pytest
import requests
import stamina

from shared.alerts.decide import summarize
from shared.alerts.formats import record_of
from shared.jobs.followups import call_hook, refresh_powerbi, run_followups
from shared.settings import Settings
from tests.alerts.samples import DONE, FAILED, SKIPPED, fails, session_with

WORKSPACE, DATASET = "f089354e-8366-4e18-aea3-4cb4a3a50b48", "CFAFBEB1-8037-4d0c-896e-a46fb27ff229"
SETTINGS = Settings(
    downstream_url="https://flow.example.test/canary7890?sig=canary", powerbi_dataset=f"{WORKSPACE}/{DATASET}"
)
SUMMARY = summarize("blob:12ab", "export Full of Acme, 2026-02-24 12:00", [{**DONE, "read": 3, "inserted": 3}], 1.5)
CLAIMS = base64.urlsafe_b64encode(json.dumps({"appid": "a1", "oid": "p1"}).encode()).decode()
WHO = "application a1 (principal p1)"


def token(scope):
    assert "https://analysis.windows.net/powerbi/api/.default" == scope
    return f"canary.{CLAIMS}.x"


@pytest.fixture(autouse=True)
def no_waiting():
    """Retries happen at once."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


def test_summary_is_posted_with_the_job_as_idempotency_key():
    """The other side can tell a repeated call from another job."""
    session, seen = session_with(lambda _: (200, {}, b""))

    assert "Downstream: called (200)" == call_hook(SETTINGS, SUMMARY, session)
    assert ("POST", SETTINGS.downstream_url) == (seen[0].method, seen[0].url)
    assert ("blob:12ab", "application/json") == (
        seen[0].headers["Idempotency-Key"], seen[0].headers["Content-Type"],
    )  # fmt: skip
    assert record_of(SUMMARY) == json.loads(seen[0].body)


def test_repeated_call_has_the_same_key():
    """A lost answer is no second job."""
    answers = iter([(503, {}, b""), (200, {}, b"")])
    session, seen = session_with(lambda _: next(answers))

    assert "Downstream: called (200)" == call_hook(SETTINGS, SUMMARY, session)
    assert ["blob:12ab", "blob:12ab"] == [request.headers["Idempotency-Key"] for request in seen]


def test_any_job_makes_a_header():
    """Names of blobs hold what headers may not."""
    session, seen = session_with(lambda _: (200, {}, b""))

    assert "Downstream: called (200)" == call_hook(SETTINGS, replace(SUMMARY, job="é\r\nX: 1\ud800"), session)
    assert "%C3%A9%0D%0AX: 1?" == seen[0].headers["Idempotency-Key"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda _: (404, {}, b"no such flow"), "Downstream: refused (404): no such flow"),
        (
            lambda _: (302, {"Location": "https://b.test"}, b""),
            "Downstream: refused (302): it redirects, which is not followed",
        ),
        (lambda _: (500, {}, b""), "Downstream: refused (500)"),
        (
            fails(requests.ConnectionError("https://flow.example.test/canary7890?sig=canary")),
            "Downstream: the connection to flow.example.test was lost. "
            "Load again; if it lasts, check the network and proxies on the way.",
        ),
        (fails(AssertionError("canary")), "Downstream: failed (AssertionError)"),
    ],
)
def test_call_that_fails_is_said_and_does_not_raise(answer, said):
    """Without the address."""
    session, _ = session_with(answer)

    assert said == call_hook(SETTINGS, SUMMARY, session)


def test_refresh_is_requested_with_the_apps_identity():
    """As the REST API wants it, and without mails."""
    session, seen = session_with(lambda _: (202, {}, b""))

    assert "Power BI: refresh accepted (202)" == refresh_powerbi(SETTINGS, token, session)
    url = f"https://api.powerbi.com/v1.0/myorg/groups/{WORKSPACE}/datasets/{DATASET}/refreshes"
    assert ("POST", url) == (seen[0].method, seen[0].url)
    assert f"Bearer canary.{CLAIMS}.x" == seen[0].headers["Authorization"]
    assert {"notifyOption": "NoNotification"} == json.loads(seen[0].body)


@pytest.mark.parametrize(
    ("status", "headers", "message", "said"),
    [
        (
            400, {}, "Invalid dataset refresh request. Another refresh request is already executing",
            "Power BI: a refresh is already running, so none was started; it may miss the last rows",
        ),
        (
            400, {}, "Invalid dataset refresh request. Number of refresh requests in last 24 hours exceeded limit",
            "Power BI: the limit of refreshes is reached (400). The next export tries again.",
        ),
        (400, {}, "It is a push dataset", "Power BI: refused (400): It is a push dataset"),
        (
            401, {}, "", "Power BI: refused (401). Have a Fabric administrator allow service principals to use Fabric "
            f"APIs (admin portal, tenant settings, developer settings), for a group that {WHO} is in.",
        ),
        (
            403, {}, "API is not accessible.",
            f"Power BI: refused (403): API is not accessible. Give {WHO} the role Contributor in the workspace.",
        ),
        (
            404, {}, "PowerBIEntityNotFound", "Power BI: refused (404): PowerBIEntityNotFound. Check POWERBI_DATASET, "
            f"and give {WHO} the role Contributor in the workspace.",
        ),
        (
            429, {"Retry-After": "3392"}, "Retry in 3392 seconds",
            "Power BI: the limit of refreshes is reached (429); the server asks to wait 56 min 32 s. "
            "The next export tries again.",
        ),
        (429, {}, "", "Power BI: the limit of refreshes is reached (429). The next export tries again."),
        (503, {}, "", "Power BI: refused (503)"),
    ],
)  # fmt: skip
def test_refusals_of_a_refresh_are_said_with_what_to_do(status, headers, message, said):
    """In a line; a refresh that is running already is fine."""
    session, _ = session_with(lambda _: (status, headers, {"error": {"code": "x", "message": message}}))
    session_without, _ = session_with(lambda _: (status, headers, b""))

    assert said == refresh_powerbi(SETTINGS, token, session if message else session_without)


@pytest.mark.parametrize("dataset", [DATASET, f"{WORKSPACE}/{DATASET}/x", f"../{DATASET}", f"{WORKSPACE}/sales", "/"])
def test_malformed_dataset_is_reported_and_nothing_is_called(dataset):
    """No token goes to an address that was put together wrong."""
    session, seen = session_with(lambda _: (202, {}, b""))

    said = refresh_powerbi(replace(SETTINGS, powerbi_dataset=dataset), token, session)

    assert (
        "Power BI: POWERBI_DATASET is not <workspace id>/<dataset id>. Copy both ids from the URL of the dataset."
        == said
    )
    assert [] == seen


def test_missing_token_is_said():
    """In the first line of a long story, without secrets."""

    def none(_scope):
        raise RuntimeError("no identity: https://a.test/b?sig=canary\nmore")

    said = refresh_powerbi(SETTINGS, none, session_with(lambda _: (202, {}, b""))[0])

    assert "Power BI: no token for this app's identity: RuntimeError: no identity: https://a.test/b" == said


@pytest.mark.parametrize("proof", [None, "no token", "a\nb"])
def test_odd_token_does_not_raise(proof):
    """Whatever the identity hands out."""
    session, _ = session_with(lambda _: (403, {}, b""))

    assert refresh_powerbi(SETTINGS, lambda _: proof, session).startswith("Power BI: ")


def test_both_follow_an_export_that_succeeded():
    """In their order, each with a line."""
    session, seen = session_with(lambda _: (202, {}, b""))

    reported = run_followups(SETTINGS, SUMMARY, token, session)

    assert ["Downstream: called (202)", "Power BI: refresh accepted (202)"] == reported
    assert ["flow.example.test", "api.powerbi.com"] == [request.url.split("/")[2] for request in seen]


def test_refresh_follows_even_if_the_call_failed():
    """They have nothing to do with each other."""
    session, _ = session_with(lambda request: (404 if "flow" in request.url else 202, {}, b""))

    reported = run_followups(SETTINGS, SUMMARY, token, session)

    assert ["Downstream: refused (404)", "Power BI: refresh accepted (202)"] == reported


def test_token_goes_to_power_bi_alone():
    """The other address is anybody's."""
    session, seen = session_with(lambda _: (202, {}, b""))

    run_followups(SETTINGS, SUMMARY, token, session)

    assert [False, True] == ["Authorization" in request.headers for request in seen]


@pytest.mark.parametrize(
    ("outcomes", "count"), [([DONE], 2), ([SKIPPED], 2), ([DONE, FAILED], 0), ([FAILED], 0), ([SKIPPED, FAILED], 0)]
)
def test_nothing_follows_an_export_that_failed_somewhere(outcomes, count):
    """One whose work was found done counts: whoever did it may not have come to this."""
    session, seen = session_with(lambda _: (202, {}, b""))

    reported = run_followups(SETTINGS, summarize("j1", "x", outcomes, 1.0), token, session)

    assert (count, count) == (len(reported), len(seen))


def test_nothing_follows_where_nothing_is_configured():
    """That is the default."""
    assert [] == run_followups(Settings(), SUMMARY, token)

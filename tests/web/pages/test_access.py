"""Who may see and do what: roles, sign-in, forms, and what is kept of it."""

from __future__ import annotations

import pytest

from shared.jobs.actions import actions_of
from shared.jobs.feed_state import FeedStates
from shared.web.pages.sign_in import OPERATOR, READER, Principal, principal_of
from shared.web.pages.site import ROUTES, Request, respond
from tests.web.pages.browsing import OPERATES, READS, get, open_pages, post, principal_header, report, token, words

NOBODY = Principal("3", "Noa", frozenset({"Another role"}))
FEED = "coolr.location"


@pytest.fixture
def app(tmp_path):
    return open_pages(tmp_path, STATUS_SIGN_IN="entra")


def status(app, method, path, principal, body=b""):
    return respond(app, Request(method=method, path=path, query={}, principal=principal, body=body)).status


@pytest.mark.parametrize(("method", "path", "role"), ROUTES)
def test_every_route_needs_its_role(app, method, path, role):
    """What changes something is for operators, and nothing is for everybody."""
    assert {"GET": READER, "POST": OPERATOR}[method] == role
    assert status(app, method, path, None) in (303, 401)
    assert 403 == status(app, method, path, NOBODY)
    if role == OPERATOR:
        assert 403 == status(app, method, path, READS)


@pytest.mark.parametrize(("method", "path", "role"), [route for route in ROUTES if route[0] == "POST"])
@pytest.mark.parametrize("kind", ["none", "made up", "of another"])
def test_every_form_needs_its_token(app, method, path, role, kind):
    """Nothing is done without it."""
    given = {
        "none": {},
        "made up": {"token": "0" * 64},
        "of another": {"token": token(app, Principal("9", "x", frozenset({OPERATOR})))},
    }

    page = post(app, path, name=FEED, action="pause", id="blob:1", **given[kind])

    assert 403 == page.status
    assert not FeedStates(app.documents).paused(FEED)


def test_token_of_another_site_is_not_enough(app):
    """Whatever it got hold of."""
    assert 403 == post(app, "feed", fetched_from="cross-site", token=token(app), name=FEED, action="pause").status


def test_token_lasts_until_the_next_day(app):
    """A page that was opened at midnight works; one of last week does not."""
    old = token(app)
    app.now.forward(days=1)
    assert 303 == post(app, "feed", token=old, name=FEED, action="pause").status
    app.now.forward(days=1)
    assert 403 == post(app, "feed", token=old, name=FEED, action="resume").status


def test_reader_sees_no_forms(app):
    """They would only be refused."""
    report(app)

    assert "Run now" not in words(get(app, "feed", READS, name=FEED))
    assert "Run now" in words(get(app, "feed", OPERATES, name=FEED))


@pytest.mark.parametrize(
    ("headers", "roles"),
    [
        ({"X-MS-CLIENT-PRINCIPAL": principal_header(["Reader"])}, {"Reader"}),
        ({"x-ms-client-principal": principal_header(["Operator", "Reader"])}, {"Operator", "Reader"}),
        ({"X-MS-CLIENT-PRINCIPAL": principal_header([])}, set()),
    ],
)
def test_principal_is_whom_app_service_names(app, headers, roles):
    """Whatever the case of the header."""
    found = principal_of(headers, app.settings)

    assert ("7", "Ada", roles) == (found.id, found.name, found.roles)


@pytest.mark.parametrize(
    "value", ["", "?", "e30=", "W10=", "bnVsbA==", "eyJjbGFpbXMiOlt7fV19", principal_header(["Operator"], id="")]
)
def test_header_that_says_nobody_is_nobody(app, value):
    """Broken, empty, without an id."""
    assert None is principal_of({"X-MS-CLIENT-PRINCIPAL": value}, app.settings)


def test_header_counts_only_where_app_service_sets_it(tmp_path):
    """Anybody may send it to an app whose authentication is not switched on."""
    app = open_pages(tmp_path)

    assert None is principal_of({"X-MS-CLIENT-PRINCIPAL": principal_header(["Operator"])}, app.settings)
    assert 403 == get(app, "", None).status
    assert "docs/status-page.md" in words(get(app, "", None))


def test_whoever_is_not_signed_in_is_led_there(app):
    """And back to the page."""
    page = get(app, "", None)

    assert (303, "/.auth/login/aad?post_login_redirect_uri=/api/status") == (page.status, page.headers["Location"])


# -- actions


def test_action_is_done_and_kept_with_who_did_it(app):
    """Paused, resumed: the same calls as the API's."""
    first = post(app, "feed", token=token(app), name=FEED, action="pause")
    assert FeedStates(app.documents).paused(FEED)
    app.now.forward(minutes=1)
    post(app, "feed", token=token(app), name=FEED, action="resume")

    assert (303, "/api/status/feed?name=coolr.location&done=pause") == (first.status, first.headers["Location"])
    assert not FeedStates(app.documents).paused(FEED)
    assert [("resume", "Opal <b>"), ("pause", "Opal <b>")] == [
        (one.action, one.by) for one in actions_of(app.documents, FEED)
    ]


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"action": "drop"}, "there is no such action"), ({"action": "allow"}, "tick the box"),
        ({"action": "backfill"}, "write either reset"), ({"action": "backfill", "to": "x", "reset": "yes"}, "T is"),
    ],
)  # fmt: skip
def test_form_that_lacks_something_is_refused(app, form, reason):
    """It says what, and nothing is kept of it."""
    page = post(app, "feed", token=token(app), name=FEED, **form)

    assert (400 <= page.status < 504, []) == (True, actions_of(app.documents, FEED))


def test_long_form_is_refused(app):
    """Before it is looked at."""
    assert 413 == post(app, "feed", token=token(app), name="a" * 70_000, action="run").status
    assert 413 == post(app, "feed", token=token(app), **{f"f{n}": "" for n in range(30)}).status

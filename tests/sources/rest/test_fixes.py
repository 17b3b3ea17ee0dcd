"""What errors of APIs advise is followed to the letter, and the sync passes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.pipeline import pull
from shared.rest.connect import open_client
from shared.sources import open_pull_source
from shared.sources.rest import source as rest_source
from tests.advice import advises, follows
from tests.servers.api import TOKEN
from tests.servers.http import Reply, as_json
from tests.sources.rest.conftest import PAGINGS, PEOPLE
from tests.sources.rest.test_sync import PATH, person, sync

GOOD = PEOPLE.format(paging=PAGINGS["cursor"], more="")


def corrected(text, wrong):
    """The catalog with a mistake in it."""
    right, _, mistake = wrong.partition(" -> ")
    assert right in text
    return text.replace(right, mistake)


@pytest.mark.parametrize(
    ("fix", "mistake"),
    [
        follows("Correct the base URL, or the path in the catalog", "/v1/people -> /v2/people"),
        follows("Correct records in the catalog", "data.items -> data.rows"),
        follows("Correct paging in the catalog", 'parameter = "after" -> parameter = "limit"'),
        follows("Correct next under paging in the catalog", "paging.next.after -> data.items"),
        follows(
            "Correct cursor, cursor_format or records in the catalog; the fields are {}", '"updated_at" -> "changed"'
        ),
    ],
)
def test_a_mistake_in_the_catalog_is_corrected(open_app, server, fix, mistake):
    server.lists[PATH] = [person(n) for n in range(1, 8)]

    advises(fix, sync(open_app(corrected(GOOD, mistake))).reason)

    assert 7 == sync(open_app(GOOD)).counts["inserted"]
    server.violations.clear()


def test_a_missing_setting_is_set(open_app, server):
    """A system that lacks one is not synced by the timer."""
    server.lists[PATH] = [person(1)]
    with pytest.raises(Exception, match="no value for ACME_BASE_URL, ACME_API_TOKEN") as error:
        sync(open_app(GOOD, ACME_BASE_URL="", ACME_API_TOKEN=""))
    advises("Set it to sync tables of this API", str(error.value))

    assert 1 == sync(open_app(GOOD)).counts["inserted"]


@pytest.mark.parametrize("wrong", ["ftp://h/x", "h/x", "https://me:pw@h/x"])
def test_a_base_url_is_written_as_the_error_says(open_app, server, wrong):
    server.lists[PATH] = [person(1)]
    with pytest.raises(Exception, match="ACME_BASE_URL is no URL of an API") as error:
        sync(open_app(GOOD, ACME_BASE_URL=wrong))
    advises("Write it as https://host/path, without user and password", str(error.value))

    assert 1 == sync(open_app(GOOD)).counts["inserted"]


def test_an_api_is_called_encrypted(open_app):
    with pytest.raises(Exception, match="not encrypted") as error:
        sync(open_app(GOOD, ACME_BASE_URL="http://api.test/v1"))
    advises("Start it with https://", str(error.value))


def test_a_token_is_corrected(open_app, server):
    server.lists[PATH] = [person(1)]
    advises("Correct the token, key or password of the API", sync(open_app(GOOD, ACME_API_TOKEN="old")).reason)

    assert 1 == sync(open_app(GOOD)).counts["inserted"]


def test_a_right_is_given(open_app, server):
    server.lists[PATH] = [person(1)]
    server.faults.append(lambda _: as_json({"message": "missing scope"}, 403))
    app = open_app(GOOD)
    advises("Give the token, or its user, the scope or right to read it", sync(app).reason)

    assert 1 == sync(app).counts["inserted"]


def test_a_base_url_leads_where_the_api_redirects_to(open_app, server):
    server.lists[PATH] = [person(1)]
    server.routes["/old/v1/people"] = lambda _: as_json({}, 301, Location=f"{server.url}/v1/people")
    advises("Correct the base URL to where it leads", sync(open_app(GOOD, ACME_BASE_URL=f"{server.url}/old")).reason)

    assert 1 == sync(open_app(GOOD)).counts["inserted"]


def test_a_base_url_is_on_the_host_of_the_pages(open_app, server):
    """Some APIs name their pages by another name of their host."""
    server.lists[PATH] = [person(n) for n in range(1, 8)]
    app = open_app(paging="next", ACME_BASE_URL=server.url.replace("127.0.0.1", "localhost"))
    advises("Correct the base URL to the host that its pages are on", sync(app).reason)

    assert 7 == sync(open_app(paging="next")).counts["inserted"]


def test_a_base_url_of_a_page_is_corrected(open_app, server):
    server.lists[PATH] = [person(1)]
    server.routes["/app/v1/people"] = lambda _: Reply(200, b"<html>Welcome</html>")
    app = open_app(GOOD, ACME_BASE_URL=f"{server.url}/app")
    advises("Correct the base URL, or sync again once the API is up", sync(app).reason)

    assert 1 == sync(open_app(GOOD)).counts["inserted"]


def test_parameters_are_corrected(open_app, server):
    server.lists[PATH] = [person(1)]
    server.faults.append(lambda _: as_json({"message": "since is no date"}, 400))
    app = open_app(GOOD)
    reason = sync(app).reason
    advises("Correct its path and parameters in the catalog", reason)
    assert "since is no date" in reason

    assert 1 == sync(app).counts["inserted"]


@pytest.mark.parametrize("status", [414])
def test_fewer_fields_make_a_shorter_url(open_app, server, status):
    server.lists[PATH] = [person(1)]
    fields = f'parameters = {{ since = "{"x" * 3_000}" }}'
    server.faults.append(lambda request: as_json({}, status) if len(request.query.get("since", "")) > 2_000 else None)
    advises("Read fewer fields at once", sync(open_app(more=fields)).reason)

    assert 1 == sync(open_app(GOOD)).counts["inserted"]


def test_pages_are_chosen_smaller(open_app, server, monkeypatch):
    monkeypatch.setattr(rest_source, "open_client", lambda *words: replace(open_client(*words), most_bytes=1_000))
    server.lists[PATH] = [person(n, note="x" * 100) for n in range(1, 8)]
    server.size = 7
    app = open_app(paging="page")
    advises("Choose smaller pages in the catalog", sync(app).reason)

    server.size = 3
    assert 7 == sync(app).counts["inserted"]


def test_a_field_that_is_new_since_the_plan_is_read_by_the_next_sync(open_app, server):
    """As when a job stages on another machine than it planned on."""
    app = open_app(GOOD)
    server.lists[PATH] = [person(1)]
    feed = app.systems["acme"].feed("people", ())
    source = open_pull_source(feed, app.settings)
    unit = pull.whole(feed, source, now="2026-02-24T12:00:00.000000")
    part = source.describe(unit).slices[0]
    server.lists[PATH][0]["new"] = "x"

    with pytest.raises(Exception, match="has new fields since the run was planned: new") as error:
        list(open_pull_source(feed, app.settings).read(part))
    advises("Nothing to do: the next sync reads them", str(error.value))
    assert 1 == sync(app).counts["inserted"]


def test_nothing_is_to_be_done_when_a_day_is_used_up(open_app, server):
    """The account here has a key of its own, so that no other test is suspended with it."""
    token = f"{TOKEN}-used-up"
    server.tokens.add(token)
    server.faults.append(lambda _: as_json({"policyName": "DAILY"}, 429))

    reason = sync(open_app(GOOD, ACME_API_TOKEN=token)).reason

    advises("Nothing to do: the first sync after that goes on from there", reason)

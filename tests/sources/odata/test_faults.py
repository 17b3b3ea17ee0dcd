"""Everything an OData service may do wrong: a sync goes on where that helps, and says why where not."""

from __future__ import annotations

import base64
import logging

import pytest

from tests.advice import advised, advises
from tests.servers.http import Reply
from tests.servers.marketsharp import KEY, SECRET, error, guid
from tests.sources.odata.test_odata import active, contact, stored, sync

ERROR = error(500, "x").body.removeprefix(b'<?xml version="1.0"?>')
BROKEN = {
    "cut off by the connection": lambda reply: Reply(200, reply.body, {}, cut=len(reply.body) - 30),
    "cut off as a document": lambda reply: Reply(200, reply.body[:-30]),
    "an error at its end": lambda reply: Reply(
        200, reply.body.replace(b"</feed>", error(500, "x").body[21:] + b"</feed>")
    ),
    "HTML": lambda _: Reply(200, b"<!DOCTYPE html><html><body>Busy</body></html>"),
    "503": lambda _: error(503, "busy"),
    "an entity bomb": lambda reply: Reply(200, b'<!DOCTYPE feed [<!ENTITY a "aa">]>' + reply.body.partition(b"?>")[2]),
}


@pytest.fixture
def app(open_app, server):
    server.entities["Contacts"] = [contact(n) for n in range(1, 6)]
    return open_app(size=2)


def broken(server, fault):
    return lambda _: fault(server.feed("Contacts", server.entities["Contacts"][:2]))


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN)
def test_what_passes_is_called_again(app, server, fault):
    """Of a page that is broken no row is taken."""
    server.faults.extend([lambda _: None, broken(server, fault), lambda _: None, broken(server, fault)])

    result = sync(app)

    assert ("done", 5) == (result.outcome, result.counts["inserted"]), result.reason
    assert {guid(n) for n in range(1, 6)} == active(app)


@pytest.mark.parametrize("fault", ["cut off as a document", "an error at its end", "an entity bomb"])
def test_what_does_not_pass_fails_and_the_next_sync_goes_on(app, server, fault):
    server.faults.extend([*[lambda _: None] * 3, *[broken(server, BROKEN[fault])] * 5])

    assert "answers with something else than a feed of Atom" in sync(app).reason
    assert [] == app.warehouse.table_rows("crm", "contact")[1]
    assert 5 == sync(app).counts["inserted"]


def test_illegal_characters_are_removed_on_the_way(app, server):
    server.put("Contacts", guid(1), note="one\x1ftwo\x0b ü <&>\n")

    sync(app)

    assert "onetwo ü <&>\n" == stored(app)[guid(1)]["note"]


def test_a_signature_is_made_with_the_right_secret(open_app, server):
    other = base64.b64encode(b"other").decode()

    reason = sync(open_app(CRM_API_SECRET=other)).reason

    advises("Correct the token, key or password of the API", reason)
    assert "no news" == sync(open_app(CRM_API_SECRET=SECRET)).outcome


def test_a_secret_is_set_as_it_was_given(open_app):
    with advised("Set it exactly as it was given") as advice:
        sync(open_app(CRM_API_SECRET="no base64!"))

    assert "CRM_API_SECRET is not base64" in str(advice.error)
    assert "no news" == sync(open_app(CRM_API_SECRET=SECRET)).outcome


@pytest.mark.parametrize(("seconds", "word"), [(900, "behind"), (-900, "ahead of")])
def test_a_clock_that_is_off_is_set(app, server, seconds, word):
    server.clock_ahead = seconds

    reason = sync(app).reason

    assert f"s {word} the API's" in reason
    advises("Set this machine's clock", reason)
    server.clock_ahead = 0
    assert "done" == sync(app).outcome


def test_a_set_is_named_as_the_service_names_it(open_app, server):
    server.entities["Contacts"] = [contact(1)]

    reason = sync(open_app(name="contacts")).reason

    (names,) = advises("Correct set in the catalog; there are {}", reason)
    assert "Contacts" in names
    assert "done" == sync(open_app(name="Contacts")).outcome


def test_a_cursor_is_an_instant(open_app, server):
    server.entities["Contacts"] = [contact(1)]

    advises("Choose one that is an instant, or cursor = false", sync(open_app(cursor="firstName")).reason)
    assert "done" == sync(open_app(cursor="lastUpdate")).outcome


def test_fields_are_named_as_the_service_names_them(open_app, server):
    server.entities["Contacts"] = [contact(1)]

    advises("Correct it in the catalog; the fields are {}", sync(open_app(cursor="changed")).reason)


def test_a_list_that_never_rests_is_read_at_a_quieter_time_or_in_larger_pages(open_app, server):
    server.entities["ContactTypes"] = [{"id": guid(n)} for n in range(100)]
    app = open_app(size=3)

    def remove(_):
        server.entities["ContactTypes"].pop(0)

    server.faults.extend([remove] * 90)

    advises("Sync it again at a quieter time, or choose larger pages in the catalog", sync(app, "kind").reason)
    server.faults.clear()
    assert "done" == sync(app, "kind").outcome
    server.faults.extend([remove] * 9)
    assert "done" == sync(open_app(size=500), "kind").outcome


def test_links_that_lead_back_end_a_sync(app, server):
    """Reported, and corrected by whoever runs the API."""
    back = f"{server.url}/Contacts?$skiptoken=1"
    server.faults.extend([lambda _: None, *[lambda _: server.feed("Contacts", [contact(1)], None, back)] * 5])

    advises("Sync again; if it lasts, report it to whoever runs the API", sync(app).reason)
    server.faults.clear()
    assert "done" == sync(app).outcome


def test_an_empty_page_with_a_link_is_not_the_last_but_many_are_given_up(app, server):
    """Also where their links are new ones each time, as a service had them that is not ours."""
    sync(app)
    first_two = [lambda _: None] * 2
    server.faults.extend([*first_two, lambda _: server.feed("Contacts", [], None, f"{server.url}/Contacts")])
    assert 5 == sync(app, full=True).counts["read"]

    links = (f"{server.url}/Contacts?$skiptoken={n}" for n in range(40))
    server.faults.extend(
        [*first_two, *(lambda _, link=link: server.feed("Contacts", [], None, link) for link in links)]
    )
    assert "would have no end of pages of Contacts: 21 of them are empty" in sync(app, full=True).reason


def test_links_to_another_host_are_not_followed(app, server):
    sync(app)
    server.faults.extend([lambda _: server.feed("Contacts", [], None, "https://evil.test/x")] * 2)

    assert "names a page on another host" in sync(app).reason


def test_no_secret_is_shown_and_pages_are_kept(app, server, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    server.faults.extend([lambda _: None, lambda call: error(403, f"no right: {call.headers['Authorization']}")])
    reason = sync(app).reason
    sync(app, keep_raw=str(tmp_path / "raw"))

    kept = {path.suffix: path.read_text() for path in (tmp_path / "raw" / "crm.contact").iterdir()}
    assert {".xml", ".jsonl"} == set(kept)
    assert "no right: 1234:***:" in reason
    assert not [text for text in (reason, caplog.text, *kept.values()) if KEY in text or SECRET in text]


@pytest.mark.parametrize("status", [400, 403, 404])
def test_what_cannot_pass_is_called_once(app, server, status):
    server.faults.append(lambda _: error(status, "The property 'x' does not exist"))

    assert f"({status}): The property 'x' does not exist" in sync(app).reason
    assert 1 == len(server.calls)

"""Events of LeadConduit, by the catalog file that comes with the package."""

from __future__ import annotations

import json

from dataclasses import replace

import pytest

from shared.pipeline import sync as syncing
from shared.pipeline.sync import SyncOptions
from tests.exports import Clock, open_test_app
from tests.servers.leadconduit import KEY, event, ident, leadconduit


@pytest.fixture
def server():
    with leadconduit() as found:
        yield found
        assert found.violations == []


@pytest.fixture
def app(tmp_path, server):
    opened = open_test_app(tmp_path, Clock(), LEADCONDUIT_BASE_URL=server.url, LEADCONDUIT_API_KEY=KEY)
    return replace(opened, settings=replace(opened.settings, keep_raw=str(tmp_path / "raw")))


def sync(app, table="event", **options):
    (result,) = syncing.sync(app.runner, app.settings, "leadconduit", [table], SyncOptions(**options))
    return result


def stored(app, *columns, table="event"):
    listed = ", ".join(f'"{column}"' for column in columns)
    with app.warehouse._session() as session:
        return session.connection.execute(f"SELECT {listed} FROM leadconduit.{table} ORDER BY 1").fetchall()


def test_pages_follow_the_last_id_until_one_is_empty(app, server):
    """A short page is not the end."""
    server.events, server.most = [event(n, n) for n in range(7)], 3

    result = sync(app)

    assert ("done", 7) == (result.outcome, result.counts["inserted"]), result.reason
    assert [None, ident(2), ident(5), ident(6)] == [call.query.get("after_id") for call in server.calls[-4:]]
    assert [(ident(n), ident(n), "f1", "Roofs") for n in range(7)] == stored(
        app, "id", "lead_id", "flow_id", "flow_name"
    )


def test_an_event_with_a_lower_id_that_comes_late_is_read(app, server):
    """Ids come from several hosts. An hour is read again."""
    server.events = [event(5, 10)]
    sync(app)
    server.events += [event(2, 4), event(9, 30, of=5, kind="recipient")]

    result = sync(app)

    assert 2 == result.counts["inserted"]
    assert [ident(2), ident(5), ident(5)] == [lead for _, lead in stored(app, "id", "lead_id")]


@pytest.mark.parametrize("given", ["ada@x.nl", {"normal": "ada@x.nl", "raw": "Ada@X.nl"}, {"raw": "ada@x.nl"}], ids=str)
def test_a_value_may_be_a_text_or_an_object(app, server, given):
    server.events = [event(1, email=given)]

    sync(app)

    assert [("ada@x.nl",)] == stored(app, "email")


def test_credentials_are_neither_loaded_nor_kept(app, server, tmp_path):
    """However deep they are; everything else is there."""
    server.events = [event(1, city="Ede")]

    sync(app)

    ((extra,),) = stored(app, "Extra")
    found = json.loads(extra)
    kept = [path.read_text() for path in (tmp_path / "raw").rglob("*") if path.is_file()]
    assert ("Ede", [{}], 3) == (found["vars"]["lead"]["city"], found["steps"], found["wait_ms"])
    assert any("Ede" in text for text in kept)
    assert not [text for text in (extra, *kept) if "hush" in text]


def test_nothing_new_takes_two_calls(app, server):
    server.events = [event(n, n) for n in range(3)]
    sync(app)
    server.calls.clear()

    assert "no news" == sync(app).outcome
    assert 2 >= len(server.calls)


def test_a_lead_is_what_its_newest_event_says(app, server):
    """Whichever kind it is, and though it comes by a later sync or with a lower id; ids decide between equal times."""
    server.events = [
        event(1, 0, city="Ede"), event(2, 1), event(3, 2, of=1, kind="recipient", city={"normal": "Arnhem"}),
        event(4, 2, of=1, kind="filter", city="Zwolle"),
    ]  # fmt: skip

    assert 2 == sync(app, "lead").counts["inserted"]
    columns = ("lead_id", "event_id", "type", "city")
    assert [(ident(1), ident(4), "filter", "Zwolle"), (ident(2), ident(2), "source", None)] == stored(
        app, *columns, table="lead"
    )

    server.events += [event(9, 30, of=1, kind="feedback-received", city="Rome"), event(5, 20, of=2, kind="recipient")]
    server.events += [event(6, 25, of=1, kind="recipient", city="Oslo")]
    result = sync(app, "lead")

    assert (2, 0) == (result.counts["updated"], result.counts["inserted"])
    assert [(ident(1), ident(9), "feedback-received", "Rome"), (ident(2), ident(5), "recipient", None)] == stored(
        app, *columns, table="lead"
    )


def test_the_id_of_a_source_event_is_that_of_its_lead(app, server):
    """Also where the event does not repeat it."""
    server.events = [event(1), event(2, 1, of=1, kind="recipient", email="a@x.nl")]
    del server.events[0]["vars"]["lead"]["id"]

    assert 1 == sync(app, "lead").counts["inserted"]
    assert [(ident(1), "a@x.nl")] == stored(app, "lead_id", "email", table="lead")


def test_what_the_api_has_forgotten_stays(app, server):
    """A full brings what is there, and takes nothing as deleted; keys are not compared."""
    server.events = [event(1), event(2, 1)]
    sync(app), sync(app, "lead")
    server.events = [event(2, 1), event(3, 2)]

    for table, key in (("event", "id"), ("lead", "lead_id")):
        result = sync(app, table, full=True)
        assert ("done", 1, 0) == (result.outcome, result.counts["inserted"], result.counts["absent"]), result.reason
        assert ["leadconduit forgets its rows after 90 days"] == [run.note for run in result.runs]
        assert "skipped" == sync(app, table, keys=True).outcome
        assert [(ident(n), None) for n in (1, 2, 3)] == stored(app, key, "DeletedAt", table=table)


def test_events_that_are_older_than_they_are_kept_are_noted(app, server):
    """The first sync, and one that begins before: LeadConduit keeps 90 days."""
    server.events = [event(1)]
    note = "127.0.0.1 keeps 90 days: nothing from before 2025-11-26 is read"

    assert [note] == [run.note for run in sync(app).runs]
    server.events.append(event(2, 9))
    assert [None] == [run.note for run in sync(app).runs]
    assert [note] == [run.note for run in sync(app, since="2025-01-01").runs]

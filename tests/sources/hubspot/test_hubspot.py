"""Objects of HubSpot over HTTP, into DuckDB: what other connectors got wrong is a test here."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.pipeline import sync as syncing
from shared.pipeline.sync import SyncOptions
from tests.advice import advises
from tests.exports import Clock, doctor_findings, open_test_app
from tests.servers.http import Reply, as_json
from tests.servers.hubspot import TOKEN

MINUTE = dt.timedelta(minutes=1)


def sync(app, table="contact", **options):
    (result,) = syncing.sync(app.runner, app.settings, "crm", [table], SyncOptions(**options))
    return result


def done(app, table="contact", **options):
    result = sync(app, table, **options)
    assert "failed" != result.outcome, result.reason
    return result


def stored(app, table="contact"):
    names, rows = app.warehouse.table_rows("crm", table)
    return {row[names.index("id")]: dict(zip(names, row, strict=True)) for row in rows}


def active(app):
    return {id: row["email"] for id, row in stored(app).items() if row["DeletedAt"] is None}


def later(server, app, **span):
    server.now += dt.timedelta(**span)
    app.now.forward(**span)


@pytest.mark.parametrize("version", ["v3", "2026-03", "2026-09"])
def test_a_first_sync_reads_all_and_the_next_what_changed(open_app, server, version):
    """In all versions of the API."""
    server.version = version
    app = open_app(version=version)
    for n in range(1, 251):
        server.put(
            "contacts", n, server.now - 60 * MINUTE + n * MINUTE / 10, email=f"{n}@x.test", amount="1.5", opted=""
        )
    assert 250 == done(app).counts["inserted"]
    row = stored(app)[7]
    assert ("7@x.test", 1.5, None) == (row["email"], row["amount"], row["opted"])

    later(server, app, hours=1)
    server.put("contacts", 7, email="new@x.test")
    server.put("contacts", 900, email="900@x.test")
    later(server, app, minutes=10)
    result = done(app)

    assert (1, 1) == (result.counts["updated"], result.counts["inserted"])
    assert "new@x.test" == active(app)[7]


def test_no_news_cost_few_calls(open_app, server):
    app = open_app()
    server.put("contacts", 1, server.now - 60 * MINUTE)
    done(app)
    done(app)
    before = len(server.calls)

    assert "no news" == done(app).outcome
    assert 2 >= len(server.calls) - before


def test_more_than_a_search_gives_at_most_are_all_read(open_app, server, monkeypatch):
    """Of ids with different lengths, so that they are compared as numbers; all with the same instant."""
    monkeypatch.setattr("tests.servers.hubspot.CEILING", 300)
    app = open_app()
    server.put("contacts", 1, server.now - 90 * MINUTE)
    done(app)
    for n in range(2, 1_200):
        server.put("contacts", n, server.now - 30 * MINUTE, email="x")

    assert 1_198 == done(app).counts["inserted"]


def test_a_window_is_cut_where_there_is_too_much_for_one(open_app, server):
    app = open_app(SYNC_ROWS="40")
    for n in range(1, 101):
        server.put("contacts", n, server.now - 200 * MINUTE + n * MINUTE, email="x")

    result = done(app)

    assert (100, True) == (result.counts["inserted"], len(result.windows) > 2)


def test_what_the_index_shows_late_is_not_jumped_over(open_app, server):
    """A change that is newer than the lag waits; the one after it does not move the watermark beyond."""
    app = open_app()
    server.put("contacts", 1, server.now - 60 * MINUTE)
    server.put("contacts", 2, server.now - 2 * MINUTE)
    assert 1 == done(app).counts["inserted"]

    later(server, app, minutes=10)
    assert 1 == done(app).counts["inserted"]


def test_archived_records_are_tombstones(open_app, server):
    """Though their time of change stays as it was."""
    app = open_app()
    for n in (1, 2, 3):
        server.put("contacts", n, server.now - 60 * MINUTE, email="x")
    done(app)
    later(server, app, hours=1)
    server.archive("contacts", 2)
    later(server, app, hours=1)

    assert 1 == done(app).counts["deleted"]
    assert {1, 3} == set(active(app))
    assert server.now - 60 * MINUTE == stored(app)[2]["archived_at"]


def test_records_that_were_merged_name_the_one_that_is_left(open_app, server):
    app = open_app()
    for n in (1, 2, 3):
        server.put("contacts", n, server.now - 60 * MINUTE, email="x")
    done(app)
    later(server, app, hours=1)
    server.merge("contacts", 1, 3)
    later(server, app, hours=1)
    done(app)

    assert {1, 2} == set(active(app))
    assert 1 == stored(app)[3]["merged_into"]


def test_keys_find_what_nothing_else_shows(open_app, server):
    """Archived more than 90 days ago, or erased."""
    app = open_app()
    for n in (1, 2, 3):
        server.put("contacts", n, server.now - 60 * MINUTE, email="x")
    done(app)
    server.objects["contacts"][2].gone = True
    later(server, app, hours=1)

    assert 1 == done(app, keys=True).counts["absent"]
    assert {1, 3} == set(active(app))


def test_very_many_properties_make_no_long_url(open_app, server):
    """They are read in batches instead (414)."""
    server.properties |= {f"a_property_with_quite_a_long_name_{n:04}": "string" for n in range(300)}
    app = open_app()
    for n in range(1, 151):
        server.put("contacts", n, server.now - 60 * MINUTE, a_property_with_quite_a_long_name_0299=f"v{n}")

    assert 150 == done(app).counts["inserted"]
    assert "v9" == stored(app)[9]["a_property_with_quite_a_long_name_0299"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-02-24T10:00:00.000Z", "2026-02-24 10:00:00"), ("1771927200000", "2026-02-24 10:00:00"),
        ("1771927200", "2026-02-24 10:00:00"), ("1771927200000.0", "2026-02-24 10:00:00"), ("", "None"),
    ],
)  # fmt: skip
def test_instants_come_in_several_forms(open_app, server, text, expected):
    server.properties["seen"] = "datetime"
    app = open_app()
    server.put("contacts", 1, server.now - 60 * MINUTE, seen=text)
    done(app)

    assert expected == str(stored(app)[1]["seen"])


def test_text_in_a_number_is_rejected_alone(open_app, server):
    """Its row is loaded without it."""
    app = open_app()
    server.put("contacts", 1, server.now - 60 * MINUTE, amount="a lot")

    assert 1 == done(app).counts["inserted"]
    assert 1 == len(list(app.warehouse.rejects("crm.contact")))


def test_a_missing_scope_fails_its_object_alone(open_app, server):
    app = open_app()
    server.put("companies", 1, server.now - 60 * MINUTE)
    server.faults.append(lambda _: as_json({"category": "MISSING_SCOPES", "message": "crm.objects.contacts.read"}, 403))

    assert "crm.objects.contacts.read" in sync(app).reason
    assert 1 == done(app, "company").counts["inserted"]


@pytest.mark.parametrize(
    "fault",
    [
        lambda _: as_json({"policyName": "TEN_SECONDLY_ROLLING", "errorType": "RATE_LIMIT"}, 429),
        lambda _: Reply(502, b"<html>"),
        lambda _: Reply(200, b"{}", {}, cut=0),
        lambda _: as_json({"message": "locked"}, 423),
    ],
)
def test_faults_cost_no_row(open_app, server, fault):
    app = open_app()
    for n in range(1, 251):
        server.put("contacts", n, server.now - 60 * MINUTE)
    server.faults.extend([lambda _: None, fault, lambda _: None, fault, fault])

    assert 250 == done(app).counts["inserted"]


def test_associations_are_read_whole(open_app, server):
    """With every label of a pair, over pages of one record's own; archived ids fail no others."""
    app = open_app()
    label = {"category": "HUBSPOT_DEFINED", "typeId": 279, "label": None}
    own = {"category": "USER_DEFINED", "typeId": 7, "label": "Owner"}
    for n in range(1, 6):
        server.put("contacts", n, server.now - 60 * MINUTE)
    server.associated_on_page = 2
    server.associations["contacts", "companies"] = {
        1: [{"toObjectId": to, "associationTypes": [label]} for to in range(10, 15)],
        2: [{"toObjectId": 10, "associationTypes": [label, own]}, {"toObjectId": 10, "associationTypes": [label]}],
    }

    assert 7 == done(app, "contact_company").counts["inserted"]
    server.associations["contacts", "companies"][1].pop()
    later(server, app, minutes=1)
    assert 1 == done(app, "contact_company").counts["absent"]


changes = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "archive", "merge", "sync", "gone"]), st.integers(1, 8), st.integers(1, 8)
    ),
    max_size=25,
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=changes, step=st.sampled_from(["0", "300"]))
def test_when_the_server_rests_one_more_sync_makes_both_equal(fresh_app, fresh_server, changes, step):
    """Whatever was created, changed, archived, merged and erased while syncs ran. What is erased needs the keys."""
    with fresh_server() as server:
        app = fresh_app(server, SYNC_STEP=step, BATCH_ROWS="1")
        contacts = server.objects["contacts"]
        for number, (what, one, other) in enumerate(changes):
            later(server, app, minutes=number % 4)
            if what == "put" and (one not in contacts or not contacts[one].archived_at):
                server.put("contacts", one, email=f"{number}")
            elif what == "sync":
                done(app)
            elif one in contacts and not contacts[one].archived_at:
                if what == "archive":
                    server.archive("contacts", one)
                elif what == "gone":
                    del contacts[one]
                elif other in contacts and other != one and not contacts[other].archived_at:
                    server.merge("contacts", one, other)
        later(server, app, hours=1)
        done(app)
        later(server, app, minutes=1)
        done(app, keys=True, max_delete_share=1.0)

        expected = {n: one.properties.get("email") for n, one in contacts.items() if not one.archived_at}
        assert expected == (
            active(app) if expected or app.warehouse.columns(app.systems["crm"].feed("contact", ())) else {}
        )
        assert [] == server.violations


def test_the_catalog_that_comes_with_the_package_works(server, tmp_path):
    """With a token that stays the same; appointments are switched off here, which fails them alone."""
    app = open_test_app(tmp_path, Clock(), HUBSPOT_BASE_URL=server.url, HUBSPOT_ACCESS_TOKEN=TOKEN)
    server.put("contacts", 1, server.now - 60 * MINUTE, email="x")

    found = syncing.sync(app.runner, app.settings, "hubspot", [], SyncOptions())

    outcomes = {one.feed.removeprefix("hubspot."): one.outcome for one in found}
    assert {"appointment", "appointment_contact"} == {table for table, one in outcomes.items() if one == "failed"}
    assert "done" == outcomes["contact"]
    server.violations.clear()


def test_a_token_is_fetched_and_renewed(server, tmp_path):
    """By OAuth 2, as soon as there is a refresh token."""
    keys = {"HUBSPOT_CLIENT_ID": "id", "HUBSPOT_CLIENT_SECRET": "shh", "HUBSPOT_REFRESH_TOKEN": "refresh"}
    app = open_test_app(tmp_path, Clock(), HUBSPOT_BASE_URL=server.url, STATE_URL=str(tmp_path / "state"), **keys)
    server.refresh_token = "refresh"
    server.tokens = set()
    for n in range(1, 251):
        server.put("contacts", n, server.now - 60 * MINUTE, email="x")
    server.faults.extend([lambda _: None] * 5 + [lambda _: server.tokens.clear()])

    (result,) = syncing.sync(app.runner, app.settings, "hubspot", ["contact"], SyncOptions())

    assert ("done", 250) == (result.outcome, result.counts["inserted"]), result.reason
    assert 2 == server.issued


def test_the_doctor_looks_at_each_object(server, tmp_path):
    app = open_test_app(tmp_path, Clock(), HUBSPOT_BASE_URL=server.url, HUBSPOT_ACCESS_TOKEN=TOKEN)
    server.headers = {"X-HubSpot-RateLimit-Daily": "250000", "X-HubSpot-RateLimit-Daily-Remaining": "249000"}

    found = {one.check: one.status for one in doctor_findings(app) if "hubspot" in one.check}

    assert {"ok"} == {found[f"source hubspot.{table}"] for table in ("contact", "company", "deal")}
    assert ("failed", "ok", "ok") == (
        found["source hubspot.appointment"], found["source hubspot: clock"], found["source hubspot: limits"],
    )  # fmt: skip
    server.violations.clear()


def test_ids_that_do_not_grow_end_a_sync(open_app, server):
    """A search that ignores its order would lose records."""
    app = open_app()
    server.put("contacts", 1, server.now - 90 * MINUTE)
    done(app)
    for n in range(2, 300):
        server.put("contacts", n, server.now - 30 * MINUTE)
    shuffled = {"total": 298, "results": [{"id": "9", "properties": {}}, {"id": "8", "properties": {}}]}
    server.faults.extend([lambda _: None, lambda _: None, lambda _: as_json(shuffled)])

    advises("Sync again; if it lasts, sync --full", sync(app).reason)
    assert 298 == done(app).counts["inserted"]
    assert 299 == done(app, full=True).counts["read"]


def test_an_answer_without_results_is_no_empty_one(open_app, server):
    server.put("contacts", 1, server.now - 60 * MINUTE)
    app = open_app()
    server.faults.extend([lambda _: as_json({"total": "many"})])

    advises("Correct the base URL, or sync again once the API is up", sync(app).reason)
    assert 1 == done(app).counts["inserted"]


def test_more_records_of_one_instant_than_a_window_takes_end_it(open_app, server):
    """They are read together, and the next window begins behind them."""
    app = open_app(SYNC_ROWS="10")
    for n in range(1, 31):
        server.put("contacts", n, server.now - 90 * MINUTE)
    for n in range(31, 36):
        server.put("contacts", n, server.now - 60 * MINUTE)

    assert 35 == done(app).counts["inserted"]
    assert "no news" == done(app).outcome


@pytest.mark.parametrize("size", [0, 1])
def test_a_short_or_empty_page_with_a_next_one_is_not_the_last(open_app, server, size):
    """Of a list. What counts is paging.next."""
    app = open_app()
    for n in range(1, 6):
        server.put("contacts", n, server.now - 60 * MINUTE, email="x")

    def short(request):
        if request.path.endswith("/contacts") and request.query.get("archived") == "false":
            found = server._answer(request)
            page = {"results": json.loads(found.body)["results"][:size], "paging": {"next": {"after": str(size)}}}
            return as_json(page)
        server.faults.append(short)
        return None

    server.faults.append(short)

    assert 5 == done(app).counts["inserted"]


def test_a_search_without_records_that_has_a_next_page_is_no_end(open_app, server):
    """The keyset cannot go on from it, so the window fails rather than lose what follows."""
    app = open_app()
    server.put("contacts", 1, server.now - 90 * MINUTE)
    done(app)
    for n in range(2, 300):
        server.put("contacts", n, server.now - 30 * MINUTE)
    server.faults.extend(
        [
            lambda _: None,
            lambda _: None,
            lambda _: as_json({"total": 298, "results": [], "paging": {"next": {"after": "1"}}}),
        ]
    )

    assert "gives no ids, though there are more" in sync(app).reason
    assert 298 == done(app).counts["inserted"]


def test_pages_are_as_large_as_hubspot_allows(open_app, server):
    """100 records of a list and of a batch, 200 of a search."""
    app = open_app()
    server.put("contacts", 1, server.now - 90 * MINUTE)
    done(app)
    for n in range(2, 450):
        server.put("contacts", n, server.now - 30 * MINUTE)
    server.calls.clear()
    done(app)

    searches = [call.json for call in server.calls if call.path.endswith("/search")]
    batches = [len(call.json["inputs"]) for call in server.calls if call.path.endswith("/batch/read")]
    lists = [call for call in server.calls if call.path.endswith("/contacts")]
    assert [200] * 3 == [one["limit"] for one in searches if one["sorts"][0]["propertyName"] == "hs_object_id"]
    assert 449 == sum(batches)
    assert 100 == max(batches)
    assert {"100"} == {call.query["limit"] for call in lists}


def test_a_token_that_ends_amid_associations_is_renewed(server, tmp_path):
    keys = {"HUBSPOT_CLIENT_ID": "id", "HUBSPOT_CLIENT_SECRET": "shh", "HUBSPOT_REFRESH_TOKEN": "refresh"}
    app = open_test_app(tmp_path, Clock(), HUBSPOT_BASE_URL=server.url, STATE_URL=str(tmp_path / "state"), **keys)
    server.refresh_token, server.tokens = "refresh", set()
    label = {"category": "HUBSPOT_DEFINED", "typeId": 279, "label": None}
    for n in range(1, 3):
        server.put("contacts", n, server.now - 60 * MINUTE)
    found = {n: [{"toObjectId": 7, "associationTypes": [label]}] for n in (1, 2)}
    server.associations["contacts", "companies"] = found
    server.faults.extend([lambda _: None] * 2 + [lambda _: server.tokens.clear()])

    (result,) = syncing.sync(app.runner, app.settings, "hubspot", ["contact_company"], SyncOptions())

    assert ("done", 2) == (result.outcome, result.counts["inserted"]), result.reason
    assert 2 == server.issued

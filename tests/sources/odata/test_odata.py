"""Sets of MarketSharp over HTTP, into DuckDB."""

from __future__ import annotations

import datetime as dt

import pytest

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.pipeline import sync as syncing
from shared.pipeline.sync import SyncOptions
from tests.exports import Clock, doctor_findings, open_test_app
from tests.servers.http import Reply
from tests.servers.marketsharp import COMPANY, KEY, SECRET, at, error, guid

PAGES = pytest.mark.parametrize("page", [None, 2], ids=["asked for", "of the service"])


def contact(number, minute=None, **values):
    return {
        "id": guid(number), "companyId": 7, "firstName": f"Person {number}", "isActive": True,
        "lastUpdate": at(number if minute is None else minute), **values,
    }  # fmt: skip


def sync(app, table="contact", **options):
    (result,) = syncing.sync(app.runner, app.settings, "crm", [table], SyncOptions(**options))
    return result


def stored(app, table="contact"):
    names, rows = app.warehouse.table_rows("crm", table)
    return {row[names.index("id")]: dict(zip(names, row, strict=True)) for row in rows}


def active(app, table="contact"):
    return {key for key, row in stored(app, table).items() if row["DeletedAt"] is None}


def types(app):
    return app.warehouse.columns(app.systems["crm"].feed("contact", ()))


@PAGES
def test_a_first_sync_reads_all_and_the_next_what_changed(open_app, server, page):
    """Pages end where the service ends them, or where they were asked to end."""
    server.page = page
    app = open_app(size=2 if page is None else 100)
    server.entities["Contacts"] = [contact(n) for n in range(1, 8)]

    first = sync(app)
    server.put("Contacts", guid(2), firstName="Renamed", lastUpdate=at(40))
    second = sync(app)

    assert ("done", 7) == (first.outcome, first.counts["inserted"]), first.reason
    assert ("done", 1, 0) == (second.outcome, second.counts["updated"], second.counts["inserted"]), second.reason
    assert "Renamed" == stored(app)[guid(2)]["firstName"]
    assert "2026-02-24T10:40:00.000000" == second.watermark


@PAGES
def test_nothing_new_takes_one_call_more_than_the_metadata(open_app, server, page):
    server.page = page
    app = open_app()
    server.entities["Contacts"] = [contact(n) for n in range(1, 8)]
    sync(app)
    server.calls.clear()

    assert "no news" == sync(app).outcome
    assert 1 == len(server.calls)


def test_columns_have_the_types_of_the_metadata(open_app, server):
    """Null is not an empty text, and decimals are exact."""
    app = open_app()
    server.entities["Contacts"] = [
        contact(1, price="1234567.0010", note="", createdDate="2026-02-01T00:00:00", firstName=None),
        contact(2, isActive=None, companyId=None),
    ]  # fmt: skip

    sync(app)

    row = stored(app)[guid(1)]
    assert ("", None, "1234567.0010000000") == (row["note"], row["firstName"], str(row["price"]))
    assert dt.datetime(2026, 2, 1) == row["createdDate"]  # noqa: DTZ001 - in UTC, as all instants there
    assert (None, None, False) == tuple(stored(app)[guid(2)][name] for name in ("isActive", "companyId", "isDeleted"))
    assert {"companyId": "integer", "isActive": "boolean", "price": "decimal(38,10)", "lastUpdate": "timestamp"} == {
        name: types(app)[name] for name in ("companyId", "isActive", "price", "lastUpdate")
    }


@PAGES
@pytest.mark.parametrize("count", [2, 3, 9])
def test_more_entries_of_one_instant_than_a_page_has_are_all_read(open_app, server, page, count):
    server.page = page
    app = open_app(size=3)
    server.entities["Contacts"] = [contact(n, 5) for n in range(count)] + [contact(n) for n in range(20, 24)]

    result = sync(app)

    assert count + 4 == result.counts["inserted"] == result.counts["read"]
    server.put("Contacts", guid(22), lastUpdate=at(24.001))
    assert 1 == sync(app).counts["updated"]


def test_instants_that_are_stored_finer_than_they_are_written_lose_no_entry(open_app, server):
    """The service would leave out those that it has written as later than it has them."""
    app = open_app(size=3)
    fine = "2026-02-24T10:05:00.126667"
    server.entities["Contacts"] = [contact(1), *(contact(n, lastUpdate=fine) for n in range(2, 6)), contact(9)]

    assert 6 == sync(app).counts["inserted"]
    server.entities["Contacts"].append(contact(6, lastUpdate="2026-02-24T10:09:00.0004"))
    assert 1 == sync(app).counts["inserted"]


def test_an_entry_that_changes_while_pages_are_read_is_there(open_app, server):
    """It moves to the end of the list, and those behind it move up."""
    app = open_app(size=3)
    server.entities["Contacts"] = [contact(n, 5) for n in range(1, 10)]

    def change(_):
        server.put("Contacts", guid(1), lastUpdate=at(30), firstName="Changed")

    server.faults.extend([lambda _: None] * 4 + [change])
    sync(app)
    sync(app)

    assert {guid(n) for n in range(1, 10)} == active(app)
    assert "Changed" == stored(app)[guid(1)]["firstName"]


@PAGES
def test_a_set_without_a_time_of_change_is_read_whole_and_compared(open_app, server, page):
    server.page = page
    app = open_app(size=3)
    server.entities["ContactTypes"] = [{"id": guid(n), "note": str(n)} for n in range(8)]

    assert 8 == sync(app, "kind").counts["inserted"]
    assert "no news" == sync(app, "kind").outcome
    server.put("ContactTypes", guid(1), note="new")
    del server.entities["ContactTypes"][0]
    app.now.forward(minutes=1)
    result = sync(app, "kind")

    assert (1, 1) == (result.counts["updated"], result.counts["absent"]), result.reason


def test_each_set_may_end_its_pages_or_not(open_app, server):
    """One that does not is asked for by pages, though another one does: it may be too large for one answer."""
    server.page = 3
    app = open_app(size=4)
    for name in ("Contacts", "ContactTypes"):
        server.entities[name] = [{"id": guid(n), "lastUpdate": at(n)} for n in range(9)]
    sync(app, "contact")
    server.page = None

    assert 9 == sync(app, "kind").counts["inserted"]
    assert all(call.query.get("$top") == "4" for call in server.calls if call.path.endswith("/ContactTypes"))


def test_entries_that_go_while_a_set_is_read_hide_no_other(open_app, server):
    """Those behind them move up, past the place where the next page begins."""
    app = open_app(size=3)
    server.entities["ContactTypes"] = [{"id": guid(n), "note": str(n)} for n in range(12)]
    sync(app, "kind")
    app.now.forward(minutes=1)

    def remove(_):
        del server.entities["ContactTypes"][:2]

    server.faults.extend([lambda _: None] * 2 + [remove])
    result = sync(app, "kind", full=True)

    assert (False, 0) == (result.failed, result.counts["absent"]), result.reason
    assert {guid(n) for n in range(2, 12)} <= active(app, "kind")


def test_inactive_is_deleted_and_removed_is_found(open_app, server):
    app = open_app()
    server.entities["Contacts"] = [contact(n) for n in range(1, 6)]
    sync(app)

    server.put("Contacts", guid(1), isActive=False, lastUpdate=at(30))
    assert 1 == sync(app).counts["deleted"]
    server.put("Contacts", guid(1), isActive=True, lastUpdate=at(31))
    assert 1 == sync(app).counts["undeleted"]

    app.now.forward(minutes=1)
    del server.entities["Contacts"][0]
    assert 1 == sync(app, keys=True).counts["absent"]
    assert "id" == server.calls[-1].query["$select"]
    app.now.forward(minutes=1)
    del server.entities["Contacts"][0]
    assert 1 == sync(app, full=True).counts["absent"]
    assert 3 == len(active(app))


def test_an_entry_without_a_time_of_change_is_read_by_a_first_sync_and_by_a_full(open_app, server):
    app = open_app(size=2)
    server.entities["Contacts"] = [contact(1, lastUpdate=None), *(contact(n) for n in range(2, 6))]

    assert 5 == sync(app).counts["inserted"]
    server.put("Contacts", guid(1), firstName="Renamed")
    app.now.forward(minutes=1)
    counts = sync(app, full=True).counts
    assert (1, 0) == (counts["updated"], counts["absent"])


def test_a_limit_takes_the_oldest_and_the_next_sync_goes_on(open_app, server):
    app = open_app()
    server.entities["Contacts"] = [contact(n) for n in (5, 3, 1, 4, 2)]

    assert 2 == sync(app, limit=2).counts["inserted"]
    assert {guid(1), guid(2)} == active(app)
    assert 3 == sync(app).counts["inserted"]


def test_times_are_those_of_the_feeds_zone(open_app, server):
    """But where their name says that they are UTC."""
    app = open_app(CRM_TIMEZONE="America/New_York")
    server.sets["Contacts"] = (*server.sets["Contacts"], "lastUpdateUtc")
    server.entities["Contacts"] = [contact(1, lastUpdateUtc="2026-02-24T15:01:00")]

    assert "2026-02-24T15:01:00.000000" == sync(app).watermark
    row = stored(app)[guid(1)]
    assert row["lastUpdate"] == row["lastUpdateUtc"]

    assert "no news" == sync(app).outcome
    assert "lastUpdate ge datetime'2026-02-24T10:00:00'" == server.calls[-1].query["$filter"]


def test_a_cursor_that_is_named_utc_is_utc(open_app, server):
    app = open_app(CRM_TIMEZONE="America/New_York", cursor="lastUpdateUtc")
    server.sets["Contacts"] = (*server.sets["Contacts"], "lastUpdateUtc")
    server.entities["Contacts"] = [contact(n, lastUpdateUtc=at(n)) for n in (1, 2)]

    assert "2026-02-24T10:02:00.000000" == sync(app).watermark
    server.put("Contacts", guid(1), lastUpdateUtc=at(9))
    assert 1 == sync(app).counts["updated"]


def test_a_new_property_is_a_new_column(open_app, server):
    """Also if the set has it since its metadata was read."""
    app = open_app()
    server.entities["Contacts"] = [contact(1)]
    sync(app)
    server.sets["Contacts"] = (*server.sets["Contacts"], "contactId")
    server.put("Contacts", guid(1), contactId=guid(9), lastUpdate=at(2))

    assert "has new fields since the run was planned: contactId" in sync(app).reason
    assert 1 == sync(app).counts["updated"]
    assert guid(9) == stored(app)[guid(1)]["contactId"]


CHANGES = st.lists(
    st.tuples(st.sampled_from(["put", "change", "deactivate", "remove", "sync", "same instant"]), st.integers(1, 6)),
    max_size=14,
)


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES, page=st.sampled_from([None, 2]), size=st.integers(2, 4))
def test_when_the_service_rests_one_more_sync_and_keys_make_both_equal(fresh_app, fresh_server, changes, page, size):
    """Whatever was created, changed, deactivated or removed before and between syncs, and whatever broke meanwhile."""
    with fresh_server() as server:
        server.page = page
        app = fresh_app(server, size=size)
        minute = 0.0
        for change, number in changes:
            minute += change != "same instant"
            if change == "sync":
                server.faults.append(lambda _: Reply(200, b"<feed", {}))
                app.now.forward(minutes=1)
                sync(app)
            elif change == "remove":
                server.entities["Contacts"] = [one for one in server.entities["Contacts"] if one["id"] != guid(number)]
            else:
                named = {"firstName": f"{change} {minute}", "isActive": change != "deactivate"}
                server.put("Contacts", guid(number), **{**contact(number, minute), **named})
        app.now.forward(minutes=1)
        sync(app)
        app.now.forward(minutes=1)
        if server.entities["Contacts"] or stored_if_any(app):
            sync(app, keys=True)

        expected = {one["id"]: one["firstName"] for one in server.entities["Contacts"] if one["isActive"]}
        found = stored_if_any(app)
        assert expected == {key: row["firstName"] for key, row in found.items() if row["DeletedAt"] is None}
        assert server.violations == []


def stored_if_any(app):
    return stored(app) if "id" in app.warehouse.table_rows("crm", "contact")[0] else {}


def test_the_catalog_that_comes_with_the_package_works(server, tmp_path):
    """Every table of it, but without its rate."""
    from shared.catalog import PACKAGED

    (tmp_path / "catalog").mkdir()
    text = (PACKAGED / "marketsharp.toml").read_text()
    (tmp_path / "catalog" / "marketsharp.toml").write_text(text.replace("rate = ", "# rate = "))
    for name, columns in server.sets.items():
        given = {"lastUpdate": at(1)} if "lastUpdate" in columns else {}
        server.entities[name] = (
            [{columns[0]: guid(1), **given}] if name == "ContactPhones" else [{"id": guid(1), **given}]
        )
    app = open_test_app(
        tmp_path, Clock(), CATALOG_PATH=str(tmp_path / "catalog"), MARKETSHARP_BASE_URL=server.url,
        MARKETSHARP_COMPANY_ID=COMPANY, MARKETSHARP_API_KEY=KEY, MARKETSHARP_API_SECRET=SECRET,
    )  # fmt: skip

    found = syncing.sync(app.runner, app.settings, "marketsharp", [], SyncOptions())

    assert dict.fromkeys(server.sets, ("done", 1)) == {
        app.systems["marketsharp"].tables[one.feed.partition(".")[2]]["api"]["set"]: (
            one.outcome, one.counts["inserted"],
        )
        for one in found
    }  # fmt: skip
    assert 1 == sum(call.path.endswith("$metadata") for call in server.calls)


def test_the_doctor_looks_at_each_set(open_app, server):
    server.sets["ContactTypes"] = ("id", "note", "lastUpdate")

    found = {one.check: one for one in doctor_findings(open_app()) if "crm" in one.check}

    assert ["ok"] * 3 == [found[f"source crm{one}"].status for one in (": sign-in", ".contact", ".kind")]
    assert "it may be read; each sync reads all of it, though its cursor could be lastUpdate" == (
        found["source crm.kind"].message
    )
    assert "source crm: clock" in found


def test_the_doctor_compares_clocks_before_it_waits_for_the_rate(open_app, server):
    """Twenty sets at two calls a second take ten seconds, by which no clock is wrong."""
    app = open_app()
    app.now.now = dt.datetime.fromtimestamp(server.now.timestamp(), dt.UTC)
    server.faults.extend([lambda _: None, lambda _: app.now.forward(hours=1) and None])

    (found,) = (one for one in doctor_findings(app) if one.check == "source crm: clock")

    assert "ok" == found.status, found.message


def test_the_doctor_says_what_is_wrong(open_app, server):
    """With the sign-in, or with one set."""
    server.sets["Contacts"] = ("id", "note")
    server.faults.extend([lambda _: None, lambda _: error(403, "no right")])

    found = {one.check: one for one in doctor_findings(open_app()) if "crm" in one.check}

    assert "Contacts of 127.0.0.1 has no field lastUpdate, isDeleted" == found["source crm.contact"].message
    assert "may not be read (403): no right" in found["source crm.kind"].message
    (failed,) = (one for one in doctor_findings(open_app(CRM_API_KEY="old")) if "crm" in one.check)
    assert "refuses the sign-in (401): Unauthorized" in failed.message

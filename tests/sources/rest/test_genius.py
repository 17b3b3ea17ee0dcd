"""Genius CRM over REST, by the catalog file that comes with the package."""

from __future__ import annotations

import pytest

from shared.pipeline import sync as syncing
from shared.pipeline.sync import SyncOptions
from tests.exports import Clock, open_test_app
from tests.quick import quick_if
from tests.servers.genius_rest import PATHS, STATIC, genius
from tests.servers.http import as_json

SIGN_INS = {
    "token": {"GENIUS_API_TOKEN": STATIC},
    "user": {"GENIUS_USERNAME": "me", "GENIUS_PASSWORD": "hush"},
}


@pytest.fixture
def server():
    with genius() as found:
        for path in found.lists:
            found.lists[path] = [record(n) for n in range(1, 251)]
        yield found
        assert found.violations == []


@pytest.fixture
def open_app(tmp_path, server):
    return lambda **env: open_test_app(tmp_path, Clock(), GENIUS_BASE_URL=server.url, **env)


def record(number, hour=10):
    return {
        "id": number, "updated_at": f"2026-02-24T{hour}:00:00Z", "division": 1, "user": 2, "prospect": 3, "type": 4,
        "add_user": 5, "manager": None, "title": 6, "gender": {"id": 7, "label": "x"}, "marital_status": None,
        "group": {"id": 8}, "region": {"id": 9}, "label": f"L{number}",
    }  # fmt: skip


def sync(app, *tables):
    return {
        one.feed.split(".")[1]: one
        for one in syncing.sync(app.runner, app.settings, "genius_api", tables, SyncOptions())
    }


@pytest.mark.parametrize("sign_in", [quick_if(sign_in == "user", sign_in) for sign_in in SIGN_INS])
def test_all_lists_are_read_and_kept_up_to_date(open_app, server, sign_in):
    app = open_app(**SIGN_INS[sign_in])

    first = sync(app)
    assert dict.fromkeys(PATHS, 250) == {table: one.counts["inserted"] for table, one in first.items()}, first
    server.lists[PATHS["prospect"]][7] = {**record(8, hour=11), "label": "changed"}
    second = sync(app)

    assert {"prospect"} == {table for table, one in second.items() if one.outcome == "done"}
    assert 1 == second["prospect"].counts["updated"]
    assert (1 if sign_in == "user" else 0) == server.logins


def test_columns_are_named_as_in_the_database(open_app, server):
    app = open_app(**SIGN_INS["token"])
    sync(app, "user_data", "division")

    columns = app.warehouse.columns(app.systems["genius_api"].feed("user_data", ()))
    assert {"id", "division_id", "title_id", "add_user_id", "gender_id"} <= set(columns)
    assert not {"division", "title", "add_user"} & set(columns)
    assert {"bigint"} == {columns[name] for name in ("division_id", "gender_id")}


def test_a_token_that_ends_in_mid_run_is_fetched_again(open_app, server):
    """401 in the middle of the pages."""
    server.uses = 2

    assert 250 == sync(open_app(**SIGN_INS["user"]), "prospect")["prospect"].counts["inserted"]
    assert 2 <= server.logins


def test_pages_on_another_host_are_not_read(open_app, server):
    server.elsewhere = "https://evil.test"

    assert "names a page on another host, evil.test" in sync(open_app(**SIGN_INS["token"]), "service")["service"].reason


def test_a_list_that_grows_meanwhile_loses_nothing(open_app, server):
    """Pages by offset move; what was missed is in the overlap of the next sync."""
    app = open_app(**SIGN_INS["token"])
    path = PATHS["service"]
    page = server._page

    def shifting(request):
        reply = page(request)
        if request.query.get("offset") is None and len(server.lists[path]) == 250:
            del server.lists[path][0]  # the row between the first two pages moves onto the first
        return reply

    server._page = shifting
    assert 249 == sync(app, "service")["service"].counts["read"]
    sync(app, "service")

    names, rows = app.warehouse.table_rows("genius_api", "service")
    assert set(range(1, 251)) == {row[names.index("id")] for row in rows}


def test_the_watermark_is_that_of_the_newest_record_and_no_clock(open_app, server):
    """What changes while a sync runs is not jumped over."""
    app = open_app(**SIGN_INS["token"])
    newest = max(one["updated_at"] for one in server.lists[PATHS["prospect"]])

    assert newest[:19] == sync(app, "prospect")["prospect"].watermark[:19]


def test_a_page_that_fails_fails_the_run(open_app, server):
    """It is no empty page, and nothing of the others is loaded."""
    app = open_app(**SIGN_INS["token"])
    page = server._page
    server._page = lambda request: as_json({}, 400) if request.query.get("offset") == "200" else page(request)

    assert "failed" == sync(app, "prospect")["prospect"].outcome
    assert [] == app.warehouse.table_rows("genius_api", "prospect")[1]

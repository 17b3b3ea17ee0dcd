"""Syncs of a REST API that a catalog file alone describes, over HTTP, into DuckDB."""

from __future__ import annotations

import pytest

from shared.pipeline import sync as syncing
from shared.pipeline.sync import SyncOptions
from tests.servers.http import as_json
from tests.sources.rest.conftest import PAGINGS

PATH = "/v1/people"


def person(number, minute=None, **fields):
    at = f"2026-02-24T10:{number if minute is None else minute:02}:00Z"
    return {"id": number, "name": f"Person {number}", "updated_at": at, **fields}


def sync(app, **options):
    (result,) = syncing.sync(app.runner, app.settings, "acme", ["people"], SyncOptions(**options))
    return result


def stored(app):
    names, rows = app.warehouse.table_rows("acme", "people")
    return {row[names.index("id")]: dict(zip(names, row, strict=True)) for row in rows}


def types(app):
    return app.warehouse.columns(app.systems["acme"].feed("people", ()))


@pytest.mark.parametrize("paging", PAGINGS)
@pytest.mark.parametrize("count", [1, 3, 7, 9])
def test_all_kinds_of_pages_are_read_to_their_end(open_app, server, paging, count):
    """Also where the last page is full."""
    app = open_app(paging=paging)
    server.size = 100 if paging == "none" else 3
    server.lists[PATH] = [person(n) for n in range(1, count + 1)]

    result = sync(app)

    assert ("done", count) == (result.outcome, result.counts["inserted"]), result.reason
    assert list(range(1, count + 1)) == sorted(stored(app))
    assert f"2026-02-24T10:{count:02}:00.000000" == result.watermark


@pytest.mark.parametrize("paging", ["cursor", "offset"])
def test_the_next_sync_reads_what_changed(open_app, server, paging):
    """From the watermark less the overlap; what is read again for it is no news, at the cost of one call."""
    app = open_app(paging=paging)
    server.lists[PATH] = [person(n) for n in range(1, 6)]
    sync(app)
    calls = len(server.calls)

    assert "no news" == sync(app).outcome
    assert 2 >= len(server.calls) - calls
    assert "2026-02-24T10:04:00Z" == server.calls[-1].query["since"]

    server.lists[PATH][1] = person(2, minute=30, name="Renamed")
    result = sync(app)

    assert ("done", 1) == (result.outcome, result.counts["updated"])
    assert "Renamed" == stored(app)[2]["name"]


def test_a_full_finds_what_is_gone_and_keys_do_too(open_app, server):
    app = open_app()
    server.lists[PATH] = [person(n) for n in range(1, 6)]
    sync(app)

    del server.lists[PATH][0]
    assert 1 == sync(app, full=True).counts["absent"]
    del server.lists[PATH][0]
    app.now.forward(minutes=1)
    assert 1 == sync(app, keys=True).counts["absent"]
    assert 3 == sum(row["DeletedAt"] is None for row in stored(app).values())


def test_types_follow_from_all_pages_and_stay_from_run_to_run(open_app, server):
    """A field may first have a value on the last page, and what is mixed is text. Later runs have only some of it."""
    app = open_app()
    server.lists[PATH] = [
        person(1, score=1, mixed=1, flag=None), person(2, score=2), person(3), person(4, score=1.25, late="x"),
        person(5, mixed="two", tags=["a", {"b": 1.5}], flag=True),
    ]  # fmt: skip
    sync(app)
    before = types(app)

    server.lists[PATH] = [person(9, score=7, mixed=3, late=None, flag=None)]
    result = sync(app)

    assert "done" == result.outcome, result.reason
    assert before == types(app)
    assert {"score": "decimal(23,4)", "mixed": "text", "late": "text", "tags": "text", "flag": "boolean"} == {
        name: before[name] for name in ("score", "mixed", "late", "tags", "flag")
    }
    assert ("3", '["a",{"b":1.5}]') == (stored(app)[9]["mixed"], stored(app)[5]["tags"])


def test_a_value_that_becomes_null_is_null(open_app, server):
    """Though no value of the run shows the column's type."""
    app = open_app()
    server.lists[PATH] = [person(1, score=1)]
    sync(app)
    server.lists[PATH] = [person(1, minute=2, score=None)]

    assert 1 == sync(app).counts["updated"]
    assert stored(app)[1]["score"] is None


def test_declared_columns_are_read_page_by_page_and_the_rest_is_kept(open_app, server):
    more = 'columns = "declared"\n[tables.people.types]\nid = "bigint"\nname = "text"\nupdated_at = "timestamp"'
    app = open_app(more=more)
    server.lists[PATH] = [person(n, city={"name": "Ede"}, none=None) for n in range(1, 8)]

    result = sync(app)

    assert ("done", 7) == (result.outcome, result.counts["inserted"]), result.reason
    assert '{"city":{"name":"Ede"}}' == stored(app)[3]["Extra"]
    assert 3 == len(server.calls)


def test_an_empty_list_is_no_failure(open_app, server):
    """Before there was anything, and when everything is gone."""
    app = open_app()
    assert "no news" == sync(app).outcome

    server.lists[PATH] = [person(1)]
    sync(app)
    server.lists[PATH] = []
    assert "failed" != sync(app).outcome
    assert 1 == sync(app, full=True).counts["absent"]


def test_a_limit_takes_the_oldest_and_the_next_sync_goes_on(open_app, server):
    app = open_app()
    server.lists[PATH] = [person(n) for n in (5, 3, 1, 4, 2)]

    assert 2 == sync(app, limit=2).counts["inserted"]
    assert [1, 2] == sorted(stored(app))
    sync(app)
    assert [1, 2, 3, 4, 5] == sorted(stored(app))


def test_nested_values_children_and_epochs(open_app, server):
    """Elements of a list within records are rows of a table of their own."""
    catalog = """
    [system]
    name = "acme"
    source = "rest"
    [tables.people]
    keys = ["order_id", "sku"]
    cursor = "changed"
    [tables.people.api]
    path = "/v1/people"
    auth = { kind = "bearer" }
    records = "data.items"
    cursor_format = "epoch_ms"
    child = { at = "lines", parent = { order_id = "id", changed = "at" } }
    nested = { city = "ship.city" }
    """
    app = open_app(catalog, paging="none")
    line = {"sku": "a", "ship": {"city": "Ede"}}
    server.lists[PATH] = [
        {"id": 1, "at": 1771934400000, "lines": [line, {**line, "sku": "b"}]},
        {"id": 2, "at": 1771934400500, "lines": []},
    ]  # fmt: skip

    result = sync(app)

    assert (2, "2026-02-24T12:00:00.000000") == (result.counts["inserted"], result.watermark), result.reason
    names, rows = app.warehouse.table_rows("acme", "people")
    assert {(1, "a", "Ede"), (1, "b", "Ede")} == {
        tuple(row[names.index(name)] for name in ("order_id", "sku", "city")) for row in rows
    }


@pytest.mark.parametrize(
    ("paging", "fault"),
    [
        ("cursor", lambda request: as_json({"data": {"items": [person(1)]}, "paging": {"next": {"after": "1"}}})),
        ("next", lambda request: as_json({"data": {"items": [person(1)]}, "next": "?start=1"})),
        ("page", lambda request: as_json({"data": {"items": [person(1)]}})),
    ],
)
def test_pages_without_end_are_refused(open_app, server, paging, fault):
    app = open_app(paging=paging)
    server.faults.extend([fault] * 20)

    result = sync(app)

    assert "would have no end of pages" in result.reason
    assert 5 > len(server.calls)

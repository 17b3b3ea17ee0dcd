"""``sluice sync --probe``: the first page, the types that it would have, and what is unsure of it."""

from __future__ import annotations

import json

import pytest

from tests.advice import advises
from tests.servers.api import TOKEN
from tests.sources.rest.conftest import PAGINGS, PEOPLE
from tests.sources.rest.test_sync import PATH, person

CATALOG = PEOPLE.format(paging=PAGINGS["cursor"], more="")


@pytest.fixture
def probe(sluice, server, tmp_path):
    def run(*words, catalog=CATALOG):
        server.paging = "cursor"
        (tmp_path / "catalog").mkdir(exist_ok=True)
        (tmp_path / "catalog" / "acme.toml").write_text(catalog)
        env = {"CATALOG_PATH": str(tmp_path / "catalog"), "ACME_BASE_URL": server.url, "ACME_API_TOKEN": TOKEN}
        return sluice("sync", "--probe", *words, **env)

    return run


def test_people_see_columns_types_and_doubts(probe, server):
    server.lists[PATH] = [
        person(1, born="1999-02-01", score="12", odd=1, empty=None), person(1, born="2001-12-31", score="7", odd="x"),
    ]  # fmt: skip

    result = probe("acme", "people")

    assert 0 == result.exit_code, result.stderr
    assert f"GET {server.url}/v1/people: 200, 2 records" == result.stdout.splitlines()[0]
    assert "id bigint 2 of 2 1" in " ".join(result.stdout.split())
    for remark in (
        "1 keys are there more than once", "odd is number and text: it is read as text", "born looks like a date",
        "score is a number written as text", "empty has no value on this page", "names no next one",
    ):  # fmt: skip
        assert remark in result.stderr
    assert TOKEN not in result.output
    assert 1 == len(server.calls)


def test_machines_get_the_same(probe, server):
    server.lists[PATH] = [person(1)]

    (found,) = json.loads(probe("acme", "people", "--json").stdout)

    assert ("acme.people", 200, 1) == (found["feed"], found["status"], found["records"])
    assert {"name": "updated_at", "type": "timestamp", "filled": 1, "example": "2026-02-24T10:01:00Z"} in found[
        "columns"
    ]


def test_what_the_catalog_says_and_the_page_lacks_is_named(probe, server):
    server.lists[PATH] = [{"Ident": 1}]

    remarks = probe("acme", "people").stderr

    assert "key 'id' is no field of the records" in remarks
    assert "cursor 'updated_at' is no field of the records" in remarks


def test_a_page_alone_is_shown(probe):
    """No option of a sync goes with it."""
    assert 2 == probe("acme").exit_code
    assert 2 == probe("acme", "people", "--full").exit_code


def test_what_is_no_api_has_no_page(probe):
    catalog = '[system]\nname = "acme"\nsource = "sql"\n[tables]\npeople = { keys = ["id"] }\n'

    result = probe("acme", "people", catalog=catalog)

    assert 1 == result.exit_code
    assert "feed acme.people is of source 'sql', which has no probe" in result.stderr
    assert ('"rest" or "odata"',) == advises("Choose a feed of source {}", result.stderr.strip())
    assert 0 == probe("acme", "people").exit_code


def test_declared_types_are_what_a_table_would_have(probe, server):
    """Values that do not fit them are named; what has no declared type is in Extra."""
    types = '[tables.people.types]\nid = "bigint"\nupdated_at = "timestamp"\nborn = "date"\ngone = "text"\n'
    server.lists[PATH] = [person(1, born="1999-02-01"), person(2, born="long ago")]

    result = probe("acme", "people", catalog=f"{CATALOG}{types}")
    (declared,) = json.loads(
        probe("acme", "people", "--json", catalog=CATALOG + 'columns = "declared"\n' + types).stdout
    )

    assert "born date 2 of 2 1999-02-01" in " ".join(result.stdout.split())
    assert "1 of 2 values of born are no date, as the catalog declares: long ago" in result.stderr
    assert "gone is declared, but is no field of the records" in result.stderr
    assert ["id", "updated_at", "born", "gone", "Extra"] == [one["name"] for one in declared["columns"]]
    assert "no type is declared for name: they are kept in Extra" in declared["remarks"]

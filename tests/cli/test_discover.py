"""Databases whose tables are not declared: what the command line shows of them, and a sync of them."""

from __future__ import annotations

import json
import tomllib

import pytest

from shared import catalog

pytestmark = pytest.mark.usefixtures("in_a_hurry")

HEAD = '[system]\nname = "shop"\nsource = "sql"\n'
DISCOVER = HEAD + '[discover]\nexclude = ["secret*"]\n[tables]\nKIND = { keys = ["id"] }\n'.replace("KIND", "kind")


@pytest.fixture
def shop(source_table, tmp_path, monkeypatch):
    """A database, and a catalog of which the test writes the one file."""
    source_table.do(
        "CREATE TABLE kind (id INT PRIMARY KEY, name VARCHAR(20))",
        "CREATE TABLE item (id INT PRIMARY KEY, kind INT, updated_at TIMESTAMP NOT NULL,"
        " CONSTRAINT is_kind FOREIGN KEY (kind) REFERENCES kind (id))",
        "CREATE TABLE log (line VARCHAR(20))",
        "CREATE TABLE secrets (id INT PRIMARY KEY)",
        "INSERT INTO kind VALUES (1, 'a')",
        "INSERT INTO item VALUES (1, 1, '2026-02-24 12:00:00'), (2, 1, '2026-02-24 12:00:01')",
    )
    folder = tmp_path / "catalog"
    folder.mkdir()
    monkeypatch.setenv("CATALOG_PATH", str(folder))
    monkeypatch.setenv("SHOP_DATABASE_URL", source_table.url)
    return folder / "shop.toml"


def test_tables_of_a_database_are_synced_without_being_declared(sluice, shop):
    """The declared one as its line says; what has no key, or is excluded, is not."""
    shop.write_text(DISCOVER)

    synced = json.loads(sluice("sync", "shop", "--json").stdout)

    assert {"shop.kind": 1, "shop.item": 2} == {one["feed"]: one["inserted"] for one in synced}
    assert "2026-02-24T12:00:01.000000" == next(one for one in synced if one["feed"] == "shop.item")["watermark"]


def test_feeds_show_what_was_found_and_why(sluice, shop):
    """Also the tables that are not read, with the line that would declare them."""
    shop.write_text(DISCOVER)

    feeds = {one["feed"]: one for one in json.loads(sluice("feeds", "--json").stdout)}

    assert {"shop.kind", "shop.item", "shop.log"} == feeds.keys()
    assert "key from primary key, cursor updated_at by its name" == feeds["shop.item"]["found"]
    assert ("id", "updated_at") == (feeds["shop.item"]["keys"], feeds["shop.item"]["cursor"])
    assert feeds["shop.log"]["found"].endswith('Declare: log = { keys = ["?"], cursor = false }')
    assert feeds["shop.kind"]["found"] is None


def test_feeds_are_shown_while_the_database_is_away(sluice, shop, monkeypatch):
    """The declared ones, with a warning."""
    shop.write_text(DISCOVER)
    monkeypatch.setenv("SHOP_DATABASE_URL", "postgresql://me:x@127.0.0.1:1/shop")

    shown = sluice("feeds", "--json")

    assert ["shop.kind"] == [one["feed"] for one in json.loads(shown.stdout)]
    assert "the tables of system shop cannot be looked up: " in shown.stderr


@pytest.mark.parametrize("declared", [HEAD, None])
def test_entries_that_it_would_make_are_a_catalog(sluice, shop, declared):
    """With the rest of the file, if there is none yet: saved, they are what was found."""
    shop.write_text(declared or '[system]\nname = "other"\nsource = "sql"\n')

    printed = sluice("sync", "shop", "--discover").stdout
    written = (declared or "") + printed
    shop.write_text(written)

    feeds = {feed.table: feed for feed in catalog.read(shop.parent)["shop"].feeds()}
    assert {"item": "updated_at", "kind": None, "secrets": None} == {name: feed.cursor for name, feed in feeds.items()}
    assert {"kind": "shop.kind.id"} == feeds["item"].references
    assert "log" in printed
    assert "tables" in tomllib.loads(written)


def test_entries_are_json_for_machines(sluice, shop):
    shop.write_text(DISCOVER)

    found = {one["feed"]: one for one in json.loads(sluice("sync", "shop", "--discover", "--json").stdout)}

    assert {"shop.item", "shop.log"} == found.keys()
    assert ("key from primary key, cursor updated_at by its name", None) == (
        found["shop.item"]["reason"], found["shop.item"]["skipped"],
    )  # fmt: skip


def test_tables_that_were_found_are_set_back_and_audited(sluice, shop, source_table):
    """As declared ones are."""
    shop.write_text(DISCOVER)
    sluice("sync", "shop")
    source_table.do("ALTER TABLE item DROP CONSTRAINT is_kind", "UPDATE item SET kind = 7 WHERE id = 2")

    done = json.loads(sluice("backfill", "shop.item", "--to", "2026-02-24T12:00:00", "--json").stdout)
    synced = json.loads(sluice("sync", "shop", "item", "--json").stdout)

    assert "2026-02-24T12:00:00.000000" == done[0]["backfill"]["after"]
    assert 2 == synced[0]["read"]
    assert [] == json.loads(sluice("audit", "shop.item", "--json").stdout)  # the database has no foreign key any more


def test_a_flag_of_all_tables_is_that_of_those_that_have_it(sluice, shop, source_table):
    """A table without the column of [defaults] is read all the same."""
    source_table.do("ALTER TABLE item ADD gone INT DEFAULT 0 NOT NULL")
    shop.write_text(HEAD + '[defaults]\ndeleted = "gone"\n[discover]\n')

    synced = json.loads(sluice("sync", "shop", "--json").stdout)
    feeds = {one["feed"]: one["deleted"] for one in json.loads(sluice("feeds", "--json").stdout) if "keys" in one}

    assert {"done", "no news"} >= {one["outcome"] for one in synced}
    assert {"shop.item": "gone", "shop.kind": None, "shop.secrets": None} == feeds


def test_discovering_takes_no_tables(sluice, shop):
    shop.write_text(DISCOVER)

    assert 2 == sluice("sync", "shop", "item", "--discover").exit_code

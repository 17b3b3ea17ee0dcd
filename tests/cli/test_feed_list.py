"""A table that lists feeds: what is synced by it, and how its last values set watermarks."""

from __future__ import annotations

import json

import duckdb
import pytest

from tests.advice import advises

pytestmark = pytest.mark.usefixtures("in_a_hurry")

CATALOG = """
[system]
name = "shop"
source = "sql"

[feed_list]
from = "source"
table = "table_details"
columns = { table = "table_name", cursor = "cdc_column", last_value = "last_cdc", enabled = "is_enabled" }

[tables]
fixed = { keys = ["id"], cursor = false }
"""


@pytest.fixture
def shop(source_table, tmp_path, monkeypatch):
    """A database with a list of its tables."""
    source_table.do(
        "CREATE TABLE table_details (table_name VARCHAR(40), cdc_column VARCHAR(40), last_cdc VARCHAR(40),"
        " is_enabled INT)",
        "CREATE TABLE item (id INT PRIMARY KEY, changed TIMESTAMP NOT NULL, name VARCHAR(20))",
        "CREATE TABLE other (id INT PRIMARY KEY)",
        "CREATE TABLE fixed (id INT PRIMARY KEY)",
        "CREATE TABLE keyless (id INT)",
        *(f"INSERT INTO item VALUES ({n}, '2026-02-24 12:0{n}:00', 'n{n}')" for n in range(5)),
        "INSERT INTO table_details VALUES ('item', 'changed', NULL, 1)",
    )
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "shop.toml").write_text(CATALOG)
    monkeypatch.setenv("CATALOG_PATH", str(tmp_path / "catalog"))
    monkeypatch.setenv("SHOP_DATABASE_URL", source_table.url)
    monkeypatch.setenv("STATE_URL", str(tmp_path / "state"))
    return source_table


@pytest.fixture
def sync(sluice, shop):
    """Run a sync: the rows that were read of each table, and what was said on the error output."""

    def run(*words):
        result = sluice("sync", "shop", "--json", *words)
        return {one["feed"].partition(".")[2]: one["read"] for one in json.loads(result.stdout)}, result.stderr

    return run


def test_listed_tables_are_synced_beside_those_of_the_catalog(sync, shop):
    """A row that is added needs no deployment; one that is not enabled is left out."""
    first, _ = sync()
    shop.do("INSERT INTO table_details VALUES ('other', NULL, NULL, 1)")
    second, _ = sync()
    shop.do("UPDATE table_details SET is_enabled = 0 WHERE table_name = 'other'")
    third, said = sync()

    assert {"fixed", "item"} == first.keys()
    assert 5 == first["item"]
    assert {"fixed", "item", "other"} == second.keys()
    assert ({"fixed", "item"}, "") == (third.keys(), said)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ("('nowhere', NULL, NULL, 1)", "row 2 of table_details (nowhere): the database has no such table"),
        ("('other', 'changed', NULL, 1)", "row 2 of table_details (other): the table has no column 'changed', only id"),
        ("(NULL, NULL, NULL, 1)", "row 2 of table_details (no table): it names no table"),
        ("('keyless', NULL, NULL, 1)", "row 2 of table_details (keyless): it has no primary key"),
        ("('ITEM', 'changed', NULL, 1)", "row 2 of table_details (ITEM): it is listed twice"),
        ("('other', NULL, NULL, 7)", "row 2 of table_details (other): enabled is 7, which is neither yes nor no"),
        ("('fixed', NULL, NULL, 1)", "row 2 of table_details (fixed): it is declared in shop.toml, which goes before"),
    ],
)
def test_a_row_that_makes_no_sense_is_named_and_the_others_run(sync, shop, values, reason):
    shop.do(f"INSERT INTO table_details VALUES {values}")

    read, said = sync()

    assert ({"fixed", "item"}, 5) == (read.keys(), read["item"])
    assert f"system shop: {reason}" in said


def test_a_list_without_its_columns_is_refused(sluice, shop, tmp_path):
    """Nothing can be known then."""
    shop.do("ALTER TABLE table_details DROP COLUMN is_enabled")

    refused = sluice("sync", "shop")

    assert 1 == refused.exit_code
    assert "table_details has no column 'is_enabled', only table_name, cdc_column, last_cdc" in refused.stderr
    advises("Correct columns under [feed_list] in the catalog", refused.stderr.strip())
    catalog = tmp_path / "catalog" / "shop.toml"
    catalog.write_text(catalog.read_text().replace(', enabled = "is_enabled"', ""))
    assert 0 == sluice("sync", "shop").exit_code


def test_a_table_begins_at_the_value_of_its_row(sync, shop):
    """As the list of a pipeline that is replaced has it."""
    shop.do("UPDATE table_details SET last_cdc = '2026-02-24 12:03:00'")

    assert 2 == sync()[0]["item"]


def test_a_table_can_begin_at_a_number(sync, shop):
    """If its cursor is one."""
    shop.do("UPDATE table_details SET last_cdc = '3', cdc_column = 'id'")

    assert 2 == sync()[0]["item"]


def test_a_value_that_is_set_back_is_applied_once(sync, shop, sluice):
    """As a backfill, which history has with who asked for it."""
    sync()
    quiet, _ = sync()
    shop.do("UPDATE table_details SET last_cdc = '2026-02-24 12:02:00'")
    again, _ = sync()
    after, _ = sync()

    assert 3 == again["item"]
    assert {quiet["item"], after["item"]} <= {0, 1}  # the row at the watermark
    assert "feed list table_details: backfill from 2026-02-24T12:02:00.000000" in sluice("history", "shop.item").stdout


def test_a_value_that_is_set_to_null_reads_everything(sync, shop):
    sync()
    shop.do("UPDATE table_details SET last_cdc = '2026-02-24 12:04:00'")
    sync()
    shop.do("UPDATE table_details SET last_cdc = NULL")

    assert 5 == sync()[0]["item"]


def test_a_value_above_the_watermark_skips_no_rows(sync, shop):
    """It is named once."""
    sync()
    shop.do(
        "UPDATE table_details SET last_cdc = '2026-03-01 00:00:00'",
        "INSERT INTO item VALUES (9, '2026-02-25 12:00:00', 'new')",
    )
    read, said = sync()

    assert read["item"] >= 1
    assert "shop.item: its last value in table_details changes nothing: its watermark is 2026-02-24T12:04" in said
    assert "" == sync()[1]


def test_a_value_that_cannot_be_read_is_named_and_tried_again(sync, shop):
    sync()
    shop.do("UPDATE table_details SET last_cdc = 'yesterday'")

    assert "shop.item: the last value in its list is not applied" in sync()[1]
    assert "shop.item: the last value in its list is not applied" in sync()[1]


def test_a_value_of_a_type_that_is_not_known_yet_is_changed_once_rows_have_been_read(sync, shop):
    """All rows are read first; then a value says from where on to read again."""
    shop.do(
        "ALTER TABLE item ADD price DECIMAL(9, 2)", "UPDATE item SET price = id",
        "UPDATE table_details SET last_cdc = '3', cdc_column = 'price'",
    )  # fmt: skip

    read, said = sync()

    assert 5 == read["item"]
    advises("Change it once rows have been read", said.strip())
    assert "" == sync()[1]
    shop.do("UPDATE table_details SET last_cdc = '2'")
    assert 3 == sync()[0]["item"]


def test_a_dry_run_applies_nothing(sync, shop, sluice):
    sync()
    shop.do("UPDATE table_details SET last_cdc = '2026-02-24 12:02:00'")
    sync("--dry-run")

    assert "backfill" not in sluice("history", "shop.item").stdout
    assert 3 == sync()[0]["item"]


def test_the_list_can_be_in_the_warehouse(sync, shop, tmp_path):
    """In a table that someone else keeps there."""
    with duckdb.connect(tmp_path / "warehouse.duckdb") as warehouse:
        warehouse.execute("CREATE SCHEMA etl")
        warehouse.execute(
            "CREATE TABLE etl.feeds (schema VARCHAR, table_name VARCHAR, cdc VARCHAR, last_value TIMESTAMP)"
        )
        warehouse.execute(
            "INSERT INTO etl.feeds VALUES (NULL, 'item', 'changed', '2026-02-24 12:04:00'), ('x', 'y', NULL, NULL)"
        )
    text = '[feed_list]\nfrom = "warehouse"\ntable = "etl.feeds"\ncolumns = { table = "table_name", cursor = "cdc" }\n'
    (tmp_path / "catalog" / "shop.toml").write_text(CATALOG[: CATALOG.index("[feed_list]")] + text)

    read, said = sync()

    assert {"item": 1} == read
    assert "row 2 of etl.feeds (y): the database has no such table" in said


def test_a_list_that_the_warehouse_does_not_have_is_named(sluice, shop, tmp_path):
    text = '[feed_list]\nfrom = "warehouse"\ntable = "etl.feeds"\n'
    (tmp_path / "catalog" / "shop.toml").write_text(CATALOG[: CATALOG.index("[feed_list]")] + text)

    refused = sluice("sync", "shop")

    assert "there is no table etl.feeds in the warehouse" in refused.stderr
    advises("Correct [feed_list] in the catalog", refused.stderr.strip())
    (tmp_path / "catalog" / "shop.toml").write_text(CATALOG)
    assert 0 == sluice("sync", "shop").exit_code

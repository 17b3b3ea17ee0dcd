"""What is found in real databases: tables, keys, cursors, foreign keys, and the rows of a list."""

from __future__ import annotations

import pytest

from shared.errors import ConfigError
from shared.sources import database_tables, table_rows
from shared.sources.tables import Discovery, found_tables
from tests.servers.source_table import with_database

pytestmark = pytest.mark.usefixtures("in_a_hurry")

BOTH = (
    "CREATE TABLE city (id INT PRIMARY KEY, name VARCHAR(20))",
    "CREATE TABLE person (id INT PRIMARY KEY, city INT REFERENCES city (id), updated_at TIMESTAMP NOT NULL,"
    " CONSTRAINT lives FOREIGN KEY (city) REFERENCES city (id))",
    "CREATE TABLE membership (person INT NOT NULL, club INT NOT NULL, note VARCHAR(9), UNIQUE (note), "
    "UNIQUE (person, club))",
    "CREATE TABLE log (line VARCHAR(20))",
    "CREATE VIEW latest AS SELECT id FROM person",
)


def found(source_table, **rules):
    chosen = Discovery(**rules)
    tables = database_tables("shop", "sql", with_database(source_table.url), chosen.include)
    return {one.table: one for one in found_tables(tables, chosen, "shop", {})}


def test_keys_cursors_and_references_are_those_of_the_database(source_table):
    """A view is no table; what has no key is skipped."""
    source_table.do(*BOTH)

    tables = found(source_table)

    assert ["city", "log", "membership", "person"] == list(tables)
    assert ("id",) == tables["city"].keys
    assert (("person", "club"), "key from unique constraint (person, club), no cursor found: read whole each time") == (
        tables["membership"].keys,
        tables["membership"].reason,
    )
    assert (("id",), "updated_at", {"city": "shop.city.id"}) == (
        tables["person"].keys, tables["person"].cursor, tables["person"].references,
    )  # fmt: skip
    assert "it has no primary key" in tables["log"].skipped


def test_patterns_are_those_of_the_catalog(source_table):
    source_table.do(*BOTH)

    assert ["city", "person"] == list(found(source_table, include=("c*", "p*", "l*"), exclude=("L*",)))
    assert [] == list(found(source_table, include=("elsewhere.*",)))


@pytest.mark.parametrize("source_table", ["mariadb"], indirect=True)
def test_what_the_server_sets_at_every_change_is_a_cursor(source_table):
    """MariaDB says so of a column; its name does not matter."""
    source_table.do(
        "CREATE TABLE t (id INT PRIMARY KEY, seen TIMESTAMP DEFAULT CURRENT_TIMESTAMP,"
        " touched DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6))"
    )

    assert ("touched", True) == (
        found(source_table)["t"].cursor,
        "because the server" in found(source_table)["t"].reason,
    )


@pytest.mark.parametrize("source_table", ["postgres"], indirect=True)
def test_schemas_partitions_and_partial_indexes_of_postgresql(source_table):
    """A table in another schema has its name in front; parts of a table are in the whole."""
    source_table.do(
        'CREATE SCHEMA "Sales"',
        'CREATE TABLE "Sales"."Order" ("Id" INT PRIMARY KEY, "ModifiedOn" TIMESTAMPTZ NOT NULL)',
        "CREATE TABLE day (id INT, at DATE, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)",
        "CREATE TABLE day_1 PARTITION OF day FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
        "CREATE TABLE part (id INT NOT NULL)",
        "CREATE UNIQUE INDEX ON part (id) WHERE id > 0",
        "CREATE TABLE whole (id INT NOT NULL)",
        "CREATE UNIQUE INDEX ON whole (id)",
        "CREATE UNIQUE INDEX ON part ((id + 1))",
    )

    tables = found(source_table, include=("*.*",))

    assert ["day", "part", "whole", "sales_order"] == list(tables)
    assert (("Id",), "ModifiedOn", "Sales.Order") == (
        tables["sales_order"].keys, tables["sales_order"].cursor, tables["sales_order"].source_table,
    )  # fmt: skip
    assert ("whole", None) == (tables["whole"].table, tables["whole"].skipped)
    assert tables["part"].skipped
    assert ["sales_order"] == list(found(source_table, include=("sales.*",)))


def test_rows_of_a_small_table_are_read_with_their_columns(source_table):
    source_table.do(
        "CREATE TABLE list (name VARCHAR(20), since TIMESTAMP NULL, n INT)",
        "INSERT INTO list VALUES ('a', '2026-02-24 12:00:00', 1)",
        "INSERT INTO list VALUES (NULL, NULL, NULL)",
    )

    columns, rows = table_rows("shop", "sql", with_database(source_table.url), "list")

    assert ["name", "since", "n"] == columns
    assert [("a", "2026-02-24 12:00:00", 1), (None, None, None)] == [
        (row[0], row[1] and str(row[1]), row[2]) for row in rows
    ]


def test_a_list_that_is_not_there_is_named(source_table):
    with pytest.raises(ConfigError, match=r"\.nowhere is not in the database of SHOP_DATABASE_URL"):
        table_rows("shop", "sql", with_database(source_table.url), "nowhere")

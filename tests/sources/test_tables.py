"""Which tables become feeds, with which key and cursor, and what is said of it."""

from __future__ import annotations

import tomllib

from dataclasses import replace

import pytest

from shared.sources.tables import DatabaseColumn, DatabaseTable, Discovery, cursor_of, found_tables, key_of


def column(name, **facts):
    return DatabaseColumn(name=name, nullable=facts.pop("nullable", False), **facts)


def instant(name, **facts):
    return column(name, instant=True, **facts)


def table(name="item", *columns, schema="dbo", is_default=True, **facts):
    known = columns or (column("Id"),)
    return DatabaseTable(
        schema=schema, name=name, columns=known, is_default=is_default, **{"primary": (known[0].name,), **facts}
    )


def found(*tables, rules=None, declared=()):
    rules = rules or Discovery()
    return {one.source_table: one for one in found_tables(tables, rules, "erp", dict(declared))}


@pytest.mark.parametrize(
    ("rules", "taken"),
    [
        (Discovery(), ["dbo.item", "dbo.log"]),
        (Discovery(include=("*.*",)), ["dbo.item", "dbo.log", "sales.Order"]),
        (Discovery(include=("SALES.*", "it?m")), ["dbo.item", "sales.Order"]),
        (Discovery(include=("*.*",), exclude=("dbo.l*", "order")), ["dbo.item", "sales.Order"]),
        (Discovery(include=("*.*",), exclude=("*.order", "item")), ["dbo.log"]),
    ],
)
def test_patterns_choose_the_tables(rules, taken):
    """Without a schema they are of the default one; case does not count."""
    tables = (table("item"), table("log"), table("Order", schema="sales", is_default=False))

    assert taken == list(found(*tables, rules=rules))


def test_a_feed_is_named_like_its_table_after_its_schema():
    """In lower case, without the default schema; the entry says what the table is really called."""
    names = found(
        table("item"), table("Order"), table("Order", schema="sales", is_default=False), table("a.B"), table("a.b.c"),
        rules=Discovery(include=("*.*",)),
    )  # fmt: skip

    assert {
        "dbo.a.B": ("a.b", "dbo.a.B"), "dbo.a.b.c": ("a.b.c", None), "dbo.item": ("item", None),
        "dbo.Order": ("order", "Order"), "sales.Order": ("sales_order", "sales.Order"),
    } == {name: (one.table, one.at_source) for name, one in names.items()}  # fmt: skip


def test_tables_whose_feeds_would_be_one_are_not_mixed():
    """The second is skipped, and its line shows how to declare it."""
    names = found(table("Item"), table("item"))

    assert [None, "feed erp.item is another table: declare it under another name"] == [
        one.skipped for one in names.values()
    ]


def test_declared_tables_go_before():
    """By the name of the table at its source, whichever way the catalog writes it."""
    tables = (table("item"), table("Order"), table("log", schema="sales", is_default=False))
    declared = {"ITEM": "things", "dbo.order": "orders"}

    assert ["sales.log"] == list(found(*tables, rules=Discovery(include=("*.*",)), declared=declared.items()))
    assert "feed erp.item is another" in found(table("item"), declared={"other": "item"}.items())["dbo.item"].skipped


def test_the_key_is_the_primary_key_or_else_unique_and_never_null():
    """The shortest of them."""
    columns = (column("a"), column("b"), column("c", nullable=True))
    unique = [("a", "b"), ("c",), ("b",)]

    assert (("a",), "primary key") == key_of(table("t", *columns, unique=unique))
    assert (("b",), "unique constraint (b)") == key_of(table("t", *columns, unique=unique, primary=()))
    assert key_of(table("t", *columns, unique=[("c",)], primary=())) is None


def test_a_table_without_a_key_is_skipped_with_the_line_that_would_declare_it():
    """The line is TOML; its key is for a person to fill in."""
    one = found(table("Log", column("At", nullable=True), primary=()))["dbo.Log"]

    assert "it has no primary key and no unique constraint of columns that are not NULL" == one.skipped
    assert {"log": {"source_table": "Log", "keys": ["?"], "cursor": False}} == tomllib.loads(one.entry)


@pytest.mark.parametrize(
    ("columns", "cursor", "why"),
    [
        ((instant("created_at"), instant("UpdatedAt")), "UpdatedAt", "by its name"),
        ((instant("ModifiedOn"), instant("updated_at")), "updated_at", "by its name"),
        ((instant("Last_Modified"),), "Last_Modified", "by its name"),
        ((column("Stamp", rowversion=True), instant("ModifiedOn")), "Stamp", "by its type rowversion"),
        ((instant("touched", stamped=True),), "touched", "because the server sets it at every change"),
        (
            (instant("seen", stamped=True), instant("updated_at", stamped=True)),
            "updated_at",
            "because the server sets it at every change",
        ),
        ((column("updated_at"), instant("created_at")), None, "no cursor found: read whole each time"),
        (
            (instant("updated_at", nullable=True),),
            "updated_at",
            "by its name; rows in which it is NULL are read by the first sync only",
        ),
    ],
)
def test_the_cursor_is_known_by_type_or_name(columns, cursor, why):
    """A text of a good name is none; when rows were created says nothing of changes."""
    choice = cursor_of(table("t", column("Id"), *columns))

    assert ((cursor,) if cursor else ()) == choice.columns
    assert choice.reason.endswith(why)


def test_the_catalog_can_prefer_a_cursor():
    """Of any type: reading says whether it has an order."""
    choice = cursor_of(table("t", column("Id"), column("Version"), instant("updated_at")), ["version"])

    assert (("Version",), "cursor Version as the catalog says") == choice


def test_foreign_keys_to_feeds_become_references():
    """Not those to a part of a key, or to a table that is not read."""
    city = table("city", column("id"))
    pair = table("pair", column("a"), column("b"), primary=("a", "b"))
    person = table(
        "person", column("id"), column("city"), column("pair"), column("gone"),
        references={"city": ("dbo", "city", "id"), "pair": ("dbo", "pair", "a"), "gone": ("dbo", "gone", "id")},
    )  # fmt: skip
    tables = found(city, pair, person)

    assert {"city": "erp.city.id"} == tables["dbo.person"].references
    assert '{ keys = ["id"], cursor = false, references = { city = "erp.city.id" } }' in tables["dbo.person"].entry


def test_names_are_quoted_where_toml_needs_it():
    """Whatever a table is called, its line can be read."""
    one = found(replace(table('a "b"\x7f é', column('k"'))))['dbo.a "b"\x7f é']

    assert {'a "b"\x7f é': {"keys": ['k"'], "cursor": False}} == tomllib.loads(one.entry)

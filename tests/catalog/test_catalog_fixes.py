"""A wrong catalog is corrected as the error says, word for word, and then it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.catalog import read
from shared.contract import types
from shared.settings import zone
from tests.advice import advised, follows

HEAD = '[system]\nname = "crm"\nsource = "exports"\n'
FEED = HEAD + '[tables]\na = { keys = ["Id"] }\n'


def option(wrong: str, right: str) -> tuple[str, str, str]:
    """A feed with an option that is wrong, and with one that the error allows (test_catalog.py has its words)."""
    entry = HEAD + '[tables]\na = {{ keys = ["Id"], {} }}\n'
    return entry.format(wrong), "", entry.format(right)


CORRECTED = {
    "not TOML": ("[system\n" + FEED, "line 1", FEED),
    "unknown section": (FEED + "[tabels]\n", "known are defaults, ", FEED),
    "unknown option": option('key = ["Id"]', "cursor = false"),
    "unknown cleaner": (
        '[system]\nname = "crm"\nsource = "csv"\n[tables.a]\nkeys = ["a"]\ncolumns = { a = { cleaner = "fone" } }',
        "one of text, phone, email",
        '[system]\nname = "crm"\nsource = "csv"\n[tables.a]\nkeys = ["a"]\ncolumns = { a = { cleaner = "phone" } }',
    ),
    "cleaner's type": (
        '[system]\nname = "crm"\nsource = "csv"\n[tables.a]\nkeys = ["a"]\n'
        'columns = { a = {}, b = { cleaner = "amount", type = "bigint" } }',
        "cleaner 'amount' makes decimal(p,s) or double",
        '[system]\nname = "crm"\nsource = "csv"\n[tables.a]\nkeys = ["a"]\n'
        'columns = { a = {}, b = { cleaner = "amount", type = "double" } }',
    ),
    "needs columns": (
        FEED.replace("exports", "csv"), "needs columns",
        FEED.replace("exports", "csv").replace('["Id"]', '["Id"], columns = { Id = {} }'),
    ),
    "takes no columns": (
        FEED.replace('["Id"]', '["Id"], columns = { Id = { type = "bigint" } }'), "declare types instead",
        FEED.replace('["Id"]', '["Id"], types = { Id = "bigint" }'),
    ),
    "name no schema": (FEED.replace('"crm"', '"a.b"'), "a text that can name a schema", FEED),
    "unknown source": (FEED.replace("exports", "fax"), "one of exports, csv, sql", FEED.replace("exports", "sql")),
    "no keys": (HEAD + '[tables]\na = { cursor = "M" }', "it has no keys", FEED),
    "a key twice": (FEED.replace('["Id"]', '["Id", "ID"]'), "a list of column names, each once", FEED),
    "braces": (
        HEAD + '[undeclared]\nkeys = ["{x}Id"]', "write {{ and }} for those of a name",
        HEAD + '[undeclared]\nkeys = ["{{x}}Id"]',
    ),
    "flag is key": option('deleted = "ID"', 'deleted = "IsDeleted"'),
    "cursor": option("cursor = true", "cursor = false"),
    "type": option('types = { A = "money" }', 'types = { A = "decimal(19,4)" }'),
    "cursor's type": option('cursor = "M", types = { M = "binary" }', 'cursor = "M", types = { M = "date" }'),
    "timezone": option('timezone = "Mars"', 'timezone = "Europe/Amsterdam"'),
    "deletes": option('deletes = "no"', "deletes = 'soft'"),
    "share": option("max_reject_share = 1.1", "max_reject_share = 1"),
    "overlap": option("overlap_seconds = 1.5", "overlap_seconds = 2"),
    "overlap of numbers": option("overlap_numbers = -1", "overlap_numbers = 1000"),
    "schedule": option('schedule = "daily"', "schedule = '*/15 * * * *'"),
    "age": option("max_age_hours = 0", "max_age_hours = false"),
    "named like the view": (FEED.replace("a =", "a_active ="), "the view of active rows", FEED),
    "upper case": (FEED.replace("a =", "A ="), "write the table's name in lower case: 'a'", FEED),
}  # fmt: skip


def write(folder: Path, content: str, name: str = "crm.toml") -> Path:
    path = folder / name
    path.write_text(content)
    return path


@pytest.mark.parametrize(("wrong", "shown", "right"), CORRECTED.values(), ids=CORRECTED)
def test_a_wrong_entry_is_corrected_in_the_file_that_the_error_names(tmp_path, wrong, shown, right):
    write(tmp_path, wrong)

    with advised("Correct {}") as advice:
        read(tmp_path)

    assert shown in advice.error.problem
    Path(advice.values[0]).write_text(right)
    assert ["crm"] == list(read(tmp_path))


def test_a_folder_without_catalog_becomes_one_with(tmp_path):
    with advised("Set CATALOG_PATH to a folder of .toml files"):
        read(tmp_path)

    write(tmp_path, FEED)
    assert read(tmp_path)


def test_a_system_is_declared_in_one_file(tmp_path):
    first = write(tmp_path, FEED, "one.toml")
    second = write(tmp_path, FEED.replace("a =", "b ="), "two.toml")

    with advised("Declare a system in one file"):
        read(tmp_path)

    write(tmp_path, first.read_text() + 'b = { keys = ["Id"] }\n', "one.toml")
    second.unlink()
    assert {"a", "b"} == set(read(tmp_path)["crm"].tables)


def test_a_table_is_added_with_the_line_that_is_proposed(tmp_path):
    path = write(tmp_path, FEED)

    with advised("Add under [tables] there: {}") as advice:
        read(tmp_path)["crm"].feed("b", ["Name", "BId"])

    write(tmp_path, path.read_text() + advice.values[0])
    assert ("BId",) == read(tmp_path)["crm"].feed("b", ["Name", "BId"]).keys


@pytest.mark.parametrize(
    ("advice", "wrong", "right"),
    [
        follows("Use 1 to {} bytes", "x" * 57, "x" * 56),
        follows("Use a name that does not end in _active", "thing_active", "thing"),
    ],
)
def test_a_table_gets_another_name(tmp_path, advice, wrong, right):
    write(tmp_path, HEAD + '[undeclared]\nkeys = ["Id"]\n')
    system = read(tmp_path)["crm"]

    with advised(advice) as given:
        system.feed(wrong, ["Id"])

    assert not given.values or int(given.values[0]) == len(right)
    assert right == system.feed(right, ["Id"]).table


def test_a_column_type_is_chosen_of_those_that_are_listed():
    with advised("Choose one of {} or decimal(p,s) with p up to 38") as advice:
        types.parse("money")

    for kind in (*advice.values[0].split(", "), "decimal(38,2)"):
        assert kind == types.parse(kind)


def test_a_time_zone_is_named_as_the_example_is():
    with advised("Use an IANA name such as Europe/Amsterdam, and install tzdata"):
        zone("Amsterdam")

    assert "Europe/Amsterdam" == zone("Europe/Amsterdam")

"""`sluice verify`: what differs between a table and a full of it, or its source. Nothing is written to the table."""

from __future__ import annotations

import pyarrow as pa
import pytest

from shared.mssql import odbc
from shared.pipeline.verify import VerifyOptions, verify
from tests.standins.tsql.engine import Server
from tests.suites.warehouse_case import CATALOG, WarehouseCase, row

KEY = "k" * 32


@pytest.fixture(params=["duckdb", "lake", "postgres", pytest.param("mssql", marks=pytest.mark.slow)])
def url(request, tmp_path, monkeypatch):
    """WAREHOUSE_URL of an empty warehouse of each kind; SQL Server is a stand-in."""
    if request.param == "postgres":
        yield request.getfixturevalue("postgres").url(request.getfixturevalue("database"))
    elif request.param == "mssql":
        server = Server()
        monkeypatch.setattr(odbc, "load_pyodbc", lambda: server)
        yield "mssql://app:secret@stand-in/sluice"
        assert 0 == server.open_connections
    else:
        yield f"{request.param}:///{tmp_path}/warehouse"


@pytest.fixture
def case(tmp_path, url):
    return WarehouseCase(tmp_path, lambda _statement: [], WAREHOUSE_URL=url, HASH_KEY=KEY)


def verified(case, file, table="item", **options):
    case.clock.forward(minutes=1)  # what a run writes meanwhile is no difference
    return verify(
        case.app.runner, case.app.settings, f"shop.{table}", VerifyOptions(against=str(file.parent), **options)
    )


def outcome(found):
    counted = {name: getattr(found.found, name) for name in ("missing", "extra", "differing", "later", "rejected")}
    return {name: count for name, count in counted.items() if count}


def listed(found):
    return [(one.kind, *one.key.values(), *one.columns) for one in found.found.differences]


def test_equal_sides_have_no_difference(case):
    """Deleted rows are on neither side; nothing is staged or rejected afterwards, and history has no run more."""
    case.loaded("full", 5, *(row(n, f"n{n}") for n in range(30)), row(40, deleted=True))
    file = case.write("full", 6, [*(row(n, f"n{n}") for n in range(30)), row(40, deleted=True)])

    found = verified(case, file, range_rows=5)

    assert found.found.equal
    assert (30, 30, 6, 0) == (found.found.rows, found.found.source_rows, found.found.ranges, found.found.ranges_read)
    assert found.repair is None
    assert 1 == len(case.app.warehouse.runs("shop.item"))
    assert [] == list(case.app.warehouse.rejects("shop.item"))


def test_each_kind_of_difference_is_counted_and_listed(case):
    """Only ranges that differ are read row by row."""
    rows = [row(n, f"n{n}") for n in range(100)]
    case.loaded("full", 5, *rows[:10], *rows[11:], row(200), row(201, deleted=True))
    rows[50] = row(50, "other")
    file = case.write("full", 6, [*rows, row(201)])

    found = verified(case, file, range_rows=10)

    assert {"missing": 2, "extra": 1, "differing": 1} == outcome(found)
    assert {"Name": 1} == found.found.columns
    assert [("missing", 10), ("differing", 50, "Name"), ("extra", 200), ("missing", 201)] == sorted(
        listed(found), key=lambda one: one[1]
    )
    assert [False, True] == [one.deleted for one in found.found.differences if one.kind == "missing"]
    assert found.found.ranges_read < found.found.ranges
    assert 2 == len(listed(verified(case, file, range_rows=10, most=2)))


def test_rows_that_are_newer_in_the_table_are_no_difference(case):
    case.loaded("full", 5, row(1), row(2))
    file = case.write("full", 6, [row(1), row(2)])
    case.loaded("delta", 8, row(2, "newer", 7), row(3, "new", 7))

    found = verified(case, file)

    assert ({"later": 2}, True) == (outcome(found), found.found.equal)
    assert "2 rows differ, but are newer in the table: no difference" in found.notes


def test_rows_deleted_since_are_no_difference(case):
    """And those deleted before are one."""
    case.loaded("full", 5, row(1), row(2), row(3))
    case.loaded("delta", 5.5, row(3, None, 5.2, deleted=True))
    file = case.write("full", 6, [row(1), row(2), row(3)])
    case.loaded("delta", 8, row(2, None, 7, deleted=True))

    found = verified(case, file)

    assert {"missing": 1, "later": 1} == outcome(found)
    assert ["missing"] == [one.kind for one in found.found.differences]


def test_rejected_rows_cannot_be_compared(case):
    """Their keys are in the source, so they are not extra."""
    case.loaded("full", 5, row(1), row(2))
    file = case.write("full", 6, [row(1), row(2, modified=10_000), row(None)])

    found = verified(case, file)

    assert ({"rejected": 1}, 2, True) == (outcome(found), found.rejected, found.found.equal)
    assert "2 rows of the source would be rejected, and cannot be compared" in found.notes
    assert [] == list(case.app.warehouse.rejects("shop.item"))


def test_several_rows_of_a_key_count_as_the_one_that_wins(case):
    case.loaded("full", 5, row(1, "new", 3))

    assert verified(case, case.write("full", 6, [row(1, "old", 2), row(1, "new", 3)])).found.equal


def test_hidden_and_renamed_columns_are_compared_as_they_are_stored(case):
    types = {"Mail": pa.string(), "Phone": pa.string(), "Nm": pa.string()}
    policies = 'hash = ["Mail"]\nmask = { Phone = "last4" }\nrename = { Nm = "FullName" }'
    case.catalog(CATALOG.replace("[undeclared]", f"{policies}\n[undeclared]"))
    one = {"Mail": "a@b.example", "Phone": "+491555123456", "Nm": "Ada"}
    case.loaded("full", 5, row(1, **one), row(2, **one), types=types)
    same = verified(case, case.write("full", 6, [row(1, **one), row(2, **one)], types=types))
    other = {"Mail": "c@d.example", "Phone": "+491555129999", "Nm": "Eve"}

    found = verified(case, case.write("full", 7, [row(1, **one), row(2, **other)], types=types))

    assert same.found.equal
    assert {"Mail": 1, "Phone": 1, "FullName": 1} == found.found.columns
    assert "a@b.example" not in str(found)


def test_keys_of_several_columns_are_cut_into_ranges(case):
    types = {"Line": pa.string()}
    rows = [row(n // 5, f"n{n}", Line="aBcDe"[n % 5]) for n in range(40)]
    case.loaded("full", 5, *rows, table="pair", types=types)
    rows[7] = row(1, "other", Line="c")

    found = verified(case, case.write("full", 6, rows, table="pair", types=types), table="pair", range_rows=4)

    assert [("differing", 1, "c", "Name")] == listed(found)
    assert 1 == found.found.ranges_read < found.found.ranges


def test_columns_that_only_one_side_has(case):
    more = {"More": pa.string(), "Size": pa.string()}
    case.loaded("full", 5, row(1, More="x", Size="big"), types=more)
    file = case.write("full", 6, [row(1, Other="y", Size=5)], types={"Other": pa.string(), "Size": pa.int64()})

    found = verified(case, file).found

    assert ({"Other": "text"}, ("More",)) == (found.lacking, found.uncompared)
    assert ({"Size": ("text", "bigint")}, False) == (found.unlike, found.equal)


def test_what_repairs_it_does(case):
    """The command is followed in tests/cli/test_verify.py."""
    case.loaded("full", 5, row(1), row(3))
    file = case.write("full", 6, [row(1, "other", 2), row(2)])
    assert not verified(case, file).found.equal

    case.load(file)

    assert verified(case, file).found.equal


def test_a_full_that_is_older_than_one_that_is_loaded_repairs_nothing(case):
    case.loaded("full", 7, row(1), row(2))
    file = case.write("full", 6, [row(1), row(9)])

    found = verified(case, file)

    assert found.repair is None
    assert any("a full of 2026-02-08T00:00:00 is loaded already" in note for note in found.notes)

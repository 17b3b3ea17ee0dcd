"""What a feed says of columns: which are never stored, and what becomes of new ones."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.advice import advises
from tests.suites.warehouse_case import CATALOG, WarehouseCase, row

MORE = {"types": {"Secret": pa.string(), "Size": pa.int64()}}

pytestmark = pytest.mark.usefixtures("reading")  # both ways into DuckDB


@pytest.fixture
def case(tmp_path):
    import duckdb

    def query(statement):
        with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as db:
            return db.execute(statement).fetchall()

    return WarehouseCase(tmp_path, query, WAREHOUSE_URL=f"duckdb:///{tmp_path}/warehouse.duckdb")


def declare(case, options):
    case.catalog(CATALOG.replace("[undeclared]", f"{options}\n[undeclared]"))


def test_an_excluded_column_is_nowhere(case):
    """Not in the table, whatever its case, and not with a rejected row."""
    declare(case, 'exclude = ["SECRET"]')

    run = case.loaded(
        "full", 5, row(1, Secret="hush"), row(None, Secret="hush", Size=7), options={"max_reject_share": 1}, **MORE
    )

    (reject,) = case.app.warehouse.rejects("shop.item")
    assert (1, 1) == (run.inserted, run.rejected)
    assert "to exclude" not in run.note
    assert "Secret" not in case.columns()
    assert "Size" in case.columns()
    assert "7" in reject["raw"]
    assert "hush" not in str(case.contents())


def test_an_excluded_column_that_is_not_there_is_noted(case):
    """It may be misspelt."""
    declare(case, 'exclude = ["Secrets"]')

    assert "there is no column 'Secrets' to exclude" == case.loaded("full", 5, row(1, Secret="hush"), **MORE).note


def test_a_new_column_is_ignored_where_the_feed_says_so(case):
    """The run notes it. The first load takes all columns, as there is no table."""
    declare(case, 'on_new_column = "ignore"')
    case.loaded("full", 5, row(1))

    run = case.loaded("delta", 6, row(1, "Eva", 2, Secret="a", Size=1), **MORE)

    assert "new columns are left out: Secret, Size" == run.note
    assert (1, {"Name"}) == (run.updated, set(case.columns()) & {"Name", "Secret", "Size"})


def test_a_new_column_stops_the_load_where_the_feed_says_so(case):
    """Its advice is followed: to ignore it, to add it, or to exclude it."""
    case.loaded("full", 5, row(1))
    declare(case, 'on_new_column = "stop"')

    refused = case.refused("delta", 6, row(1, "Eva", 2, Secret="a"), **MORE)
    advises("Set on_new_column to add or ignore in the catalog, or name them under exclude there", refused)

    assert "shop.item has new columns: 'Secret', 'Size'" in refused
    declare(case, 'on_new_column = "stop"\nexclude = ["Secret", "Size"]')
    assert 1 == case.loaded("delta", 7, row(1, "Eva", 2, Secret="a"), **MORE).updated
    declare(case, 'on_new_column = "add"')
    case.loaded("delta", 8, row(1, "Ada", 3, Secret="a"), **MORE)
    assert {"Secret", "Size"} <= set(case.columns())


def test_known_columns_go_on_where_new_ones_stop_the_load(case):
    """Also if a file lacks some, or spells them in another way."""
    declare(case, 'on_new_column = "stop"')
    case.loaded("full", 5, row(1, Size=1), types={"Size": pa.int64()})

    assert 1 == case.loaded("delta", 6, row(1, "Eva", 2, size=2), types={"size": pa.int64()}).updated
    assert 1 == case.loaded("delta", 7, row(1, "Ada", 3)).updated


def test_a_type_that_does_not_fit_stops_the_load_or_makes_the_column_text(case):
    """The error's advice is followed. A dry run shows it; history has the types."""
    case.loaded("full", 5, row(1, Price=1.5), types={"Price": pa.float64()})
    file = case.write("delta", 6, [row(2, Price="1,50")], types={"Price": pa.string()})

    refused = case.load(file).run
    (kind,) = advises(
        "Correct the export, or declare the column {} under types in the catalog, or set on_type_change to text",
        refused.error,
    )
    declare(case, 'on_type_change = "text"')
    done = case.load(file).run

    assert ("text", 0, None, 1) == (kind, refused.inserted, done.error, done.inserted)
    assert [("1.5",), ("1,50",)] == case.rows("Price")
    assert {"Price": "text"}.items() <= {column.name: column.type for column in done.columns}.items()


def test_a_key_whose_type_changes_is_declared(case):
    """No policy makes it text."""
    declare(case, 'on_type_change = "text"')
    case.loaded("full", 5, row(1))

    refused = case.refused("delta", 6, row("1", "Eva", 2), key=pa.string())
    (kind,) = advises("Correct the export, or declare the column {} under types in the catalog", refused)

    case.declare("ItemId", kind)
    assert 1 == case.loaded("delta", 7, row("1", "Eva", 2), key=pa.string()).updated

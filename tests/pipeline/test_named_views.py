"""Views that join names in, by whole loads: made when the tables are there, renewed with the catalog."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from shared.catalog import read
from shared.errors import ConfigError
from shared.model import Feed
from shared.pipeline.relations import named_views
from tests.advice import advised
from tests.suites.warehouse_case import CATALOG, WarehouseCase, row

PERSON = 'person = { keys = ["PersonId"], display = ["Name"] }\n'
VISIT = (
    'visit = { keys = ["VisitId"], references = { Person = "shop.person.PersonId", Other = "shop.person.PersonId" } }\n'
)
TYPES = {"Person": pa.int64(), "Other": pa.int64()}
VIEW = 'SELECT "VisitId", "Person_Name", "Other_Name" FROM shop.visit_named ORDER BY 1'


@pytest.fixture
def case(tmp_path):
    def query(statement: str) -> list[Any]:
        with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
            return connection.execute(statement).fetchall()

    found = WarehouseCase(tmp_path, query, WAREHOUSE_URL=f"duckdb:///{tmp_path}/w.duckdb")
    declare(found, PERSON + VISIT)
    return found


def declare(case: WarehouseCase, tables: str) -> None:
    path = case.folder / "catalog" / "shop.toml"
    path.write_text(CATALOG + tables)
    case.app = replace(case.app, systems=read(path.parent))


def visits(case: WarehouseCase, number: float, *more: dict[str, Any]) -> Any:
    return case.loaded("delta", number, row(1, Person=1, Other=2), *more, table="visit", types=TYPES)


def views(case: WarehouseCase) -> list[str]:
    return [name for (name,) in case.query("SELECT view_name FROM duckdb_views() WHERE view_name LIKE '%named'")]


def test_view_is_made_once_the_table_it_needs_is_there(case):
    """By the run of that table; until then the run of the other says what is lacking."""
    waiting = visits(case, 5)
    before = views(case)
    made = case.loaded("full", 6, row(1, "Ada"), row(2, "Bob"), table="person")

    assert "view shop.visit_named lacks the names of Person (shop.person is not there yet)" in waiting.note
    assert ([], None) == (before, made.note)
    assert [(1, "Ada", "Bob")] == case.query(VIEW)
    assert [waiting.note] == [run.note for run in case.app.warehouse.runs("shop.visit")]


def test_view_goes_when_the_catalog_has_no_names_any_more(case):
    case.loaded("full", 5, row(1, "Ada"), table="person")
    visits(case, 5)
    before = views(case)
    declare(case, PERSON.replace(', display = ["Name"]', "") + VISIT)
    visits(case, 6, row(2, "x", 6))

    assert (["visit_named"], []) == (before, views(case))


def test_view_that_cannot_be_made_fails_no_load(case, monkeypatch):
    def broken(_view: Any) -> list[str]:
        raise RuntimeError("it is broken")

    monkeypatch.setattr(case.app.warehouse, "renew_view", broken, raising=False)

    assert "view shop.visit_named could not be renewed: RuntimeError: it is broken" in visits(case, 5).note


def test_table_that_is_named_like_a_view_is_refused(case):
    """The advice is followed, and the table is loaded."""
    case.loaded("full", 5, row(1, "Ada"), table="person")
    visits(case, 5)
    with advised("Take display from {} in {} and drop that view, or rename the table") as advice:
        case.app.systems["shop"].feed("visit_named", ["visit_namedId", "ModifiedOn", "IsDeleted"])
    assert ("person", "shop.toml") == advice.values

    declare(case, PERSON.replace(', display = ["Name"]', "") + VISIT)
    case.query("DROP VIEW shop.visit_named")

    assert 1 == case.loaded("full", 6, row(1), table="visit_named", key_name="visit_namedId").inserted


def test_declared_table_goes_before_a_view_of_its_name(case):
    declare(case, PERSON + VISIT + 'visit_named = { keys = ["Id"] }\n')
    feeds = {feed.name: feed for feed in case.app.systems["shop"].feeds()}

    assert [] == named_views(feeds["shop.visit"], feeds)


def test_only_references_to_the_one_key_of_a_feed_are_joined():
    """Others would make a row of one that is several."""
    person = Feed(system="crm", table="person", source="sql", keys=("Id",), display=("Name",))
    pair = replace(person, table="pair", keys=("Id", "Line"))
    references = {"a": "crm.person.ID", "b": "crm.person.Mail", "c": "crm.pair.Id", "d": "crm.none.Id"}
    visit = Feed(system="crm", table="visit", source="sql", keys=("Id",), references=references)
    feeds = {one.name: one for one in (person, pair, visit)}

    assert [["a"]] == [[one.column for one in view.references] for view in named_views(visit, feeds)]
    assert ["visit"] == [view.feed.table for view in named_views(person, feeds)]


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ('person = { keys = ["A", "B"], display = ["Name"] }', "display needs a feed with one key"),
        ('person = { keys = ["A"], display = ["Name", "name"] }', "display must be a list of column names, each once"),
    ],
)
def test_catalog_refuses_names_that_cannot_be_shown(tmp_path: Path, tables: str, problem: str) -> None:
    (tmp_path / "shop.toml").write_text(f'[system]\nname = "shop"\nsource = "sql"\n[tables]\n{tables}\n')

    with pytest.raises(ConfigError, match=problem):
        read(tmp_path)

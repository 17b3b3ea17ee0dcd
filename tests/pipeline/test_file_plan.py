"""What a plan says of a file is what its load does, and a plan writes nothing."""

from __future__ import annotations

import datetime as dt

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from shared.errors import ConfigError
from shared.model import FeedName
from shared.pipeline import csv
from shared.pipeline.csv import CsvOptions
from shared.pipeline.file_plan import FilePlan, file_plans
from shared.pipeline.forecast import Load, duration, forecast, with_link
from tests.advice import advises
from tests.exports import Clock, open_test_app
from tests.suites.warehouse_case import CATALOG, WarehouseCase, row

KEY = "k" * 32
LEADS = """
[system]
name = "crm"
source = "csv"
[tables.leads]
keys = ["lead_id"]
cursor = false
mask = { email = "email" }
[tables.leads.columns]
lead_id = { cleaner = "text", aliases = ["id"] }
email = { cleaner = "email" }
born = { type = "date", cleaner = "date" }
"""


@pytest.fixture
def case(tmp_path):
    import duckdb

    def query(statement):
        with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as db:
            return db.execute(statement).fetchall()

    return WarehouseCase(tmp_path, query, WAREHOUSE_URL=f"duckdb:///{tmp_path}/warehouse.duckdb", HASH_KEY=KEY)


@pytest.fixture
def leads(tmp_path):
    folder = tmp_path / "catalog"
    folder.mkdir()
    (folder / "crm.toml").write_text(LEADS, encoding="utf-8")
    return open_test_app(tmp_path, Clock(), CATALOG_PATH=str(folder))


def planned(app, feed: str, file: Path) -> FilePlan:
    (found,) = file_plans(app.runner, app.settings, feed, str(file))
    return found


def changes(found: FilePlan) -> dict[str, str]:
    return {column.column: column.change for column in found.columns}


def test_a_plan_names_each_column_and_what_becomes_of_it(case):
    """Of the file, and of the table where the file lacks it."""
    types = {"Size": pa.int32(), "Old": pa.string(), "Price": pa.float64()}
    case.loaded("full", 5, row(1, Size=1, Old="x", Price=1.5), types=types)
    new = {"Size": pa.int64(), "Price": pa.string(), "Mail": pa.string(), "Secret": pa.string(), "Empty": pa.null()}
    left_out, hidden = 'exclude = ["Secret", "Gone"]', 'rename = { Mail = "Email" }\nhash = ["Email"]'
    case.catalog(CATALOG.replace("[undeclared]", f'on_type_change = "text"\n{left_out}\n{hidden}\n[undeclared]'))
    file = case.write("delta", 6, [row(2, Size=2, Price="?", Mail="a@b.org", Secret="s", Empty=None)], types=new)

    found = planned(case.app, "shop.item", file)

    assert {
        "ItemId": "same", "Name": "same", "ModifiedOn": "same", "IsDeleted": "same", "Size": "widened", "Price": "text",
        "Email": "new", "Empty": "no values", "Secret": "excluded", "Old": "missing",
    } == changes(found)  # fmt: skip
    by_name = {column.column: column for column in found.columns}
    assert ("Mail", "text", "hash") == (by_name["Email"].source, by_name["Email"].type, by_name["Email"].hidden)
    assert ("double", "text") == (by_name["Price"].stored, by_name["Price"].type)
    assert (("there is no column 'Gone' to exclude",), (), 1) == (found.notes, found.stops, found.rows)
    assert "a@b.org" not in str(found)
    loaded = case.load(file).run
    stored = case.columns()
    assert (None, "there is no column 'Gone' to exclude") == (loaded.error, loaded.note)
    assert {one.column: one.type for one in found.columns if one.type} == {
        name: kind for name, kind in stored.items() if name in by_name
    }


@pytest.mark.parametrize(
    ("options", "types", "said"),
    [
        ("", {"Size": pa.string()}, "column 'Size' of shop.item is bigint, but text in"),
        ('on_new_column = "stop"', {"Size": pa.int64(), "New": pa.int64()}, "shop.item has new columns: 'New'"),
        ('hash = ["Size"]', {"Size": pa.int64()}, "column 'Size' of shop.item is to be hashed or masked"),
        ("", {"ModifiedOn": pa.bool_()}, "which cannot be ordered"),
    ],
    ids=["type", "new", "hash", "cursor"],
)
def test_where_a_plan_stops_the_load_stops_for_the_same_reason(case, options, types, said):
    """Word by word."""
    case.loaded("full", 5, row(1, Size=1), types={"Size": pa.int64()})
    case.catalog(CATALOG.replace("[undeclared]", f"{options}\n[undeclared]"))
    file = case.write("delta", 6, [], types=types)

    found = planned(case.app, "shop.item", file)
    refused = case.load(file).run.error

    assert [refused] == list(found.stops)
    assert said in refused


def test_new_columns_that_are_ignored_are_shown_as_left_out(case):
    case.catalog(CATALOG.replace("[undeclared]", 'on_new_column = "ignore"\n[undeclared]'))
    case.loaded("full", 5, row(1))

    found = planned(case.app, "shop.item", case.write("delta", 6, [row(1, New=1)], types={"New": pa.int64()}))

    assert ("ignored", ()) == (changes(found)["New"], found.stops)


def test_a_plan_writes_nothing(case):
    """Neither into a warehouse that is there, nor into one that is not; nor does it ask for one to be made."""
    file = case.write("full", 5, [row(1), row(2)])
    before = sorted(case.folder.rglob("*"))

    new = planned(case.app, "shop.item", file)
    still = sorted(case.folder.rglob("*"))
    case.load(file)
    contents = case.contents()
    again = planned(case.app, "shop.item", file)

    assert before == still
    assert contents == case.contents()
    assert (True, False) == (new.is_new, again.is_new)
    assert ["Ada", "Ada"] == [one["Name"] for one in new.sample]


def test_a_folder_is_planned_by_its_newest_export_of_the_table(case):
    case.write("full", 5, [row(1), row(2)])
    newest = case.write("delta", 6, [row(1)])
    case.write("delta", 7, [row(1)], table="hard")

    assert (str(newest),) == planned(case.app, "shop.item", case.folder).files


def test_a_text_file_is_planned_by_its_layout(leads, tmp_path):
    """What no column takes is kept in Extra, and what the layout has more is missing; rows are not counted."""
    file = tmp_path / "leads.csv"
    file.write_text("id,email,colour\n1,Ada@Example.org,red\n", encoding="utf-8")

    found = planned(leads, "crm.leads", file)

    assert {"lead_id": "new", "email": "new", "colour": "extra", "Extra": "new", "born": "missing"} == changes(found)
    assert ({"lead_id": "1", "email": "****@example.org", "Extra": '{"colour": "red"}'},) == found.sample
    assert (None, "how many rows the file has is known only when it is read") == (found.rows, found.forecast.text)
    assert "Ada@" not in str(found)


def test_a_text_file_that_lacks_its_key_stops_as_its_load_does(leads, tmp_path):
    file = tmp_path / "leads.csv"
    file.write_text("email\nada@example.org\n", encoding="utf-8")

    (loaded,) = csv.load(leads.runner, leads.settings, FeedName("crm", "leads"), str(file), CsvOptions())

    assert [loaded.run.error] == list(planned(leads, "crm.leads", file).stops)


def test_a_feed_that_is_not_loaded_from_files_has_no_plan(case):
    """Nor has one that nobody declared."""
    file = case.write("full", 5, [row(1)])
    pulled = CATALOG.replace('source = "exports"', 'source = "sql"').replace('[undeclared]\nkeys = ["{table}Id"]\n', "")
    case.catalog(pulled)

    with pytest.raises(ConfigError) as error:
        planned(case.app, "shop.hard", file)
    with pytest.raises(ConfigError, match=r"there is no system 'shed' in the catalog. Choose one of shop"):
        planned(case.app, "shed.hard", file)

    assert ("shop",) == advises("See what a sync would do with `sluice sync {} --dry-run`", str(error.value))


# -- how long it takes

NOW = dt.datetime(2026, 2, 24, 12, tzinfo=dt.UTC)
BIG = Load(rows=1_000_000, size=10_000_000)


def run(case_run, rows, seconds, **more):
    finished = dt.datetime(2026, 2, 24, 10) + dt.timedelta(seconds=seconds)  # noqa: DTZ001 - text of records
    times = {"started": "2026-02-24T10:00:00.000000", "finished": finished.isoformat(timespec="microseconds")}
    return replace(case_run, read=rows, **times, **more)


@pytest.fixture
def done(case):
    return case.loaded("full", 5, row(1))


def test_a_forecast_goes_by_the_largest_run_of_the_feed(done):
    """Small runs say how long a load takes at least; failed ones nothing."""
    runs = [run(done, 10, 2), run(done, 500_000, 50), run(done, 900_000, 1, status="failed")]

    assert 100 == forecast(BIG, runs, [], NOW).seconds
    assert 2 == forecast(replace(BIG, rows=5), runs, [], NOW).seconds
    assert "1,000,000 rows at 10,000 a second, as a run of this feed had" in forecast(BIG, runs, [], NOW).text
    assert "but that run was much smaller" in forecast(BIG, [run(done, 1_000, 1)], [], NOW).text


def test_without_a_run_of_its_own_another_feed_is_what_there_is(done):
    found = forecast(BIG, [run(done, 10, 2)], [run(done, 100_000, 1)], NOW)

    assert (10, True) == (found.seconds, "as a run of another feed had" in found.text)


def test_where_there_is_nothing_to_judge_by_a_forecast_says_so(done):
    """Tiny runs tell nothing."""
    for runs, said in ([], "there is no earlier run to judge by"), ([run(done, 10, 1)], "earlier runs were too small"):
        found = forecast(BIG, runs, [], NOW)
        assert (None, True) == (found.seconds, found.text.startswith(said))
    assert forecast(replace(BIG, rows=None), [run(done, 10_000, 1)], [], NOW).seconds is None


def test_the_tier_of_azure_sql_tells_where_no_run_does(done):
    """Each row is written to the log twice: staged, and merged."""
    found = forecast(replace(BIG, row_bytes=90.0), [], [], NOW, log_rate=4_500_000)

    assert 40 == found.seconds
    assert "no earlier run to judge by; the service tier lets the log grow by 4.5 MB/s, for about 180 MB" in found.text


@pytest.mark.parametrize(("minutes", "lasts"), [(1, False), (5, True)])
def test_a_forecast_says_whether_a_link_lasts(done, minutes, lasts):
    expiring = replace(BIG, expires=NOW + dt.timedelta(minutes=minutes))

    found = forecast(expiring, [run(done, 1_000_000, 100)], [], NOW)

    assert lasts is found.link_lasts
    assert ("which is long enough" if lasts else "ask for a link that lasts longer") in found.link


def test_a_link_is_judged_cautiously_where_no_run_tells():
    """By 2 MB a second."""
    for seconds, lasts in ((4, False), (6, True)):
        assert lasts is forecast(replace(BIG, expires=NOW + dt.timedelta(seconds=seconds)), [], [], NOW).link_lasts


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(59, "about 59 seconds"), (60, "about 1 minute"), (3_599, "about 60 minutes"), (7_200, "about 2 hours")],
)
def test_durations_are_rounded(seconds, text):
    assert text == duration(seconds)


def test_a_dry_run_says_how_long_its_load_takes_and_a_load_does_not(case):
    """It has done all of it; a link is judged by that."""
    file = case.write("full", 5, [row(1)])

    dry, real = case.load(file, dry_run=True), case.load(file)
    late = with_link(dry.forecast, NOW + dt.timedelta(seconds=dry.forecast.seconds / 2), NOW)

    assert dry.forecast.seconds > 0
    assert dry.forecast.text.endswith("its dry run took so long")
    assert (None, None, False) == (real.forecast, dry.forecast.link, late.link_lasts)


def test_a_dry_run_of_a_text_file_says_how_long_its_load_takes(leads, tmp_path):
    file = tmp_path / "leads.csv"
    file.write_text("id\n1\n", encoding="utf-8")

    (dry,) = csv.load(leads.runner, leads.settings, FeedName("crm", "leads"), str(file), CsvOptions(dry_run=True))

    assert dry.forecast.seconds > 0

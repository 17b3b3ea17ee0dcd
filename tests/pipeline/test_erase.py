"""Erasing a key: nothing is found of it afterwards, in whatever the app has written."""

from __future__ import annotations

import json
import logging

from pathlib import Path

import pyarrow as pa
import pytest

from shared.contract.raw_keys import RawKeys
from shared.documents.local import LocalDocuments
from shared.errors import ConflictError
from shared.model import Column, Feed
from shared.pipeline.replay import write_rejects
from shared.warehouses import Upkeep
from tests.advice import advised, advises
from tests.exports import doctor_findings
from tests.suites.warehouse_case import CATALOG, WarehouseCase, row
from tests.suites.warehouse_erase import SECRET, TEXT, erased, erased_from

KEY, NAME = "gretchen.quartz@example.org", "Zyxwvut Quartz"
LEFT = "s_46ffd996c1600485_0"


def case_in(folder: Path, **env: str) -> WarehouseCase:
    return WarehouseCase(folder, lambda statement: [], **{"STATE_URL": str(folder / "state"), **env})


def loaded(case: WarehouseCase) -> WarehouseCase:
    """Two versions of the person's row, a rejected one, and others."""
    others = [row(f"other{n}@example.org", f"Name {n}", 1) for n in range(200)]
    case.loaded("full", 5, row(KEY, NAME, 1), *others, **TEXT)
    case.loaded("delta", 6, row(KEY, NAME + " II", 2), row(KEY, NAME, 100), options={"max_reject_share": 1}, **TEXT)
    for export in case.folder.glob("*/Acme"):
        export.rename(export.with_name("Gone"))
    return case


def found(folder: Path, *ignored: str) -> list[str]:
    """Files that have the person's key or name."""
    marks = [KEY.encode(), NAME.encode()]
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not set(ignored) & set(path.parts)]
    return [path.name for path in files if any(mark in path.read_bytes() for mark in marks)]


def test_nothing_of_the_person_is_in_any_file_or_log(tmp_path, caplog):
    """DuckDB's file has no trace in its free blocks either; the others are all there."""
    caplog.set_level(logging.DEBUG)
    case = loaded(case_in(tmp_path))
    left = tmp_path / "warehouse.duckdb.staging" / f"{LEFT}.duckdb"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(f"of a process that died: {KEY}".encode())
    assert {"warehouse.duckdb", left.name} <= set(found(tmp_path, "Gone"))

    done = erased(case, KEY)

    assert (1, 1, 1) == (done.rows, done.rejects, done.staging)
    assert [] == found(tmp_path, "Gone")
    assert KEY not in caplog.text
    assert NAME not in caplog.text
    assert 200 == case.app.warehouse.profile(case.feed("person")).rows


def test_lake_keeps_it_in_earlier_versions_until_upkeep(tmp_path):
    """As it says. Data files are compressed, so they are read."""
    case = loaded(case_in(tmp_path, WAREHOUSE_URL=f"lake:///{tmp_path}/lake"))
    files = lambda: [pa.parquet.read_table(path) for path in (tmp_path / "lake").rglob("*.parquet")]  # noqa: E731

    lake, *_ = erased_from(case, "shop.person", KEY)
    before = [table for table in files() if KEY in str(table.to_pydict())]
    for feed in ("shop.person", "ingest.rejected"):
        case.app.warehouse.upkeep(feed, lambda _name, _columns: (), Upkeep(keep=case.clock.now - case.clock.now))

    assert "earlier versions" in lake.note
    assert before
    assert [] == [table for table in files() if "PersonId" in table.column_names and KEY in str(table.to_pydict())]
    assert [] == list(case.app.warehouse.rejects("shop.person"))


def test_versions_of_a_row_go_with_it(tmp_path):
    """Where the feed has history, from the file too."""
    case = case_in(tmp_path)
    case.catalog(f'{CATALOG}person = {{ keys = ["PersonId"], history = true }}\n')
    loaded(case)

    done = erased(case, KEY)

    assert (1, 2) == (done.rows, done.history)
    assert [] == found(tmp_path, "Gone")


def test_a_table_that_is_no_history_is_left_alone(tmp_path):
    """It has the name that versions would have: of others, or of another feed."""
    case = loaded(case_in(tmp_path))
    others = row("1", PersonId=KEY)
    case.loaded("full", 5, others, table="person_versions", key=pa.string(), types={"PersonId": pa.string()})

    done = erased(case, KEY)

    assert (1, 0) == (done.rows, done.history)


def test_rows_of_every_run_go_where_a_lake_keeps_them(tmp_path):
    """In mode `append`, each file stays in its partition."""
    case = case_in(tmp_path, WAREHOUSE_URL=f"lake:///{tmp_path}/lake")
    case.declare_table("person", 'keys = ["PersonId"], lake = "append"')
    for number in (5, 6):
        case.loaded("delta", number, row(KEY, NAME, number), row("other", "Other", number), **TEXT)
        case.clock.forward(days=1)

    done = erased(case, KEY)

    _, rows = case.app.warehouse.table_rows("shop", "person")
    assert 2 == done.rows
    assert ["other"] * 2 == [one[0] for one in rows]


def test_every_warehouse_that_is_set_up_is_searched(tmp_path):
    """Whether the feed goes there still or not."""
    case = case_in(tmp_path, WAREHOUSE_URL_OTHER=f"duckdb:///{tmp_path}/other.duckdb")
    case.declare_table("person", 'keys = ["PersonId"], destinations = ["main", "other"]')
    file = case.write("full", 5, [row(KEY, NAME)], **TEXT)
    from shared.pipeline.folder import LoadOptions
    from tests.exports import load_exports

    list(load_exports(case.app, str(file.parent), LoadOptions(system="shop", kind="full", tables=("person",))))
    case.declare_table("person", 'keys = ["PersonId"]')

    done = erased_from(case, "shop.person", KEY)

    assert {"main": 1, "other": 1} == {one.place: one.erasure.rows for one in done if one.erasure}
    assert [] == found(tmp_path, "Full")


def test_feed_that_is_loading_is_refused(tmp_path):
    """By a process that stages rows of it, or by a job that has not ended."""
    case = loaded(case_in(tmp_path))
    feed = case.feed("person")
    case.app.warehouse.stage(feed, LEFT, [Column("PersonId", "PersonId", "text")], [])

    with advised("Try again when it has ended"):
        erased(case, KEY)


def test_documents_of_dead_jobs_go_and_live_ones_refuse(tmp_path):
    """A slice with few rows hands them on in its document."""
    case, documents = loaded(case_in(tmp_path)), LocalDocuments(tmp_path / "state")
    state = {"plan": {"feed": {"system": "shop", "table": "person"}}, "outcome": None}
    documents.put("jobs/a/1/0/unit", json.dumps(state).encode())
    documents.put("jobs/a/1/0/slice/0/1", b"rows")
    documents.put("jobs/b/1/0/slice/0/1", b"of another feed")
    with pytest.raises(ConflictError):
        erased(case, KEY)
    case.clock.now = case.clock.now.replace(year=2100)

    *_, documented = erased_from(case, "shop.person", KEY)

    assert 1 == documented.files
    assert ["jobs/a/1/0/unit", "jobs/b/1/0/slice/0/1"] == [entry.name for entry in documents.entries("jobs/")]


def test_values_that_reports_and_alerts_quote_are_masked(tmp_path):
    """Of runs of the feed, their jobs and the page; nothing else of them changes."""
    case, documents = loaded(case_in(tmp_path)), LocalDocuments(tmp_path / "state")
    report = json.dumps({"job": "sync:shop", "error": f"'{KEY}' is no number, '{KEY}9' neither"}).encode()
    names = ["runs/shop.person/1", "feeds/shop.person/runs", "jobs/sync:shop/summary", "alerts/1", "status/overview"]
    for name in (*names, "runs/shop.other/1"):
        documents.put(name, report)

    *_, counted = erased_from(case, "shop.person", KEY, dry_run=True)
    before = {documents.get(name) for name in names}
    *_, documented = erased_from(case, "shop.person", KEY)

    assert ({report}, len(names), len(names)) == (before, counted.files, documented.files)
    assert {report.replace(f"'{KEY}'".encode(), b"'***'")} == {documents.get(name) for name in names}
    assert report == documents.get("runs/shop.other/1")


@pytest.mark.parametrize("given", ["raw", "raw/shop.person"])
def test_raw_answers_that_name_the_key_are_deleted(tmp_path, given):
    """Of the calls, only their lines. The folder is that of `--keep-raw`, or the one of the feed in it."""
    case, raw = loaded(case_in(tmp_path)), tmp_path / "raw/shop.person"
    raw.mkdir(parents=True)
    (raw / "00001.json").write_text(json.dumps([{"id": KEY}]))
    (raw / "00002.json").write_text(json.dumps([{"id": "x" + KEY}]))
    (raw / "calls.jsonl").write_text(f'{{"id": "{KEY}"}}\n{{"id": 2}}\n')

    *_, answers = erased_from(case, "shop.person", KEY, raw=tmp_path / given)

    assert 2 == answers.files
    assert ["00002.json", "calls.jsonl"] == sorted(path.name for path in raw.iterdir())
    assert '{"id": 2}\n' == (raw / "calls.jsonl").read_text()


@pytest.mark.parametrize(
    ("key", "kinds", "raw", "expected"),
    [
        ("7", {"id": "bigint"}, {"ID": " 007 "}, True), ("7", {"id": "bigint"}, {"Id": 77}, False),
        ("7", {"id": "bigint"}, {"Id": 8, "Other": 7}, False), ("7.50", {"id": "decimal(9,2)"}, {"Id": 7.5}, True),
        ("a@x.org", {}, {"Id": "A@X.org "}, True), ("7", {}, {"raw record": "8;7;x"}, True),
        ("7", {}, {"raw record": "8;17;x"}, False), ("7", {}, {"Id": None}, False),
    ],
)  # fmt: skip
def test_rejected_rows_are_recognised_by_the_key_as_it_was_read(key, kinds, raw, expected):
    """With the names and types of the source; of what has no columns, anything that holds it."""
    feed = Feed(system="shop", table="item", source="exports", keys=("Id",))

    assert expected == RawKeys(feed, [(key,)], kinds).has(json.dumps(raw))


def test_kept_out_rows_are_not_to_be_corrected(tmp_path):
    """They have no content."""
    case = loaded(case_in(tmp_path, KEEP_OUT_KEY=SECRET))
    erased(case, KEY, keep_out=True)
    case.loaded("delta", 8, row(KEY, NAME, 3), **TEXT)
    assert 1 == len(list(case.app.warehouse.rejects("shop.person")))

    with (tmp_path / "out.csv").open("wb") as out:
        write_rejects(case.app.warehouse, "shop.person", None, out)

    assert 1 == len((tmp_path / "out.csv").read_bytes().splitlines())


def test_keeping_out_needs_a_secret_which_stays_the_same(tmp_path):
    """Another one would let the row in."""
    case = loaded(case_in(tmp_path))
    with advised("Set KEEP_OUT_KEY, for every host that loads, to 32 random characters or more, and keep it"):
        erased(case, KEY, keep_out=True)
    case = case_in(tmp_path, KEEP_OUT_KEY=SECRET)
    assert 1 == len(erased(case, KEY, keep_out=True).kept_out)

    other = case_in(tmp_path, KEEP_OUT_KEY=SECRET[::-1])
    refused = other.refused("delta", 7, row(KEY, NAME, 3), **TEXT)
    checks = {one.check: one for app in (other.app, case_in(tmp_path).app) for one in doctor_findings(app)}

    advises("Set KEEP_OUT_KEY to its former value", refused)
    assert "failed" == checks["erased keys"].status
    assert 1 == case_in(tmp_path, KEEP_OUT_KEY=SECRET).loaded("delta", 7, row(KEY, NAME, 3), **TEXT).rejected


def test_keys_that_are_none_are_refused_without_being_repeated(tmp_path):
    """An error may end up in a log."""
    case = case_in(tmp_path)
    case.loaded("full", 5, row(1, Line=1), table="pair", key_name="PairId", types={"Line": pa.int32()})
    with advised("Write it as {}") as advice:
        erased(case, "1", KEY, feed="shop.pair")
    assert KEY not in str(advice.error)
    assert ("integer",) == advice.values
    with advised("Write for each key, in turn: {}") as advice:
        erased(case, "1", feed="shop.pair")
    assert ("PairId, Line",) == advice.values

    assert 1 == erased(case, "1", "1", feed="shop.pair").rows


def test_feed_without_its_former_keys_or_its_system_is_refused(tmp_path):
    """Declared as it was, it can be erased from."""
    case = loaded(case_in(tmp_path))
    systems = case.app.systems
    case.declare_table("person", 'keys = ["Other"]')
    with advised("Give the feed its former keys in the catalog"):
        erased(case, KEY)
    object.__setattr__(case.app, "systems", {})
    with advised("Declare it again, for its keys"):
        erased(case, KEY)

    object.__setattr__(case.app, "systems", systems)
    assert 1 == erased(case, KEY).rows

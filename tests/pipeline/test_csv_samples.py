"""What becomes of the sample files of all layouts, row by row. Each has faults of its own (tests/data/csv)."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from shared.catalog import PACKAGED, read
from shared.model import OUTCOMES, FeedName
from shared.pipeline.csv import CsvOptions, CsvResult, load
from tests.exports import open_test_app
from tests.pipeline.bad_csv import gzipped, zipped
from tests.pipeline.sheets import workbook

SAMPLES = Path(__file__).parents[1] / "data" / "csv"
LAYOUTS = [feed.name for system in read(PACKAGED).values() for feed in system.feeds() if feed.layout]

# The rows that are read, inserted and rejected, and each reject: its row or line, its column and its code.
EXPECTED: dict[str, tuple[int, int, int, set[tuple[str, str | None, str]]]] = {
    "arrivy.activities": (4, 3, 1, {("row 4", "activity_id", "key_null")}),
    "arrivy.tasks": (6, 4, 2, {
        ("row 3", "email", "not_an_email"), ("row 3", "mobile_number", "not_a_phone"),
        ("row 4", "latitude", "unreadable"), ("row 5", "task_id", "unreadable"),
        ("line 8, byte 2571", None, "bad_quotes"),
    }),
    "genius.appointments": (8, 6, 2, {
        ("row 4", "time", "not_a_date"), ("row 5", "date", "not_a_date"),
        ("line 7, byte 972", None, "too_few_fields"), ("line 8, byte 1008", None, "too_many_fields"),
    }),
    "genius.marketing_source_types": (5, 5, 0, {("row 4", "list_order", "unreadable")}),
    "genius.marketing_sources": (6, 5, 1, {("row 5", "end_date", "not_a_date"), ("row 6", "id", "unreadable")}),
    "genius.prospects": (7, 6, 1, {
        ("row 4", "year_built", "unreadable"), ("row 4", "phone1", "not_a_phone"),
        ("row 4", "email", "not_an_email"), ("row 7", "id", "unreadable"),
    }),
    "genius.users": (10, 8, 1, {
        ("row 4", "birth_date", "not_a_date"), ("row 4", "email", "not_an_email"), ("row 6", "user_id", "key_null"),
    }),
    "hubspot.reference_data": (5, 5, 0, {("row 5", "display_order", "unreadable")}),
    "hubspot.zip_codes": (10, 8, 1, {("row 9", "zipcode", "key_null")}),
    "leadconduit.leads": (10, 7, 2, {
        ("row 3", "quality_score", "unreadable"), ("row 4", "email", "not_an_email"),
        ("row 5", "phone_1", "not_a_phone"), ("row 7", "lead_id", "key_null"),
        ("line 10, byte 2513", None, "too_few_fields"),
    }),
    "salespro.appointments": (8, 5, 2, {
        ("row 5", "sale_amount", "out_of_range"), ("row 6", "sale_amount", "unreadable"),
        ("row 6", "sales_rep_email", "not_an_email"), ("row 6", "is_sale", "unreadable"),
        ("row 7", "id", "key_null"), ("row 8", "updated_at", "not_a_date"),
    }),
    "salespro.users": (5, 5, 0, {
        ("row 3", "additional_amount", "unreadable"), ("row 4", "last_login", "not_a_date"),
        ("row 5", "is_active", "unreadable"), ("row 5", "email", "not_an_email"),
    }),
}  # fmt: skip


@pytest.fixture
def app(tmp_path):
    return open_test_app(tmp_path)


def load_sample(app, feed: str, **options: Any) -> CsvResult:
    name = FeedName.parse(feed)
    file = SAMPLES / name.system / f"{name.table}.csv"
    (result,) = load(app.runner, app.settings, name, str(file), CsvOptions(**options))
    return result


def stored(folder: Path, feed: str, key: object) -> dict[str, Any]:
    """The row with this *key*, as it is stored; days and times as text, Extra as an object."""
    (name,) = next(feed_.keys for system in read(PACKAGED).values() for feed_ in system.feeds() if feed_.name == feed)
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
        found = connection.execute(f"SELECT * FROM {feed} WHERE {name} = ?", [key])
        names = [column[0] for column in found.description or ()]
        (values,) = found.fetchall()
    texts = {
        name: str(value) if isinstance(value, dt.date | dt.time) else value
        for name, value in zip(names, values, strict=True)
    }
    return {**texts, "Extra": json.loads(texts["Extra"]) if texts["Extra"] else None}


def test_every_layout_has_a_sample() -> None:
    assert (
        sorted(LAYOUTS)
        == sorted(EXPECTED)
        == sorted(f"{path.parent.name}.{path.stem}" for path in SAMPLES.glob("*/*.csv"))
    )


@pytest.mark.parametrize("feed", EXPECTED)
def test_every_row_of_a_sample_has_its_outcome(app, feed: str) -> None:
    result = load_sample(app, feed)

    rejects = {
        (reject["place"].rpartition(".csv ")[2], reject["column"], reject["code"])
        for reject in app.warehouse.rejects(feed, None)
    }
    run = result.run
    assert run is not None
    assert EXPECTED[feed] == (run.read, run.inserted, run.rejected, rejects)
    assert run.read == sum(getattr(run, outcome) for outcome in OUTCOMES)


STORED: dict[str, tuple[object, dict[str, Any]]] = {
    "arrivy.activities": ("A-1002", {
        "Extra": {
            "Task ID": "5634567890120001", "Type": "NOTE", "Reporter": "Bianca Rossi",
            "Message": 'Customer asked for "bronze", not white', "Time": "09/01/2025 8:20:00 AM",
        },
    }),
    "arrivy.tasks": (5634567890120001, {
        "starts_at": "2025-09-01 13:00:00", "ends_at": "2025-09-01 14:30:00",
        "actual_start_time": "2025-09-01 13:07:12", "start_timezone": "EST", "mileage": 14.2,
        "zipcode": "02108", "instructions": "Park behind the garage.\nGate code #4711", "outbound_sms": 3,
        "Extra": {
            "Template Extra Field Product Interest Primary": "Windows", "Complete": "TRUE", "Cancel": "FALSE",
            "Demo Sold": "TRUE",
        },
    }),
    "genius.appointments": (5001, {
        "date": "2024-03-25", "time": "14:30:00", "zip": "02108", "is_complete": True,
        "add_date": "2024-03-20 16:05:00",
        "notes": 'Two storeys, blue door.\nRing twice, "the bell is loud".',
        "Extra": None,
    }),
    "genius.marketing_source_types": (2, {"description": "Television\tand radio", "is_active": True, "list_order": 20}),
    "genius.marketing_sources": (12, {
        "label": "Télévision", "description": "Canal 5; prime time", "end_date": "2023-12-31",
        "is_active": False,
    }),
    "genius.prospects": (9001, {
        "phone1": "+16175550143", "zip": "02108", "year_built": 1924,
        "Extra": {"Phone 2nd": "617.555.0144 x12", "Favourite colour": "green"},
    }),
    "genius.users": (103, {
        "last_name": "O'Neil, Jr.", "birth_date": "1990-07-04", "hired_on": "2021-06-15",
        "personal_email": "mj@example.org", "marital_status_id": None,
    }),
    "hubspot.zip_codes": ("02108", {"division": "Boston", "county": "Suffolk"}),
    "leadconduit.leads": ("665f1c2ab7d4e9001a2b3c02", {
        "source_name": "Search Partners", "phone_1": "+15085550150", "postal_code": "01608", "is_duplicate": True,
        "quality_score": 43.0, "lead_score": None, "hs_createdate": "2024-06-04 14:10:00",
        "hs_lead_status": None, "status": "valid", "disposition": "success",
        "submission_timestamp": "2024-06-04 10:10:00", "Extra": None,
    }),
    "salespro.appointments": ("cD5fG7hI9j", {
        "sale_amount": Decimal("-6200.00"), "result_full_string": "Cancelled",
        "updated_at": "2025-06-05 10:00:00", "is_sale": True,
    }),
    "salespro.users": ("Uo1aaaaaaa", {
        "additional_amount": Decimal("1250.00"), "is_active": True, "last_login": "2025-06-05 08:01:00",
        "assigned_office": "Boston (17)", "search_other_users_estimates": False,
    }),
}  # fmt: skip


@pytest.mark.parametrize("feed", STORED)
def test_values_of_a_sample_are_stored_as_the_layout_says(app, tmp_path, feed: str) -> None:
    key, expected = STORED[feed]
    load_sample(app, feed)

    found = stored(tmp_path, feed, key)

    assert expected == {name: found[name] for name in expected}


def test_rows_of_samples_that_refer_to_nothing_are_listed(app) -> None:
    """A manager who is among the users, in the same table, is found."""
    feeds = {feed.name: feed for feed in read(PACKAGED)["genius"].feeds() if feed.layout}
    for feed in feeds:
        load_sample(app, feed)

    found = {feed: [(o.column, o.values) for o in app.warehouse.orphans(feeds[feed])] for feed in feeds}

    assert {
        "genius.users": [("manager_user_id", ("999",))], "genius.appointments": [("prospect_id", ("9999",))],
        "genius.marketing_sources": [("type_id", ("9",))], "genius.marketing_source_types": [], "genius.prospects": [],
    } == found  # fmt: skip


def as_spreadsheet(content: bytes, path: Path) -> Path:
    """Every field as a cell of text, also one that begins like a formula."""
    text = content.decode("utf-8-sig")
    delimiter = max(";\t,", key=text.count)
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    return workbook(path, rows, lambda sheet: [setattr(c, "data_type", "s") for row in sheet for c in row if c.value])


OTHERWISE: dict[str, Callable[[bytes, Path], Path]] = {
    "UTF-16": lambda content, path: written(path, content.decode("utf-8-sig").encode("utf-16")),
    "CRLF": lambda content, path: written(path, content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")),
    "gzip": lambda content, path: gzipped(path.with_suffix(".csv.gz"), content),
    "zip": lambda content, path: zipped(path.with_suffix(".zip"), [("deep/down/sample.csv", content)]),
}
"""Other ways to write a file of the same rows."""


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def table(folder: Path, feed: str) -> list[dict[str, Any]]:
    """All rows without the columns that say when and by what they came; line ends in texts as LF."""
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
        found = connection.execute(f"SELECT * EXCLUDE (FirstSyncAt, SyncedAt, SyncedBy) FROM {feed} ORDER BY ALL")
        names = [column[0] for column in found.description or ()]
        return [
            {
                n: v.replace("\r\n", "\n").replace("\\r\\n", "\\n") if isinstance(v, str) else v
                for n, v in zip(names, row, strict=True)
            }
            for row in found.fetchall()
        ]


@pytest.mark.slow
@pytest.mark.parametrize("way", [*OTHERWISE])
def test_a_sample_is_the_same_rows_however_it_is_written(tmp_path, way: str) -> None:
    """Encoding, line ends and packing change nothing."""
    for folder in ("plain", "otherwise"):
        (tmp_path / folder).mkdir()
    plain, otherwise = open_test_app(tmp_path / "plain"), open_test_app(tmp_path / "otherwise")
    for feed in EXPECTED:
        name = FeedName.parse(feed)
        content = (SAMPLES / name.system / f"{name.table}.csv").read_bytes()
        file = OTHERWISE[way](content, tmp_path / f"{feed}.csv")
        load_sample(plain, feed)
        (result,) = load(otherwise.runner, otherwise.settings, name, str(file), CsvOptions())

        assert result.run is not None
        assert EXPECTED[feed][:3] == (result.run.read, result.run.inserted, result.run.rejected), feed
        assert table(tmp_path / "plain", feed) == table(tmp_path / "otherwise", feed), feed


WHOLE = (
    "genius.marketing_source_types",
    "genius.users",
    "hubspot.zip_codes",
    "salespro.appointments",
    "salespro.users",
)
"""Feeds whose samples have no record that does not fit: in a spreadsheet there is none."""


@pytest.mark.parametrize("feed", WHOLE)
def test_a_sample_is_the_same_rows_as_a_spreadsheet(app, tmp_path, feed: str) -> None:
    name = FeedName.parse(feed)
    file = as_spreadsheet((SAMPLES / name.system / f"{name.table}.csv").read_bytes(), tmp_path / "sample.xlsx")
    load_sample(app, feed)
    expected = table(tmp_path, feed)

    (result,) = load(app.runner, app.settings, name, str(file), CsvOptions())

    assert result.run is not None
    assert (EXPECTED[feed][0], EXPECTED[feed][1]) == (result.run.read, result.run.unchanged)
    assert expected == table(tmp_path, feed)


def test_a_zip_code_that_a_full_lacks_is_deleted_and_comes_back(app, tmp_path) -> None:
    name = FeedName("hubspot", "zip_codes")
    short = tmp_path / "zip_codes.csv"
    short.write_text("zipcode,division\n2108,Boston\n01608,Boston\n", encoding="utf-8")

    load_sample(app, str(name))
    full = CsvOptions(full=True, exported_at="2026-02-23T12:00:00.000000", max_delete_share=1.0)
    (result,) = load(app.runner, app.settings, name, str(short), full)
    gone = stored(tmp_path, str(name), "83702")["DeletedAt"]
    load_sample(app, str(name), again=True, exported_at="2026-02-24T12:00:00.000000")

    assert result.run is not None
    assert 6 == result.run.absent
    assert "2026-02-23 12:00:00" == gone
    assert stored(tmp_path, str(name), "83702")["DeletedAt"] is None

"""Text files become rows by a layout, and no row is lost on the way."""

from __future__ import annotations

import datetime as dt
import json
import re

from dataclasses import replace
from pathlib import Path

import pytest

from shared.errors import ConfigError, DataError
from shared.model import OUTCOMES, FeedName, Run
from shared.pipeline import csv, replay
from shared.pipeline.csv import CsvOptions, CsvResult
from shared.pipeline.progress import Progress
from tests.exports import Clock, open_test_app

CATALOG = """
[system]
name = "crm"
source = "csv"

[tables.leads]
keys = ["lead_id"]
cursor = false
max_reject_share = 0.6

[tables.leads.columns]
lead_id = { cleaner = "text", aliases = ["id"] }
phone = { cleaner = "phone", aliases = ["mobile"], several = "coalesce" }
email = { cleaner = "email" }
born = { type = "date", cleaner = "date" }
"""
FEED = FeedName("crm", "leads")


class Leads:
    """A folder with files, and an app to load them."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        (folder / "catalog").mkdir(exist_ok=True)
        (folder / "catalog" / "crm.toml").write_text(CATALOG, encoding="utf-8")
        self.app = open_test_app(folder, Clock(), CATALOG_PATH=str(folder / "catalog"), **env)

    def write(self, text: str | bytes, name: str = "leads.csv") -> str:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(file)

    def load(self, location: str, **options: object) -> list[CsvResult]:
        return list(csv.load(self.app.runner, self.app.settings, FEED, location, CsvOptions(**options)))  # type: ignore[arg-type]

    def loaded(self, text: str | bytes, **options: object) -> Run:
        (result,) = self.load(self.write(text), **options)
        assert result.run is not None
        assert result.run.error is None
        assert result.run.read == sum(getattr(result.run, outcome) for outcome in OUTCOMES)
        return result.run

    def rows(self, columns: str = "lead_id, phone, email, born") -> list[tuple[object, ...]]:
        with self.app.warehouse._session() as session:  # type: ignore[attr-defined]
            query = f'SELECT {columns} FROM crm.leads WHERE "DeletedAt" IS NULL ORDER BY lead_id'
            return list(session.connection.execute(query).fetchall())

    def rejects(self) -> list[tuple[object, ...]]:
        return [(one["code"], one["column"], json.loads(one["raw"])) for one in self.app.warehouse.rejects("crm.leads")]


@pytest.fixture
def loader(tmp_path: Path) -> Leads:
    return Leads(tmp_path)


def test_rows_are_mapped_cleaned_and_loaded(loader):
    run = loader.loaded("Lead-ID,Mobile,Phone,E-Mail\na,(512) 555-0100,,A@Example.com\nb,,512-555-0101,\n")

    assert (2, 2) == (run.read, run.inserted)
    assert [("a", "+15125550100", "a@example.com"), ("b", "+15125550101", None)] == loader.rows("lead_id, phone, email")


def test_what_no_column_takes_is_kept_in_extra(loader):
    loader.loaded("id,Roof,Note\na,slate,\nb,,\n")

    assert [("a", '{"Roof": "slate"}'), ("b", None)] == loader.rows('lead_id, "Extra"')


def test_a_row_with_a_bad_value_is_loaded_without_it_and_one_without_key_is_rejected(loader):
    """With the row as the file has it."""
    run = loader.loaded("id,email\na,nobody\n,b@example.com\n")

    assert (1, 1, 1) == (run.inserted, run.rejected, run.values_rejected)
    assert [("a", None)] == loader.rows("lead_id, email")
    assert [
        ("key_null", "lead_id", {"id": "", "email": "b@example.com"}),
        ("not_an_email", "email", {"id": "a", "email": "nobody"}),
    ] == sorted(loader.rejects(), key=str)


def test_a_record_that_does_not_fit_the_header_is_rejected_with_its_text_line_and_byte(loader):
    """And counts as read."""
    run = loader.loaded("id,email,phone\na,a@example.com,\nb,b@example.com\nc,c@example.com,\n")

    assert (3, 2, 1) == (run.read, run.inserted, run.rejected)
    (reject,) = loader.app.warehouse.rejects("crm.leads")
    assert reject["place"].endswith("leads.csv line 3, byte 32")
    assert {"raw record": "b,b@example.com"} == json.loads(reject["raw"])


@pytest.mark.parametrize(
    ("dates", "born"),
    [
        (["03/04/1980", "25/12/1980"], [dt.date(1980, 4, 3), dt.date(1980, 12, 25)]),
        (["03/04/1980", "12/25/1980"], [dt.date(1980, 3, 4), dt.date(1980, 12, 25)]),
        (["03/04/1980", "05/06/1980"], [dt.date(1980, 3, 4), dt.date(1980, 5, 6)]),
        (
            ["25/12/1980", "12/25/1980", "03/04/1980"],
            [dt.date(1980, 12, 25), dt.date(1980, 12, 25), dt.date(1980, 3, 4)],
        ),
    ],
    ids=["the day is first", "the month is first", "nothing shows it", "both"],
)
def test_day_and_month_are_decided_by_the_other_dates_of_the_file_or_else_by_the_catalog(loader, dates, born):
    loader.loaded("id,born\n" + "".join(f"{n},{date}\n" for n, date in enumerate(dates)))

    assert born == [row[0] for row in loader.rows("born")]


def test_dates_beyond_the_first_batch_count_too(tmp_path):
    loader = Leads(tmp_path, BATCH_SIZE="2")

    loader.loaded("id,born\na,03/04/1980\nb,05/06/1980\nc,25/12/1980\n")

    assert dt.date(1980, 4, 3) == loader.rows("born")[0][0]


def test_the_same_content_under_another_name_is_not_loaded_again(loader):
    text = "id\na\n"
    loader.loaded(text)

    (again,) = loader.load(loader.write(text, "copy.csv"))
    (forced,) = loader.load(loader.write(text, "copy.csv"), again=True)

    assert "already loaded (--again repeats it)" == again.skipped
    assert 1 == forced.run.unchanged


def test_a_dry_run_shows_how_the_file_is_understood_and_changes_nothing(loader):
    """Its notes, the column of each header, suggestions, what is missing, a sample, and what is rejected."""
    (result,) = loader.load(loader.write("id;emial;born\na;a@example.com;31.12.1980\nb\n;;\n"), dry_run=True)

    preview = result.preview
    assert (True, True) == ("semicolon" in " ".join(preview.notes), "day first" in " ".join(preview.notes))
    assert {"lead_id": "id", "born": "born"} == {c.name: c.source for c in preview.columns if c.source}
    assert (("emial",), {"emial": "email"}, ("phone", "email")) == (
        preview.unmapped, dict(preview.suggestions), preview.missing
    )  # fmt: skip
    before, after = preview.sample[0]
    assert {"id": "a", "emial": "a@example.com", "born": "31.12.1980"} == before
    assert ("a", dt.date(1980, 12, 31)) == (after["lead_id"], after["born"])
    assert {"too_few_fields": 1} == dict(result.reasons)
    assert ("dry", 1) == (result.run.status, result.run.inserted)
    assert ([], []) == (loader.app.warehouse.runs(), loader.rejects())


def test_a_choice_maps_a_header_and_options_declare_the_dialect(loader):
    (result,) = loader.load(
        loader.write("id|second mail|email\na|x@example.com|y@example.com\n"),
        choices={"second mail": "email"}, dialect={"delimiter": "|"},
    )  # fmt: skip

    assert 1 == result.run.inserted
    assert [("a", "x@example.com")] == loader.rows("lead_id, email")


def test_without_header_the_columns_are_in_the_order_of_the_catalog(loader):
    loader.loaded("a,512-555-0100,a@example.com,1980-01-02\n", dialect={"header": False})

    assert [("a", "+15125550100", "a@example.com", dt.date(1980, 1, 2))] == loader.rows()


def test_a_full_deletes_what_it_lacks_and_needs_its_time(loader):
    """A local file's own time says nothing of when it was exported."""
    loader.loaded("id\n" + "".join(f"{n}\n" for n in range(9)))

    undated = loader.loaded("id\n1\n", full=True)
    dated = loader.loaded("id\n2\n", full=True, exported_at="2026-02-24T10:00:00.000000")

    assert (0, "merged as a delta: its time is unknown (see --exported-at)") == (undated.absent, undated.note)
    assert (8, [("2",)]) == (dated.absent, loader.rows("lead_id"))


def test_all_text_files_of_a_folder_are_loaded_in_the_order_of_their_names(loader):
    """A later one wins where rows have no cursor; other files are left alone."""
    loader.write("id,email\na,two@example.com\n", "in/2.csv")
    loader.write("id,email\na,one@example.com\n", "in/1.tsv")
    loader.write("x", "in/readme.md")

    results = loader.load(str(loader.folder / "in"))

    assert ["1.tsv", "2.csv"] == [result.place.rpartition("/")[2] for result in results]
    assert [("a", "two@example.com")] == loader.rows("lead_id, email")


def test_a_folder_without_text_files_is_refused(loader):
    loader.write("x", "in/readme.md")
    loader.write("x", "in/notes.md")

    with pytest.raises(ConfigError, match="there is no text file in that folder, of 2 files"):
        loader.load(str(loader.folder / "in"))


def test_a_feed_without_layout_is_refused_with_those_that_have_one(loader):
    with pytest.raises(ConfigError, match="no layout for crm deals; known are crm leads"):
        list(csv.load(loader.app.runner, loader.app.settings, FeedName("crm", "deals"), "x", CsvOptions()))


def test_corrected_rejects_are_read_by_the_headers_and_dates_of_their_file(loader):
    """By the choice that its load had, and with the day first, which the one row does not show."""
    loader.load(
        loader.write("key;mail;born\na;a@example.com;25.12.1980\n;b@example.com;03.04.1980\n"),
        choices={"key": "lead_id", "mail": "email"},
    )
    file = loader.folder / "bad.csv"
    with file.open("wb") as out:
        replay.write_rejects(loader.app.warehouse, "crm.leads", None, out)
    header, rejected = file.read_text().splitlines()
    corrected = rejected.replace(',"","b@example.com"', ',"b","b@example.com"')
    file.write_text(f"{header}\n{corrected}\n")

    (result,) = replay.replay(loader.app.runner, "crm.leads", file)

    assert 1 == result.run.inserted
    assert ("b", "b@example.com", dt.date(1980, 4, 3)) == loader.rows("lead_id, email, born")[1]


def test_what_is_inferred_loads_the_file_it_was_inferred_from(loader):
    """Saved as it is printed."""
    file = loader.write(
        "Deal ID,Amount,Closed On,Phone No,Active?,Zip Code,E-Mail\n"
        + "".join(f"D{n},\"$1,{n:03}.50\",{n % 28 + 1}/2/2026,512-555-01{n:02},yes,0{n + 1000},d{n}@example.com\n"
                  for n in range(60))
    )  # fmt: skip

    text = csv.inferred(loader.app.settings, file, system="deals", table="deals")
    (loader.folder / "catalog" / "deals.toml").write_text(text)
    loader.app = open_test_app(loader.folder, Clock(), CATALOG_PATH=str(loader.folder / "catalog"))
    (result,) = csv.load(loader.app.runner, loader.app.settings, FeedName("deals", "deals"), file, CsvOptions())

    assert 'keys = ["deal_id"]' in text
    assert (60, 0, 0) == (result.run.inserted, result.run.rejected, result.run.values_rejected)
    assert {
        "deal_id": "text", "amount": "decimal(18,4)", "closed_on": "date", "phone_no": "text", "active": "boolean",
        "zip_code": "text", "e_mail": "text", "Extra": "text",
    }.items() <= dict(loader.app.warehouse.profile(loader.app.systems["deals"].feeds()[0]).columns).items()  # fmt: skip


def test_what_is_unsure_in_an_inferred_entry_is_marked(loader):
    text = csv.inferred(
        loader.app.settings,
        loader.write("name,email\n" + "x,a@example.com\n" * 9 + "x,nobody\n"),
        system=None,
        table=None,
    )

    assert "# unsure: 1 of 10 values are no email" in text
    assert "rows have no" in text


def test_nothing_is_inferred_from_a_file_without_rows(loader):
    with pytest.raises(DataError, match="has no rows to infer a layout from"):
        csv.inferred(loader.app.settings, loader.write("id,email\n"), system=None, table=None)


def test_rows_that_refer_to_a_missing_key_are_loaded_and_noted_in_their_run(tmp_path):
    """And no longer once the key is there."""
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "crm.toml").write_text(
        '[system]\nname = "crm"\nsource = "csv"\n[defaults]\ncursor = false\n'
        '[tables.users]\nkeys = ["user_id"]\ncolumns = { user_id = { type = "bigint" } }\n'
        '[tables.leads]\nkeys = ["lead_id"]\n'
        'columns = { lead_id = {}, owner = { type = "bigint", references = "crm.users.user_id" } }\n'
    )
    app = open_test_app(tmp_path, Clock(), CATALOG_PATH=str(tmp_path / "catalog"))

    def load(table: str, text: str) -> Run:
        (tmp_path / f"{table}.csv").write_text(text)
        location = str(tmp_path / f"{table}.csv")
        (result,) = csv.load(app.runner, app.settings, FeedName("crm", table), location, CsvOptions())
        assert result.run is not None
        return result.run

    load("users", "user_id\n1\n")
    first = load("leads", "lead_id,owner\na,1\nb,2\nc,\n")
    load("users", "user_id\n2\n")
    second = load("leads", "lead_id,owner\nd,2\n")

    assert ("1 row refers by owner to a key that crm.users.user_id does not have", None) == (first.note, second.note)
    assert first == app.warehouse.run(first.id)
    assert [] == app.warehouse.orphans(app.systems["crm"].feed("leads", ()))


def test_progress_counts_the_bytes_of_the_file_and_tells_the_rows_and_how_fast_they_come(tmp_path):
    seen: list[object] = []

    class Seen(Progress):
        def start(self, label: str, rows: int) -> None:
            seen.append((label, rows))

        def rows(self, count: int) -> None:
            seen.append(count)

        def detail(self, text: str) -> None:
            seen.append(text)

    loader = Leads(tmp_path)
    ticks = iter(range(1_000))
    runner = replace(loader.app.runner, timer=lambda: float(next(ticks)))
    text = "id\n" + "".join(f"{n}\n" for n in range(1_000))

    (result,) = csv.load(runner, loader.app.settings, FEED, loader.write(text), CsvOptions(), Seen())

    assert not result.failed
    assert ("crm.leads", len(text)) == seen[0]
    assert len(text) == sum(one for one in seen[1:] if isinstance(one, int))
    assert re.fullmatch(r"1,000 rows, \d+ rows/s", str([one for one in seen if isinstance(one, str)][-1]))


def test_what_a_file_has_beside_records_is_counted(loader):
    """Blank lines and rows, and the header once more."""
    text = "Leads of March\nid,email\na,\n\n , \nid,email\nb,\n"
    counts = {"rows above the header": 1, "blank lines": 1, "blank rows": 1, "repeated header rows": 1}

    (preview,) = loader.load(loader.write(text), dry_run=True)
    (result,) = loader.load(loader.write(text))

    assert counts == dict(preview.left_out) == dict(result.left_out)
    assert "left out 1 rows above the header, 1 blank lines, 1 blank rows, 1 repeated header rows" == result.run.note
    assert result.run.note == loader.app.warehouse.runs()[0].note
    assert (2, 2) == (result.run.read, result.run.inserted)


def test_a_file_of_nothing_but_records_leaves_nothing_to_note(loader):
    (result,) = loader.load(loader.write("id,email\na,\n"))

    assert ({}, None) == (dict(result.left_out), result.run.note)

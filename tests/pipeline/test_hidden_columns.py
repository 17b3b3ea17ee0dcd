"""Columns that are renamed, hashed or masked: no clear value is found in anything that the app has written."""

from __future__ import annotations

import logging

from pathlib import Path

import pyarrow as pa
import pytest

from shared.catalog import read
from shared.contract.hidden import value_hash
from shared.errors import ConfigError
from shared.model import FeedName
from shared.pipeline import csv
from shared.pipeline.csv import CsvOptions
from shared.pipeline.replay import replay, write_rejects
from tests.advice import advises
from tests.exports import Clock, open_test_app
from tests.suites.warehouse_case import CATALOG, WarehouseCase, row
from tests.suites.warehouse_erase import SECRET, erased
from tests.suites.warehouse_keys import compare

KEY = "k" * 32
MAIL, PHONE, NOTE = "gretchen.quartz@example.org", "+4915155501234", "Zyxwvut"
HIDDEN = 'hash = ["Mail"]\nmask = { Phone = "last4", Note = "all" }\nrename = { Remark = "Note", Nm = "FullName" }'
TYPES = {"Mail": pa.string(), "Phone": pa.string(), "Remark": pa.string(), "Nm": pa.string()}
PERSON = {"Mail": MAIL, "Phone": PHONE, "Remark": NOTE, "Nm": "Ada"}
LEADS = """
[system]
name = "crm"
source = "csv"
[tables.leads]
keys = ["email"]
cursor = false
max_reject_share = 1
hash = ["email"]
mask = { phone = "last4" }
[tables.leads.columns]
email = { cleaner = "email", aliases = ["mail", "e-mail"] }
phone = { cleaner = "phone" }
born = { type = "date", cleaner = "date", required = true }
"""


def open_case(folder: Path, **env: str) -> WarehouseCase:
    import duckdb

    def query(statement):
        with duckdb.connect(str(folder / "warehouse.duckdb")) as db:
            return db.execute(statement).fetchall()

    return WarehouseCase(folder, query, **{"HASH_KEY": KEY, "KEEP_OUT_KEY": SECRET, **env})


@pytest.fixture
def case(tmp_path):
    return open_case(tmp_path)


def declare(case, options=HIDDEN):
    case.catalog(CATALOG.replace("[undeclared]", f"{options}\n[undeclared]"))


def clear(folder: Path) -> list[str]:
    """Files but exports that have a clear value; those of a lake are decompressed."""
    marks = [MAIL.encode(), PHONE.encode(), NOTE.encode()]
    written = [path for path in folder.rglob("*") if path.is_file() and not {"Full", "Delta"} & set(path.parts)]
    return [path.name for path in written if any(mark in _content(path) for mark in marks)]


def _content(path: Path) -> bytes:
    if path.suffix == ".parquet":
        return str(pa.parquet.read_table(path).to_pydict()).encode() + path.read_bytes()
    return path.read_bytes()


@pytest.mark.parametrize("warehouse", ["duckdb", "lake"])
def test_no_file_or_log_has_a_clear_value(tmp_path, caplog, monkeypatch, warehouse):
    """Of rows loaded, rejected and staged, of a dry run, a failed merge, and of a run that broke off half-way."""
    caplog.set_level(logging.DEBUG)
    url = f"lake:///{tmp_path}/lake" if warehouse == "lake" else f"duckdb:///{tmp_path}/warehouse.duckdb"
    case = open_case(tmp_path, WAREHOUSE_URL=url)
    declare(case)
    rows = [row(1, **PERSON), row(None, **PERSON), row(2, modified=900, **PERSON)]

    dry = case.load(case.write("full", 5, rows, types=TYPES), dry_run=True, max_reject_share=1)
    run = case.loaded("full", 5.5, *rows, types=TYPES, options={"max_reject_share": 1})
    failed = case.load(case.write("full", 6, rows, types=TYPES), max_reject_share=0)
    monkeypatch.setattr("shared.pipeline.runner.Runner.tidy", lambda *_args, **_kw: None)
    case.load(case.write("delta", 7, [row(3, **PERSON), row(3, **PERSON)], types=TYPES))

    rejects = list(case.app.warehouse.rejects("shop.item"))
    assert (1, 2, 4) == (run.inserted, run.rejected, len(rejects))
    assert failed.failed
    assert [] == clear(tmp_path)
    for seen in (str(dry), str(rejects), caplog.text):
        assert not any(mark in seen for mark in (MAIL, PHONE, NOTE))
    assert value_hash(KEY, MAIL) in str(rejects[0]["raw"])


def test_rows_are_hidden_and_renamed_in_the_table(case):
    """Loading them again changes nothing."""
    declare(case)
    case.loaded("full", 5, row(1, **PERSON), types=TYPES)

    again = case.loaded("full", 6, row(1, **PERSON), types=TYPES)

    assert 1 == again.unchanged
    assert [(value_hash(KEY, MAIL), "****1234", "****", "Ada")] == case.rows("Mail", "Phone", "Note", "FullName")
    assert not {"Remark", "Nm"} & set(case.columns())


def test_a_plain_file_is_not_read_past_its_policies(case, reading):
    """DuckDB reads it by itself only where a column is but renamed."""
    case.catalog(CATALOG.replace("[undeclared]", 'rename = { Nm = "FullName" }\n[undeclared]'))
    case.loaded("full", 5, row(1, Nm="Ada"), types={"Nm": pa.string()})
    declare(case, 'hash = ["Name"]')
    case.loaded("full", 5, row(1, MAIL), table="hard")

    assert [("Ada",)] == case.rows("FullName")
    assert [(value_hash(KEY, MAIL),)] == case.rows("Name", table="hard")


def test_names_that_no_column_has_are_noted(case):
    """They may be misspelt."""
    declare(case, 'hash = ["Mial"]\nmask = { Phnoe = "all" }\nrename = { Remrak = "Note" }')

    note = case.loaded("full", 5, row(1, **PERSON), types=TYPES).note

    assert (
        "there is no column 'Remrak' to rename; there is no column 'Mial' to hash; there is no column 'Phnoe' to mask"
        == note
    )


def test_without_the_key_nothing_is_read(tmp_path):
    case = open_case(tmp_path, HASH_KEY="")
    declare(case)

    said = case.refused("full", 5, row(1, **PERSON), types=TYPES)

    assert "there is no HASH_KEY to hash 'Mail' of shop.item with" in said
    assert [] == clear(tmp_path)


@pytest.mark.parametrize("options", ['hash = ["Mail"]', 'mask = { Mail = "email" }', 'hash = ["Size"]'])
def test_a_table_with_clear_values_is_not_loaded_into(case, options):
    """Its advice is followed: dropped and loaded anew it has none."""
    types = {**TYPES, "Size": pa.int64()}
    case.loaded("full", 5, row(1, **PERSON, Size=1), types=types)
    declare(case, options)

    said = case.refused("full", 6, row(1, **PERSON, Size=1), types=types)

    advises("Drop table {} and load a full export with --again", said)
    assert "is to be hashed or masked, but the table has values of it in clear" in said
    case.query("DROP TABLE shop.item CASCADE")
    assert 1 == case.loaded("full", 7, row(1, **PERSON, Size=1), types=types).inserted


def test_a_hashed_key_finds_its_row_and_is_erased_by_the_clear_one(case):
    """It stays out, too. Keys of any type; a declared one says which are equal."""
    declare(case, 'hash = ["ItemId"]\ntypes = { ItemId = "bigint" }')
    case.loaded("full", 5, row("007", "Ada", 1), row("8", "Bob", 1), key=pa.string())
    updated = case.loaded("delta", 6, row("7", "Eva", 2), row("7", "late", 900), key=pa.string(),
                          options={"max_reject_share": 1})  # fmt: skip

    done = erased(case, "07", feed="shop.item", keep_out=True)
    again = case.loaded("delta", 7, row("7", "Eva", 3), key=pa.string())

    assert (1, 1) == (updated.updated, updated.rejected)
    assert (1, 1) == (done.rows, done.rejects)
    assert (1, 0) == (again.rejected, again.inserted)
    assert [(value_hash(KEY, 8),)] == case.rows("ItemId")


def test_hashed_keys_are_compared_with_those_of_the_source(case):
    """A key that the source no longer has is deleted, by its hash."""
    declare(case, 'hash = ["ItemId"]')
    case.loaded("full", 5, row(1), row(2))

    run, _ = compare(case, pa.record_batch({"ItemId": pa.array([2])}))

    assert (1, 1) == (run.unchanged, run.absent)
    assert [(True,), (False,)] == [
        (deleted is None,)
        for key, deleted in sorted(case.rows("ItemId", "DeletedAt"), key=lambda one: one[1] is not None)
    ]


# -- text files


@pytest.fixture
def leads(tmp_path):
    folder = tmp_path / "catalog"
    folder.mkdir()
    (folder / "crm.toml").write_text(LEADS, encoding="utf-8")
    return open_test_app(tmp_path, Clock(), CATALOG_PATH=str(folder), HASH_KEY=KEY)


def load(app, text: str, **options):
    file = app_folder(app) / "leads.csv"
    file.write_text(text, encoding="utf-8")
    (result,) = csv.load(app.runner, app.settings, FeedName("crm", "leads"), str(file), CsvOptions(**options))
    file.unlink()
    return result


def app_folder(app) -> Path:
    return Path(app.settings.catalog_path).parent


BAD = f'email,mail,phone,born\n{MAIL.upper()},{MAIL},{PHONE},1.2.1990\n{MAIL},,{PHONE},never\n{MAIL},{PHONE},"{NOTE}\n'


def test_no_file_has_a_clear_value_of_a_text_file(leads, tmp_path):
    """Values are hashed as they are cleaned. An alias that is not stored is hidden too, and a record that is no row."""
    dry = load(leads, BAD, dry_run=True)
    run = load(leads, BAD).run

    assert (1, 2) == (run.inserted, run.rejected)
    assert [] == clear(tmp_path)
    for seen in (str(dry), str(list(leads.warehouse.rejects("crm.leads")))):
        assert not any(mark in seen for mark in (MAIL, MAIL.upper(), PHONE, NOTE))


def test_corrected_rows_keep_their_hashes(leads, tmp_path):
    """Those that were hidden are not hidden twice; what a person writes in clear is."""
    run = load(leads, f"email,phone,born\n{MAIL},{PHONE},never\nb@example.org,{PHONE},never\n").run
    file = tmp_path / "rejects.csv"
    with file.open("wb") as out:
        write_rejects(leads.warehouse, "crm.leads", run.id, out)
    corrected = file.read_text(encoding="utf-8-sig").replace("never", "1990-02-01")
    file.write_text(corrected.replace(value_hash(KEY, "b@example.org"), "B@example.org"), encoding="utf-8")

    (result,) = replay(leads.runner, "crm.leads", file)
    again = load(leads, f"email,phone,born\n{MAIL},{PHONE},1990-02-01\nb@example.org,{PHONE},1990-02-01\n").run

    assert (None, 2) == (result.run.error, result.run.inserted)
    assert (2, 0) == (again.unchanged, again.updated)


# -- the catalog


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ('hash = ["Mail"]\nmask = { mail = "all" }', "'mail' cannot be hashed and masked"),
        ('hash = ["ModifiedOn"]', "'ModifiedOn' cannot be hashed or masked, as values are compared by it"),
        ('mask = { HardId = "all" }', "'HardId' cannot be masked, as it is a key: hash it"),
        ('mask = { Mail = "some" }', "mask must be a table of columns, each once, with how they are masked"),
        ('exclude = ["Mail"]\nhash = ["Mail"]', "'Mail' is excluded: leave it out under hash and mask"),
        ('exclude = ["Mail"]\nrename = { Mail = "Email" }', "'Mail' is excluded: leave it out under rename"),
        ('rename = { HardId = "Id" }', "'HardId' cannot be renamed, as another option names it"),
        ('rename = { A = "X", B = "x" }', "rename must be a table of columns of the source, each once"),
        ('rename = { A = "SyncedAt" }', "rename must be a table of columns of the source, each once"),
        ('on_type_change = "ask"', "on_type_change must be 'stop' or 'text'"),
        (
            'hash = ["Mail"]\nchecks = [{ kind = "matches", columns = ["Mail"], pattern = "a", then = "warn" }]',
            "check 1: matches cannot look at 'Mail', which is hashed or masked",
        ),
    ],
)
def test_the_catalog_refuses_what_cannot_be(tmp_path, options, said):
    head = '[system]\nname = "shop"\nsource = "exports"\n[tables.hard]\nkeys = ["HardId"]\ncursor = "ModifiedOn"\n'
    (tmp_path / "shop.toml").write_text(head + options, encoding="utf-8")

    with pytest.raises(ConfigError) as error:
        read(tmp_path)

    assert said in str(error.value)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ('rename = { a = "b" }', "a feed of text files takes no rename: give its columns aliases"),
        ('on_type_change = "text"', "a feed of text files takes no on_type_change"),
    ],
)
def test_the_catalog_refuses_what_text_files_do_not_have(tmp_path, option, said):
    (tmp_path / "crm.toml").write_text(LEADS.replace("cursor = false", f"cursor = false\n{option}"), encoding="utf-8")

    with pytest.raises(ConfigError) as error:
        read(tmp_path)

    assert said in str(error.value)

"""A ledger that is refused is named or left alone as the error says, and then it answers."""

from __future__ import annotations

import sqlite3

from dataclasses import replace
from typing import Any

import pytest

from azure.core.exceptions import ClientAuthenticationError

from shared.azure import identity
from shared.ledger import Ledger, open_ledger, sqlite
from shared.ledger.tables import rows
from shared.model import Record, Watermark
from tests.advice import advised, follows
from tests.full_disk import files_of_at_most
from tests.ledger.tables_samples import HASTE, a_sas, many
from tests.suites.ledger_suite import FEED, done

RECORD = Record(work="w", name="w.parquet", run="r", status="done", times=1)


def opened(url: str) -> Ledger:
    return open_ledger(url, lock_timeout=0.1)


def answers(ledger: Ledger) -> None:
    ledger.commit("crm.item", [RECORD])
    assert "r" == ledger.known("crm.item", ["w"])["w"].run


WRONG: list[Any] = [
    follows("Write sqlite:///path/to/ledger.db", "sqlite://"),
    follows("Name another file in LEDGER_URL", "sqlite:///{}/text"),
    follows("Name another file in LEDGER_URL", "sqlite:///{}/folder", id="a folder"),
    follows("Name a folder in {} that can be written to", "sqlite:///{}/text/ledger.db"),
]


@pytest.mark.parametrize(("advice", "url"), WRONG)
def test_a_ledger_is_another_file(tmp_path, advice, url):
    (tmp_path / "text").write_text("this is not a database at all " * 99)
    (tmp_path / "folder").mkdir()

    with advised(advice):
        answers(opened(url.format(tmp_path)))

    answers(opened(f"sqlite:///{tmp_path}/folder/ledger.db"))


def test_a_ledger_that_another_process_has_open_is_waited_for(tmp_path):
    ledger = opened(f"sqlite:///{tmp_path}/ledger.db")
    answers(ledger)
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with advised("Load again when it is done, or raise WAREHOUSE_LOCK_TIMEOUT"):
        answers(ledger)

    other.execute("COMMIT")
    other.close()
    answers(ledger)


def test_a_ledger_gets_room_to_grow(tmp_path):
    ledger = opened(f"sqlite:///{tmp_path}/ledger.db")
    answers(ledger)
    with files_of_at_most(100_000), advised("Free some disk space there, and load again"):
        ledger.commit("crm.item", many(2_000))

    ledger.commit("crm.item", many(2_000))
    assert ledger.known("crm.item", ["w01999"])


def test_a_newer_ledger_is_read_by_a_newer_version(tmp_path, monkeypatch):
    ledger = opened(f"sqlite:///{tmp_path}/ledger.db")
    answers(ledger)
    with sqlite3.connect(tmp_path / "ledger.db") as db:
        db.execute(f"PRAGMA user_version = {sqlite.LAYOUT + 1}")

    with advised("Run a newer version of Sluice"):
        answers(ledger)

    monkeypatch.setattr(sqlite, "LAYOUT", sqlite.LAYOUT + 1)
    answers(ledger)


def test_a_run_that_was_overtaken_leaves_the_rest_to_the_next(tmp_path):
    ledger = opened(f"sqlite:///{tmp_path}/ledger.db")
    before = ledger.watermark("crm.item")
    ledger.rewind("crm.item", Watermark("5", "bigint"))

    with advised("Nothing to do: the next run continues"):
        ledger.commit("crm.item", [replace(RECORD, work="v")], Watermark("4", "bigint", before.etag))

    now = ledger.watermark("crm.item")
    ledger.commit("crm.item", [replace(RECORD, work="v")], Watermark("6", "bigint", now.etag))
    assert "6" == ledger.watermark("crm.item").value


# -- Table Storage


ALL = {"read": True, "add": True, "update": True, "delete": True, "create": True}


def test_a_sas_is_made_with_all_rights(azurite, url):
    with advised("Ask for a SAS of the account with ss=t, srt=co and sp=raudc that holds for this network"):
        answers(opened(f"{url}?{a_sas(azurite, read=True)}"))

    answers(opened(f"{url}?{a_sas(azurite, **ALL)}"))


def test_a_sas_that_has_expired_is_replaced(azurite, url, wire):
    """By Azure's code for it, which Azurite does not use."""
    wire.answer(403, "AuthenticationFailed", times=None)
    with advised("Check that the SAS has not expired and is complete, or ask for a new one"):
        answers(opened(f"{wire.url(url)}?{a_sas(azurite, **ALL)}"))

    answers(opened(f"{url}?{a_sas(azurite, **ALL)}"))


def test_a_connection_string_is_copied_whole(azurite):
    with advised("Copy the connection string again from the access keys of the storage account"):
        answers(opened(azurite.connection_string.replace(azurite.key, azurite.key[:9])))

    answers(opened(azurite.connection_string))


def test_an_app_that_nobody_knows_signs_in_another_way(azurite, url, monkeypatch):
    def nobody(*_: object, **__: object) -> None:
        raise ClientAuthenticationError("nobody has signed in")

    monkeypatch.setattr(identity, "credential", type("Nobody", (), {"get_token": nobody}))
    with advised(
        "Give a URL with a SAS or a connection string, give the app a managed identity, or sign in with az login"
    ):
        answers(opened("https://acme.table.core.windows.net/ledger"))

    answers(opened(f"{url}?{a_sas(azurite, **ALL)}"))
    answers(opened(azurite.connection_string))


def test_a_ledger_is_in_table_storage(azurite, table):
    with advised("Set LEDGER_URL to https://<account>.table.core.windows.net/<table>"):
        answers(opened(azurite.blob_url))

    answers(opened(f"{azurite.table_url}/{table}"))


def test_a_feed_whose_rows_others_keep_changing_is_loaded_later(url, wire):
    ledger, other = open_ledger(wire.url(url), lock_timeout=HASTE), opened(url)
    answers(ledger)
    known = other.known("crm.item", ["w"])["w"].times
    wire.before("$batch", lambda: other.commit("crm.item", [replace(RECORD, run="s")]))

    with advised("Load it again when the other runs of that feed are done"):
        ledger.commit("crm.item", [replace(RECORD, run="t")])

    ledger.commit("crm.item", [replace(RECORD, run="t")])
    assert known + 2 == ledger.known("crm.item", ["w"])["w"].times


@pytest.mark.parametrize(
    ("advice", "too_much", "less"),
    [
        follows("Shorten its path", [replace(done(), name="x" * 600_000)], [replace(done(), name="x" * 900)]),
        follows("Export the table in fewer, larger files", "many", "few"),
    ],
)
def test_records_fit_into_the_ledger(url, monkeypatch, advice, too_much, less):
    """The limit on files is lowered here: hundreds of thousands of them take minutes."""
    monkeypatch.setattr(rows, "_MOST_PACKED", 2_000)
    samples = {"many": many(2_000), "few": many(20)}
    ledger = opened(url)
    with advised(advice):
        ledger.commit(FEED, samples.get(str(too_much), too_much))

    ledger.commit(FEED, samples.get(str(less), less))
    assert ledger.known(FEED, ["w1", "w00001"])

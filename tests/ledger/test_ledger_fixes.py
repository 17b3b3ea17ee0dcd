"""A ledger that is refused is named or left alone as the error says, and then it answers."""

from __future__ import annotations

import sqlite3

from dataclasses import replace
from typing import Any

import pytest

from shared.ledger import Ledger, open_ledger, sqlite
from shared.model import Record, Watermark
from tests.advice import advised, follows

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

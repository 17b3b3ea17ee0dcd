"""The ledger in Table Storage, against Azurite: limits, races, lost answers, refusals, and where LEDGER_URL points."""

from __future__ import annotations

import datetime as dt
import random

from dataclasses import replace

import pytest

from shared.errors import ConflictError, DataError
from shared.ledger import open_ledger
from shared.ledger.tables import rows
from shared.model import Record, Watermark
from shared.pipeline.folder import LoadOptions
from tests.exports import export_path, load_exports, open_test_app, write_parquet
from tests.ledger.tables_samples import MARK, PATIENCE, StoredTable, held, is_one_line, many
from tests.quick import quick_if
from tests.suites.ledger_suite import FEED, JANUARY, MARCH, StoredLedgerSuite, done, failed


class TestTablesLedger(StoredLedgerSuite):
    """What every ledger does."""

    @pytest.fixture
    def stored(self, azurite, table, monkeypatch):
        return StoredTable(azurite, table, monkeypatch)

    @pytest.fixture
    def second(self, url):
        return open_ledger(url, lock_timeout=PATIENCE)


def test_a_thousand_works_and_the_watermark_go_in_one_commit(ledger):
    """Ten times as many as a transaction takes; each is counted once, the watermark moves once."""
    records = many(1000)
    ledger.commit(FEED, records, MARK)
    before = ledger.watermark(FEED)
    ledger.commit(FEED, records, MARK)

    expected = {record.work: replace(record, times=1) for record in records}
    assert (before, (("10", "bigint"), expected)) == (ledger.watermark(FEED), held(ledger, records))


@pytest.mark.slow
def test_commit_with_an_old_etag_leaves_nothing_of_a_thousand_works(ledger):
    """Both or neither holds for any number of works."""
    ledger.commit(FEED, [done("first", "r0")], MARK)

    with pytest.raises(ConflictError, match="advanced by another run"):
        ledger.commit(FEED, many(1000), Watermark("20", "bigint"))
    assert (("10", "bigint"), {}) == held(ledger, many(1000))


@pytest.mark.parametrize("count", [quick_if(count in (99, 100), count) for count in (98, 99, 100, 101, 198, 199)])
def test_every_number_of_works_around_the_limit_is_recorded(ledger, count):
    """A transaction has a hundred rows, and the watermark or the journal is one of them."""
    ledger.commit(FEED, many(count), MARK)

    assert (("10", "bigint"), count) == (held(ledger, many(count))[0], len(held(ledger, many(count))[1]))


@pytest.mark.parametrize("character", ["x", "é", "鍵", "🔑"])
def test_long_names_come_back_whole(ledger, character):
    """Longer than one property may be, in any script; an id that is a character longer is another one."""
    long = character * 40_000
    record = Record(work=long, name=long, run="r1", status="done", times=0, exported_at=JANUARY)
    ledger.commit(FEED, [record], Watermark(long, "text"))

    assert ((long, "text"), {long: replace(record, times=1)}) == held(ledger, [record])
    assert {} == ledger.known(FEED, [long + character])


def test_works_with_long_names_take_several_transactions(ledger):
    """Few enough by number, but more than four megabytes."""
    records = [replace(done(f"w{n}"), name="鍵" * 30_000) for n in range(60)]
    ledger.commit(FEED, records, MARK)

    assert {record.work: replace(record, times=1) for record in records} == held(ledger, records)[1]


@pytest.mark.parametrize(
    "records",
    [
        [done("x" * 600_000)],
        [done(f"{n}{random.Random(n).randbytes(400).hex()}") for n in range(3000)],
    ],
    ids=["one id", "all ids"],
)
def test_what_cannot_be_kept_is_refused_before_anything_is(ledger, records):
    """A megabyte of one name, or of all of them however packed: nobody cuts an id."""
    with pytest.raises(DataError, match="than the ledger can") as caught:
        ledger.commit(FEED, records, MARK)
    assert is_one_line(caught.value)
    assert ((None, None), {}) == held(ledger, records[:1])


@pytest.mark.slow
def test_works_are_found_in_a_partition_with_many_others(ledger):
    """Some pages are looked through, and what lies beyond them is read one by one."""
    others = many(1500, "r0")
    ledger.commit(FEED, others)
    requested = [record.work for record in others[::10]]

    assert requested == list(ledger.known(FEED, [*requested, "never seen"]))


@pytest.mark.slow
def test_more_works_than_a_page_are_forgotten(ledger):
    """The service answers a thousand rows at a time; rows not asked for stay as they are."""
    ledger.commit(FEED, many(1050))
    ledger.commit(FEED, [failed("late", exported_at=MARCH)], MARK)

    reported = ledger.forget(FEED, JANUARY)

    statuses = {record.status for record in ledger.known(FEED, [record.work for record in many(1050)]).values()}
    assert (1051, {"forgotten"}) == (len(reported), statuses)
    assert "failed" == ledger.known(FEED, ["late"])["late"].status


def test_keys_hold_no_character_that_the_service_refuses():
    """And no two feeds share one, however alike their names begin."""
    names = ["a/b", "a\\b", "a#b", "a?b", "a~2Fb", "a\tb", "a\x00b", "a%2Fb", "é", "É", "x" * 2000, "x" * 2001]
    keys = [rows.partition(name) for name in names]

    assert len(names) == len(set(keys))
    assert all(key.isascii() and not set(key) & set("/\\#?%'\t\x00") and len(key) < 512 for key in keys)


def test_export_is_loaded_once(azurite, table, tmp_path):
    """The second load finds it in the ledger and passes it over; the table is made on the way."""
    rows_of = [{"LocationId": n, "ModifiedOn": dt.datetime(2026, 2, 1), "IsDeleted": False} for n in range(3)]  # noqa: DTZ001
    write_parquet(export_path(tmp_path / "exports", "full", "20260224000000", "location"), rows_of)

    def load():
        app = open_test_app(tmp_path, LEDGER_URL=f"{azurite.table_url}/{table}")
        return list(load_exports(app, str(tmp_path / "exports"), LoadOptions()))

    (first,), (second,) = load(), load()

    assert ("done", 3) == (first.run.status, first.run.inserted)
    assert (None, "already loaded (--again repeats it)") == (second.run, second.skipped)

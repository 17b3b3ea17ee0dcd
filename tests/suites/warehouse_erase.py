"""What every warehouse removes for good, and keeps out from then on."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from shared.documents.local import LocalDocuments
from shared.model import Run
from shared.pipeline.erase import ErasedFrom, EraseOptions, erase
from shared.warehouses import EraseRequest, Erasure
from tests.suites.warehouse_case import WarehouseCase, row

SECRET = "0123456789abcdef0123456789abcdef"
ANNA, BEA = "anna@example.org", "bea@example.org"
TEXT = {"key": pa.string(), "table": "person"}


def erased(case: WarehouseCase, *words: str, feed: str = "shop.person", **options: Any) -> Erasure:
    """What `sluice erase` removes from the warehouse."""
    (found,) = [one.erasure for one in erased_from(case, feed, *words, **options) if one.erasure]
    return found


def erased_from(case: WarehouseCase, feed: str, *words: str, **options: Any) -> list[ErasedFrom]:
    wanted = EraseOptions(requested_by="ada", stuck_after=60, **options)
    return erase(case.app.runner, LocalDocuments(case.folder / "state"), feed, words, wanted)


def everything(case: WarehouseCase) -> str:
    return repr({name: rows for name, rows in case.contents().items() if name != "ledger"})


class Erase:
    """Erasing keys of a feed."""

    @pytest.fixture
    def persons(self, case: WarehouseCase) -> WarehouseCase:
        """Anna and Bea are stored, and a row of each was rejected for its cursor."""
        first = case.loaded("full", 5, row(ANNA, "Anna", 1), row(BEA, "Bea", 1), **TEXT)
        late = [row(key, "Later", 100) for key in (ANNA, BEA)]
        second = case.loaded("delta", 6, *late, options={"max_reject_share": 1}, **TEXT)
        assert (2, 2) == (first.inserted, second.rejected)
        return case

    def test_all_of_a_key_goes_and_nothing_of_the_others(self, persons):
        """From the table, its view and the rejects; the record says how much, and not of whom."""
        assert ANNA in everything(persons)

        done = erased(persons, ANNA)

        assert (1, 0, 1) == (done.rows, done.history, done.rejects)
        assert [done] == persons.app.warehouse.erasures("shop.person")
        assert ("ada", ()) == (done.requested_by, done.kept_out)
        assert [(BEA,)] == persons.rows("PersonId", table="person")
        assert 1 == len(list(persons.app.warehouse.rejects("shop.person")))
        assert ANNA not in everything(persons)

    def test_dry_run_counts_and_leaves_all(self, persons):
        """Nor does it write a record."""
        before = persons.contents()

        done = erased(persons, ANNA, BEA, dry_run=True)

        assert (2, 2) == (done.rows, done.rejects)
        assert before == persons.contents()

    def test_erasing_again_finds_nothing_and_records_nothing(self, persons):
        """So it may be repeated by whoever is not sure."""
        first = erased(persons, ANNA)

        second = erased(persons, ANNA)

        assert not second.is_something
        assert [first] == persons.app.warehouse.erasures("shop.person")

    def test_row_comes_back_unless_it_is_kept_out(self, open_case):
        """The source still has it."""
        case = open_case(KEEP_OUT_KEY=SECRET)
        case.loaded("full", 5, row(ANNA, "Anna", 1), row(BEA, "Bea", 1), **TEXT)
        erased(case, ANNA)
        back = case.loaded("delta", 6, row(ANNA, "Anna", 2), **TEXT)
        erased(case, ANNA, keep_out=True)

        out = case.loaded("delta", 7, row(ANNA, "Anna", 3), row(BEA, "Bea", 3), **TEXT)

        assert (1, 0) == (back.inserted, back.rejected)
        assert (1, 1) == (out.updated, out.rejected)
        assert [("kept_out", "{}")] == [(one["code"], one["raw"]) for one in case.app.warehouse.rejects("shop.person")]
        assert ANNA not in everything(case)

    def test_full_with_a_key_that_is_kept_out_is_complete(self, open_case):
        """What it lacks is deleted, and alone a kept-out row is not too many rejects."""
        case = open_case(KEEP_OUT_KEY=SECRET)
        case.loaded("full", 5, row(ANNA, "Anna", 1), row(BEA, "Bea", 1), **TEXT)
        erased(case, ANNA, keep_out=True)

        run: Run = case.loaded("full", 6, row(ANNA, "Anna", 1), **TEXT)

        assert (True, 1, 1) == (run.complete, run.absent, run.rejected)

    def test_keys_of_several_columns_are_written_one_after_the_other(self, case):
        """A number is found as a number."""
        kinds = {"Line": pa.int32()}
        rows = [row(key, Line=line) for key in (1, 2) for line in (1, 2)]
        case.loaded("full", 5, *rows, table="pair", key_name="PairId", types=kinds)

        done = erased(case, "1", "2", "02", "1", feed="shop.pair")

        assert 2 == done.rows
        assert [(1, 1), (2, 2)] == sorted(case.rows("PairId", "Line", table="pair", order="PairId"))

    @pytest.mark.parametrize("key", ["a'b", 'x"]; --', "a ", "é", "%", "[a]", "Ä🔑"])
    def test_keys_are_taken_to_the_letter(self, case, key):
        """Whatever is in them."""
        others = [key.upper() + "x", key.strip() + "y", "other"]
        case.loaded("full", 5, *(row(one) for one in (key, *others)), **TEXT)

        done = erased(case, key)

        assert 1 == done.rows
        assert sorted((one,) for one in others) == sorted(case.rows("PersonId", table="person"))

    def test_quoted_values_in_texts_of_runs_are_masked(self, persons):
        """Errors quote the values that are wrong."""
        run = persons.app.warehouse.runs("shop.person")[0]
        persons.app.warehouse.annotate(run.id, f"it has {ANNA!r} and {BEA!r}")

        erased(persons, ANNA)

        assert f"it has '***' and {BEA!r}" == persons.app.warehouse.run(run.id).note

    def test_another_feed_with_that_key_is_left_alone(self, persons):
        """A key is of one feed."""
        persons.loaded("full", 5, row(ANNA, "Anna"), key=pa.string(), table="other")

        erased(persons, ANNA)

        assert [(ANNA,)] == persons.rows("OtherId", table="other")
        assert [] == persons.app.warehouse.erasures("shop.other")

    def test_record_of_a_retried_call_is_that_of_the_first(self, persons):
        """The answer of a commit may be lost."""
        done = erased(persons, ANNA)
        feed = persons.app.systems["shop"].feed("person", ["PersonId", "ModifiedOn", "IsDeleted"])
        request = EraseRequest(id=done.id, feed=feed, keys=[(ANNA,)], at=done.at, requested_by=done.requested_by)

        assert done == persons.app.warehouse.erase(request)

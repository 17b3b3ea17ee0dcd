"""What every ledger does: a class of tests that inherits from ``LedgerSuite`` and adds its fixtures runs them all."""

from __future__ import annotations

import threading

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol

import pytest

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError, ConflictError
from shared.model import Record, Unit, Watermark, WorkItem
from shared.pipeline import verbs

FEED = "coolr.location"
OTHER = "coolr.asset"
JANUARY, FEBRUARY, MARCH = (f"2026-0{month}-01T00:00:00.000000" for month in (1, 2, 3))
STARTED = "2026-04-01T00:00:00.000000"
HOSTILE = (
    "it's; DROP TABLE work; --",
    'quoted "name" [x]] `y`',
    "slashes/and\\back",
    "ключ 鍵 🔑 e\u0301",
    "%?#&=+ \t\n",
    "k" * 1_000,
)


def done(work: str = "w1", run: str = "r1", exported_at: str | None = JANUARY) -> Record:
    return Record(work=work, name=f"{work}.parquet", run=run, status="done", times=0, exported_at=exported_at)


def failed(work: str = "w1", run: str = "r1", exported_at: str | None = JANUARY) -> Record:
    return replace(done(work, run, exported_at), status="failed")


class Interrupted(Sequence[Record]):
    """Records of which only the first can be had."""

    def __init__(self, first: Record) -> None:
        self._first = first

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: Any) -> Any:
        if index == 0:
            return self._first
        raise InterruptedError

    def __iter__(self) -> Iterator[Record]:
        yield self._first
        raise InterruptedError


class LedgerSuite:
    """Fixtures to add: ``ledger``, empty, and ``second``, another way to the same ledger."""

    def test_feed_without_watermark_has_an_empty_one(self, ledger):
        """Nothing was taken yet: no value, no type, no etag."""
        assert Watermark(None, None, None) == ledger.watermark(FEED)

    def test_watermark_comes_back_as_it_was_set(self, ledger):
        """Value and column type are kept as text, and an etag is there to guard the next change."""
        ledger.commit(FEED, [done()], Watermark("10", "bigint"))

        seen = ledger.watermark(FEED)

        assert ("10", "bigint") == (seen.value, seen.type)
        assert seen.etag is not None

    def test_fingerprint_is_kept_with_the_watermark(self, ledger):
        """Also of a feed without cursor; a commit or a rewind without one removes it."""
        ledger.commit(FEED, [done()], Watermark(None, None, None, "f1"))
        first = ledger.watermark(FEED)
        ledger.commit(FEED, [done("w2", "r2")], Watermark("10", "bigint", first.etag))
        second = ledger.watermark(FEED)
        ledger.commit(FEED, [done("w3", "r3")], Watermark("10", "bigint", second.etag, "f3"))
        third = ledger.watermark(FEED)
        ledger.rewind(FEED, Watermark("3", "bigint"))

        assert ["f1", None, "f3", None] == [one.fingerprint for one in (first, second, third, ledger.watermark(FEED))]

    def test_watermark_may_have_no_value(self, ledger):
        """A table without a cursor moves the etag all the same."""
        ledger.commit(FEED, [done()], Watermark())

        seen = ledger.watermark(FEED)

        assert (None, None) == (seen.value, seen.type)
        assert seen.etag is not None

    def test_etag_changes_with_every_move(self, ledger):
        """Also when the value stays the same, so that no run takes another's move for its own view."""
        ledger.commit(FEED, [done("w1")], Watermark("10", "bigint"))
        first = ledger.watermark(FEED)
        ledger.commit(FEED, [done("w2", "r2")], first)
        second = ledger.watermark(FEED)

        assert first.value == second.value
        assert first.etag != second.etag

    def test_unknown_works_are_left_out(self, ledger):
        """What was never seen is not in the answer, what was is, as it was recorded."""
        ledger.commit(FEED, [done("w1")])

        assert {"w1": replace(done("w1"), times=1)} == ledger.known(FEED, ["w1", "w2"])

    def test_nothing_is_known_of_no_works(self, ledger):
        """An empty question has an empty answer."""
        ledger.commit(FEED, [done("w1")])

        assert {} == ledger.known(FEED, [])

    def test_many_works_go_in_one_commit(self, ledger):
        """An export of several hundred part files is one unit of work."""
        work_items = [f"w{n}" for n in range(500)]

        ledger.commit(FEED, [done(work) for work in work_items], Watermark("1", "bigint"))

        assert work_items == list(ledger.known(FEED, work_items))

    def test_commit_without_mark_leaves_the_watermark(self, ledger):
        """Failures are recorded so."""
        ledger.commit(FEED, [done("w1")], Watermark("10", "bigint"))
        before = ledger.watermark(FEED)
        ledger.commit(FEED, [failed("w2", "r2")])

        assert before == ledger.watermark(FEED)

    def test_works_are_not_recorded_when_the_watermark_cannot_move(self, ledger):
        """Both or neither: the guard fails, so the works stay to be done."""
        ledger.commit(FEED, [done("w1")], Watermark("10", "bigint"))

        with pytest.raises(ConflictError, match="advanced by another run"):
            ledger.commit(FEED, [done("w2", "r2")], Watermark("20", "bigint", None))
        assert {} == ledger.known(FEED, ["w2"])
        assert "10" == ledger.watermark(FEED).value

    def test_watermark_does_not_move_when_the_works_cannot_be_recorded(self, ledger):
        """Both or neither, the other way round: the second record fails."""
        with pytest.raises(InterruptedError):
            ledger.commit(FEED, Interrupted(done("w1")), Watermark("10", "bigint"))
        assert Watermark() == ledger.watermark(FEED)
        assert {} == ledger.known(FEED, ["w1"])

    def test_old_etag_is_refused(self, ledger):
        """Whoever saw the watermark before somebody else moved it gives up."""
        seen = ledger.watermark(FEED)
        ledger.commit(FEED, [done("w1")], replace(seen, value="10", type="bigint"))

        with pytest.raises(ConflictError):
            ledger.commit(FEED, [done("w2", "r2")], replace(seen, value="5", type="bigint"))

    def test_made_up_etag_is_refused(self, ledger):
        """There is no watermark, so there is no etag to know it by."""
        with pytest.raises(ConflictError):
            ledger.commit(FEED, [done()], Watermark("10", "bigint", "7"))
        assert Watermark() == ledger.watermark(FEED)

    def test_same_run_committed_twice_does_nothing(self, ledger):
        """The answer to the first commit was lost; the second, with the etag of then, is no conflict."""
        ledger.commit(FEED, [done("w1"), done("w2")], Watermark("10", "bigint"))
        before = ledger.watermark(FEED), ledger.known(FEED, ["w1", "w2"])
        ledger.commit(FEED, [done("w1"), done("w2")], Watermark("10", "bigint"))

        assert before == (ledger.watermark(FEED), ledger.known(FEED, ["w1", "w2"]))

    def test_same_run_with_a_faulty_part_committed_twice_does_nothing(self, ledger):
        """A part file that failed is no reason to take a repeated commit for another one."""
        parts = [done("w1"), failed("w2")]
        ledger.commit(FEED, parts, Watermark("10", "bigint"))
        before = ledger.watermark(FEED), ledger.known(FEED, ["w1", "w2"])
        ledger.commit(FEED, parts, Watermark("10", "bigint"))

        assert before == (ledger.watermark(FEED), ledger.known(FEED, ["w1", "w2"]))

    def test_late_repetition_does_not_take_the_watermark_back(self, ledger):
        """Between commit and repetition another run went on."""
        ledger.commit(FEED, [done("w1")], Watermark("10", "bigint"))
        ledger.commit(FEED, [done("w2", "r2")], replace(ledger.watermark(FEED), value="20"))
        ledger.commit(FEED, [done("w1")], Watermark("10", "bigint"))

        assert "20" == ledger.watermark(FEED).value

    def test_times_counts_runs_recorded_done(self, ledger):
        """Once for each run, however often it is committed; failures do not count."""
        for record in (failed(), done(), done(), failed(run="r2"), done(run="r2"), done(run="r2")):
            ledger.commit(FEED, [record])

        assert 2 == ledger.known(FEED, ["w1"])["w1"].times

    def test_late_repetition_is_counted_once_after_another_run_recorded_the_work(self, ledger):
        """The answer to a commit was lost, and its host calls again when another run has done the work once more."""
        for run in ("r1", "r2", "r1", "r3", "r2"):
            ledger.commit(FEED, [done(run=run)], replace(ledger.watermark(FEED), value=run, type="text"))
        ledger.commit(FEED, [failed(run="r1")])
        found = ledger.known(FEED, ["w1"])["w1"]

        assert ("r3", "done", 3) == (found.run, found.status, found.times)
        assert "r3" == ledger.watermark(FEED).value

    def test_late_repetition_with_the_watermark_of_then_is_no_conflict(self, ledger):
        """Another run has moved it meanwhile; there is nothing left to do."""
        seen = ledger.watermark(FEED)
        ledger.commit(FEED, [done()], replace(seen, value="10", type="bigint"))
        ledger.commit(FEED, [done(run="r2")], replace(ledger.watermark(FEED), value="20"))

        ledger.commit(FEED, [done()], replace(seen, value="10", type="bigint"))

        assert ("20", 2) == (ledger.watermark(FEED).value, ledger.known(FEED, ["w1"])["w1"].times)

    def test_late_repetition_does_not_undo_forget_after_another_run(self, ledger):
        """What is to be taken again stays so."""
        for run in ("r1", "r2"):
            ledger.commit(FEED, [done(run=run)])
        ledger.forget(FEED, JANUARY)

        ledger.commit(FEED, [done(run="r1")])

        assert ("forgotten", 2) == (ledger.known(FEED, ["w1"])["w1"].status, ledger.known(FEED, ["w1"])["w1"].times)

    def test_times_is_not_the_callers_to_say(self, ledger):
        """It is counted where it is kept."""
        ledger.commit(FEED, [replace(done(), times=41)])

        assert 1 == ledger.known(FEED, ["w1"])["w1"].times

    def test_failed_work_can_become_done(self, ledger):
        """The retry of a run is the same run, and it may get further."""
        ledger.commit(FEED, [failed()])
        before = ledger.known(FEED, ["w1"])["w1"]
        ledger.commit(FEED, [done()])
        after = ledger.known(FEED, ["w1"])["w1"]

        assert ("failed", 0) == (before.status, before.times)
        assert ("done", 1) == (after.status, after.times)

    def test_late_failure_does_not_undo_done(self, ledger):
        """The host gave up on a call that had worked, and says so afterwards."""
        ledger.commit(FEED, [done()])
        ledger.commit(FEED, [failed()])

        assert replace(done(), times=1) == ledger.known(FEED, ["w1"])["w1"]

    def test_failed_repetition_is_reported(self, ledger):
        """Another run of the same work failed: its work is to be taken again, the count stays."""
        ledger.commit(FEED, [done()])
        ledger.commit(FEED, [failed(run="r2")])
        found = ledger.known(FEED, ["w1"])["w1"]

        assert ("r2", "failed", 1) == (found.run, found.status, found.times)

    def test_forget_takes_works_exported_since(self, ledger):
        """At that time or later, or at a time nobody knows."""
        times = {"w1": JANUARY, "w2": FEBRUARY, "w3": MARCH, "w4": None}
        ledger.commit(FEED, [done(work, exported_at=time) for work, time in times.items()])

        reported = ledger.forget(FEED, FEBRUARY)

        statuses = {work: record.status for work, record in ledger.known(FEED, list(times)).items()}
        assert {"w2", "w3", "w4"} == {record.work for record in reported}
        assert {"w1": "done", "w2": "forgotten", "w3": "forgotten", "w4": "forgotten"} == statuses

    def test_forget_returns_what_is_recorded(self, ledger):
        """Name, run and export time are there for the operator to see; the count is kept."""
        ledger.commit(FEED, [done()])

        reported = ledger.forget(FEED, JANUARY)

        assert [replace(done(), status="forgotten", times=1)] == list(reported)
        assert {"w1": reported[0]} == ledger.known(FEED, ["w1"])

    def test_forget_can_be_repeated(self, ledger):
        """The answer was lost; the second time it is the same."""
        ledger.commit(FEED, [done(), failed("w2")])

        assert ledger.forget(FEED, JANUARY) == ledger.forget(FEED, JANUARY)

    def test_forget_keeps_the_watermark(self, ledger):
        """A push feed's watermark is for freshness; dropping rows by it is nobody's business."""
        ledger.commit(FEED, [done()], Watermark("10", "bigint"))
        before = ledger.watermark(FEED)
        ledger.forget(FEED, JANUARY)

        assert before == ledger.watermark(FEED)

    def test_late_repetition_of_a_commit_does_not_undo_forget(self, ledger):
        """The run that did the work is recorded as done once more: it was, and is to be taken again."""
        ledger.commit(FEED, [done()], Watermark("10", "bigint"))
        ledger.forget(FEED, JANUARY)
        ledger.commit(FEED, [done()], Watermark("10", "bigint"))
        found = ledger.known(FEED, ["w1"])["w1"]

        assert ("forgotten", 1) == (found.status, found.times)

    def test_work_that_never_succeeded_can_after_forget(self, ledger):
        """Its run has no success to repeat, so the first one counts."""
        ledger.commit(FEED, [failed()])
        ledger.forget(FEED, JANUARY)
        ledger.commit(FEED, [done()])
        found = ledger.known(FEED, ["w1"])["w1"]

        assert ("done", 1) == (found.status, found.times)

    def test_recorded_work_is_not_requested(self, ledger):
        """Until somebody wishes it again."""
        first = verbs.run_for(FEED, _unit("w1"), ledger, STARTED)
        ledger.commit(FEED, [done(run=first.id)])

        assert verbs.run_for(FEED, _unit("w1"), ledger, STARTED) is None
        assert first.id != verbs.run_for(FEED, _unit("w1"), ledger, STARTED, again=True).id

    def test_failed_work_is_requested_as_the_same_run(self, ledger):
        """So the warehouse recognises what the failed try may have merged."""
        first = verbs.run_for(FEED, _unit("w1"), ledger, STARTED)
        ledger.commit(FEED, [failed(run=first.id)])

        assert first.id == verbs.run_for(FEED, _unit("w1"), ledger, STARTED).id

    def test_forgotten_work_is_taken_again_as_a_new_run(self, ledger):
        """The run of before is in history and would merge nothing."""
        first = verbs.run_for(FEED, _unit("w1"), ledger, STARTED)
        ledger.commit(FEED, [done(run=first.id)])
        ledger.forget(FEED, JANUARY)
        second = verbs.run_for(FEED, _unit("w1"), ledger, STARTED)
        ledger.commit(FEED, [done(run=second.id)])

        assert first.id != second.id
        assert verbs.run_for(FEED, _unit("w1"), ledger, STARTED) is None

    def test_unit_with_one_new_part_is_requested(self, ledger):
        """A late part file makes the whole table of the export new work."""
        ledger.commit(FEED, [done("w1")])

        assert verbs.run_for(FEED, _unit("w1", "w2"), ledger, STARTED) is not None

    def test_rewind_sets_the_watermark_back(self, ledger):
        """Whatever it is now, and a run that began before gives up."""
        ledger.commit(FEED, [done()], Watermark("10", "bigint"))
        before = ledger.watermark(FEED)

        ledger.rewind(FEED, Watermark("3", "bigint"))

        after = ledger.watermark(FEED)
        assert ("3", "bigint") == (after.value, after.type)
        assert before.etag != after.etag
        with pytest.raises(ConflictError):
            ledger.commit(FEED, [done("w2", "r2")], before)

    def test_note_of_a_watermark_stays_until_the_next_commit(self, ledger):
        """Whatever it says."""
        note = 'reread from 3 after a backfill by a person\'s "name" 🔑'
        ledger.commit(FEED, [done()], Watermark("10", "bigint"))
        ledger.rewind(FEED, Watermark("3", "bigint", note=note))
        seen = ledger.watermark(FEED)
        ledger.commit(FEED, [done("w2")])
        kept = ledger.watermark(FEED)
        ledger.commit(FEED, [done("w3")], Watermark("11", "bigint", kept.etag))

        assert (note, note, None) == (seen.note, kept.note, ledger.watermark(FEED).note)

    def test_rewind_can_set_the_first_watermark(self, ledger):
        """A pull feed may begin later than at the beginning."""
        ledger.rewind(FEED, Watermark(FEBRUARY, "timestamp"))
        seen = ledger.watermark(FEED)

        assert (FEBRUARY, "timestamp") == (seen.value, seen.type)

    def test_rewind_to_the_beginning_is_not_no_watermark(self, ledger):
        """The value is gone, but a run that saw the old one still notices."""
        ledger.commit(FEED, [done()], Watermark("10", "bigint"))
        before = ledger.watermark(FEED)
        ledger.rewind(FEED, Watermark())
        seen = ledger.watermark(FEED)

        assert (None, None) == (seen.value, seen.type)
        assert seen.etag not in (None, before.etag)

    def test_feeds_do_not_see_each_other(self, ledger):
        """Neither works, nor watermark, nor etag, nor what is forgotten."""
        ledger.commit(FEED, [done()], Watermark("10", "bigint"))
        ledger.commit(OTHER, [done(), failed("w2")], Watermark(FEBRUARY, "timestamp"))
        ledger.forget(FEED, JANUARY)
        ledger.rewind(FEED, Watermark("1", "bigint"))
        seen = ledger.watermark(OTHER)

        assert (FEBRUARY, "timestamp") == (seen.value, seen.type)
        assert {"w1": replace(done(), times=1), "w2": failed("w2")} == ledger.known(OTHER, ["w1", "w2"])

    @pytest.mark.parametrize("name", HOSTILE)
    def test_any_name_is_just_a_name(self, ledger, name):
        """Feeds, works and files are called what the world calls them."""
        record = Record(work=name, name=name, run=name, status="done", times=0)
        ledger.commit(name, [record], Watermark(name, "text"))

        assert {name: replace(record, times=1)} == ledger.known(name, [name])
        assert (name, "text") == (ledger.watermark(name).value, ledger.watermark(name).type)
        assert [name] == [reported.work for reported in ledger.forget(name, JANUARY)]
        assert {} == ledger.known(name, [name[:-1]])

    @settings(
        max_examples=8,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )
    @given(
        names=st.sets(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), min_size=2, max_size=4
        )
    )
    def test_names_that_look_alike_stay_apart(self, ledger, names):
        """No two names are folded into one: not by case, not by accents, not by blanks."""
        for name in names:
            ledger.commit(name, [done(name)], Watermark(name, "text", ledger.watermark(name).etag))

        assert {name: name for name in names} == {name: ledger.watermark(name).value for name in names}
        assert all([name] == list(ledger.known(name, sorted(names))) for name in names)

    def test_second_way_to_the_ledger_sees_the_same(self, ledger, second):
        """What one has committed, the other knows at once."""
        ledger.commit(FEED, [done()], Watermark("10", "bigint"))

        assert ledger.watermark(FEED) == second.watermark(FEED)
        assert ledger.known(FEED, ["w1"]) == second.known(FEED, ["w1"])

    def test_of_two_commits_with_one_etag_exactly_one_wins(self, ledger, second):
        """Both saw the same watermark; the one that comes second gets an error, and leaves nothing."""
        seen = ledger.watermark(FEED)
        start = threading.Barrier(2)

        def advance(one, work):
            start.wait()
            try:
                one.commit(FEED, [done(work, work)], replace(seen, value=work, type="text"))
            except ConflictError:
                return None
            return work

        with ThreadPoolExecutor(2) as threads:
            won = list(threads.map(advance, (ledger, second), ("a", "b")))

        winners = [work for work in won if work]
        assert 1 == len(winners)
        assert winners == list(ledger.known(FEED, ["a", "b"]))
        assert winners[0] == ledger.watermark(FEED).value

    def test_no_commit_is_lost_among_many(self, ledger, second):
        """Those that lose and try again as a push feed does all get through, and the highest value stays."""
        work_items = [f"{n:02}" for n in range(12)]

        def push(number):
            one = (ledger, second)[number % 2]
            while True:
                seen = one.watermark(FEED)
                high = max(seen.value or "", work_items[number])
                try:
                    return one.commit(
                        FEED, [done(work_items[number], work_items[number])], replace(seen, value=high, type="text")
                    )
                except ConflictError:
                    continue

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(push, range(len(work_items))))

        assert work_items == list(ledger.known(FEED, work_items))
        assert all(1 == record.times for record in ledger.known(FEED, work_items).values())
        assert work_items[-1] == ledger.watermark(FEED).value


class Stored(Protocol):
    """What a test of layouts needs of the place where a ledger is stored, which is empty at first."""

    newest: int
    """The layout of this version."""
    layout: int
    """What is stored says that it is of this layout, 0 if it says nothing; may be set."""

    def make_first(self) -> None:
        """Store what the first layout had: w1 done by r1 and w2 failed (as ``done``, ``failed``), watermark 10."""
        ...

    def know_newer(self) -> None:
        """Let this version be one that knows the layout after the newest."""
        ...


class StoredLedgerSuite(LedgerSuite):
    """A fixture more: ``stored``, where the ledger lies."""

    def test_layout_is_found_by_what_is_stored(self, stored, ledger):
        """From the first change on; looking makes nothing."""
        ledger.watermark(FEED)
        looked = stored.layout
        ledger.commit(FEED, [done()])

        assert (0, stored.newest) == (looked, stored.layout)

    def test_earlier_layout_is_brought_forward_with_all_it_has(self, stored, ledger, second):
        """By the first change; reading works before it. A commit that is repeated late is known by its run."""
        stored.make_first()
        read = ledger.known(FEED, ["w1", "w2"]), ledger.watermark(FEED)
        ledger.commit(FEED, [done("w3", "r3")])
        second.commit(FEED, [done("w1", "r2")])
        second.commit(FEED, [done("w1", "r1")])

        assert ({"w1": replace(done(), times=1), "w2": failed("w2")}, "10") == (read[0], read[1].value)
        assert stored.newest == stored.layout
        assert ("r2", 2) == (second.known(FEED, ["w1"])["w1"].run, second.known(FEED, ["w1"])["w1"].times)

    @pytest.mark.parametrize("call", ["watermark", "known", "commit", "forget", "rewind"])
    def test_newer_layout_is_refused_and_left_alone(self, stored, ledger, second, call):
        """It may mean something else. The newer version, which knows it, reads it."""
        ledger.commit(FEED, [done()], Watermark("10", "bigint"))
        stored.layout = stored.newest + 1
        calls = {
            "watermark": lambda: second.watermark(FEED), "known": lambda: second.known(FEED, ["w1"]),
            "commit": lambda: second.commit(FEED, [done("w2")]), "forget": lambda: second.forget(FEED, JANUARY),
            "rewind": lambda: second.rewind(FEED, Watermark()),
        }  # fmt: skip

        with pytest.raises(ConfigError, match=r"newer version of Sluice .*\. Run a newer version of Sluice\.$"):
            calls[call]()

        assert stored.newest + 1 == stored.layout
        stored.know_newer()
        assert ({"w1": replace(done(), times=1)}, "10") == (
            second.known(FEED, ["w1", "w2"]),
            second.watermark(FEED).value,
        )


def _unit(*work_items: str) -> Unit:
    return Unit(
        kind="delta", work_items=tuple(WorkItem(work, f"{work}.parquet") for work in work_items), exported_at=JANUARY
    )

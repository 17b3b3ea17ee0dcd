"""The ledger in Table Storage under races, lost answers and a wire that breaks."""

from __future__ import annotations

import contextlib
import threading
import uuid

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from shared.errors import ConflictError, TransientError
from shared.model import Watermark
from tests.ledger.tables_samples import HASTE, MARK, held, many, opened
from tests.quick import quick_if
from tests.suites.ledger_suite import FEED, JANUARY, done


def together(*acts: Callable[[], None]) -> None:
    """All at once; raises what one of them raises."""
    start = threading.Barrier(len(acts))

    def act(one: Callable[[], None]) -> None:
        start.wait()
        one()

    with ThreadPoolExecutor(len(acts)) as threads:
        list(threads.map(act, acts))


@pytest.mark.parametrize("count", [1, quick_if(False, 110)])
def test_runs_that_record_the_same_works_at_once_are_all_counted(url, count):
    """Three runs without a watermark: none loses another's count, be it one transaction or a journal."""
    together(*(lambda run=run: opened(url).commit(FEED, many(count, run)) for run in "abc"))

    assert {3} == {record.times for record in opened(url).known(FEED, [r.work for r in many(count)]).values()}


@pytest.mark.parametrize("count", [1, quick_if(False, 110)])
def test_a_run_that_is_recorded_by_several_hosts_at_once_is_counted_once(url, count):
    """The host thought the first one dead; all of them succeed."""
    together(*(lambda: opened(url).commit(FEED, many(count), MARK) for _ in range(3)))

    assert {1} == {record.times for record in opened(url).known(FEED, [r.work for r in many(count)]).values()}
    assert "10" == opened(url).watermark(FEED).value


def test_commit_that_is_overtaken_after_it_looked_counts_on(url, wire):
    """Another run records the same work between the look and the transaction."""
    wire.before("$batch", lambda: opened(url).commit(FEED, [done(run="other")]))
    opened(wire.url(url)).commit(FEED, [done(run="mine")])

    assert ("mine", 2) == (opened(url).known(FEED, ["w1"])["w1"].run, opened(url).known(FEED, ["w1"])["w1"].times)


def test_commit_whose_watermark_is_moved_after_it_looked_gives_up(url, wire):
    """Another run moves it between the look and the transaction."""
    wire.before("$batch", lambda: opened(url).commit(FEED, [done("w2", "other")], Watermark("7", "bigint")))

    with pytest.raises(ConflictError, match="advanced by another run"):
        opened(wire.url(url)).commit(FEED, [done()], MARK)
    assert (("7", "bigint"), {}) == held(opened(url), [done()])


def test_forgetting_and_recording_at_once_lose_nothing(url, wire):
    """A run records a work again between the look and the mark: it is the new record that is forgotten."""
    opened(url).commit(FEED, [done()])
    wire.before("$batch", lambda: opened(url).commit(FEED, [done(run="r2")]))

    reported = opened(wire.url(url)).forget(FEED, JANUARY)

    assert [replace(done(run="r2"), status="forgotten", times=2)] == reported


def test_commit_whose_answer_is_lost_is_known_after_another_run_took_the_same_works(url, wire):
    """The repetition finds the other run's record, and counts nothing twice."""
    wire.lose(0, after=True, only="$batch", then=lambda: opened(url).commit(FEED, [done(run="other")]))
    opened(wire.url(url)).commit(FEED, [done(run="mine")])

    assert ("other", 2) == (opened(url).known(FEED, ["w1"])["w1"].run, opened(url).known(FEED, ["w1"])["w1"].times)


@pytest.mark.parametrize("after", [quick_if(False, False, id="request lost"), quick_if(True, True, id="answer lost")])
@pytest.mark.parametrize("count", [2, quick_if(False, 110)])
def test_losing_any_request_of_a_commit_changes_nothing(azurite, wire, count, after):
    """Each in turn, table creation included; the commit goes on by itself, and the end is that of a calm one."""
    calm = opened(f"{azurite.table_url}/t{uuid.uuid4().hex}")
    calm.commit(FEED, many(count), MARK)
    expected, number = held(calm, many(count)), 0

    while True:
        url = f"{azurite.table_url}/t{uuid.uuid4().hex}"
        wire.lose(number, after=after)
        opened(wire.url(url)).commit(FEED, many(count), MARK)
        assert expected == held(opened(url), many(count))
        if not wire.lost:
            break
        number += 1
    assert number >= 5  # table, journal, watermark, works, transaction


@pytest.mark.parametrize("after", [quick_if(False, False, id="request lost"), quick_if(True, True, id="answer lost")])
def test_host_that_dies_anywhere_in_a_commit_leaves_all_or_nothing(azurite, wire, after):
    """Watermark and works agree for whoever looks next, between two transactions too; the retry completes it."""
    number, seen = 0, set()
    while True:
        url = f"{azurite.table_url}/t{uuid.uuid4().hex}"
        wire.lose(number, after=after, only="$batch")
        with contextlib.suppress(TransientError):
            opened(wire.url(url), HASTE).commit(FEED, many(150), MARK)
        mark, known = held(opened(url), many(150))
        seen.add((mark[0], len(known)))
        opened(url).commit(FEED, many(150), MARK)
        assert {1} == {record.times for record in held(opened(url), many(150))[1].values()}
        if not wire.lost:
            break
        number += 1

    assert seen <= {(None, 0), ("10", 150)}
    assert 3 == number  # one for watermark and journal, two that settle it


def test_journal_of_the_dead_is_settled_by_another_run_first(azurite, wire, url):
    """A run that takes the same works again, before anybody has looked, counts on from there."""
    wire.lose(2, only="$batch")
    with pytest.raises(TransientError):
        opened(wire.url(url), HASTE).commit(FEED, many(150), MARK)
    opened(url).commit(FEED, many(150, "r2"))

    assert {("r2", 2)} == {(r.run, r.times) for r in held(opened(url), many(150))[1].values()}


@pytest.mark.parametrize("call", ["forget", "rewind", "known", "watermark"])
def test_lost_answers_of_other_calls_are_made_good(url, wire, call):
    """They are simply asked again."""
    opened(url).commit(FEED, [done()], MARK)
    through = opened(wire.url(url))
    calls = {
        "forget": lambda: through.forget(FEED, JANUARY),
        "rewind": lambda: through.rewind(FEED, Watermark("3", "bigint")),
        "known": lambda: through.known(FEED, ["w1"]),
        "watermark": lambda: through.watermark(FEED).value,
    }
    expected = {"forget": [replace(done(), status="forgotten", times=1)], "known": {"w1": replace(done(), times=1)}}

    for number in range(4):
        wire.lose(number, after=True)
        reported = calls[call]()
        assert expected.get(call, "10" if call == "watermark" else None) == reported
    assert "3" == opened(url).watermark(FEED).value or call != "rewind"
